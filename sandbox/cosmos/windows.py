"""Decides whether a physical partition admits a request in this second; the time is an argument."""

import math


class RequestUnitWindow:
    """One-second windows of request units, where what was overdrawn is owed by the seconds after.

    A request is admitted while its second has any room left and is charged what it cost afterwards,
    as in Cosmos DB: a large request can overdraw the second, and the next ones pay.
    """

    __slots__ = ("_second", "_used_ru", "limit_ru_per_s")

    def __init__(self, *, limit_ru_per_s: float) -> None:
        """Start with nothing used."""
        self.limit_ru_per_s = limit_ru_per_s
        self._second = 0
        self._used_ru = 0.0

    def wait_s(self, now_s: float) -> float:
        """Return 0 when a request is admitted now, else the time until one will be."""
        self._advance(now_s)
        if self._used_ru < self.limit_ru_per_s:
            return 0.0
        if self.limit_ru_per_s <= 0:
            return 1.0
        seconds = math.floor(self._used_ru / self.limit_ru_per_s)
        return max(0.001, self._second + seconds - now_s)

    def charge(self, now_s: float, ru: float) -> None:
        """Book what a request cost."""
        self._advance(now_s)
        self._used_ru += ru

    def forgive(self) -> None:
        """Drop what is used and owed."""
        self._used_ru = 0.0

    def _advance(self, now_s: float) -> None:
        passed = math.floor(now_s) - self._second
        if passed > 0:
            self._used_ru = max(0.0, self._used_ru - passed * self.limit_ru_per_s)
            self._second = math.floor(now_s)
