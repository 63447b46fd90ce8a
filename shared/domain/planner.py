"""Where the next slice ends: windows that follow each other without gap, as full as a batch.

Pure: it proposes a window, is told how many documents lie in it, and says what to do next.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.domain.slices import Extent, RangePlan, Window

FULL_ENOUGH = 0.5  # a slice at least this full is taken: narrowing further costs more than it gains
WIDEN_MAX = 8  # an empty stretch is crossed by growing steps, but not past a dense one in one leap
PARTS_MAX = 90  # parts of one second planned together: a table transaction holds 100 records


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Plan this window as one slice."""

    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Count this window next."""

    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Nothing lies before this second."""

    empty_until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSecond:
    """One second holds more than a slice may: list its ids and cut between them."""

    window: Window


def month_end_s(at_s: int) -> int:
    """The first second of the next UTC month."""
    day = dt.datetime.fromtimestamp(at_s, dt.UTC)
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)  # noqa: PLR2004
    return int(dt.datetime(year, month, 1, tzinfo=dt.UTC).timestamp())


def first_probe(plan: RangePlan, batch_documents: int) -> Probe:
    """A window as wide as the density seen so far says a batch is."""
    if plan.documents_per_s > 0:
        width_s = int(batch_documents / plan.documents_per_s)
    else:
        width_s = plan.until_s - _start_s(plan)
    return Probe(window=_bounded(plan, width_s))


def next_step(
    plan: RangePlan, window: Window, count: int, batch_documents: int
) -> Take | Probe | Skip | CutSecond:
    """What the count of a probed window means."""
    width_s = window.hi_s - _start_s(plan)
    if count == 0 and window.hi_s < plan.until_s:
        return Skip(empty_until_s=window.hi_s)
    if count > batch_documents:
        if width_s <= 1:
            return CutSecond(window=window)
        narrower_s = int(width_s * batch_documents / count)
        return Probe(window=_bounded(plan, min(narrower_s, width_s - 1)))
    if count >= batch_documents * FULL_ENOUGH:
        return Take(window=window)
    factor = min(WIDEN_MAX, batch_documents / max(1, count))
    wider = _bounded(plan, max(width_s + 1, int(width_s * factor)))
    return Take(window=window) if wider.hi_s <= window.hi_s else Probe(window=wider)


def past_empty(plan: RangePlan, empty: Skip) -> RangePlan:
    """Remember that nothing lies before a second: the next slice begins at the frontier still."""
    return replace(plan, earliest_s=max(plan.earliest_s, empty.empty_until_s))


def _start_s(plan: RangePlan) -> int:
    """Where documents can begin: between the frontier and here there are none."""
    return max(plan.frontier_s, plan.earliest_s)


def _bounded(plan: RangePlan, width_s: int) -> Window:
    """A window from the frontier whose documents all lie within one month and the cold range."""
    start_s = _start_s(plan)
    hi_s = min(start_s + max(1, width_s), plan.until_s, month_end_s(start_s))
    return Window(lo_s=plan.frontier_s, hi_s=max(hi_s, plan.frontier_s + 1))


def cut_ids(plan: RangePlan, window: Window, ids: Sequence[str], batch: int) -> tuple[Extent, ...]:
    """Half-open id ranges that together cover every possible id of the window exactly once."""
    ordered = sorted(set(ids))
    size = max(1, batch, -(-len(ordered) // PARTS_MAX))
    edges = [ordered[i] for i in range(size, len(ordered), size)]
    bounds = [None, *edges, None]
    return tuple(
        Extent(window=window, range=plan.range, id_lo=bounds[i], id_hi=bounds[i + 1], part=i)
        for i in range(len(bounds) - 1)
    )
