"""Prices and what is made of them: savings, break-even, and a list that somebody else wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.domain.prices import Prices, parse_prices, savings
from shared.errors import Invalid

TB = 1e12


def test_a_tier_saves_the_sources_price_less_its_own() -> None:
    """A terabyte at 0.25 a GB against a third of it at a cent."""
    found = {
        each.tier: each
        for each in savings(Prices(), source_bytes=TB, blob_bytes=TB / 2, blobs=20_000, spent=100.0)
    }
    assert list(found) == ["hot", "cool", "cold", "archive"]
    assert found["cool"].saved_per_month == pytest.approx(250.0 - 500 * 0.0115)
    assert found["cool"].break_even_months == pytest.approx((100 + 2 * 0.10) / (250 - 5.75))
    assert found["archive"].days_min == 180


def test_a_tier_that_costs_more_than_the_source_never_pays() -> None:
    """Where somebody's price list says so."""
    prices = parse_prices('{"source_gb_month": 0.001}')
    (hot, *_) = savings(prices, source_bytes=TB, blob_bytes=TB, blobs=1, spent=0.0)
    assert hot.saved_per_month < 0
    assert hot.break_even_months is None


def test_request_units_and_runs_cost_what_the_pages_say() -> None:
    """A quarter of a dollar a million; 0.0163 dollars a slice by Data Factory."""
    prices = Prices()
    assert prices.request_units(60e6) == pytest.approx(15.0)
    assert prices.runs(1_000) == pytest.approx(16.333, abs=0.001)


def test_the_example_is_the_default_list() -> None:
    """Who copies the example changes from what is in force."""
    text = (Path(__file__).parents[2] / "examples" / "prices.json").read_text()
    assert parse_prices(text) == Prices()
    assert set(json.loads(text)) == set(Prices.model_fields)


def test_a_price_list_with_faults_is_refused_with_all_of_them() -> None:
    """A misspelled price must not be the default in secret."""
    with pytest.raises(Invalid) as caught:
        parse_prices('{"source_gb_moth": 1, "diu_hour": -1, "as_of": "yesterday"}')
    assert len(caught.value.faults) == 3
    assert "$.source_gb_moth" in str(caught.value)
    with pytest.raises(Invalid, match="not JSON"):
        parse_prices("as_of: today")
    with pytest.raises(Invalid):
        parse_prices('{"diu_hour": NaN}')
