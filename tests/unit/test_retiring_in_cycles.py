"""A retirement with a schedule: what each further cycle proves goes by itself, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.retirement import Direction, RetirementState
from shared.domain.slices import MigrationState
from shared.errors import Conflict
from shared.ports import RETIRE_QUEUE, Change
from tests.audit.archives import DELIVERIES_PER_TICK, TICKS_MAX, turn
from tests.simulation.cycles import SMALL
from tests.simulation.world import World
from tests.unit.test_cycling import COLD_S, scheduled, until_due

DELETE = f"{SMALL}retire: delete\nretire_grace: 0s\n"


def on(world: World, *, deliveries: int = DELIVERIES_PER_TICK) -> None:
    """A tick with what it sends out, and every removal."""
    turn(world, deliveries=deliveries)
    while letter := world.mail.take(RETIRE_QUEUE):
        world.calm.retiring.run(letter.text)


def at_rest(world: World) -> bool:
    retirement = world.ports.ledger.retirement("sim")
    migration = world.ports.ledger.migration("sim")
    assert retirement is not None
    proven = migration.state is MigrationState.COMPLETED
    done = retirement.state is RetirementState.DONE
    return proven and done and retirement.until_s == migration.completed_until_s


def rested(world: World) -> World:
    for _ in range(TICKS_MAX):
        on(world)
        if at_rest(world):
            return world
    raise AssertionError(f"no end in sight: {world.ports.ledger.retirement('sim')}")


@pytest.fixture
def retired() -> World:
    """The first cycle is proven and removed; three documents more grow cold within a day."""
    world = scheduled(spec=DELETE)
    world.calm.retirements.execute("sim", {})
    return rested(world)


def test_each_further_cycle_is_retired_by_itself(retired: World) -> None:
    """The old ones went first; the young ones go once a cycle has proven them, asked by nobody."""
    assert sorted(retired.source.documents) == ["young-0", "young-1", "young-2"]
    until_due(retired)
    rested(retired)
    assert retired.source.documents == {}
    retirement = retired.ports.ledger.retirement("sim")
    assert retirement is not None
    assert (retirement.documents_removed, retirement.documents_expected) == (6, 6)
    assert not retired.ports.ledger.migration("sim").retiring


def test_nothing_of_a_cycle_under_way_is_removed(retired: World) -> None:
    """Its tiling is checked whole at its end; until then a proven slice of it stays."""
    for index in range(60):
        retired.source.put(f"more-{index:02d}", ts=COLD_S + 60 * index, body=index)
    until_due(retired)
    ledger = retired.ports.ledger
    proven = len(list(ledger.done_slices("sim")))
    reached_s = ledger.migration("sim").completed_until_s
    proven_of_cycle = 0
    for _ in range(TICKS_MAX):
        on(retired, deliveries=1)
        if ledger.migration("sim").completed_until_s > reached_s:
            break
        assert len(retired.source.documents) == 63
        proven_of_cycle = len(list(ledger.done_slices("sim"))) - proven
        set_running(retired)
    assert proven_of_cycle > 0


def set_running(world: World) -> None:
    """As if it were still busy with earlier cycles, so that it would take up what it sees."""
    retirement = world.ports.ledger.retirement("sim")
    assert retirement is not None
    running = retirement.moved(RetirementState.RUNNING, reason="by a test", now_s=1.0)
    world.ports.ledger.commit("sim", Change(retirement=running))
    marked = replace(world.ports.ledger.migration("sim"), retiring=True)
    world.ports.ledger.put_migration(marked)


def test_a_retirement_that_is_done_rests_until_the_next_cycle(retired: World) -> None:
    """Nothing is written, dispatched or spent in between."""
    before = (retired.ports.ledger.retirement("sim"), retired.source.ru_charged)
    for _ in range(5):
        on(retired)
    assert (retired.ports.ledger.retirement("sim"), retired.source.ru_charged) == before


def test_an_undone_retirement_takes_up_no_further_cycle(retired: World) -> None:
    """Whoever undid it wanted the documents back; a schedule does not remove them again."""
    retired.calm.retirements.undo("sim")
    until_due(retired)
    for _ in range(60):
        on(retired)
    assert retired.ports.ledger.migration("sim").state is MigrationState.COMPLETED
    assert len(retired.source.documents) == 6
    retirement = retired.ports.ledger.retirement("sim")
    assert retirement is not None
    assert retirement.direction is Direction.RESTORE
    assert retirement.until_s < retired.ports.ledger.migration("sim").completed_until_s


def test_a_paused_retirement_waits_through_further_cycles(retired: World) -> None:
    """A schedule never undoes what a person did; resumed, it takes up what was proven since."""
    until_due(retired)
    while retired.ports.ledger.migration("sim").state is MigrationState.COMPLETED:
        on(retired)
    ledger = retired.ports.ledger
    running = ledger.retirement("sim")
    assert running is not None
    further = running.extended(running.until_s, documents=3, now_s=1.0)
    ledger.commit("sim", Change(retirement=further))
    retired.calm.retirements.pause("sim")
    for _ in range(60):
        on(retired)
    assert len(retired.source.documents) == 3
    retired.calm.retirements.resume("sim")
    rested(retired)
    assert retired.source.documents == {}


def test_a_conflict_while_going_on_is_tried_again(
    retired: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ticks at once: one of them writes, the other finds it written."""
    until_due(retired)
    commit = retired.ports.ledger.commit
    refused: list[Change] = []

    def busy(name: str, change: Change) -> None:
        if change.retirement is not None and not refused:
            refused.append(change)
            raise Conflict("writing the retirement: someone else was first")
        commit(name, change)

    monkeypatch.setattr(retired.ports.ledger, "commit", busy)
    rested(retired)
    assert refused
    assert retired.source.documents == {}
