"""Several migrations in one tick: none waits for what another waits for, fails at or is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.application import retirements
from shared.domain.board import BOARD_VALID_S
from shared.domain.governor import TICK_S
from shared.domain.halts import Halt, halt_of
from shared.domain.slices import MigrationState
from shared.errors import PermanentError, WrongState
from shared.ports import COPY_QUEUE, RETIRE_QUEUE, VALIDATE_QUEUE
from shared.wiring import assemble
from tests.simulation.runs import DAY_S
from tests.simulation.world import START_S, World, make_world

SPEC = """
name: {name}
source: {{account: acct, database: db, container: {container}, partition_key: /pk}}
cold: {{older_than: 90d}}
sink: {{container: archive, prefix: {name}}}
capacity: {{ru_per_s_per_partition: 1000, partitions: 1}}
slice: {{budget_s: 2, in_flight_max: 3}}
"""
RETIRES = "retire: delete\nretire_grace: 7d\n"
MANY = 17  # one more than a tick takes
TICKS_MAX = 60


@pytest.fixture
def world() -> World:
    world = make_world(1)
    for index in range(4):
        world.source.put(f"doc-{index}", ts=START_S - 200 * DAY_S + index, body=index)
    return world


def started(world: World, name: str, *, container: str = "c", more: str = "") -> None:
    world.calm.operating.apply(SPEC.format(name=name, container=container) + more)
    world.calm.operating.start(name)


def turn(world: World) -> None:
    """A tick, and all that its messages ask for."""
    world.clock.advance(TICK_S)
    world.calm.controller.tick()
    for queue, run in (
        (COPY_QUEUE, world.calm.copying.run),
        (VALIDATE_QUEUE, world.calm.validating.run),
        (RETIRE_QUEUE, world.calm.retiring.run),
    ):
        while letter := world.mail.take(queue):
            run(letter.text)


def until_completed(world: World, names: Sequence[str]) -> None:
    for _ in range(TICKS_MAX):
        turn(world)
        states = {m.name: m.state for m in world.ports.ledger.migrations()}
        if all(states[name] is MigrationState.COMPLETED for name in names):
            return
    raise AssertionError(f"not all are completed: {states}")


def waiting(world: World, names: Sequence[str]) -> None:
    """Retirements that may do nothing before their grace period is over."""
    for name in names:
        world.calm.retirements.execute(name, {"protection": "a rehearsal"})
    for _ in range(3):
        turn(world)


def test_retirements_that_wait_take_nobodys_turn(world: World) -> None:
    """Of seventeen one more would never come to its own; and nothing is unhealthy meanwhile."""
    names = [f"old-{number:02d}" for number in range(MANY)]
    for number, name in enumerate(names):
        started(world, name, container=f"c{number}", more=RETIRES)
    until_completed(world, names)
    waiting(world, names)
    world.clock.advance(BOARD_VALID_S)
    assert world.calm.operating.health()["healthy"]
    started(world, "new", container="fresh")
    until_completed(world, ["new"])
    world.clock.advance(8 * DAY_S)
    until_gone(world, names)


def until_gone(world: World, names: Sequence[str]) -> None:
    for _ in range(TICKS_MAX):
        turn(world)
        if not any(world.ports.ledger.migration(name).retiring for name in names):
            return
    raise AssertionError("retirements whose grace is over do not end")


def test_a_retirement_that_waits_takes_no_share(world: World) -> None:
    """All of the budget is the copy's until there is something to remove."""
    started(world, "old", more=RETIRES)
    until_completed(world, ["old"])
    waiting(world, ["old"])
    for index in range(3_000):
        world.source.put(f"more-{index}", ts=START_S - 150 * DAY_S + index, body=index)
    started(world, "new")
    for _ in range(4):
        world.clock.advance(TICK_S)
        (entry,) = world.calm.controller.tick()
    assert [share.migration for share in entry.shares] == ["new"]


