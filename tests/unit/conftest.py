"""A finished archive for the unit tests that look at one."""

from __future__ import annotations

import pytest

from tests.simulation.test_any_misfortune import DAY_S, SPEC, calm_down
from tests.simulation.world import START_S, World, make_world


@pytest.fixture
def archived() -> World:
    """A completed migration of sixty documents in several slices."""
    world = make_world(5)
    for index in range(60):
        ts = START_S - (100 + index) * DAY_S
        world.source.put(f"doc-{index:02d}", ts=ts, body={"n": index})
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    calm_down(world)
    return world
