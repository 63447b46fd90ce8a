"""How pages of a query are told apart, with the real azure-cosmos over a transport of ours."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import pytest
import requests
from azure.core.pipeline.transport import HttpTransport, RequestsTransportResponse
from azure.cosmos import CosmosClient
from azure.cosmos._retry_options import RetryOptions
from azure.cosmos.documents import ConnectionPolicy

from sandbox.cosmos.headers import garbled_headers
from shared.adapters.cosmos import WHOLE_TOKEN, CosmosSource
from shared.application.pacer import Pacer
from shared.application.paging import documents_of, items
from shared.domain.slices import Extent, FeedRange, Progress, Window
from shared.errors import CostLimitReached, PermanentError, Throttled, TransientError
from shared.ports import Measured, Page, Query

ENDPOINT = "https://fake.documents.azure.com:443/"
TOKEN = "+RID:~abc#RT:1#TRC:2"
CALLS_MAX = 12  # of a reading that needs two; more is one that never ends
WHOLE = FeedRange(id="r000", token=WHOLE_TOKEN)
QUERY = Query(extent=Extent(window=Window(lo_s=0, hi_s=10), range=WHOLE))
LOCATION = [{"name": "W", "databaseAccountEndpoint": ENDPOINT}]
ACCOUNT = {
    "id": "a",
    "writableLocations": LOCATION,
    "readableLocations": LOCATION,
    "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
    "enableMultipleWriteLocations": False,
}
KEY_RANGE = {"id": "0", "minInclusive": "", "maxExclusive": "FF", "parents": [], "status": "online"}
CONTAINER = {
    "id": "c",
    "_rid": "abc=",
    "_self": "dbs/x/colls/y/",
    "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the service says to one query."""

    documents: list[Any]
    continuation: str | None = None
    charge: float = 1.0
    status: int = 200


@dataclass
class Wire(HttpTransport):  # type: ignore[type-arg]
    """Answers a container's metadata, and its queries in turn; the last answer is repeated."""

    answers: list[Answer]
    asked: list[str | None] = field(default_factory=list)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def send(self, request: Any, **_: Any) -> RequestsTransportResponse:
        path = request.url.split("443", 1)[1].split("?")[0].rstrip("/")
        answer = requests.Response()
        answer.status_code, answer.url = 200, request.url
        answer.headers.update({"Content-Type": "application/json", "x-ms-request-charge": "1"})
        body: Any = ACCOUNT
        if path.endswith("/pkranges"):
            answer.headers["etag"] = '"1"'
            known = request.headers.get("If-None-Match") == '"1"'
            answer.status_code = 304 if known else 200
            body = {"_rid": "x", "PartitionKeyRanges": [KEY_RANGE], "_count": 1}
        elif path.endswith("/docs"):
            body = self._queried(request, answer)
        elif "/colls/" in path:
            body = CONTAINER
        text = b"" if answer.status_code == 304 else json.dumps(body).encode()
        answer._content = text  # noqa: SLF001
        answer.raw = io.BytesIO(text)
        answer.raw.enforce_content_length = False
        return RequestsTransportResponse(request, answer)

    def _queried(self, request: Any, answer: requests.Response) -> dict[str, Any]:
        assert len(self.asked) < CALLS_MAX, "asked again and again"
        place = min(len(self.asked), len(self.answers) - 1)
        self.asked.append(request.headers.get("x-ms-continuation"))
        told = self.answers[place]
        answer.status_code = told.status
        answer.headers["x-ms-request-charge"] = str(told.charge)
        if told.continuation:
            answer.headers["x-ms-continuation"] = told.continuation
        return {"_rid": "x", "Documents": told.documents, "_count": len(told.documents)}


T = TypeVar("T")


class Free:
    """A pacer that lets everything pass at once."""

    def call(self, ask: Callable[[], T]) -> T:
        return ask()

    def rate_ru_per_s(self) -> float:
        return 100.0


Connect = Callable[..., tuple[CosmosSource, Wire]]


@pytest.fixture
def connect() -> Connect:
    """Ebb's source through the SDK to a wire that gives these answers."""

    def made(*answers: Answer) -> tuple[CosmosSource, Wire]:
        wire = Wire(list(answers))
        policy = ConnectionPolicy()
        policy.RetryOptions = RetryOptions(max_retry_attempt_count=0)
        client = CosmosClient(
            ENDPOINT, credential="a2V5", transport=wire, retry_total=0, connection_policy=policy
        )
        container = client.get_database_client("d").get_container_client("c")
        return CosmosSource(container, "d/c"), wire

    return made


WHOLE_NUMBER = [
    Answer(documents=[3], continuation="more", charge=2.5),
    Answer(documents=[4], continuation="still more", charge=2.0),
    Answer(documents=[5], charge=1.5),
]


