"""Which numbers are told: those of each decision, each migration's totals, each verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.adapters.memory import MemoryTelemetry
from shared.adapters.silence import Silence
from shared.application.measuring import measure_decision
from tests.contract.records import an_entry
from tests.simulation.runs import SPEC, calm_down
from tests.simulation.world import SOURCE, START_S, World, make_world

DAY_S = 86_400


def telemetry_of(world: World) -> MemoryTelemetry:
    found = world.ports.telemetry
    assert isinstance(found, MemoryTelemetry)
    return found


def test_a_migration_tells_its_numbers_while_it_runs() -> None:
    """Budget, business, totals, reasons and verdicts, by source and by migration."""
    world = make_world(5)
    for index in range(60):
        world.source.put(f"doc-{index:02d}", ts=START_S - (100 + index) * DAY_S, body=index)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    calm_down(world)
    told = telemetry_of(world)
    source, mine = (("source", SOURCE),), (("migration", "sim"),)
    assert told.numbers["ebb.budget_ru_per_s", source] > 0
    assert told.numbers["ebb.documents_expected", mine] == 60
    assert told.numbers["ebb.documents_proven", mine] > 0
    decisions = {tags: n for (name, tags), n in told.counts.items() if name == "ebb.decisions"}
    entries = world.ports.journal.entries(since_s=0, limit=1_000)
    assert sum(decisions.values()) == len(entries)
    reasons = {entry.decision.reason.value for entry in entries}
    assert {dict(tags)["reason"] for tags in decisions} == reasons
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    proven = told.counts["ebb.verdicts", (("migration", "sim"), ("verdict", "proven"))]
    assert proven == progress.slices_proven
    assert {name for name, _ in told.spans} == {"tick", "ebb-copy", "ebb-validate"}


def test_what_is_not_known_is_left_out() -> None:
    """A business of zero and one that nobody read are different things."""
    told = MemoryTelemetry()
    entry = an_entry(1.0)
    unknown = replace(entry.decision, business_ru_per_s=None, risk=None)
    measure_decision(told, replace(entry, decision=unknown))
    names = {name for name, _ in told.numbers}
    assert names == {"ebb.budget_ru_per_s", "ebb.ceiling_ru_per_s", "ebb.own_ru_per_s"}
    measure_decision(told, entry)
    tags = (("source", entry.source),)
    assert told.numbers["ebb.total_ru_per_s", tags] == 2_500.0 + 12.5
    assert told.numbers["ebb.ceiling_ru_per_s", tags] == 4_000.0


def test_silence_stands_in_where_nobody_watches() -> None:
    """It takes everything and lets failures through."""
    silence = Silence()
    silence.measured("ebb.x", 1.0, {})
    silence.counted("ebb.y", {})
    with pytest.raises(ValueError, match="x"), silence.span("copy"):
        raise ValueError("x")
