"""A world in memory for the real application code: a source, a business, and seeded misfortune.

Every call through a port may fail, be lost after it took effect, kill its caller, or be the moment
at which another worker does something. Time moves only when somebody waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.memory import (
    MemoryArchives,
    MemoryBoards,
    MemoryCallbacks,
    MemoryClock,
    MemoryFactory,
    MemoryIncidents,
    MemoryJournal,
    MemoryLease,
    MemoryLedger,
    MemoryMail,
    MemoryMemories,
    MemoryMetering,
    MemoryScratch,
    SequentialNames,
)
from shared.adapters.parquet import ParquetFormat
from shared.application.bundle import Ports
from shared.domain.profile import Profile
from shared.domain.slices import FeedRange
from shared.errors import NotFound, Throttled, TransientError
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE, Measured, MinuteUse, Page, Provision, Query
from shared.wiring import App, assemble

START_S = 1_800_000_000
SOURCE = "db/c"
CAPACITY_RU_PER_S = 1000.0
BUSINESS_RU_PER_S = 400.0
RU_PER_READ = 10.0
RU_PER_COUNT = 3.0
DEPTH_MAX = 2


class Crash(BaseException):
    """The process was killed here; nothing after this line ran."""


@dataclass(slots=True)
class MemorySource:
    """Documents with `_ts` and `_etag`; an update moves a document to the present."""

    clock: MemoryClock
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    ru_charged: float = 0.0
    ru_per_read: float = RU_PER_READ
    ranges_count: int = 1
    etags: int = 0
    missing: bool = False
    hook: Callable[[Query, int, int], Page] | None = None

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
        if self.missing:
            raise NotFound("reading the partition key of db/c: not found (404)")
        return ("/pk",)

    def ranges(self) -> tuple[FeedRange, ...]:
        return tuple(FeedRange(id=f"r{i:03d}", token=str(i)) for i in range(self.ranges_count))

    def whole(self) -> FeedRange:
        return FeedRange(id="all", token="all")

    def partitions_of(self, ranges: Sequence[FeedRange]) -> Mapping[str, tuple[str, ...]]:
        return {each.id: (each.token,) for each in ranges}

    def count(self, query: Query) -> Measured:
        return Measured(value=len(self._within(query)), ru=self._charged(RU_PER_COUNT))

    def earliest_s(self, query: Query) -> Measured:
        times = [document["_ts"] for document in self._within(query)]
        return Measured(value=min(times, default=None), ru=self._charged(RU_PER_COUNT))

    def documents_page(self, query: Query, start: int, limit: int) -> Page:
        found = self._within(query)
        items = [dict(document) for document in found[start : start + limit]]
        more = start + limit < len(found)
        ru = self._charged(RU_PER_COUNT + self.ru_per_read * len(items))
        return Page(items=items, ru=ru, continuation=str(start + limit) if more else None)

    def _within(self, query: Query) -> list[dict[str, Any]]:
        extent = query.extent
        low, high = extent.id_lo, extent.id_hi
        return [
            document
            for key, document in sorted(self.documents.items())
            if extent.window.lo_s <= document["_ts"] < extent.window.hi_s
            and extent.range.token
            in {"all", str(sum(map(ord, document["pk"])) % self.ranges_count)}
            and (low is None or key >= low)
            and (high is None or key < high)
            and (query.ids is None or key in query.ids)
        ]

    def _charged(self, ru: float) -> float:
        self.ru_charged += ru
        return ru


class PagedSource:
    """The Source port over MemorySource: documents in pages, identities without bodies.

    Pages are cut from a list fixed at the first page, as a store that moves under the reader may
    do: what left the window meanwhile is still given, or not, as chance has it.
    """

    def __init__(self, memory: MemorySource, chance: random.Random) -> None:
        self._memory = memory
        self._chance = chance

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    def documents(self, query: Query, *, continuation: str | None, limit: int) -> Page:
        limit = max(1, min(limit, self._chance.randint(1, 8)))
        page = self._memory.hook or self._memory.documents_page
        return page(query, int(continuation or 0), limit)

    def identities(
        self, query: Query, *, continuation: str | None, limit: int, paths: tuple[str, ...]
    ) -> Page:
        page = self._memory.documents_page(query, int(continuation or 0), limit)
        kept = [{"id": d["id"], "_etag": d["_etag"], "pk": d["pk"]} for d in page.items]
        return Page(items=kept, ru=page.ru, continuation=page.continuation)


@dataclass(slots=True)
class MemorySources:
    source: Any
    account: str = "acct"

    def open(self, database: str, container: str) -> Any:
        return self.source


@dataclass(slots=True)
class MemoryMonitor:
    """What the source gave: the business's use, and what Ebb was charged, minute by minute."""

    clock: MemoryClock
    metering: MemoryMetering
    business_ru_per_s: Callable[[int], float] = lambda _minute_s: BUSINESS_RU_PER_S
    silent_from_s: float = float("inf")
    silent_until_s: float = float("inf")

    def minutes(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[int, MinuteUse]:
        own = self.metering.by_minute(f"{database}/{container}", since_s=since_s)
        told = range(since_s // 60 * 60, until_s // 60 * 60, 60)
        silent = self.silent_from_s <= self.clock.now_s() < self.silent_until_s
        return {
            m: MinuteUse(total_ru=self.business_ru_per_s(m) * 60 + sum(own.get(m, {}).values()))
            for m in told
            if not (silent and m + 60 > self.silent_from_s)
        }

    def provision(self, database: str, container: str, *, now_s: int) -> Provision | None:
        return None


@dataclass(slots=True)
class MemoryHistory:
    """Habits as a test gives them; none unless it does."""

    habits: Profile | None = None
    shares: Mapping[str, float] = field(default_factory=dict)

    def profile(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Profile | None:
        return self.habits

    def partition_shares(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[str, float]:
        return self.shares


@dataclass(slots=True)
class Chaos:
    """Decides at every call through a port what goes wrong there; the same for the same seed."""

    rng: random.Random
    crash: float = 0.0
    fail: float = 0.0
    lose: float = 0.0
    throttle: float = 0.0
    interleave: float = 0.0
    depth: int = 0
    nested: Callable[[], None] = lambda: None
    crashes: int = 0
    dead: bool = False

    def before(self, name: str) -> None:
        if self.dead:  # a killed process tidies nothing up
            raise Crash(f"before {name}, long dead")
        draw = self.rng.random
        if draw() < self.interleave and self.depth < DEPTH_MAX:
            self.depth += 1
            try:
                self.nested()
            finally:
                self.depth -= 1
        if draw() < self.crash:
            self._die(f"before {name}")
        if draw() < self.fail:
            raise TransientError(f"{name}: the sandbox was busy")

    def after(self, name: str) -> None:
        draw = self.rng.random
        if draw() < self.crash:
            self._die(f"after {name}")
        if draw() < self.lose:
            raise TransientError(f"{name}: the reply was lost")

    def _die(self, where: str) -> None:
        self.crashes += 1
        self.dead = True
        raise Crash(where)


class Unlucky:
    """Any port with chaos around each call."""

    def __init__(self, inner: Any, chaos: Chaos, label: str) -> None:
        self._inner = inner
        self._chaos = chaos
        self._label = label

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            label = f"{self._label}.{name}"
            self._chaos.before(label)
            if self._label == "source" and self._chaos.rng.random() < self._chaos.throttle:
                raise Throttled(f"{label}: 429", retry_after_s=1.0)
            result = found(*args, **kwargs)
            self._chaos.after(label)
            if name in {"open", "writer"} and self._label in {"archives", "sources", "archive"}:
                inner_label = {"archives": "archive", "sources": "source", "archive": "writer"}
                return Unlucky(result, self._chaos, inner_label[self._label])
            return result

        return call


@dataclass(slots=True)
class World:
    """Everything at once: what is really stored, and the application over unlucky ports."""

    clock: MemoryClock
    source: MemorySource
    monitor: MemoryMonitor
    ports: Ports
    chaos: Chaos
    app: App
    calm: App
    mail: MemoryMail
    rng: random.Random


def make_world(seed: int, *, ranges: int = 1) -> World:
    rng = random.Random(seed)
    clock = MemoryClock(start_s=float(START_S))
    chaos = Chaos(rng=random.Random(seed + 1))
    source = MemorySource(clock=clock, ranges_count=ranges)
    metering = MemoryMetering()
    monitor = MemoryMonitor(clock=clock, metering=metering)
    mail = MemoryMail(clock)
    calm_ports = Ports(
        clock=clock,
        names=SequentialNames("name"),
        ledger=MemoryLedger(),
        boards=MemoryBoards(),
        memories=MemoryMemories(),
        journal=MemoryJournal(),
        incidents=MemoryIncidents(),
        metering=metering,
        monitor=monitor,
        history=MemoryHistory(),
        lease=MemoryLease(clock),
        mail=mail,
        sources=MemorySources(source=PagedSource(source, rng)),
        archives=MemoryArchives(clock),
        table_format=ParquetFormat(),
        scratch=MemoryScratch(),
        factory=MemoryFactory(clock),
        callbacks=MemoryCallbacks(),
    )
    unlucky = Ports(
        **{
            name: getattr(calm_ports, name)
            if name in {"clock", "names", "scratch", "table_format"}
            else Unlucky(getattr(calm_ports, name), chaos, name)
            for name in Ports.__dataclass_fields__
        }
    )
    return World(
        clock=clock,
        source=source,
        monitor=monitor,
        ports=calm_ports,
        chaos=chaos,
        app=assemble(unlucky, 60.0),
        calm=assemble(calm_ports, 60.0),
        mail=mail,
        rng=rng,
    )


QUEUES = (COPY_QUEUE, VALIDATE_QUEUE)
