"""What each way of retiring costs once, saves a month, and asks for a look-up afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.prices import Prices, parse_prices
from shared.domain.savings import POINTER_BYTES, STUB_BYTES, Outcome, Stock, Way, outcomes

SEED = Stock(
    documents=2_000_000,
    source_bytes=600e9,
    blob_bytes=240e9,
    blobs=2_236,
    span_bytes=3.2e6,
)
COPYING = 15.0


def seen(
    way: Way, stock: Stock = SEED, *, bought: bool = False, prices: Prices | None = None
) -> Outcome:
    found = outcomes(prices or Prices(), stock, spent=COPYING, request_units_are_paid=bought)
    return {each.way: each for each in found}[way]


def test_keeping_everything_saves_nothing_and_never_pays() -> None:
    """The archive costs what it costs, beside a source that is as large as before."""
    found = seen(Way.KEEP)
    assert found.ru == (0.0, 0.0)
    assert [each.saved_per_month for each in found.savings] == pytest.approx(
        [-240 * 0.0208, -240 * 0.0115, -240 * 0.0045]
    )
    assert all(each.break_even_months is None for each in found.savings)


def test_deleting_the_seeds_stock_is_reckoned_as_by_hand() -> None:
    """600 GB at 0.25 less the archive and the index; 282 to 564 million RU to get there."""
    found = seen(Way.DELETE)
    each_ru = 5 + 299 * 45 / 99
    assert found.ru == pytest.approx((2e6 * each_ru, 4e6 * each_ru))
    assert found.money[1] == pytest.approx(4e6 * each_ru / 1e6 * 0.25 + 200 * 0.00036)
    index = 2e6 * POINTER_BYTES / 1e9 * 0.045
    cool = found.savings[1]
    assert cool.saved_per_month == pytest.approx(150 - index - 240 * 0.0115)
    spent = COPYING + found.money[1] + 2_236 / 10_000 * 0.10
    assert cool.break_even_months == pytest.approx(spent / cool.saved_per_month)


def test_stubs_stay_in_the_source_and_need_no_index() -> None:
    """They save a little less, and a stub is never larger than what it stands for."""
    found = seen(Way.STUB)
    assert found.stays_bytes == 2e6 * STUB_BYTES
    assert found.index_bytes == 0.0
    delete = seen(Way.DELETE)
    assert found.ru == delete.ru
    assert 0 < delete.savings[0].saved_per_month - found.savings[0].saved_per_month < 1.0
    tiny = replace(SEED, source_bytes=2e6 * 100.0)
    assert seen(Way.STUB, tiny).stays_bytes == tiny.source_bytes


def test_bought_throughput_leaves_only_the_index_to_pay() -> None:
    """The slack is paid for already; what is written to Table Storage is not."""
    assert seen(Way.DELETE, bought=True).money == pytest.approx((0.072, 0.072))
    assert seen(Way.STUB, bought=True).money == (0.0, 0.0)


def test_look_ups_cost_more_in_colder_tiers() -> None:
    """One index read, one blob read, and so many bytes retrieved."""
    hot, cool, cold = (each.look_ups_10k for each in seen(Way.DELETE).savings)
    assert hot == pytest.approx(0.00036 + 0.0044)
    assert cool == pytest.approx(0.00036 + 0.01 + 32 * 0.01)
    assert hot < cool < cold


def test_a_tier_dearer_than_the_source_never_pays() -> None:
    """Where somebody's price list says so."""
    prices = parse_prices('{"source_gb_month": 0.001}')
    hot, *_ = seen(Way.DELETE, prices=prices).savings
    assert hot.saved_per_month < 0
    assert hot.break_even_months is None


def test_nothing_cold_costs_and_saves_nothing() -> None:
    """No division by nothing either."""
    empty = Stock(documents=0, source_bytes=0.0, blob_bytes=0.0, blobs=0, span_bytes=0.0)
    for way in Way:
        found = seen(way, empty)
        assert (found.ru, found.money) == ((0.0, 0.0), (0.0, 0.0))
        assert found.savings[0].saved_per_month == 0.0
