"""A worker at the budget board: it follows the budget, obeys a 429, and never overspends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from shared.application.pacer import GivenBack, NoRoom, Pacer, SeatLost, change_board
from shared.domain.board import (
    BOARD_AGE_MAX_S,
    BOARD_VALID_S,
    SEAT_RENEW_EVERY_S,
    SEAT_TTL_S,
    Activity,
    Board,
    Grant,
    Seat,
)
from shared.domain.governor import Throttle
from shared.domain.pacing import COOL_DOWN_S
from shared.errors import CostLimitReached, EbbError, Throttled, TransientError
from tests.simulation.world import SOURCE, World, make_world
from tests.unit.contention import ALWAYS, Contended


@dataclass(frozen=True, slots=True)
class Answer:
    ru: float


@pytest.fixture
def world() -> World:
    world = make_world(1)
    grant(world, 100.0)
    return world


def grant(world: World, ru_per_s: float, *, in_flight: int = 2, r0: float | None = None) -> None:
    now_s = world.clock.now_s()

    def granted(board: Board) -> Board:
        made = Grant(
            budget_ru_per_s=ru_per_s,
            limit_ru_per_s=2 * ru_per_s,
            shares_ru_per_s={"sim": ru_per_s},
            in_flight={"sim": in_flight},
            range_ru_per_s={"r0": ru_per_s if r0 is None else r0, "r1": ru_per_s},
            reason="granted",
        )
        return board.decided({SOURCE: made}, now_s=now_s, controller_token=0)

    change_board(world.ports, granted)


def seat(slice_id: str, range_id: str = "r0") -> Seat:
    return Seat(
        migration="sim",
        source=SOURCE,
        range_id=range_id,
        slice_id=slice_id,
        fence=1,
        activity=Activity.COPY,
        until_s=0,
    )


def seated(world: World, slice_id: str, range_id: str = "r0") -> Pacer:
    pacer = Pacer.seated(world.ports, seat(slice_id, range_id))
    assert pacer is not None
    return pacer


def decide_every_tick(world: World, ru_per_s: float = 100.0) -> None:
    """A controller that decides the same every thirty seconds while others wait."""
    wait = world.clock.wait

    def waiting(seconds: float) -> None:
        wait(seconds)
        if world.clock.now_s() - world.ports.boards.read().decided_at_s >= 30.0:
            grant(world, ru_per_s)

    world.clock.wait = waiting  # type: ignore[method-assign]


def spend(world: World, pacer: Pacer, seconds: float, ru: float) -> float:
    """Ask as fast as allowed for a while; returns what was spent."""
    until_s = world.clock.now_s() + seconds
    spent = 0.0
    while world.clock.now_s() < until_s:
        pacer.call(lambda: Answer(ru))
        spent += ru
    return spent


def test_one_worker_uses_the_whole_share_and_no_more(world: World) -> None:
    """Within a half-second's burst and one operation."""
    spent = spend(world, seated(world, "a"), 30.0, 7.0)
    assert 0.9 * 3000 <= spent <= 3000 + 50 + 7


def test_a_lower_budget_is_followed_within_two_seconds(world: World) -> None:
    """In mid-slice: after the next look at the board the new pace is in force."""
    pacer = seated(world, "a")
    spend(world, pacer, 10.0, 5.0)
    grant(world, 10.0)
    spend(world, pacer, 2.0, 5.0)
    assert pacer.rate_ru_per_s() == pytest.approx(10.0)


def test_no_budget_means_waiting_then_giving_the_slice_back(world: World) -> None:
    """Functions are not for waiting: after two minutes the slice goes back unharmed."""
    pacer = seated(world, "a")
    grant(world, 0.0)
    world.clock.advance(3.0)
    began_s = world.clock.now_s()
    with pytest.raises(GivenBack):
        pacer.call(lambda: Answer(1.0))
    assert world.clock.now_s() - began_s < 150


def spend_for_ever(pacer: Pacer, ask: Callable[[], Answer]) -> None:
    while True:
        pacer.call(ask)


