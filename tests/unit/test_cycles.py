"""When the next cycle is due, how far a watermark reaches, and what each cycle's receipts say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.cycles import (
    ReceiptsUpTo,
    cold_until_s,
    due_at_s,
    next_boundary_s,
    watermark_s,
)
from shared.domain.notices import NoticeKind
from shared.domain.planner import Probe, Search, Take, month_end_s
from shared.domain.receipt import Promise, fingerprint, summary_name
from shared.domain.slices import MigrationState, RangePlan, Stored
from shared.domain.spec import MigrationSpec
from shared.errors import WrongState
from tests.unit.samples import JUNE_S, MAY_S, SPEC, a_migration, a_plan, a_slice, a_spec, an_extent

DAY_S = 86_400
OLDER_S = 90 * DAY_S


def daily(text: str = "schedule: {every: 24h}\n") -> MigrationSpec:
    return a_spec(SPEC + text)


def test_the_next_boundary_is_whole_intervals_after_the_last() -> None:
    """Not before it is due, no drift by a late tick, one cycle for all days that were missed."""
    due_s = MAY_S + DAY_S + OLDER_S
    assert due_at_s(daily(), MAY_S) == due_s
    assert next_boundary_s(daily(), MAY_S, due_s - 0.1) is None
    assert next_boundary_s(daily(), MAY_S, due_s) == MAY_S + DAY_S
    assert next_boundary_s(daily(), MAY_S, due_s + DAY_S - 1) == MAY_S + DAY_S
    assert next_boundary_s(daily(), MAY_S, due_s + 3 * DAY_S + 7) == MAY_S + 4 * DAY_S


def test_without_a_schedule_nothing_is_ever_due() -> None:
    """One cycle, as ever, and its summary has the old name."""
    assert next_boundary_s(a_spec(), MAY_S, 10.0 * MAY_S) is None
    assert due_at_s(a_spec(), MAY_S) is None
    assert summary_name(a_spec(), MAY_S) == "migration.json"
    assert summary_name(daily(), MAY_S) == "cycles/1746057600.json"


def test_what_is_cold_at_once_still_settles() -> None:
    """A boundary lies ten seconds in the past, however young cold may be."""
    spec = a_spec(SPEC.replace("90d", "0s") + "schedule: {every: 10m}\n")
    assert cold_until_s(spec, MAY_S + 0.9) == MAY_S - 10
    due_s = due_at_s(spec, MAY_S)
    assert due_s == MAY_S + 610
    assert next_boundary_s(spec, MAY_S, due_s) == MAY_S + 600
    assert next_boundary_s(spec, MAY_S, due_s - 1) is None


def test_a_watermark_is_the_least_of_frontiers_and_open_slices() -> None:
    """Nothing proven, nothing told; an open slice holds it back, whatever lies behind."""
    plans = (a_plan(frontier_s=MAY_S + 60), a_plan(frontier_s=JUNE_S))
    assert watermark_s((), ()) is None
    assert watermark_s((a_plan(), *plans), ()) is None
    assert watermark_s(plans, ()) == MAY_S + 60
    assert watermark_s(plans, (a_slice(),)) == MAY_S


def test_a_cycle_begins_only_after_a_completed_one() -> None:
    """Nothing that a person ended goes on, and no boundary ever moves back."""
    running = replace(a_migration(), until_s=MAY_S)
    done = running.moved(MigrationState.COMPLETED, reason="done", now_s=5.0)
    assert done.completed_until_s == MAY_S
    begun = done.reopened(MAY_S + 1, reason="next cycle", now_s=6.0)
    assert (begun.state, begun.until_s) == (MigrationState.RUNNING, MAY_S + 1)
    assert begun.has_completed
    assert not running.has_completed
    for state in set(MigrationState) - {MigrationState.COMPLETED}:
        with pytest.raises(WrongState, match="cannot begin a cycle"):
            replace(done, state=state).reopened(MAY_S + 1, reason="", now_s=6.0)
    with pytest.raises(WrongState, match="cannot begin a cycle"):
        done.reopened(MAY_S, reason="", now_s=6.0)


def test_completion_is_noted_for_the_first_cycle_only() -> None:
    """A daily message is read by nobody; a halt is told each time."""
    migration = replace(a_migration(), until_s=MAY_S, version="v1")
    for number in range(1, 4):
        migration = migration.moved(MigrationState.COMPLETED, reason="", now_s=number)
        migration = migration.reopened(MAY_S + number, reason="", now_s=number)
        migration = migration.moved(MigrationState.HALTED, reason="", now_s=number)
        migration = replace(
            migration, state=MigrationState.RUNNING, until_s=MAY_S + number, version=f"w{number}"
        )
    kinds = [each.kind for each in migration.notices]
    assert kinds.count(NoticeKind.COMPLETED) == 1
    assert kinds.count(NoticeKind.HALTED) == 3


def planned(plan: RangePlan, counts: dict[int, int], batch: int) -> list[tuple[int, int]]:
    """The windows that a range's planning takes, with documents at these seconds."""
    windows = []
    while not plan.finished:
        search = Search(plan=plan, batch_documents=batch, most_documents=batch)
        step: Any = search.first()
        while isinstance(step, Probe):
            window = step.window
            count = sum(n for at, n in counts.items() if window.lo_s <= at < window.hi_s)
            search, step = search.answered(window, count)
        assert isinstance(step, Take)
        windows.append((step.window.lo_s, step.window.hi_s))
        plan = replace(search.plan, frontier_s=step.window.hi_s)
    return windows


