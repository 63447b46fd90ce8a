"""The hours of the week: where they begin, and what is known of each."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.domain.profile import HOUR_S, HOURS, HourUse, Profile, hour_of_week

MONDAY_S = dt.datetime(2026, 11, 16, tzinfo=dt.UTC).timestamp()
BUSY = HourUse(typical_ru_per_s=400.0, high_ru_per_s=900.0)


@pytest.mark.parametrize(
    ("since_monday_s", "hour"),
    [(0, 0), (HOUR_S - 1, 0), (HOUR_S - 0.001, 0), (HOUR_S, 1), (24 * HOUR_S, 24),
     (6 * 24 * HOUR_S, 144), (HOURS * HOUR_S - 1, 167), (HOURS * HOUR_S, 0),
     (-1, 167), (-0.001, 167)],
)  # fmt: skip
def test_an_hour_lasts_from_its_first_second_to_its_last(since_monday_s: float, hour: int) -> None:
    """Monday's first is 0, Sunday's last 167, and the week goes round."""
    assert hour_of_week(MONDAY_S + since_monday_s) == hour


def test_the_hours_agree_with_the_calendar() -> None:
    """Through two years of hours, a leap day among them."""
    start = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    for hours in range(0, 2 * 366 * 24, 7):
        at = start + dt.timedelta(hours=hours)
        assert hour_of_week(at.timestamp()) == at.weekday() * 24 + at.hour


def test_an_hour_never_seen_is_unknown() -> None:
    """It is not an hour without use."""
    profile = Profile(hours={167: BUSY})
    assert profile.at(MONDAY_S - 1) == BUSY
    assert profile.at(MONDAY_S) is None