def test_an_expired_board_stops_spending(world: World) -> None:
    """A controller that died leaves a board that grants nothing."""
    pacer = seated(world, "a")
    asked_at: list[float] = []

    def ask() -> Answer:
        asked_at.append(world.clock.now_s())
        return Answer(10.0)

    began_s = world.clock.now_s()
    with pytest.raises(GivenBack):
        spend_for_ever(pacer, ask)
    assert max(asked_at) <= began_s + BOARD_VALID_S + 2.5


def test_a_throttle_is_obeyed_at_once_and_told_to_everyone(world: World) -> None:
    """Nobody asks that range again before the next decision, nor before the cool-down is over."""
    pacer = seated(world, "a")
    decide_every_tick(world)
    asked_at: list[float] = []

    def ask() -> Answer:
        asked_at.append(world.clock.now_s())
        if len(asked_at) == 1:
            raise Throttled("full", retry_after_s=0.2)
        return Answer(1.0)

    pacer.call(ask)
    assert 40.0 >= asked_at[1] - asked_at[0] >= COOL_DOWN_S
    met = world.ports.boards.read().grants[SOURCE].throttles["r0"]
    assert met == Throttle(at_s=asked_at[0], ru_per_s=100.0)


def test_a_newcomer_waits_until_the_others_have_seen_it(world: World) -> None:
    """Two workers together never spend more than the share, not even while one sits down."""
    first = seated(world, "a")
    spend(world, first, 5.0, 5.0)
    second = seated(world, "b")
    began_s = world.clock.now_s()
    second.call(lambda: Answer(1.0))
    assert world.clock.now_s() - began_s >= BOARD_AGE_MAX_S
    first.call(lambda: Answer(1.0))
    assert first.rate_ru_per_s() == second.rate_ru_per_s() == pytest.approx(50.0)


def test_a_successor_takes_the_place_just_left_without_waiting(world: World) -> None:
    """The share stays cut into as many parts as before, so nobody spends more meanwhile."""
    first, leaving = seated(world, "a"), seated(world, "b")
    for pacer in (first, leaving):
        pacer.call(lambda: Answer(1.0))
    leaving.leave()
    world.clock.advance(3.0)
    successor = seated(world, "c")
    began_s = world.clock.now_s()
    successor.call(lambda: Answer(1.0))
    assert world.clock.now_s() - began_s < 1.0
    first.call(lambda: Answer(1.0))
    assert first.rate_ru_per_s() == successor.rate_ru_per_s() == pytest.approx(50.0)


def test_a_place_left_empty_goes_to_those_who_stay(world: World) -> None:
    """After a while nobody comes, and the whole share is used again."""
    first, leaving = seated(world, "a"), seated(world, "b")
    leaving.leave()
    spend(world, first, 15.0, 1.0)
    assert first.rate_ru_per_s() == pytest.approx(100.0)


def test_there_are_no_more_seats_than_the_decision_allows(world: World) -> None:
    """And a slice in a living worker's hands is not given to another."""
    seated(world, "a")
    assert Pacer.seated(world.ports, seat("a")) is None
    seated(world, "b")
    with pytest.raises(NoRoom):
        Pacer.seated(world.ports, seat("c"))


def test_a_seat_that_ran_out_stops_its_worker(world: World) -> None:
    """A worker that stood still too long must assume that someone else has its slice."""
    pacer = seated(world, "a")
    world.clock.advance(SEAT_TTL_S + 1)
    with pytest.raises(SeatLost):
        pacer.call(lambda: Answer(1.0))


def test_a_seat_moves_to_another_slice_without_a_pause(world: World) -> None:
    """The share stays divided by the same number, so nobody has to wait."""
    pacer = seated(world, "a")
    other = seated(world, "b")
    world.clock.advance(BOARD_AGE_MAX_S)
    other.call(lambda: Answer(1.0))
    assert pacer.move_to("c", "r0", 1)
    assert not other.move_to("c", "r0", 1)
    board = world.ports.boards.read()
    assert {s.slice_id for s in board.live_seats(world.clock.now_s())} == {"b", "c"}


