"""Forecasts: what the law would have granted, how long the work takes, when nobody can tell."""

from __future__ import annotations

from math import inf, pi, sin

import pytest

from shared.domain.forecast import (
    END_S,
    NO_SLACK_H,
    SLOWER_MAX,
    SLOWER_MIN,
    START_S,
    USED_SHARE,
    Basis,
    Forecast,
    Granted,
    by_runs_s,
    expected,
    forecast,
    from_habits,
    grown_s,
    guessed,
    hours_of_week,
    rehearsed,
    remaining_s,
    usual_day,
    whole_s,
)
from shared.domain.profile import HOUR_S, HourUse, Profile, hour_of_week

MONDAY_S = 1_746_403_200  # 2025-05-05T00:00:00Z
CAPACITY = 1_000.0
OVERHEAD_S = START_S + END_S


def granted(*ru_per_s: float | None, until_s: float = MONDAY_S) -> Granted:
    return Granted(basis=Basis.REHEARSED, until_s=until_s, ru_per_s=ru_per_s)


def told(known: Granted, ru: float) -> tuple[float, float]:
    found = forecast(known, ru, now_s=known.until_s)
    assert found.p50_s is not None, found.why_not
    assert found.p90_s is not None
    return found.p50_s - OVERHEAD_S, found.p90_s - OVERHEAD_S


def day(*, by_night: float, by_day: float) -> list[float]:
    return [by_day if 8 <= hour < 20 else by_night for hour in range(24)]


def test_steady_slack_is_divided_into_the_work() -> None:
    """A thousand seconds' worth takes a thousand seconds, and P90 a quarter more."""
    p50, p90 = told(granted(*[200.0] * 72), 200_000.0)
    assert p50 == pytest.approx(1_000.0)
    assert p90 == pytest.approx(SLOWER_MIN * 1_000.0)


def test_the_hour_of_the_day_decides_how_soon_it_ends() -> None:
    """Six hours of the night's slack, begun at midnight, are done by night."""
    known = granted(*day(by_night=300.0, by_day=10.0) * 7)
    begun_at_midnight, _ = told(known, 300.0 * 6 * HOUR_S)
    assert begun_at_midnight == pytest.approx(6 * HOUR_S, rel=0.1)
    begun_at_noon, _ = told(
        granted(*(day(by_night=300.0, by_day=10.0) * 7)[:-12], until_s=MONDAY_S - 12 * HOUR_S),
        300.0 * 6 * HOUR_S,
    )
    assert begun_at_noon > 12 * HOUR_S


def test_what_happened_lately_counts_more_than_last_week() -> None:
    """A level that has shifted stays where it went; a mean over all days would be half as fast."""
    p50, _ = told(granted(*[100.0] * 120, *[400.0] * 96), 400.0 * 10 * HOUR_S)
    assert p50 == pytest.approx(10 * HOUR_S, rel=0.15)


def test_recent_days_count_most_in_what_is_usual() -> None:
    """Two days of 400 after five of 100 are more than half of it."""
    assert min(usual_day(granted(*[100.0] * 120, *[400.0] * 48))) > 250.0


def test_an_unusual_hour_is_expected_to_pass() -> None:
    """Half the usual for six hours: next hour too, and hardly any of it in four days."""
    coming = expected(granted(*[200.0] * 162, *[100.0] * 6), MONDAY_S)
    assert coming[0] < 120.0
    assert 170.0 < coming[96] < 200.0


def test_an_unsteady_past_widens_the_range() -> None:
    """Days that gave a third make the upper end about three times as late."""
    days = [[300.0] * 24, [100.0] * 24] * 4
    ru = 200.0 * 6 * HOUR_S
    p50, p90 = told(granted(*(each for one in days for each in one)), ru)
    calm50, calm90 = told(granted(*[200.0] * 192), ru)
    assert calm90 / calm50 == pytest.approx(SLOWER_MIN)
    assert p90 / p50 > 1.5


def test_no_slack_now_where_there_used_to_be_gives_no_numbers() -> None:
    """Nobody can say when a business that never did this before will stop."""
    found = forecast(granted(*[200.0] * 90, *[0.0] * NO_SLACK_H), 1e6, now_s=MONDAY_S)
    assert (found.p50_s, found.p90_s) == (None, None)
    assert "next to no slack" in found.why_not
    busy_days = granted(*day(by_night=300.0, by_day=0.0) * 7, until_s=MONDAY_S)
    at_noon = Granted(basis=Basis.REHEARSED, until_s=MONDAY_S, ru_per_s=busy_days.ru_per_s[:-10])
    assert forecast(at_noon, 1e6, now_s=MONDAY_S).p50_s is not None


