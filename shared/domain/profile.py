"""A container's habits: what each hour of the week, in UTC, is used to.

It describes the past and decides nothing; the governor asks it how unusual a burst would be now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HOURS = 168
HOUR_S = 3600
_MONDAY_S = 4 * 86_400  # the epoch began on a Thursday; hour 0 is Monday's first


@dataclass(frozen=True, slots=True, kw_only=True)
class HourUse:
    """RU/s of the business in one hour of the week, over all weeks seen."""

    typical_ru_per_s: float  # the median minute
    high_ru_per_s: float  # the highest minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    hours: Mapping[int, HourUse]

    def at(self, at_s: float) -> HourUse | None:
        return self.hours.get(hour_of_week(at_s))


def hour_of_week(at_s: float) -> int:
    return int(at_s - _MONDAY_S) // HOUR_S % HOURS
