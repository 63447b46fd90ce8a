"""A worker's place at the budget board: takes a seat, waits its turn, pays, and gets up again.

Everything that spends request units on a source goes through `Pacer.call`, one request at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, TypeVar

from shared.application.bundle import Ports
from shared.application.desk import until_written
from shared.domain.board import (
    BOARD_AGE_MAX_S,
    BOARD_READ_EVERY_S,
    SEAT_RENEW_EVERY_S,
    SEAT_TTL_S,
    Activity,
    Board,
    Grant,
    Seat,
)
from shared.domain.pacing import DebtBucket
from shared.errors import CostLimitReached, EbbError, Throttled, TransientError
from shared.ports import Place

SEAT_KEEP_S = SEAT_TTL_S - SEAT_RENEW_EVERY_S  # without a renewal: others count on its end later
PATIENCE_S = 120.0  # a worker holding longer gives its slice back: functions are not for waiting
WORK_S_MAX = 1_200.0  # an invocation ends after 30 minutes, and takes its whole process with it
PAUSED_PATIENCE_S = 15.0  # on a hot range: half a tick, then others' slices get the seat
REQUEST_TRIES_MAX = 4  # of one page on a broken connection; more is an outage, not a hiccup
REQUEST_BACKOFF_S = 1.0
WAIT_MIN_S = 0.001  # a wait too short for the clock's own grain would never end
METER_FLUSH_EVERY_S = 5.0  # well inside the minute a reading covers
MINUTE_S = 60


def metered_minute(now_s: float) -> int:
    """The last minute of which every worker has told what it spent."""
    return int(now_s - METER_FLUSH_EVERY_S) // MINUTE_S * MINUTE_S - MINUTE_S


class Charged(Protocol):
    @property
    def ru(self) -> float: ...


C = TypeVar("C", bound=Charged)


class GivenBack(EbbError):
    """There is no budget for longer than a worker may wait; nothing is wrong with the slice."""


class TooSlow(GivenBack):
    """The work would outlast the invocation at what may be spent on it; it has to be cut."""

    seen_s: tuple[int, ...] = ()
    """`_ts` of the documents that were read until then: they show where to cut."""


class NoRoom(EbbError):
    """As many workers as the decision allows are spending already."""


class SeatLost(EbbError):
    """The seat is no longer this worker's: somebody else may be at the slice by now."""


