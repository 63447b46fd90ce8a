"""Whole migrations over the in-memory ports: a container drawn from a seed, and driven to its end.

It makes good archives; harming them happens elsewhere.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from shared.domain.slices import FeedRange, MigrationState
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE, Measured, Page, Query
from shared.wiring import App, assemble
from tests.campaign.documents import body_of, identifier, key_part
from tests.simulation.world import START_S, MemorySources, World, make_world

DAY_S = 86_400
COLD_S = START_S - 90 * DAY_S
OLDEST_S = COLD_S - 100 * DAY_S
METRIC_SETTLE_S = 60.0
RU_PER_COUNT = 3.0
TICK_S = 30.0
TICKS_MAX = 10_000
FOLLOWING_MAX = 20  # messages that others lead to within a tick; who finds no seat is sent again
MODES = ("readback", "reread")
MANY = 300
DENSE_MAX = 300  # in one second: listing more ids would take longer than Ebb allows itself
KEYS: tuple[tuple[str, ...], ...] = (("/pk",), ("/tenant", "/user/id"), ("/a", "/b", "/c"))
SIZES = (0, 1, 2, 31, 32, 33, 65, 300, 1000, 3000)
SIZE_WEIGHTS = (1, 2, 2, 2, 2, 2, 2, 4, 4, 6)
SHAPE_MIXES: tuple[Mapping[str, int], ...] = (
    {"order": 8, "mixed": 4, "numbers": 2, "text": 2, "deep": 1, "bare": 1},
    {"order": 20, "bare": 1},
    {"numbers": 1},
    {"text": 1, "mixed": 1},
    {"deep": 1},
    {"order": 4, "wide": 1},
    {"bare": 1},
)
HEAVY: Mapping[str, int] = {"order": 12, "large": 1}  # megabytes: only where documents are few


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a container holds and how its migration is cut."""

    documents: int
    shapes: Mapping[str, int]
    paths: tuple[str, ...] = ("/pk",)
    promote: tuple[str, ...] = ()
    ranges: int = 1
    ru_per_read: float = 5.0
    budget_s: int = 8
    documents_max: int = 20_000
    spread_s: int = COLD_S - OLDEST_S
    restless: float = 0.0
    """How likely a window loses a document to the present, or for good, just before it is read or
    while it is."""


def layout(rng: Random, documents_max: int) -> Layout:
    """Any container; one row to many row groups a slice."""
    size = min(documents_max, rng.choices(SIZES, SIZE_WEIGHTS)[0])
    heavy = size <= 65 and rng.random() < 0.3
    dense = rng.random() < 0.15
    many = size > MANY  # not in slices of two documents each: that is tried where they are few
    return Layout(
        documents=min(size, DENSE_MAX) if dense else size,
        shapes=HEAVY if heavy else rng.choice(SHAPE_MIXES),
        paths=rng.choice(KEYS),
        promote=rng.choice([(), ("/created",), ("/total", "/late0", "/lines", "/id")]),
        ranges=rng.choice([1, 1, 2, 3]),
        ru_per_read=0.5 if dense else rng.choice([0.5, 5.0] if many else [0.5, 5.0, 40.0]),
        budget_s=rng.choice([8, 30] if many else [2, 8, 30]),
        documents_max=rng.choice([40, 200]) if dense else 20_000,
        spread_s=1 if dense else rng.choice([COLD_S - OLDEST_S, 3 * DAY_S, 3600]),
        restless=rng.choice([0.0, 0.0, 0.3]),
    )


Stored = tuple[int, dict[str, Any]]


