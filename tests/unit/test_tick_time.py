"""How long one tick lasts, and what it leaves undone when its time or its lease is over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.memory import OneByOne
from shared.adapters.monitor import AzureMonitor
from shared.adapters.threads import Threads
from shared.application.controller import TICK_S_MAX
from shared.domain.governor import TICK_S
from shared.errors import TransientError
from shared.ports import Together
from shared.wiring import App, assemble
from tests.simulation.runs import DAY_S
from tests.simulation.world import SETTLE_S, START_S, World, make_world

SPEC = """
name: {name}
source: {{account: acct, database: db, container: {container}, partition_key: /pk}}
cold: {{older_than: 90d}}
sink: {{container: archive, prefix: {name}}}
capacity: {{ru_per_s_per_partition: 1000, partitions: 1}}
"""
PATIENCE_S = 20.0  # of a barrier that would otherwise wait for ever


class Slow:
    """A port whose every call takes a while on the world's clock."""

    def __init__(self, port: Any, world: World, seconds: float) -> None:
        self._port, self._world, self._seconds = port, world, seconds

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._world.clock.advance(self._seconds)
            return getattr(self._port, name)(*arguments, **named)

        return call


@pytest.fixture
def world() -> World:
    world = make_world(1)
    for index in range(6):
        world.source.put(f"doc-{index}", ts=START_S - 200 * DAY_S + index, body=index)
    for number in range(3):
        world.calm.operating.apply(SPEC.format(name=f"move-{number}", container=f"c{number}"))
        world.calm.operating.start(f"move-{number}")
    return world


def app_with(world: World, **ports: Any) -> App:
    return assemble(replace(world.ports, **ports), SETTLE_S)


@pytest.mark.parametrize("together", [OneByOne(), Threads()], ids=["memory", "threads"])
def test_calls_made_together_answer_in_their_order(together: Together) -> None:
    """A failure of ours is an answer beside the others; no calls, no answers."""
    failure = TransientError("busy")

    def failing() -> int:
        raise failure

    assert together.run([lambda: 1, failing, lambda: 3]) == (1, failure, 3)
    assert together.run([]) == ()
    with pytest.raises(ZeroDivisionError):
        together.run([lambda: 1 // 0])


def test_sources_are_asked_at_the_same_time(world: World) -> None:
    """One after the other, sixteen sources with a slow Monitor take longer than the lease."""
    barrier = threading.Barrier(3)

    class Meeting:
        def minutes(self, *arguments: Any, **named: Any) -> Any:
            barrier.wait(PATIENCE_S)
            return world.monitor.minutes(*arguments, **named)

        def provision(self, *arguments: Any, **named: Any) -> Any:
            return world.monitor.provision(*arguments, **named)

    app = app_with(world, monitor=Meeting(), together=Threads())
    world.clock.advance(TICK_S)
    assert {entry.source for entry in app.controller.tick()} == {"db/c0", "db/c1", "db/c2"}


def test_monitor_is_asked_its_three_questions_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may take eight seconds, twice."""
    barrier = threading.Barrier(3)

    def series(*_: object) -> list[object]:
        barrier.wait(PATIENCE_S)
        return []

    monkeypatch.setattr(AzureMonitor, "_series", series)
    monitor = AzureMonitor(
        resource_id="/subscriptions/s",
        management_endpoint="https://x",
        credential=object(),
    )
    assert monitor.minutes("db", "c", since_s=0, until_s=900) == {}


class Counted:
    """Sources whose every count takes long, and which note for whom it was."""

    def __init__(self, world: World, seconds: float) -> None:
        self.account, self._world, self._seconds = "acct", world, seconds
        self.counted: list[str] = []

    def open(self, database: str, container: str) -> Any:
        source = self._world.ports.sources.open(database, container)
        counts, world, seconds, counted = source.count, self._world, self._seconds, self.counted

        class Opened:
            def __getattr__(self, name: str) -> Any:
                return getattr(source, name)

            def count(self, query: Any) -> Any:
                counted.append(container)
                world.clock.advance(seconds)
                return counts(query)

        return Opened()


def test_a_tick_whose_time_is_over_asks_no_source_any_more(world: World) -> None:
    """Each source has its span, and all together have the tick's."""
    sources = Counted(world, TICK_S_MAX / 2 - 1.0)
    app = app_with(world, sources=sources)
    world.clock.advance(TICK_S)
    app.controller.tick()
    assert len(set(sources.counted)) == 2


def test_another_source_comes_first_at_each_tick(world: World) -> None:
    """Of sources that have no time in one tick each has its turn in the next ones."""
    sources = Counted(world, TICK_S_MAX + 1.0)
    app = app_with(world, sources=sources)
    for _ in range(3):
        world.clock.advance(TICK_S)
        app.controller.tick()
    assert sorted(sources.counted) == ["c0", "c1", "c2"]


def test_a_long_tick_keeps_its_lease(world: World) -> None:
    """Another controller that comes meanwhile finds it taken."""
    others: list[object] = []

    class Watched(Slow):
        def __getattr__(self, name: str) -> Callable[..., Any]:
            others.append(world.ports.lease.acquire())
            return super().__getattr__(name)

    app = app_with(world, journal=Watched(world.ports.journal, world, 25.0))
    world.clock.advance(TICK_S)
    assert len(app.controller.tick()) == 3
    assert others != []
    assert set(others) == {None}


def test_a_controller_that_lost_its_lease_acts_no_more(world: World) -> None:
    """It slept through it after its first source; the others are the next controller's."""
    app = app_with(world, journal=Slow(world.ports.journal, world, 100.0))
    world.clock.advance(TICK_S)
    assert len(app.controller.tick()) == 1


def test_no_decision_waits_for_habits(world: World) -> None:
    """The logs may take most of a minute: they are asked when the tick has done its work."""
    asked_at: list[int] = []

    class Asked(Slow):
        def __getattr__(self, name: str) -> Callable[..., Any]:
            asked_at.append(len(world.ports.journal.entries(since_s=0.0, limit=100)))
            return super().__getattr__(name)

    app = app_with(world, history=Asked(world.ports.history, world, 0.0))
    world.clock.advance(TICK_S)
    app.controller.tick()
    assert asked_at != []
    assert set(asked_at) == {3}
