"""Divides one budget over migrations by priority, and says how large a batch each may read.

It decides no pace; the governor does.
"""

from __future__ import annotations

from dataclasses import dataclass

USEFUL_RU_PER_S = 1.0  # less than the cheapest read a second is not worth starting work for
FIRST_BATCH_DOCUMENTS = 32  # before anything is measured: one row group


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One migration's claim on the budget, with what its documents cost as measured."""

    migration: str
    priority: int
    ru_per_document: float
    bytes_per_document: float
    documents_max: int
    bytes_max: int
    budget_s: int
    in_flight_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    migration: str
    ru_per_s: float
    in_flight: int
    batch_documents: int


def divide(budget_ru_per_s: float, demands: tuple[Demand, ...]) -> tuple[Share, ...]:
    """One budget over all migrations with work, in proportion to their priority."""
    weights = sum(demand.priority for demand in demands)
    return tuple(_share(budget_ru_per_s * demand.priority / weights, demand) for demand in demands)


def _share(ru_per_s: float, demand: Demand) -> Share:
    in_flight = demand.in_flight_max if ru_per_s >= USEFUL_RU_PER_S else 0
    return Share(
        migration=demand.migration,
        ru_per_s=ru_per_s,
        in_flight=in_flight,
        batch_documents=batch_documents(ru_per_s / max(1, in_flight), demand),
    )


def batch_documents(ru_per_s: float, demand: Demand) -> int:
    """Documents per slice: what the slice's seconds of budget buy, within its byte limit."""
    if demand.ru_per_document <= 0 or demand.bytes_per_document <= 0:
        return min(FIRST_BATCH_DOCUMENTS, demand.documents_max)
    affordable = ru_per_s * demand.budget_s / demand.ru_per_document
    fitting = demand.bytes_max / demand.bytes_per_document
    return max(1, min(demand.documents_max, int(affordable), int(fitting)))
