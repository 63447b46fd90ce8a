"""How unevenly a source's ranges are used, and what may be asked of each.

A range lies on a partition of its own capacity: a hot one gives nothing while the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

READINGS_LOOKED_AT = (
    5  # the highest share of the last minutes counts: heat goes slower than it comes
)
FULL = 0.99  # of a partition's capacity in its busiest second


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeUse:
    """One range in one minute: the busiest second's share of its capacity, and our own RU."""

    heat: float
    own_ru: float = 0.0

    @property
    def is_full(self) -> bool:
        return self.heat >= FULL


def business_shares(total_ru: float, ranges: Mapping[str, RangeUse]) -> dict[str, float]:
    """Each range's part of the business: the total spread by heat, less our own part of it.

    Nothing where the platform tells no heat.
    """
    heat = sum(use.heat for use in ranges.values())
    if heat <= 0:
        return {}
    business = {
        name: max(0.0, total_ru * use.heat / heat - use.own_ru) for name, use in ranges.items()
    }
    whole = sum(business.values())
    return {name: ru / whole for name, ru in business.items()} if whole > 0 else {}


def largest_shares(
    ranges: Sequence[str], lately: Sequence[Mapping[str, float]], usual: Mapping[str, float]
) -> dict[str, float]:
    """The largest part of the business each range had lately; else its usual one; else even."""
    even = 1.0 / len(ranges)
    told = [shares for shares in lately if shares][-READINGS_LOOKED_AT:] or [usual]
    return {name: max(shares.get(name, even) for shares in told) for name in ranges}


def range_limits(
    shares: Mapping[str, float], *, expected_ru_per_s: float, ceiling_ru_per_s: float
) -> dict[str, float]:
    """What each range may be asked for beside its part of the business expected at most.

    The ceiling is that of one partition.
    """
    return {
        name: max(0.0, ceiling_ru_per_s - expected_ru_per_s * part) for name, part in shares.items()
    }
