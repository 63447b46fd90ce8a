"""The source's twin: a container in memory that answers as the real one, page by page.

It misbehaves only where a test gives it a hook; misfortune comes from elsewhere.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.memory import MemoryClock
from shared.domain.addresses import why_unaddressable
from shared.domain.pointers import RETURNING, STUB, Key, key_values
from shared.domain.slices import FeedRange
from shared.domain.spec import NO_GUARD, NO_STUB
from shared.errors import CostLimitReached, EbbError, NotFound, PermanentError, TransientError
from shared.ports import Fate, Found, Measured, Page, Query, Written

RU_PER_READ = 10.0
RU_PER_COUNT = 3.0
RU_PER_WRITE = 20.0
NUMBER_PAGE_DOCUMENTS = 20  # of one page of a number, so that numbers take several
PAGE_DOCUMENTS_MAX = 8  # small pages, so that much can happen between two
FIRST_POSITION = "0"  # before the first document
# What Ebb itself adds to the condition of a migration that retires.
_OWN_WHERES: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    NO_STUB: lambda document: STUB not in document,
    NO_GUARD: lambda document: RETURNING not in document,
}


@dataclass(slots=True)
class MemorySource:
    """Documents with `_ts` and `_etag`; an update moves a document to the present."""

    clock: MemoryClock
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    ru_charged: float = 0.0
    ru_by_minute: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    ru_per_read: float = RU_PER_READ
    ranges_count: int = 1
    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Ranges whose partition was split, with the partitions they lie on since."""
    wheres: Mapping[str, Callable[[Mapping[str, Any]], bool]] = field(default_factory=dict)
    """The filters it understands; the real one understands Cosmos SQL."""
    positions: dict[str, int] = field(default_factory=dict)
    etags: int = 0
    missing: bool = False
    ttl_s: int | None = None
    """The container's default time to live; a document's own `ttl` counts where there is one."""
    hook: Callable[[Query, int, int], Page] | None = None
    between_pages: Callable[[], None] = lambda: None
    """Between two pages of one number, where a 429 may come."""
    full_last_page_has_token: bool = True
    """As the real one, which has not looked behind a full page; the page behind it is empty."""

    def put(self, document_id: str, *, ts: int, body: Any) -> None:
        self.etags += 1
        self.documents[document_id] = {
            "id": document_id,
            "pk": f"p{sum(map(ord, document_id)) % 7}",
            "body": body,
            "_ts": ts,
            "_etag": f"e{self.etags}",
            "_rid": "r",
            "_self": "s",
            "_attachments": "a",
        }

    def partition_key_paths(self) -> tuple[str, ...]:
        self._must_exist()
        return ("/pk",)

    def default_ttl_s(self) -> int | None:
        self._must_exist()
        return self.ttl_s

    def expire(self) -> None:
        """What outlived its time is gone, as the service does without anybody's doing."""
        if self.ttl_s is None:
            return
        for name, document in list(self.documents.items()):
            ttl_s = document.get("ttl", self.ttl_s)
            if ttl_s > 0 and document["_ts"] + ttl_s < self.clock.now_s():
                del self.documents[name]

    def ranges(self) -> tuple[FeedRange, ...]:
        return tuple(FeedRange(id=f"r{i:03d}", token=str(i)) for i in range(self.ranges_count))

    def whole(self) -> FeedRange:
        return FeedRange(id="all", token="all")

    def partitions_of(self, ranges: Sequence[FeedRange]) -> Mapping[str, tuple[str, ...]]:
        return {each.id: self.splits.get(each.id, (each.token,)) for each in ranges}

    def split(self, range_id: str) -> None:
        """The range's partition makes way for two."""
        self.splits[range_id] = (f"{range_id}-low", f"{range_id}-high")

    def count(self, query: Query) -> Measured:
        found = self._within(query)
        return Measured(value=len(found), ru=self._number(query, found))

    def earliest_s(self, query: Query) -> Measured:
        found = self._within(query)
        earliest = min((document["_ts"] for document in found), default=None)
        return Measured(value=earliest, ru=self._number(query, found))

    def _number(self, query: Query, found: Sequence[Any]) -> float:
        """Charge a number page by page; behind any but the last it may be given up, or fail."""
        spent = self._charged(RU_PER_COUNT)
        for _ in range(NUMBER_PAGE_DOCUMENTS, len(found), NUMBER_PAGE_DOCUMENTS):
            try:
                if query.ru_max is not None and spent >= query.ru_max:
                    raise CostLimitReached(f"counting db/c: {spent} RU and more to come")
                self.between_pages()
            except EbbError as error:
                error.ru += spent
                raise
            spent += self._charged(RU_PER_COUNT)
        return spent

    def find(self, key: Key) -> Found:
        self._must_exist()
        stands = self._at(key)
        return Found(
            document=None if stands is None else dict(stands), ru=self._charged(self.ru_per_read)
        )

    def remove(self, key: Key, *, etag: str) -> Written:
        refused = self._refused(key, etag)
        if refused is None:
            del self.documents[key[1]]
        return self._written(refused or Fate.DONE, key)

    def replace(self, key: Key, document: Mapping[str, Any], *, etag: str) -> Written:
        refused = self._refused(key, etag)
        if refused is None:
            self._store(document)
        return self._written(refused or Fate.DONE, key)

    def create(self, key: Key, document: Mapping[str, Any]) -> Written:
        self._must_exist()
        if self._at(key) is not None:
            return self._written(Fate.EXISTS, key)
        self._store(document)
        return self._written(Fate.DONE, key)

    def _at(self, key: Key) -> dict[str, Any] | None:
        if fault := why_unaddressable(key):
            raise PermanentError(f"asking db/c for a document: {fault}")
        stands = self.documents.get(key[1])
        return stands if stands is not None and [stands["pk"]] == key_values(key) else None

    def _refused(self, key: Key, etag: str) -> Fate | None:
        self._must_exist()
        stands = self._at(key)
        if stands is None:
            return Fate.ABSENT
        return None if stands["_etag"] == etag else Fate.CHANGED

    def _store(self, document: Mapping[str, Any]) -> None:
        self.etags += 1
        self.documents[document["id"]] = {
            **document,
            "_ts": int(self.clock.now_s()),
            "_etag": f"e{self.etags}",
            "_rid": "r",
            "_self": "s",
            "_attachments": "a",
        }

    def _written(self, fate: Fate, key: Key) -> Written:
        stands = self._at(key) if fate is Fate.DONE else None
        return Written(
            fate=fate,
            ru=self._charged(RU_PER_WRITE),
            document=None if stands is None else dict(stands),
        )

    def documents_page(self, query: Query, start: int, limit: int) -> Page:
        """What lies behind a position, in an order that updates and deletions leave as it is."""
        found = sorted((self._position(key), each) for key, each in self._keyed(query))
        behind = [(at, each) for at, each in found if at > start]
        given = behind[:limit]
        items = [dict(each) for _, each in given]
        ru = self._charged(RU_PER_COUNT + self.ru_per_read * len(items))
        unseen = self.full_last_page_has_token and bool(given)
        more = len(behind) > limit or (unseen and len(given) == limit)
        return Page(items=items, ru=ru, continuation=str(given[-1][0]) if more else None)

    def _within(self, query: Query) -> list[dict[str, Any]]:
        return [document for _, document in self._keyed(query)]

    def _must_exist(self) -> None:
        if self.missing:
            raise NotFound("reading db/c: not found (404)")
        self.expire()

    def _keyed(self, query: Query) -> list[tuple[str, dict[str, Any]]]:
        self._must_exist()
        meant = self._filter(query.where)
        extent = query.extent
        low, high = extent.id_lo, extent.id_hi
        return [
            (key, document)
            for key, document in self.documents.items()
            if extent.window.lo_s <= document["_ts"] < extent.window.hi_s
            and extent.range.token
            in {"all", str(sum(map(ord, document["pk"])) % self.ranges_count)}
            and (low is None or document["id"] >= low)
            and (high is None or document["id"] < high)
            and (query.ids is None or document["id"] in query.ids)
            and meant(document)
        ]

    def _filter(self, where: str | None) -> Callable[[Mapping[str, Any]], bool]:
        if where is None:
            return lambda _: True
        if where in _OWN_WHERES:
            return _OWN_WHERES[where]
        if where not in self.wheres:
            raise PermanentError(f"reading db/c: answered 400 to {where!r}; correct cold.where")
        return self.wheres[where]

    def _position(self, key: str) -> int:
        return self.positions.setdefault(key, len(self.positions) + 1)

    def _charged(self, ru: float) -> float:
        self.ru_charged += ru
        self.ru_by_minute[int(self.clock.now_s()) // 60 * 60] += ru
        return ru


class PagedSource:
    """The Source port over MemorySource: documents in pages, identities without bodies."""

    def __init__(self, memory: MemorySource, chance: random.Random) -> None:
        self._memory = memory
        self._chance = chance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    def documents(self, query: Query, *, continuation: str | None, limit: int) -> Page:
        limit = max(1, min(limit, self._chance.randint(1, PAGE_DOCUMENTS_MAX)))
        page = self._memory.hook or self._memory.documents_page
        return page(query, _start(continuation), limit)

    def identities(
        self, query: Query, *, continuation: str | None, limit: int, paths: tuple[str, ...]
    ) -> Page:
        page = self._memory.documents_page(query, _start(continuation), max(1, limit))
        kept = [_identity(document, paths) for document in page.items]
        return Page(items=kept, ru=page.ru, continuation=page.continuation)


def _start(continuation: str | None) -> int:
    try:
        return int(continuation or FIRST_POSITION)
    except ValueError as error:
        raise TransientError("reading db/c: the continuation is broken") from error


def _identity(document: Mapping[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """Id, version and partition key, nested as the document has them."""
    kept: dict[str, Any] = {"id": document["id"], "_etag": document["_etag"]}
    for path in paths:
        *folders, last = path.strip("/").split("/")
        place: dict[str, Any] = kept
        found: Mapping[str, Any] = document
        for folder in folders:
            below = found.get(folder)
            found = below if isinstance(below, Mapping) else {}
            place = place.setdefault(folder, {}) if last in found else place
        if last in found:
            place[last] = found[last]
    return kept


@dataclass(slots=True)
class MemorySources:
    source: Any
    account: str = "acct"
    regions: tuple[str, ...] = ("West",)

    def write_regions(self) -> tuple[str, ...]:
        return self.regions

    def open(self, database: str, container: str) -> Any:
        return self.source
