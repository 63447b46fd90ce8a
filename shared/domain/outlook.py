"""What the business may do before the next readings come, judged by what it did when it was alike.

It keeps a day of minutes and answers one question: how likely is it that the business rises above
so many RU/s during the blind time? It knows nothing of budgets.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from math import exp

MINUTE_S = 60
MINUTES_KEPT = 1440  # a day: long enough to meet a rare burst again, short enough to forget it
DIGITS_KEPT = 1  # a tenth of an RU/s is finer than any meter, and a day must fit a table's property
LEVEL_MINUTES = 10
LEVEL_BAND = 0.2  # minutes this near to the newest are one level with noise; others are a jump
SPREAD_MINUTES = 15
FADE_MINUTES = 720.0  # what happened half a day ago counts a third of what happened now
LEVEL_LIKENESS = 0.05  # of capacity: how near two levels are to be taken as alike
SPREAD_LIKENESS = 0.3  # of the newest spread, itself at least a twentieth of capacity
SPREAD_MIN = 0.05
UNLIKE = 12.0  # squared distance beyond which a moment tells nothing about this one
DOUBT_WEIGHT = 1.0  # one moment's worth of distrust in a business that is hardly known
DOUBT_RISE = 0.05  # of capacity: the rise that distrust expects
HABIT_RISK = 1 / 60  # of an hour's minutes: its highest of other weeks comes once
_FADES = tuple(exp(-age / FADE_MINUTES) for age in range(MINUTES_KEPT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Minute after minute of the business's RU/s, None where nothing is known.

    `level` is where the business stood, noise taken off; `spread` how far it ranged lately.
    """

    first_s: int = 0
    use: tuple[float | None, ...] = ()
    level: tuple[float, ...] = field(default=(), repr=False)
    spread: tuple[float, ...] = field(default=(), repr=False)

    @staticmethod
    def of(first_s: int, use: Sequence[float | None]) -> Past:
        """From minutes as they were kept, the rest worked out again."""
        return _traced(first_s, list(use), Past(), 0)

    def at(self, minute_s: int) -> float | None:
        index = (minute_s - self.first_s) // MINUTE_S
        return self.use[index] if 0 <= index < len(self.use) else None

    def newest_s(self) -> int | None:
        """The newest known minute; the last place is always known."""
        return self.first_s + (len(self.use) - 1) * MINUTE_S if self.use else None

    def until(self, now_s: float) -> Past:
        """Without minutes that have not ended: a clock was set back."""
        newest_s = self.newest_s()
        if newest_s is None or newest_s + MINUTE_S <= now_s:
            return self
        known = [
            (self.first_s + index * MINUTE_S, ru)
            for index, ru in enumerate(self.use)
            if ru is not None and self.first_s + (index + 1) * MINUTE_S <= now_s
        ]
        return Past().with_minutes(known)

    def with_minutes(self, minutes: Iterable[tuple[int, float]]) -> Past:
        """With readings in any order; of two readings of one minute the higher is believed."""
        told = sorted((minute_s, round(ru_per_s, DIGITS_KEPT)) for minute_s, ru_per_s in minutes)
        changed = {m: ru_per_s for m, ru_per_s in told if self._is_news(m, ru_per_s)}
        if not changed:
            return self
        newest_s = max(*changed, self.newest_s() or 0)
        oldest_s = newest_s - (MINUTES_KEPT - 1) * MINUTE_S
        first_s = max(oldest_s, min(*changed, self.first_s) if self.use else min(changed))
        kept = self._from(first_s)
        length = (newest_s - first_s) // MINUTE_S + 1
        use = [*kept.use, *[None] * (length - len(kept.use))]
        for minute_s, ru_per_s in changed.items():
            if minute_s >= first_s:
                use[(minute_s - first_s) // MINUTE_S] = ru_per_s
        start = max(0, (min(changed) - first_s) // MINUTE_S)
        return _traced(first_s, use, kept, min(start, len(kept.use)))

    def _is_news(self, minute_s: int, ru_per_s: float) -> bool:
        known = self.at(minute_s)
        return known is None or ru_per_s > known

    def _from(self, first_s: int) -> Past:
        """The same minutes beginning at `first_s`, earlier or later than now."""
        if not self.use:
            return Past(first_s=first_s)
        shift = (first_s - self.first_s) // MINUTE_S
        if shift <= 0:
            return Past(
                first_s=first_s,
                use=(*[None] * -shift, *self.use),
                level=(*[0.0] * -shift, *self.level),
                spread=(*[0.0] * -shift, *self.spread),
            )
        return Past(
            first_s=first_s,
            use=self.use[shift:],
            level=self.level[shift:],
            spread=self.spread[shift:],
        )


def _traced(first_s: int, use: list[float | None], kept: Past, start: int) -> Past:
    """Level and spread of every minute from `start` on; before it nothing has changed."""
    level, spread = list(kept.level[:start]), list(kept.spread[:start])
    for index in range(start, len(use)):
        level.append(_level(use, index, level[-1] if level else 0.0))
        spread.append(_spread(use, index))
    return Past(first_s=first_s, use=tuple(use), level=tuple(level), spread=tuple(spread))


def _level(use: list[float | None], index: int, before: float) -> float:
    newest = use[index]
    if newest is None:
        return before
    near = [newest]
    for each in reversed(use[max(0, index - LEVEL_MINUTES + 1) : index]):
        if each is not None and abs(each - newest) > LEVEL_BAND * newest:
            break
        if each is not None:
            near.append(each)
    return sum(near) / len(near)


def _spread(use: list[float | None], index: int) -> float:
    known = [u for u in use[max(0, index - SPREAD_MINUTES + 1) : index + 1] if u is not None]
    return max(known) - min(known) if known else 0.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """How likely the business rises above a level in the blind time."""

    level: float
    doubt_rise: float
    highs: tuple[float, ...] = ()
    below: tuple[float, ...] = field(default=(0.0,))
    """Weight of the outcomes not above each high, with nothing before the first."""
    habit: float = 0.0
    """The highest minute of other weeks' same hour."""

    def risk_above(self, ru_per_s: float) -> float:
        seen = self.below[-1]
        above = seen - self.below[bisect_right(self.highs, ru_per_s)]
        doubt = DOUBT_WEIGHT * exp(min(0.0, (self.level - ru_per_s) / self.doubt_rise))
        habit = HABIT_RISK if self.habit > ru_per_s else 0.0
        return min(1.0, (above + doubt) / (seen + DOUBT_WEIGHT) + habit)

    def raised_to(self, level: float) -> Outlook:
        """The same rises from a higher level, for who is known to stand there already."""
        lift = max(0.0, level - self.level)
        highs = tuple(high + lift for high in self.highs)
        return replace(self, level=self.level + lift, highs=highs)


@lru_cache(maxsize=4)  # two ticks see the same newest minute
def outlook(past: Past, *, after: int, capacity_ru_per_s: float) -> Outlook:
    """The business so many minutes after its newest known one, by what followed alike moments.

    Each earlier minute counts by how near its level and its recent spread are to the newest's, and
    how long ago it was; what counts is how far the business rose from its level then.
    """
    last = len(past.use) - 1
    outcomes = sorted(_outcomes(past, after, capacity_ru_per_s))
    return Outlook(
        past.level[last],
        DOUBT_RISE * capacity_ru_per_s,
        tuple(high for high, _ in outcomes),
        tuple(accumulate((weight for _, weight in outcomes), initial=0.0)),
    )


def _outcomes(past: Past, after: int, capacity_ru_per_s: float) -> list[tuple[float, float]]:
    """Where the business would be after each alike moment's rise, and that moment's weight."""
    here, ranged = past.level[-1], past.spread[-1]
    level_unit = LEVEL_LIKENESS * capacity_ru_per_s
    spread_unit = SPREAD_LIKENESS * (ranged + SPREAD_MIN * capacity_ru_per_s)
    followed = past.use[after:]
    fades = reversed(_FADES[after : len(past.use)])
    found = []
    for use, level, spread, then, fade in zip(
        past.use, past.level, past.spread, followed, fades, strict=False
    ):
        level_off = (level - here) / level_unit
        spread_off = (spread - ranged) / spread_unit
        unlike = level_off * level_off + spread_off * spread_off
        if unlike < UNLIKE and then is not None and use is not None:
            found.append((then - level + here, fade * exp(-0.5 * unlike)))
    return found
