"""How long so many request units will take, from what the pacing law grants hour by hour.

The past is rehearsed with the law itself where minutes are known, and estimated from habits where
only those are. It reads no clock, and says so when the past gives no ground for a forecast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, islice
from math import ceil, exp

from shared.domain.governor import TICK_S, Memory, Signals, decide
from shared.domain.outlook import MINUTE_S
from shared.domain.profile import HOUR_S, HOURS, Profile, hour_of_week
from shared.domain.readings import Reading

DAY_H = 24
HOUR_MINUTES = HOUR_S // MINUTE_S
REHEARSED_EVERY = (
    2  # minutes: on the most volatile load it grants what every tick would, within 3 %
)
LATE_MINUTES = 2  # Monitor tells a minute so much after its end
KNOWN_MINUTES_MIN = 30  # of an hour: with fewer it tells nothing
HOURS_MIN = 48  # each hour of the day twice
FADE_H = 72.0  # what was three days ago counts a third: levels shift, and stay where they went
LIKE_H = 1.5  # how near two hours of the day are to be taken as alike
RECENT_H = 6  # how far the last hours are off their usual …
RECENT_FADE_H = 24.0  # … is expected to go on, and to be a third of it a day later
SHORTFALL = 0.08  # of the past's spans as long as the work: so many had less than P90 counts on
SLOWER_MIN = 1.25  # P90 is never nearer to P50: the coming weeks are not the past ones
SLOWER_MAX = 10.0
UNREHEARSED_MIN = 3.0  # where the law was not rehearsed: hours of the week hide how they came about
NO_SLACK = 0.1  # of what these hours are used to: with less in the last three, nobody can say
NO_SLACK_H = 3
HORIZON_H = 3 * 365 * DAY_H
HABIT_MARGIN = 0.3  # of the way from an hour's typical minute to its highest: what the law leaves
WARY_MARGIN = 0.8  # free on loads such as were recorded, and on the most volatile of them
START_S = 4.0 * TICK_S  # survey, plan, first seats, and three readings to grow on
END_S = 2.0 * TICK_S  # the last slice is validated, and a tick finds that all is done
USED_SHARE = 0.9  # of what a worker is granted: it spends nothing while it stages a file


class Basis(StrEnum):
    """What a forecast rests on, the best first."""

    REHEARSED = "the law rehearsed on the business's own minutes"
    HABITS = "each hour of the week as the logs tell it"
    GUESSED = "a guess: nothing is known of the business"


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What the law grants, hour after hour of the past, the last one ending at `until_s`."""

    basis: Basis
    until_s: float
    ru_per_s: tuple[float | None, ...]
    """None where too little is known of an hour."""
    wary_ru_per_s: tuple[float, ...] = ()
    """The same for a volatile business, where volatility is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Seconds from start to completion; no numbers when nobody can tell, and why."""

    basis: Basis
    p50_s: float | None
    p90_s: float | None
    why_not: str = ""


def rehearsed(
    use: Sequence[float | None], *, first_s: int, capacity_ru_per_s: float, ceiling: float
) -> Granted:
    """The law over the business's own past minutes, as if Ebb had run beside it."""
    lead = -first_s % HOUR_S // MINUTE_S
    granted = list(_replayed(use, first_s, capacity_ru_per_s, ceiling))
    hours = range(lead, len(use) - HOUR_MINUTES + 1, HOUR_MINUTES)
    return Granted(
        basis=Basis.REHEARSED,
        until_s=first_s + (lead + len(hours) * HOUR_MINUTES) * MINUTE_S,
        ru_per_s=tuple(
            _mean_known(granted[i : i + HOUR_MINUTES], use[i : i + HOUR_MINUTES]) for i in hours
        ),
    )


def _replayed(
    use: Sequence[float | None], first_s: int, capacity: float, ceiling: float
) -> Iterator[float]:
    """What would have been spent in each minute; what was spent is part of later readings."""
    memory, budget, told = Memory(), 0.0, 0
    spent: list[float] = []
    for index, business in enumerate(use):
        if index % REHEARSED_EVERY == 0:
            until = max(0, index - LATE_MINUTES)
            signals = Signals(
                now_s=first_s + index * MINUTE_S + TICK_S // 3,
                capacity_ru_per_s=capacity,
                capacity_from="rehearsed",
                ceiling=ceiling,
                readings=tuple(_readings(use, spent, first_s, range(told, until))),
            )
            decision, memory = decide(signals, memory)
            budget, told = decision.budget_ru_per_s, until
        # Beyond the capacity stands a 429, and after it Ebb waits.
        spent.append(budget if (business or 0.0) + budget <= capacity else 0.0)
        yield spent[-1]


