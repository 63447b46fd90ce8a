"""The budget board: what each source may be asked for now, by whom, and who sits at the table.

Workers read it every two seconds. A seat says a worker is alive and spending. A migration's share
is divided by its spending seats, and seats on one range are cut alike where it gives less, so the
sum never exceeds the budget, nor what a partition gives, however many workers run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum

from shared.domain.alerts import ALERT_HOLD_S
from shared.domain.governor import STALE_AFTER_S, Alarm, Pressure, Throttle
from shared.domain.pacing import COOL_DOWN_S
from shared.domain.sharing import USEFUL_RU_PER_S

BOARD_READ_EVERY_S = 2.0
BOARD_AGE_MAX_S = 5.0  # a worker that could not read for two rounds and a half must stop spending
BOARD_VALID_S = 90.0  # three ticks: a controller that died stops everything within this
SEAT_TTL_S = 45.0
SEAT_RENEW_EVERY_S = 10.0
THROTTLES_MAX = 100  # of one source, the newest: the row again
ALARMS_MAX = 32  # of one source, or of the account: rules are few, and a row holds so much
NAMED_ALARMS_MAX = 32  # of single sources, all together; what is more is told of the account
SOURCES_MAX = 32  # twice as many as can run at a time; the row once more
WORDS_CHARS_MAX = 100  # of a rule's name or a reason: the row once more
WORDS_JSON_MAX = 202  # the same as the row spells them: six characters for one beyond ASCII
OTHERS = "others"  # stands for alerts that hold, and for which there is no room
SEATS_MAX = 128  # of all migrations together: no account needs more
SEATS_CHARS_MAX = 30_000  # as the row spells them, of 32,768: 128 may move to longer slices' names
THROTTLE_GRAIN_S = 1.0  # all who meet a full partition within this have met the same 429
VACANT_S = 2 * BOARD_AGE_MAX_S  # half to be taken over in, half for everybody to have seen it


class Activity(StrEnum):
    SURVEY = "survey"
    COPY = "copy"
    VALIDATE = "validate"
    REREAD = "reread"
    COMPARE = "compare"
    RETIRE = "retire"


_SPENDING = frozenset({Activity.COPY, Activity.REREAD, Activity.COMPARE, Activity.RETIRE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    migration: str
    source: str
    """Database and container, as the board names what it grants."""
    range_id: str
    slice_id: str
    fence: int
    activity: Activity
    until_s: float

    @property
    def key(self) -> str:
        return f"{self.migration}/{self.slice_id}/{self.fence}/{self.activity.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacancy:
    """A spending seat just left: it still counts, so that a successor changes nobody's share."""

    migration: str
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one source may be asked for, by whom, and on which of its ranges."""

    budget_ru_per_s: float = 0.0
    limit_ru_per_s: float = 0.0
    """The ceiling in RU/s: business and Ebb together."""
    shares_ru_per_s: dict[str, float] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    range_ru_per_s: dict[str, float] = field(default_factory=dict)
    other_ranges_ru_per_s: float = 0.0
    stale_at_s: float | None = None
    """When the reading it was decided on becomes too old; None where none is needed."""
    reason: str = "no decision yet"
    throttles: dict[str, Throttle] = field(default_factory=dict)
    pressure: Pressure | None = None
    alarms: dict[str, Alarm] = field(default_factory=dict)
    """By alert: also those resolved, as long as a message of their firing may still come late."""

    def is_stale(self, now_s: float) -> bool:
        return self.stale_at_s is not None and now_s >= self.stale_at_s

    def range_limit(self, range_id: str) -> float:
        return self.range_ru_per_s.get(range_id, self.other_ranges_ru_per_s)

    def is_paused(self, range_id: str) -> bool:
        """Whether this range waits while the source as a whole goes on."""
        return self.range_limit(range_id) < USEFUL_RU_PER_S <= self.budget_ru_per_s

    def is_held(self, range_id: str, *, now_s: float, decided_at_s: float) -> bool:
        """After a 429 a range gets nothing before it is decided anew, and never at once."""
        met = self.throttles.get(range_id)
        held_s = COOL_DOWN_S + THROTTLE_GRAIN_S  # a 429 so much later may not have been noted
        return met is not None and (met.at_s >= decided_at_s or now_s < met.at_s + held_s)

    def pressed(self, pressure: Pressure) -> Grant:
        """With the business's own word: everything shrinks at once, nothing ever grows by it."""
        return replace(self.under(pressure), pressure=_in_short(pressure))

    def under(self, pressure: Pressure) -> Grant:
        """What a word leaves of it, be it said of this source or of all."""
        need = pressure.business_ru_per_s
        room = 0.0 if need is None else max(0.0, self.limit_ru_per_s - need)
        part = min(1.0, room / self.budget_ru_per_s) if self.budget_ru_per_s > 0 else 0.0
        return self._shrunk(part)

    def alarm(self, now_s: float) -> Alarm | None:
        """The alert that holds the longest."""
        return _longest(self.alarms, now_s)

    def alarmed(self, key: str, alarm: Alarm, *, now_s: float) -> Grant:
        """With what an alert says, in whichever order and however often its messages come."""
        alarms = _with_alarm(self.alarms, key, alarm, now_s)
        told = self.stopped() if _longest(alarms, now_s) else self
        return replace(told, alarms=alarms)

    def stopped(self) -> Grant:
        return self._shrunk(0.0)

    def has_news(self, now_s: float) -> bool:
        """Whether anything that was told of its source may still count."""
        pressed = self.pressure is not None and self.pressure.until_s > now_s
        return pressed or any(_may_count(alarm, now_s) for alarm in self.alarms.values())

    def _shrunk(self, part: float) -> Grant:
        return replace(
            self,
            budget_ru_per_s=self.budget_ru_per_s * part,
            shares_ru_per_s={name: ru * part for name, ru in self.shares_ru_per_s.items()},
            range_ru_per_s={name: ru * part for name, ru in self.range_ru_per_s.items()},
            other_ranges_ru_per_s=self.other_ranges_ru_per_s * part,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    grants: dict[str, Grant] = field(default_factory=dict)
    decided_at_s: float = 0.0
    valid_until_s: float = 0.0
    controller_token: int = 0
    seats: tuple[Seat, ...] = ()
    vacancies: tuple[Vacancy, ...] = ()
    alarms: dict[str, Alarm] = field(default_factory=dict)
    """Of the whole account, once and not with each source."""
    pressure: Pressure | None = None
    """Said of every source."""
    version: str = ""

    @property
    def budget_ru_per_s(self) -> float:
        return sum(grant.budget_ru_per_s for grant in self.grants.values())

    @property
    def holding(self) -> frozenset[str]:
        """Migrations that were granted next to nothing."""
        shares = (
            share for grant in self.grants.values() for share in grant.shares_ru_per_s.items()
        )
        return frozenset(name for name, ru_per_s in shares if ru_per_s < USEFUL_RU_PER_S)

    def source_of(self, migration: str) -> str | None:
        return next((s for s, g in self.grants.items() if migration in g.shares_ru_per_s), None)

    def grant_for(self, migration: str) -> Grant:
        """What the migration's source may be asked for; nothing when it is not running."""
        return self.grants.get(self.source_of(migration) or "", Grant())

    def told_of(self, source: str, now_s: float) -> Grant:
        """The source's grant with all that is told of it, be it by name or of every source."""
        grant = self.grants.get(source, Grant())
        return replace(
            grant,
            alarms=self.alarms | grant.alarms,
            pressure=_stronger(self.pressure, grant.pressure, now_s),
        )

    def live_seats(self, now_s: float) -> tuple[Seat, ...]:
        return tuple(seat for seat in self.seats if seat.until_s > now_s)

    def spending_seats(self, migration: str, now_s: float) -> tuple[Seat, ...]:
        return tuple(s for s in self._spending(now_s) if s.migration == migration)

    def seats_on(self, source: str, range_id: str, now_s: float) -> tuple[Seat, ...]:
        """Those who spend on one range, for whichever migrations."""
        spending = self._spending(now_s)
        return tuple(s for s in spending if s.source == source and s.range_id == range_id)

    def _spending(self, now_s: float) -> Iterator[Seat]:
        return (seat for seat in self.live_seats(now_s) if seat.activity in _SPENDING)

    def holds(self, seat: Seat, now_s: float) -> bool:
        return any(other.key == seat.key for other in self.live_seats(now_s))

    def works_on(self, migration: str, slice_id: str, now_s: float, *, copying: bool) -> bool:
        """Whether a living worker has this slice in hand, to copy it or to validate it."""
        return any(
            seat.migration == migration
            and seat.slice_id == slice_id
            and (seat.activity is Activity.COPY) == copying
            for seat in self.live_seats(now_s)
        )

    @staticmethod
    def spends(seat: Seat) -> bool:
        return seat.activity in _SPENDING

    def rate_for(self, seat: Seat, now_s: float) -> float:
        """What this seat may spend per second now; nothing when the board is out of date."""
        grant = self.grants.get(seat.source)
        if grant is None or now_s >= self.valid_until_s or grant.is_stale(now_s):
            return 0.0
        if not self.holds(seat, now_s) or not self.spends(seat):
            return 0.0
        if grant.is_held(seat.range_id, now_s=now_s, decided_at_s=self.decided_at_s):
            return 0.0
        wanted = self._part_of_share(grant, seat, now_s)
        neighbours = self.seats_on(seat.source, seat.range_id, now_s)
        whole = sum(self._part_of_share(grant, each, now_s) for each in neighbours)
        limit = grant.range_limit(seat.range_id)
        return wanted if whole <= limit else limit * wanted / whole

    def _part_of_share(self, grant: Grant, seat: Seat, now_s: float) -> float:
        share = grant.shares_ru_per_s.get(seat.migration, 0.0)
        return share / max(1, self.divided_by(seat.migration, now_s))

    def divided_by(self, migration: str, now_s: float) -> int:
        """How many parts a migration's share is cut into: seats, and places just left."""
        left = sum(1 for v in self.vacancies if v.migration == migration and v.until_s > now_s)
        return len(self.spending_seats(migration, now_s)) + left

    def admits(self, seat: Seat, now_s: float) -> bool:
        """Whether there is room for one more; who compares may come before a share is granted."""
        if not self.has_room_for_seat(seat, now_s):
            return False
        if not self.spends(seat):
            return True
        if seat.activity is Activity.COMPARE:
            return seat.migration not in self.compared(now_s)
        allowed = self.grant_for(seat.migration).in_flight.get(seat.migration, 0)
        return len(self.spending_seats(seat.migration, now_s)) < allowed

    def has_room_for_seat(self, seat: Seat, now_s: float) -> bool:
        """Whether the row holds one more: with long names of sources these are fewer."""
        seats = (*self.live_seats(now_s), seat)
        return len(seats) <= SEATS_MAX and sum(map(_spelled_chars, seats)) <= SEATS_CHARS_MAX

    def compared(self, now_s: float) -> frozenset[str]:
        """Migrations whose archive somebody is comparing with its source."""
        seats = self.live_seats(now_s)
        return frozenset(s.migration for s in seats if s.activity is Activity.COMPARE)

    def crowds(self, seat: Seat, after: Board, now_s: float) -> bool:
        """Whether others still count on more than is left to them once this seat is taken."""
        return any(
            after.rate_for(other, now_s) < self.rate_for(other, now_s)
            for other in self.live_seats(now_s)
            if other.key != seat.key
        )

    def decided(
        self,
        grants: Mapping[str, Grant],
        *,
        now_s: float,
        controller_token: int,
        published_at_s: float | None = None,
    ) -> Board:
        """With a new decision; what workers and the business told meanwhile stays.

        It counts from the oldest observation: a 429 met since was not seen. It is valid from when
        it is told, as each grant knows when its own reading is too old.
        """
        return replace(
            self,
            grants={
                name: self._under_all(_with_news(grant, self.grants.get(name), now_s), now_s)
                for name, grant in grants.items()
            }
            | self._told_only(grants, now_s),
            alarms=_counting(self.alarms, now_s),
            pressure=_in_force(self.pressure, now_s),
            decided_at_s=now_s,
            valid_until_s=(now_s if published_at_s is None else published_at_s) + BOARD_VALID_S,
            controller_token=controller_token,
            seats=self.live_seats(now_s),
        )

    def seated(self, seat: Seat, now_s: float) -> Board:
        """With the seat taken or renewed; seats whose worker went silent are cleared."""
        others = tuple(s for s in self.live_seats(now_s) if s.key != seat.key)
        vacancies = self.vacancies
        if self.spends(seat) and not self.holds(seat, now_s):
            vacancies = _one_taken(vacancies, seat.migration, now_s)
        return replace(self, seats=(*others, seat), vacancies=vacancies)

    def left(self, seat: Seat, now_s: float) -> Board:
        vacancies = tuple(v for v in self.vacancies if v.until_s > now_s)
        if self.spends(seat) and self.holds(seat, now_s):
            gone = Vacancy(migration=seat.migration, until_s=now_s + VACANT_S)
            vacancies = (*vacancies, gone)
        others = tuple(s for s in self.live_seats(now_s) if s.key != seat.key)
        return replace(self, seats=others, vacancies=vacancies)

    def throttled(self, source: str, range_id: str, *, now_s: float) -> Board:
        """Somebody met a 429: the range is full with what was granted on it.

        The same board where somebody else noted it already: then there is nothing to write.
        """
        grant = self.grants.get(source, Grant())
        granted = min(grant.budget_ru_per_s, grant.range_limit(range_id))
        throttle = Throttle(at_s=now_s, ru_per_s=round(granted, 1))
        if self._is_noted(grant.throttles.get(range_id), throttle):
            return self
        met = grant.throttles | {range_id: throttle}
        newest = sorted(met.items(), key=lambda each: each[1].at_s)[-THROTTLES_MAX:]
        return self.with_grant(source, replace(grant, throttles=dict(newest)))

    def _is_noted(self, known: Throttle | None, met: Throttle) -> bool:
        """A 429 of the same second at the same grant, which the next decision will see."""
        return (
            known is not None
            and known.ru_per_s == met.ru_per_s
            and known.at_s >= self.decided_at_s
            and abs(met.at_s - known.at_s) < THROTTLE_GRAIN_S
        )

    def pressed(self, source: str, pressure: Pressure, *, now_s: float) -> Board:
        """The business says what it needs, or, with a word that is over already, nothing more."""
        grant = self.grants.get(source, Grant())
        if pressure.until_s <= now_s:
            return self.with_grant(source, replace(grant, pressure=None))
        return self.tidied(now_s).with_grant(source, grant.pressed(pressure))

    def pressed_everywhere(self, pressure: Pressure, *, now_s: float) -> Board:
        """The same of every source; taken back, it takes back what was said of single ones too."""
        if pressure.until_s <= now_s:
            grants = {name: replace(grant, pressure=None) for name, grant in self.grants.items()}
            return replace(self, grants=grants, pressure=None)
        grants = {name: grant.under(pressure) for name, grant in self.grants.items()}
        return replace(self, grants=grants, pressure=_in_short(pressure))

    def alarmed(self, source: str, key: str, alarm: Alarm, *, now_s: float) -> Board:
        """An alert fired, which stops everything, or is resolved, which lets it be decided anew."""
        if not _may_count(alarm, now_s):
            return self
        board = self.tidied(now_s)
        by_name = board.has_room_for_alarm(source, key)
        if key in board.alarms or not by_name:
            board = board.alarmed_everywhere(key, alarm, now_s=now_s)
        if not by_name:
            return board
        grant = board.grants.get(source, Grant())
        return board.with_grant(source, grant.alarmed(key, alarm, now_s=now_s))

    def alarmed_everywhere(self, key: str, alarm: Alarm, *, now_s: float) -> Board:
        """The same of the whole account."""
        alarms = _with_alarm(self.alarms, key, alarm, now_s)
        stopped = {name: grant.stopped() for name, grant in self.grants.items()}
        grants = stopped if _longest(alarms, now_s) else self.grants
        return replace(self, grants=grants, alarms=alarms)

    def has_room(self, source: str) -> bool:
        """Whether anything may be told of this source by name."""
        return source in self.grants or len(self.grants) < SOURCES_MAX

    def has_room_for_alarm(self, source: str, key: str) -> bool:
        named = sum(len(grant.alarms) for grant in self.grants.values())
        is_known = key in self.grants.get(source, Grant()).alarms
        return is_known or (self.has_room(source) and named < NAMED_ALARMS_MAX)

    def tidied(self, now_s: float) -> Board:
        """Without sources that nobody copies from and of which nothing told counts any more."""
        kept = {
            name: grant
            for name, grant in self.grants.items()
            if grant.shares_ru_per_s or grant.throttles or grant.has_news(now_s)
        }
        return replace(self, grants=kept)

    def with_grant(self, source: str, grant: Grant) -> Board:
        return replace(self, grants={**self.grants, source: grant})

    def _under_all(self, grant: Grant, now_s: float) -> Grant:
        """What is left of a fresh grant by what is told of every source."""
        if _longest(self.alarms, now_s):
            return grant.stopped()
        pressure = _in_force(self.pressure, now_s)
        return grant if pressure is None else grant.under(pressure)

    def _told_only(self, decided: Mapping[str, Grant], now_s: float) -> dict[str, Grant]:
        """Sources nobody copies from now, but of whose business something was told."""
        rest = {name: grant for name, grant in self.grants.items() if name not in decided}
        idle = Grant(reason="no migration is running")
        told = {name: _with_news(idle, grant, now_s) for name, grant in rest.items()}
        return {name: grant for name, grant in told.items() if grant.has_news(now_s)}


def _spelled_chars(seat: Seat) -> int:
    """The characters of one seat in the board's row, with the comma behind it."""
    return len(json.dumps(asdict(seat), separators=(",", ":"))) + 1


def _lateness(alarm: Alarm) -> tuple[float, float]:
    """What fired last counts, and of one firing its end."""
    return alarm.fired_at_s, -alarm.until_s


def _may_count(alarm: Alarm, now_s: float) -> bool:
    """Also what is resolved, as long as a message of its firing would hold anything."""
    return max(alarm.until_s, alarm.fired_at_s + ALERT_HOLD_S) > now_s


def _counting(alarms: Mapping[str, Alarm], now_s: float) -> dict[str, Alarm]:
    return {key: alarm for key, alarm in alarms.items() if _may_count(alarm, now_s)}


def _longest(alarms: Mapping[str, Alarm], now_s: float) -> Alarm | None:
    held = [alarm for alarm in alarms.values() if alarm.until_s > now_s]
    return max(held, key=lambda each: (each.until_s, each.rule), default=None)


def _with_alarm(
    alarms: Mapping[str, Alarm], key: str, alarm: Alarm, now_s: float
) -> dict[str, Alarm]:
    """With one more; what there is no room for holds on under one name until the last is over."""
    known = alarms.get(key)
    short = replace(alarm, rule=_shortened(alarm.rule))
    later = short if known is None else max(known, short, key=_lateness)
    told = _counting({**alarms, key: later}, now_s)
    if len(told) <= ALARMS_MAX:
        return told
    ordered = sorted(
        told.items(),
        key=lambda each: (each[0] != OTHERS, each[1].until_s > now_s, each[1].fired_at_s),
    )
    cut, kept = ordered[: 1 - ALARMS_MAX], dict(ordered[1 - ALARMS_MAX :])
    longest = _longest(dict(cut), now_s)
    return kept if longest is None else {**kept, OTHERS: replace(longest, rule="one of many")}


def _in_force(pressure: Pressure | None, now_s: float) -> Pressure | None:
    return pressure if pressure is not None and pressure.until_s > now_s else None


def _stronger(one: Pressure | None, other: Pressure | None, now_s: float) -> Pressure | None:
    """Of two words in force the one that asks for more."""
    told = [each for each in (_in_force(one, now_s), _in_force(other, now_s)) if each is not None]
    return max(told, key=_wanted, default=None)


def _wanted(pressure: Pressure) -> float:
    need = pressure.business_ru_per_s
    return float("inf") if need is None else need


def _in_short(pressure: Pressure) -> Pressure:
    return replace(pressure, told=_shortened(pressure.told))


def _shortened(text: str) -> str:
    """A rule's name or a reason, as long as the board keeps it."""
    kept = text[:WORDS_CHARS_MAX]
    while len(json.dumps(kept)) > WORDS_JSON_MAX:
        kept = kept[:-1]
    return kept if kept == text else f"{kept}…"


def _with_news(grant: Grant, before: Grant | None, now_s: float) -> Grant:
    """A fresh grant with the 429s met lately, the pressure and the alerts in force."""
    if before is None:
        return grant
    recent = {name: t for name, t in before.throttles.items() if now_s - t.at_s < STALE_AFTER_S}
    kept = replace(grant, throttles=recent)
    for key, alarm in _counting(before.alarms, now_s).items():
        kept = kept.alarmed(key, alarm, now_s=now_s)
    pressure = _in_force(before.pressure, now_s)
    return kept if pressure is None else kept.pressed(pressure)


def _one_taken(vacancies: tuple[Vacancy, ...], migration: str, now_s: float) -> tuple[Vacancy, ...]:
    """Without the first place a newcomer may take: one that no worker counts as gone already."""
    for index, each in enumerate(vacancies):
        if each.migration == migration and each.until_s - now_s >= BOARD_AGE_MAX_S:
            return (*vacancies[:index], *vacancies[index + 1 :])
    return vacancies
