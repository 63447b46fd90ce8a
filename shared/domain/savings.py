"""What each way of retiring costs once, saves a month, and asks for a look-up afterwards.

Only what leaves the source saves anything: an archive beside an untouched source costs more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.prices import GB, TEN_THOUSAND, Prices, Tier

WRITE_RU_1_KB = 5.0  # Microsoft's own figures without an index, and a line through them
WRITE_RU_100_KB = 50.0
INDEXED = 2.0  # times as much where properties are indexed: a guess until retiring measures it
KB = 1_000
STUB_BYTES = 900  # keys, pointer and system properties; what the spec keeps comes on top
POINTER_BYTES = 700  # of a document in the look-up index, by Table Storage's own sum


class Way(StrEnum):
    """The values of the spec's `retire`."""

    KEEP = "keep"
    DELETE = "delete"
    STUB = "stub"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What is cold, as it lies in the source and as it will lie in the archive."""

    documents: int
    source_bytes: float
    blob_bytes: float
    blobs: int
    span_bytes: float
    """What one look-up reads: the documents of a row group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What one tier saves each month, and after how many months it has paid for the way there."""

    tier: str
    saved_per_month: float
    break_even_months: float | None
    """None where it never pays."""
    look_ups_10k: float
    """What ten thousand reads of archived documents cost."""
    days_min: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One way of retiring, with everything that it costs and saves."""

    way: Way
    ru: tuple[float, float]
    """From without an index to with a usual one."""
    money: tuple[float, float]
    stays_bytes: float
    """What the source goes on holding."""
    index_bytes: float
    savings: tuple[Saving, ...]


def outcomes(
    prices: Prices, stock: Stock, *, spent: float, request_units_are_paid: bool
) -> tuple[Outcome, ...]:
    """Every way, for a stock whose copying cost `spent`; bought throughput costs nothing more."""
    paid = 0.0 if request_units_are_paid else 1.0
    return tuple(_outcome(prices, stock, way, spent=spent, paid=paid) for way in Way)


def _outcome(prices: Prices, stock: Stock, way: Way, *, spent: float, paid: float) -> Outcome:
    size = stock.source_bytes / stock.documents if stock.documents else 0.0
    low = 0.0 if way is Way.KEEP else stock.documents * write_ru(size)
    pointers = stock.documents if way is Way.DELETE else 0
    written = pointers / TEN_THOUSAND * prices.table_10k
    money = tuple(paid * prices.request_units(ru) + written for ru in (low, low * INDEXED))
    stays = {
        Way.KEEP: stock.source_bytes,
        Way.DELETE: 0.0,
        Way.STUB: min(stock.source_bytes, float(stock.documents * STUB_BYTES)),
    }[way]
    index_bytes = float(pointers * POINTER_BYTES)
    return Outcome(
        way=way,
        ru=(low, low * INDEXED),
        money=(money[0], money[1]),
        stays_bytes=stays,
        index_bytes=index_bytes,
        savings=tuple(
            _saving(
                prices,
                stock,
                name,
                saved=(stock.source_bytes - stays) / GB * prices.source_gb_month
                - index_bytes / GB * prices.table_gb_month,
                once=spent + money[1],
            )
            for name in prices.tiers
        ),
    )


def _saving(prices: Prices, stock: Stock, name: str, *, saved: float, once: float) -> Saving:
    tier = prices.tiers[name]
    left = saved - stock.blob_bytes / GB * tier.gb_month
    whole = once + stock.blobs / TEN_THOUSAND * tier.write_10k
    return Saving(
        tier=name,
        saved_per_month=left,
        break_even_months=whole / left if left > 0 else None,
        look_ups_10k=_look_ups_10k(prices, stock, tier),
        days_min=tier.days_min,
    )


def _look_ups_10k(prices: Prices, stock: Stock, tier: Tier) -> float:
    retrieved = TEN_THOUSAND * stock.span_bytes / GB * tier.retrieved_gb
    return prices.table_10k + tier.read_10k + retrieved


def write_ru(size: float) -> float:
    """A delete or a replacement is charged as the write of the document that stood there."""
    slope = (WRITE_RU_100_KB - WRITE_RU_1_KB) / 99
    return WRITE_RU_1_KB + slope * max(0.0, size / KB - 1)
