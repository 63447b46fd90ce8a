"""Forecasts made at moments of a recorded load, each beside what the closed loop then took.

One closed loop runs over the whole load; a migration that starts at a moment has taken as long as
the loop needed from there to spend its request units. It has no first and no last minutes of its
own, so those of the forecast are added to it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from bench.governor.laws import Ebb
from bench.governor.loop import ClosedLoop, Scenario
from bench.governor.traces import MINUTE_S
from shared.domain.forecast import (
    END_S,
    START_S,
    Granted,
    forecast,
    from_habits,
    rehearsed,
)
from shared.domain.profile import HOUR_S, HourUse, Profile, hour_of_week

SIZES_RU = (2e6, 10e6, 50e6, 200e6)  # from half an hour to four days of a usual slack
HISTORY_H = 14 * 24  # as `ebb plan` reads it
FIRST_H = 7 * 24  # a week is known at least
STARTS = 12  # of each trace, over what follows its first week
HOUR_SHIFT = 7  # from start to start, so that they fall on all hours of the day
NEAR = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One forecast and what became of it."""

    size_ru: float
    start_h: int
    p50_s: float | None
    p90_s: float | None
    took_s: float | None
    """None where it had not ended when the trace did."""
    left_s: float

    @property
    def verdict(self) -> str:
        if self.p50_s is None:
            return "refused"
        if self.took_s is None and (self.p90_s is None or self.p90_s >= self.left_s):
            return "open"
        return "counted"

    @property
    def is_near(self) -> bool:
        if self.took_s is None or self.p50_s is None:
            return False
        return abs(self.p50_s - self.took_s) <= NEAR * self.took_s

    @property
    def is_covered(self) -> bool:
        return self.took_s is not None and (self.p90_s is None or self.took_s <= self.p90_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A whole trace: what the business used, what Ebb was granted, and what a rehearsal grants."""

    first_s: int
    use: Sequence[float]
    spent: Sequence[float]
    """RU in all after each minute of the closed loop, beginning with none."""
    granted: Granted
    capacity_ru_per_s: float
    ceiling: float


def past_of(scenario: Scenario) -> Past:
    load = scenario.load
    use = [sum(wants) for wants in load.wants]
    run = ClosedLoop(scenario, Ebb()).run()
    return Past(
        first_s=load.start_s,
        use=use,
        spent=list(accumulate((each.own_ru for each in run.minutes), initial=0.0)),
        granted=rehearsed(
            use,
            first_s=load.start_s,
            capacity_ru_per_s=load.capacity_ru_per_s,
            ceiling=scenario.ceiling,
        ),
        capacity_ru_per_s=load.capacity_ru_per_s,
        ceiling=scenario.ceiling,
    )


def attempts(past: Past, *, habits: bool) -> Iterator[Attempt]:
    """Every size at every start, by rehearsal or by habits alone."""
    hours = len(past.granted.ru_per_s)
    for number in range(STARTS):
        start_h = FIRST_H + (hours - FIRST_H) * number // STARTS + number * HOUR_SHIFT % 24
        if start_h < hours:
            known = _by_habits(past, start_h) if habits else _by_rehearsal(past, start_h)
            for size_ru in SIZES_RU:
                yield _attempt(past, known, start_h, size_ru)


def _attempt(past: Past, known: Granted, start_h: int, size_ru: float) -> Attempt:
    start_s = _start_s(past, start_h)
    told = forecast(known, size_ru, now_s=start_s)
    took_s = _took_s(past, start_s, size_ru)
    ends_s = past.first_s + len(past.use) * MINUTE_S
    return Attempt(
        size_ru=size_ru,
        start_h=start_h,
        p50_s=told.p50_s,
        p90_s=told.p90_s,
        took_s=None if took_s is None else START_S + took_s + END_S,
        left_s=ends_s - start_s,
    )


def _start_s(past: Past, start_h: int) -> int:
    return int(past.granted.until_s) - (len(past.granted.ru_per_s) - start_h) * HOUR_S


def _took_s(past: Past, start_s: int, size_ru: float) -> float | None:
    index = (start_s - past.first_s) // MINUTE_S
    target = past.spent[index] + size_ru
    ended = bisect_left(past.spent, target, lo=index)
    return None if ended == len(past.spent) else float((ended - index) * MINUTE_S)


def _by_rehearsal(past: Past, start_h: int) -> Granted:
    """What a rehearsal of the weeks before the start told."""
    return Granted(
        basis=past.granted.basis,
        until_s=_start_s(past, start_h),
        ru_per_s=past.granted.ru_per_s[max(0, start_h - HISTORY_H) : start_h],
    )


def _by_habits(past: Past, start_h: int) -> Granted:
    """What the logs of the weeks before would tell of each hour of the week."""
    start_s = _start_s(past, start_h)
    minutes: dict[int, list[float]] = {}
    for index in range((start_s - past.first_s) // MINUTE_S):
        hour = hour_of_week(past.first_s + index * MINUTE_S)
        minutes.setdefault(hour, []).append(past.use[index])
    profile = Profile(
        hours={
            hour: HourUse(typical_ru_per_s=median(use), high_ru_per_s=max(use))
            for hour, use in minutes.items()
        }
    )
    return from_habits(
        profile,
        now_s=start_s,
        capacity_ru_per_s=past.capacity_ru_per_s,
        ceiling=past.ceiling,
    )
