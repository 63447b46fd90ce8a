"""Which slice is next, and how many messages are sent for how much room."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from shared.application.dispatching import RESEND_AFTER_S, dispatch, named_in, next_first
from shared.domain.board import Activity, Board, Grant, Seat
from shared.domain.slices import Extent, FeedRange, Slice, SliceState, Window
from shared.errors import PermanentError
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE, Change
from tests.simulation.test_any_misfortune import SPEC
from tests.simulation.world import SOURCE, World, make_world

NOW_S = 1_000.0


def a_slice(
    number: int,
    range_id: str = "r0",
    *,
    state: SliceState = SliceState.PLANNED,
    retry_at_s: float = 0.0,
) -> Slice:
    window = Window(lo_s=number * 60, hi_s=number * 60 + 60)
    extent = Extent(window=window, range=FeedRange(id=range_id, token="0"))
    return Slice(
        migration="sim",
        extent=extent,
        documents_planned=1,
        state=state,
        retry_at_s=retry_at_s,
    )


def a_seat(
    slice_id: str,
    range_id: str,
    *,
    migration: str = "sim",
    source: str = SOURCE,
    activity: Activity = Activity.COPY,
    until_s: float = NOW_S + 45.0,
) -> Seat:
    return Seat(
        migration=migration,
        source=source,
        range_id=range_id,
        slice_id=slice_id,
        fence=1,
        activity=activity,
        until_s=until_s,
    )


def a_board(
    *seats: Seat,
    limits: Mapping[str, float] | None = None,
    others: float = 100.0,
    in_flight: int = 3,
) -> Board:
    grant = Grant(
        budget_ru_per_s=300.0,
        limit_ru_per_s=800.0,
        shares_ru_per_s={"sim": 200.0, "other": 100.0},
        in_flight={"sim": in_flight, "other": 1},
        range_ru_per_s=dict(limits or {}),
        other_ranges_ru_per_s=others,
    )
    return Board(grants={SOURCE: grant}, seats=seats, valid_until_s=NOW_S + 90.0)


def order(board: Board, *slices: Slice) -> list[str]:
    return [f"{each.extent.range.id}" for each in next_first(board, slices, NOW_S)]


def test_slices_on_the_emptiest_ranges_come_first() -> None:
    """Two workers on one partition are no faster than one; seats of all migrations count."""
    board = a_board(
        a_seat("x", "r0"),
        a_seat("y", "r0", migration="other"),
        a_seat("z", "r1", activity=Activity.REREAD),
    )
    assert order(board, a_slice(0, "r0"), a_slice(1, "r1"), a_slice(2, "r2")) == ["r2", "r1", "r0"]


def test_a_range_is_full_only_with_living_spenders_of_its_source() -> None:
    """Silent seats, validations and another container's range of the same id do not count."""
    board = a_board(
        a_seat("a", "r0", until_s=NOW_S),
        a_seat("b", "r0", activity=Activity.VALIDATE),
        a_seat("c", "r0", source="db/other"),
        a_seat("d", "r1"),
    )
    assert order(board, a_slice(0, "r1"), a_slice(1, "r0")) == ["r0", "r1"]


def test_slices_alike_in_room_keep_their_order() -> None:
    """The oldest is archived first."""
    slices = [a_slice(n, range_id) for n, range_id in enumerate(("r1", "r0", "r1", "r0"))]
    assert next_first(a_board(), slices, NOW_S) == slices


def test_no_slice_of_a_paused_range_is_next() -> None:
    """A named range without room, and any of the others when those have none."""
    board = a_board(limits={"r0": 0.5, "r1": 1.0})
    assert order(board, a_slice(0, "r0"), a_slice(1, "r1"), a_slice(2, "r2")) == ["r1", "r2"]
    none_else = a_board(limits={"r1": 1.0}, others=0.0)
    assert order(none_else, a_slice(0, "r0"), a_slice(1, "r1")) == ["r1"]


def test_a_failed_slice_waits_until_its_time() -> None:
    """At that very second it may be copied, and not a second before."""
    early = a_slice(0, state=SliceState.FAILED, retry_at_s=NOW_S + 1.0)
    due = a_slice(1, state=SliceState.FAILED, retry_at_s=NOW_S)
    assert next_first(a_board(), [early, due], NOW_S) == [due]


