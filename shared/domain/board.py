"""The budget board: what may be spent now, by which migration, and who sits at the table.

Workers read it every two seconds. A seat says a worker is alive and spending; a migration's share
is divided by its spending seats, so the sum never exceeds the budget however many workers run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

BOARD_READ_EVERY_S = 2.0
BOARD_AGE_MAX_S = 5.0  # a worker that could not read for two rounds and a half must stop spending
BOARD_VALID_S = 90.0  # three ticks: a controller that died stops everything within this
SEAT_TTL_S = 45.0
SEAT_RENEW_EVERY_S = 10.0
VACANT_S = 2 * BOARD_AGE_MAX_S  # half to be taken over in, half for everybody to have seen it


class Activity(StrEnum):
    SURVEY = "survey"
    COPY = "copy"
    VALIDATE = "validate"
    REREAD = "reread"


_SPENDING = frozenset({Activity.COPY, Activity.REREAD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    migration: str
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
class Board:
    budget_ru_per_s: float = 0.0
    shares_ru_per_s: dict[str, float] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)
    reason: str = "no decision yet"
    decided_at_s: float = 0.0
    valid_until_s: float = 0.0
    throttled_until_s: float = 0.0
    throttled_at_s: float = 0.0
    controller_token: int = 0
    seats: tuple[Seat, ...] = ()
    vacancies: tuple[Vacancy, ...] = ()
    version: str = ""

    def live_seats(self, now_s: float) -> tuple[Seat, ...]:
        return tuple(seat for seat in self.seats if seat.until_s > now_s)

    def spending_seats(self, migration: str, now_s: float) -> tuple[Seat, ...]:
        live = self.live_seats(now_s)
        return tuple(s for s in live if s.migration == migration and s.activity in _SPENDING)

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
        if now_s >= self.valid_until_s or now_s < self.throttled_until_s:
            return 0.0
        if not self.holds(seat, now_s) or not self.spends(seat):
            return 0.0
        share = self.shares_ru_per_s.get(seat.migration, 0.0)
        return share / self.divided_by(seat.migration, now_s)

    def divided_by(self, migration: str, now_s: float) -> int:
        """How many parts a migration's share is cut into: seats, and places just left."""
        left = sum(1 for v in self.vacancies if v.migration == migration and v.until_s > now_s)
        return len(self.spending_seats(migration, now_s)) + left

    def has_room(self, migration: str, now_s: float) -> bool:
        taken = len(self.spending_seats(migration, now_s))
        return taken < self.in_flight.get(migration, 0)

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

    def throttled(self, *, now_s: float, hold_s: float) -> Board:
        """One worker met a 429: everybody holds."""
        until = max(self.throttled_until_s, now_s + hold_s)
        return replace(self, throttled_until_s=until, throttled_at_s=now_s)


def _one_taken(vacancies: tuple[Vacancy, ...], migration: str, now_s: float) -> tuple[Vacancy, ...]:
    """Without the first place a newcomer may take: one that no worker counts as gone already."""
    for index, each in enumerate(vacancies):
        if each.migration == migration and each.until_s - now_s >= BOARD_AGE_MAX_S:
            return (*vacancies[:index], *vacancies[index + 1 :])
    return vacancies
