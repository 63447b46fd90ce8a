"""The budget board's promises: one board, conditional, whole."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from shared.domain.board import Activity, Board, Grant, Seat, Vacancy
from shared.domain.governor import Alarm, Pressure, Throttle
from shared.errors import Conflict
from tests.contract.rooms import RACERS, Rooms, raced

SOURCE = "db/örders"


def a_grant() -> Grant:
    return Grant(
        budget_ru_per_s=1_500.25,
        limit_ru_per_s=4_000.0,
        shares_ru_per_s={"m": 1.5, "ñ": 0.1},
        in_flight={"m": 3},
        range_ru_per_s={"r0": 0.1, "r1": 1_500.25},
        other_ranges_ru_per_s=1.0 / 3.0,
        reason="spending — much",
        throttles={"r0": Throttle(at_s=1e9 + 0.125, ru_per_s=750.5)},
        pressure=Pressure(until_s=1e9 + 60.5, business_ru_per_s=2_500.0, told="sale — now"),
    )


def a_board() -> Board:
    seat = Seat(
        migration="m",
        source=SOURCE,
        range_id="r0",
        slice_id="s/1",
        fence=2,
        activity=Activity.COPY,
        until_s=1e9 + 0.5,
    )
    everything = Pressure(until_s=1e9, business_ru_per_s=None)
    return Board(
        grants={SOURCE: a_grant(), "db/other": Grant(pressure=everything)},
        decided_at_s=1e9 - 0.25,
        valid_until_s=1e9 + 89.75,
        controller_token=2**40,
        seats=(seat, replace(seat, fence=3, activity=Activity.REREAD)),
        vacancies=(Vacancy(migration="m", until_s=1e9 + 10.5),),
        alarms={"a1": Alarm(rule="ru-high — all", fired_at_s=1e9 - 0.5, until_s=1e9 + 599.5)},
        pressure=everything,
    )


def told(reason: str) -> dict[str, Grant]:
    return {SOURCE: replace(a_grant(), reason=reason)}


def test_a_board_nobody_wrote_is_empty(rooms: Rooms) -> None:
    """It allows nothing, and the first writer needs no version."""
    assert rooms.boards().read() == Board()


def test_a_board_comes_back_as_it_was_written(rooms: Rooms) -> None:
    """Grants with their 429s and pressure, seats and places left, with this writing's version."""
    boards = rooms.boards()
    written = boards.write(a_board())
    assert written.version
    assert boards.read() == written
    assert replace(written, version="") == a_board()


def test_a_board_changed_meanwhile_is_a_conflict(rooms: Rooms) -> None:
    """Neither a stale version nor none at all overwrites what stands."""
    boards = rooms.boards()
    first = boards.write(a_board())
    second = boards.write(replace(first, grants=told("second")))
    for stale in (first, a_board()):
        with pytest.raises(Conflict, match="board"):
            boards.write(stale)
    assert boards.read() == second


def test_of_racing_board_writers_exactly_one_wins(rooms: Rooms) -> None:
    """Sixteen at the first writing, and sixteen at the next."""
    boards = rooms.boards()

    def write(read: Board, number: int) -> Board:
        return boards.write(replace(read, grants=told(f"{number}")))

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
    boards.read().grants[SOURCE].shares_ru_per_s["m"] = 99.0
    boards.read().grants.clear()
    assert boards.read().grants == a_board().grants


def test_a_source_of_five_hundred_ranges_fits_the_board(rooms: Rooms) -> None:
    """As many as the controller names one by one, each with its own limit."""
    limits = {f"r{number:03d}": 8_123.456789 / (number + 1) for number in range(500)}
    boards = rooms.boards()
    wide = Board(grants={SOURCE: replace(a_grant(), range_ru_per_s=limits)})
    boards.write(wide)
    assert boards.read().grants[SOURCE].range_ru_per_s == limits
