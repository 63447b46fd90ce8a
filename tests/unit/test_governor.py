"""The governor's decisions one by one: each with its reason and a sentence that has the numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.governor import (
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
from shared.domain.profile import HourUse, Profile, hour_of_week
from shared.domain.readings import Reading

NOW_S = 12_000_060.0
NEWEST_S = 11_999_880  # ended two minutes ago
BUSINESS = 2_500.0


def a_day(business: float = BUSINESS, *, until_s: int = NEWEST_S) -> Past:
    return Past().with_minutes((until_s - ago * MINUTE_S, business) for ago in range(1, 1_440))


def a_memory(budget: float = 1_500.0, **changes: Any) -> Memory:
    return replace(Memory(budget_ru_per_s=budget, past=a_day()), **changes)


def a_reading(business: float = BUSINESS, *, own: float = 0.0, **changes: Any) -> Reading:
    """The newest minute, in RU per second."""
    whole = Reading(minute_s=NEWEST_S, total_ru=(business + own) * MINUTE_S, own_ru=own * MINUTE_S)
    return replace(whole, **changes)


def signals(*readings: Reading, **changes: Any) -> Signals:
    usual = Signals(
        now_s=NOW_S,
        capacity_ru_per_s=5_000.0,
        capacity_from="the spec",
        ceiling=0.8,
        readings=readings,
    )
    return replace(usual, **changes)


def decided(seen: Signals, memory: Memory | None = None) -> Decision:
    decision, remembered = decide(seen, memory or a_memory())
    assert remembered.budget_ru_per_s == decision.budget_ru_per_s
    return decision


def test_a_steady_business_leaves_all_of_its_slack() -> None:
    """The scenario's own numbers: 80 % of 5,000 less 2,500."""
    decision = decided(signals(a_reading()))
    assert decision.budget_ru_per_s == pytest.approx(1_500.0)
    assert decision.reason is Reason.SLACK
    assert decision.business_ru_per_s == BUSINESS
    assert decision.reading_age_s == 120.0
    assert decision.sentence == (
        "spending up to 1500 RU/s: business 2500 RU/s (120 s ago), "
        "ceiling 4000 of 5000 RU/s (the spec); risk of passing it 0.2%"
    )


def test_what_ebb_spent_itself_is_not_business() -> None:
    """It would otherwise hide from its own shadow."""
    assert decided(signals(a_reading(own=1_500))).budget_ru_per_s == pytest.approx(1_500.0)


def test_a_busier_minute_lowers_the_budget_at_once() -> None:
    """In one decision, however large the step."""
    decision = decided(signals(a_reading(3_600)))
    assert decision.budget_ru_per_s <= 400.0
    assert decided(signals(a_reading(4_000))).reason is Reason.NO_SLACK


def test_the_budget_grows_by_one_step_for_each_new_reading() -> None:
    """And waits for the next minute before it grows again."""
    memory = a_memory(0.0)
    first, memory = decide(signals(a_reading()), memory)
    assert first.budget_ru_per_s == pytest.approx(GROWTH * 5_000)
    assert first.reason is Reason.GROWING
    assert "of 1500 RU/s" in first.sentence
    assert first.growing_to_ru_per_s == pytest.approx(1_500.0)
    again, memory = decide(signals(a_reading(), now_s=NOW_S + 30), memory)
    assert again.budget_ru_per_s == first.budget_ru_per_s
    later = a_reading(minute_s=NEWEST_S + MINUTE_S)
    second, _ = decide(signals(later, now_s=NOW_S + 60), memory)
    assert second.budget_ru_per_s == second.growing_to_ru_per_s == pytest.approx(1_500.0)


def test_an_old_reading_keeps_a_pace_but_never_raises_it() -> None:
    """Four minutes old is too old to grow on, and not too old to go on."""
    late = NEWEST_S + MINUTE_S + 260.0
    assert 0 < decided(signals(a_reading(), now_s=late), a_memory(500.0)).budget_ru_per_s <= 500.0
    waiting = decided(signals(a_reading(), now_s=late), a_memory(0.0))
    assert (waiting.budget_ru_per_s, waiting.reason) == (0.0, Reason.WAITING)


