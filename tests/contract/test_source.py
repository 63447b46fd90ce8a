"""What the application relies on in a source, over the twin and over the sandbox's Cosmos DB."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count, islice
from typing import Any, Protocol

import pytest
from azure.cosmos import ContainerProxy, PartitionKey

from sandbox.cosmos.backing import StoredDocument
from sandbox.cosmos.faults import Fault
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from shared.adapters.cosmos import CosmosSources
from shared.adapters.memory import MemoryClock
from shared.application.paging import items
from shared.domain.pointers import Key
from shared.domain.slices import Extent, FeedRange, Window
from shared.errors import (
    CostLimitReached,
    EbbError,
    NotFound,
    PermanentError,
    Throttled,
    TransientError,
)
from shared.ports import Fate, Page, Query, Source, Written
from tests.contract.rooms import RACERS, raced
from tests.sandbox.clients import container_of
from tests.simulation.sources import MemorySource, PagedSource

PARTITIONS = 2
PAGES_MAX = 100  # more than any test here has documents
BASE_S = 1_700_000_000
ODD_IDS = ("A", "Z", "a", "zz", "é", "ü", "~", "ー")
WHERE = "c.kind = 'even'"


class House(Protocol):
    """A container of its own for one test, and what others do to it."""

    @property
    def source(self) -> Source: ...

    def fill(self, documents: list[dict[str, Any]]) -> None: ...

    def update(self, document: dict[str, Any]) -> None: ...

    def delete(self, document_id: str) -> None: ...

    def missing(self) -> Source: ...


def key_of(document_id: str) -> str:
    return f"p{sum(map(ord, document_id)) % 7}"


@dataclass(slots=True)
class MemoryHouse:
    memory: MemorySource = field(
        default_factory=lambda: MemorySource(
            clock=MemoryClock(),
            ranges_count=PARTITIONS,
            wheres={WHERE: lambda document: document["body"].get("kind") == "even"},
        )
    )

    @property
    def source(self) -> Any:
        return PagedSource(self.memory, random.Random(1))

    def fill(self, documents: list[dict[str, Any]]) -> None:
        for each in documents:
            body = {name: value for name, value in each.items() if name not in {"id", "_ts"}}
            self.memory.put(each["id"], ts=each["_ts"], body=body)

    def update(self, document: dict[str, Any]) -> None:
        self.memory.put(document["id"], ts=int(self.memory.clock.now_s()), body={})

    def delete(self, document_id: str) -> None:
        del self.memory.documents[document_id]

    def missing(self) -> Any:
        return PagedSource(MemorySource(clock=MemoryClock(), missing=True), random.Random(1))


@dataclass(slots=True)
class CosmosHouse:
    sandbox: Sandbox
    name: str
    sources: CosmosSources
    container: ContainerProxy

    @property
    def source(self) -> Source:
        return self.sources.open("appdb", self.name)

    def fill(self, documents: list[dict[str, Any]]) -> None:
        stored = (
            StoredDocument(
                key_json=json.dumps([key_of(each["id"])]),
                text=_backdated(each).encode(),
            )
            for each in documents
        )
        self.sandbox.backing.store("appdb", self.name, stored)

    def update(self, document: dict[str, Any]) -> None:
        self.container.upsert_item({"id": document["id"], "pk": key_of(document["id"])})

    def delete(self, document_id: str) -> None:
        self.container.delete_item(document_id, key_of(document_id))

    def missing(self) -> Source:
        return self.sources.open("appdb", "nothing-of-that-name")


def _backdated(document: dict[str, Any]) -> str:
    """As the sandbox is told of a document that was written long ago."""
    body = {name: value for name, value in document.items() if name != "_ts"}
    return json.dumps({**body, "__sandbox_ts": document["_ts"], "pk": key_of(document["id"])})


_numbers = count(1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Two partitions, and room enough that nothing is throttled."""
    options = SandboxOptions(partitions=PARTITIONS, with_storage=False, ru_per_s=100_000)
    with start_sandbox(options) as running:
        yield running


@pytest.fixture(params=["memory", pytest.param("cosmos", marks=pytest.mark.node)])
def house(request: pytest.FixtureRequest) -> House:
    """The same questions to both."""
    if request.param == "memory":
        return MemoryHouse()
    found: House = request.getfixturevalue("cosmos")
    return found


