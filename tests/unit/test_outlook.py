"""What the law remembers of the business, and how likely it finds a rise."""

from __future__ import annotations

import random

import pytest

from shared.domain.outlook import MINUTE_S, MINUTES_KEPT, Past, outlook

T0 = 600_000


def past(*use: float | None) -> Past:
    return Past().with_minutes(
        (T0 + i * MINUTE_S, ru) for i, ru in enumerate(use) if ru is not None
    )


def test_of_two_tellings_the_higher_is_believed() -> None:
    """A minute still being added up comes again, larger; a smaller one is a fault."""
    seen = past(10.0, 20.0).with_minutes([(T0, 5.0), (T0 + MINUTE_S, 30.0)])
    assert seen.use == (10.0, 30.0)
    assert seen.with_minutes([(T0, 10.0)]) is seen


def test_gaps_stay_unknown_and_the_day_moves_on() -> None:
    """Never more than a day, and a gap is no zero."""
    seen = past(1.0, None, 3.0)
    assert seen.use == (1.0, None, 3.0)
    assert seen.at(T0 + MINUTE_S) is None
    later = seen.with_minutes([(T0 + MINUTES_KEPT * MINUTE_S, 9.0)])
    assert len(later.use) == MINUTES_KEPT
    assert later.at(T0) is None
    assert later.at(T0 + 2 * MINUTE_S) == 3.0
    assert later.newest_s() == T0 + MINUTES_KEPT * MINUTE_S
    assert past(5.0).with_minutes([(T0 + 10**9, 7.0)]).at(T0) is None


def test_minutes_may_arrive_in_any_order() -> None:
    """One by one in any order, or kept and read again: the same past."""
    chance = random.Random(7)
    minutes = [(T0 + i * MINUTE_S, 100.0 + 13 * (i % 9)) for i in range(200) if i % 17]
    whole = Past().with_minutes(minutes)
    chance.shuffle(minutes)
    one_by_one = Past()
    for each in minutes:
        one_by_one = one_by_one.with_minutes([each])
    assert one_by_one == whole
    assert Past.of(whole.first_s, whole.use) == whole


def test_noise_is_taken_off_the_level_and_a_jump_is_not() -> None:
    """The mean of like minutes; a leap is believed at once."""
    seen = past(100.0, 104.0, 96.0, 100.0, 300.0)
    assert seen.level[3] == pytest.approx(100.0)
    assert seen.level[4] == 300.0
    assert seen.spread[3:] == (8.0, 204.0)


def test_a_clock_set_back_drops_minutes_that_have_not_ended() -> None:
    """They were read in a future that did not come."""
    seen = past(1.0, 2.0, 3.0)
    assert seen.until(T0 + 2 * MINUTE_S) == past(1.0, 2.0)
    assert seen.until(T0 + 3 * MINUTE_S) is seen
    assert seen.until(0.0).newest_s() is None


def test_the_risk_is_the_share_of_alike_moments_that_rose() -> None:
    """Each hundredth minute it leapt: two minutes later that is about one in a hundred."""
    seen = past(*[900.0 if i % 100 == 50 else 100.0 for i in range(1_440)])
    ahead = outlook(seen, after=2, capacity_ru_per_s=1_000.0)
    assert ahead.level == 100.0
    assert ahead.risk_above(100.0) == pytest.approx(0.01, abs=0.006)
    assert ahead.risk_above(900.0) < 0.001


def test_moments_unlike_this_one_tell_nothing_about_it() -> None:
    """A wild night is no reason to distrust a calm day, nor a calm day a wild night."""
    wild = [800.0 if i % 2 else 100.0 for i in range(600)]
    calm = [300.0] * 600
    after_calm = outlook(past(*wild, *calm), after=2, capacity_ru_per_s=1_000.0)
    after_wild = outlook(past(*calm, *wild), after=2, capacity_ru_per_s=1_000.0)
    assert after_calm.risk_above(310.0) < 0.02
    assert after_wild.risk_above(700.0) > 0.9


def test_doubt_fades_with_every_quiet_minute() -> None:
    """One minute of history leaves much doubt, a day hardly any."""
    risks = [
        outlook(past(*[100.0] * n), after=2, capacity_ru_per_s=1_000.0).risk_above(120)
        for n in (1, 10, 100, 1_000)
    ]
    assert risks == sorted(risks, reverse=True)
    assert risks[0] > 0.5
    assert risks[-1] < 0.005


def test_a_raised_outlook_rises_from_the_higher_level() -> None:
    """Who is known to stand at 700 may leap from there."""
    seen = past(*[200.0 if i % 10 == 5 else 100.0 for i in range(500)])
    ahead = outlook(seen, after=2, capacity_ru_per_s=1_000.0)
    raised = ahead.raised_to(700.0)
    assert raised.risk_above(800.0) == pytest.approx(ahead.risk_above(200.0))
    assert ahead.raised_to(50.0) == ahead
