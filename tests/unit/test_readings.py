"""Which of Monitor's minutes are believed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.heat import RangeUse, business_shares, largest_shares
from shared.domain.readings import IDLE_MINUTES, Reading, believed

NOW_S = 600_000.0


def minute(ago: int, total: float = 600.0, own: float = 0.0) -> Reading:
    """A minute that ended so many minutes ago."""
    return Reading(minute_s=int(NOW_S) - 60 * (ago + 1), total_ru=total, own_ru=own)


def test_minutes_come_out_once_and_oldest_first() -> None:
    """The one with more business of two, in whatever order they came."""
    told = (minute(1), minute(3), minute(1, 900.0), minute(2))
    assert believed(told, NOW_S) == (minute(3), minute(2), minute(1, 900.0))


def test_of_equal_business_the_one_with_429s_counts() -> None:
    """The telling that asks for more caution."""
    worse = replace(minute(1), requests=10, throttled=5)
    assert believed((worse, minute(1)), NOW_S) == (worse,)
    assert believed((minute(1), worse), NOW_S) == (worse,)


@pytest.mark.parametrize(
    "odd",
    [
        minute(-1),
        minute(1, float("nan")),
        minute(1, float("inf")),
        minute(1, 600.0, float("nan")),
        minute(1, 890.0, 1_000.0),
        minute(1, -1.0, 0.0),
    ],
    ids=["not ended", "no number", "endless", "own unknown", "not added up", "negative"],
)
def test_what_cannot_be_is_left_out(odd: Reading) -> None:
    """It is as if Monitor had said nothing about that minute."""
    assert believed((odd, minute(2)), NOW_S) == (minute(2),)


def test_meters_may_disagree_a_little() -> None:
    """Nine tenths of what we spent ourselves is near enough, and means no business."""
    (kept,) = believed((minute(1, 900.0, 1_000.0),), NOW_S)
    assert kept.business_ru_per_s == 0.0


def test_zeros_are_believed_only_in_a_row() -> None:
    """An idle business is quiet for minutes; a metric that failed is so at once."""
    few = tuple(minute(ago, 0.0) for ago in range(IDLE_MINUTES - 1))
    assert believed((*few, minute(9)), NOW_S) == (minute(9),)
    row = tuple(minute(ago, 0.0) for ago in range(IDLE_MINUTES))
    assert len(believed(row, NOW_S)) == IDLE_MINUTES
    broken = (*row[:2], minute(2), *row[3:])
    assert believed(broken, NOW_S) == (minute(2),)


def test_business_is_shared_by_heat_less_our_own_part() -> None:
    """What we read from a range ourselves does not make it hot."""
    ranges = {"a": RangeUse(heat=0.75, own_ru=500.0), "b": RangeUse(heat=0.25)}
    assert business_shares(1_000.0, ranges) == {"a": 0.5, "b": 0.5}
    assert business_shares(1_000.0, {}) == {}
    assert business_shares(1_000.0, {"a": RangeUse(heat=0.0)}) == {}
    assert business_shares(100.0, {"a": RangeUse(heat=1.0, own_ru=200.0)}) == {}


def test_the_largest_share_of_the_last_minutes_counts() -> None:
    """Heat is believed at once and forgotten after five minutes; the unknown is even."""
    lately = [{"a": 0.9, "b": 0.1}, *[{"a": 0.2, "b": 0.8}] * 5]
    assert largest_shares(("a", "b"), lately, {}) == {"a": 0.2, "b": 0.8}
    assert largest_shares(("a", "b"), lately[:5], {}) == {"a": 0.9, "b": 0.8}
    assert largest_shares(("a", "b"), [{}], {"a": 0.7}) == {"a": 0.7, "b": 0.5}
