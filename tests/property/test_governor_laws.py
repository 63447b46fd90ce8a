"""The governor's laws: below the ceiling as far as is known, slow upward, closed when blind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.governor import (
    FRESH_S,
    GROWTH,
    STALE_AFTER_S,
    Decision,
    Memory,
    Pressure,
    Reason,
    Signals,
    Throttle,
    decide,
)
from shared.domain.heat import RangeUse
from shared.domain.outlook import MINUTE_S, Past
from shared.domain.readings import Reading, believed

NOW_S = 12_000_000.0
CAPACITY = 5_000.0
RANGES = ("r000", "r001", "r002")

loads = st.sampled_from([0.0, 1_000.0, 2_500.0, 3_999.0, 4_001.0]) | st.floats(0, 6_000)
odd = st.sampled_from([0.0, float("nan"), float("inf"), -1.0, 1.0]) | st.floats(0, 4e5)


@st.composite
def plausible(draw: st.DrawFn) -> tuple[float, float]:
    """A minute's total and own RU as they mostly come."""
    own = draw(st.sampled_from([0.0, 600.0, 1_500.0])) * MINUTE_S
    return draw(loads) * MINUTE_S + own, own


@st.composite
def readings_of(draw: st.DrawFn) -> tuple[Reading, ...]:
    """Minutes of the last quarter of an hour: missing, doubled, revised, zero, in no order."""
    minutes = draw(st.lists(st.sampled_from([1, 1, 2, 2, 3]) | st.integers(-2, 15), max_size=12))
    made = []
    for back in minutes:
        total, own = draw(plausible() | plausible() | st.tuples(odd, odd))
        requests, throttled = draw(st.sampled_from([(0, 0), (100, 0), (100, 1), (100, 50)]))
        made.append(
            Reading(
                minute_s=(int(NOW_S) // MINUTE_S - back) * MINUTE_S,
                total_ru=total,
                own_ru=own,
                requests=requests,
                throttled=throttled,
                ranges=draw(st.sampled_from([{}, _heat(0.1, 0.2, 1.0), _heat(0.5, 0.5, 0.5)])),
            )
        )
    return tuple(made)


def _heat(*shares: float) -> dict[str, RangeUse]:
    return {name: RangeUse(heat=heat) for name, heat in zip(RANGES, shares, strict=True)}


def _past(length: int, level: float, noise: float, every: int, back: int) -> Past:
    """A steady, noisy or bursty history of some length."""
    end_s = (int(NOW_S) // MINUTE_S - back) * MINUTE_S
    return Past().with_minutes(
        (
            end_s - ago * MINUTE_S,
            3_900.0 if every and ago % every == 0 else level * (1 + noise * (ago % 5 - 2)),
        )
        for ago in range(length)
    )


pasts = st.sampled_from(
    [
        Past(),
        _past(1, 500.0, 0.0, 0, 3),
        _past(40, 2_500.0, 0.05, 0, 2),
        _past(300, 0.0, 0.0, 0, 3),
        _past(300, 2_500.0, 0.0, 0, 3),
        _past(300, 1_000.0, 0.05, 31, 4),
        _past(300, 1_000.0, 0.0, 0, 3),
        _past(400, 2_500.0, 0.05, 0, 3),
        _past(400, 3_900.0, 0.0, 0, 3),
    ]
)


situations: st.SearchStrategy[Signals] = st.builds(
    Signals,
    now_s=st.sampled_from([NOW_S + 10.0, NOW_S + 250.0, NOW_S + 280.0])
    | st.floats(NOW_S, NOW_S + 90)
    | st.floats(NOW_S + 150, NOW_S + 290)
    | st.floats(NOW_S, NOW_S + 400),
    capacity_ru_per_s=st.sampled_from([CAPACITY] * 8 + [-1.0, 0.0, 300.0, 1e6]),
    capacity_from=st.just("the spec"),
    ceiling=st.sampled_from([0.8, 0.8, 0.8, 0.01, 1.0]),
    readings=readings_of(),
    ranges=st.sampled_from([RANGES, ("r000",)]),
    partitions=st.sampled_from([1, 3, 4]),
    throttles=st.dictionaries(
        st.sampled_from(RANGES),
        st.builds(Throttle, at_s=st.floats(NOW_S - 400, NOW_S + 5), ru_per_s=st.floats(0, 5_000)),
        max_size=1,
    ),
    pressure=st.none()
    | st.builds(
        Pressure,
        until_s=st.floats(NOW_S - 100, NOW_S + 900),
        business_ru_per_s=st.none() | loads,
    ),
)
memories = st.builds(
    Memory, budget_ru_per_s=st.sampled_from([0.0, 300.0, 1_500.0, 5_000.0]), past=pasts
)


def newest(seen: Signals, memory: Memory) -> tuple[float, float] | None:
    """The newest minute's end and business, worked out apart from the law."""
    usable = {r.minute_s: 0.0 for r in believed(seen.readings, seen.now_s)}
    for each in believed(seen.readings, seen.now_s):
        usable[each.minute_s] = max(usable[each.minute_s], each.business_ru_per_s)
    past = memory.past
    for index, use in enumerate(past.use):
        minute_s = past.first_s + index * MINUTE_S
        if use is not None:
            usable[minute_s] = max(usable.get(minute_s, 0.0), use)
    return None if not usable else (max(usable) + MINUTE_S, usable[max(usable)])


@given(situations, memories)
def test_business_and_budget_stay_below_the_ceiling(seen: Signals, memory: Memory) -> None:
    """As far as the newest minute, or the business itself, tells."""
    decision, _ = decide(seen, memory)
    assert decision.budget_ru_per_s >= 0.0
    if decision.budget_ru_per_s > 0.0:
        latest = newest(seen, memory)
        assert latest is not None
        need = latest[1]
        if seen.pressure is not None and seen.pressure.until_s > seen.now_s:
            assert seen.pressure.business_ru_per_s is not None
            need = max(need, seen.pressure.business_ru_per_s)
        assert decision.budget_ru_per_s + need <= seen.limit_ru_per_s + 0.11


@given(situations, memories)
def test_nothing_is_spent_on_old_knowledge_or_none(seen: Signals, memory: Memory) -> None:
    """Not knowing is a reason to hold, not to guess."""
    decision, _ = decide(seen, memory)
    latest = newest(seen, memory)
    if latest is None or seen.now_s - latest[0] > STALE_AFTER_S or seen.capacity_ru_per_s <= 0:
        assert decision.budget_ru_per_s == 0.0
        assert decision.reason in {Reason.STALE, Reason.NO_READINGS, Reason.NO_CAPACITY}


@settings(max_examples=400)
@given(situations, memories)
def test_only_a_new_fresh_clean_reading_raises(seen: Signals, memory: Memory) -> None:
    """And by no more than one step of growth, however long the law was silent."""
    decision, remembered = decide(seen, memory)
    if decision.budget_ru_per_s > memory.budget_ru_per_s:
        rise = decision.budget_ru_per_s - memory.budget_ru_per_s
        assert rise <= GROWTH * seen.capacity_ru_per_s * (1 + 1e-9)
        proof = believed(seen.readings, seen.now_s)[-1]
        assert seen.now_s - (proof.minute_s + MINUTE_S) <= FRESH_S
        assert proof.throttled_share <= 0.01
        again, _ = decide(seen, remembered)
        assert again.budget_ru_per_s <= decision.budget_ru_per_s


@given(situations, memories, st.randoms(use_true_random=False))
def test_the_order_of_readings_decides_nothing(seen: Signals, memory: Memory, random: Any) -> None:
    """Monitor may give its minutes in any order, at once or one decision after the other."""
    mixed = list(seen.readings)
    random.shuffle(mixed)
    assert decide(replace(seen, readings=tuple(mixed)), memory) == decide(seen, memory)
    assert one_by_one(seen, mixed, memory) == one_by_one(seen, seen.readings, memory)


def one_by_one(seen: Signals, readings: Any, memory: Memory) -> tuple[Decision, Memory]:
    """The decision after the same readings arrived in some order over earlier decisions."""
    latest = memory
    for each in readings:
        if each.total_ru > 0:  # zeros are believed only in a row, and so only together
            _, latest = decide(replace(seen, readings=(each,)), latest)
    settled = replace(latest, budget_ru_per_s=memory.budget_ru_per_s, raised_for_s=0)
    return decide(replace(seen, readings=()), settled)


@given(situations, memories, st.sampled_from([(0.0, 0.0), (60_000.0, 90_000.0), (1.0, 9e4)]))
def test_what_cannot_be_believed_changes_nothing(
    seen: Signals, memory: Memory, told: tuple[float, float]
) -> None:
    """A lone zero, or a total below our own use, is a metric that failed and no quiet business."""
    counted = tuple(each for each in seen.readings if each.total_ru > 0)
    before_s = int(seen.now_s) // MINUTE_S * MINUTE_S - MINUTE_S
    broken = Reading(minute_s=before_s, total_ru=told[0], own_ru=told[1])
    without, _ = decide(replace(seen, readings=counted), memory)
    beside, _ = decide(replace(seen, readings=(*counted, broken)), memory)
    assert beside == without


@given(situations, memories)
def test_every_decision_gives_its_reason_and_its_numbers(seen: Signals, memory: Memory) -> None:
    """Every change of pace can be explained afterwards."""
    decision, remembered = decide(seen, memory)
    assert decision.sentence.startswith("holding: ") == (decision.budget_ru_per_s == 0.0)
    assert remembered.budget_ru_per_s == decision.budget_ru_per_s
    assert (decision.at_s, decision.ceiling) == (seen.now_s, seen.ceiling)
    assert decision.capacity_ru_per_s == seen.capacity_ru_per_s
    if decision.budget_ru_per_s > 0:
        assert decision.risk is not None
        assert 0.0 <= decision.risk <= 1.0
        assert seen.capacity_from in decision.sentence


@given(situations, memories)
def test_ranges_give_no_more_than_their_partition_has(seen: Signals, memory: Memory) -> None:
    """Each below its own ceiling, and together never less than the budget."""
    decision, _ = decide(seen, memory)
    limits = decision.range_ru_per_s
    assert set(limits) == set(seen.ranges)
    assert decision.budget_ru_per_s <= sum(limits.values()) * (1 + 1e-9) + 1e-9
    parts = max(seen.partitions, len(seen.ranges))
    for limit in limits.values():
        assert 0.0 <= limit <= max(0.0, seen.limit_ru_per_s / parts) * (1 + 1e-9)


@given(situations, memories, st.sampled_from(RANGES), st.floats(0, 200), st.floats(0, 5_000))
def test_a_throttle_never_raises_anything(
    seen: Signals, memory: Memory, where: str, ago_s: float, granted: float
) -> None:
    """A 429 of our own leaves its range at most what it was granted, less what is beyond."""
    calm, _ = decide(replace(seen, throttles={}), memory)
    met = {where: Throttle(at_s=seen.now_s - ago_s, ru_per_s=granted)}
    after, _ = decide(replace(seen, throttles=met), memory)
    assert after.budget_ru_per_s <= calm.budget_ru_per_s
    for name in seen.ranges:
        assert after.range_ru_per_s[name] <= calm.range_ru_per_s[name]
    latest = newest(seen, memory)
    unanswered = latest is None or latest[0] - MINUTE_S < seen.now_s - ago_s
    if where in seen.ranges and unanswered:
        assert after.range_ru_per_s[where] <= granted


@given(situations, memories, loads | st.none())
def test_pressure_never_raises_the_budget(
    seen: Signals, memory: Memory, need: float | None
) -> None:
    """A push overrides a slower metric downward only."""
    calm, _ = decide(replace(seen, pressure=None), memory)
    pushed = Pressure(until_s=seen.now_s + 60, business_ru_per_s=need)
    after, _ = decide(replace(seen, pressure=pushed), memory)
    assert after.budget_ru_per_s <= calm.budget_ru_per_s
    if need is None:
        assert after.budget_ru_per_s == 0.0
    else:
        assert after.budget_ru_per_s <= max(0.0, seen.limit_ru_per_s - need) + 1e-6


@pytest.mark.parametrize("lag_s", [60, 180])
@given(level=st.floats(0, 3_500), seed=st.integers(0, 3))
def test_a_steady_business_leaves_nearly_all_its_slack(lag_s: int, level: float, seed: int) -> None:
    """After a day of the same, at least nineteen twentieths of the slack are granted."""
    now_s = NOW_S + seed
    past = Past().with_minutes(
        (int(now_s) - lag_s - (back + 1) * MINUTE_S, level) for back in range(1_440)
    )
    newest_s = past.newest_s() or 0
    reading = Reading(minute_s=newest_s, total_ru=level * MINUTE_S, own_ru=0.0)
    memory = Memory(budget_ru_per_s=4_000.0 - level, past=past)
    readings = (reading,) if level > 0 else ()
    seen = Signals(
        now_s=now_s, capacity_ru_per_s=CAPACITY, capacity_from="", ceiling=0.8, readings=readings
    )
    decision, _ = decide(seen, memory)
    assert decision.budget_ru_per_s >= 0.95 * (4_000.0 - level)
