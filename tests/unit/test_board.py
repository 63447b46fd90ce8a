"""The budget board: seats taken, kept and left, and what each may spend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.board import VACANT_S, Activity, Board, Seat

NOW_S = 1_000.0


def a_seat(
    slice_id: str = "s1",
    *,
    migration: str = "a",
    fence: int = 1,
    activity: Activity = Activity.COPY,
    until_s: float = NOW_S + 45.0,
) -> Seat:
    return Seat(
        migration=migration, slice_id=slice_id, fence=fence, activity=activity, until_s=until_s
    )


def a_board(*seats: Seat) -> Board:
    return Board(
        budget_ru_per_s=300.0,
        shares_ru_per_s={"a": 200.0, "b": 100.0},
        in_flight={"a": 2, "b": 1},
        valid_until_s=NOW_S + 90.0,
        seats=seats,
    )


def test_an_empty_board_allows_nothing() -> None:
    """Before the first decision nobody spends."""
    board = Board().seated(a_seat(), NOW_S)
    assert board.rate_for(a_seat(), NOW_S) == 0.0
    assert not Board().has_room("a", NOW_S)


def test_a_share_is_divided_by_the_seats_that_spend() -> None:
    """Two copies and a reread share what a validation does not need."""
    seats = (
        a_seat("s1"),
        a_seat("s2"),
        a_seat("s3", activity=Activity.REREAD),
        a_seat("s4", activity=Activity.VALIDATE),
        a_seat("s5", activity=Activity.SURVEY),
        a_seat("s6", migration="b"),
        a_seat("s7", until_s=NOW_S),
    )
    board = a_board(*seats)
    rates = [board.rate_for(seat, NOW_S) for seat in seats]
    assert rates == [pytest.approx(200 / 3)] * 3 + [0.0, 0.0, 100.0, 0.0]


def test_a_board_past_its_time_allows_nothing() -> None:
    """A controller that died must stop everybody."""
    board = a_board(a_seat(until_s=NOW_S + 1_000))
    assert board.rate_for(a_seat(), NOW_S + 89.9) == 200.0
    assert board.rate_for(a_seat(), NOW_S + 90.0) == 0.0


def test_a_throttle_met_by_one_holds_everybody() -> None:
    """The hold ends on its own and never gets shorter."""
    board = a_board(a_seat()).throttled(now_s=NOW_S, hold_s=10.0)
    assert board.throttled_at_s == NOW_S
    assert board.rate_for(a_seat(), NOW_S + 9.9) == 0.0
    assert board.rate_for(a_seat(), NOW_S + 10.0) == 200.0
    assert board.throttled(now_s=NOW_S + 1, hold_s=2.0).throttled_until_s == NOW_S + 10.0


@pytest.mark.parametrize(
    "stranger",
    [
        a_seat("s2"),
        a_seat(fence=2),
        a_seat(migration="b"),
        a_seat(activity=Activity.REREAD),
    ],
    ids=["slice", "fence", "migration", "activity"],
)
def test_a_seat_that_is_not_on_the_board_gets_nothing(stranger: Seat) -> None:
    """An old fence is a stranger, too."""
    assert a_board(a_seat()).rate_for(stranger, NOW_S) == 0.0


def test_a_migration_without_a_share_gets_nothing() -> None:
    """It was paused since."""
    seat = a_seat(migration="c")
    assert a_board(seat).rate_for(seat, NOW_S) == 0.0


def test_taking_a_seat_again_renews_it() -> None:
    """One worker, one seat, and its newest time."""
    later = a_seat(until_s=NOW_S + 99)
    board = a_board().seated(a_seat(), NOW_S).seated(later, NOW_S)
    assert board.seats == (later,)


def test_silent_seats_are_cleared_when_another_is_taken() -> None:
    """The board does not grow with workers that died."""
    board = a_board(a_seat("dead", until_s=NOW_S)).seated(a_seat("s2"), NOW_S)
    assert [seat.slice_id for seat in board.seats] == ["s2"]


def test_leaving_frees_exactly_that_seat() -> None:
    """The same slice's other fence stays."""
    kept = a_seat(fence=2)
    board = a_board(a_seat(), kept, a_seat("dead", until_s=0.0)).left(a_seat(), NOW_S)
    assert board.seats == (kept,)
    assert not board.holds(a_seat(), NOW_S)
    assert board.holds(kept, NOW_S)


def test_a_place_just_left_still_counts_until_it_is_taken() -> None:
    """A successor changes nobody's share, so no stale view of the board can overspend."""
    board = a_board(a_seat("s1"), a_seat("s2")).left(a_seat("s2"), NOW_S)
    assert board.rate_for(a_seat("s1"), NOW_S) == 100.0
    assert board.rate_for(a_seat("s1"), NOW_S + VACANT_S) == 200.0
    followed = board.seated(a_seat("s3"), NOW_S)
    assert [followed.rate_for(a_seat(name), NOW_S) for name in ("s1", "s3")] == [100.0, 100.0]
    assert board.left(a_seat("stranger"), NOW_S).vacancies == board.vacancies


def test_room_is_what_living_spenders_leave() -> None:
    """Validations and the dead take no room."""
    board = a_board(
        a_seat("s1"), a_seat("s2", activity=Activity.VALIDATE), a_seat("s3", until_s=NOW_S)
    )
    assert board.has_room("a", NOW_S)
    assert not board.seated(a_seat("s4"), NOW_S).has_room("a", NOW_S)
    assert not board.has_room("unknown", NOW_S)


def test_whoever_works_on_a_slice_is_seen() -> None:
    """While alive, and told apart by whether the slice is copied or validated."""
    board = a_board(a_seat("s1", activity=Activity.VALIDATE), a_seat("s2"))
    assert board.works_on("a", "s1", NOW_S, copying=False)
    assert not board.works_on("a", "s1", NOW_S, copying=True)
    assert board.works_on("a", "s2", NOW_S, copying=True)
    assert not board.works_on("a", "s2", NOW_S, copying=False)
    assert not board.works_on("b", "s1", NOW_S, copying=False)
    assert not board.works_on("a", "s3", NOW_S, copying=True)
    assert not board.works_on("a", "s1", NOW_S + 45.0, copying=False)


def test_only_copying_and_rereading_spend() -> None:
    """The others read the archive or are charged to the controller."""
    spending = {activity for activity in Activity if Board.spends(a_seat(activity=activity))}
    assert spending == {Activity.COPY, Activity.REREAD}


def test_a_decision_keeps_those_who_sit() -> None:
    """A seat outlives the tick that gave it."""
    board = replace(a_board(a_seat()), budget_ru_per_s=1.0, shares_ru_per_s={"a": 1.0})
    assert board.rate_for(a_seat(), NOW_S) == 1.0