def test_moving_to_a_range_in_use_waits_for_those_on_it(world: World) -> None:
    """They count on the whole range until they have looked again."""
    grant(world, 100.0, r0=40.0)
    first, moving = seated(world, "a"), seated(world, "b", "r1")
    for pacer in (first, moving):
        pacer.call(lambda: Answer(1.0))
    assert moving.move_to("c", "r0", 1)
    began_s = world.clock.now_s()
    moving.call(lambda: Answer(1.0))
    assert world.clock.now_s() - began_s >= BOARD_AGE_MAX_S
    first.call(lambda: Answer(1.0))
    assert first.rate_ru_per_s() == moving.rate_ru_per_s() == pytest.approx(20.0)


def test_moving_to_a_held_range_spends_nothing_there(world: World) -> None:
    """The rate of the range left behind is worth nothing on the next one."""
    moving = seated(world, "a", "r1")
    change_board(world.ports, lambda b: b.throttled(SOURCE, "r0", now_s=world.clock.now_s()))
    moving.call(lambda: Answer(1.0))
    began_s = world.clock.now_s()
    assert moving.move_to("b", "r0", 1)
    with pytest.raises(GivenBack):
        moving.call(lambda: Answer(1.0))
    assert world.clock.now_s() > began_s


def test_a_range_has_its_own_limit_below_the_share(world: World) -> None:
    """One partition gives no more than it has, however much the source may give."""
    grant(world, 100.0, r0=10.0)
    spent = spend(world, seated(world, "a"), 30.0, 3.0)
    assert 0.9 * 300 <= spent <= 300 + 5 + 3


def test_a_worker_on_a_paused_range_makes_room_soon(world: World) -> None:
    """Others' slices could be read meanwhile: the seat is not kept for two minutes."""
    pacer = seated(world, "a")
    grant(world, 100.0, r0=0.0)
    world.clock.advance(3.0)
    began_s = world.clock.now_s()
    with pytest.raises(GivenBack):
        pacer.call(lambda: Answer(1.0))
    assert world.clock.now_s() - began_s < 20


def test_at_most_one_request_is_under_way_for_each_worker(world: World) -> None:
    """A business that leaps within a second meets one page of ours and no second one."""
    pacer = seated(world, "a")
    under_way: list[int] = []
    asked: list[float] = []

    def ask() -> Answer:
        under_way.append(1)
        assert len(under_way) == 1
        asked.append(world.clock.now_s())
        world.clock.advance(0.3)
        under_way.pop()
        if len(asked) == 5:
            raise Throttled("full", retry_after_s=0.1)
        return Answer(10.0)

    decide_every_tick(world)
    for _ in range(5):
        pacer.call(ask)
    assert asked[5] - asked[4] >= COOL_DOWN_S


def test_a_broken_connection_is_tried_again_a_few_times(world: World) -> None:
    """Then the failure is the slice's."""
    pacer = seated(world, "a")
    tries: list[int] = []

    def ask() -> Answer:
        tries.append(1)
        raise TransientError("reset")

    with pytest.raises(TransientError):
        pacer.call(ask)
    assert len(tries) == 4


def test_what_was_spent_is_metered_by_the_minute(world: World) -> None:
    """The totals are what the source charged, in the minute of the answer."""
    pacer = seated(world, "a")
    spent = spend(world, pacer, 90.0, 9.0)
    pacer.leave()
    minutes = world.ports.metering.by_minute(SOURCE, since_s=0)
    assert sum(ranges["r0"] for ranges in minutes.values()) == pytest.approx(spent)
    assert len(minutes) >= 2
    assert world.ports.metering.by_minute("db/other", since_s=0) == {}
    assert world.ports.boards.read().seats == ()


def test_what_a_failed_request_cost_is_paid_and_metered(world: World) -> None:
    """A 429 behind some pages of a number, and a broken connection behind others."""
    decide_every_tick(world)
    pacer = Pacer.seated(world.ports, seat("s1"))
    assert pacer is not None
    failures: list[EbbError] = [Throttled("429", retry_after_s=1.0), TransientError("broken")]
    for each in failures:
        each.ru = 40.0
    asked = [*failures, None]

    def ask() -> Answer:
        failure = asked.pop(0)
        if failure is not None:
            raise failure
        return Answer(10.0)

    begun_s = world.clock.now_s()
    pacer.call(ask)
    pacer.meter.flush()
    spent = world.ports.metering.by_minute(SOURCE, since_s=0)
    assert sum(sum(each.values()) for each in spent.values()) == 90.0
    assert world.clock.now_s() - begun_s > COOL_DOWN_S


