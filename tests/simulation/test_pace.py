"""The whole application beside a living business, on a virtual clock that ticks while workers wait.

The source has a capacity and answers 429 when business and Ebb together want more in a second.
Monitor tells true totals, late and sometimes not at all, so Ebb's own spending comes back to it.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import pytest

from shared.domain.governor import STALE_AFTER_S
from shared.domain.slices import MigrationState
from shared.errors import Throttled
from shared.ports import COPY_QUEUE, MinuteUse, Page, Provision, Query
from tests.simulation.test_any_misfortune import DAY_S
from tests.simulation.world import (
    CAPACITY_RU_PER_S,
    QUEUES,
    START_S,
    MemorySource,
    World,
    make_world,
)

LIMIT_RU_PER_S = 0.8 * CAPACITY_RU_PER_S
LAG_S = 120
TICK_S = 30
BOARD_LOOK_S = 2
DOCUMENTS = 1_500
RU_PER_READ = 250.0  # nearly a second of the slack for one document
SPEC = """
name: sim
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 1000, partitions: 1}
slice: {budget_s: 60, in_flight_max: 1}
"""

Load = Callable[[float], float]


@dataclass(slots=True)
class Shared:
    """A second's capacity, taken by the business first."""

    load: Load
    own: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    throttled_at: list[float] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)

    def take(self, now_s: float, ru: float) -> None:
        self.asked_at.append(now_s)
        if self.load(now_s) + self.own[int(now_s)] > CAPACITY_RU_PER_S:
            self.throttled_at.append(now_s)
            raise Throttled("429", retry_after_s=0.1)
        self.own[int(now_s)] += ru

    def own_ru_per_s(self, minute_s: int) -> float:
        return sum(self.own.get(s, 0.0) for s in range(minute_s, minute_s + 60)) / 60

    def business_ru_per_s(self, minute_s: int) -> float:
        return sum(self.load(s) for s in range(minute_s, minute_s + 60)) / 60

    def overruns(self, since_s: int, until_s: int) -> list[int]:
        """Minutes over the ceiling that the business alone would have stayed below."""
        return [
            minute
            for minute in range(since_s // 60 * 60 + 60, until_s // 60 * 60, 60)
            if (business := self.business_ru_per_s(minute)) <= LIMIT_RU_PER_S
            and business + self.own_ru_per_s(minute) > LIMIT_RU_PER_S * 1.001
        ]


@dataclass(slots=True)
class SharedSource:
    """The source's answers, each paid from the capacity it shares with the business."""

    inner: Any
    memory: MemorySource
    shared: Shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def count(self, query: Query) -> Any:
        return self._paid(lambda: self.inner.count(query))

    def documents(self, query: Query, *, continuation: str | None, limit: int) -> Page:
        found: Page = self._paid(
            lambda: self.inner.documents(query, continuation=continuation, limit=min(limit, 1))
        )
        return found

    def _paid(self, ask: Callable[[], Any]) -> Any:
        answer = ask()
        self.shared.take(self.memory.clock.now_s(), answer.ru)
        return answer


@dataclass(slots=True)
class LateMonitor:
    """True totals of minutes that ended long enough ago, unless it is silent."""

    shared: Shared
    clock: Any
    lag_s: float = LAG_S
    silent: tuple[float, float] = (math.inf, math.inf)
    lost: frozenset[int] = frozenset()

    def minutes(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[int, MinuteUse]:
        now_s = self.clock.now_s()
        known_s = self.silent[0] if self.silent[0] <= now_s < self.silent[1] else now_s
        return {
            minute: MinuteUse(
                total_ru=60
                * (self.shared.business_ru_per_s(minute) + self.shared.own_ru_per_s(minute))
            )
            for minute in range(since_s // 60 * 60, until_s // 60 * 60, 60)
            if minute + 60 + self.lag_s <= known_s and minute not in self.lost
        }

    def provision(self, database: str, container: str, *, now_s: int) -> Provision | None:
        return None


@dataclass(slots=True)
class Run:
    world: World
    shared: Shared
    monitor: LateMonitor
    next_tick_s: float = START_S + 5.0
    ticking: bool = False
    budgets: list[tuple[float, float]] = field(default_factory=list)
    happenings: list[tuple[float, Callable[[], Any]]] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        """Time passes, and what is due happens: ticks, and what a test has in mind."""
        clock = self.world.clock
        end_s = clock.now_s() + max(0.0, seconds)
        while self.happenings and self.happenings[0][0] <= end_s:
            clock.advance(max(0.0, self.happenings[0][0] - clock.now_s()))
            self.happenings.pop(0)[1]()
        while self.next_tick_s <= end_s and not self.ticking:
            clock.advance(self.next_tick_s - clock.now_s())
            self.next_tick_s += TICK_S
            self.ticking = True
            self.world.calm.controller.tick()
            self.ticking = False
            board = self.world.ports.boards.read()
            self.budgets.append((clock.now_s(), board.budget_ru_per_s))
        clock.advance(max(0.0, end_s - clock.now_s()))

    def work(self, seconds: float) -> None:
        until_s = self.world.clock.now_s() + seconds
        while self.world.clock.now_s() < until_s:
            for queue in QUEUES:
                letter = self.world.mail.take(queue)
                if letter is not None:
                    app = self.world.calm
                    (app.copying if queue == COPY_QUEUE else app.validating).run(letter.text)
            self.wait(1.0)

    @property
    def proven(self) -> int:
        progress = self.world.ports.ledger.progress("sim")
        return progress.documents_proven if progress else 0


def begin(load: Load, *, seed: int = 1, documents: int = DOCUMENTS) -> Run:
    world = make_world(seed)
    shared = Shared(load=load)
    monitor = LateMonitor(shared=shared, clock=world.clock)
    world.source.ru_per_read = RU_PER_READ
    inner = world.ports.sources.source  # type: ignore[attr-defined]
    world.ports.sources.source = SharedSource(  # type: ignore[attr-defined]
        inner=inner, memory=world.source, shared=shared
    )
    object.__setattr__(world.ports, "monitor", monitor)
    chance = random.Random(seed)
    for index in range(documents):
        ts = START_S - chance.randrange(91 * DAY_S, 300 * DAY_S)
        world.source.put(f"doc-{index:04d}", ts=ts, body=index)
    run = Run(world=world, shared=shared, monitor=monitor)
    world.clock.wait = run.wait  # type: ignore[method-assign]
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    return run


def steady(_at_s: float) -> float:
    return 0.5 * CAPACITY_RU_PER_S


def test_a_steady_business_gives_nearly_all_its_slack() -> None:
    """After the first minutes of growth, nine tenths of what the ceiling leaves is used."""
    run = begin(steady)
    run.work(900)
    assert run.shared.throttled_at == []
    assert run.shared.overruns(START_S, START_S + 900) == []
    used = [run.shared.own_ru_per_s(START_S + s) for s in range(300, 840, 60)]
    slack = LIMIT_RU_PER_S - steady(0)
    assert median(used) >= 0.8 * slack  # a tenth is kept for planning
    assert run.proven > 0


def test_a_spike_in_the_blind_time_stops_us_at_the_first_429() -> None:
    """50 to 85 % within a minute, metrics three minutes late: two seconds, and nothing more."""
    begins_s = START_S + 600

    def spike(at_s: float) -> float:
        part = min(1.0, max(0.0, (at_s - begins_s) / 60))
        return (0.5 + 0.35 * part) * CAPACITY_RU_PER_S

    run = begin(spike)
    run.monitor.lag_s = 180
    run.work(1_200)
    first_s = run.shared.throttled_at[0] if run.shared.throttled_at else math.inf
    decided_s = min((at_s for at_s, _ in run.budgets if at_s > first_s), default=math.inf)
    asked = [at_s for at_s in run.shared.asked_at if first_s + BOARD_LOOK_S < at_s < decided_s]
    assert asked == []
    assert len(run.shared.throttled_at) <= 3
    after = [run.shared.own_ru_per_s(s) for s in range(begins_s + 360, begins_s + 540, 60)]
    assert max(after) == 0.0


def test_a_push_makes_room_before_any_metric_tells() -> None:
    """At most a twentieth of capacity five seconds after it, and no 429 of our making."""
    begins_s = START_S + 600

    def spike(at_s: float) -> float:
        return 0.9 * CAPACITY_RU_PER_S if begins_s <= at_s < begins_s + 240 else steady(at_s)

    run = begin(spike)
    run.monitor.lag_s = 180
    said_s = begins_s - 6.0
    word = '{"business_ru_per_s": 900, "for_s": 300, "why": "sale"}'
    run.happenings.append((said_s, lambda: run.world.calm.pressing.push(word)))
    run.work(1_200)
    assert run.happenings == []
    assert run.shared.throttled_at == []
    late = [run.shared.own.get(int(said_s) + s, 0.0) for s in range(6, 290)]
    assert sum(late) / len(late) <= 0.05 * CAPACITY_RU_PER_S
    assert run.shared.own_ru_per_s(int(said_s) // 60 * 60 + 540) > 0


def test_silent_metrics_stop_everything_and_it_resumes_by_itself() -> None:
    """Ten minutes without a reading: nothing after the staleness limit, and then it goes on."""
    run = begin(steady)
    silent = (START_S + 400.0, START_S + 1_000.0)
    run.monitor.silent = silent
    run.work(1_500)
    newest_s = (silent[0] - LAG_S) // 60 * 60
    stale_s = newest_s + STALE_AFTER_S
    assert any(stale_s - 60 <= s < stale_s for s in run.shared.own)
    seen_s = stale_s + BOARD_LOOK_S  # a worker looks at the board so often
    assert [s for s, ru in run.shared.own.items() if ru and seen_s < s < silent[1]] == []
    assert any(s > silent[1] for s in run.shared.own)


@pytest.mark.parametrize("seed", range(6))
def test_a_restless_business_is_left_below_the_ceiling(seed: int) -> None:
    """A wandering, noisy load with lost minutes: hardly a minute over the ceiling by our doing."""
    chance = random.Random(seed)
    phase, swing = chance.random() * 6.28, chance.uniform(0.05, 0.3)
    noise = [chance.gauss(1.0, 0.05) for _ in range(2_000)]

    def restless(at_s: float) -> float:
        wave = 0.5 + swing * math.sin(phase + at_s / 900)
        return max(0.0, wave * noise[int(at_s // 60) % len(noise)]) * CAPACITY_RU_PER_S

    run = begin(restless, seed=seed)
    run.monitor.lost = frozenset(
        minute for minute in range(START_S, START_S + 3_600, 60) if chance.random() < 0.1
    )
    run.work(2_400)
    assert len(run.shared.overruns(START_S, START_S + 2_400)) <= 2
    assert len(run.shared.throttled_at) <= 2
    assert run.proven > 0


def test_a_migration_comes_to_its_end_at_the_pace_it_is_given() -> None:
    """Throttling slows it and never stops it; nobody calls it stalled."""
    run = begin(steady, documents=300)
    run.work(1_200)
    assert run.world.ports.ledger.migration("sim").state is MigrationState.COMPLETED
    assert run.proven == 300
    assert run.world.ports.incidents.latest(limit=10) == ()