def test_a_stale_reading_stops_everything() -> None:
    """A reading at the limit still counts; a second later Ebb does not know, so it holds."""
    limit_s = NEWEST_S + MINUTE_S + STALE_AFTER_S
    assert decided(signals(a_reading(), now_s=limit_s)).budget_ru_per_s > 0
    stale = decided(signals(a_reading(), now_s=limit_s + 1))
    assert (stale.budget_ru_per_s, stale.reason) == (0.0, Reason.STALE)
    trouble = signals(now_s=limit_s + 1, monitor_trouble="Monitor refused (403)")
    assert decided(trouble).sentence == (
        "holding: the newest reading is 361 s old (limit 300 s); Monitor refused (403)"
    )


def test_without_readings_nothing_is_spent() -> None:
    """And the sentence says what kept them away."""
    decision = decided(signals(), Memory())
    assert (decision.budget_ru_per_s, decision.reason) == (0.0, Reason.NO_READINGS)
    told = decided(signals(monitor_trouble="Monitor refused (403)"), Memory())
    assert told.sentence == "holding: Monitor refused (403)"
    assert told.business_ru_per_s is told.reading_age_s is told.risk is None


def test_a_silence_of_one_tick_changes_nothing() -> None:
    """What was read is remembered; Monitor may fail to answer now and then."""
    _, memory = decide(signals(a_reading()), a_memory())
    decision, _ = decide(signals(monitor_trouble="no answer", now_s=NOW_S + 30), memory)
    assert decision.budget_ru_per_s == pytest.approx(1_500.0)


def test_a_business_hardly_known_is_not_trusted() -> None:
    """One quiet minute proves little; an hour proves more; a day nearly everything."""
    budgets = []
    for minutes in (1, 60, 1_440):
        past = Past().with_minutes((NEWEST_S - ago * MINUTE_S, BUSINESS) for ago in range(minutes))
        memory = Memory(budget_ru_per_s=1_500.0, past=past)
        budgets.append(decided(signals(a_reading()), memory).budget_ru_per_s)
    assert budgets == sorted(budgets)
    assert budgets[0] < 0.5 * 1_500 < 0.8 * 1_500 < budgets[1]


def test_a_bursty_business_keeps_room_for_its_bursts() -> None:
    """Every tenth minute it jumped by 1,000: that much stays free."""
    bursty = Past().with_minutes(
        (NEWEST_S - ago * MINUTE_S, 3_500.0 if ago % 10 == 0 else BUSINESS)
        for ago in range(1, 1_440)
    )
    decision = decided(signals(a_reading()), a_memory(past=bursty))
    assert decision.budget_ru_per_s <= 500.0
    calm_hour = bursty.with_minutes((NEWEST_S - ago * MINUTE_S, BUSINESS) for ago in range(1, 2))
    assert decided(signals(a_reading()), a_memory(past=calm_hour)).budget_ru_per_s <= 500.0


def test_minutes_over_the_ceiling_make_risk_dearer() -> None:
    """After a day with too many of them, by our doing, the same moment gets less."""
    noisy = Past().with_minutes(
        (NEWEST_S - ago * MINUTE_S, BUSINESS + (400.0 if ago % 90 == 30 else 0.0))
        for ago in range(1, 1_440)
    )
    often = tuple(NEWEST_S - ago * MINUTE_S for ago in range(60))
    calm = decided(signals(a_reading()), a_memory(past=noisy))
    burnt = decided(signals(a_reading()), a_memory(past=noisy, overrun_s=often))
    assert burnt.budget_ru_per_s < calm.budget_ru_per_s
    assert (burnt.risk or 0) < (calm.risk or 1)


