"""The ports of an application that copies and validates with a directory as its archive.

Ledger and board are in memory; what a later process needs of them is told in plain values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from bench.validate_archive import DirectoryArchives
from shared.adapters.callers import AnyCaller
from shared.adapters.clock import RandomNames, SystemClock
from shared.adapters.frontdoor import NoFrontDoor
from shared.adapters.memory import (
    MemoryBoards,
    MemoryCallbacks,
    MemoryFactory,
    MemoryIncidents,
    MemoryJournal,
    MemoryLease,
    MemoryLedger,
    MemoryMail,
    MemoryMemories,
    MemoryMetering,
    MemoryPointers,
    MemoryTelemetry,
    MemoryTellings,
    MemoryWebhooks,
    OneByOne,
)
from shared.adapters.parquet import ParquetFormat
from shared.adapters.scratch import TempScratch
from shared.application.bundle import Ports
from shared.domain.slices import Migration, Progress, Slice
from shared.ports import Change, Ledger, Sources

ARCHIVE = "archive"
PREFIX = "bench"
_MIGRATION = TypeAdapter(Migration)
_PROGRESS: TypeAdapter[Progress | None] = TypeAdapter(Progress | None)
_SLICES = TypeAdapter(tuple[Slice, ...])
_VERSION = {"version"}
ACCOUNT = "bench"


class Unread:
    """Names the account of what is validated, and opens nothing of it."""

    account = ACCOUNT


def ports_over(folder: Path, *, sources: Sources | None = None) -> Ports:
    """Blobs and temporary files in a folder; without sources nothing can be read from one."""
    clock = SystemClock()
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    nothing: Any = None  # only a controller asks for it
    return Ports(
        clock=clock,
        names=RandomNames(),
        together=OneByOne(),
        ledger=MemoryLedger(),
        pointers=MemoryPointers(),
        boards=MemoryBoards(),
        memories=MemoryMemories(),
        journal=MemoryJournal(),
        incidents=MemoryIncidents(),
        metering=MemoryMetering(),
        monitor=nothing,
        history=nothing,
        lease=MemoryLease(clock),
        mail=MemoryMail(clock),
        sources=sources or cast("Sources", Unread()),
        archives=DirectoryArchives(folder),
        table_format=ParquetFormat(),
        scratch=TempScratch(scratch),
        factory=MemoryFactory(clock),
        callbacks=MemoryCallbacks(),
        callers=AnyCaller(),
        front_door=NoFrontDoor("there is none in memory"),
        webhooks=MemoryWebhooks(),
        tellings=MemoryTellings(),
        telemetry=MemoryTelemetry(),
    )


def told(ledger: Ledger, name: str) -> dict[str, Any]:
    """A migration's records, as JSON can hold them."""
    slices = ledger.open_slices(name)
    return {
        "migration": _MIGRATION.dump_python(ledger.migration(name), mode="json", exclude=_VERSION),
        "progress": _PROGRESS.dump_python(ledger.progress(name), mode="json", exclude=_VERSION),
        "slices": [
            _SLICES.dump_python((each,), mode="json", exclude={0: _VERSION})[0] for each in slices
        ],
    }


def remember(ledger: Ledger, records: Mapping[str, Any]) -> tuple[Slice, ...]:
    """Enter such records into an empty ledger; returns the slices."""
    migration = ledger.put_migration(_MIGRATION.validate_python(records["migration"]))
    slices = _SLICES.validate_python(records["slices"])
    progress = _PROGRESS.validate_python(records["progress"])
    ledger.commit(migration.name, Change(slices=slices, progress=progress))
    return slices
