"""The board's laws: whoever sits, all together never get more than the budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.board import Activity, Board, Seat
from shared.domain.governor import USEFUL_RU_PER_S, Demand, batch_documents, divide

NOW_S = 1_000.0
LATER_S = 3_000.0  # most seats and boards are alive, or there would be little to divide
migrations = st.sampled_from(["a", "b", "c"])
instants = st.sampled_from([NOW_S - 1, NOW_S, NOW_S + 1]) | st.floats(0, 2_000)
ends = st.just(LATER_S) | instants
seats = st.builds(
    Seat,
    migration=migrations,
    slice_id=st.sampled_from(["s1", "s2"]),
    fence=st.integers(1, 2),
    activity=st.sampled_from(list(Activity)),
    until_s=ends,
)
demands: st.SearchStrategy[Demand] = st.builds(
    Demand,
    migration=st.uuids().map(str),
    priority=st.integers(1, 10),
    ru_per_document=st.just(0.0) | st.floats(0.1, 5_000),
    bytes_per_document=st.just(0.0) | st.floats(1, 3e6),
    documents_max=st.integers(1, 200_000),
    bytes_max=st.integers(1 << 20, 4 << 30),
    budget_s=st.integers(1, 900),
    in_flight_max=st.integers(1, 64),
)


@st.composite
def boards(draw: st.DrawFn) -> Board:
    budget = draw(st.floats(0, 1e6))
    wanted = draw(st.dictionaries(migrations, st.integers(1, 10)))
    whole = sum(wanted.values())
    return Board(
        budget_ru_per_s=budget,
        shares_ru_per_s={name: budget * part / whole for name, part in wanted.items()},
        valid_until_s=draw(ends),
        throttled_until_s=draw(st.just(0.0) | instants),
        seats=tuple(draw(st.lists(seats, max_size=12))),
    )


def spent(board: Board, now_s: float) -> float:
    live = [seat for seat in board.seats if seat.until_s > now_s]
    return sum(board.rate_for(seat, now_s) for seat in live)


@given(boards(), instants)
def test_all_seats_together_stay_within_the_budget(board: Board, now_s: float) -> None:
    """However many workers, doubled seats, fences and migrations there are."""
    total = spent(board, now_s)
    assert 0.0 <= total <= board.budget_ru_per_s * (1 + 1e-9)
    if now_s >= board.valid_until_s or now_s < board.throttled_until_s:
        assert total == 0.0


@given(boards(), seats, instants)
def test_taking_and_leaving_never_breaks_the_budget(board: Board, seat: Seat, now_s: float) -> None:
    """A seat more takes from the others, a seat less gives back to them."""
    seated = board.seated(seat, now_s)
    assert spent(seated, now_s) <= board.budget_ru_per_s * (1 + 1e-9)
    assert [each for each in seated.seats if each.key == seat.key] == [seat]
    gone = seated.left(seat, now_s)
    assert gone.rate_for(seat, now_s) == 0.0
    others = {each.key for each in board.live_seats(now_s)} - {seat.key}
    assert {each.key for each in gone.seats} == others


@given(boards(), seats, instants)
def test_only_who_sits_alive_and_spends_gets_anything(
    board: Board, seat: Seat, now_s: float
) -> None:
    """Nothing is given to a stranger, a dead seat or one that reads the archive."""
    alive = [each for each in board.seats if each.key == seat.key and each.until_s > now_s]
    if board.rate_for(seat, now_s) > 0.0:
        assert alive
        assert seat.activity in {Activity.COPY, Activity.REREAD}


@given(boards(), instants, st.floats(0, 100), st.floats(0, 100))
def test_a_throttle_only_ever_prolongs_the_hold(
    board: Board, now_s: float, hold_s: float, after_s: float
) -> None:
    """A second 429 cannot end the first one's hold."""
    held = board.throttled(now_s=now_s, hold_s=hold_s)
    assert held.throttled_until_s >= max(board.throttled_until_s, now_s + hold_s)
    if after_s < hold_s:
        assert spent(held, now_s + after_s) == 0.0 or now_s + after_s >= now_s + hold_s


@given(st.floats(0, 1e6), st.lists(demands, max_size=20).map(tuple))
def test_shares_follow_priority_and_stay_within_the_budget(
    budget: float, wanted: tuple[Demand, ...]
) -> None:
    """Twice the priority is twice the share; the sum is the budget and no more."""
    shares = divide(budget, wanted)
    assert [share.migration for share in shares] == [demand.migration for demand in wanted]
    assert sum(share.ru_per_s for share in shares) <= budget * (1 + 1e-9)
    if wanted:
        assert sum(share.ru_per_s for share in shares) == pytest.approx(budget)
    for share, demand in zip(shares, wanted, strict=True):
        weight = demand.priority / sum(each.priority for each in wanted)
        assert share.ru_per_s == pytest.approx(budget * weight)
        useful = share.ru_per_s >= USEFUL_RU_PER_S
        assert share.in_flight == (demand.in_flight_max if useful else 0)


@given(st.floats(0, 1e6), demands)
def test_a_batch_respects_each_of_its_limits(rate: float, demand: Demand) -> None:
    """At least one document; else what seconds, bytes and the person's limit allow."""
    batch = batch_documents(rate, demand)
    assert 1 <= batch <= demand.documents_max
    costs: dict[str, Any] = {"ru": demand.ru_per_document, "size": demand.bytes_per_document}
    if min(costs.values()) <= 0:
        assert batch <= 32
    elif batch > 1:
        assert batch * costs["ru"] <= rate * demand.budget_s * (1 + 1e-9)
        assert batch * costs["size"] <= demand.bytes_max * (1 + 1e-9)
