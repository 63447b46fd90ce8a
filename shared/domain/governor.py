"""The pacing law: readings, time and memory in, a budget with its reason and a new memory out.

It spends the next RU/s only while that is worth the risk that the business needs it before the
next readings come. It falls at once, rises slowly and on fresh clean readings only, and spends
nothing on what it does not know. It reads no clock and calls nobody.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from shared.domain.heat import largest_shares, range_limits
from shared.domain.outlook import MINUTE_S, MINUTES_KEPT, Outlook, Past, outlook
from shared.domain.profile import Profile
from shared.domain.readings import Reading, believed
from shared.domain.sharing import USEFUL_RU_PER_S

TICK_S = 30
STALE_AFTER_S = 300.0  # Monitor is 1-5 minutes late; beyond that it tells nothing about now
FRESH_S = 240.0  # an older reading may stop a fall, but never justifies a rise
RISK_PRICE = 4.0  # one percent of risk costs what four percent of capacity is worth
TOLERATED_SHARE = 0.01  # of a day's minutes over the ceiling by our doing; beyond it risk is dearer
STEPS = 100  # the budgets weighed, in parts of capacity
WORTH_CHANGING = 0.01  # of capacity: for a smaller gain the pace is not changed
GROWTH = 0.25  # of capacity, for each new reading
THROTTLED_SHARE = 0.01  # of a minute's requests answered 429: more than that is not health
THROTTLED_FACTOR = 0.5
ROUNDING = 1e-9


class Reason(StrEnum):
    SLACK = "slack"
    GROWING = "growing"
    NO_SLACK = "no_slack"
    TOO_RISKY = "too_risky"
    STALE = "stale"
    NO_READINGS = "no_readings"
    UNSEEN = "unseen"
    THROTTLED = "throttled"
    HOT = "hot"
    PRESSURE = "pressure"
    ALERT = "alert"
    WAITING = "waiting"
    NO_CAPACITY = "no_capacity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """A 429 met by Ebb itself: when, and what it was allowed to spend on that range then."""

    at_s: float
    ru_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """The business's own word that it needs so much, or everything, for a while."""

    until_s: float
    business_ru_per_s: float | None
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An Azure Monitor alert that fired: nothing is spent until it is resolved or long past."""

    rule: str
    fired_at_s: float
    until_s: float
    """Not later than it fired where it is resolved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """All that is known when a decision is made. A range lies on a partition of its own."""

    now_s: float
    capacity_ru_per_s: float
    capacity_from: str
    ceiling: float
    readings: tuple[Reading, ...]
    ranges: tuple[str, ...] = ("all",)
    partitions: int = 1
    """Among how many the capacity is divided: at least as many as there are ranges."""
    usual_shares: Mapping[str, float] = field(default_factory=dict)
    throttles: Mapping[str, Throttle] = field(default_factory=dict)
    pressure: Pressure | None = None
    alarm: Alarm | None = None
    profile: Profile | None = None
    monitor_trouble: str = ""

    @property
    def limit_ru_per_s(self) -> float:
        return self.ceiling * max(0.0, self.capacity_ru_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the law carries from one decision to the next."""

    budget_ru_per_s: float = 0.0
    raised_for_s: int = 0
    """The minute whose reading justified the last rise; none justifies two."""
    overrun_s: tuple[int, ...] = ()
    """Minutes of the last day that went over the ceiling by Ebb's doing."""
    past: Past = field(default_factory=Past)


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
    risk: float | None = None
    """How likely the business, beside this budget, passes the ceiling before the next reading."""
    range_ru_per_s: Mapping[str, float] = field(default_factory=dict)
    """What may be asked of each range, all workers together."""
    growing_to_ru_per_s: float = 0.0
    """What it will be, if all stays as it is, once fresh readings have let it grow."""

    @property
    def stale_at_s(self) -> float:
        """When the newest reading is too old to spend on, decided anew or not."""
        age_s = STALE_AFTER_S if self.reading_age_s is None else self.reading_age_s
        return self.at_s + STALE_AFTER_S - age_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the readings and the memory say together."""

    readings: tuple[Reading, ...]
    past: Past
    overrun_s: tuple[int, ...]
    newest_s: int | None
    business_ru_per_s: float
    age_s: float

    @property
    def newest(self) -> Reading | None:
        """The newest minute, if it was read this time too."""
        last = self.readings[-1] if self.readings else None
        return last if last is not None and last.minute_s == self.newest_s else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """A budget on its way to being a decision."""

    ru_per_s: float
    reason: Reason
    why: str = ""
    wanted_ru_per_s: float = 0.0
    outlook: Outlook | None = None


def decide(signals: Signals, memory: Memory) -> tuple[Decision, Memory]:
    """The budget for the next tick, why, and what to remember."""
    known = _known(signals, memory)
    pace = _refusal(signals, known) or _weighed(signals, memory, known)
    limits = _limits(signals, known, pace.ru_per_s)
    pace = _within(sum(limits.values()), signals, known, pace)
    decision = Decision(
        at_s=signals.now_s,
        budget_ru_per_s=pace.ru_per_s,
        reason=pace.reason,
        sentence=_sentence(signals, known, pace, limits),
        capacity_ru_per_s=signals.capacity_ru_per_s,
        ceiling=signals.ceiling,
        business_ru_per_s=None if known.newest_s is None else known.business_ru_per_s,
        reading_age_s=None if known.newest_s is None else known.age_s,
        risk=_risk(signals, pace),
        range_ru_per_s=limits,
        growing_to_ru_per_s=(
            pace.wanted_ru_per_s if pace.reason is Reason.GROWING else pace.ru_per_s
        ),
    )
    raised = pace.ru_per_s > memory.budget_ru_per_s and known.newest_s is not None
    return decision, Memory(
        budget_ru_per_s=pace.ru_per_s,
        raised_for_s=known.newest_s if raised and known.newest_s else memory.raised_for_s,
        overrun_s=known.overrun_s,
        past=known.past,
    )


def _known(signals: Signals, memory: Memory) -> _Known:
    readings = believed(signals.readings, signals.now_s)
    past = memory.past.until(signals.now_s).with_minutes(
        (each.minute_s, each.business_ru_per_s) for each in readings
    )
    newest_s = past.newest_s()
    business = None if newest_s is None else past.at(newest_s)
    return _Known(
        readings=readings,
        past=past,
        overrun_s=_overruns(signals, readings, memory.overrun_s),
        newest_s=newest_s,
        business_ru_per_s=business or 0.0,
        age_s=0.0 if newest_s is None else signals.now_s - newest_s - MINUTE_S,
    )


def _overruns(
    signals: Signals, readings: tuple[Reading, ...], known: tuple[int, ...]
) -> tuple[int, ...]:
    """Minutes over the ceiling in which the business alone was below it."""
    limit = signals.limit_ru_per_s
    ours = {r.minute_s for r in readings if r.business_ru_per_s <= limit < r.total_ru_per_s}
    since_s = signals.now_s - MINUTES_KEPT * MINUTE_S
    return tuple(sorted(minute for minute in ours.union(known) if minute >= since_s))


def _refusal(signals: Signals, known: _Known) -> _Pace | None:
    """Nothing may be spent at all, and why."""
    if not signals.capacity_ru_per_s > 0:
        return _hold(Reason.NO_CAPACITY, "the source's capacity is not known")
    if known.newest_s is None:
        return _hold(
            Reason.NO_READINGS,
            signals.monitor_trouble or "Azure Monitor has given no complete minute yet",
        )
    if known.age_s > STALE_AFTER_S:
        trouble = f"; {signals.monitor_trouble}" if signals.monitor_trouble else ""
        text = f"the newest reading is {known.age_s:.0f} s old (limit {STALE_AFTER_S:.0f} s)"
        return _hold(Reason.STALE, text + trouble)
    alarm = signals.alarm
    if alarm is not None and alarm.until_s > signals.now_s:
        return _hold(Reason.ALERT, _alarming(alarm))
    pushed = _pushed(signals)
    if pushed is not None and pushed.business_ru_per_s is None:
        return _hold(Reason.PRESSURE, f"the business asked for everything{_until(pushed)}")
    return None


def _hold(reason: Reason, why: str) -> _Pace:
    return _Pace(ru_per_s=0.0, reason=reason, why=why)


def _weighed(signals: Signals, memory: Memory, known: _Known) -> _Pace:
    """The budget that is worth its risk, no faster upward than a fresh reading proves."""
    need = _needed(signals, known)
    pressed = need > known.business_ru_per_s
    headroom = signals.limit_ru_per_s - need
    if headroom < USEFUL_RU_PER_S:
        reason = Reason.PRESSURE if pressed else Reason.NO_SLACK
        return _hold(reason, f"{_seen(signals, known)} leave no slack")
    seen = outlook(
        known.past,
        after=_blind_minutes(signals, known),
        capacity_ru_per_s=signals.capacity_ru_per_s,
    )
    seen = replace(seen, habit=_habit(signals))
    current = min(memory.budget_ru_per_s, headroom)
    wanted = _worthwhile(signals, seen, _price(known), headroom, current)
    if pressed:
        seen = seen.raised_to(need)
        wanted = min(wanted, _worthwhile(signals, seen, _price(known), headroom, current))
    if wanted < USEFUL_RU_PER_S:
        why = f"the business may need the slack any moment: {_seen(signals, known)}"
        return _hold(Reason.TOO_RISKY, why)
    if _is_throttled_anywhere(known):
        budget = min(current, wanted * THROTTLED_FACTOR)
        return _Pace(ru_per_s=budget, reason=Reason.THROTTLED, wanted_ru_per_s=wanted, outlook=seen)
    budget = min(wanted, current + _growth(signals, memory, known))
    reason = Reason.GROWING if budget < wanted else Reason.SLACK
    if pressed:
        reason = Reason.PRESSURE
    return _Pace(ru_per_s=budget, reason=reason, wanted_ru_per_s=wanted, outlook=seen)


def _needed(signals: Signals, known: _Known) -> float:
    """What the business is known to use: as read, or as it says itself."""
    pushed = _pushed(signals)
    told = 0.0 if pushed is None else pushed.business_ru_per_s or 0.0
    return max(known.business_ru_per_s, told)


def _pushed(signals: Signals) -> Pressure | None:
    pushed = signals.pressure
    return pushed if pushed is not None and pushed.until_s > signals.now_s else None


def _blind_minutes(signals: Signals, known: _Known) -> int:
    """How many minutes after the newest one most of this decision's time lies."""
    return int(signals.now_s + TICK_S / 2 - (known.newest_s or 0)) // MINUTE_S


def _habit(signals: Signals) -> float:
    """The highest this hour of the week is used to be, and the next where this one is ending."""
    if signals.profile is None:
        return 0.0
    hours = (signals.profile.at(at_s) for at_s in (signals.now_s, signals.now_s + MINUTE_S))
    return max((hour.high_ru_per_s for hour in hours if hour), default=0.0)


def _price(known: _Known) -> float:
    """Risk costs more after a day in which the ceiling was passed too often by our doing."""
    share = len(known.overrun_s) / MINUTES_KEPT
    return RISK_PRICE * max(1.0, share / TOLERATED_SHARE) ** 2


def _worthwhile(
    signals: Signals, seen: Outlook, price: float, headroom: float, current: float
) -> float:
    """The budget whose use less its risk is best; the current one while it is nearly as good."""
    capacity, limit = signals.capacity_ru_per_s, signals.limit_ru_per_s
    rounding = capacity * ROUNDING

    def worth(budget: float) -> float:
        return budget / capacity - price * seen.risk_above(limit - budget + rounding)

    step = capacity / STEPS
    steps = [index * step for index in range(int(headroom / step) + 1)]
    best = max([*steps, headroom], key=worth)
    return current if worth(best) - worth(current) < WORTH_CHANGING else best


def _is_throttled_anywhere(known: _Known) -> bool:
    """Whether Monitor tells of 429s that no single full range explains."""
    newest = known.newest
    return (
        newest is not None
        and newest.throttled_share > THROTTLED_SHARE
        and not any(use.is_full for use in newest.ranges.values())
    )


def _growth(signals: Signals, memory: Memory, known: _Known) -> float:
    """How much more than now one reading proves: nothing if it is old, used up or not clean."""
    newest = known.newest
    proves = (
        newest is not None
        and newest.minute_s > memory.raised_for_s
        and known.age_s <= FRESH_S
        and newest.throttled_share <= THROTTLED_SHARE
    )
    return GROWTH * signals.capacity_ru_per_s if proves else 0.0


def _limits(signals: Signals, known: _Known, budget_ru_per_s: float) -> dict[str, float]:
    """What each range may be asked for; little where a 429 was met, nothing where it is full."""
    shares = largest_shares(
        signals.ranges, [each.range_shares() for each in known.readings], signals.usual_shares
    )
    limit = signals.limit_ru_per_s
    parts = max(signals.partitions, len(shares))
    limits = range_limits(
        shares, expected_ru_per_s=limit - budget_ru_per_s, ceiling_ru_per_s=limit / parts
    )
    beyond = (1.0 - signals.ceiling) * signals.capacity_ru_per_s / parts
    for name, met in _throttles(signals, known).items():
        # Full with our spending means that the business took the rest.
        limits[name] = min(limits[name], max(0.0, met.ru_per_s - beyond))
    return limits | dict.fromkeys(_full_and_throttled(known) & limits.keys(), 0.0)


def _throttles(signals: Signals, known: _Known) -> dict[str, Throttle]:
    """Our 429s on ranges of this source that no reading begun since has answered yet."""
    newest_s = known.newest_s or 0
    return {
        name: met
        for name, met in signals.throttles.items()
        if name in signals.ranges
        and newest_s < met.at_s
        and signals.now_s - met.at_s <= STALE_AFTER_S
    }


def _full_and_throttled(known: _Known) -> frozenset[str]:
    newest = known.newest
    if newest is None or newest.throttled_share <= THROTTLED_SHARE:
        return frozenset()
    return frozenset(name for name, use in newest.ranges.items() if use.is_full)


def _within(limits_ru_per_s: float, signals: Signals, known: _Known, pace: _Pace) -> _Pace:
    """No more than the ranges give together, and nothing that is not worth starting for."""
    budget = min(pace.ru_per_s, limits_ru_per_s)
    reason = pace.reason
    if budget < pace.ru_per_s * (1 - ROUNDING):
        reason = Reason.THROTTLED if _throttles(signals, known) else Reason.HOT
    if budget >= USEFUL_RU_PER_S or pace.why:
        return replace(pace, ru_per_s=budget, reason=reason)
    if reason in {Reason.THROTTLED, Reason.HOT}:
        return _hold(reason, f"no range has room: {_seen(signals, known)}")
    return _hold(Reason.WAITING, f"no fresh clean reading to grow on: {_seen(signals, known)}")


def _risk(signals: Signals, pace: _Pace) -> float | None:
    if pace.outlook is None:
        return None
    return pace.outlook.risk_above(signals.limit_ru_per_s - pace.ru_per_s)


def _sentence(signals: Signals, known: _Known, pace: _Pace, limits: Mapping[str, float]) -> str:
    if pace.ru_per_s == 0.0:
        return f"holding: {pace.why}"
    spending = f"spending up to {pace.ru_per_s:.0f}"
    if pace.ru_per_s < pace.wanted_ru_per_s:
        spending = f"{spending} of {pace.wanted_ru_per_s:.0f}"
    parts = [f"{spending} RU/s: {_seen(signals, known)}"]
    risk = _risk(signals, pace)
    if risk is not None:
        parts.append(f"risk of passing it {risk:.1%}")
    met = _throttles(signals, known)
    if met:
        newest = max(met.values(), key=lambda each: each.at_s)
        parts.append(f"a 429 was met {signals.now_s - newest.at_s:.0f} s ago")
    hot = [name for name, ru_per_s in limits.items() if ru_per_s < USEFUL_RU_PER_S]
    if hot:
        parts.append(f"{len(hot)} of {len(limits)} ranges are paused, such as {hot[0]}")
    return "; ".join(parts)


def _seen(signals: Signals, known: _Known) -> str:
    text = (
        f"business {known.business_ru_per_s:.0f} RU/s ({known.age_s:.0f} s ago), "
        f"ceiling {signals.limit_ru_per_s:.0f} of {signals.capacity_ru_per_s:.0f} RU/s "
        f"({signals.capacity_from})"
    )
    pushed = _pushed(signals)
    if pushed is None or pushed.business_ru_per_s is None:
        return text
    return f"{text}, {pushed.business_ru_per_s:.0f} RU/s as it says itself{_until(pushed)}"


def _until(pushed: Pressure) -> str:
    told = f" ({pushed.told})" if pushed.told else ""
    return f" until {_clock(pushed.until_s)}{told}"


def _alarming(alarm: Alarm) -> str:
    return (
        f"the alert {alarm.rule!r} fired at {_clock(alarm.fired_at_s)}; unless it is resolved "
        f"before, readings decide again from {_clock(alarm.until_s)}"
    )


def _clock(at_s: float) -> str:
    return f"{dt.datetime.fromtimestamp(at_s, dt.UTC):%H:%M:%S} UTC"
