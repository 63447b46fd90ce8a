"""The twins of the journal, the incidents and the metering."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from threading import Lock

from shared.ports import Entry, Incident, Place

_US_PER_S = 1_000_000  # the real journal tells microseconds apart, no less


class MemoryJournal:
    def __init__(self) -> None:
        self._entries: dict[int, list[Entry]] = {}
        self._lock = Lock()

    def record(self, entry: Entry) -> None:
        with self._lock:
            same_instant = self._entries.setdefault(_us(entry.decision.at_s), [])
            if entry not in same_instant:
                same_instant.append(deepcopy(entry))

    def entries(self, *, since_s: float, limit: int) -> tuple[Entry, ...]:
        with self._lock:
            newest_first = sorted((at for at in self._entries if at >= _us(since_s)), reverse=True)
            found = [entry for at in newest_first for entry in self._entries[at]]
            return tuple(deepcopy(found[: max(0, limit)]))

    def forget(self, *, before_s: float, limit: int) -> int:
        with self._lock:
            old = sorted((at for at in self._entries if at < _us(before_s)), reverse=True)
            gone = 0
            for at in old:
                while self._entries[at] and gone < limit:
                    self._entries[at].pop()
                    gone += 1
                if not self._entries[at]:
                    del self._entries[at]
            return gone


class MemoryIncidents:
    def __init__(self) -> None:
        self._incidents: list[Incident] = []
        self._lock = Lock()

    def record(self, incident: Incident) -> None:
        with self._lock:
            if incident not in self._incidents:
                self._incidents.append(incident)

    def latest(self, *, limit: int, since_s: float = 0.0) -> tuple[Incident, ...]:
        with self._lock:
            young = (each for each in self._incidents if each.at_s >= since_s)
            newest_first = sorted(young, key=lambda each: -each.at_s)
            return tuple(newest_first[: max(0, limit)])

    def remove(self, incident: Incident) -> None:
        with self._lock:
            self._incidents = [each for each in self._incidents if each != incident]


class MemoryMetering:
    def __init__(self) -> None:
        self._ru: dict[tuple[int, Place, str], float] = {}
        self._lock = Lock()

    def add(self, worker: str, spent: Mapping[tuple[int, Place], float]) -> None:
        with self._lock:
            for (minute, place), ru in spent.items():
                self._ru[minute, place, worker] = float(ru)

    def by_minute(self, source: str, *, since_s: int) -> Mapping[int, Mapping[str, float]]:
        found: dict[int, dict[str, float]] = {}
        with self._lock:
            for (minute, place, _worker), ru in sorted(self._ru.items()):
                if minute >= since_s and place.source == source:
                    ranges = found.setdefault(minute, {})
                    ranges[place.range_id] = ranges.get(place.range_id, 0.0) + ru
        return found

    def forget(self, *, before_s: int, limit: int) -> int:
        with self._lock:
            old = sorted(place for place in self._ru if place[0] < before_s)[: max(0, limit)]
            for place in old:
                del self._ru[place]
            return len(old)


def _us(at_s: float) -> int:
    return round(at_s * _US_PER_S)
