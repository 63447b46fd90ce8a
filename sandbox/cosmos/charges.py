"""Decides what an operation costs, from its kind and its size; it measures and keeps nothing."""

from dataclasses import dataclass

KILOBYTE = 1024
_REFERENCE_KB = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """The prices of an account; the documented ones by default.

    Microsoft documents 1 RU for a point read of 1 KB and 10 RU for 100 KB, writes five times that
    without indexing. A straight line through them gives about 30 RU for 300 KB; `ru_per_300_kb`
    bends the line for accounts that measured otherwise.
    """

    ru_per_300_kb: float = 30.0
    write_factor: float = 5.0
    query_base_ru: float = 2.3
    query_item_ru: float = 0.03
    aggregate_base_ru: float = 2.8
    # Index-only work; real accounts show tenths of an RU for thousands of entries.
    aggregate_ru_per_1000: float = 0.5
    failed_ru: float = 1.0

    @property
    def read_ru_per_kb(self) -> float:
        """The slope of the line above 1 RU for the first kilobyte."""
        return (self.ru_per_300_kb - 1.0) / (_REFERENCE_KB - 1)


def point_read_ru(tariff: Tariff, size_bytes: int) -> float:
    """Price a read by id and partition key."""
    return _rounded(_read_ru(tariff, size_bytes))


def write_ru(tariff: Tariff, size_bytes: int) -> float:
    """Price a create, replace, upsert, patch or delete of a document of that size."""
    return _rounded(tariff.write_factor * _read_ru(tariff, size_bytes))


def query_page_ru(tariff: Tariff, *, items: int, loaded_bytes: int) -> float:
    """Price a page by the documents loaded for it, whatever the projection left of them."""
    return _rounded(
        tariff.query_base_ru
        + items * tariff.query_item_ru
        + loaded_bytes / KILOBYTE * tariff.read_ru_per_kb
    )


def aggregate_ru(tariff: Tariff, *, matched: int) -> float:
    """Price an aggregate that the index alone can answer."""
    return _rounded(tariff.aggregate_base_ru + matched / 1000 * tariff.aggregate_ru_per_1000)


def _read_ru(tariff: Tariff, size_bytes: int) -> float:
    return 1.0 + max(0.0, size_bytes / KILOBYTE - 1.0) * tariff.read_ru_per_kb


def _rounded(ru: float) -> float:
    return round(ru, 2)
