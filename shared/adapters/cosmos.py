"""The source: one Cosmos DB for NoSQL account through azure-cosmos, one request per call.

The SDK's own retries are switched off, so that every 429 is seen by the pacing above.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from azure.cosmos import ContainerProxy, CosmosClient
from azure.cosmos._retry_options import RetryOptions
from azure.cosmos.documents import ConnectionPolicy

from shared.adapters.cosmos_errors import CONTINUATION, charge_of, translated
from shared.adapters.cosmos_items import CosmosItems
from shared.domain.pointers import Key
from shared.domain.slices import FeedRange
from shared.errors import CostLimitReached, EbbError, TransientError
from shared.ports import Found, Measured, Page, Query, Source, Written

WHOLE_ID = "all"
WHOLE_TOKEN = json.dumps(
    {"Range": {"isMaxInclusive": False, "isMinInclusive": True, "max": "FF", "min": ""}}
)
NUMBER_PAGES_MAX = 1_000  # parts that the SDK left unmerged: more than any slice has
_FACTORY_SELECT = "SELECT c.id, c._ts, c._etag, ToString(c) AS document"


class CosmosSources:
    """Opens containers of one account; the client is made at first use and shared by threads."""

    def __init__(
        self,
        *,
        account: str,
        endpoint: str,
        credential: Any,
        user_agent: str,
        ca_file: str | None = None,
    ) -> None:
        self.account = account
        self._endpoint = endpoint
        self._credential = credential
        self._user_agent = user_agent
        self._ca_file = ca_file
        self._client: CosmosClient | None = None
        self._lock = threading.Lock()

    def open(self, database: str, container: str) -> Source:
        with translated(f"opening {database}/{container}"):
            client = self._connected()
            proxy = client.get_database_client(database).get_container_client(container)
        return CosmosSource(proxy, f"{database}/{container}")

    def write_regions(self) -> tuple[str, ...]:
        with translated(f"asking account {self.account} for its write regions"):
            found = self._connected().get_database_account().WritableLocations
        return tuple(sorted(str(each["name"]) for each in found))

    def _connected(self) -> CosmosClient:
        with self._lock:
            if self._client is None:
                policy = ConnectionPolicy()
                # CosmosClient(retry_throttle_total=0) would mean nine retries: zero counts as unset
                policy.RetryOptions = RetryOptions(max_retry_attempt_count=0)
                options = {"connection_verify": self._ca_file} if self._ca_file else {}
                self._client = CosmosClient(
                    self._endpoint,
                    credential=self._credential,
                    connection_policy=policy,
                    user_agent_suffix=self._user_agent,
                    **options,
                )
            return self._client


class CosmosSource:
    """One container; every method is one page or one number, with its real charge."""

    def __init__(self, container: ContainerProxy, name: str) -> None:
        self._container = container
        self._name = name
        self._items = CosmosItems(container, name)

    def partition_key_paths(self) -> tuple[str, ...]:
        with translated(f"reading the partition key of {self._name}"):
            properties = self._container.read()
        return tuple(properties["partitionKey"]["paths"])

    def default_ttl_s(self) -> int | None:
        with translated(f"reading the time to live of {self._name}"):
            found = self._container.read().get("defaultTtl")
        return None if found is None else int(found)

    def ranges(self) -> tuple[FeedRange, ...]:
        with translated(f"listing the feed ranges of {self._name}"):
            found = list(self._container.read_feed_ranges(force_refresh=True))
        tokens = sorted(json.dumps(dict(each), sort_keys=True) for each in found)
        return tuple(FeedRange(id=f"r{i:03d}", token=token) for i, token in enumerate(tokens))

    def whole(self) -> FeedRange:
        return FeedRange(id=WHOLE_ID, token=WHOLE_TOKEN)

    def partitions_of(self, ranges: Sequence[FeedRange]) -> Mapping[str, tuple[str, ...]]:
        with translated(f"listing the partitions of {self._name}"):
            # The SDK has no public way to the ids that metrics and logs call partitions by.
            connection = self._container.client_connection
            found = list(
                connection._ReadPartitionKeyRanges(  # noqa: SLF001
                    self._container.container_link
                )
            )
            # A partition that was split may still be listed beside the ones it was split into.
            gone = {parent for each in found for parent in each.get("parents") or ()}
            partitions = [
                (each["id"], each["minInclusive"], each["maxExclusive"])
                for each in found
                if each["id"] not in gone
            ]
        spans = {each.id: _span(each.token) for each in ranges}
        lies_on = {
            name: tuple(p for p, low, high in partitions if low < end and start < high)
            for name, (start, end) in spans.items()
        }
        if not all(lies_on.values()):
            raise TransientError(
                f"listing the partitions of {self._name}: some ranges lie on none; "
                "the call will be tried again"
            )
        return lies_on

    def count(self, query: Query) -> Measured:
        values, ru = self._numbers("counting", "SELECT VALUE COUNT(1)", query)
        if not values:
            raise TransientError(
                f"counting {self._name}: the answer held no number; it is not taken for zero, "
                "the call will be tried again"
            )
        return Measured(value=sum(values), ru=ru)

    def earliest_s(self, query: Query) -> Measured:
        values, ru = self._numbers("finding the earliest of", "SELECT VALUE MIN(c._ts)", query)
        return Measured(value=min(values, default=0) or None, ru=ru)

    def documents(self, query: Query, *, continuation: str | None, limit: int) -> Page:
        return self._page("reading", "SELECT *", query, continuation, limit)

    def identities(
        self, query: Query, *, continuation: str | None, limit: int, paths: tuple[str, ...]
    ) -> Page:
        keys = "".join(f', "pk{i}": {_property(path)}' for i, path in enumerate(paths))
        select = f'SELECT VALUE {{"id": c.id, "_etag": c._etag{keys}}}'
        page = self._page("listing the ids of", select, query, continuation, limit)
        return Page(
            items=[_nested(item, paths) for item in page.items],
            ru=page.ru,
            continuation=page.continuation,
        )

    def find(self, key: Key) -> Found:
        return self._items.find(key)

    def remove(self, key: Key, *, etag: str) -> Written:
        return self._items.remove(key, etag=etag)

    def replace(self, key: Key, document: Mapping[str, Any], *, etag: str) -> Written:
        return self._items.replace(key, document, etag=etag)

    def create(self, key: Key, document: Mapping[str, Any]) -> Written:
        return self._items.create(key, document)

    def _numbers(self, doing: str, select: str, query: Query) -> tuple[list[int], float]:
        """A number over many documents comes in parts; mostly the SDK merges them, not always."""
        values: list[int] = []
        ru, continuation = 0.0, None
        for _ in range(NUMBER_PAGES_MAX):
            left = None if query.ru_max is None else query.ru_max - ru
            try:
                page = self._page(doing, select, replace(query, ru_max=left), continuation, 1)
            except EbbError as error:
                error.ru += ru
                raise
            ru += page.ru
            values += [each for each in page.items if isinstance(each, int)]
            continuation = page.continuation
            if continuation is None:
                return values, ru
        ended = TransientError(f"{doing} {self._name}: {NUMBER_PAGES_MAX} pages and no end")
        ended.ru = ru
        raise ended

    def _page(
        self, doing: str, select: str, query: Query, continuation: str | None, limit: int
    ) -> Page:
        answers: list[Mapping[str, str]] = []

        def hook(headers: Mapping[str, str], _body: Any) -> None:
            answers.append(headers)
            more = CONTINUATION in headers
            if more and query.ru_max is not None and charged() >= query.ru_max:
                raise CostLimitReached(
                    f"{doing} {self._name}: {charged():.1f} RU were spent and more pages follow; "
                    "ask for a part of it"
                )

        def charged() -> float:
            return sum(map(charge_of, answers))

        text, parameters = _sql(select, query)
        try:
            with translated(f"{doing} {self._name}"):
                pages = self._container.query_items(
                    text,
                    parameters=parameters,
                    feed_range=json.loads(query.extent.range.token),
                    max_item_count=limit,
                    response_hook=hook,
                ).by_page(continuation)
                items: Sequence[Any] = list(next(pages, ()))
        except EbbError as error:
            error.ru += charged()  # a number of several pages may fail behind some that were paid
            raise
        # Not `pages.continuation_token`: behind an empty page that is still the one sent, and
        # otherwise it is read from headers that all threads of a client share. The SDK writes
        # where to go on into the very headers that it gave the hook last.
        after = answers[-1].get(CONTINUATION) if answers else None
        return Page(items=items, ru=charged(), continuation=after or None)


def _span(token: str) -> tuple[str, str]:
    """Where a feed range begins and ends on the hash of the partition key."""
    span = json.loads(token)["Range"]
    return span["min"], span["max"]


def _sql(select: str, query: Query) -> tuple[str, list[dict[str, Any]]]:
    parameters: list[dict[str, Any]] = []

    def placed(value: Any) -> str:
        name = f"@p{len(parameters)}"
        parameters.append({"name": name, "value": value})
        return name

    return f"{select} FROM c WHERE {_condition(query, placed)}", parameters


def factory_query(query: Query) -> str:
    """The same documents for a factory, which takes no parameters: each as its own JSON text."""
    return f"{_FACTORY_SELECT} FROM c WHERE {_condition(query, json.dumps)}"


def _condition(query: Query, placed: Callable[[Any], str]) -> str:
    """Which documents are meant; `placed` writes a value into the text, or stands in for it."""
    extent = query.extent
    terms = [
        f"c._ts >= {placed(extent.window.lo_s)}",
        f"c._ts < {placed(extent.window.hi_s)}",
    ]
    if extent.id_lo is not None:
        terms.append(f"c.id >= {placed(extent.id_lo)}")
    if extent.id_hi is not None:
        terms.append(f"c.id < {placed(extent.id_hi)}")
    if query.ids is not None:
        terms.append(f"c.id IN ({', '.join(map(placed, query.ids))})")
    if query.where:
        terms.append(f"({query.where})")
    return " AND ".join(terms)


def _property(path: str) -> str:
    return "c" + "".join(f'["{part}"]' for part in path.strip("/").split("/"))


def _nested(item: Mapping[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """The identity as the document holds it, so that one function finds the key in both."""
    nested: dict[str, Any] = {"id": item["id"], "_etag": item["_etag"]}
    for index, path in enumerate(paths):
        if f"pk{index}" not in item:
            continue
        *folders, last = path.strip("/").split("/")
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = item[f"pk{index}"]
    return nested