def test_minutes_over_the_ceiling_are_remembered_for_a_day() -> None:
    """Only those that the business alone would not have made."""
    ours, theirs = a_reading(3_000, own=1_200), a_reading(4_100, own=0)
    _, memory = decide(signals(ours), a_memory())
    assert memory.overrun_s == (NEWEST_S,)
    _, memory = decide(signals(theirs), a_memory())
    assert memory.overrun_s == ()
    _, memory = decide(signals(now_s=NOW_S + 90_000), a_memory(overrun_s=(NEWEST_S,)))
    assert memory.overrun_s == ()


def test_our_own_429_says_what_the_business_takes() -> None:
    """Full with 1,500 granted: the business has 3,500 of 5,000, so 500 are left below 80 %."""
    met = {"all": Throttle(at_s=NOW_S - 20, ru_per_s=1_500.0)}
    decision = decided(signals(a_reading(), throttles=met))
    assert decision.budget_ru_per_s == pytest.approx(500.0)
    assert decision.reason is Reason.THROTTLED
    assert "a 429 was met 20 s ago" in decision.sentence
    full = {"all": Throttle(at_s=NOW_S - 20, ru_per_s=900.0)}
    nothing = decided(signals(a_reading(), throttles=full))
    assert (nothing.budget_ru_per_s, nothing.reason) == (0.0, Reason.THROTTLED)


def test_a_minute_read_since_answers_a_429() -> None:
    """What the business took then is in the reading now."""
    early = NEWEST_S + MINUTE_S + 1.0
    met = {"all": Throttle(at_s=NEWEST_S - 1.0, ru_per_s=900.0)}
    assert decided(signals(a_reading(), throttles=met, now_s=early)).reason is Reason.SLACK


def test_429s_in_the_metric_halve_what_is_wanted() -> None:
    """More than one percent of a minute's requests, with nothing to say which range is full."""
    reading = a_reading(requests=1_000, throttled=20)
    decision = decided(signals(reading))
    assert decision.budget_ru_per_s == pytest.approx(750.0)
    assert decision.reason is Reason.THROTTLED
    assert decided(signals(reading), a_memory(0.0)).budget_ru_per_s == 0.0


def test_a_full_range_pauses_alone() -> None:
    """429s and one partition at its limit: that one gives nothing, the others go on."""
    ranges = {"r0": RangeUse(heat=1.0), "r1": RangeUse(heat=0.3), "r2": RangeUse(heat=0.3)}
    reading = a_reading(requests=1_000, throttled=20, ranges=ranges)
    decision = decided(signals(reading, ranges=("r0", "r1", "r2"), partitions=3))
    assert decision.range_ru_per_s["r0"] == 0.0
    assert decision.range_ru_per_s["r1"] > 100.0
    assert decision.budget_ru_per_s > 100.0
    assert "1 of 3 ranges are paused, such as r0" in decision.sentence


def test_a_hot_range_gives_less_than_a_cool_one() -> None:
    """By its part of the business, as the partitions' heat tells it; ours is taken off first."""
    ranges = {
        "r0": RangeUse(heat=0.6),
        "r1": RangeUse(heat=0.2),
        "r2": RangeUse(heat=0.2, own_ru=0.0),
    }
    decision = decided(signals(a_reading(ranges=ranges), ranges=("r0", "r1", "r2"), partitions=3))
    limits = decision.range_ru_per_s
    assert limits["r0"] == 0.0
    assert limits["r1"] == limits["r2"] == pytest.approx(4_000 / 3 - 2_500 * 0.2)
    assert decision.reason is Reason.SLACK


def test_ranges_that_give_less_together_lower_the_budget() -> None:
    """Where the business moves about, each range counts with its largest part of late."""
    first = {"r0": RangeUse(heat=0.9), "r1": RangeUse(heat=0.1)}
    second = {"r0": RangeUse(heat=0.1), "r1": RangeUse(heat=0.9)}
    moving = (
        a_reading(minute_s=NEWEST_S - MINUTE_S, ranges=first),
        a_reading(ranges=second),
    )
    decision = decided(signals(*moving, ranges=("r0", "r1"), partitions=2))
    assert (decision.budget_ru_per_s, decision.reason) == (0.0, Reason.HOT)
    assert decision.sentence.startswith("holding: no range has room")