@pytest.fixture
def cosmos(sandbox: Sandbox) -> CosmosHouse:
    """A container that no other test has touched."""
    name = f"contract{next(_numbers)}"
    sources = CosmosSources(
        account="cosmos-sandbox",
        endpoint=sandbox.cosmos_endpoint,
        credential=sandbox.cosmos_key,
        user_agent="ebb/test",
        ca_file=str(sandbox.ca_file),
    )
    return CosmosHouse(sandbox, name, sources, container_of(sandbox, name))


def some(number: int) -> list[dict[str, Any]]:
    kinds = ("even", "odd")
    return [{"id": f"doc-{i:02d}", "_ts": BASE_S + i, "kind": kinds[i % 2]} for i in range(number)]


def over(source: Source, lo_s: int = 0, hi_s: int = BASE_S * 2, **more: Any) -> list[Query]:
    """One query for each range."""
    bounds = {name: more.pop(name) for name in ("id_lo", "id_hi") if name in more}
    window = Window(lo_s=lo_s, hi_s=hi_s)
    return [
        Query(extent=Extent(window=window, range=each, **bounds), **more)
        for each in source.ranges()
    ]


def counted(source: Source, queries: list[Query]) -> int:
    return sum(source.count(each).value or 0 for each in queries)


def paged(source: Source, query: Query, *, limit: int = 3) -> Iterator[Page]:
    continuation: str | None = None
    for _ in range(PAGES_MAX):
        page = source.documents(query, continuation=continuation, limit=limit)
        yield page
        continuation = page.continuation
        if continuation is None:
            return
    raise AssertionError(f"{PAGES_MAX} pages and no end")


def given(source: Source, queries: list[Query]) -> list[Mapping[str, Any]]:
    return [each for query in queries for page in paged(source, query) for each in page.items]


def ids(documents: list[Mapping[str, Any]]) -> list[str]:
    return sorted(each["id"] for each in documents)


def test_ranges_part_the_documents_between_them(house: House) -> None:
    """Their ids are in order, and each document lies on one of them."""
    house.fill(some(30))
    ranges = house.source.ranges()
    assert [each.id for each in ranges] == ["r000", "r001"]
    assert len({each.token for each in ranges}) == PARTITIONS
    found = given(house.source, over(house.source))
    assert ids(found) == [each["id"] for each in some(30)]
    assert all(house.source.count(each).value for each in over(house.source))


def test_each_range_lies_on_partitions_of_its_own(house: House) -> None:
    """By the ids that metrics call them by, for the ranges that were asked about."""
    ranges = house.source.ranges()
    lies_on = house.source.partitions_of(ranges)
    assert sorted(lies_on) == [each.id for each in ranges]
    assert all(lies_on.values())
    assert len({each for parts in lies_on.values() for each in parts}) == PARTITIONS
    assert list(house.source.partitions_of(ranges[:1])) == [ranges[0].id]


def test_windows_are_half_open(house: House) -> None:
    """The first second belongs to it and the last does not."""
    house.fill(some(10))
    for lo, hi, expected in ((0, 10, 10), (3, 7, 4), (3, 4, 1), (10, 20, 0)):
        queries = over(house.source, BASE_S + lo, BASE_S + hi)
        assert counted(house.source, queries) == expected
        assert len(given(house.source, queries)) == expected


def test_the_earliest_second_of_a_window_is_found(house: House) -> None:
    """And none where nothing is; both cost something."""
    house.fill(some(10))
    found = [house.source.earliest_s(each) for each in over(house.source, BASE_S + 4)]
    assert min(each.value for each in found if each.value is not None) == BASE_S + 4
    nothing = [house.source.earliest_s(each) for each in over(house.source, hi_s=BASE_S)]
    assert [each.value for each in nothing] == [None, None]
    assert all(each.ru > 0 for each in (*found, *nothing))


