"""Capacity, layout and habits are asked for again once they are old, and not before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from shared.application.deciding import HABITS_VALID_S, LAYOUT_RETRY_S, LAYOUT_VALID_S, capacity_of
from shared.domain.profile import Profile
from shared.domain.spec import Capacity
from shared.errors import TransientError
from shared.ports import MinuteUse, Provision
from shared.wiring import App, assemble
from tests.simulation.runs import SPEC
from tests.simulation.signals import MemoryMonitor
from tests.simulation.world import SETTLE_S, START_S, World, make_world

DISCOVERED = SPEC.replace(", partitions: 1", "")
UNTOLD = """
name: untold
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive, prefix: untold}
"""
PER_PARTITION = 1000


@dataclass(slots=True)
class Growing(MemoryMonitor):
    """Tells how many partitions there are, as a test says; it may be away."""

    partitions: int = 1
    away: bool = False

    def provision(self, database: str, container: str, *, now_s: int) -> Provision | None:
        if self.away:
            raise TransientError("reading Azure Monitor: it does not answer")
        return Provision(partitions=self.partitions, ru_per_s=None)


@dataclass(slots=True)
class Asked:
    """Logs that note when they were asked."""

    world: World
    at_s: list[float] = field(default_factory=list)

    def profile(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Profile | None:
        self.at_s.append(self.world.clock.now_s())
        return None

    def partition_shares(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> dict[str, float]:
        return {}


@pytest.fixture
def world() -> World:
    world = make_world(3)
    for index in range(400):
        world.source.put(f"doc-{index}", ts=START_S - 91 * 86_400 - index, body=1)
    world.calm.operating.apply(DISCOVERED)
    world.calm.operating.start("sim")
    return world


def growing(world: World) -> tuple[App, Growing]:
    monitor = Growing(clock=world.clock, source=world.source)
    return assemble(replace(world.ports, monitor=monitor), SETTLE_S), monitor


def capacity(world: World, app: App, *, after_s: float) -> float:
    world.clock.advance(after_s)
    (entry,) = app.controller.tick()
    return entry.decision.capacity_ru_per_s


def test_capacity_follows_a_split_within_ten_minutes(world: World) -> None:
    """The layout of a tick is kept for a while; then it is asked for again."""
    app, monitor = growing(world)
    assert capacity(world, app, after_s=30.0) == PER_PARTITION
    monitor.partitions = 4
    assert capacity(world, app, after_s=30.0) == PER_PARTITION
    assert LAYOUT_VALID_S <= 600.0
    assert capacity(world, app, after_s=LAYOUT_VALID_S) == 4 * PER_PARTITION


def test_a_monitor_that_is_away_leaves_the_layout_last_known(world: World) -> None:
    """It is asked again within a minute, and not at each tick."""
    app, monitor = growing(world)
    monitor.partitions = 3
    assert capacity(world, app, after_s=30.0) == 3 * PER_PARTITION
    monitor.away = True
    assert capacity(world, app, after_s=LAYOUT_VALID_S) == 3 * PER_PARTITION
    monitor.away, monitor.partitions = False, 5
    assert capacity(world, app, after_s=LAYOUT_RETRY_S) == 5 * PER_PARTITION


def test_habits_are_read_again_after_some_hours(world: World) -> None:
    """Once, then not at the next ticks, then again."""
    asked = Asked(world=world)
    app = assemble(replace(world.ports, history=asked), SETTLE_S)
    capacity(world, app, after_s=30.0)
    capacity(world, app, after_s=30.0)
    assert len(asked.at_s) == 1
    capacity(world, app, after_s=HABITS_VALID_S)
    assert len(asked.at_s) == 2


@pytest.mark.parametrize(
    ("partitions", "ru_per_s"), [(1, 5000), (2, 5000), (5, 5000), (6, 6000), (12, 12_000)]
)
def test_serverless_capacity_is_the_lower_table_until_more_was_given(
    partitions: int, ru_per_s: float
) -> None:
    """Of Microsoft's two pages the one that says less, where nobody says more."""
    found = Provision(partitions=partitions, ru_per_s=None)
    assert capacity_of(Capacity(), 1, found)[0] == ru_per_s
    assert capacity_of(Capacity(), partitions, None)[0] == ru_per_s
    told = Capacity(ru_per_s_per_partition=5000)
    assert capacity_of(told, 1, found)[0] == 5000 * partitions
    bought = Provision(partitions=partitions, ru_per_s=40_000)
    assert capacity_of(Capacity(), 1, bought)[0] == 40_000


@pytest.mark.parametrize(
    ("seen_ru_per_s", "throttled", "requests", "expected"),
    [
        (7000, 0, 60_000, 7000),
        (7000, 1, 60_000, 5000),
        (7000, 0, 0, 5000),
        (30_000, 0, 60_000, 15_000),
        (3000, 0, 60_000, 5000),
    ],
)
def test_a_minute_without_a_429_shows_that_more_is_there(
    world: World, seen_ru_per_s: float, throttled: int, requests: int, expected: float
) -> None:
    """Where requests are known and none was refused; never more than 5,000 a partition."""

    class Busy(Growing):
        def minutes(
            self, database: str, container: str, *, since_s: int, until_s: int
        ) -> Mapping[int, MinuteUse]:
            told = super().minutes(database, container, since_s=since_s, until_s=until_s)
            seen = MinuteUse(total_ru=60 * seen_ru_per_s, requests=requests, throttled=throttled)
            return {**told, min(told): seen} if told else told

    world.calm.operating.apply(UNTOLD)
    world.calm.operating.pause("sim")
    world.calm.operating.start("untold")
    monitor = Busy(clock=world.clock, source=world.source, partitions=3)
    app = assemble(replace(world.ports, monitor=monitor), SETTLE_S)
    assert capacity(world, app, after_s=300.0) == expected
