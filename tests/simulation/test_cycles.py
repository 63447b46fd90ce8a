"""A scheduled migration keeps its promises cycle after cycle, whatever happens meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.archives import audited, dump
from tests.simulation.cycles import archived, ends, lived
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
