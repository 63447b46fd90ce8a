"""A slice that kills whoever works on it halts its migration; one often given back does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.application.controller import QUARANTINED_MAX
from shared.domain.slices import (
    CLAIMS_MAX,
    Cause,
    Extent,
    MigrationState,
    Slice,
    SliceState,
    Window,
)
from shared.ports import Change
from tests.simulation.runs import SPEC
from tests.simulation.world import START_S, World, make_world


@pytest.fixture
def world() -> World:
    world = make_world(3)
    world.source.put("doc", ts=START_S - 91 * 86_400, body=1)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    while not world.ports.ledger.open_slices("sim"):
        world.calm.controller.tick()
        world.clock.advance(30)
    return world


def move(world: World, *steps: Callable[[Slice], Slice]) -> None:
    """The first open slice is written after each step, as a worker would."""
    for step in steps:
        (first, *_) = world.ports.ledger.open_slices("sim")
        world.ports.ledger.commit("sim", Change(slices=(step(first),)))


def state_after_a_tick(world: World) -> MigrationState:
    world.calm.controller.tick()
    return world.ports.ledger.migration("sim").state


def test_claims_that_never_end_halt_the_migration(world: World) -> None:
    """Each claim was a worker that died; the message names the slice and the limit."""
    for _ in range(CLAIMS_MAX):
        move(world, Slice.claimed)
    assert state_after_a_tick(world) is MigrationState.RUNNING
    move(world, Slice.claimed)
    assert state_after_a_tick(world) is MigrationState.HALTED
    assert f"claimed over {CLAIMS_MAX} times" in world.ports.ledger.migration("sim").reason


def test_a_person_who_resumes_gives_a_deadly_slice_new_attempts(world: World) -> None:
    """As many as it had before; a worker that was claimed for it last may still end it."""
    for _ in range(CLAIMS_MAX + 1):
        move(world, Slice.claimed)
    assert state_after_a_tick(world) is MigrationState.HALTED
    world.calm.operating.resume("sim")
    assert state_after_a_tick(world) is MigrationState.RUNNING
    (first, *_) = world.ports.ledger.open_slices("sim")
    assert (first.state, first.fence) == (SliceState.COPYING, CLAIMS_MAX + 1)
    for _ in range(CLAIMS_MAX):
        move(world, Slice.claimed)
    assert state_after_a_tick(world) is MigrationState.RUNNING
    move(world, Slice.claimed)
    assert state_after_a_tick(world) is MigrationState.HALTED


def test_a_slice_given_back_for_days_is_not_deadly(world: World) -> None:
    """A migration held by a busy business gives its slices back again and again."""
    for _ in range(2 * CLAIMS_MAX):
        move(world, Slice.claimed, Slice.released)
    assert state_after_a_tick(world) is MigrationState.RUNNING


@pytest.mark.parametrize("cause", [each for each in Cause if each is not Cause.DOCUMENT])
def test_a_quarantine_whose_halt_was_never_written_halts_at_the_next_tick(
    world: World, cause: Cause
) -> None:
    """Its worker died in between, or could not write: the reason is the one it would have given."""

    def failed(target: Slice) -> Slice:
        return target.failed(cause=cause, error="it was so", now_s=0.0, attempts_max=1)

    move(world, Slice.claimed, failed)
    assert state_after_a_tick(world) is MigrationState.HALTED
    halted = world.ports.ledger.migration("sim")
    assert halted.halt == f"slice_{cause.value}"
    assert "failed 1 times: it was so" in halted.reason


def quarantine(world: World, count: int) -> None:
    """As many slices as that, each with a document that cannot be archived."""
    (first, *_) = world.ports.ledger.open_slices("sim")
    odd = tuple(
        Slice(
            migration="sim",
            extent=Extent(window=Window(lo_s=at, hi_s=at + 1), range=first.extent.range),
            state=SliceState.QUARANTINED,
            documents_planned=1,
            failures=1,
            cause=Cause.DOCUMENT,
            error="it holds a number that JSON has not",
        )
        for at in range(1, count + 1)
    )
    world.ports.ledger.commit("sim", Change(slices=odd))


def test_more_quarantined_slices_than_a_few_halt_the_migration(world: World) -> None:
    """As many as the limit do not; one more is not a few odd documents."""
    quarantine(world, QUARANTINED_MAX)
    assert state_after_a_tick(world) is MigrationState.RUNNING
    assert QUARANTINED_MAX == 20  # people are to hear of it while it is still small
    (first, *_) = world.ports.ledger.open_slices("sim")
    more = Extent(window=Window(lo_s=500, hi_s=501), range=first.extent.range)
    another = Slice(
        migration="sim",
        extent=more,
        state=SliceState.QUARANTINED,
        documents_planned=1,
        failures=1,
        cause=Cause.DOCUMENT,
    )
    world.ports.ledger.commit("sim", Change(slices=(another,)))
    assert state_after_a_tick(world) is MigrationState.HALTED
    assert world.ports.ledger.migration("sim").halt == "too_many_quarantined"