def test_pages_give_each_document_once_and_keep_to_the_limit(house: House) -> None:
    """A continuation leads on until there is none; every page is charged."""
    house.fill(some(25))
    for query in over(house.source):
        pages = list(paged(house.source, query))
        assert all(len(page.items) <= 3 for page in pages)
        assert all(page.ru > 0 for page in pages)
        assert len(pages) > 1
        found = [each["id"] for page in pages for each in page.items]
        assert len(found) == len(set(found)) == house.source.count(query).value


def test_an_empty_window_is_one_empty_page(house: House) -> None:
    """No continuation, and a charge all the same."""
    house.fill(some(3))
    for query in over(house.source, hi_s=BASE_S):
        (page,) = paged(house.source, query)
        assert list(page.items) == []
        assert page.ru > 0
        assert house.source.count(query).value == 0
        assert house.source.count(query).ru > 0


def test_behind_a_full_last_page_an_empty_one_ends_the_reading(house: House) -> None:
    """A page that is exactly full leads on; the page behind it holds nothing and leads nowhere."""
    house.fill(some(24))
    for query in over(house.source):
        number = house.source.count(query).value or 0
        assert number > 0
        pages = list(paged(house.source, query, limit=1))
        assert [len(page.items) for page in pages] == [1] * number + [0]
        assert pages[-1].ru > 0


def test_every_identity_is_listed_once_where_the_last_page_is_full(house: House) -> None:
    """Listing ends as reading does."""
    house.fill(some(24))
    source = house.source
    for query in over(source):

        def ask(continuation: str | None, query: Query = query) -> Page:
            return source.identities(query, continuation=continuation, limit=1, paths=("/pk",))

        listed = [each["id"] for each in islice(items(ask), 25)]
        assert len(listed) == len(set(listed)) == source.count(query).value


@pytest.mark.node
def test_a_429_in_the_midst_of_a_count_costs_what_it_cost(cosmos: CosmosHouse) -> None:
    """A count of several pages fails as a whole, with the charge of its first page."""
    cosmos.fill([{"id": f"doc-{i:04d}", "_ts": BASE_S + i} for i in range(1300)])
    source = cosmos.source
    query = max(over(source), key=lambda each: each.extent.range.id)
    with pytest.raises(Throttled) as refused:
        source.count(query)
    assert refused.value.ru > 0
    whole = source.count(query)
    assert whole.ru > refused.value.ru
    assert counted(source, over(source)) == 1300
    earliest = [source.earliest_s(each).value for each in over(source)]
    assert min(each for each in earliest if each) == BASE_S
    with pytest.raises(CostLimitReached) as ended:
        source.count(replace(query, ru_max=0.1))
    assert 0 < ended.value.ru < whole.ru


def test_documents_come_whole(house: House) -> None:
    """With what the service adds, and as plain values."""
    house.fill([{"id": "whole", "_ts": BASE_S, "kind": "even", "n": [1.5, None, {"é": True}]}])
    (found,) = given(house.source, over(house.source))
    assert {"id", "pk", "_ts", "_etag", "_rid", "_self"} <= set(found)
    assert (found["id"], found["pk"], found["_ts"]) == ("whole", key_of("whole"), BASE_S)
    assert json.loads(json.dumps(found)) == found


def test_id_bounds_are_half_open_and_by_code_point(house: House) -> None:
    """As the cutting of a dense second counts on."""
    house.fill([{"id": each, "_ts": BASE_S} for each in ODD_IDS])
    for low, high in ((None, "a"), ("a", "é"), ("é", None), ("Z", "~"), ("zzz", "é")):
        expected = sorted(
            each
            for each in ODD_IDS
            if (low is None or each >= low) and (high is None or each < high)
        )
        queries = over(house.source, id_lo=low, id_hi=high)
        assert ids(given(house.source, queries)) == expected
        assert counted(house.source, queries) == len(expected)


def test_only_the_ids_that_are_asked_for_are_given(house: House) -> None:
    """Of those in the window; an id that is not there is no error."""
    house.fill(some(10))
    queries = over(house.source, BASE_S + 2, ids=("doc-01", "doc-02", "doc-07", "nobody"))
    assert ids(given(house.source, queries)) == ["doc-02", "doc-07"]
    assert counted(house.source, queries) == 2