def test_the_usual_shares_stand_in_for_unknown_heat() -> None:
    """From the logs; without those every range has its even part."""
    usual = {"r0": 0.75, "r1": 0.25}
    ranges = ("r0", "r1")
    decision = decided(signals(a_reading(), ranges=ranges, partitions=2, usual_shares=usual))
    assert decision.range_ru_per_s == pytest.approx({"r0": 125.0, "r1": 1_375.0})
    even = decided(signals(a_reading(), ranges=ranges, partitions=2)).range_ru_per_s
    assert even == pytest.approx({"r0": 750.0, "r1": 750.0})


def test_a_push_counts_as_what_the_business_uses() -> None:
    """It overrides a slower metric downward, and its reason is given."""
    pushed = Pressure(until_s=NOW_S + 60, business_ru_per_s=3_700.0, told="sale")
    decision = decided(signals(a_reading(), pressure=pushed))
    assert 0 < decision.budget_ru_per_s <= 300.0
    assert decision.reason is Reason.PRESSURE
    assert "3700 RU/s as it says itself until" in decision.sentence
    assert "(sale)" in decision.sentence


@pytest.mark.parametrize("need", [None, 4_000.0, 9_000.0])
def test_a_push_for_everything_stops_everything(need: float | None) -> None:
    """Said outright, or by a number at or above the ceiling."""
    pushed = Pressure(until_s=NOW_S + 60, business_ru_per_s=need)
    decision = decided(signals(a_reading(), pressure=pushed))
    assert (decision.budget_ru_per_s, decision.reason) == (0.0, Reason.PRESSURE)


def test_a_push_that_ran_out_or_asks_less_counts_for_nothing() -> None:
    """The metric knows better by then."""
    for pushed in (
        Pressure(until_s=NOW_S, business_ru_per_s=None),
        Pressure(until_s=NOW_S + 60, business_ru_per_s=100.0),
    ):
        assert decided(signals(a_reading(), pressure=pushed)).reason is Reason.SLACK


def test_an_hour_known_for_its_bursts_keeps_room_for_them() -> None:
    """Four weeks of logs say more about this hour than a calm day does."""
    hour = HourUse(typical_ru_per_s=2_500.0, high_ru_per_s=2_600.0)
    habits = Profile(hours={hour_of_week(NOW_S): hour})
    assert decided(signals(a_reading(), profile=habits)).budget_ru_per_s == pytest.approx(1_400.0)
    other = Profile(hours={hour_of_week(NOW_S) + 5: hour})
    assert decided(signals(a_reading(), profile=other)).budget_ru_per_s == pytest.approx(1_500.0)


@pytest.mark.parametrize("capacity", [0.0, -1.0, float("nan")])
def test_without_a_capacity_nothing_is_spent(capacity: float) -> None:
    """A share of nothing known is nothing."""
    decision = decided(signals(a_reading(), capacity_ru_per_s=capacity))
    assert (decision.budget_ru_per_s, decision.reason) == (0.0, Reason.NO_CAPACITY)


def test_a_clock_set_back_forgets_the_future() -> None:
    """Minutes that have not ended tell nothing about now."""
    early = NEWEST_S - 600.0
    decision = decided(signals(now_s=early), a_memory(past=a_day()))
    assert decision.reading_age_s is not None
    assert decision.reading_age_s >= 0.0


def test_small_gains_do_not_change_the_pace() -> None:
    """A business wavering by a few RU/s is no reason to waver with it."""
    memory = a_memory(1_480.0)
    assert decided(signals(a_reading()), memory).budget_ru_per_s == 1_480.0
