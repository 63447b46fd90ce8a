"""What a law may see at a tick and what it answers; and Ebb's own law behind that door."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from shared.domain.governor import Decision, Memory, Pressure, Signals, Throttle, decide
from shared.domain.readings import Reading


class Spending(Enum):
    """How a law's budget is spent."""

    HELD = auto()  # through the bucket, and a 429 holds until the next decision
    PACED = auto()  # through the bucket
    UNPACED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that is known at a tick."""

    capacity_ru_per_s: float
    ceiling: float
    readings: tuple[Reading, ...]
    ranges: tuple[str, ...] = ("all",)
    throttles: Mapping[str, Throttle] = field(default_factory=dict)
    pressure: Pressure | None = None

    @property
    def limit_ru_per_s(self) -> float:
        return self.ceiling * self.capacity_ru_per_s

    @property
    def newest(self) -> Reading | None:
        return self.readings[-1] if self.readings else None


@dataclass(frozen=True, slots=True)
class Asked:
    """A budget, and for a law that cares what may be asked of each range."""

    budget_ru_per_s: float
    range_ru_per_s: Mapping[str, float] | None = None
    until_s: float = math.inf
    """When it ends, decided anew or not."""

    def of(self, ranges: tuple[str, ...]) -> tuple[float, ...]:
        """What is asked of each range: evenly, or as limited and in all no more than the budget."""
        if self.range_ru_per_s is None:
            return (self.budget_ru_per_s / len(ranges),) * len(ranges)
        limits = [self.range_ru_per_s.get(name, 0.0) for name in ranges]
        whole = sum(limits)
        part = min(1.0, self.budget_ru_per_s / whole) if whole > 0 else 0.0
        return tuple(limit * part for limit in limits)

    def limit_of(self, name: str) -> float:
        """What was granted at most on one range."""
        if self.range_ru_per_s is None:
            return self.budget_ru_per_s
        return min(self.budget_ru_per_s, self.range_ru_per_s.get(name, 0.0))


class Law(Protocol):
    spending: Spending

    def tick(self, now_s: int, view: View) -> Asked: ...


class Ebb:
    """The law under test, with its memory."""

    spending = Spending.HELD

    def __init__(self) -> None:
        self._memory = Memory()
        self.decision: Decision | None = None

    def tick(self, now_s: int, view: View) -> Asked:
        signals = Signals(
            now_s=now_s,
            capacity_ru_per_s=view.capacity_ru_per_s,
            capacity_from="bench",
            ceiling=view.ceiling,
            readings=view.readings,
            ranges=view.ranges,
            partitions=len(view.ranges),
            throttles=view.throttles,
            pressure=view.pressure,
        )
        self.decision, self._memory = decide(signals, self._memory)
        found = self.decision
        return Asked(found.budget_ru_per_s, found.range_ru_per_s, found.stale_at_s)