@pytest.mark.parametrize("state", list(SliceState))
def test_only_what_is_yet_to_be_copied_is_next(state: SliceState) -> None:
    """Copying included: its worker may have died, and whoever lives is seen by the seat."""
    waits = {SliceState.PLANNED, SliceState.FAILED, SliceState.COPYING}
    target = a_slice(0, state=state)
    assert next_first(a_board(), [target], NOW_S) == ([target] if state in waits else [])


def test_a_migration_without_a_grant_has_no_next() -> None:
    """It is not running, or no controller has decided yet."""
    assert next_first(Board(), [a_slice(0)], NOW_S) == []
    assert next_first(a_board(), [replace(a_slice(0), migration="stranger")], NOW_S) == []


@pytest.fixture
def world() -> World:
    """A clock at the time of the boards above, and an applied migration."""
    world = make_world(1)
    world.calm.operating.apply(SPEC)
    world.clock.advance(NOW_S - world.clock.now_s())
    return world


def kept(world: World, *slices: Slice) -> tuple[Slice, ...]:
    world.ports.ledger.commit("sim", Change(slices=slices))
    return world.ports.ledger.open_slices("sim")


def sent(world: World, queue: str) -> list[str]:
    return [json.loads(each.text)["slice"] for each in world.mail.letters if each.queue == queue]


def test_as_many_messages_are_sent_as_there_is_room(world: World) -> None:
    """Three may be in flight and one sits already: two more, on the emptiest ranges."""
    slices = kept(world, *(a_slice(n, f"r{n}") for n in range(4)))
    board = a_board(a_seat("gone on", "r0"))
    assert dispatch(world.ports, board, slices, copying=True) == 2
    assert sent(world, COPY_QUEUE) == [slices[1].id, slices[2].id]


def test_messages_on_their_way_take_up_room_until_sent_again(world: World) -> None:
    """A queue's poll may take a while; after that the message counts as lost."""
    board = a_board(in_flight=2)
    assert (
        dispatch(world.ports, board, kept(world, a_slice(0), a_slice(1), a_slice(2)), copying=True)
        == 2
    )
    assert dispatch(world.ports, board, world.ports.ledger.open_slices("sim"), copying=True) == 0
    world.clock.advance(RESEND_AFTER_S)
    late = replace(board, valid_until_s=world.clock.now_s() + 90.0)
    assert dispatch(world.ports, late, world.ports.ledger.open_slices("sim"), copying=True) == 2


def test_no_message_is_sent_for_a_slice_in_hand(world: World) -> None:
    """Its worker lives; only a copied slice without a validator is sent to be validated."""
    copying, copied, held = kept(
        world,
        a_slice(0, state=SliceState.COPYING),
        a_slice(1, state=SliceState.COPIED),
        a_slice(2, state=SliceState.VALIDATING),
    )
    board = a_board(a_seat(copying.id, "r0"), a_seat(held.id, "r0", activity=Activity.VALIDATE))
    assert dispatch(world.ports, board, (copying, copied, held), copying=True) == 1
    assert sent(world, COPY_QUEUE) == []
    assert sent(world, VALIDATE_QUEUE) == [copied.id]


def test_slices_of_a_factory_get_no_message_to_copy(world: World) -> None:
    """Only what is to be validated is sent; copying is ordered from the factory."""
    planned, copied = a_slice(0), replace(a_slice(1), state=SliceState.COPIED)
    slices = kept(world, planned, copied)
    assert dispatch(world.ports, a_board(), slices, copying=False) == 1
    assert world.mail.take(COPY_QUEUE) is None


def test_a_slice_changed_meanwhile_is_not_sent(world: World) -> None:
    """Whoever changed it decides what follows."""
    (stale,) = kept(world, a_slice(0))
    world.ports.ledger.commit("sim", Change(slices=(stale.claimed(),)))
    assert dispatch(world.ports, a_board(), (stale,), copying=True) == 0
    assert world.mail.letters == ()


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "5", "null", "{}", '{"migration": "m"}', '{"migration": 1, "slice": "s"}'],
)
def test_a_message_that_names_no_slice_is_refused(text: str) -> None:
    """Never with its text: it is not Ebb's."""
    with pytest.raises(PermanentError, match="queue message"):
        named_in(text)
