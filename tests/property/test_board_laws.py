"""The board's laws: whoever sits, all together never get more than budget and ranges give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.board import Activity, Board, Grant, Seat
from shared.domain.governor import Pressure, Throttle
from shared.domain.pacing import COOL_DOWN_S
from shared.domain.sharing import USEFUL_RU_PER_S, Demand, batch_documents, divide

NOW_S = 1_000.0
LATER_S = 3_000.0  # most seats and boards are alive, or there would be little to divide
SOURCES = {"a": "db/one", "b": "db/one", "c": "db/two"}
RANGES = ("r0", "r1")
RANGE_OF = {"s1": "r0", "s2": "r1", "s3": "r0"}
instants = st.sampled_from([NOW_S - 1, NOW_S, NOW_S + 1]) | st.floats(0, 2_000)
ends = st.sampled_from([LATER_S] * 6) | instants
amounts = st.sampled_from([0.0, 10.0, 600.0]) | st.floats(0, 1e6)
seats = st.builds(
    lambda migration, slice_id, **rest: Seat(
        migration=migration,
        source=SOURCES[migration],
        range_id=RANGE_OF[slice_id],
        slice_id=slice_id,
        **rest,
    ),
    migration=st.sampled_from(list(SOURCES)),
    slice_id=st.sampled_from(list(RANGE_OF)),
    fence=st.integers(1, 2),
    activity=st.sampled_from([Activity.COPY] * 4 + list(Activity)),
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
pressures = st.builds(Pressure, until_s=ends, business_ru_per_s=st.none() | amounts)


@st.composite
def grants(draw: st.DrawFn, source: str) -> Grant:
    budget = draw(amounts)
    wanted = {m: draw(st.integers(0, 10)) for m, s in SOURCES.items() if s == source}
    whole = sum(wanted.values()) or 1
    return Grant(
        budget_ru_per_s=budget,
        limit_ru_per_s=draw(amounts),
        shares_ru_per_s={name: budget * part / whole for name, part in wanted.items()},
        range_ru_per_s=draw(st.dictionaries(st.sampled_from(RANGES), amounts)),
        other_ranges_ru_per_s=draw(amounts),
        throttles=draw(
            st.dictionaries(
                st.sampled_from(RANGES),
                st.builds(Throttle, at_s=instants, ru_per_s=amounts),
                max_size=1,
            )
            if draw(st.booleans())
            else st.just({})
        ),
    )


@st.composite
def boards(draw: st.DrawFn) -> Board:
    return Board(
        grants={source: draw(grants(source)) for source in sorted(set(SOURCES.values()))},
        decided_at_s=draw(st.just(0.0) | instants),
        valid_until_s=draw(ends),
        seats=tuple(draw(st.lists(seats, min_size=2, max_size=12, unique_by=_key))),
    )


def _key(seat: Seat) -> str:
    return seat.key


def spent(board: Board, now_s: float, source: str, range_id: str | None = None) -> float:
    return sum(
        board.rate_for(seat, now_s)
        for seat in board.live_seats(now_s)
        if seat.source == source and range_id in {None, seat.range_id}
    )


@given(boards(), instants)
def test_all_seats_together_stay_within_the_budget(board: Board, now_s: float) -> None:
    """However many workers, fences, activities and migrations there are on a source."""
    for source, grant in board.grants.items():
        total = spent(board, now_s, source)
        assert 0.0 <= total <= grant.budget_ru_per_s * (1 + 1e-9)
        if now_s >= board.valid_until_s:
            assert total == 0.0


@given(boards(), instants)
def test_no_range_is_asked_for_more_than_its_limit(board: Board, now_s: float) -> None:
    """A partition gives what it has, whatever the source as a whole may give."""
    for source, grant in board.grants.items():
        for name in RANGES:
            limit = grant.range_limit(name)
            assert spent(board, now_s, source, name) <= limit * (1 + 1e-9)


@given(boards(), seats, instants)
def test_taking_and_leaving_never_breaks_the_budget(board: Board, seat: Seat, now_s: float) -> None:
    """A seat more takes from the others, a seat less gives back to them."""
    budget = board.grants[seat.source].budget_ru_per_s * (1 + 1e-9)
    seated = board.seated(seat, now_s)
    assert spent(seated, now_s, seat.source) <= budget
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


@given(boards(), seats, instants, st.floats(0, 100))
def test_a_throttled_range_waits_for_the_next_decision(
    board: Board, seat: Seat, now_s: float, after_s: float
) -> None:
    """At least the cool-down, and until the controller has decided with the 429 in view."""
    board = replace(board, decided_at_s=min(board.decided_at_s, now_s)).seated(seat, now_s)
    met = board.throttled(seat.source, seat.range_id, now_s=now_s)
    assert met.rate_for(seat, now_s + after_s) == 0.0
    again = met.decided(met.grants, now_s=now_s + after_s, controller_token=1)
    if after_s < COOL_DOWN_S:
        assert again.rate_for(seat, now_s + after_s) == 0.0
    slice_id = "s1" if seat.range_id == "r1" else "s2"
    other = replace(seat, range_id=RANGE_OF[slice_id], slice_id=slice_id)
    sitting = board.seated(other, now_s)
    met = sitting.throttled(seat.source, seat.range_id, now_s=now_s)
    assert met.rate_for(other, now_s) == sitting.rate_for(other, now_s)


@given(boards(), pressures, instants)
def test_pressure_only_ever_takes_back(board: Board, pressure: Pressure, now_s: float) -> None:
    """Business as it says and Ebb together stay below the limit, and nothing grows by it."""
    for source, grant in board.grants.items():
        pressed = board.pressed(source, pressure, now_s=NOW_S).grants[source]
        if pressure.until_s <= NOW_S:
            assert pressed == replace(grant, pressure=None)
            continue
        assert pressed.budget_ru_per_s <= grant.budget_ru_per_s * (1 + 1e-9)
        need = pressure.business_ru_per_s
        room = 0.0 if need is None else max(0.0, grant.limit_ru_per_s - need)
        assert pressed.budget_ru_per_s <= room * (1 + 1e-9)
        assert sum(pressed.shares_ru_per_s.values()) <= pressed.budget_ru_per_s * (1 + 1e-9)
        for name in RANGES:
            assert pressed.range_limit(name) <= grant.range_limit(name) * (1 + 1e-9)
        if now_s < pressure.until_s:
            later = board.pressed(source, pressure, now_s=NOW_S).decided(
                {source: grant}, now_s=now_s, controller_token=1
            )
            assert later.grants[source].budget_ru_per_s <= room * (1 + 1e-9)


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
