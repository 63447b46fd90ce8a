"""The closed loop: business and runner share the plant's seconds, a law decides at every tick.

Nothing waits and no clock is read; a run is the same whenever it is repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from bench.governor.laws import Asked, Law, Spending, View
from bench.governor.loads import PARTITION_RU_PER_S, Load
from bench.governor.spending import Paced, Spender, Unpaced
from bench.governor.traces import MINUTE_S
from shared.domain.governor import TICK_S, Pressure, Throttle
from shared.domain.heat import RangeUse
from shared.domain.readings import Reading

TICK_PHASE_S = 10  # a timer's ticks are not aligned with Monitor's minutes
READINGS_SEEN = 15
ROUNDING_RU_PER_S = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A load and the circumstances in which a law meets it."""

    load: Load
    ceiling: float = 0.8
    lag_s: float = 120.0
    lost_s: frozenset[int] = frozenset()
    """Minutes that Monitor never tells."""
    silence_s: range = range(0)
    """While Monitor answers nothing at all."""
    pressure: Pressure | None = None
    pressure_at_s: int = 0

    @property
    def ranges(self) -> tuple[str, ...]:
        count = self.load.partitions
        return ("all",) if count == 1 else tuple(f"r{index:03}" for index in range(count))


@dataclass(slots=True, kw_only=True)
class Minute:
    """What one minute came to, all partitions together."""

    wanted_ru: float = 0.0
    room_ru: float = 0.0
    """What an oracle would have spent below the ceiling."""
    own_ru: float = 0.0
    total_ru: float = 0.0
    refused_ru: float = 0.0
    """The business's, because of us."""
    throttled_s: int = 0
    is_over: bool = False


@dataclass(slots=True, kw_only=True)
class Run:
    """All that was measured, minute by minute and tick by tick."""

    scenario: Scenario
    minutes: list[Minute] = field(default_factory=list)
    ticks: list[tuple[int, float]] = field(default_factory=list)
    met_s: list[int] = field(default_factory=list)
    """Seconds in which the runner met a 429."""
    own_per_s: list[float] = field(default_factory=list)
    """Only of a run that was stepped."""


@dataclass(slots=True)
class _Partition:
    """One partition's minute while it lasts."""

    spender: Spender
    wanted_ru: float = 0.0
    own_ru: float = 0.0
    total_ru: float = 0.0
    peak_ru_per_s: float = 0.0


def shared_second(business: float, ours: float, capacity: float) -> tuple[float, float]:
    """What each is granted: all, or in proportion to what it wants."""
    whole = business + ours
    if whole <= capacity:
        return business, ours
    return business * capacity / whole, ours * capacity / whole


