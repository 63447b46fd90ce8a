"""The budget board: seats taken, kept and left, and what each may spend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.records import PROPERTY_CHARS_MAX, packed, unpacked
from shared.domain.alerts import ALERT_HOLD_S
from shared.domain.board import (
    NAMED_ALARMS_MAX,
    SEATS_MAX,
    SOURCES_MAX,
    THROTTLE_GRAIN_S,
    VACANT_S,
    WORDS_CHARS_MAX,
    Activity,
    Board,
    Grant,
    Seat,
)
from shared.domain.governor import Alarm, Pressure, Throttle
from shared.domain.pacing import COOL_DOWN_S

NOW_S = 1_000.0
SOURCE = "db/c"


def a_seat(
    slice_id: str = "s1",
    *,
    migration: str = "a",
    fence: int = 1,
    activity: Activity = Activity.COPY,
    range_id: str = "r0",
    until_s: float = NOW_S + 45.0,
) -> Seat:
    return Seat(
        migration=migration,
        source=SOURCE,
        range_id=range_id,
        slice_id=slice_id,
        fence=fence,
        activity=activity,
        until_s=until_s,
    )


def a_grant(**changes: Any) -> Grant:
    usual = Grant(
        budget_ru_per_s=300.0,
        limit_ru_per_s=800.0,
        shares_ru_per_s={"a": 200.0, "b": 100.0},
        in_flight={"a": 2, "b": 1},
        range_ru_per_s={"r0": 300.0, "r1": 300.0},
    )
    return replace(usual, **changes)


def a_board(*seats: Seat, **changes: Any) -> Board:
    return Board(
        grants={SOURCE: a_grant(**changes)},
        decided_at_s=NOW_S - 1,
        valid_until_s=NOW_S + 90.0,
        seats=seats,
    )


def test_an_empty_board_allows_nothing() -> None:
    """Before the first decision nobody spends."""
    board = Board().seated(a_seat(), NOW_S)
    assert board.rate_for(a_seat(), NOW_S) == 0.0
    assert not Board().admits(a_seat("s1"), NOW_S)


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


def test_a_grant_ends_when_its_reading_is_too_old() -> None:
    """To the second, also when no tick comes to say so."""
    board = a_board(a_seat(), stale_at_s=NOW_S + 20.0)
    assert board.rate_for(a_seat(), NOW_S + 19.9) == 200.0
    assert board.rate_for(a_seat(), NOW_S + 20.0) == 0.0


def test_a_throttle_met_by_one_holds_its_whole_range() -> None:
    """Until the controller has decided with it in view, and at least for the cool-down."""
    other = a_seat("s2", migration="b", range_id="r1")
    board = a_board(a_seat(), other).throttled(SOURCE, "r0", now_s=NOW_S)
    assert board.grants[SOURCE].throttles["r0"] == Throttle(at_s=NOW_S, ru_per_s=300.0)
    assert board.rate_for(a_seat(), NOW_S + 80.0) == 0.0
    assert board.rate_for(other, NOW_S) == 100.0
    early = board.decided({SOURCE: a_grant()}, now_s=NOW_S + 5, controller_token=1)
    assert early.rate_for(a_seat(), NOW_S + 9.9) == 0.0
    assert early.rate_for(a_seat(), NOW_S + COOL_DOWN_S + THROTTLE_GRAIN_S) == 200.0


def test_a_range_is_divided_by_those_who_work_on_it() -> None:
    """In proportion to their shares; a range not named has what the others have."""
    seats = a_seat("s1"), a_seat("s2", migration="b"), a_seat("s3", range_id="r9")
    board = a_board(*seats, range_ru_per_s={"r0": 60.0}, other_ranges_ru_per_s=10.0)
    assert [board.rate_for(each, NOW_S) for each in seats] == [30.0, 30.0, 10.0]
    assert board.seats_on(SOURCE, "r0", NOW_S) == seats[:2]


def test_a_range_waits_while_its_source_goes_on() -> None:
    """Paused is not the same as a source without budget."""
    grant = a_grant(range_ru_per_s={"r0": 0.5, "r1": 300.0})
    assert grant.is_paused("r0")
    assert not grant.is_paused("r1")
    assert not a_grant(budget_ru_per_s=0.0, range_ru_per_s={}).is_paused("r0")


def test_a_new_seat_crowds_those_who_have_not_seen_it() -> None:
    """On its migration, or on its range; a place just left may be taken at once."""
    board = a_board(a_seat("s1"), range_ru_per_s={"r0": 250.0, "r1": 300.0})
    for seat in (a_seat("s2", range_id="r1"), a_seat("s2", migration="b")):
        assert board.crowds(seat, board.seated(seat, NOW_S), NOW_S)
    alone = a_seat("s2", migration="b", range_id="r1")
    assert not board.crowds(alone, board.seated(alone, NOW_S), NOW_S)
    left = a_board(a_seat("s1", range_id="r1"), a_seat("s2")).left(a_seat("s2"), NOW_S)
    follower = a_seat("s3")
    assert not left.crowds(follower, left.seated(follower, NOW_S), NOW_S)


def test_pressure_shrinks_everything_in_proportion() -> None:
    """To what is left below the limit; a word for everything takes everything."""
    pressed = a_board(a_seat()).pressed(
        SOURCE, Pressure(until_s=2e3, business_ru_per_s=650.0), now_s=NOW_S
    )
    assert pressed.rate_for(a_seat(), NOW_S) == pytest.approx(100.0)
    assert pressed.grants[SOURCE].range_ru_per_s["r1"] == pytest.approx(150.0)
    all_of_it = pressed.pressed(SOURCE, Pressure(until_s=2e3, business_ru_per_s=None), now_s=NOW_S)
    assert all_of_it.rate_for(a_seat(), NOW_S) == 0.0
    assert all_of_it.budget_ru_per_s == 0.0


def test_pressure_outlives_decisions_until_its_time() -> None:
    """Also one that was decided before the word came, and where nothing runs yet."""
    word = Pressure(until_s=NOW_S + 60, business_ru_per_s=None)
    board = a_board(a_seat()).pressed(SOURCE, word, now_s=NOW_S)
    board = board.pressed("db/other", word, now_s=NOW_S)
    decided = board.decided({SOURCE: a_grant()}, now_s=NOW_S + 1, controller_token=1)
    assert decided.rate_for(a_seat(), NOW_S + 1) == 0.0
    assert decided.grants["db/other"].pressure == word
    over = decided.decided({SOURCE: a_grant()}, now_s=NOW_S + 60, controller_token=1)
    assert over.grants == {SOURCE: a_grant()}


def test_an_alert_on_all_stops_what_is_decided_meanwhile() -> None:
    """At once, also where the decision knew nothing of it, and not for longer than it holds."""
    alarm = Alarm(rule="r", fired_at_s=NOW_S, until_s=NOW_S + ALERT_HOLD_S)
    told = a_board(a_seat()).alarmed_everywhere("a", alarm, now_s=NOW_S)
    assert told.rate_for(a_seat(), NOW_S) == 0.0
    decided = told.decided({SOURCE: a_grant()}, now_s=NOW_S + 1, controller_token=1)
    assert decided.rate_for(a_seat(), NOW_S + 1) == 0.0
    assert decided.grants[SOURCE].alarms == {}
    ends_s = NOW_S + ALERT_HOLD_S
    over = decided.decided({SOURCE: a_grant()}, now_s=ends_s, controller_token=1)
    assert (over.grants, over.alarms) == ({SOURCE: a_grant()}, {})


def test_a_push_for_all_shrinks_what_is_decided_meanwhile() -> None:
    """In the same way, once, and until it is over."""
    word = Pressure(until_s=NOW_S + 60, business_ru_per_s=None, told="sale " * 40)
    told = a_board(a_seat()).pressed_everywhere(word, now_s=NOW_S)
    assert told.rate_for(a_seat(), NOW_S) == 0.0
    decided = told.decided({SOURCE: a_grant()}, now_s=NOW_S + 1, controller_token=1)
    assert decided.rate_for(a_seat(), NOW_S + 1) == 0.0
    assert decided.grants[SOURCE].pressure is None
    pressure = decided.told_of(SOURCE, NOW_S + 1).pressure
    assert pressure is not None
    assert len(pressure.told) <= WORDS_CHARS_MAX + 1
    over = decided.decided({SOURCE: a_grant()}, now_s=NOW_S + 60, controller_token=1)
    assert (over.grants, over.pressure) == ({SOURCE: a_grant()}, None)


def test_what_there_is_no_room_for_by_name_is_resolved_by_name() -> None:
    """Though it had stopped the account."""
    board = a_board()
    alarm = Alarm(rule="r", fired_at_s=NOW_S, until_s=NOW_S + ALERT_HOLD_S)
    names = [f"db/{number}" for number in range(SOURCES_MAX + 8)]
    for name in names:
        board = board.alarmed(name, name, alarm, now_s=NOW_S)
    assert len(board.grants) <= SOURCES_MAX
    assert board.told_of("db/elsewhere", NOW_S).alarm(NOW_S) is not None
    for name in names:
        board = board.alarmed(name, name, replace(alarm, until_s=NOW_S), now_s=NOW_S)
    assert all(board.told_of(name, NOW_S).alarm(NOW_S) is None for name in names)
    assert set(board.alarms) < set(names)
    later_s = NOW_S + ALERT_HOLD_S
    fired = replace(alarm, fired_at_s=later_s, until_s=later_s + ALERT_HOLD_S)
    assert set(board.alarmed("db/x", "x", fired, now_s=later_s).grants) == {SOURCE, "db/x"}


def test_it_is_resolved_by_name_also_when_there_is_room_again() -> None:
    """What stopped the account must not hold on unseen."""
    early = Alarm(rule="r", fired_at_s=NOW_S - 500, until_s=NOW_S + 100)
    board = a_board()
    for number in range(SOURCES_MAX):
        board = board.alarmed(f"db/{number}", f"{number}", early, now_s=NOW_S)
    late = Alarm(rule="r", fired_at_s=NOW_S, until_s=NOW_S + ALERT_HOLD_S)
    board = board.alarmed("db/x", "x", late, now_s=NOW_S)
    assert "x" in board.alarms
    resolved = replace(late, until_s=NOW_S)
    board = board.alarmed("db/x", "x", resolved, now_s=NOW_S + 101)
    assert board.told_of("db/x", NOW_S + 101).alarm(NOW_S + 101) is None
    assert board.told_of(SOURCE, NOW_S + 101).alarm(NOW_S + 101) is None


def test_long_words_on_many_sources_fit_into_a_row() -> None:
    """Ten alerts and a push of each of them, in a script of which the row spells every letter."""
    board = a_board()
    for number in range(SOURCES_MAX - 1):
        source, text = f"db/a-rather-long-name-{number}", "大" * 400
        word = Pressure(until_s=NOW_S + 600, business_ru_per_s=None, told=text)
        board = board.pressed(source, word, now_s=NOW_S)
        for alert in range(10):
            alarm = Alarm(rule=text, fired_at_s=NOW_S, until_s=NOW_S + ALERT_HOLD_S)
            board = board.alarmed(source, f"{number}-{alert}", alarm, now_s=NOW_S)
        assert packed(board, thing="the board")
    assert sum(len(grant.alarms) for grant in board.grants.values()) <= NAMED_ALARMS_MAX


@pytest.mark.parametrize("activity", [Activity.COPY, Activity.VALIDATE, Activity.SURVEY])
@pytest.mark.parametrize(
    ("migration", "source", "fewest"),
    [
        ("billing-cold", "sales/orders", SEATS_MAX),
        ("m" * 48, "d" * 60 + "/" + "c" * 60, 64),
        ("m" * 48, "d" * 255 + "/" + "c" * 255, 32),
        ("m" * 48, "大" * 255 + "/" + "大" * 255, 8),
    ],
)
def test_all_seats_that_are_admitted_fit_into_a_row(
    migration: str, source: str, fewest: int, activity: Activity
) -> None:
    """However long the names are, and whether the seats spend; nobody is refused too early."""
    board = a_board(shares_ru_per_s={migration: 200.0}, in_flight={migration: 10 * SEATS_MAX})
    number = 0
    while board.admits(seat := _long_seat(number, migration, source, activity), NOW_S):
        board = board.seated(seat, NOW_S)
        number += 1
        assert number <= SEATS_MAX
    assert number >= fewest
    moved = tuple(replace(each, slice_id=f"{each.slice_id}-p001") for each in board.seats)
    row = packed(replace(board, seats=moved), thing="the board")
    assert len(row["seats_json"]) <= PROPERTY_CHARS_MAX


def _long_seat(number: int, migration: str, source: str, activity: Activity) -> Seat:
    return Seat(
        migration=migration,
        source=source,
        range_id=f"r{number:03d}",
        slice_id=f"{1_700_000_000 + number:010d}-1700086400-r{number:03d}",
        fence=12,
        activity=activity,
        until_s=NOW_S + 45.123456,
    )


def test_a_429_that_is_noted_already_is_not_written_again() -> None:
    """Of the same range and second, at the same grant, since the last decision."""
    board = a_board().throttled(SOURCE, "r0", now_s=NOW_S)
    soon = NOW_S + THROTTLE_GRAIN_S / 2
    assert board.throttled(SOURCE, "r0", now_s=soon) is board
    others = (
        board.throttled(SOURCE, "r1", now_s=soon),
        board.throttled(SOURCE, "r0", now_s=NOW_S + THROTTLE_GRAIN_S),
        board.decided(board.grants, now_s=NOW_S + 0.1, controller_token=1).throttled(
            SOURCE, "r0", now_s=soon
        ),
        replace(
            board, grants={SOURCE: replace(board.grants[SOURCE], budget_ru_per_s=1.0)}
        ).throttled(SOURCE, "r0", now_s=soon),
    )
    for each in others:
        assert each.grants[SOURCE].throttles != board.grants[SOURCE].throttles


def test_a_429_noted_a_moment_earlier_holds_the_range_long_enough() -> None:
    """The cool-down counts from the last 429 of the second, although only the first is noted."""
    board = a_board(a_seat()).throttled(SOURCE, "r0", now_s=NOW_S)
    last_s = NOW_S + 0.9 * THROTTLE_GRAIN_S
    board = board.throttled(SOURCE, "r0", now_s=last_s)
    decided = board.decided(board.grants, now_s=NOW_S + 5, controller_token=1)
    assert decided.rate_for(a_seat(), last_s + COOL_DOWN_S - 0.01) == 0.0
    assert decided.rate_for(a_seat(), last_s + COOL_DOWN_S + THROTTLE_GRAIN_S) > 0.0


def test_a_row_without_words_for_all_is_read() -> None:
    """As it was written before there were any."""
    board = a_board(a_seat())
    properties = packed(board, thing="the board")
    assert "alarms_json" not in properties
    assert unpacked(Board, properties, version="", thing="the board") == board


def test_a_decision_keeps_the_429s_of_the_last_minutes() -> None:
    """The governor must see them until a reading has answered them."""
    board = a_board().throttled(SOURCE, "r0", now_s=NOW_S)
    soon = board.decided({SOURCE: a_grant()}, now_s=NOW_S + 299, controller_token=1)
    assert "r0" in soon.grants[SOURCE].throttles
    late = soon.decided({SOURCE: a_grant()}, now_s=NOW_S + 300, controller_token=1)
    assert late.grants[SOURCE].throttles == {}


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
    assert board.admits(a_seat("s5"), NOW_S)
    assert not board.seated(a_seat("s4"), NOW_S).admits(a_seat("s5"), NOW_S)
    assert not board.admits(a_seat("s5", migration="unknown"), NOW_S)


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


def test_only_those_who_ask_the_source_spend() -> None:
    """The others read the archive or are charged to the controller."""
    spending = {activity for activity in Activity if Board.spends(a_seat(activity=activity))}
    assert spending == {Activity.COPY, Activity.REREAD, Activity.COMPARE, Activity.RETIRE}


def test_a_decision_keeps_those_who_sit() -> None:
    """A seat outlives the tick that gave it."""
    less = a_grant(budget_ru_per_s=1.0, shares_ru_per_s={"a": 1.0})
    board = a_board(a_seat(), a_seat("dead", until_s=NOW_S))
    decided = board.decided({SOURCE: less}, now_s=NOW_S, controller_token=7)
    assert decided.seats == (a_seat(),)
    assert decided.rate_for(a_seat(), NOW_S) == 1.0
    assert (decided.valid_until_s, decided.controller_token) == (NOW_S + 90.0, 7)