@dataclass(slots=True)
class Container:
    """The Source port over documents in order of `_ts`; pages are of the window as first asked."""

    layout: Layout
    rng: Random
    now_s: Callable[[], float]
    rows: list[list[Stored]] = field(default_factory=list)
    reading: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    left: int = 0
    """Documents that were updated or deleted while somebody read."""

    def fill(self) -> None:
        found: list[list[Stored]] = [[] for _ in range(self.layout.ranges)]
        for index in range(self.layout.documents):
            ts = COLD_S - 1 - self.rng.randrange(self.layout.spread_s)
            found[index % self.layout.ranges].append((ts, self._document(index, ts)))
        self.rows = [sorted(each, key=lambda row: row[0]) for each in found]

    def _document(self, index: int, ts: int) -> dict[str, Any]:
        rng = self.rng
        (shape,) = rng.choices(list(self.layout.shapes), list(self.layout.shapes.values()))
        document = body_of(rng, shape) | {"id": identifier(rng, index)}
        for path in self.layout.paths:
            if rng.random() < 0.9:
                _place(document, path.strip("/").split("/"), key_part(rng))
        return document | {
            "_ts": ts,
            "_etag": f'"{rng.getrandbits(64):016x}"',
            "_rid": "r==",
            "_self": "dbs/db/colls/c/docs/d",
            "_attachments": "attachments/",
        }

    def partition_key_paths(self) -> tuple[str, ...]:
        return self.layout.paths

    def ranges(self) -> tuple[FeedRange, ...]:
        count = range(self.layout.ranges)
        return tuple(FeedRange(id=f"r{i:03d}", token=str(i)) for i in count)

    def partitions_of(self, ranges: Sequence[FeedRange]) -> Mapping[str, tuple[str, ...]]:
        return {each.id: (each.token,) for each in ranges}

    def count(self, query: Query) -> Measured:
        return Measured(value=len(self._within(query)), ru=RU_PER_COUNT)

    def earliest_s(self, query: Query) -> Measured:
        times = [document["_ts"] for document in self._within(query)]
        return Measured(value=min(times, default=None), ru=RU_PER_COUNT)

    def documents(self, query: Query, *, continuation: str | None, limit: int) -> Page:
        restless = continuation is None and self.rng.random() < self.layout.restless
        before = restless and self.rng.random() < 0.5
        if before:
            self._lose_one(query)
        page = self._page(query, continuation, limit)
        if restless and not before:
            self._lose_one(query)
        return page

    def identities(
        self, query: Query, *, continuation: str | None, limit: int, paths: tuple[str, ...]
    ) -> Page:
        return self._page(query, continuation, limit)

    def _page(self, query: Query, continuation: str | None, limit: int) -> Page:
        token, start = f"{len(self.reading)}", 0
        if continuation is None:
            self.reading[token] = self._within(query)
        else:
            token, _, offset = continuation.partition(":")
            start = int(offset)
        found, end = self.reading[token], start + limit
        items = found[start:end]
        more = f"{token}:{end}" if end < len(found) else None
        if more is None:
            self.reading[token] = []
        ru = RU_PER_COUNT + self.layout.ru_per_read * len(items)
        return Page(items=items, ru=ru, continuation=more)

    def _within(self, query: Query) -> list[dict[str, Any]]:
        extent = query.extent
        rows = self.rows[int(extent.range.token)]
        lo = bisect_left(rows, extent.window.lo_s, key=lambda row: row[0])
        hi = bisect_left(rows, extent.window.hi_s, key=lambda row: row[0])
        found = [document for _, document in rows[lo:hi]]
        if (extent.id_lo, extent.id_hi, query.ids) == (None, None, None):
            return found
        low, high = extent.id_lo or "", extent.id_hi
        return [
            each
            for each in found
            if low <= each["id"]
            and (high is None or each["id"] < high)
            and (query.ids is None or each["id"] in query.ids)
        ]

    def _lose_one(self, query: Query) -> None:
        found = self._within(query)
        if not found or query.ids is not None:
            return
        gone = self.rng.choice(found)
        rows = self.rows[int(query.extent.range.token)]
        rows[:] = [row for row in rows if row[1] is not gone]
        if self.rng.random() < 0.5:
            now_s = int(self.now_s())
            rows.append((now_s, gone | {"_ts": now_s, "_etag": '"updated"'}))
        self.left += 1


def _place(document: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """A world with one container of its own, and the application over it."""

    world: World
    app: App
    container: Container


def begin(seed: int, plan: Layout, modes: Sequence[str] = MODES) -> Migrated:
    """One migration for each way of validating, each into its own prefix, all of one source."""
    world = make_world(seed, ranges=plan.ranges)
    container = Container(layout=plan, rng=Random(seed), now_s=world.clock.now_s)
    container.fill()
    app = assemble(replace(world.ports, sources=MemorySources(source=container)), METRIC_SETTLE_S)
    for mode in modes:
        app.operating.apply(spec_of(plan, mode))
        app.operating.start(mode)
    return Migrated(world=world, app=app, container=container)


def spec_of(plan: Layout, mode: str) -> str:
    return json.dumps(
        {
            "name": mode,
            "source": {
                "account": "acct",
                "database": "db",
                "container": "c",
                "partition_key": list(plan.paths),
            },
            "cold": {"older_than": "90d"},
            "sink": {"container": "archive", "prefix": mode, "promote": list(plan.promote)},
            "capacity": {"ru_per_s_per_partition": 1000, "partitions": 1},
            "slice": {
                "budget_s": plan.budget_s,
                "documents_max": plan.documents_max,
                "attempts_max": 3,
            },
            "validation": mode,
        }
    )


def drive(
    migrated: Migrated,
    *,
    until: Callable[[], bool],
    validating: bool = True,
    limit: int = TICKS_MAX,
) -> None:
    """Tick and deliver until it is so; a migration that never gets there is a failure."""
    app, world = migrated.app, migrated.world
    run = {COPY_QUEUE: app.copying.run}
    if validating:
        run[VALIDATE_QUEUE] = app.validating.run
    for _ in range(limit):
        app.controller.tick()
        ticked_s = world.clock.now_s()
        for queue in tuple(run) * (len(world.mail.letters) + FOLLOWING_MAX):
            if world.clock.now_s() - ticked_s >= TICK_S:
                break  # nobody ticks while a worker works, and an old board grants nothing
            if letter := world.mail.take(queue):
                run[queue](letter.text)
        if until():
            return
        world.clock.advance(max(0.0, ticked_s + TICK_S - world.clock.now_s()))
    raise AssertionError(f"after {limit} ticks it is not done: {migrated.container.layout}")


def completed(app: App) -> bool:
    """Whether every migration is done, or will never be."""
    ended = {MigrationState.COMPLETED, MigrationState.HALTED}
    return all(each.state in ended for each in app.ports.ledger.migrations())