def test_too_short_a_past_gives_no_numbers() -> None:
    """Each hour of the day is to be known twice."""
    found = forecast(granted(*[200.0] * 47), 1e6, now_s=MONDAY_S)
    assert found == Forecast(
        basis=Basis.REHEARSED,
        p50_s=None,
        p90_s=None,
        why_not="47 hours of the business are known, 48 needed",
    )
    assert forecast(granted(*[200.0] * 48), 1e6, now_s=MONDAY_S).p50_s is not None
    assert forecast(granted(*[200.0] * 40, *[None] * 40), 1e6, now_s=MONDAY_S).p50_s is None


def test_a_business_that_leaves_nothing_gives_no_numbers() -> None:
    """Not even a very late end."""
    found = forecast(granted(*[0.0] * 100), 1e6, now_s=MONDAY_S)
    assert found.p50_s is None
    assert "no slack in any hour" in found.why_not


def test_hours_of_which_nothing_is_known_count_as_nothing_seen() -> None:
    """A gap in the metric is no hour without slack."""
    whole, _ = told(granted(*[200.0] * 96), 1e6)
    gaps, _ = told(granted(*[200.0, None] * 48), 1e6)
    assert gaps == pytest.approx(whole)


def test_a_past_that_ended_earlier_is_followed_to_the_hour_of_now() -> None:
    """History before Ebb came may have ended half a day ago."""
    known = granted(*day(by_night=300.0, by_day=10.0) * 7)
    at_midnight = forecast(known, 300.0 * 2 * HOUR_S, now_s=MONDAY_S)
    at_nine = forecast(known, 300.0 * 2 * HOUR_S, now_s=MONDAY_S + 9 * HOUR_S)
    assert at_midnight.p50_s is not None
    assert at_nine.p50_s is not None
    assert at_midnight.p50_s < 3 * HOUR_S
    assert at_nine.p50_s > 10 * HOUR_S


def test_a_rehearsal_of_a_calm_business_finds_nearly_all_of_its_slack() -> None:
    """The law itself, over its minutes; the first hours are for growing and for doubt."""
    found = rehearsed([500.0] * (60 * 6), first_s=MONDAY_S, capacity_ru_per_s=CAPACITY, ceiling=0.8)
    assert found.until_s == MONDAY_S + 6 * HOUR_S
    assert len(found.ru_per_s) == 6
    last = found.ru_per_s[-1]
    assert last is not None
    assert 0.75 * 300.0 < last <= 300.0


def test_a_rehearsal_never_grants_beyond_the_ceiling_and_less_to_a_volatile_business() -> None:
    """The margin that the law leaves is in the forecast, not the mean slack."""
    restless = [500.0 + 250.0 * sin(index * pi / 3.7) for index in range(60 * 8)]
    volatile = rehearsed(restless, first_s=MONDAY_S, capacity_ru_per_s=CAPACITY, ceiling=0.8)
    calm = rehearsed([500.0] * 480, first_s=MONDAY_S, capacity_ru_per_s=CAPACITY, ceiling=0.8)
    assert max(each or 0.0 for each in calm.ru_per_s) <= 300.0
    assert (volatile.ru_per_s[-1] or 0.0) < 0.7 * (calm.ru_per_s[-1] or inf)


def test_a_rehearsal_holds_while_the_business_is_above_the_ceiling() -> None:
    """An hour without slack is an hour without grant."""
    use = [500.0] * 180 + [900.0] * 60
    found = rehearsed(use, first_s=MONDAY_S, capacity_ru_per_s=CAPACITY, ceiling=0.8)
    assert (found.ru_per_s[-2] or 0.0) > 200.0
    assert found.ru_per_s[-1] == 0.0  # beyond the capacity at once: a 429, and then the reading


def test_a_rehearsal_begins_and_ends_with_whole_hours_it_knows() -> None:
    """Half an hour at either end is left out, and an hour with a long gap tells nothing."""
    use: list[float | None] = [500.0] * (30 + 180 + 20)
    use[30 + 60 : 30 + 95] = [None] * 35
    found = rehearsed(use, first_s=MONDAY_S - 30 * 60, capacity_ru_per_s=CAPACITY, ceiling=0.8)
    assert found.until_s == MONDAY_S + 3 * HOUR_S
    assert [each is None for each in found.ru_per_s] == [False, True, False]


def test_habits_leave_a_margin_below_each_hours_highest_minute() -> None:
    """Three tenths of the way up where the law is at its usual, eight tenths where it is wary."""
    calm = HourUse(typical_ru_per_s=400.0, high_ru_per_s=400.0)
    busy = HourUse(typical_ru_per_s=400.0, high_ru_per_s=600.0)
    hours = {hour: busy if hour < 24 else calm for hour in range(168)}
    found = from_habits(
        Profile(hours=hours), now_s=MONDAY_S + 99.0, capacity_ru_per_s=CAPACITY, ceiling=0.8
    )
    assert found.until_s == MONDAY_S
    assert found.ru_per_s[0] == pytest.approx(800 - 400 - 0.3 * 200)
    assert found.wary_ru_per_s[0] == pytest.approx(800 - 400 - 0.8 * 200)
    assert found.ru_per_s[24] == found.wary_ru_per_s[24] == 400.0


