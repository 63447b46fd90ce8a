"""Prices: what they make of request units and runs, and a list that somebody else wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.domain.prices import Prices, parse_prices
from shared.errors import Invalid


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