class ClosedLoop:
    """One law over one load. `stepped` takes every second by itself, however calm it is."""

    def __init__(self, scenario: Scenario, law: Law, *, stepped: bool = False) -> None:
        self._scenario = scenario
        self._law = law
        self._stepped = stepped
        self._limit = scenario.ceiling * PARTITION_RU_PER_S
        self._partitions = [
            _Partition(_spender(law, scenario.load.start_s)) for _ in scenario.ranges
        ]
        self._asked = Asked(0.0)
        self._throttles: dict[str, Throttle] = {}
        self._minute = Minute()
        self._throttled_seconds = 0  # a bit for each second of the minute
        self._told: list[Reading] = []
        self._visible = 0
        self._run = Run(scenario=scenario)
        if stepped:
            self._run.own_per_s = [0.0] * (scenario.load.end_s - scenario.load.start_s)

    def run(self) -> Run:
        load = self._scenario.load
        piece = 0
        for at_s, until_s in _spans(self._scenario):
            if at_s > load.start_s:
                self._decide(at_s)
            now_s = at_s
            while now_s < until_s:
                last = piece + 1 == len(load.starts_s)
                ends_s = load.end_s if last else load.starts_s[piece + 1]
                end_s = min(until_s, ends_s)
                if now_s >= self._asked.until_s:
                    self._revoke(now_s)
                elif self._asked.until_s < end_s:
                    end_s = math.ceil(self._asked.until_s)
                self._spend(now_s, end_s, load.wants[piece])
                if end_s == ends_s:
                    piece += 1
                if end_s % MINUTE_S == 0:
                    self._close_minute(end_s - MINUTE_S)
                now_s = end_s
        return self._run

    def _decide(self, now_s: int) -> None:
        scenario = self._scenario
        view = View(
            capacity_ru_per_s=scenario.load.capacity_ru_per_s,
            ceiling=scenario.ceiling,
            readings=self._readings(now_s),
            ranges=scenario.ranges,
            throttles=dict(self._throttles),
            pressure=scenario.pressure if now_s >= scenario.pressure_at_s else None,
        )
        self._asked = self._law.tick(now_s, view)
        self._run.ticks.append((now_s, self._asked.budget_ru_per_s))
        for each, ru_per_s in zip(self._partitions, self._asked.of(view.ranges), strict=True):
            each.spender.allow(ru_per_s, now_s=now_s)

    def _revoke(self, now_s: int) -> None:
        self._asked = Asked(0.0)
        for each in self._partitions:
            each.spender.allow(0.0, now_s=now_s)

    def _readings(self, now_s: int) -> tuple[Reading, ...]:
        newest_s = now_s - self._scenario.lag_s - MINUTE_S
        told = self._told
        while self._visible < len(told) and told[self._visible].minute_s <= newest_s:
            self._visible += 1
        if now_s in self._scenario.silence_s:
            return ()
        return tuple(told[max(0, self._visible - READINGS_SEEN) : self._visible])

    def _spend(self, at_s: int, end_s: int, wants: tuple[float, ...]) -> None:
        for index, (partition, business) in enumerate(zip(self._partitions, wants, strict=True)):
            room = PARTITION_RU_PER_S - business
            if not self._stepped and partition.spender.is_calm(at_s, room):
                self._spend_evenly(index, at_s, end_s - at_s, business)
                continue
            for now_s in range(at_s, end_s):
                self._spend_evenly(index, now_s, 1, business)

    def _spend_evenly(self, index: int, at_s: int, seconds: int, business: float) -> None:
        """Seconds that are all alike."""
        partition, minute = self._partitions[index], self._minute
        wanted = partition.spender.wants(at_s)
        theirs, ours = shared_second(business, wanted, PARTITION_RU_PER_S)
        if ours > 0.0:
            partition.spender.charge(ours * seconds, now_s=at_s)
        if ours < wanted:
            self._met_429(index, at_s)
        if ours < wanted and business <= PARTITION_RU_PER_S:
            self._throttled_seconds |= ((1 << seconds) - 1) << at_s % MINUTE_S
        partition.wanted_ru += business * seconds
        partition.own_ru += ours * seconds
        partition.total_ru += (theirs + ours) * seconds
        partition.peak_ru_per_s = max(partition.peak_ru_per_s, theirs + ours)
        minute.room_ru += max(0.0, self._limit - business) * seconds
        minute.refused_ru += (min(business, PARTITION_RU_PER_S) - theirs) * seconds if ours else 0.0
        if self._stepped:
            self._run.own_per_s[at_s - self._scenario.load.start_s] += ours

    def _met_429(self, index: int, now_s: int) -> None:
        self._partitions[index].spender.throttled(now_s=now_s)
        self._run.met_s.append(now_s)
        name = self._scenario.ranges[index]
        self._throttles[name] = Throttle(at_s=now_s, ru_per_s=self._asked.limit_of(name))

    def _close_minute(self, minute_s: int) -> None:
        minute, limit = self._minute, self._limit + ROUNDING_RU_PER_S
        ranges: dict[str, RangeUse] = {}
        for name, each in zip(self._scenario.ranges, self._partitions, strict=True):
            minute.wanted_ru += each.wanted_ru
            minute.own_ru += each.own_ru
            minute.total_ru += each.total_ru
            over = each.wanted_ru / MINUTE_S <= limit < each.total_ru / MINUTE_S
            minute.is_over = minute.is_over or over
            heat = min(1.0, each.peak_ru_per_s / PARTITION_RU_PER_S)
            ranges[name] = RangeUse(heat=heat, own_ru=each.own_ru)
            each.wanted_ru = each.own_ru = each.total_ru = each.peak_ru_per_s = 0.0
        minute.throttled_s = self._throttled_seconds.bit_count()
        if minute_s not in self._scenario.lost_s:
            reading = Reading(
                minute_s=minute_s,
                total_ru=minute.total_ru,
                own_ru=minute.own_ru,
                ranges=ranges if len(ranges) > 1 else {},
            )
            self._told.append(reading)
        self._run.minutes.append(minute)
        self._minute = Minute()
        self._throttled_seconds = 0


def _spender(law: Law, now_s: int) -> Spender:
    if law.spending is Spending.UNPACED:
        return Unpaced()
    return Paced(now_s=now_s, holds_until_decision=law.spending is Spending.HELD)


def _spans(scenario: Scenario) -> Iterator[tuple[int, int]]:
    """From one decision to the next; a push is decided upon at once."""
    load = scenario.load
    decisions = set(range(load.start_s + TICK_PHASE_S, load.end_s, TICK_S))
    if scenario.pressure is not None:
        decisions.add(scenario.pressure_at_s)
    borders = [load.start_s, *sorted(decisions), load.end_s]
    return pairwise(borders)