class OwnMeter:
    """Adds up what this worker spent, by UTC minute and place, and reports the totals."""

    def __init__(self, ports: Ports, worker: str) -> None:
        self._ports = ports
        self._worker = worker
        self._ru: dict[tuple[int, Place], float] = {}
        self._unsent: set[tuple[int, Place]] = set()
        self._sent_at_s = ports.clock.now_s()
        self.spent_ru = 0.0

    def add(self, ru: float, place: Place) -> None:
        now_s = self._ports.clock.now_s()
        where = (int(now_s) // MINUTE_S * MINUTE_S, place)
        self._ru[where] = self._ru.get(where, 0.0) + ru
        self._unsent.add(where)
        self.spent_ru += ru
        if not 0 <= now_s - self._sent_at_s < METER_FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        if self._unsent:
            spent = {where: self._ru[where] for where in sorted(self._unsent)}
            self._ports.metering.add(self._worker, spent)
            self._unsent.clear()
        self._sent_at_s = self._ports.clock.now_s()


def change_board(ports: Ports, change: Callable[[Board], Board | None]) -> Board | None:
    """Read, change, write back conditionally; None when the change no longer applies.

    A change that returns the very board it was given has nothing to write.
    """

    def changed() -> Board | None:
        found = ports.boards.read()
        wanted = change(found)
        return wanted if wanted is None or wanted is found else ports.boards.write(wanted)

    return until_written(ports, changed, doing="writing the budget board")


class Pacer:
    """One seat. Not for sharing between threads."""

    def __init__(
        self, ports: Ports, seat: Seat, board: Board, *, waits_s: float, lasts_s: float
    ) -> None:
        now_s = ports.clock.now_s()
        self._until_s = now_s + lasts_s
        self._ports = ports
        self._seat = seat
        self._board = board
        self._read_at_s = now_s
        self._renewed_at_s = now_s
        self._bucket = DebtBucket(now_s=now_s, rate_ru_per_s=board.rate_for(seat, now_s))
        self._first_at_s = now_s + waits_s
        self.meter = OwnMeter(ports, ports.names.new())

    @classmethod
    def seated(cls, ports: Ports, seat: Seat, *, lasts_s: float = WORK_S_MAX) -> Pacer | None:
        """Take the seat; None when someone works on the slice, NoRoom when all seats are taken.

        After `lasts_s` nothing more is asked; only who works outside the host may take longer.
        Others divide the share without a newcomer until they look again, so it waits that long,
        unless it has the table to itself or takes a place that was just left.
        """
        waits_s = 0.0

        def sit(board: Board) -> Board | None:
            nonlocal waits_s
            now_s = ports.clock.now_s()
            if _works_on(board, seat, now_s):
                return None
            if not board.admits(seat, now_s):
                raise NoRoom(f"all seats of {seat.migration} are taken")
            after = board.seated(replace(seat, until_s=now_s + SEAT_TTL_S), now_s)
            waits_s = BOARD_AGE_MAX_S if board.crowds(seat, after, now_s) else 0.0
            return after

        board = change_board(ports, sit)
        if board is None:
            return None
        return cls(ports, seat, board, waits_s=waits_s, lasts_s=lasts_s)

    def move_to(self, slice_id: str, range_id: str, fence: int) -> bool:
        """Keep the seat for another slice of the migration; False when someone else has it.

        The number of spending seats stays; only on another range others may have to make room.
        """
        moved = replace(self._seat, slice_id=slice_id, range_id=range_id, fence=fence)
        waits_s = 0.0

        def change(board: Board) -> Board | None:
            nonlocal waits_s
            now_s = self._ports.clock.now_s()
            if _works_on(board, moved, now_s):
                return None
            if not board.holds(self._seat, now_s):
                return None
            seat = replace(moved, until_s=now_s + SEAT_TTL_S)
            left = board.left(self._seat, now_s)
            after = left.seated(seat, now_s)
            waits_s = BOARD_AGE_MAX_S if left.crowds(seat, after, now_s) else 0.0
            return after

        board = change_board(self._ports, change)
        if board is None:
            return False
        now_s = self._ports.clock.now_s()
        self._seat = moved
        self._sits(board, now_s)
        self._first_at_s = now_s + waits_s
        self.meter.spent_ru = 0.0
        return True

    def call(self, ask: Callable[[], C]) -> C:
        """Make one request in its turn and pay for it; a 429 is obeyed, then asked again."""
        broken = 0
        waiting_since_s = self._ports.clock.now_s()
        while True:
            self._wait_turn(waiting_since_s)
            try:
                answer = ask()
            except Throttled as error:
                self._pay(error.ru)
                self._throttled(error)
                continue
            except EbbError as error:
                self._pay(error.ru)
                broken += 1
                if isinstance(error, CostLimitReached) or not isinstance(error, TransientError):
                    raise
                if broken >= REQUEST_TRIES_MAX:
                    raise
                self._ports.clock.wait(REQUEST_BACKOFF_S * broken)
                continue
            self._pay(answer.ru)
            return answer

    def _pay(self, ru: float) -> None:
        self._bucket.charge(ru, now_s=self._ports.clock.now_s())
        self.meter.add(ru, self._place)

    @property
    def _place(self) -> Place:
        return Place(source=self._seat.source, range_id=self._seat.range_id)

    def rate_ru_per_s(self) -> float:
        return self._bucket.rate_ru_per_s(now_s=self._ports.clock.now_s())

    def keep(self) -> None:
        """Between steps that spend nothing: stay seated, or learn that the seat is lost."""
        now_s = self._ports.clock.now_s()
        if now_s - self._renewed_at_s >= SEAT_RENEW_EVERY_S:
            self._renew(now_s)

    def leave(self) -> None:
        """Report what was spent and free the seat; the next worker starts without our debt.

        What cannot be written is no failure of the work: the seat runs out, and RU that are not
        reported count as the business's.
        """
        self._settle()
        with suppress(TransientError):
            self.meter.flush()
        with suppress(TransientError):
            change_board(self._ports, lambda b: b.left(self._seat, self._ports.clock.now_s()))

    def _settle(self) -> None:
        """A page's debt is at most a few seconds; wait it out unless nothing is granted at all."""
        wait_s = self._bucket.wait_s(now_s=self._ports.clock.now_s())
        if 0 < wait_s <= SEAT_RENEW_EVERY_S:
            self._ports.clock.wait(wait_s)

    def _wait_turn(self, since_s: float) -> None:
        while True:
            now_s = self._ports.clock.now_s()
            self.keep()
            self._look(now_s)
            wait_s = max(self._bucket.wait_s(now_s=now_s), self._first_at_s - now_s)
            if now_s >= self._until_s:
                raise TooSlow(
                    f"slice {self._seat.slice_id} took longer than a worker may work and is given "
                    f"back; the board says: {self._grant().reason}"
                )
            if wait_s <= 0:
                return
            if now_s - since_s > self._patience_s():
                raise GivenBack(
                    f"slice {self._seat.slice_id} waited {now_s - since_s:.0f} s for budget and is "
                    f"given back; the board says: {self._grant().reason}"
                )
            self._ports.clock.wait(max(WAIT_MIN_S, min(wait_s, BOARD_READ_EVERY_S)))

    def _grant(self) -> Grant:
        return self._board.grants.get(self._seat.source, Grant())

    def _patience_s(self) -> float:
        """A worker on a range that waits while others go on makes room for those soon."""
        paused = self._grant().is_paused(self._seat.range_id)
        return PAUSED_PATIENCE_S if paused else PATIENCE_S

    def _look(self, now_s: float) -> None:
        if 0 <= now_s - self._read_at_s < BOARD_READ_EVERY_S:
            return
        try:
            self._board = self._ports.boards.read()
            self._read_at_s = now_s
        except TransientError:
            if not 0 <= now_s - self._read_at_s <= BOARD_AGE_MAX_S:
                self._bucket.set_rate(0.0, now_s=now_s)
                return
        self._bucket.set_rate(self._board.rate_for(self._seat, now_s), now_s=now_s)

    def _renew(self, now_s: float) -> None:
        def renewed(board: Board) -> Board | None:
            if not board.holds(self._seat, now_s):
                return None
            return board.seated(replace(self._seat, until_s=now_s + SEAT_TTL_S), now_s)

        try:
            board = change_board(self._ports, renewed)
        except TransientError as error:
            if 0 <= self._ports.clock.now_s() - self._renewed_at_s < SEAT_KEEP_S:
                return  # the seat lasts: the next turn tries again
            raise SeatLost(
                f"the seat of slice {self._seat.slice_id} could not be renewed for "
                f"{SEAT_KEEP_S:.0f} s; stopping before it runs out: {error}"
            ) from error
        if board is None:
            raise SeatLost(f"the seat of slice {self._seat.slice_id} ran out; stopping at once")
        self._sits(board, now_s)

    def _sits(self, board: Board, now_s: float) -> None:
        """The seat was just written to this board, which says what may be spent on it."""
        self._board = board
        self._renewed_at_s = now_s
        self._read_at_s = now_s
        self._bucket.set_rate(board.rate_for(self._seat, now_s), now_s=now_s)

    def _throttled(self, error: Throttled) -> None:
        """The range is full now: this worker holds at once, the others at their next look.

        Where it cannot be written, the others meet a 429 of their own.
        """
        now_s = self._ports.clock.now_s()
        place = self._place
        self._bucket.throttled(now_s=now_s, retry_after_s=error.retry_after_s)

        def noted(board: Board) -> Board:
            return board.throttled(place.source, place.range_id, now_s=now_s)

        try:
            board = change_board(self._ports, noted)
        except TransientError:
            board = None
        self._board = noted(self._board) if board is None else board


def _works_on(board: Board, seat: Seat, now_s: float) -> bool:
    copying = seat.activity is Activity.COPY
    return board.works_on(seat.migration, seat.slice_id, now_s, copying=copying)
