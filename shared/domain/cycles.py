"""When a scheduled migration's next cycle is due, and up to where it reaches.

Pure; that a cycle really begins is one conditional write of the migration's record, elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.domain.slices import RangePlan, Slice
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
