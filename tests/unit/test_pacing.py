"""The debt bucket, second by second, with numbers verified by hand."""

from __future__ import annotations

import pytest

from shared.domain.pacing import BURST_S, COOL_DOWN_S, RECOVERY_S, DebtBucket


def a_bucket(rate_ru_per_s: float = 100.0) -> DebtBucket:
    return DebtBucket(now_s=0.0, rate_ru_per_s=rate_ru_per_s)


def test_a_fresh_bucket_starts_at_once_and_with_nothing_saved() -> None:
    """The first operation is free to start; its price is then waited for."""
    bucket = a_bucket()
    assert bucket.wait_s(now_s=0.0) == 0.0
    bucket.charge(30.0, now_s=0.0)
    assert bucket.wait_s(now_s=0.0) == pytest.approx(0.3)


def test_a_bucket_without_a_rate_waits_for_ever() -> None:
    """Nothing is spent before the board was read."""
    assert DebtBucket(now_s=0.0).wait_s(now_s=1e9) == float("inf")
    assert a_bucket(-5.0).wait_s(now_s=0.0) == float("inf")


def test_a_negative_rate_counts_as_none() -> None:
    """A budget below zero must not turn debts into savings."""
    bucket = a_bucket()
    bucket.set_rate(-100.0, now_s=0.0)
    bucket.charge(1.0, now_s=0.0)
    assert bucket.rate_ru_per_s(now_s=50.0) == 0.0
    assert bucket.wait_s(now_s=50.0) == float("inf")


def test_an_operation_dearer_than_a_second_is_paid_off_before_the_next() -> None:
    """A thousand units at a hundred a second are ten seconds of silence."""
    bucket = a_bucket()
    bucket.charge(1_000.0, now_s=0.0)
    assert bucket.wait_s(now_s=0.0) == pytest.approx(10.0)
    assert bucket.wait_s(now_s=9.5) == pytest.approx(0.5)
    assert bucket.wait_s(now_s=10.0) == 0.0


def test_idle_time_is_saved_for_half_a_second_only() -> None:
    """An hour of idleness is no licence for a spike."""
    bucket = a_bucket()
    bucket.charge(100.0 * BURST_S, now_s=3_600.0)
    assert bucket.wait_s(now_s=3_600.0) == 0.0
    bucket.charge(10.0, now_s=3_600.0)
    assert bucket.wait_s(now_s=3_600.0) == pytest.approx(0.1)


def test_a_lower_rate_takes_effect_at_once() -> None:
    """What was saved at the old rate is cut to the new one's half second."""
    bucket = a_bucket(1_000.0)
    bucket.set_rate(10.0, now_s=60.0)
    assert bucket.rate_ru_per_s(now_s=60.0) == 10.0
    bucket.charge(15.0, now_s=60.0)
    assert bucket.wait_s(now_s=60.0) == pytest.approx(1.0)


def test_a_debt_is_paid_off_at_the_rate_now_in_force() -> None:
    """Lowering the rate lengthens the wait."""
    bucket = a_bucket()
    bucket.charge(100.0, now_s=0.0)
    bucket.set_rate(10.0, now_s=0.0)
    assert bucket.wait_s(now_s=0.0) == pytest.approx(10.0)


def test_a_higher_rate_does_not_fill_what_was_not_saved() -> None:
    """The seconds before the change count at the old rate."""
    bucket = a_bucket(10.0)
    bucket.set_rate(1_000.0, now_s=60.0)
    bucket.charge(6.0, now_s=60.0)
    assert bucket.wait_s(now_s=60.0) == pytest.approx(0.001)


def test_a_throttle_holds_then_halves_then_recovers() -> None:
    """Ten seconds of nothing, then from half back to the whole in thirty."""
    bucket = a_bucket()
    bucket.throttled(now_s=0.0, retry_after_s=0.1)
    assert bucket.rate_ru_per_s(now_s=COOL_DOWN_S - 0.01) == 0.0
    assert bucket.wait_s(now_s=4.0) == pytest.approx(COOL_DOWN_S - 4.0)
    assert bucket.rate_ru_per_s(now_s=COOL_DOWN_S) == 50.0
    assert bucket.rate_ru_per_s(now_s=COOL_DOWN_S + RECOVERY_S / 2) == 75.0
    assert bucket.rate_ru_per_s(now_s=COOL_DOWN_S + RECOVERY_S) == 100.0
    assert bucket.rate_ru_per_s(now_s=1e6) == 100.0


def test_a_longer_retry_after_is_respected() -> None:
    """The source knows best how long it is full."""
    bucket = a_bucket()
    bucket.throttled(now_s=0.0, retry_after_s=25.0)
    assert bucket.wait_s(now_s=0.0) == 25.0
    bucket.throttled(now_s=1.0, retry_after_s=0.0)
    assert bucket.wait_s(now_s=1.0) == 24.0


def test_a_hold_saves_nothing_for_afterwards() -> None:
    """Ten seconds of silence must not be made up for."""
    bucket = a_bucket()
    bucket.throttled(now_s=100.0, retry_after_s=0.0)
    bucket.wait_s(now_s=105.0)
    bucket.charge(0.5, now_s=110.0)
    assert bucket.wait_s(now_s=110.0) == pytest.approx(0.01)


def test_a_throttle_takes_away_what_was_saved() -> None:
    """The source is full now, whatever was allowed before."""
    bucket = a_bucket()
    bucket.throttled(now_s=100.0, retry_after_s=0.0)
    bucket.charge(5.0, now_s=110.0)
    assert bucket.wait_s(now_s=110.0) == pytest.approx(0.1)


def test_a_clock_stepping_back_pays_no_second_twice() -> None:
    """The second between 9 and 10 passes twice and counts once."""
    bucket = a_bucket()
    bucket.charge(200.0, now_s=10.0)
    debt_s = bucket.wait_s(now_s=10.0)
    assert bucket.wait_s(now_s=9.0) == debt_s
    assert bucket.wait_s(now_s=10.0) == debt_s
