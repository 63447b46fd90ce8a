"""The budget board's promises: one board, conditional, whole."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from shared.domain.board import Activity, Board, Seat
from shared.errors import Conflict
from tests.contract.rooms import RACERS, Rooms, raced


def a_board() -> Board:
    seat = Seat(migration="m", slice_id="s/1", fence=2, activity=Activity.COPY, until_s=1e9 + 0.5)
    return Board(
        budget_ru_per_s=1500.25,
        shares_ru_per_s={"m": 1.5, "ñ": 0.1},
        in_flight={"m": 3},
        reason="spending — much",
        controller_token=2**40,
        seats=(seat, replace(seat, fence=3, activity=Activity.REREAD)),
    )


def test_a_board_nobody_wrote_is_empty(rooms: Rooms) -> None:
    """It allows nothing, and the first writer needs no version."""
    assert rooms.boards().read() == Board()


def test_a_board_comes_back_as_it_was_written(rooms: Rooms) -> None:
    """Shares, seats and reason, with the version of this writing."""
    boards = rooms.boards()
    written = boards.write(a_board())
    assert written.version
    assert boards.read() == written
    assert replace(written, version="") == a_board()


def test_a_board_changed_meanwhile_is_a_conflict(rooms: Rooms) -> None:
    """Neither a stale version nor none at all overwrites what stands."""
    boards = rooms.boards()
    first = boards.write(a_board())
    second = boards.write(replace(first, reason="second"))
    for stale in (first, a_board()):
        with pytest.raises(Conflict, match="board"):
            boards.write(stale)
    assert boards.read() == second


def test_of_racing_board_writers_exactly_one_wins(rooms: Rooms) -> None:
    """Sixteen at the first writing, and sixteen at the next."""
    boards = rooms.boards()

    def write(read: Board, number: int) -> Board:
        return boards.write(replace(read, reason=f"{number}"))

    for _ in range(2):
        read = boards.read()
        outcomes = raced(partial(write, read))
        (winner,) = (one for one in outcomes if isinstance(one, Board))
        assert sum(isinstance(one, Conflict) for one in outcomes) == RACERS - 1
        assert boards.read() == winner


def test_what_a_reader_does_to_its_board_stays_with_the_reader(rooms: Rooms) -> None:
    """A board's dictionaries are not shared with the next reader."""
    boards = rooms.boards()
    boards.write(a_board())
    boards.read().shares_ru_per_s["m"] = 99.0
    assert boards.read().shares_ru_per_s["m"] == 1.5
