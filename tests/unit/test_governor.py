"""The governor's decisions one by one: each with its reason and a sentence that has the numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.governor import (
    FIRST_BATCH_DOCUMENTS,
    STALE_AFTER_S,
    THROTTLE_MEMORY_S,
    Demand,
    Memory,
    Reading,
    Reason,
    Signals,
    batch_documents,
    decide,
    divide,
)

NOW_S = 120_000.0


def a_reading(age_s: float = 30.0, *, total: float = 2_500.0, own: float = 0.0) -> Reading:
    """A minute that ended `age_s` ago, in RU per second."""
    return Reading(minute_s=int(NOW_S - age_s) - 60, total_ru=total * 60, own_ru=own * 60)


def signals(*readings: Reading, **changes: Any) -> Signals:
    usual = Signals(
        now_s=NOW_S,
        capacity_ru_per_s=5_000.0,
        capacity_from="the spec",
        ceiling=0.8,
        readings=readings,
    )
    return replace(usual, **changes)


def outcome(seen: Signals) -> tuple[float, Reason]:
    decision, memory = decide(seen, Memory(budget_ru_per_s=77.0))
    assert memory.budget_ru_per_s == decision.budget_ru_per_s
    return decision.budget_ru_per_s, decision.reason


def test_the_budget_is_what_business_leaves_below_the_ceiling() -> None:
    """The scenario's own numbers: 80 % of 5,000 less 2,500."""
    decision, _ = decide(signals(a_reading()), Memory())
    assert decision.budget_ru_per_s == 1_500.0
    assert decision.reason is Reason.SLACK
    assert decision.business_ru_per_s == 2_500.0
    assert decision.reading_age_s == 30.0
    assert decision.sentence == (
        "spending up to 1500 RU/s: business 2500 RU/s (30 s ago), "
        "ceiling 4000 of 5000 RU/s (the spec)"
    )


def test_what_ebb_spent_itself_is_not_business() -> None:
    """It would otherwise hide from its own shadow."""
    assert outcome(signals(a_reading(total=3_000, own=500))) == (1_500.0, Reason.SLACK)


def test_own_use_above_the_total_counts_as_no_business() -> None:
    """Two meters may disagree; neither can prove more than the ceiling."""
    assert outcome(signals(a_reading(total=100, own=500))) == (4_000.0, Reason.SLACK)


def test_only_the_newest_reading_counts() -> None:
    """An older, kinder minute is over."""
    readings = (a_reading(90.0, total=0), a_reading(30.0, total=3_000), a_reading(150.0, total=0))
    assert outcome(signals(*readings)) == (1_000.0, Reason.SLACK)


@pytest.mark.parametrize("total", [4_000.0, 3_999.5, 9_000.0])
def test_without_slack_nothing_is_spent(total: float) -> None:
    """Less than the cheapest read a second is nothing."""
    assert outcome(signals(a_reading(total=total))) == (0.0, Reason.NO_SLACK)


def test_one_useful_unit_of_slack_is_spent() -> None:
    """The boundary itself counts as slack."""
    assert outcome(signals(a_reading(total=3_999.0))) == (1.0, Reason.SLACK)


def test_a_stale_reading_stops_everything() -> None:
    """A reading at the limit still counts; a second later Ebb does not know, so it holds."""
    assert outcome(signals(a_reading(STALE_AFTER_S)))[1] is Reason.SLACK
    assert outcome(signals(a_reading(STALE_AFTER_S + 1))) == (0.0, Reason.STALE)


def test_without_readings_nothing_is_spent() -> None:
    """And the sentence says what kept them away."""
    assert outcome(signals()) == (0.0, Reason.NO_READINGS)
    decision, _ = decide(signals(monitor_trouble="Monitor refused (403)"), Memory())
    assert decision.sentence == "holding: Monitor refused (403)"
    assert decision.business_ru_per_s is None
    assert decision.reading_age_s is None


@pytest.mark.parametrize("capacity", [0.0, -1.0])
def test_without_a_capacity_nothing_is_spent(capacity: float) -> None:
    """A share of nothing known is nothing."""
    seen = signals(a_reading(), capacity_ru_per_s=capacity)
    assert outcome(seen) == (0.0, Reason.NO_CAPACITY)


@pytest.mark.parametrize("part", ["total", "own"])
def test_a_reading_that_is_no_number_is_no_knowledge(part: str) -> None:
    """NaN taken for zero business would open the whole ceiling."""
    broken = a_reading(**{part: float("nan")})
    assert outcome(signals(broken))[0] == 0.0


def test_a_recent_throttle_halves_the_pace() -> None:
    """For a minute, and then no longer."""
    recent = signals(a_reading(), throttled_at_s=NOW_S - THROTTLE_MEMORY_S + 1)
    assert outcome(recent) == (750.0, Reason.THROTTLED)
    assert outcome(signals(a_reading(), throttled_at_s=NOW_S)) == (750.0, Reason.THROTTLED)
    past = signals(a_reading(), throttled_at_s=NOW_S - THROTTLE_MEMORY_S)
    assert outcome(past) == (1_500.0, Reason.SLACK)


def a_demand(**changes: Any) -> Demand:
    usual = Demand(
        migration="a",
        priority=5,
        ru_per_document=30.0,
        bytes_per_document=300_000.0,
        documents_max=20_000,
        bytes_max=256 << 20,
        budget_s=60,
        in_flight_max=2,
    )
    return replace(usual, **changes)


def test_a_budget_is_divided_by_priority() -> None:
    """One to three, and as many slices in flight as each allows."""
    low, high = a_demand(priority=1), a_demand(migration="b", priority=3, in_flight_max=1)
    shares = divide(1_000.0, (low, high))
    assert [(s.migration, s.ru_per_s, s.in_flight) for s in shares] == [
        ("a", 250.0, 2),
        ("b", 750.0, 1),
    ]
    assert [s.batch_documents for s in shares] == [250, 894]
    assert divide(1_000.0, ()) == ()


def test_a_share_too_small_to_use_starts_nothing() -> None:
    """A slice started on half a unit a second would hold its seat for hours."""
    (share,) = divide(0.5, (a_demand(),))
    assert (share.in_flight, share.batch_documents) == (0, 1)
    (share,) = divide(1.0, (a_demand(),))
    assert share.in_flight == 2


@pytest.mark.parametrize(
    ("rate", "changes", "documents"),
    [
        (1_000.0, {}, 894),
        (100.0, {}, 200),
        (100.0, {"documents_max": 50}, 50),
        (0.0, {}, 1),
        (100.0, {"bytes_per_document": 1e12}, 1),
        (100.0, {"ru_per_document": 0.0}, FIRST_BATCH_DOCUMENTS),
        (100.0, {"bytes_per_document": 0.0}, FIRST_BATCH_DOCUMENTS),
        (100.0, {"ru_per_document": 0.0, "documents_max": 5}, 5),
    ],
)
def test_a_batch_is_what_budget_and_bytes_allow(
    rate: float, changes: dict[str, Any], documents: int
) -> None:
    """Sixty seconds of the rate at the measured price, within the slice's bytes."""
    assert batch_documents(rate, a_demand(**changes)) == documents
