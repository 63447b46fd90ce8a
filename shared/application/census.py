"""Counts a span of the source in parts, none of which may cost more than the pace allows.

A count over many documents takes several pages, which the SDK asks for without a pause. So its
price is bounded, and a part that reaches the bound is cut smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from shared.domain.slices import Census, Window
from shared.errors import CostLimitReached, TransientError
from shared.ports import Measured

NARROW = 8  # from all of time to a day in five tries, each of which may cost the limit
WIDEN = 2
PARTS_MAX = 100_000  # a day each, more than a span of 270 years holds


def counted(
    census: Census,
    until_s: int,
    count: Callable[[Window, float | None], Measured],
    *,
    ru_max: float,
) -> Iterator[Census]:
    """How far it is counted after each answer, until all is.

    A single second is counted whatever it costs: it cannot be cut, and a partition takes only so
    many writes in one.
    """
    for _ in range(PARTS_MAX):
        if census.to_s >= until_s:
            return
        hi_s = min(until_s, census.to_s + census.width_s)
        part = Window(lo_s=census.to_s, hi_s=hi_s)
        width_s = hi_s - census.to_s
        # Until documents are met every limit reached is in vain, so that it is to be reached soon.
        limit = ru_max if census.found else ru_max / NARROW
        try:
            answer = count(part, limit if width_s > 1 else None)
        except CostLimitReached:
            census = replace(census, width_s=max(1, width_s // NARROW))
            yield census
            continue
        census = _after(census, part, answer, limit)
        yield census
    raise TransientError(
        f"counting the source up to {until_s}: {PARTS_MAX} parts reach only to {census.to_s}; "
        "the rest will be counted later"
    )


def _after(census: Census, part: Window, answer: Measured, limit: float) -> Census:
    if answer.value is None:
        raise TransientError(f"counting [{part.lo_s}, {part.hi_s}): the source gave no count")
    is_cheap = WIDEN * answer.ru <= limit
    return Census(
        to_s=part.hi_s,
        width_s=census.width_s * WIDEN if is_cheap else census.width_s,
        documents=census.documents + answer.value,
        found=census.found or (part if answer.value else None),
    )
