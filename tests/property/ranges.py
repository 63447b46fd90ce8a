"""A simulated source range, and planning over it step by step as the controller's tick does it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle

from shared.application.planning import PROBES_PER_SLICE_MAX
from shared.domain.planner import CutSecond, Probe, Search, Step, Take, cut_ids
from shared.domain.slices import Extent, FeedRange, RangePlan, Window

TICKS_MAX = 5_000


@dataclass(slots=True)
class Planned:
    """What came out: the extents with the counts seen, and how it went."""

    extents: list[Extent] = field(default_factory=list)
    probes: int = 0
    stuck_at_s: int | None = None


def planned(
    times: Sequence[int], *, until_s: int, batches: Sequence[int], probes_max: int
) -> Planned:
    """Plan a whole range; document n was written at times[n] and is called by its number."""
    times = sorted(times)
    plan = _surveyed(times, until_s)
    done = Planned()
    batch = cycle(batches)
    idle = 0
    for _ in range(TICKS_MAX):
        if plan.finished or idle > len(batches):
            break
        before = plan
        plan = _next_slices(plan, times, next(batch), probes_max, done)
        idle = idle + 1 if plan == before else 0
    if not plan.finished:
        done.stuck_at_s = plan.frontier_s
    return done


def name_of(number: int) -> str:
    return f"d{number:06d}"


def ids_within(times: Sequence[int], window: Window) -> list[str]:
    """The ids of a window's documents; `times` is sorted."""
    lo, hi = bisect_left(times, window.lo_s), bisect_left(times, window.hi_s)
    return [name_of(number) for number in range(lo, hi)]


def _surveyed(times: Sequence[int], until_s: int) -> RangePlan:
    earliest_s = times[0] if times else until_s
    return RangePlan(
        migration="m",
        range=FeedRange(id="r000", token="{}"),
        frontier_s=0,
        until_s=until_s,
        earliest_s=earliest_s,
        documents_expected=len(times),
        documents_per_s=len(times) / max(1, until_s - earliest_s),
        surveyed=True,
    )


def _next_slices(
    plan: RangePlan, times: Sequence[int], batch: int, probes_max: int, done: Planned
) -> RangePlan:
    """Planning._next_slices over a list instead of a container."""
    search = Search(plan=plan, batch_documents=batch)
    step: Step = search.first()
    for _ in range(probes_max):
        if not isinstance(step, Probe):
            break
        done.probes += 1
        search, step = search.answered(step.window, len(ids_within(times, step.window)))
    if isinstance(step, Take):
        assert step.documents == len(ids_within(times, step.window))
        done.extents.append(Extent(window=step.window, range=plan.range))
        return _advanced(search.plan, step.window, step.documents)
    if isinstance(step, CutSecond):
        ids = ids_within(times, step.window)
        done.extents.extend(cut_ids(search.plan, step.window, ids, batch))
        return _advanced(search.plan, step.window, len(ids))
    return _remembered(search)


def _remembered(search: Search) -> RangePlan:
    """What a tick that ran out of probes leaves for the next."""
    plan = search.plan
    if search.over_hi_s is None:
        return plan
    width_s = max(1, search.over_hi_s - max(plan.frontier_s, plan.earliest_s))
    return replace(plan, documents_per_s=search.batch_documents / width_s)


def _advanced(plan: RangePlan, window: Window, count: int) -> RangePlan:
    span_s = max(1, window.hi_s - max(window.lo_s, plan.earliest_s))
    return replace(plan, frontier_s=window.hi_s, documents_per_s=count / span_s)


PROBES = PROBES_PER_SLICE_MAX
