"""The planner's laws: whatever the distribution, slices tile the range and none is too full."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.coverage import coverage_faults
from shared.domain.planner import PARTS_MAX, cut_ids, month_end_s
from shared.domain.slices import Extent, Window
from tests.property.ranges import PROBES, Planned, ids_within, name_of, planned
from tests.unit.samples import JUNE_S, MAY_S, a_plan

FROM_S = 1_700_000_000
SPAN_S = 3 * 365 * 86_400
EDGE_S = JUNE_S - FROM_S  # the last second of May and the first of June lie around it
DAMAGES = ("lost", "doubled", "later", "longer", "shorter", "id_lo", "id_hi", "foreign")
UNBOUNDED = 100_000  # of probes: more than any narrowing takes, so that only tiling is judged


@st.composite
def clusters(draw: st.DrawFn) -> list[int]:
    """Documents in bursts: one dense second, a busy day, months apart or around a month's end."""
    times: list[int] = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(
            st.integers(0, SPAN_S - 1) | st.sampled_from([0, EDGE_S - 1, EDGE_S, SPAN_S - 1])
        )
        width = draw(st.sampled_from([1, 2, 60, 86_400, 40 * 86_400]))
        count = draw(st.integers(1, 120))
        offsets = draw(st.lists(st.integers(0, width - 1), min_size=1, max_size=6))
        times += [
            FROM_S + min(SPAN_S - 1, start + offsets[i % len(offsets)] + (i * 7919) % width)
            for i in range(count)
        ]
    return sorted(times)


batches = st.lists(st.integers(1, 40), min_size=1, max_size=3)
tails = st.sampled_from([0, 1, 86_400, 200 * 86_400])


def month_of(at_s: int) -> str:
    day = dt.datetime.fromtimestamp(at_s, dt.UTC)
    return f"year={day.year:04d}/month={day.month:02d}"


def held_by(extent: Extent, times: Sequence[int]) -> list[str]:
    """The ids an extent holds, by the plain meaning of its bounds."""
    return [
        each
        for each in ids_within(times, extent.window)
        if (extent.id_lo is None or each >= extent.id_lo)
        and (extent.id_hi is None or each < extent.id_hi)
    ]


def judged(done: Planned, times: list[int], until_s: int, batch: int) -> None:
    assert done.stuck_at_s is None, f"planning never passes second {done.stuck_at_s}"
    assert coverage_faults(done.extents, range_ids=["r000"], until_s=until_s) == ()
    found = Counter(each for extent in done.extents for each in held_by(extent, times))
    assert found == Counter(name_of(number) for number in range(len(times)))
    parts = Counter(extent.window for extent in done.extents if extent.part is not None)
    for extent in done.extents:
        held = held_by(extent, times)
        months = {month_of(times[int(each[1:])]) for each in held}
        assert months <= {extent.window.month}
        if extent.part is None:
            assert len(held) <= batch
        else:
            whole = len(ids_within(times, extent.window))
            assert extent.window.hi_s - max(extent.window.lo_s, times[int(held[0][1:])]) == 1
            assert len(held) <= max(batch, -(-whole // PARTS_MAX))
            assert parts[extent.window] <= PARTS_MAX
    assert len({extent.slice_id for extent in done.extents}) == len(done.extents)


@given(clusters(), batches, tails)
def test_slices_tile_any_range_and_none_is_too_full(
    times: list[int], batch: list[int], tail: int
) -> None:
    """Every document lies in exactly one slice, and every slice in one month."""
    until_s = (times[-1] if times else FROM_S) + 1 + tail
    done = planned(times, until_s=until_s, batches=batch, probes_max=UNBOUNDED)
    judged(done, times, until_s, max(batch))


@given(clusters(), batches, tails)
@example([MAY_S] * 6 + [MAY_S + 1] * 5 + [JUNE_S - 10], [10], 0)
def test_planning_gets_on_within_the_probes_of_a_tick(
    times: list[int], batch: list[int], tail: int
) -> None:
    """A tick that ends where it began would begin there for ever."""
    until_s = (times[-1] if times else FROM_S) + 1 + tail
    done = planned(times, until_s=until_s, batches=batch, probes_max=PROBES)
    judged(done, times, until_s, max(batch))
    empty_months = (until_s - FROM_S) // (28 * 86_400) + 2
    assert done.probes <= PROBES * 4 * (len(done.extents) + empty_months)


@given(clusters(), batches, tails, st.data())
def test_every_damage_to_a_tiling_is_found(
    times: list[int], batch: list[int], tail: int, data: st.DataObject
) -> None:
    """One slice lost, doubled, moved or resized is never taken for a whole range."""
    until_s = (times[-1] if times else FROM_S) + 1 + tail
    extents = planned(times, until_s=until_s, batches=batch, probes_max=UNBOUNDED).extents
    index = data.draw(st.sampled_from([0, len(extents) - 1]) | st.integers(0, len(extents) - 1))
    victim = extents[index]
    for kind in DAMAGES:
        damaged = [*extents[:index], *_damage(victim, kind), *extents[index + 1 :]]
        damaged.reverse()  # the check must not lean on the order it is given
        assert coverage_faults(damaged, range_ids=["r000"], until_s=until_s) != ()


def _damage(victim: Extent, kind: str) -> list[Extent]:
    lo_s, hi_s = victim.window.lo_s, victim.window.hi_s
    if kind == "lost":
        return []
    if kind == "doubled":
        return [victim, victim]
    if kind == "later":
        return [replace(victim, window=Window(lo_s=lo_s + 1, hi_s=hi_s + 1))]
    if kind == "longer" or (kind == "shorter" and hi_s - lo_s == 1):
        return [replace(victim, window=Window(lo_s=lo_s, hi_s=hi_s + 1))]
    if kind == "shorter":
        return [replace(victim, window=Window(lo_s=lo_s, hi_s=hi_s - 1))]
    if kind == "id_lo":
        return [replace(victim, id_lo=f"{victim.id_lo or ''}x")]
    if kind == "id_hi":
        return [replace(victim, id_hi=f"{victim.id_hi or ''}x")]
    return [replace(victim, range=replace(victim.range, id="r999"))]


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=300),
    st.integers(1, 50),
)
def test_parts_of_one_second_hold_every_id_once(ids: list[str], batch: int) -> None:
    """Also ids that were not there when the second was cut."""
    window = Window(lo_s=MAY_S, hi_s=MAY_S + 1)
    plan = a_plan()
    parts = cut_ids(plan, window, ids, batch)
    assert 1 <= len(parts) <= PARTS_MAX
    for each in [*ids, "", "\U0010ffff", "order", "~"]:
        holders = [
            part
            for part in parts
            if (part.id_lo is None or each >= part.id_lo)
            and (part.id_hi is None or each < part.id_hi)
        ]
        assert len(holders) == 1
    assert coverage_faults(parts, range_ids=["r000"], until_s=MAY_S + 1) == (
        f"gap on r000: no slice covers [0, {MAY_S})",
    )


@given(st.integers(0, 4_000_000_000))
def test_a_month_ends_where_the_next_begins(at_s: int) -> None:
    """Leap years and December included."""
    end_s = month_end_s(at_s)
    assert at_s < end_s <= at_s + 31 * 86_400
    assert month_of(end_s - 1) == month_of(at_s) != month_of(end_s)
    assert dt.datetime.fromtimestamp(end_s, dt.UTC).day == 1
