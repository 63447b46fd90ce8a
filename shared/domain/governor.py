"""The pacing law: readings and time in, a budget with its reason out.

It is the simple law: the ceiling less what the business used in the newest complete minute, and
nothing at all when that minute is too old or unknown. It reads no clock and calls nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

READING_S = 60
STALE_AFTER_S = 300.0  # Monitor is 1-5 minutes late; beyond that it tells nothing about now
THROTTLE_MEMORY_S = 60.0
USEFUL_RU_PER_S = 1.0  # less than the cheapest read a second is not worth starting work for
FIRST_BATCH_DOCUMENTS = 32  # before anything is measured: one row group


class Reason(StrEnum):
    SLACK = "slack"
    NO_SLACK = "no_slack"
    STALE = "stale"
    NO_READINGS = "no_readings"
    THROTTLED = "throttled"
    NO_CAPACITY = "no_capacity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One complete minute of the source's use: all of it, and Ebb's own part."""

    minute_s: int
    total_ru: float
    own_ru: float

    @property
    def business_ru_per_s(self) -> float:
        return max(0.0, self.total_ru - self.own_ru) / READING_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    now_s: float
    capacity_ru_per_s: float
    capacity_from: str
    ceiling: float
    readings: tuple[Reading, ...]
    throttled_at_s: float | None = None
    monitor_trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the law carries from one decision to the next."""

    budget_ru_per_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    at_s: float
    budget_ru_per_s: float
    reason: Reason
    sentence: str
    capacity_ru_per_s: float
    ceiling: float
    business_ru_per_s: float | None
    reading_age_s: float | None


def decide(signals: Signals, memory: Memory) -> tuple[Decision, Memory]:
    """The budget for the next tick, why, and what to remember."""
    usable = [r for r in signals.readings if _is_usable(r, signals.now_s)]
    # Of two readings of one minute the one with more business counts, in whatever order they come.
    newest = max(usable, key=lambda r: (r.minute_s, r.business_ru_per_s), default=None)
    age_s = None if newest is None else signals.now_s - (newest.minute_s + READING_S)
    budget, reason, sentence = _law(signals, newest, age_s)
    decision = Decision(
        at_s=signals.now_s,
        budget_ru_per_s=budget,
        reason=reason,
        sentence=sentence,
        capacity_ru_per_s=signals.capacity_ru_per_s,
        ceiling=signals.ceiling,
        business_ru_per_s=None if newest is None else newest.business_ru_per_s,
        reading_age_s=age_s,
    )
    del memory  # the simple law needs none; the interface carries it for one that does
    return decision, Memory(budget_ru_per_s=budget)


def _is_usable(reading: Reading, now_s: float) -> bool:
    ended = reading.minute_s + READING_S <= now_s
    return ended and isfinite(reading.total_ru) and isfinite(reading.own_ru)


def _law(
    signals: Signals, newest: Reading | None, age_s: float | None
) -> tuple[float, Reason, str]:
    if signals.capacity_ru_per_s <= 0:
        return 0.0, Reason.NO_CAPACITY, "holding: the source's capacity is not known"
    if newest is None or age_s is None:
        why = signals.monitor_trouble or "Azure Monitor has given no complete minute yet"
        return 0.0, Reason.NO_READINGS, f"holding: {why}"
    if age_s > STALE_AFTER_S:
        text = f"holding: the newest reading is {age_s:.0f} s old (limit {STALE_AFTER_S:.0f} s)"
        return 0.0, Reason.STALE, text
    limit = signals.ceiling * signals.capacity_ru_per_s
    slack = limit - newest.business_ru_per_s
    seen = (
        f"business {newest.business_ru_per_s:.0f} RU/s ({age_s:.0f} s ago), "
        f"ceiling {limit:.0f} of {signals.capacity_ru_per_s:.0f} RU/s ({signals.capacity_from})"
    )
    if slack < USEFUL_RU_PER_S:
        return 0.0, Reason.NO_SLACK, f"holding: {seen} leave no slack"
    if _recently_throttled(signals):
        half = slack / 2
        return half, Reason.THROTTLED, f"half pace, {half:.0f} RU/s: a 429 was met; {seen}"
    return slack, Reason.SLACK, f"spending up to {slack:.0f} RU/s: {seen}"


def _recently_throttled(signals: Signals) -> bool:
    at = signals.throttled_at_s
    return at is not None and 0 <= signals.now_s - at < THROTTLE_MEMORY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One migration's claim on the budget, with what its documents cost as measured."""

    migration: str
    priority: int
    ru_per_document: float
    bytes_per_document: float
    documents_max: int
    bytes_max: int
    budget_s: int
    in_flight_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    migration: str
    ru_per_s: float
    in_flight: int
    batch_documents: int


def divide(budget_ru_per_s: float, demands: tuple[Demand, ...]) -> tuple[Share, ...]:
    """One budget over all migrations with work, in proportion to their priority."""
    weights = sum(demand.priority for demand in demands)
    return tuple(_share(budget_ru_per_s * demand.priority / weights, demand) for demand in demands)


def _share(ru_per_s: float, demand: Demand) -> Share:
    in_flight = demand.in_flight_max if ru_per_s >= USEFUL_RU_PER_S else 0
    return Share(
        migration=demand.migration,
        ru_per_s=ru_per_s,
        in_flight=in_flight,
        batch_documents=batch_documents(ru_per_s / max(1, in_flight), demand),
    )


def batch_documents(ru_per_s: float, demand: Demand) -> int:
    """Documents per slice: what the slice's seconds of budget buy, within its byte limit."""
    if demand.ru_per_document <= 0 or demand.bytes_per_document <= 0:
        return min(FIRST_BATCH_DOCUMENTS, demand.documents_max)
    affordable = ru_per_s * demand.budget_s / demand.ru_per_document
    fitting = demand.bytes_max / demand.bytes_per_document
    return max(1, min(demand.documents_max, int(affordable), int(fitting)))