def test_habits_alone_make_the_upper_end_three_times_as_late() -> None:
    """However calm they look: hours of the week hide how they came about."""
    calm = HourUse(typical_ru_per_s=400.0, high_ru_per_s=400.0)
    known = from_habits(
        Profile(hours=dict.fromkeys(range(168), calm)),
        now_s=MONDAY_S,
        capacity_ru_per_s=CAPACITY,
        ceiling=0.8,
    )
    p50, p90 = told(known, 400.0 * HOUR_S)
    assert p90 == pytest.approx(3 * p50)


def test_habits_that_tell_some_hours_only_leave_the_others_unknown() -> None:
    """A log that began yesterday."""
    use = HourUse(typical_ru_per_s=900.0, high_ru_per_s=900.0)
    found = from_habits(
        Profile(hours={3: use}), now_s=MONDAY_S, capacity_ru_per_s=CAPACITY, ceiling=0.8
    )
    assert [index for index, ru in enumerate(found.ru_per_s) if ru is not None] == [3]
    assert found.ru_per_s[3] == 0.0


def test_a_guess_says_that_it_is_one_and_is_wide() -> None:
    """Three times as late at the upper end."""
    found = forecast(guessed(now_s=MONDAY_S, ru_per_s=100.0), 100.0 * HOUR_S, now_s=MONDAY_S)
    assert found.basis is Basis.GUESSED
    assert found.p50_s == pytest.approx(OVERHEAD_S + HOUR_S)
    assert found.p90_s == pytest.approx(OVERHEAD_S + 3 * HOUR_S)


def test_the_upper_end_is_bounded_where_the_past_had_nothing_at_times() -> None:
    """Ten times slower at most; without a bound one empty day would make it endless."""
    p50, p90 = told(granted(*[300.0] * 24, *[0.0] * 24, *[300.0] * 24), 300.0 * HOUR_S)
    assert p90 / p50 <= SLOWER_MAX * 1.1


def test_the_hours_of_the_week_are_told_in_utc() -> None:
    """Hour 0 is Monday's first; hours that were not seen are absent."""
    found = hours_of_week(granted(10.0, 20.0, None, 40.0, until_s=MONDAY_S + 2 * HOUR_S))
    assert found == {hour_of_week(MONDAY_S - 2 * HOUR_S): 10.0, 167: 20.0, 1: 40.0}


def test_what_is_left_at_the_present_share_counts_what_staging_costs() -> None:
    """Workers use nine tenths of what they may."""
    assert remaining_s(900.0, 10.0) == pytest.approx(900.0 / (10.0 * USED_SHARE))


def test_the_end_takes_as_long_as_the_beginning_but_not_longer_than_two_ticks() -> None:
    """Both are ticks; a start that waited for hours is no reason to end for hours."""
    assert whole_s(100.0, begun_s=20.0) == pytest.approx(20 + 100 + 20)
    assert whole_s(100.0, begun_s=5_000.0) == pytest.approx(5_000 + 100 + END_S)


@pytest.mark.parametrize(
    ("ru", "to_ru_per_s", "seconds"),
    [
        (10 * 25.0, 30.0, 25.0),
        (10 * 30.0 + 20 * 15.0, 20.0, 45.0),
        (10 * 30.0 + 20 * 60.0 + 25 * 100.0, 25.0, 190.0),
        (10 * 50.0, 10.0, 50.0),
        (10 * 50.0, 0.0, 50.0),
    ],
)
def test_a_share_that_still_grows_is_counted_with_its_growth(
    ru: float, to_ru_per_s: float, seconds: float
) -> None:
    """Half a minute as it is, then a step for each minute, and never beyond its end."""
    told_s = grown_s(USED_SHARE * ru, 10.0, step_ru_per_s=10.0, to_ru_per_s=to_ru_per_s)
    assert told_s == pytest.approx(seconds)


def test_a_step_of_nothing_never_ends_in_a_loop() -> None:
    """Then the share stays as it is."""
    assert grown_s(USED_SHARE * 900.0, 10.0, step_ru_per_s=0.0, to_ru_per_s=20.0) == 90.0


def test_runs_are_foretold_by_their_own_pace() -> None:
    """Orders went out 20 s apart, the second one's proof took 50 s, and three are to come."""
    orders = [100.0, 140.0, 120.0, 160.0]
    told_s = by_runs_s(orders, proven_of_them=2, runs_left=3.0, now_s=170.0)
    assert told_s == pytest.approx(160 + 3 * 20 + 50)


@pytest.mark.parametrize(("orders", "proven"), [([], 0), ([100.0], 1), ([100.0, 120.0], 0)])
def test_too_few_runs_tell_no_pace(orders: list[float], proven: int) -> None:
    """A first, a last, and one that was proven are needed."""
    assert by_runs_s(orders, proven_of_them=proven, runs_left=3.0, now_s=170.0) is None
