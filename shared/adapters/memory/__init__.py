"""In-memory twins of the storage adapters, deterministic, for tests and simulation.

They keep the ports' promises as the real ones do: the contract suite runs over both.
"""

from __future__ import annotations

from shared.adapters.memory.archive import MemoryArchive, MemoryArchives, MemoryWriter
from shared.adapters.memory.factory import MemoryCallbacks, MemoryFactory
from shared.adapters.memory.ledger import MemoryLedger
from shared.adapters.memory.logs import MemoryIncidents, MemoryJournal, MemoryMetering
from shared.adapters.memory.machine import (
    MemoryClock,
    MemoryScratch,
    OneByOne,
    SequentialNames,
)
from shared.adapters.memory.pointers import MemoryPointers
from shared.adapters.memory.signals import (
    Letter,
    MemoryBoards,
    MemoryLease,
    MemoryMail,
    MemoryMemories,
)
from shared.adapters.memory.telemetry import MemoryTelemetry
from shared.adapters.memory.webhooks import MemoryTellings, MemoryWebhooks

__all__ = [
    "Letter",
    "MemoryArchive",
    "MemoryArchives",
    "MemoryBoards",
    "MemoryCallbacks",
    "MemoryClock",
    "MemoryFactory",
    "MemoryIncidents",
    "MemoryJournal",
    "MemoryLease",
    "MemoryLedger",
    "MemoryMail",
    "MemoryMemories",
    "MemoryMetering",
    "MemoryPointers",
    "MemoryScratch",
    "MemoryTelemetry",
    "MemoryTellings",
    "MemoryWebhooks",
    "MemoryWriter",
    "OneByOne",
    "SequentialNames",
]