def test_migrations_that_hold_let_others_pass(world: World) -> None:
    """As many as a tick takes, of containers that no metric is told of, and then one more."""
    world.monitor.place = ("db", "c")
    for number in range(MANY - 1):
        started(world, f"silent-{number:02d}", container=f"silent{number}")
    for _ in range(4):
        turn(world)
    started(world, "told", container="c")
    until_completed(world, ["told"])


def test_one_source_that_refuses_stops_itself_alone(world: World) -> None:
    """Its role was taken away; the other goes on, and the refusal is told."""
    started(world, "one", container="closed")
    started(world, "two", container="open")
    world.calm.controller.tick()
    sources = world.ports.sources

    class Closed:
        account = sources.account

        def write_regions(self) -> tuple[str, ...]:
            return ("West",)

        def open(self, database: str, container: str) -> Any:
            if container == "closed":
                raise PermanentError("opening db/closed: refused (403); give it the role")
            return sources.open(database, container)

    app = assemble(replace(world.ports, sources=Closed()), 60.0)
    for _ in range(3):
        world.clock.advance(TICK_S)
        entries = app.controller.tick()
    ledger = world.ports.ledger
    assert ledger.migration("one").state is MigrationState.HALTED
    assert "refused (403)" in ledger.migration("one").reason
    assert ledger.migration("two").state is MigrationState.RUNNING
    assert [entry.source for entry in entries] == ["db/open"]


def test_a_board_is_valid_from_when_it_is_told(world: World) -> None:
    """However long it took to ask all sources; each grant knows when its reading is too old."""
    names = [f"m-{number}" for number in range(4)]
    for number, name in enumerate(names):
        started(world, name, container=f"c{number}")
    monitor = world.ports.monitor

    class Slow:
        def minutes(self, *asked: Any, **more: Any) -> Any:
            world.clock.advance(10.0)
            return monitor.minutes(*asked, **more)

        def __getattr__(self, name: str) -> Any:
            return getattr(monitor, name)

    slow: Any = Slow()
    assemble(replace(world.ports, monitor=slow), 60.0).controller.tick()
    board = world.ports.boards.read()
    asked_s = 10.0 * (len(names) - 1)  # after the first one was observed
    assert board.valid_until_s - board.decided_at_s >= BOARD_VALID_S + asked_s


def test_pausing_a_migration_holds_its_retirement_as_well(world: World) -> None:
    """Whoever pauses means all of it; of a completed one the retirement alone can be held."""
    started(world, "old", more=RETIRES.replace("7d", "0s") + "schedule: {every: 24h}\n")
    until_completed(world, ["old"])
    world.calm.retirements.execute("old", {"protection": "a rehearsal"})
    with pytest.raises(WrongState, match="ebb retire old --pause"):
        world.calm.operating.pause("old")
    world.clock.advance(DAY_S + 60.0)
    world.calm.controller.tick()
    assert world.ports.ledger.migration("old").state is MigrationState.RUNNING
    spent = world.source.ru_charged
    world.calm.operating.pause("old")
    for _ in range(10):
        turn(world)
    assert world.source.ru_charged == spent
    assert world.ports.ledger.migration("old").state is MigrationState.PAUSED
    assert world.calm.operating.status("old").stalled_since_s is None
    retirement = world.ports.ledger.retirement("old")
    assert retirement is not None
    assert not retirement.running


def test_a_retirements_notice_tells_its_own_halt(world: World) -> None:
    """And not that of the copy, which may be another matter."""
    started(world, "old", more=RETIRES)
    until_completed(world, ["old"])
    waiting(world, ["old"])
    retirement = world.ports.ledger.retirement("old")
    assert retirement is not None
    ledger = world.ports.ledger
    ledger.put_migration(replace(ledger.migration("old"), halt=Halt.ONLY_QUARANTINED))
    error = PermanentError("something of the archive")
    retirements.halt_retirement(world.ports, "old", error)
    told = [notice for notice in ledger.migration("old").notices if notice.halt]
    assert [notice.topic for notice in told] == [halt_of(error).value]