def test_the_extra_filter_holds_for_every_question(house: House) -> None:
    """Counting, finding the earliest, reading, listing."""
    house.fill(some(10))
    queries = over(house.source, BASE_S + 1, where=WHERE)
    assert counted(house.source, queries) == 4
    assert ids(given(house.source, queries)) == ["doc-02", "doc-04", "doc-06", "doc-08"]
    earliest = [house.source.earliest_s(each).value for each in queries]
    assert min(each for each in earliest if each) == BASE_S + 2
    listed = [
        house.source.identities(each, continuation=None, limit=100, paths=("/pk",))
        for each in queries
    ]
    assert sum(len(page.items) for page in listed) == 4


def test_a_filter_that_is_not_understood_is_refused(house: House) -> None:
    """Asking again would not help."""
    house.fill(some(1))
    for query in over(house.source, where="c.kind === oops("):
        with pytest.raises(PermanentError):
            house.source.count(query)


def test_identities_hold_id_version_and_key_only(house: House) -> None:
    """In pages like documents; a path that a document lacks is left out."""
    house.fill(some(20))
    versions = {each["id"]: each["_etag"] for each in given(house.source, over(house.source))}
    listed: dict[str, str] = {}
    for query in over(house.source):
        continuation: str | None = None
        while True:
            page = house.source.identities(
                query, continuation=continuation, limit=4, paths=("/pk", "/no/such")
            )
            assert len(page.items) <= 4
            assert page.ru > 0
            for item in page.items:
                assert item == {
                    "id": item["id"],
                    "_etag": item["_etag"],
                    "pk": key_of(item["id"]),
                }
                assert item["id"] not in listed
                listed[item["id"]] = item["_etag"]
            continuation = page.continuation
            if continuation is None:
                break
    assert listed == versions


def test_an_update_leaves_the_window_with_a_new_version(house: House) -> None:
    """It goes to the present and is another version there."""
    house.fill(some(6))
    before = {each["id"]: each["_etag"] for each in given(house.source, over(house.source))}
    house.update({"id": "doc-03"})
    past = over(house.source, hi_s=BASE_S + 100)
    assert ids(given(house.source, past)) == ["doc-00", "doc-01", "doc-02", "doc-04", "doc-05"]
    now_s = int(time.time()) + 10**9
    (moved,) = given(house.source, over(house.source, BASE_S + 100, now_s))
    assert moved["id"] == "doc-03"
    assert moved["_etag"] != before["doc-03"]


def test_what_leaves_between_two_pages_hides_nothing_else(house: House) -> None:
    """Deleted or updated meanwhile: everything else is given once all the same."""
    house.fill(some(24))
    query = max(over(house.source), key=lambda each: house.source.count(each).value or 0)
    pages = paged(house.source, query)
    first = next(pages)
    house.delete(first.items[0]["id"])
    expected = house.source.count(query).value or 0
    found = [each["id"] for each in first.items] + [e["id"] for p in pages for e in p.items]
    assert len(found) == len(set(found)) == expected + 1


def test_a_container_that_is_missing_is_not_found(house: House) -> None:
    """Whatever it is asked, and never an empty answer."""
    missing = house.missing()
    with pytest.raises(NotFound):
        missing.partition_key_paths()
    token = house.source.ranges()[0].token
    window = Window(lo_s=0, hi_s=BASE_S)
    query = Query(extent=Extent(window=window, range=FeedRange(id="r000", token=token)))
    with pytest.raises(EbbError):
        missing.count(query)
    with pytest.raises(EbbError):
        missing.documents(query, continuation=None, limit=1)


def test_the_partition_key_is_told_as_it_was_declared(house: House) -> None:
    """Paths with their slash."""
    assert house.source.partition_key_paths() == ("/pk",)


@pytest.mark.node
@pytest.mark.parametrize("fault", ["status_404_1002", "status_449", "status_410_1002"])
def test_an_answer_that_will_pass_is_never_taken_for_missing(
    cosmos: CosmosHouse, fault: Fault
) -> None:
    """A lagging replica, a busy document and a partition that moved: asked again, and right."""
    cosmos.fill(some(6))
    source, admin = cosmos.source, cosmos.sandbox.admin
    query = over(source)[0]
    questions: list[Callable[[], Any]] = [
        lambda: source.count(query),
        lambda: source.earliest_s(query),
        lambda: source.documents(query, continuation=None, limit=100),
        lambda: source.identities(query, continuation=None, limit=100, paths=("/pk",)),
        lambda: source.find(key_to("doc-01")),
    ]
    right = [ask() for ask in questions]
    for ask, answer in zip(questions, right, strict=True):
        admin.add_fault(fault, origin="ebb", times=None)
        with pytest.raises(TransientError):
            ask()
        admin.clear_faults()
        assert ask() == answer


