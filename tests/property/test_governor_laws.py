"""The governor's laws: never above the ceiling less business, and never without a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.governor import STALE_AFTER_S, Memory, Reading, Reason, Signals, decide

NOW_S = 120_000.0
amounts = st.sampled_from([0.0, 1.0, 240_000.0]) | st.floats(0, 1e7)
readings = st.lists(
    st.builds(Reading, minute_s=st.integers(1_900, 1_999).map(lambda m: m * 60), total_ru=amounts,
              own_ru=amounts),
    max_size=8,
    unique_by=lambda reading: reading.minute_s,
)  # fmt: skip
situations: st.SearchStrategy[Signals] = st.builds(
    Signals,
    now_s=st.floats(NOW_S, NOW_S + 400),
    capacity_ru_per_s=st.sampled_from([-1.0, 0.0, 5_000.0]) | st.floats(1, 1e6),
    capacity_from=st.just("the spec"),
    ceiling=st.floats(0.01, 1.0),
    readings=readings.map(tuple),
    throttled_at_s=st.none() | st.floats(NOW_S - 100, NOW_S + 100),
)
memories = st.builds(Memory, budget_ru_per_s=st.floats(0, 1e6))


def newest(seen: Signals) -> Reading | None:
    return max(seen.readings, key=lambda reading: reading.minute_s, default=None)


@given(situations, memories)
def test_the_budget_leaves_business_below_the_ceiling(seen: Signals, memory: Memory) -> None:
    """Business and Ebb together stay below the ceiling, as far as anything is known."""
    decision, _ = decide(seen, memory)
    assert decision.budget_ru_per_s >= 0.0
    latest = newest(seen)
    if decision.budget_ru_per_s > 0.0:
        assert latest is not None
        business = max(0.0, latest.total_ru - latest.own_ru) / 60
        assert decision.budget_ru_per_s + business <= seen.ceiling * seen.capacity_ru_per_s + 1e-6


@given(situations, memories)
def test_nothing_is_spent_on_old_knowledge_or_none(seen: Signals, memory: Memory) -> None:
    """Not knowing is a reason to hold, not to guess."""
    decision, _ = decide(seen, memory)
    latest = newest(seen)
    unknown = latest is None or seen.now_s - latest.minute_s - 60 > STALE_AFTER_S
    if unknown or seen.capacity_ru_per_s <= 0:
        assert decision.budget_ru_per_s == 0.0
        assert decision.reason in {Reason.STALE, Reason.NO_READINGS, Reason.NO_CAPACITY}


@given(situations, memories, st.randoms())
def test_the_order_of_readings_decides_nothing(seen: Signals, memory: Memory, random: Any) -> None:
    """Monitor may give its minutes in any order."""
    mixed = list(seen.readings)
    random.shuffle(mixed)
    assert decide(replace(seen, readings=tuple(mixed)), memory) == decide(seen, memory)


@given(situations, memories)
def test_every_decision_gives_its_reason_and_its_numbers(seen: Signals, memory: Memory) -> None:
    """Every change of pace can be explained afterwards."""
    decision, remembered = decide(seen, memory)
    holding = decision.reason not in {Reason.SLACK, Reason.THROTTLED}
    assert holding == (decision.budget_ru_per_s == 0.0)
    assert decision.sentence.startswith("holding: ") == holding
    assert remembered.budget_ru_per_s == decision.budget_ru_per_s
    assert (decision.at_s, decision.ceiling) == (seen.now_s, seen.ceiling)
    assert decision.capacity_ru_per_s == seen.capacity_ru_per_s


@given(situations, memories)
def test_a_throttle_never_raises_the_budget(seen: Signals, memory: Memory) -> None:
    """A 429 within the last minute leaves at most half."""
    calm, _ = decide(replace(seen, throttled_at_s=None), memory)
    met, _ = decide(replace(seen, throttled_at_s=seen.now_s - 10.0), memory)
    assert met.budget_ru_per_s == calm.budget_ru_per_s / 2


@given(situations, memories, st.floats(0, 1e6))
def test_more_business_never_means_more_budget(
    seen: Signals, memory: Memory, more_ru: float
) -> None:
    """The law gives way in one direction only."""
    busier = tuple(replace(each, total_ru=each.total_ru + more_ru) for each in seen.readings)
    before, _ = decide(seen, memory)
    after, _ = decide(replace(seen, readings=busier), memory)
    assert after.budget_ru_per_s <= before.budget_ru_per_s + 1e-6
