"""One migration's recent past as numbers to draw: minute by minute, reasons, and what happened.

It reads the journal and the incidents and changes nothing. What it gives is bounded in size,
whatever span is asked for.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from shared.application.bundle import Ports
from shared.application.pacer import MINUTE_S, metered_minute
from shared.domain.board import BOARD_VALID_S
from shared.domain.spec import parse_spec
from shared.ports import Entry, Incident

HOURS_MAX = 48.0
ENTRIES_MAX = 6_000  # two days of ticks for one source: six calls of the journal
POINTS_MAX = 360  # six hours of minutes; a chart on a screen shows no more
SPELLS_MAX = 100
EVENTS_MAX = 50
ALERTS_MAX = 50  # beside the events, so that errors of many kinds crowd none out
INCIDENTS_MAX = 500  # of the account: one call, whatever else went wrong in the span
EVENT_KINDS = ("halted", "completed", "error", "conflict", "cycle", "surveyed", "runs_ended")
ALERT_KINDS = ("alert_fired", "alert_resolved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of the picture: means over its minutes, None where nothing is known."""

    at_s: int
    business_ru_per_s: float | None = None
    own_ru_per_s: float | None = None
    total_ru_per_s: float | None = None
    budget_ru_per_s: float | None = None
    ceiling_ru_per_s: float | None = None
    capacity_ru_per_s: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """Decisions in a row with the same reason; the sentence is the newest one's."""

    from_s: float
    until_s: float
    reason: str
    sentence: str
    decisions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a tick did or met, and until when it met it again and again; or an alert."""

    at_s: float
    until_s: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The minutes in which both the business and the ceiling are known, added up."""

    minutes: int
    over_by_ebb: int
    """Above the ceiling, though the business alone was not."""
    over_by_business: int
    slack_used: float | None
    """Of what the business left below the ceiling, the part that Ebb used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    name: str
    source: str
    since_s: float
    until_s: float
    step_s: int
    cut: bool
    """Whether the journal holds more of this span than one answer reads."""
    tally: Tally
    points: tuple[Point, ...]
    spells: tuple[Spell, ...]
    """Newest first, as the events."""
    events: tuple[Event, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class _Minute:
    """What the journal tells about one minute."""

    business: list[float] = field(default_factory=list)
    own: float | None = None
    entries: list[Entry] = field(default_factory=list)

    def point(self, minute_s: int) -> Point:
        decisions = [entry.decision for entry in self.entries]
        newest = decisions[-1] if decisions else None
        business = max(self.business, default=None)
        return Point(
            at_s=minute_s,
            business_ru_per_s=business,
            own_ru_per_s=self.own,
            total_ru_per_s=None if business is None or self.own is None else business + self.own,
            budget_ru_per_s=_mean(each.budget_ru_per_s for each in decisions),
            ceiling_ru_per_s=newest.ceiling * newest.capacity_ru_per_s if newest else None,
            capacity_ru_per_s=newest.capacity_ru_per_s if newest else None,
            reason=newest.reason.value if newest else None,
        )


class Picturing:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def timeline(self, name: str, *, hours: float) -> Timeline:
        """The last hours of a migration; NotFound for a name nobody applied."""
        migration = self._ports.ledger.migration(name)
        source = parse_spec(migration.spec_text).source.name
        now_s = self._ports.clock.now_s()
        since_s = now_s - hours * 3600
        read = self._ports.journal.entries(since_s=since_s, limit=ENTRIES_MAX)
        cut = len(read) == ENTRIES_MAX
        if cut:
            since_s = read[-1].decision.at_s
        entries = [e for e in reversed(read) if any(s.migration == name for s in e.shares)]
        incidents = self._ports.incidents.latest(limit=INCIDENTS_MAX, since_s=since_s)
        minutes = _minutes(entries, since_s=since_s, now_s=now_s)
        events = _events(entries, name)[:EVENTS_MAX] + _alerts(incidents, source)[:ALERTS_MAX]
        step_s = MINUTE_S * max(1, math.ceil((now_s - since_s) / MINUTE_S / POINTS_MAX))
        return Timeline(
            name=name,
            source=source,
            since_s=since_s,
            until_s=now_s,
            step_s=step_s,
            cut=cut,
            tally=_tally(minutes),
            points=_thinned(minutes, step_s),
            spells=tuple(_spells(entries, now_s)[:SPELLS_MAX]),
            events=tuple(sorted(events, key=lambda each: -each.until_s)),
        )


def _minutes(entries: Sequence[Entry], *, since_s: float, now_s: float) -> list[Point]:
    """Each ended minute of which anything is known: use where it was, not when it was told."""
    found: dict[int, _Minute] = defaultdict(_Minute)
    for entry in entries:
        decision = entry.decision
        found[_floor(decision.at_s)].entries.append(entry)
        found[metered_minute(decision.at_s)].own = entry.own_ru_per_s
        if decision.business_ru_per_s is not None and decision.reading_age_s is not None:
            read_s = round((decision.at_s - decision.reading_age_s) / MINUTE_S - 1) * MINUTE_S
            found[read_s].business.append(decision.business_ru_per_s)
    ended = (m for m in sorted(found) if since_s <= m and m + MINUTE_S <= now_s)
    return [found[m].point(m) for m in ended]


def _thinned(minutes: Sequence[Point], step_s: int) -> tuple[Point, ...]:
    steps: dict[int, list[Point]] = defaultdict(list)
    for each in minutes:
        steps[each.at_s // step_s * step_s].append(each)
    return tuple(_merged(at_s, steps[at_s]) for at_s in sorted(steps))


def _merged(at_s: int, points: Sequence[Point]) -> Point:
    reasons = [each.reason for each in points if each.reason is not None]
    return Point(
        at_s=at_s,
        business_ru_per_s=_mean(each.business_ru_per_s for each in points),
        own_ru_per_s=_mean(each.own_ru_per_s for each in points),
        total_ru_per_s=_mean(each.total_ru_per_s for each in points),
        budget_ru_per_s=_mean(each.budget_ru_per_s for each in points),
        ceiling_ru_per_s=_mean(each.ceiling_ru_per_s for each in points),
        capacity_ru_per_s=_mean(each.capacity_ru_per_s for each in points),
        reason=max(reasons, key=reasons.count, default=None),
    )


def _tally(minutes: Iterable[Point]) -> Tally:
    known = [
        (each.business_ru_per_s, each.own_ru_per_s, each.ceiling_ru_per_s)
        for each in minutes
        if each.business_ru_per_s is not None
        and each.own_ru_per_s is not None
        and each.ceiling_ru_per_s is not None
    ]
    slack = sum(max(0.0, ceiling - business) for business, _, ceiling in known)
    used = sum(own for business, own, ceiling in known if business < ceiling)
    return Tally(
        minutes=len(known),
        over_by_ebb=sum(business <= ceiling < business + own for business, own, ceiling in known),
        over_by_business=sum(business > ceiling for business, _, ceiling in known),
        slack_used=round(used / slack, 4) if slack > 0 else None,
    )


def _spells(entries: Sequence[Entry], now_s: float) -> list[Spell]:
    """Newest first. A decision holds until the next one, and no longer than the board does."""
    ends = [*(entry.decision.at_s for entry in entries), now_s][1:]
    found: list[Spell] = []
    for entry, end_s in zip(entries, ends, strict=True):
        decision = entry.decision
        spell = Spell(
            from_s=decision.at_s,
            until_s=min(end_s, decision.at_s + BOARD_VALID_S),
            reason=decision.reason.value,
            sentence=decision.sentence,
            decisions=1,
        )
        last = found[-1] if found else None
        if last and last.reason == spell.reason and last.until_s == spell.from_s:
            spell = replace(spell, from_s=last.from_s, decisions=last.decisions + 1)
            found.pop()
        found.append(spell)
    return found[::-1]


def _events(entries: Sequence[Entry], name: str) -> list[Event]:
    """Newest first; what is met at each tick anew is one event."""
    found: dict[tuple[str, str], Event] = {}
    for entry in entries:
        at_s = entry.decision.at_s
        for kind, text in _told(entry.actions, name):
            first = found.pop((kind, text), None)
            found[kind, text] = Event(
                at_s=first.at_s if first else at_s, until_s=at_s, kind=kind, text=text
            )
    return list(found.values())[::-1]


def _alerts(incidents: Sequence[Incident], source: str) -> list[Event]:
    """Newest first, each firing and each end once; the details stand in the incidents."""
    found: dict[Event, None] = {}
    for each in incidents:
        if each.alert is not None and (each.alert.everywhere or source in each.alert.sources):
            kind = ALERT_KINDS[each.alert.resolved]
            event = Event(at_s=each.at_s, until_s=each.at_s, kind=kind, text=each.alert.rule)
            found[event] = None
    return list(found)


def _told(actions: Mapping[str, Any], name: str) -> Iterable[tuple[str, str]]:
    for kind in EVENT_KINDS:
        if f"{name}.{kind}" in actions:
            value = actions[f"{name}.{kind}"]
            yield kind, "" if value is True else str(value)
    if "factory.error" in actions:
        yield "error", str(actions["factory.error"])


def _floor(at_s: float) -> int:
    return int(at_s // MINUTE_S) * MINUTE_S


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 1) if known else None