@pytest.mark.node
def test_a_412_out_of_nowhere_writes_nothing(cosmos: CosmosHouse) -> None:
    """It is an answer like any other 412; the document is as it was."""
    cosmos.fill(some(2))
    source, admin, key = cosmos.source, cosmos.sandbox.admin, key_to("doc-01")
    before = source.find(key).document
    etag = etag_of(source, "doc-01")
    admin.add_fault("status_412", origin="ebb", times=2)
    try:
        assert source.remove(key, etag=etag).fate is Fate.CHANGED
        assert source.replace(key, with_key("doc-01"), etag=etag).fate is Fate.CHANGED
    finally:
        admin.clear_faults()
    assert source.find(key).document == before


def key_to(document_id: str) -> Key:
    return json.dumps([key_of(document_id)]), document_id


def with_key(document_id: str, **more: Any) -> dict[str, Any]:
    return {"id": document_id, "pk": key_of(document_id), **more}


def etag_of(source: Source, document_id: str) -> str:
    document = source.find(key_to(document_id)).document
    assert document is not None
    return str(document["_etag"])


def test_a_document_is_found_by_its_key(house: House) -> None:
    """Whole, and charged; another partition key's, or none, is nothing."""
    house.fill(some(3))
    source = house.source
    found = source.find(key_to("doc-01"))
    assert found.document is not None
    assert (found.document["id"], found.document["_ts"]) == ("doc-01", BASE_S + 1)
    assert found.ru > 0
    for key in (('["elsewhere"]', "doc-01"), key_to("nobody")):
        nothing = source.find(key)
        assert nothing.document is None
        assert nothing.ru > 0


def test_only_the_very_version_is_removed(house: House) -> None:
    """Changed and absent are answers that cost something, and nothing else goes."""
    house.fill(some(3))
    source = house.source
    old = etag_of(source, "doc-01")
    house.update({"id": "doc-01"})
    changed = source.remove(key_to("doc-01"), etag=old)
    done = source.remove(key_to("doc-01"), etag=etag_of(source, "doc-01"))
    absent = source.remove(key_to("doc-01"), etag=old)
    assert [each.fate for each in (changed, done, absent)] == [
        Fate.CHANGED,
        Fate.DONE,
        Fate.ABSENT,
    ]
    assert all(each.ru > 0 for each in (changed, done, absent))
    assert [source.find(key_to(each["id"])).document is None for each in some(3)] == [
        False,
        True,
        False,
    ]


def test_only_the_very_version_is_replaced(house: House) -> None:
    """The answer tells what stands there now; what was refused changed nothing."""
    house.fill(some(2))
    source, key = house.source, key_to("doc-01")
    old = etag_of(source, "doc-01")
    done = source.replace(key, with_key("doc-01", ebb_stub={"é": [1.5, None]}), etag=old)
    assert done.fate is Fate.DONE
    assert done.document == source.find(key).document
    assert done.document is not None
    assert done.document["ebb_stub"] == {"é": [1.5, None]}
    assert done.document["_etag"] != old
    assert done.document["_ts"] > BASE_S + 100
    assert "kind" not in done.document
    changed = source.replace(key, with_key("doc-01"), etag=old)
    absent = source.replace(key_to("nobody"), with_key("nobody"), etag=old)
    assert [changed.fate, absent.fate] == [Fate.CHANGED, Fate.ABSENT]
    assert changed.document is absent.document is None
    assert source.find(key).document == done.document
    assert all(each.ru > 0 for each in (done, changed, absent))


