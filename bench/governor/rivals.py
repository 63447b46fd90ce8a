"""What else could set the pace: simple laws, and what other tools do, as small as they can be."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping

from bench.governor.laws import Asked, Ebb, Law, Spending, View
from bench.governor.traces import MINUTE_S
from shared.domain.governor import STALE_AFTER_S, TICK_S
from shared.domain.readings import Reading

# The seed's formula, 0.8 of capacity less the business's average of half of it, whatever comes.
FIXED_BATCH_SHARE = 0.3
# As a Spark job's targetThroughputThreshold is set beside a business that must go on.
FIXED_FRACTION_SHARE = 0.2
# A response holds at most 4 MiB: 13 documents of 300 KB at 30 RU each.
ADF_PAGE_RU = 400.0
# No source tells ADF's pace; a region's own round trip with 4 MiB to read takes about this long.
ADF_PAGE_S = 0.25
EWMA_WEIGHT = 0.3
QUANTILE = 0.99
WINDOW_MINUTES = 240
ZONE_LOW, ZONE_HIGH, ZONE_PANIC = 0.4, 0.7, 1.0  # block/spirit's, of the limit
ZONE_STEP = 1.25  # one thread of four, which is what it starts with on an instance of 16
ZONE_START, ZONE_MAX = 0.25, 0.5  # of capacity, as its read pool's of an instance
ZONE_MIN = 0.01  # what a rate grows from again, as one thread is
ZONE_RISE_AFTER_S, ZONE_FALL_AFTER_S = 180.0, 60.0  # its cool-downs: three samples, one sample


class Fixed:
    """Always the same share of capacity, or the same RU/s."""

    spending = Spending.UNPACED

    def __init__(self, *, share: float = 0.0, ru_per_s: float = 0.0) -> None:
        self._share = share
        self._ru_per_s = ru_per_s

    def tick(self, now_s: int, view: View) -> Asked:  # noqa: ARG002 - a protocol's
        return Asked(self._share * view.capacity_ru_per_s + self._ru_per_s)


class BangBang:
    """All that the newest minute left below the ceiling, without a margin."""

    spending = Spending.PACED

    def tick(self, now_s: int, view: View) -> Asked:  # noqa: ARG002 - a protocol's
        newest = view.newest
        if newest is None:
            return Asked(0.0)
        return Asked(max(0.0, view.limit_ru_per_s - newest.business_ru_per_s))


class Zone:
    """block/spirit's law on total use: grow, hold, shed, halve; above the limit it blocks."""

    spending = Spending.PACED

    def __init__(self) -> None:
        self._rate: float | None = None
        self._use: float | None = None
        self._seen_s = -1
        self._rise_from_s = self._fall_from_s = float("-inf")

    def tick(self, now_s: int, view: View) -> Asked:
        newest = view.newest
        if newest is None or now_s - newest.minute_s - MINUTE_S > STALE_AFTER_S:
            return Asked(0.0)
        used = newest.total_ru_per_s / view.limit_ru_per_s
        if newest.minute_s > self._seen_s:
            before = used if self._use is None else self._use
            self._use = before + EWMA_WEIGHT * (used - before)
            self._seen_s = newest.minute_s
        rate = ZONE_START * view.capacity_ru_per_s if self._rate is None else self._rate
        rate *= self._factor(self._use or 0.0, now_s)
        low, high = (share * view.capacity_ru_per_s for share in (ZONE_MIN, ZONE_MAX))
        self._rate = min(high, max(low, rate))
        return Asked(0.0 if used >= ZONE_PANIC else self._rate)

    def _factor(self, use: float, now_s: int) -> float:
        if use >= ZONE_HIGH and now_s >= self._fall_from_s:
            self._fall_from_s = now_s + ZONE_FALL_AFTER_S
            self._rise_from_s = now_s + ZONE_RISE_AFTER_S
            return 0.5 if use >= ZONE_PANIC else 1.0 / ZONE_STEP
        if use < ZONE_LOW and now_s >= self._rise_from_s:
            self._rise_from_s = now_s + ZONE_RISE_AFTER_S
            return ZONE_STEP
        return 1.0


class EwmaQuantile:
    """A smoothed level plus the 99th percentile of how far the business rose above it before."""

    spending = Spending.PACED

    def __init__(self, window_minutes: int | None) -> None:
        self._window = window_minutes
        self._business: dict[int, float] = {}
        self._levels: dict[int, float] = {}
        self._errors: dict[int, _Errors] = {}
        self._newest_s = -1
        self._level = 0.0

    def tick(self, now_s: int, view: View) -> Asked:
        for reading in view.readings:
            if reading.minute_s > self._newest_s:
                self._learn(reading)
        if not self._levels:
            return Asked(0.0)
        ahead_s = (now_s + TICK_S - 1 - self._newest_s) // MINUTE_S * MINUTE_S
        if ahead_s not in self._errors:
            self._errors[ahead_s] = _Errors(self._window)
            for minute_s in self._business:
                self._judge(minute_s, ahead_s)
        margin = self._errors[ahead_s].quantile()
        if margin is None:
            return Asked(0.0)
        return Asked(max(0.0, view.limit_ru_per_s - self._level - margin))

    def _learn(self, reading: Reading) -> None:
        minute_s, business = reading.minute_s, reading.business_ru_per_s
        before = self._level if self._levels else business
        self._level = before + EWMA_WEIGHT * (business - before)
        self._levels[minute_s] = self._level
        self._business[minute_s] = business
        self._newest_s = minute_s
        for ahead_s in self._errors:
            self._judge(minute_s, ahead_s)

    def _judge(self, minute_s: int, ahead_s: int) -> None:
        level = self._levels.get(minute_s - ahead_s)
        if level is not None:
            self._errors[ahead_s].add(self._business[minute_s] - level)


class _Errors:
    """The newest errors, or all, in order of size."""

    def __init__(self, window: int | None) -> None:
        self._window = window
        self._queue: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, error: float) -> None:
        insort(self._sorted, error)
        self._queue.append(error)
        if self._window is not None and len(self._queue) > self._window:
            del self._sorted[bisect_left(self._sorted, self._queue.popleft())]

    def quantile(self) -> float | None:
        if not self._sorted:
            return None
        return self._sorted[math.ceil(QUANTILE * len(self._sorted)) - 1]


LAWS: Mapping[str, Callable[[], Law]] = {
    "ebb": Ebb,
    "fixed_batch": lambda: Fixed(share=FIXED_BATCH_SHARE),
    "fixed_fraction": lambda: Fixed(share=FIXED_FRACTION_SHARE),
    "adf": lambda: Fixed(ru_per_s=ADF_PAGE_RU / ADF_PAGE_S),
    "bang_bang": BangBang,
    "zone": Zone,
    "ewma_p99": lambda: EwmaQuantile(WINDOW_MINUTES),
    "ewma_p99_all": lambda: EwmaQuantile(None),
}
