"""What a trial may spend at most, and what it has spent: it ends a trial, it paces nothing."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from azure.core.pipeline.transport import RequestsTransport

from shared.adapters.cosmos_errors import CHARGE
from shared.errors import Refused

RU_MAX = 1_500_000.0
"""At most: five times what the checks are expected to charge on a real account."""
STORAGE_CALLS_MAX = 5_000
COST_MAX_USD = 2.0
# List prices of the dearest public regions, rounded up: a bound, not an estimate.
USD_PER_MILLION_RU = 0.60
USD_PER_100_RU_S_HOUR = 0.020
USD_PER_10K_STORAGE_CALLS = 0.20
USD_FOR_STORED_BYTES = 0.01  # a few MB for an hour; Cosmos DB bills at least 1 GB for it
RU_PER_S_OF_A_CONTAINER = 400  # Cosmos DB's smallest
MINUTE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The most that a trial can cost, in parts."""

    request_units_usd: float
    throughput_usd: float
    storage_usd: float

    @property
    def usd(self) -> float:
        return self.request_units_usd + self.throughput_usd + self.storage_usd

    def sentence(self) -> str:
        parts = [f"{self.storage_usd:.2f} for storage"]
        if self.request_units_usd:
            parts.insert(0, f"{self.request_units_usd:.2f} for at most {RU_MAX:,.0f} RU")
        if self.throughput_usd:
            parts.insert(0, f"{self.throughput_usd:.2f} for throughput")
        return f"It costs at most {self.usd:.2f} USD: {', '.join(parts)}."


def bound_of(*, is_serverless: bool, containers: int, regions: int, minutes: float) -> Bound:
    """Throughput is billed by the hour begun; serverless by what is used."""
    hours = int(minutes // 60) + 2
    bought = RU_PER_S_OF_A_CONTAINER / 100 * USD_PER_100_RU_S_HOUR * hours * containers * regions
    return Bound(
        request_units_usd=RU_MAX / 1e6 * USD_PER_MILLION_RU if is_serverless else 0.0,
        throughput_usd=0.0 if is_serverless else bought,
        storage_usd=STORAGE_CALLS_MAX / 1e4 * USD_PER_10K_STORAGE_CALLS + USD_FOR_STORED_BYTES,
    )


class Purse:
    """Counts charges and calls of all threads."""

    def __init__(self, *, ru_max: float = RU_MAX, calls_max: int = STORAGE_CALLS_MAX) -> None:
        self._ru_max = ru_max
        self._calls_max = calls_max
        self._lock = threading.Lock()
        self._minutes: dict[tuple[str, int], float] = defaultdict(float)
        self.spent_ru = 0.0
        self.calls = 0

    def ask_cosmos(self) -> None:
        if self.spent_ru >= self._ru_max:
            raise Refused(
                f"asking Cosmos DB: the trial has spent {self.spent_ru:,.0f} RU of at most "
                f"{self._ru_max:,.0f}; it asks no more"
            )

    def charge(self, container: str, ru: float, at_s: float) -> None:
        with self._lock:
            self.spent_ru += ru
            self._minutes[container, int(at_s) // MINUTE_S * MINUTE_S] += ru

    def ask_storage(self) -> None:
        with self._lock:
            self.calls += 1
        if self.calls > self._calls_max:
            raise Refused(f"asking storage: {self._calls_max:,} calls were made; it asks no more")

    def minutes_of(self, container: str) -> Mapping[int, float]:
        """What was charged for a container, by the minute its answers came in."""
        with self._lock:
            return {at_s: ru for (name, at_s), ru in self._minutes.items() if name == container}


class CosmosTransport(RequestsTransport):  # type: ignore[misc] # azure-core exports it lazily
    """Sends requests to Cosmos DB for as long as the purse allows."""

    def __init__(self, purse: Purse, **options: Any) -> None:
        super().__init__(**options)
        self._purse = purse
        self._lock = threading.Lock()
        self.sent = 0
        """Requests about documents, each try counted."""

    def send(self, request: Any, **options: Any) -> Any:
        self._purse.ask_cosmos()
        with self._lock:
            self.sent += "/docs" in urlsplit(request.url).path
        answer = super().send(request, **options)
        charge = float(answer.headers.get(CHARGE, 0.0))
        self._purse.charge(_container_of(request.url), charge, time.time())
        return answer


class StorageTransport(RequestsTransport):  # type: ignore[misc] # the same
    """Sends requests to storage for as long as the purse allows."""

    def __init__(self, purse: Purse, **options: Any) -> None:
        super().__init__(**options)
        self._purse = purse

    def send(self, request: Any, **options: Any) -> Any:
        self._purse.ask_storage()
        return super().send(request, **options)


def _container_of(url: str) -> str:
    parts = urlsplit(url).path.split("/")
    return unquote(parts[parts.index("colls") + 1]) if "colls" in parts[:-1] else ""