def test_a_document_is_created_only_where_none_is(house: House) -> None:
    """Also when its body still has what the service once put in."""
    source, key = house.source, key_to("new")
    body = with_key("new", body="1", _etag="old", _ts=5, _rid="r", _self="s", _attachments="a")
    done = source.create(key, body)
    again = source.create(key, with_key("new", body="2"))
    assert [done.fate, again.fate] == [Fate.DONE, Fate.EXISTS]
    assert done.document == source.find(key).document
    assert done.document is not None
    assert done.document["body"] == "1"
    assert done.document["_etag"] != "old"
    assert done.document["_ts"] > 5
    assert again.document is None
    assert done.ru > 0
    assert again.ru > 0


def test_of_racing_writes_to_one_version_one_is_done(house: House) -> None:
    """All others are told that it changed, or that it is gone."""
    house.fill(some(1))
    source, key = house.source, key_to("doc-00")
    etag = etag_of(source, "doc-00")

    def act(number: int) -> Written:
        if number % 2:
            return source.remove(key, etag=etag)
        return source.replace(key, with_key("doc-00", n=number), etag=etag)

    fates = [each.fate for each in raced(act) if isinstance(each, Written)]
    assert len(fates) == RACERS
    assert fates.count(Fate.DONE) == 1


def test_what_no_request_can_name_is_refused_and_stays(house: House) -> None:
    """An id with a slash: queries give it, and nothing else reaches it."""
    house.fill([{"id": "a/b", "_ts": BASE_S}])
    source, key = house.source, key_to("a/b")
    for call in (
        lambda: source.find(key),
        lambda: source.remove(key, etag="e"),
        lambda: source.replace(key, with_key("a/b"), etag="e"),
        lambda: source.create(key, with_key("a/b")),
    ):
        with pytest.raises(PermanentError, match="its id cannot be part of an address"):
            call()
    assert ids(given(source, over(source))) == ["a/b"]


def test_no_single_document_is_looked_for_where_no_container_is(house: House) -> None:
    """A missing container never looks like a missing document."""
    missing = house.missing()
    for call in (
        lambda: missing.find(key_to("x")),
        lambda: missing.remove(key_to("x"), etag="e"),
        lambda: missing.replace(key_to("x"), with_key("x"), etag="e"),
        lambda: missing.create(key_to("x"), with_key("x")),
    ):
        with pytest.raises(NotFound):
            call()


ODD_KEYS: tuple[Any, ...] = ("a", "é☕", "", 1, 1.5, -0.25, True, None, {})


@pytest.mark.node
@pytest.mark.parametrize("value", ODD_KEYS, ids=repr)
def test_partition_keys_of_every_kind_lead_to_their_document(
    cosmos: CosmosHouse, value: Any
) -> None:
    """Null, missing, numbers, truths and texts, under ids of odd characters."""
    key = (json.dumps([value]), "é a%2Fb+'~☕...")
    body = {"id": key[1], "n": 1} if value == {} else {"id": key[1], "n": 1, "pk": value}
    source = cosmos.source
    assert source.find(key).document is None
    created = source.create(key, body).document
    assert created is not None
    replaced = source.replace(key, {**body, "n": 2}, etag=created["_etag"]).document
    assert replaced is not None
    assert source.find(key).document == replaced
    assert source.remove(key, etag=replaced["_etag"]).fate is Fate.DONE
    assert source.find(key).document is None


@pytest.mark.node
def test_hierarchical_keys_lead_to_their_document(cosmos: CosmosHouse) -> None:
    """Of several parts, nested ones and missing ones."""
    kind = PartitionKey(path=["/a/b", "/c"], kind="MultiHash")
    database = cosmos.container.client_connection
    name = f"nested{next(_numbers)}"
    database.CreateContainer("dbs/appdb", {"id": name, "partitionKey": kind})
    source = cosmos.sources.open("appdb", name)
    bodies: list[tuple[list[Any], dict[str, Any]]] = [
        (["x", 1], {"a": {"b": "x"}, "c": 1}),
        (["y", None], {"a": {"b": "y"}, "c": None}),
        (["z", {}], {"a": {"b": "z"}}),
        ([{}, {}], {}),
    ]
    for number, (parts, body) in enumerate(bodies):
        key = (json.dumps(parts), f"doc-{number}")
        assert source.create(key, {**body, "id": key[1]}).fate is Fate.DONE
        found = source.find(key).document
        assert found is not None
        assert source.replace(key, {**body, "id": key[1]}, etag=found["_etag"]).fate is Fate.DONE