def _readings(
    use: Sequence[float | None], spent: Sequence[float], first_s: int, minutes: range
) -> Iterator[Reading]:
    for index in minutes:
        business = use[index]
        if business is not None:
            own = spent[index] * MINUTE_S
            total = business * MINUTE_S + own
            yield Reading(minute_s=first_s + index * MINUTE_S, total_ru=total, own_ru=own)


def _mean_known(granted: Sequence[float], use: Sequence[float | None]) -> float | None:
    known = [ru for ru, business in zip(granted, use, strict=True) if business is not None]
    return sum(known) / len(known) if len(known) >= KNOWN_MINUTES_MIN else None


def from_habits(
    profile: Profile, *, now_s: float, capacity_ru_per_s: float, ceiling: float
) -> Granted:
    """A week such as the logs tell: what is free above each hour's minutes, less the margin."""
    limit = ceiling * capacity_ru_per_s
    until_s = now_s // HOUR_S * HOUR_S
    week = [profile.at(until_s - (HOURS - index) * HOUR_S) for index in range(HOURS)]

    def left(margin: float) -> list[float | None]:
        return [
            None
            if hour is None
            else max(
                0.0,
                limit
                - hour.typical_ru_per_s
                - margin * (hour.high_ru_per_s - hour.typical_ru_per_s),
            )
            for hour in week
        ]

    return Granted(
        basis=Basis.HABITS,
        until_s=until_s,
        ru_per_s=tuple(left(HABIT_MARGIN)),
        wary_ru_per_s=tuple(each or 0.0 for each in left(WARY_MARGIN)),
    )


def guessed(*, now_s: float, ru_per_s: float) -> Granted:
    """The same for every hour of a week, where nothing is known but a level."""
    return Granted(
        basis=Basis.GUESSED,
        until_s=now_s // HOUR_S * HOUR_S,
        ru_per_s=(ru_per_s,) * HOURS,
        wary_ru_per_s=(ru_per_s / UNREHEARSED_MIN,) * HOURS,
    )


def forecast(granted: Granted, ru: float, *, now_s: float) -> Forecast:
    """How long it takes to spend so much from now on, half the time and nine times in ten."""
    known = [each for each in granted.ru_per_s if each is not None]
    if len(known) < HOURS_MIN:
        return _unknown(
            granted, f"{len(known)} hours of the business are known, {HOURS_MIN} needed"
        )
    ahead = expected(granted, now_s)
    if _has_no_slack(granted):
        return _unknown(
            granted,
            f"the last {NO_SLACK_H} hours left next to no slack, unlike these hours before",
        )
    work_s = _spent_after_s(ahead, ru)
    if work_s is None:
        return _unknown(granted, "the business leaves no slack in any hour")
    slower = _slower(granted, ahead, work_s)
    wary_s = _spent_after_s([each / slower for each in ahead], ru)
    return Forecast(
        basis=granted.basis,
        p50_s=START_S + work_s + END_S,
        p90_s=None if wary_s is None else START_S + max(wary_s, SLOWER_MIN * work_s) + END_S,
    )


def _unknown(granted: Granted, why: str) -> Forecast:
    return Forecast(basis=granted.basis, p50_s=None, p90_s=None, why_not=why)


def expected(granted: Granted, now_s: float) -> list[float]:
    """RU/s of the coming week, hour by hour: usual for the hour, and as far off it as lately."""
    usual = usual_day(granted)
    gap = max(0, round((now_s - granted.until_s) / HOUR_S))
    lately = _lately(granted, RECENT_H)
    off = sum(ru - usual[-age % DAY_H] for age, ru in lately) / len(lately) if lately else 0.0
    return [
        max(0.0, usual[hour % DAY_H] + off * exp(-hour / RECENT_FADE_H))
        for hour in range(gap, gap + HOURS)
    ]


def usual_day(granted: Granted, fade_h: float = FADE_H) -> list[float]:
    """RU/s of each hour after the last one known, by the like hours of the days before."""
    count = len(granted.ru_per_s)
    sums, weights = [0.0] * DAY_H, [0.0] * DAY_H
    for index, ru in enumerate(granted.ru_per_s):
        if ru is None:
            continue
        age = count - index
        fade = exp(-age / fade_h)
        for hour in range(DAY_H):
            weight = fade * _LIKENESS[(hour + age) % DAY_H]
            sums[hour] += weight * ru
            weights[hour] += weight
    return [ru / weight if weight > 0 else 0.0 for ru, weight in zip(sums, weights, strict=True)]


def _like(hours: int) -> float:
    apart = min(hours, DAY_H - hours)
    return exp(-0.5 * (apart / LIKE_H) ** 2)


_LIKENESS = tuple(_like(hours) for hours in range(DAY_H))


def _lately(granted: Granted, hours: int) -> list[tuple[int, float]]:
    """The last hours known, each with its age."""
    newest_first = enumerate(reversed(granted.ru_per_s), start=1)
    return [(age, ru) for age, ru in islice(newest_first, hours) if ru is not None]


