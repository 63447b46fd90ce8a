"""A slice that kills whoever works on it halts its migration; one often given back does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.domain.slices import CLAIMS_MAX, MigrationState, Slice, SliceState
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
