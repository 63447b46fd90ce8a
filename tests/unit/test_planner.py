"""The planner's single steps, with numbers verified by hand, and a tick's planning on a burst."""

from __future__ import annotations

from typing import Any, cast

import pytest

from shared.adapters.memory import MemoryClock, MemoryLedger, MemoryMetering, SequentialNames
from shared.application.bundle import Ports
from shared.application.planning import Allowance, Planning, Plans
from shared.domain.board import Grant
from shared.domain.planner import (
    PARTS_MAX,
    CutSecond,
    Probe,
    Search,
    Step,
    Take,
    cut_ids,
    month_end_s,
)
from shared.domain.sharing import Share
from shared.domain.slices import Progress, RangePlan, Window
from shared.ports import Change, Measured, Query
from tests.unit.samples import JUNE_S, MAY_S, a_migration, a_plan, a_spec

DAY_S = 86_400


def may(until_s: int = JUNE_S, *, density: float = 0.0) -> RangePlan:
    return a_plan(frontier_s=MAY_S, earliest_s=MAY_S, until_s=until_s, documents_per_s=density)


def within(lo_s: int, hi_s: int) -> Window:
    return Window(lo_s=lo_s, hi_s=hi_s)


def asked(plan: RangePlan, *answers: tuple[Window, int], batch: int = 100) -> Step:
    """The step after these answers."""
    search = Search(plan=plan, batch_documents=batch)
    step: Step = search.first()
    for window, count in answers:
        search, step = search.answered(window, count)
    return step


def test_the_first_probe_is_as_wide_as_the_density_says() -> None:
    """Half a document a second and batches of a hundred: two hundred seconds."""
    assert asked(may(density=0.5)) == Probe(window=within(MAY_S, MAY_S + 200))


def test_an_unknown_density_probes_to_the_end_of_the_month() -> None:
    """A slice lies in one folder, and a folder is a month."""
    assert asked(may(JUNE_S + DAY_S)) == Probe(window=within(MAY_S, JUNE_S))


def test_a_probe_starts_at_the_frontier_and_is_sized_from_the_first_document() -> None:
    """The empty stretch before the first document belongs to the first slice."""
    plan = a_plan(frontier_s=0, earliest_s=MAY_S, documents_per_s=1.0)
    assert asked(plan, batch=60) == Probe(window=within(0, MAY_S + 60))


def test_a_probe_is_at_least_a_second_wide() -> None:
    """A dense range is cut by seconds before it is cut by ids."""
    assert asked(may(density=1e9), batch=1) == Probe(window=within(MAY_S, MAY_S + 1))


@pytest.mark.parametrize("count", [50, 75, 100])
def test_a_slice_at_least_half_full_is_taken(count: int) -> None:
    """Narrowing further would cost more than it gains."""
    window = within(MAY_S, MAY_S + 1000)
    assert asked(may(), (window, count)) == Take(window=window, documents=count)


def test_a_slice_too_full_is_narrowed_in_proportion() -> None:
    """Four times too many: a quarter of the width."""
    step = asked(may(), (within(MAY_S, MAY_S + 1000), 400))
    assert step == Probe(window=within(MAY_S, MAY_S + 250))


def test_a_slice_still_too_full_is_halved() -> None:
    """Proportion failed, so the documents are not spread evenly."""
    step = asked(may(), (within(MAY_S, MAY_S + 1000), 101), (within(MAY_S, MAY_S + 990), 101))
    assert step == Probe(window=within(MAY_S, MAY_S + 495))


def test_narrowing_always_narrows_by_a_second() -> None:
    """One document too many in two seconds still leaves one."""
    step = asked(may(), (within(MAY_S, MAY_S + 2), 101))
    assert step == Probe(window=within(MAY_S, MAY_S + 1))


def test_one_second_too_full_is_cut_by_ids() -> None:
    """There is nothing narrower than a second."""
    window = within(MAY_S, MAY_S + 1)
    assert asked(may(), (window, 101)) == CutSecond(window=window, documents=101)


def test_the_empty_stretch_before_a_dense_second_does_not_hide_it() -> None:
    """The width that counts begins where documents can."""
    plan = a_plan(frontier_s=0, earliest_s=MAY_S)
    window = within(0, MAY_S + 1)
    assert asked(plan, (window, 101)) == CutSecond(window=window, documents=101)


@pytest.mark.parametrize(("count", "width"), [(49, 2040), (20, 5000), (1, 8000)])
def test_a_slice_too_empty_is_widened_with_measure(count: int, width: int) -> None:
    """In proportion, and by eight at the most."""
    step = asked(may(), (within(MAY_S, MAY_S + 1000), count))
    assert step == Probe(window=within(MAY_S, MAY_S + width))


