"""Keeps what was asked of the account by second and minute; it reads no clock."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

MINUTE_S = 60
# Two hours of seconds and two days of minutes: longer than any rehearsal, and bounded.
SECONDS_KEPT = 2 * 3600
MINUTES_KEPT = 48 * 60


class Cell(NamedTuple):
    """The dimensions that a request is counted under."""

    origin: str
    partition: int
    database: str
    container: str
    operation: str
    status: int


class Tally:
    """How many requests, and what they cost."""

    __slots__ = ("requests", "ru", "ru_max")

    def __init__(self) -> None:
        """Start at nothing."""
        self.requests = 0
        self.ru = 0.0
        self.ru_max = 0.0

    def add(self, requests: int, ru: float, ru_max: float) -> None:
        """Count so many more."""
        self.requests += requests
        self.ru += ru
        self.ru_max = max(self.ru_max, ru_max)


Cells = dict[Cell, Tally]


class TrafficSeries:
    """Requests and request units by second and by minute, aligned to UTC."""

    def __init__(self) -> None:
        """Start empty."""
        self._seconds: defaultdict[int, Cells] = defaultdict(dict)
        self._minutes: defaultdict[int, Cells] = defaultdict(dict)
        self._partition_seconds: defaultdict[tuple[int, int], float] = defaultdict(float)
        self._peaks: defaultdict[tuple[int, int], float] = defaultdict(float)

    def record(self, at_s: float, cell: Cell, ru: float, *, requests: int = 1) -> None:
        """Count requests that cost so much together in the second they were charged in."""
        second = int(at_s)
        if second not in self._seconds:
            self._forget(second)
        _tally(self._seconds[second], cell).add(requests, ru, ru / max(1, requests))
        _tally(self._minutes[second - second % MINUTE_S], cell).add(
            requests, ru, ru / max(1, requests)
        )
        self._partition_seconds[second, cell.partition] += ru
        peak = (second - second % MINUTE_S, cell.partition)
        self._peaks[peak] = max(self._peaks[peak], self._partition_seconds[second, cell.partition])

    def record_minute(self, minute_s: int, cell: Cell, *, ru: float, requests: int) -> None:
        """Count a whole past minute of even traffic, for a history from before the sandbox."""
        _tally(self._minutes[minute_s], cell).add(requests, ru, ru / max(1, requests))
        self._peaks[minute_s, cell.partition] += ru / MINUTE_S

    def minute(self, minute_s: int, *, until_s: float | None = None) -> Mapping[Cell, Tally]:
        """Return a minute's cells, or only what had happened in it before a moment."""
        if until_s is None or until_s >= minute_s + MINUTE_S:
            return self._minutes.get(minute_s, {})
        return _summed(self._seconds.get(second, {}) for second in range(minute_s, int(until_s)))

    def between(self, start_s: int, end_s: int) -> Mapping[Cell, Tally]:
        """Return the cells of a span of seconds."""
        return _summed(self._seconds.get(second, {}) for second in range(start_s, end_s))

    def minutes_between(self, first_s: float, end_s: float) -> list[int]:
        """Return the minutes with traffic in a span."""
        return sorted(minute for minute in self._minutes if first_s <= minute < end_s)

    def peak_ru(self, minute_s: int, partition: int) -> float:
        """Return what the partition's busiest second of that minute was charged."""
        return self._peaks.get((minute_s, partition), 0.0)

    def rows(self, *, since_s: float, grain: str) -> list[dict[str, object]]:
        """Return the series as plain rows by second or minute, origin and partition."""
        source = self._minutes if grain == "minute" else self._seconds
        rows: list[dict[str, object]] = []
        for start_s in sorted(s for s in source if s >= since_s):
            for (origin, partition), (tally, throttled) in sorted(
                _by_origin(source[start_s]).items()
            ):
                rows.append(
                    {
                        "start_s": start_s,
                        "origin": origin,
                        "partition": partition,
                        "ru": round(tally.ru, 2),
                        "requests": tally.requests,
                        "throttled": throttled,
                    }
                )
        return rows

    def clear(self) -> None:
        """Forget everything."""
        for store in (self._seconds, self._minutes, self._partition_seconds, self._peaks):
            store.clear()

    def _forget(self, second: int) -> None:
        for old in [s for s in self._seconds if s < second - SECONDS_KEPT]:
            del self._seconds[old]
        for old_pair in [p for p in self._partition_seconds if p[0] < second - MINUTE_S]:
            del self._partition_seconds[old_pair]
        for old in [m for m in self._minutes if m < second - MINUTES_KEPT * MINUTE_S]:
            del self._minutes[old]


def _tally(cells: Cells, cell: Cell) -> Tally:
    found = cells.get(cell)
    if found is None:
        found = cells[cell] = Tally()
    return found


def _summed(parts: Iterable[Mapping[Cell, Tally]]) -> Cells:
    total: Cells = {}
    for part in parts:
        for cell, tally in part.items():
            _tally(total, cell).add(tally.requests, tally.ru, tally.ru_max)
    return total


def _by_origin(cells: Mapping[Cell, Tally]) -> dict[tuple[str, int], tuple[Tally, int]]:
    grouped: dict[tuple[str, int], tuple[Tally, int]] = {}
    for cell, tally in cells.items():
        total, throttled = grouped.get((cell.origin, cell.partition), (Tally(), 0))
        total.add(tally.requests, tally.ru, tally.ru_max)
        too_many = 429
        grouped[cell.origin, cell.partition] = (
            total,
            throttled + (tally.requests if cell.status == too_many else 0),
        )
    return grouped
