"""Retiring and undoing under seeded kills, faults and owners: every read is right at every step."""

from __future__ import annotations

import pytest

from tests.simulation.retirees import MODES, simulated


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(30))
def test_every_read_is_right_while_documents_leave_and_return(seed: int, mode: str) -> None:
    """Replay a failure by its seed and mode."""
    simulated(seed, mode)
