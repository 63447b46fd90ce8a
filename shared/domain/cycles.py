"""When a scheduled migration's next cycle is due, and what the receipts of each cycle say.

Pure; that a cycle really begins is one conditional write of the migration's record, elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from shared.domain.coverage import coverage_faults
from shared.domain.merkle import GrowingTree
from shared.domain.receipt import Promise, fingerprint_leaves
from shared.domain.slices import Extent, RangePlan, Slice
from shared.domain.spec import MigrationSpec

SETTLE_S = 10  # a document's `_ts` is the server's; ten seconds cover any clock that is kept


def cold_until_s(spec: MigrationSpec, now_s: float) -> int:
    """What is cold and settled by now; a window up to here can only shrink."""
    return min(spec.cold.until_s(now_s), int(now_s) - SETTLE_S)


def next_boundary_s(spec: MigrationSpec, last_s: int, now_s: float) -> int | None:
    """The newest of the schedule's boundaries that is cold by now; None before the next is due.

    Boundaries lie whole intervals after the first one, so that they drift by no tick, and an Ebb
    that was away for three days makes one cycle of them.
    """
    if spec.schedule is None:
        return None
    intervals = (cold_until_s(spec, now_s) - last_s) // spec.schedule.every
    return last_s + intervals * spec.schedule.every if intervals > 0 else None


def due_at_s(spec: MigrationSpec, last_s: int) -> int | None:
    """From when the next cycle may begin; None without a schedule."""
    if spec.schedule is None:
        return None
    return last_s + spec.schedule.every + max(spec.cold.older_than or 0, SETTLE_S)


def watermark_s(ranges: Iterable[RangePlan], open_slices: Iterable[Slice]) -> int | None:
    """Everything last written before this second is archived and proven; None where nothing is.

    Ranges must have been read before the open slices: what is planned in between then lies behind
    the frontiers that were read.
    """
    frontiers = [plan.frontier_s for plan in ranges]
    unproven = [each.extent.window.lo_s for each in open_slices]
    return min(frontiers + unproven, default=0) or None


class ReceiptsUpTo:
    """A migration's receipts in the order of its slices, gone through boundary by boundary.

    A slice's name begins with where its window begins, and no window crosses a boundary: so the
    receipts of one cycle are those of the cycle before, and some more behind them.
    """

    def __init__(self, promises: Iterable[Promise]) -> None:
        self._beyond = deque(sorted(promises, key=lambda each: each.slice_id))
        self._tree = GrowingTree()
        self.extents: list[Extent] = []
        self.ranges: set[tuple[str, str]] = set()
        self.documents = 0
        self._reach_s = 0

    def go_on_to(self, until_s: int | None) -> None:
        """Take in what begins before a boundary, or all there is."""
        while self._beyond and (until_s is None or self._beyond[0].extent.window.lo_s < until_s):
            self._take(self._beyond.popleft())

    def _take(self, promise: Promise) -> None:
        extent = promise.extent
        (leaf,) = fingerprint_leaves([(promise.slice_id, promise.receipt_sha256)])
        self._tree.add(leaf)
        self.extents.append(extent)
        self.ranges.add((extent.range.id, extent.range.token))
        self.documents += promise.documents
        self._reach_s = max(self._reach_s, extent.window.hi_s)

    @property
    def beyond(self) -> int:
        return len(self._beyond)

    @property
    def fingerprint(self) -> str:
        return self._tree.root()

    def coverage_faults(self, range_ids: list[str] | None, until_s: int) -> tuple[str, ...]:
        """What is wrong with the tiling; without ranges, only whether a slice crosses the end.

        Of a tiling that is exact up to a later boundary, nothing else can be wrong.
        """
        if range_ids is not None:
            return coverage_faults(self.extents, range_ids=range_ids, until_s=until_s)
        if self._reach_s == until_s:
            return ()
        return (f"its slices reach {self._reach_s}, and not {until_s}",)
