"""The application's promises under seeded crashes, faults, lost replies and interleavings."""

from __future__ import annotations

import pytest

from tests.simulation.keeping import kept_seeds
from tests.simulation.runs import DAY_S, SPEC, calm_down, simulate, simulated

__all__ = ["DAY_S", "SPEC", "calm_down", "simulate"]

SEEDS = [*kept_seeds(), *(seed for seed in range(40) if seed not in kept_seeds())]


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_nothing_is_lost_doubled_or_unreceipted(seed: int) -> None:
    """Replay a failure by its seed: the same misfortune comes again."""
    simulated(seed)


def test_the_same_seed_brings_the_same_misfortune() -> None:
    """A failure that cannot be replayed is worth little."""
    first, second = simulated(7), simulated(7)
    assert first.happened == second.happened
    assert first.world.chaos.calls == second.world.chaos.calls
    assert first.world.clock.now_s() == second.world.clock.now_s()
    assert simulated(8).world.chaos.calls != first.world.chaos.calls
