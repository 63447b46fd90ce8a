"""What a survey may spend, and its pace: at the board where somebody copies, else very slowly.

Where a migration of the same source is running, the survey sits down beside its workers and takes
a part of that migration's share: the budget stays one. Where none runs nobody decides a budget;
then a fixed allowance is spent at a small part of capacity, and the first 429 ends it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, TypeVar

from shared.application.bundle import Ports
from shared.application.pacer import Charged, GivenBack, NoRoom, OwnMeter, Pacer, SeatLost
from shared.domain.board import BOARD_READ_EVERY_S, Activity, Board, Seat
from shared.domain.pacing import DebtBucket
from shared.errors import EbbError, Throttled, TransientError
from shared.ports import Place

CAPACITY_SHARE = 0.02  # of a second's capacity: less than a business's own noise
ANSWER_SHARE = 0.1  # of the allowance for one number: pages of one answer follow without a pause
ALLOWANCE_RU = 2_000.0  # less than half a second of one partition's capacity, spread over 20 s

C = TypeVar("C", bound=Charged)


class Spent(EbbError):
    """Nothing more may be asked: the allowance is used up, or the source is full."""


class NoBudget(TransientError):
    """The budget left nothing for a survey, for longer than anybody should wait."""


class Purse(Protocol):
    """Every question of a survey goes through one."""

    spent_ru: float
    how: str
    answer_ru_max: float
    """What one number may cost before a part of it is asked for instead."""

    def ask(self, range_id: str, question: Callable[[], C]) -> C: ...

    def close(self) -> None: ...


class SlowPurse:
    """An allowance at a small rate, for a source nobody copies from."""

    def __init__(
        self, ports: Ports, *, source: str, allowance_ru: float, capacity_ru_per_s: float
    ) -> None:
        self._ports = ports
        self._source = source
        self._left_ru = allowance_ru
        self.answer_ru_max = ANSWER_SHARE * allowance_ru
        rate = CAPACITY_SHARE * capacity_ru_per_s
        self._bucket = DebtBucket(now_s=ports.clock.now_s(), rate_ru_per_s=rate)
        self._meter = OwnMeter(ports, ports.names.new())
        self._looked_at_s = ports.clock.now_s()
        self.spent_ru = 0.0
        self.how = (
            f"no migration of this source is running, so nobody decides a budget: at most "
            f"{allowance_ru:,.0f} RU at {rate:,.0f} RU/s, {CAPACITY_SHARE:.0%} of capacity, "
            "and nothing more after a 429"
        )

    def ask(self, range_id: str, question: Callable[[], C]) -> C:
        if self.spent_ru >= self._left_ru:
            raise Spent("the allowance is used up")
        self._ports.clock.wait(self._bucket.wait_s(now_s=self._ports.clock.now_s()))
        self._obey()
        try:
            answer = question()
        except EbbError as error:
            self._pay(range_id, error.ru)
            if isinstance(error, Throttled):
                self._left_ru = 0.0
                raise Spent("the source answered 429") from error
            raise
        self._pay(range_id, answer.ru)
        return answer

    def _pay(self, range_id: str, ru: float) -> None:
        self._bucket.charge(ru, now_s=self._ports.clock.now_s())
        self._meter.add(ru, Place(source=self._source, range_id=range_id))
        self.spent_ru += ru

    def close(self) -> None:
        self._meter.flush()

    def _obey(self) -> None:
        """As soon as a worker would, though nobody decides a budget."""
        now_s = self._ports.clock.now_s()
        if now_s - self._looked_at_s < BOARD_READ_EVERY_S:
            return
        if against := _word_against(self._ports.boards.read(), self._source, now_s):
            self._left_ru = 0.0
            raise Spent(against)
        self._looked_at_s = now_s


class SeatedPurse:
    """A seat beside the workers of a migration that runs on the same source."""

    def __init__(self, ports: Ports, *, source: str, migration: str, allowance_ru: float) -> None:
        self._ports = ports
        self._source = source
        self._migration = migration
        self._allowance_ru = allowance_ru
        self.answer_ru_max = ANSWER_SHARE * allowance_ru
        self._slice_id = f"survey-{ports.names.new()}"
        self._pacer: Pacer | None = None
        self._range_id = ""
        self.spent_ru = 0.0
        self.how = (
            f"in a part of the share of {migration}, which is running on this source: one budget, "
            f"at most {allowance_ru:,.0f} RU of it"
        )

    def ask(self, range_id: str, question: Callable[[], C]) -> C:
        if self.spent_ru >= self._allowance_ru:
            raise Spent("the allowance is used up")
        try:
            answer = self._seated(range_id).call(question)
        except (GivenBack, NoRoom, SeatLost) as error:
            raise NoBudget(
                f"surveying {self._source}: {error}; see 'ebb explain {self._migration}', and try "
                "again later"
            ) from error
        except EbbError as error:
            self.spent_ru += error.ru
            raise
        self.spent_ru += answer.ru
        return answer

    def close(self) -> None:
        if self._pacer is not None:
            self._pacer.leave()
            self._pacer = None

    def _seated(self, range_id: str) -> Pacer:
        if self._pacer is not None and self._range_id == range_id:
            return self._pacer
        slice_id = f"{self._slice_id}-{range_id}"
        self._range_id = range_id
        if self._pacer is not None and self._pacer.move_to(slice_id, range_id, 0):
            return self._pacer
        self.close()
        seat = Seat(
            migration=self._migration,
            source=self._source,
            range_id=range_id,
            slice_id=slice_id,
            fence=0,
            activity=Activity.COMPARE,
            until_s=0.0,
        )
        self._pacer = Pacer.seated(self._ports, seat, lasts_s=math.inf)
        if self._pacer is None:
            raise NoRoom(f"somebody else surveys range {range_id}")
        return self._pacer


def purse_for(
    ports: Ports, *, source: str, allowance_ru: float, capacity_ru_per_s: float
) -> SlowPurse | SeatedPurse:
    """At the board if anybody is granted something on this source now, else the slow one."""
    board, now_s = ports.boards.read(), ports.clock.now_s()
    running = _running_on(board, source, now_s)
    if running is None:
        if against := _word_against(board, source, now_s):
            raise NoBudget(f"surveying {source}: {against}; try again then")
        return SlowPurse(
            ports, source=source, allowance_ru=allowance_ru, capacity_ru_per_s=capacity_ru_per_s
        )
    return SeatedPurse(ports, source=source, migration=running, allowance_ru=allowance_ru)


def _running_on(board: Board, source: str, now_s: float) -> str | None:
    grant = board.grants.get(source)
    if grant is None or now_s >= board.valid_until_s:
        return None
    return min(grant.shares_ru_per_s, default=None)


def _word_against(board: Board, source: str, now_s: float) -> str:
    """Which alert or whose word forbids to spend anything beside the board; empty where none."""
    told = board.told_of(source, now_s)
    alarm = told.alarm(now_s)
    if alarm is not None:
        left_s = alarm.until_s - now_s
        return f"the alert {alarm.rule!r} holds everything for another {left_s:.0f} s"
    if told.pressure is not None:
        left_s = told.pressure.until_s - now_s
        return f"the business has said that it needs the room for another {left_s:.0f} s"
    return ""