def test_a_thin_slice_before_a_dense_second_is_taken_thin() -> None:
    """What fits lies right beside what does not, so nothing better can be found."""
    fits, over = within(MAY_S, MAY_S + 10), within(MAY_S, MAY_S + 11)
    assert asked(may(), (over, 500), (fits, 1)) == Take(window=fits, documents=1)
    assert asked(may(), (fits, 1), (over, 500)) == Take(window=fits, documents=1)


@pytest.mark.parametrize("hi_s", [JUNE_S, MAY_S + 10])
def test_a_thin_slice_that_cannot_grow_is_taken(hi_s: int) -> None:
    """A month's end and the range's end both end a slice."""
    window = within(MAY_S, hi_s)
    assert asked(may(hi_s), (window, 1)) == Take(window=window, documents=1)


def test_an_empty_stretch_is_skipped_and_remembered() -> None:
    """The next slice begins at the old frontier all the same, so that no second is left out."""
    search = Search(plan=may(JUNE_S + DAY_S), batch_documents=100)
    search, step = search.answered(within(MAY_S, JUNE_S), 0)
    assert (search.plan.frontier_s, search.plan.earliest_s) == (MAY_S, JUNE_S)
    assert isinstance(step, Probe)
    assert (step.window.lo_s, step.window.hi_s) == (MAY_S, JUNE_S + DAY_S)


def test_an_empty_end_is_taken_as_a_slice() -> None:
    """Nothing lies there, and a receipt says so."""
    window = within(MAY_S, JUNE_S)
    assert asked(may(), (window, 0)) == Take(window=window, documents=0)


def test_december_is_followed_by_january() -> None:
    """The year turns with the month."""
    assert month_end_s(1_767_225_599) == 1_767_225_600
    assert month_end_s(1_767_225_600) == 1_767_225_600 + 31 * DAY_S


def test_a_dense_second_is_cut_between_its_ids() -> None:
    """Open at both ends, so that an id written later has its part too."""
    parts = cut_ids(may(), within(MAY_S, MAY_S + 1), ["c", "a", "e", "b", "d", "a"], 2)
    assert [(p.id_lo, p.id_hi, p.part) for p in parts] == [
        (None, "c", 0),
        ("c", "e", 1),
        ("e", None, 2),
    ]


def test_parts_grow_rather_than_exceed_one_transaction() -> None:
    """Ninety parts at the most, however small the batch."""
    ids = [f"{number:05d}" for number in range(1000)]
    parts = cut_ids(may(), within(MAY_S, MAY_S + 1), ids, 1)
    assert len(parts) == 84
    assert len(parts) <= PARTS_MAX


class Counted:
    """A source that only counts."""

    def __init__(self, times: list[int]) -> None:
        self._times = times

    def open(self, database: str, container: str) -> Counted:
        return self

    def count(self, query: Query) -> Measured:
        window = query.extent.window
        within_it = sum(window.lo_s <= at < window.hi_s for at in self._times)
        return Measured(value=within_it, ru=1.0)


def test_a_burst_before_a_quiet_month_is_planned_in_the_end() -> None:
    """Eleven documents in two seconds with batches of ten must not stop a migration for ever."""
    times = [MAY_S] * 6 + [MAY_S + 1] * 5
    clock, ledger = MemoryClock(), MemoryLedger()
    parts: dict[str, Any] = dict.fromkeys(Ports.__dataclass_fields__)
    parts |= {"clock": clock, "ledger": ledger, "names": SequentialNames()}
    parts |= {"metering": MemoryMetering(), "sources": Counted(times)}
    ports = cast("Any", Ports)(**parts)
    migration = a_migration()
    ledger.commit(migration.name, Change(ranges=(may(),)))
    planned = 0
    for _ in range(20):
        plans = Plans(
            migration=migration,
            spec=a_spec(),
            progress=Progress(migration=migration.name),
            ranges=ledger.ranges(migration.name),
            slices=(),
        )
        allowance = Allowance(
            ports, source="sales/orders", rate_ru_per_s=1000.0, until_s=ports.clock.now_s() + 15.0
        )
        planned += Planning(ports).plan(
            plans,
            Grant(other_ranges_ru_per_s=100.0),
            share=Share(migration=migration.name, ru_per_s=100.0, in_flight=1, batch_documents=10),
            ahead=1,
            allowance=allowance,
        )
        clock.advance(30)
    assert planned > 0
