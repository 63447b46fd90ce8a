"""A scheduled migration keeps its promises cycle after cycle, whatever happens meanwhile."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shared.domain.runs import RunState
from shared.domain.slices import MigrationState
from tests.audit.archives import audited, dump
from tests.simulation.checkers import check_tiling
from tests.simulation.cycles import DAY_S, EVERY_S, SPEC, archived, ends, lived
from tests.simulation.factory_floor import Floor
from tests.simulation.test_runs import finish
from tests.simulation.world import START_S, make_world
from tools import audit

SEEDS = range(16)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_cycle_proves_what_became_cold_in_its_newest_version(
    seed: int, tmp_path: Path
) -> None:
    """Replay a failure by its seed; the auditor, who shares no code, says the same."""
    days = lived(seed)
    code, report = audited(dump(days.world, tmp_path))
    assert (code, report["faults"], report["complete"]) == (audit.PROVEN, {}, True)
    assert report["cycles"] == len(ends(days.world))


def test_the_days_are_as_eventful_as_they_should_be() -> None:
    """Cycles of which none took up an update, or that met no crash, would prove little."""
    several = [lived(seed) for seed in (1, 2, 3, 4)]
    assert min(len(ends(each.world)) for each in several) >= 3
    assert sum(each.run.happened["crash"] for each in several) >= 5
    versions = [len(rows) for each in several for rows in archived(each.world).values()]
    assert max(versions) >= 2


def test_a_factory_copies_each_cycle() -> None:
    """Runs are ordered for a cycle's windows only, and none is left between two of them."""
    world = make_world(5, ranges=2)
    for index in range(8):
        world.source.put(f"doc-{index}", ts=START_S - 4 * DAY_S + index * DAY_S // 2, body=index)
    world.calm.operating.apply(SPEC + "engine: adf\n")
    world.calm.operating.start("sim")
    floor = Floor(world=world, chance=random.Random(5))
    assert finish(floor) is MigrationState.COMPLETED
    first = len(floor.factory.orders)
    for _ in range(4):
        world.clock.advance(EVERY_S)
        world.calm.controller.tick()
        assert finish(floor) is MigrationState.COMPLETED
    assert {run.state for run in floor.factory.told.values()} == {RunState.SUCCEEDED}
    lows = [order.extent.window.lo_s for order in list(floor.factory.orders.values())[first:]]
    assert min(lows) == START_S - DAY_S
    check_tiling(world)
    assert world.calm.verifying.run("sim").faults == []
    assert len(ends(world)) == 5
