"""One minute of a source as it was read, and which of such minutes can be believed.

Monitor's minutes come late, twice, out of order, half added up, or as zeros; what is doubtful is
left out, and of two tellings the one with more business counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite

from shared.domain.heat import RangeUse, business_shares
from shared.domain.outlook import MINUTE_S

IDLE_MINUTES = 5  # so many zeros in a row are an idle business; fewer are a metric that failed
COUNTED_SHARE = 0.9  # of our own use: a total below that has not been added up yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One complete minute of the source: everybody's use, and Ebb's own part of it."""

    minute_s: int
    total_ru: float
    own_ru: float
    requests: int = 0
    throttled: int = 0
    ranges: Mapping[str, RangeUse] = field(default_factory=dict)

    @property
    def business_ru_per_s(self) -> float:
        return max(0.0, self.total_ru - self.own_ru) / MINUTE_S

    @property
    def total_ru_per_s(self) -> float:
        return self.total_ru / MINUTE_S

    @property
    def throttled_share(self) -> float:
        return self.throttled / self.requests if self.requests > 0 else 0.0

    def range_shares(self) -> dict[str, float]:
        return business_shares(self.total_ru, self.ranges)


def believed(readings: Iterable[Reading], now_s: float) -> tuple[Reading, ...]:
    """Complete, possible and one per minute, oldest first."""
    best: dict[int, Reading] = {}
    for each in readings:
        if _is_possible(each, now_s):
            best[each.minute_s] = max(each, best.get(each.minute_s, each), key=_gravity)
    idle = _idle({minute for minute, each in best.items() if each.total_ru <= 0})
    return tuple(best[m] for m in sorted(best) if best[m].total_ru > 0 or m in idle)


def _is_possible(reading: Reading, now_s: float) -> bool:
    finite = isfinite(reading.total_ru) and isfinite(reading.own_ru)
    ended = reading.minute_s + MINUTE_S <= now_s
    return ended and finite and reading.total_ru >= COUNTED_SHARE * reading.own_ru


def _gravity(reading: Reading) -> tuple[object, ...]:
    """How much a telling asks for caution; equal only for equal tellings, so order never counts."""
    heat = sorted((use.heat, use.own_ru, name) for name, use in reading.ranges.items())
    return reading.business_ru_per_s, reading.throttled_share, reading.total_ru, heat


def _idle(zeros: set[int]) -> set[int]:
    """The zeros that stand in a row long enough."""
    long: set[int] = set()
    for minute in zeros:
        row = range(minute, minute + IDLE_MINUTES * MINUTE_S, MINUTE_S)
        if zeros.issuperset(row):
            long.update(row)
    return long