def reading(source: CosmosSource) -> Iterator[Any]:
    return items(lambda after: source.documents(QUERY, continuation=after, limit=2))


def document(document_id: str) -> dict[str, Any]:
    return {"id": document_id, "_ts": 1, "_etag": "e"}


def test_an_empty_last_page_ends_the_reading(connect: Connect) -> None:
    """The service gave a token with a full page, and nothing behind it."""
    full = Answer(documents=[document("a"), document("b")], continuation=TOKEN)
    source, wire = connect(full, Answer(documents=[]))
    found = [each["id"] for each in reading(source)]
    assert found == ["a", "b"]
    assert wire.asked == [None, TOKEN]


def test_another_threads_answer_leads_no_query_astray(connect: Connect) -> None:
    """It lands between a query's answer and its reading; the page's own continuation holds."""
    source, _ = connect(Answer(documents=[document("a")], continuation=TOKEN, charge=2.5))
    with garbled_headers():
        page = source.documents(QUERY, continuation=None, limit=1)
    assert (page.continuation, page.ru) == (TOKEN, 2.5)
    source, _ = connect(Answer(documents=[document("a")]))
    with garbled_headers():
        assert source.documents(QUERY, continuation=None, limit=1).continuation is None


def test_an_empty_page_that_leads_to_itself_is_refused() -> None:
    """It is tried again from the beginning, instead of asked for ever."""
    asked: list[str | None] = []

    def ask(after: str | None) -> Page:
        assert len(asked) < CALLS_MAX, "asked again and again"
        asked.append(after)
        return Page(items=["a"] if after is None else [], ru=1.0, continuation=TOKEN)

    with pytest.raises(TransientError, match="empty page"):
        list(items(ask))
    assert asked == [None, TOKEN]


def test_an_empty_page_in_the_middle_leads_on() -> None:
    """Only one that leads to itself is refused."""
    told = {None: ([], "1"), "1": ([], "2"), "2": (["a"], "2b"), "2b": (["b"], None)}

    def ask(after: str | None) -> Page:
        found, continuation = told[after]
        return Page(items=found, ru=1.0, continuation=continuation)

    assert list(items(ask)) == ["a", "b"]


def test_a_number_of_several_pages_is_whole_and_paid_whole(connect: Connect) -> None:
    """The parts of a count are added, the earliest is the least of its parts."""
    source, _ = connect(*WHOLE_NUMBER)
    assert source.count(QUERY) == Measured(value=12, ru=6.0)
    source, _ = connect(*WHOLE_NUMBER)
    assert source.earliest_s(QUERY) == Measured(value=3, ru=6.0)


def test_parts_without_a_number_hide_none_that_has_one(connect: Connect) -> None:
    """Where a page went over documents none of which was meant."""
    empty = Answer(documents=[None], continuation="more")
    source, _ = connect(empty, Answer(documents=[7], continuation="on"), Answer(documents=[5]))
    assert source.earliest_s(QUERY) == Measured(value=5, ru=3.0)
    source, _ = connect(empty, Answer(documents=[None]))
    assert source.earliest_s(QUERY) == Measured(value=None, ru=2.0)


def test_what_was_charged_before_a_429_comes_with_it(connect: Connect) -> None:
    """A number that fails behind its second page has cost two pages, and its own answer."""
    source, wire = connect(*WHOLE_NUMBER[:2], Answer(documents=[], status=429, charge=0.5))
    with pytest.raises(Throttled) as refused:
        source.count(QUERY)
    assert refused.value.ru == 5.0
    assert wire.asked == [None, "more", "still more"]


def test_a_number_ends_where_its_price_reaches_the_limit(connect: Connect) -> None:
    """Behind the page that brings it there; one that is whole by then is given."""
    source, wire = connect(*WHOLE_NUMBER)
    with pytest.raises(CostLimitReached) as ended:
        source.count(replace(QUERY, ru_max=4.0))
    assert ended.value.ru == 4.5
    assert wire.asked == [None, "more"]
    source, _ = connect(*WHOLE_NUMBER)
    assert source.count(replace(QUERY, ru_max=6.0)).value == 12


@pytest.mark.parametrize("ts", [10, 11, None, "5"])
def test_a_document_of_another_window_is_a_fault(connect: Connect, ts: object) -> None:
    """Whatever let it through, it is not archived in a window that does not count it."""
    source, _ = connect(Answer(documents=[document("a"), {**document("b"), "_ts": ts}]))
    with pytest.raises(PermanentError, match=r"\[0, 10\)"):
        list(documents_of(source, QUERY, cast("Pacer", Free()), Progress(migration="sim")))
