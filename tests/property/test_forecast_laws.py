"""What holds for every forecast, whatever the past was."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.domain.forecast import (
    END_S,
    HOURS_MIN,
    SLOWER_MIN,
    START_S,
    Basis,
    Granted,
    expected,
    forecast,
    usual_day,
)
from shared.domain.prices import Prices
from shared.domain.savings import Stock, outcomes

NOW_S = 1_800_000_000.0
RATES = st.one_of(st.none(), st.floats(0.0, 10_000.0), st.sampled_from((0.0, 1e-9, 5_000.0)))
PASTS = st.lists(RATES, min_size=HOURS_MIN, max_size=200).map(
    lambda rates: Granted(basis=Basis.REHEARSED, until_s=NOW_S, ru_per_s=tuple(rates))
)
SIZES = st.floats(1.0, 1e9)


@settings(max_examples=60, deadline=None)
@given(PASTS, SIZES)
def test_the_upper_end_is_never_before_the_lower(past: Granted, ru: float) -> None:
    """Nor nearer than a quarter of the work; both are later than beginning and end alone."""
    found = forecast(past, ru, now_s=NOW_S)
    assume(found.p50_s is not None)
    assert found.p50_s is not None
    assert found.p50_s >= START_S + END_S
    if found.p90_s is not None:
        work_s, late_s = found.p50_s - START_S - END_S, found.p90_s - START_S - END_S
        assert late_s >= SLOWER_MIN * work_s * (1 - 1e-9)


@settings(max_examples=60, deadline=None)
@given(PASTS, SIZES, st.floats(1.0, 10.0))
def test_more_work_never_ends_sooner(past: Granted, ru: float, times: float) -> None:
    """In the middle of the range."""
    less, more = (forecast(past, each, now_s=NOW_S) for each in (ru, ru * times))
    assume(less.p50_s is not None and more.p50_s is not None)
    assert less.p50_s is not None
    assert more.p50_s is not None
    assert more.p50_s >= less.p50_s * (1 - 1e-9)


@settings(max_examples=60, deadline=None)
@given(PASTS)
def test_nothing_is_expected_beyond_what_was_ever_granted(past: Granted) -> None:
    """An hour's usual is a mean, and the last hours move it by no more than the range seen."""
    known = [each for each in past.ru_per_s if each is not None]
    assume(known)
    low, high = min(known), max(known)
    missing = any(each is None for each in past.ru_per_s)
    for each in usual_day(past):
        assert each <= high * (1 + 1e-9)
        assert missing or each >= low * (1 - 1e-9)
    for each in expected(past, NOW_S):
        assert 0.0 <= each <= 2 * high * (1 + 1e-9)


@settings(max_examples=60, deadline=None)
@given(PASTS, SIZES)
def test_a_forecast_gives_numbers_or_a_reason(past: Granted, ru: float) -> None:
    """Never both, never neither."""
    found = forecast(past, ru, now_s=NOW_S)
    assert (found.p50_s is None) == bool(found.why_not)
    assert found.p50_s is not None or found.p90_s is None


@given(st.floats(0, 1e15), st.floats(0, 1e15), st.integers(0, 10**6), st.floats(0, 1e6))
def test_a_tier_that_pays_back_saves_something(
    source_bytes: float, blob_bytes: float, blobs: int, spent: float
) -> None:
    """And after so many months the savings are what was spent."""
    stock = Stock(
        documents=blobs,
        source_bytes=source_bytes,
        blob_bytes=blob_bytes,
        blobs=blobs,
        span_bytes=blob_bytes,
    )
    for outcome in outcomes(Prices(), stock, spent=spent, request_units_are_paid=False):
        for each in outcome.savings:
            assert (each.break_even_months is None) == (each.saved_per_month <= 0)
            if each.break_even_months is not None:
                whole = spent + outcome.money[1]
                assert each.break_even_months * each.saved_per_month >= whole * (1 - 1e-9)