def test_a_number_that_reached_its_price_is_not_asked_for_again(world: World) -> None:
    """Asking the same would cost the same."""
    pacer = Pacer.seated(world.ports, seat("s1"))
    assert pacer is not None
    asked = 0

    def ask() -> Answer:
        nonlocal asked
        asked += 1
        raise CostLimitReached("too much")

    with pytest.raises(CostLimitReached):
        pacer.call(ask)
    assert asked == 1


def contended(world: World) -> tuple[Pacer, Contended]:
    """A seated worker, and its board, whose every write others can be made to come before."""
    boards = Contended(world.ports.boards, "write", times=0)
    pacer = Pacer.seated(replace(world.ports, boards=boards), seat("a"))
    assert pacer is not None
    return pacer, boards


def test_a_429_that_cannot_be_noted_is_no_failure_of_the_slice(world: World) -> None:
    """Sixty others note theirs in the same moment; this worker holds and asks again."""
    decide_every_tick(world)
    pacer, boards = contended(world)
    asked_at: list[float] = []

    def ask() -> Answer:
        asked_at.append(world.clock.now_s())
        if len(asked_at) == 1:
            boards.left = ALWAYS
            raise Throttled("full", retry_after_s=0.2)
        return Answer(1.0)

    pacer.call(ask)
    assert len(asked_at) == 2
    assert asked_at[1] - asked_at[0] >= COOL_DOWN_S


def test_a_429_that_others_noted_is_not_written_again(world: World) -> None:
    """All workers of a full partition meet it within a second; the row is written once."""
    decide_every_tick(world)
    first, second = seated(world, "a"), seated(world, "b")
    world.clock.advance(BOARD_AGE_MAX_S)
    for pacer in (first, second):
        pacer.call(lambda: Answer(0.0))
    versions: list[str] = []

    def ask() -> Answer:
        raise Throttled("full", retry_after_s=0.2)

    world.clock.wait = _stopped  # type: ignore[method-assign]
    for pacer in (first, second):
        with pytest.raises(_StoppedError):
            pacer.call(ask)
        versions.append(world.ports.boards.read().version)
    assert len(set(versions)) == 1


class _StoppedError(Exception):
    """The worker began to wait."""


def _stopped(seconds: float) -> None:
    raise _StoppedError(f"for {seconds} s")


def test_a_seat_that_cannot_be_renewed_is_used_while_it_lasts(world: World) -> None:
    """A lost write costs nothing; before others count the seat as gone, the worker stops."""
    decide_every_tick(world)
    pacer, boards = contended(world)
    boards.left = ALWAYS
    world.clock.advance(SEAT_RENEW_EVERY_S)
    pacer.call(lambda: Answer(1.0))
    began_s = world.clock.now_s()
    with pytest.raises(SeatLost, match="could not be renewed"):
        spend_for_ever(pacer, lambda: Answer(1.0))
    assert began_s < world.clock.now_s()
    (kept,) = world.ports.boards.read().live_seats(world.clock.now_s())
    assert kept.slice_id == "a"


def test_a_seat_renewed_at_a_later_turn_is_kept(world: World) -> None:
    """As soon as a write gets through, the seat lasts its whole time again."""
    decide_every_tick(world)
    pacer, boards = contended(world)
    boards.left = ALWAYS
    world.clock.advance(SEAT_RENEW_EVERY_S)
    pacer.call(lambda: Answer(1.0))
    boards.left = 0
    pacer.call(lambda: Answer(1.0))
    (kept,) = world.ports.boards.read().live_seats(world.clock.now_s())
    assert kept.until_s > world.clock.now_s() + SEAT_TTL_S - SEAT_RENEW_EVERY_S


def test_a_seat_that_cannot_be_freed_runs_out_and_harms_no_slice(world: World) -> None:
    """The work is done: leaving says nothing, and the seat goes by itself."""
    pacer, boards = contended(world)
    boards.left = ALWAYS
    pacer.leave()
    assert len(world.ports.boards.read().live_seats(world.clock.now_s())) == 1
    world.clock.advance(SEAT_TTL_S)
    assert world.ports.boards.read().live_seats(world.clock.now_s()) == ()