CALLS: dict[str, Callable[[Source, str], object]] = {
    "find": lambda source, _etag: source.find(key_to("doc-00")),
    "remove": lambda source, etag: source.remove(key_to("doc-00"), etag=etag),
    "replace": lambda source, etag: source.replace(key_to("doc-00"), with_key("doc-00"), etag=etag),
    "create": lambda source, _etag: source.create(key_to("new"), with_key("new")),
}
EVERY_CALL = pytest.mark.parametrize("name", CALLS)
FAULTS = ("status_503", "late_503", "reset", "lost_reply")


@pytest.mark.node
@EVERY_CALL
def test_each_call_is_one_request_with_its_charge(cosmos: CosmosHouse, name: str) -> None:
    """As the account's meter counts them."""
    cosmos.fill(some(1))
    etag = etag_of(cosmos.source, "doc-00")
    before = cosmos.sandbox.admin.total("ebb")
    answer: Any = CALLS[name](cosmos.source, etag)
    after = cosmos.sandbox.admin.total("ebb")
    assert after.requests == before.requests + 1
    assert answer.ru == pytest.approx(after.ru - before.ru, abs=0.02)


@pytest.mark.node
@EVERY_CALL
@pytest.mark.parametrize("fault", FAULTS)
def test_no_call_is_sent_again_by_itself(cosmos: CosmosHouse, name: str, fault: Fault) -> None:
    """Whether or not it was carried out; the next call meets what it left."""
    cosmos.fill(some(1))
    etag = etag_of(cosmos.source, "doc-00")
    admin = cosmos.sandbox.admin
    admin.clear_faults()
    admin.add_fault(fault, origin="ebb")
    with pytest.raises(TransientError):
        CALLS[name](cosmos.source, etag)
    (met,) = admin.faults()
    admin.clear_faults()
    assert (met["seen"], met["hit"]) == (1, 1)


@pytest.mark.node
@EVERY_CALL
def test_a_full_partition_throttles_single_documents_too(cosmos: CosmosHouse, name: str) -> None:
    """At the first 429, and nothing was done."""
    cosmos.fill(some(1))
    etag = etag_of(cosmos.source, "doc-00")
    admin = cosmos.sandbox.admin
    admin.set_limit(0.001)
    for each in ("doc-00", "new"):  # what is let in first is on credit
        with suppress(Throttled):
            cosmos.source.find(key_to(each))
    before = admin.total("ebb")
    try:
        with pytest.raises(Throttled) as caught:
            CALLS[name](cosmos.source, etag)
    finally:
        admin.set_limit(100_000)
    after = admin.total("ebb")
    assert caught.value.retry_after_s > 0
    assert after.throttled == before.throttled + 1


@pytest.mark.node
def test_a_full_partition_key_is_told_from_a_missing_role(cosmos: CosmosHouse) -> None:
    """An undo into 20 GB of one key: a role would not help."""
    cosmos.fill(some(1))
    admin = cosmos.sandbox.admin
    admin.add_fault("partition_key_full", origin="ebb", kind="write")
    try:
        with pytest.raises(PermanentError, match="take 20 GB") as caught:
            cosmos.source.create(key_to("new"), {"id": "new", "pk": "p"})
    finally:
        admin.clear_faults()
    assert "role" not in str(caught.value)


@pytest.mark.node
def test_write_regions_are_asked_anew(cosmos: CosmosHouse) -> None:
    """A region that was added a moment ago is told by a client that has been connected for long."""
    cosmos.fill(some(1))
    admin = cosmos.sandbox.admin
    assert cosmos.sources.write_regions() == ("Sandbox",)
    admin.set_write_regions("West", "East")
    try:
        assert cosmos.sources.write_regions() == ("East", "West")
        assert cosmos.source.find(key_to("doc-00")).document is not None
    finally:
        admin.set_write_regions("Sandbox")
    assert cosmos.sources.write_regions() == ("Sandbox",)


@pytest.mark.node
def test_a_container_without_a_time_to_live_says_so(cosmos: CosmosHouse) -> None:
    """None is not zero, and not -1."""
    assert cosmos.source.default_ttl_s() is None
