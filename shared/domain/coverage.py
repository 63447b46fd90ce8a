"""Whether slices tile a migration's cold range: no gap, no overlap, in windows and in ids."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from shared.domain.slices import Extent

FAULTS_NAMED_MAX = 20


def coverage_faults(
    extents: Iterable[Extent], *, range_ids: Iterable[str], until_s: int
) -> tuple[str, ...]:
    """What is wrong with the tiling of [0, until) on every range; empty when it is exact."""
    by_range: dict[str, list[Extent]] = {range_id: [] for range_id in range_ids}
    faults: list[str] = []
    for extent in extents:
        if extent.range.id not in by_range:
            faults.append(f"slice {extent.slice_id} lies on a range the migration does not have")
            continue
        by_range[extent.range.id].append(extent)
    for range_id, members in by_range.items():
        faults.extend(_range_faults(range_id, members, until_s))
    return tuple(faults[:FAULTS_NAMED_MAX])


def _range_faults(range_id: str, extents: list[Extent], until_s: int) -> list[str]:
    faults: list[str] = []
    at_s = 0
    ordered = sorted(extents, key=lambda e: (e.window.lo_s, e.window.hi_s, e.part or 0))
    for (lo_s, hi_s), parts in groupby(ordered, key=lambda e: (e.window.lo_s, e.window.hi_s)):
        if lo_s > at_s:
            faults.append(f"gap on {range_id}: no slice covers [{at_s}, {lo_s})")
        elif lo_s < at_s:
            faults.append(f"overlap on {range_id}: [{lo_s}, {at_s}) is covered twice")
        faults.extend(_part_faults(range_id, list(parts)))
        at_s = max(at_s, hi_s)
    if at_s < until_s:
        faults.append(f"gap on {range_id}: no slice covers [{at_s}, {until_s})")
    elif at_s > until_s:
        faults.append(f"overlap on {range_id}: slices reach {at_s}, beyond {until_s}")
    return faults


def _part_faults(range_id: str, parts: list[Extent]) -> list[str]:
    """Parts of one window must follow each other from the first possible id to the last."""
    edge: str | None = None
    faults = []
    for index, part in enumerate(parts):
        backwards = part.id_lo is not None and part.id_hi is not None and part.id_lo >= part.id_hi
        if part.id_lo != edge or (index > 0 and edge is None) or backwards:
            faults.append(f"ids on {range_id}: {part.slice_id} does not begin where the last ends")
        edge = part.id_hi
    if edge is not None:
        faults.append(f"ids on {range_id}: nothing follows {parts[-1].slice_id}")
    return faults