def _has_no_slack(granted: Granted) -> bool:
    """Lately there was next to none, in hours that are used to some."""
    usual = usual_day(granted, fade_h=float(len(granted.ru_per_s)))
    lately = _lately(granted, NO_SLACK_H)
    seen = sum(ru for _, ru in lately)
    meant = sum(usual[-age % DAY_H] for age, _ in lately)
    some = NO_SLACK * len(lately) * sum(usual) / DAY_H
    return seen < NO_SLACK * meant and meant > some


def _spent_after_s(ahead: Sequence[float], ru: float) -> float | None:
    """Seconds until so much is spent; the last day of what is foreseen goes on and on."""
    left = ru
    for hour in range(HORIZON_H):
        rate = ahead[hour if hour < len(ahead) else len(ahead) - DAY_H + hour % DAY_H]
        if rate * HOUR_S >= left:
            return hour * HOUR_S + left / rate if left > 0 else 0.0
        left -= rate * HOUR_S
    return None


def _slower(granted: Granted, ahead: Sequence[float], work_s: float) -> float:
    """By how much the past's spans as long as the work fell short of what was usual for them."""
    if granted.wary_ru_per_s:
        wary = sum(granted.wary_ru_per_s) / len(granted.wary_ru_per_s)
        slower = sum(ahead) / len(ahead) / wary if wary > 0 else SLOWER_MAX
        return _bounded(max(slower, UNREHEARSED_MIN))
    usual = usual_day(granted, fade_h=float(len(granted.ru_per_s)))
    count = len(granted.ru_per_s)
    meant = [usual[(index - count) % DAY_H] for index in range(count)]
    seen = [
        usually if ru is None else ru for ru, usually in zip(granted.ru_per_s, meant, strict=True)
    ]
    span = min(max(1, ceil(work_s / HOUR_S)), count // 2)
    parts = sorted(
        had / wanted if wanted > 0 else 1.0
        for had, wanted in zip(_sums(seen, span), _sums(meant, span), strict=True)
    )
    short = parts[int(SHORTFALL * (len(parts) - 1))]
    return _bounded(1.0 / short if short > 0 else SLOWER_MAX)


def _bounded(slower: float) -> float:
    return min(SLOWER_MAX, max(SLOWER_MIN, slower))


def _sums(values: Sequence[float], span: int) -> list[float]:
    """Of every stretch of so many values in a row."""
    ends = list(accumulate(values, initial=0.0))
    return [ends[i + span] - ends[i] for i in range(len(values) - span + 1)]


def hours_of_week(granted: Granted) -> dict[int, float]:
    """Hour of the week, in UTC -> RU/s granted on average."""
    found: dict[int, list[float]] = {}
    first_s = granted.until_s - len(granted.ru_per_s) * HOUR_S
    for index, ru in enumerate(granted.ru_per_s):
        if ru is not None:
            found.setdefault(hour_of_week(first_s + index * HOUR_S), []).append(ru)
    return {hour: sum(each) / len(each) for hour, each in sorted(found.items())}


def remaining_s(ru: float, share_ru_per_s: float) -> float:
    """How long so much takes at the present share; workers use nearly all of what they may."""
    return ru / (share_ru_per_s * USED_SHARE)


def grown_s(ru: float, share_ru_per_s: float, *, step_ru_per_s: float, to_ru_per_s: float) -> float:
    """As `remaining_s`, where each minute's reading lets the share grow by a step, up to an end."""
    spent_s, span_s, rate = 0.0, MINUTE_S / 2, share_ru_per_s  # on average the next is as near
    while step_ru_per_s > 0 and rate < to_ru_per_s and remaining_s(ru, rate) > span_s:
        ru -= rate * USED_SHARE * span_s
        spent_s += span_s
        rate, span_s = min(to_ru_per_s, rate + step_ru_per_s), MINUTE_S
    return spent_s + remaining_s(ru, rate)


def whole_s(working_s: float, *, begun_s: float) -> float:
    """From start to completion, told when the first share is known, so long after the start.

    Beginning and end are made of the same ticks, however far apart those are.
    """
    return begun_s + working_s + min(begun_s, END_S)


def by_runs_s(
    ordered_s: Sequence[float], *, proven_of_them: int, runs_left: float, now_s: float
) -> float | None:
    """When the last of the runs that are left will be proven, by the pace of those so far.

    Their times are those at which they were ordered; nothing is told before two of them were.
    """
    in_order = sorted(ordered_s)
    if not 0 < proven_of_them <= len(in_order) or len(in_order) < 2:  # noqa: PLR2004 - a first and a last
        return None
    apart_s = (in_order[-1] - in_order[0]) / (len(in_order) - 1)
    takes_s = now_s - in_order[proven_of_them - 1]
    return in_order[-1] + runs_left * apart_s + takes_s
