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
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Count this window next."""

    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class CutSecond:
    """One second holds more than a slice may: list its ids and cut between them."""

    window: Window
    documents: int


Step = Take | Probe | CutSecond


def month_end_s(at_s: int) -> int:
    """The first second of the next UTC month."""
    day = dt.datetime.fromtimestamp(at_s, dt.UTC)
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)  # noqa: PLR2004
    return int(dt.datetime(year, month, 1, tzinfo=dt.UTC).timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search for the end of the next slice, between a window that fits and one that does not.

    A batch is what the budget would have; `most_documents` is what a slice may hold at all, so one
    second that is dense, but not too dense, is taken whole. The gap between the two windows at
    least halves with every second answer, so even a single dense second in an empty year is found
    in some fifty questions, and usually in two or three.
    """

    plan: RangePlan
    batch_documents: int
    most_documents: int = 0
    fits_hi_s: int | None = None
    fits_count: int = 0
    over_hi_s: int | None = None
    over_count: int = 0

    def first(self) -> Probe:
        """A window as wide as the density seen so far says a batch is."""
        plan = self.plan
        if plan.documents_per_s > 0:
            width_s = int(self.batch_documents / plan.documents_per_s)
        else:
            width_s = plan.until_s - _start_s(plan)
        return Probe(window=_window(plan, _start_s(plan) + max(1, width_s)))

    def answered(self, window: Window, count: int) -> tuple[Search, Step]:
        """What the count of a probed window means, and what to remember of it."""
        if count == 0 and window.hi_s < self.plan.until_s:
            return self._past_empty(window)
        if count > self.batch_documents:
            return self._narrowed(window, count)
        fitting = replace(self, fits_hi_s=window.hi_s, fits_count=count)
        full = count >= self.batch_documents * FULL_ENOUGH
        if full or window.hi_s >= _bound_s(self.plan):
            return fitting, Take(window=window, documents=count)
        return fitting, fitting.between(_widened_s(self.plan, window, count, fitting))

    def _past_empty(self, window: Window) -> tuple[Search, Step]:
        """Nothing lies before the window's end: the slice begins at the frontier all the same."""
        width_s = WIDEN_MAX * (window.hi_s - _start_s(self.plan))
        moved = replace(
            self.plan,
            earliest_s=max(self.plan.earliest_s, window.hi_s),
            documents_per_s=self.batch_documents / width_s,
        )
        over = self.over_hi_s if self.over_hi_s and self.over_hi_s > window.hi_s else None
        search = replace(
            self, plan=moved, fits_hi_s=None, over_hi_s=over, over_count=self.over_count
        )
        if over is None:
            return search, search.first()
        return search, search.between((window.hi_s + over) // 2)

    def _narrowed(self, window: Window, count: int) -> tuple[Search, Step]:
        start_s = _start_s(self.plan)
        narrowed = replace(self, over_hi_s=window.hi_s, over_count=count)
        if self.over_hi_s is None:  # a first guess by proportion; if it fails, halve
            guess_s = start_s + (window.hi_s - start_s) * self.batch_documents // count
        else:
            guess_s = (narrowed.low_s() + window.hi_s) // 2
        return narrowed, narrowed.between(guess_s)

    def can_narrow(self, window: Window) -> bool:
        """Whether more than one second of the window may hold documents."""
        return window.hi_s - _start_s(self.plan) > 1

    def too_many(self, window: Window) -> tuple[Search, Step]:
        """The window could not be counted at the price allowed: half of it is counted next."""
        return self._narrowed(window, 2 * self.batch_documents)

    def low_s(self) -> int:
        return self.fits_hi_s if self.fits_hi_s is not None else _start_s(self.plan)

    def between(self, guess_s: int) -> Step:
        """The next window strictly inside the gap, or the end of the search when none is left."""
        low_s = self.low_s()
        if self.over_hi_s is not None:
            if self.over_hi_s - low_s <= 1:
                return self._settled()
            guess_s = min(guess_s, self.over_hi_s - 1)
        return Probe(window=_window(self.plan, max(guess_s, low_s + 1)))

    def _settled(self) -> Step:
        plan = self.plan
        if self.fits_hi_s is not None:
            window = Window(lo_s=plan.frontier_s, hi_s=self.fits_hi_s)
            return Take(window=window, documents=self.fits_count)
        second = Window(lo_s=plan.frontier_s, hi_s=_start_s(plan) + 1)
        if self.over_count <= self.most_documents:
            return Take(window=second, documents=self.over_count)
        return CutSecond(window=second, documents=self.over_count)


def _widened_s(plan: RangePlan, window: Window, count: int, search: Search) -> int:
    if search.over_hi_s is not None:
        return (window.hi_s + search.over_hi_s) // 2
    width_s = window.hi_s - _start_s(plan)
    factor = min(WIDEN_MAX, search.batch_documents / max(1, count))
    return _start_s(plan) + max(width_s + 1, int(width_s * factor))


def _start_s(plan: RangePlan) -> int:
    """Where documents can begin: between the frontier and here there are none."""
    return max(plan.frontier_s, plan.earliest_s)


def _bound_s(plan: RangePlan) -> int:
    """A slice's documents all lie within one month and the cold range."""
    return min(plan.until_s, month_end_s(_start_s(plan)))


def _window(plan: RangePlan, hi_s: int) -> Window:
    bounded_s = min(hi_s, _bound_s(plan))
    return Window(lo_s=plan.frontier_s, hi_s=max(bounded_s, plan.frontier_s + 1))


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
