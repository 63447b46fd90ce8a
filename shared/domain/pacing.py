"""The inner loop's law: a bucket of request units that may run into debt but never stays ahead.

Time comes in as an argument; nothing here waits, reads a clock or knows what the units buy.
"""

from __future__ import annotations

BURST_S = 0.5  # unused allowance kept: half a second absorbs jitter without becoming a spike
THROTTLE_FACTOR = 0.5
COOL_DOWN_S = 10.0  # after a 429 nothing is sent this long: the business clears its backlog first
RECOVERY_S = 30.0  # from half back to the whole rate: slower than a minute's burst repeats


class DebtBucket:
    """Paces operations whose price is known only afterwards.

    An operation may start while the balance is not negative, and is charged what it really cost.
    Over any span the spending is at most rate x (span + BURST_S) + one operation.
    """

    __slots__ = ("_at_s", "_balance_ru", "_hold_until_s", "_rate_ru_per_s", "_throttled_at_s")

    def __init__(self, *, now_s: float, rate_ru_per_s: float = 0.0) -> None:
        self._at_s = now_s
        self._balance_ru = 0.0
        self._rate_ru_per_s = rate_ru_per_s
        self._hold_until_s = float("-inf")
        self._throttled_at_s = float("-inf")

    def set_rate(self, rate_ru_per_s: float, *, now_s: float) -> None:
        """A lower rate takes effect at once; allowance saved at the old rate is cut to the new."""
        self._accrue(now_s)
        self._rate_ru_per_s = max(0.0, rate_ru_per_s)
        self._balance_ru = min(self._balance_ru, self._burst_ru())

    def charge(self, ru: float, *, now_s: float) -> None:
        self._accrue(now_s)
        self._balance_ru -= ru

    def throttled(self, *, now_s: float, retry_after_s: float) -> None:
        """The source is full: hold, then go on at half the rate and recover slowly."""
        self._accrue(now_s)
        self._balance_ru = min(self._balance_ru, 0.0)
        self._throttled_at_s = now_s
        self._hold_until_s = max(self._hold_until_s, now_s + max(retry_after_s, COOL_DOWN_S))

    def wait_s(self, *, now_s: float) -> float:
        """Seconds until the next operation may start; infinity while nothing may be spent."""
        self._accrue(now_s)
        if now_s < self._hold_until_s:
            return self._hold_until_s - now_s
        rate = self.rate_ru_per_s(now_s=now_s)
        if rate <= 0.0:
            return float("inf")
        return max(0.0, -self._balance_ru / rate)

    def rate_ru_per_s(self, *, now_s: float) -> float:
        """The rate in force, with what a recent 429 takes off it."""
        if now_s < self._hold_until_s:
            return 0.0
        return self._rate_ru_per_s * self._recovered(now_s)

    def _recovered(self, now_s: float) -> float:
        if self._throttled_at_s == float("-inf"):
            return 1.0
        share = min(1.0, max(0.0, now_s - self._hold_until_s) / RECOVERY_S)
        return THROTTLE_FACTOR + (1.0 - THROTTLE_FACTOR) * share

    def _burst_ru(self) -> float:
        return self._rate_ru_per_s * BURST_S

    def _accrue(self, now_s: float) -> None:
        if now_s <= self._at_s:  # a clock stepped back must not grant anything
            return
        rate = self.rate_ru_per_s(now_s=self._at_s)
        self._balance_ru = min(self._burst_ru(), self._balance_ru + rate * (now_s - self._at_s))
        self._at_s = now_s