@pytest.mark.parametrize("density", [0.0, 1e-6, 1000.0])
@pytest.mark.parametrize("documents", [0, 1, 5])
def test_a_small_cycle_makes_one_slice_for_each_month(density: float, documents: int) -> None:
    """However dense the range was before: a day's few documents are not cut into crumbs."""
    lo_s, hi_s = JUNE_S - 3600, JUNE_S + DAY_S - 3600
    assert month_end_s(lo_s) == JUNE_S
    counts = {hi_s - 1 - i * 600: 1 for i in range(documents)}
    plan = a_plan(frontier_s=lo_s, until_s=hi_s, earliest_s=MAY_S, documents_per_s=density)
    assert planned(plan, counts, batch=20) == [(lo_s, hi_s)]
    both = planned(plan, counts | {lo_s + 5: 2}, batch=20)
    assert both == [(lo_s, JUNE_S), (JUNE_S, hi_s)]


def a_promise(lo_s: int, hi_s: int, *, documents: int = 2) -> Promise:
    extent = an_extent(lo_s, hi_s)
    return Promise(
        slice_id=extent.slice_id,
        extent=extent,
        fence=1,
        migration_uid="uid-1",
        receipt_sha256=f"{lo_s:064x}",
        documents=documents,
        document_bytes=9,
        validated_at_s=1.0,
        superseded=0,
        merkle_root="",
        blob=None,
        manifest=Stored(name="m", size_bytes=1),
    )


def test_a_cycles_receipts_are_those_before_its_boundary() -> None:
    """Counts, ranges and root of each prefix, whatever order the receipts were found in."""
    promises = [a_promise(5, 9), a_promise(0, 3), a_promise(9, 12), a_promise(3, 5)]
    receipts = ReceiptsUpTo(promises)
    receipts.go_on_to(5)
    first = [promises[1], promises[3]]
    assert [each.window.lo_s for each in receipts.extents] == [0, 3]
    assert (receipts.documents, receipts.beyond) == (4, 2)
    assert receipts.fingerprint == fingerprint((p.slice_id, p.receipt_sha256) for p in first)
    assert receipts.coverage_faults(["r000"], 5) == receipts.coverage_faults(None, 5) == ()
    receipts.go_on_to(None)
    assert (receipts.documents, receipts.beyond) == (8, 0)
    assert receipts.fingerprint == fingerprint((p.slice_id, p.receipt_sha256) for p in promises)


def test_a_slice_that_crosses_a_boundary_is_named() -> None:
    """Then the older summary cannot have been true."""
    receipts = ReceiptsUpTo([a_promise(0, 3), a_promise(3, 6)])
    receipts.go_on_to(5)
    assert receipts.coverage_faults(None, 5) == ("its slices reach 6, and not 5",)
