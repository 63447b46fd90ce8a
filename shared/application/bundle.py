"""The ports one process works with, gathered by the composition root and handed down whole."""

from __future__ import annotations

from dataclasses import dataclass

from shared.ports import (
    Archives,
    Boards,
    Callbacks,
    Callers,
    Clock,
    Factory,
    FrontDoor,
    History,
    Incidents,
    Journal,
    Lease,
    Ledger,
    Mail,
    Memories,
    Metering,
    Monitor,
    Names,
    Pointers,
    Scratch,
    Sources,
    TableFormat,
    Telemetry,
    Tellings,
    Together,
    Webhooks,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    clock: Clock
    names: Names
    together: Together
    ledger: Ledger
    pointers: Pointers
    boards: Boards
    memories: Memories
    journal: Journal
    incidents: Incidents
    metering: Metering
    monitor: Monitor
    history: History
    lease: Lease
    mail: Mail
    sources: Sources
    archives: Archives
    table_format: TableFormat
    scratch: Scratch
    factory: Factory
    callbacks: Callbacks
    callers: Callers
    front_door: FrontDoor
    webhooks: Webhooks
    tellings: Tellings
    telemetry: Telemetry
