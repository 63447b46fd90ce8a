"""Reads an NCRONTAB expression and tells its next moment in UTC; it never reads a clock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sandbox.host.faults import HostError

# 29 February can miss a given weekday for 40 years around a skipped leap year (2100).
SEARCH_DAYS_MAX = 41 * 366

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_ITEM = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field(name="second", lowest=0, highest=59),
    _Field(name="minute", lowest=0, highest=59),
    _Field(name="hour", lowest=0, highest=23),
    _Field(name="day", lowest=1, highest=31),
    _Field(name="month", lowest=1, highest=12, names=_MONTHS),
    _Field(name="day of week", lowest=0, highest=6, names=_WEEKDAYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The moments an expression names; day and weekday must both match, as in NCRONTAB."""

    text: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @property
    def is_often(self) -> bool:
        """Whether it names several seconds of every minute; such a timer is not monitored."""
        return len(self.seconds) > 1 and set(self.text.split()[1:]) == {"*"}

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment strictly after this one, or None when there is none."""
        start = moment.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        midnight = start.replace(hour=0, minute=0, second=0)
        for offset_days in range(SEARCH_DAYS_MAX):
            day = midnight + timedelta(days=offset_days)
            if not self._on(day):
                continue
            found = self._first_in(day, start)
            if found is not None:
                return found
        return None

    def _on(self, day: datetime) -> bool:
        weekday = day.isoweekday() % 7
        return day.month in self.months and day.day in self.days and weekday in self.weekdays

    def _first_in(self, day: datetime, start: datetime) -> datetime | None:
        for hour in self.hours:
            if day.replace(hour=hour, minute=59, second=59) < start:
                continue
            for minute in self.minutes:
                if day.replace(hour=hour, minute=minute, second=59) < start:
                    continue
                for second in self.seconds:
                    at = day.replace(hour=hour, minute=minute, second=second)
                    if at >= start:
                        return at
        return None


def parse_schedule(text: str) -> Schedule:
    """Read six fields (or five, the second being 0) or say what is wrong with them."""
    fields = text.split()
    if len(fields) == 1 and ":" in text:
        message = (
            f"reading the schedule {text!r}: a TimeSpan runs only on an App Service plan; "
            "write it as NCRONTAB, for example '*/30 * * * * *'"
        )
        raise HostError(message)
    if len(fields) == len(_FIELDS) - 1:
        fields = ["0", *fields]
    if len(fields) != len(_FIELDS):
        message = (
            f"reading the schedule {text!r}: it has {len(fields)} fields; NCRONTAB has six: "
            "second minute hour day month day-of-week"
        )
        raise HostError(message)
    values = [_values(kind, given, text) for kind, given in zip(_FIELDS, fields, strict=True)]
    second, minute, hour, day, month, weekday = values
    return Schedule(
        text=text,
        seconds=tuple(sorted(second)),
        minutes=tuple(sorted(minute)),
        hours=tuple(sorted(hour)),
        days=frozenset(day),
        months=frozenset(month),
        weekdays=frozenset(weekday),
    )


def _values(kind: _Field, given: str, text: str) -> set[int]:
    found: set[int] = set()
    for item in given.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise HostError(_bad(kind, item, text))
        star, low, high, step = match.groups()
        start = kind.lowest if star else _value(kind, low, text)
        if star or (step and not high):
            end = kind.highest
        else:
            end = _value(kind, high, text) if high else start
        # NCRONTAB reads 5-1 as 1-5, and a step of 0 as 1.
        start, end = min(start, end), max(start, end)
        found.update(range(start, end + 1, max(1, int(step or 1))))
    return found


def _value(kind: _Field, word: str, text: str) -> int:
    if word.isdecimal():
        value = int(word)
    else:
        # NCRONTAB takes any beginning of a name, and the first name that fits.
        fits = (i for i, name in enumerate(kind.names) if name.startswith(word.lower()))
        value = kind.lowest + next(fits, kind.highest + 1)
    if not kind.lowest <= value <= kind.highest:
        raise HostError(_bad(kind, word, text))
    return value


def _bad(kind: _Field, seen: str, text: str) -> str:
    return (
        f"reading the schedule {text!r}: the field {kind.name!r} has {seen!r}; "
        f"it takes numbers from {kind.lowest} to {kind.highest}, lists, ranges, steps"
        + (" and names" if kind.names else "")
    )
