"""The two houses the contract suite visits: in memory, and in a real Azurite."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier, Event
from typing import Any, Protocol, TypeVar, cast

from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from shared.adapters.archive import BlobArchives
from shared.adapters.boards import TableBoards
from shared.adapters.incidents import TableIncidents
from shared.adapters.journal import TableJournal
from shared.adapters.lease import BlobLease
from shared.adapters.ledger import TableLedger
from shared.adapters.mail import StorageMail
from shared.adapters.memories import TableMemories
from shared.adapters.memory import (
    MemoryArchives,
    MemoryBoards,
    MemoryClock,
    MemoryIncidents,
    MemoryJournal,
    MemoryLease,
    MemoryLedger,
    MemoryMail,
    MemoryMemories,
    MemoryMetering,
    MemoryPointers,
    MemoryTellings,
)
from shared.adapters.metering import TableMetering
from shared.adapters.pointers import TablePointers
from shared.adapters.tellings import TableTellings
from shared.errors import EbbError
from shared.ports import (
    Archive,
    Boards,
    Incidents,
    Journal,
    Lease,
    Ledger,
    Mail,
    Memories,
    Metering,
    Pointers,
    Tellings,
)

RACERS = 16
LEASE_S = 15  # the shortest the service grants

T = TypeVar("T")


class Wire(RequestsTransport):  # type: ignore[misc]  # azure-core exports it lazily, untyped
    """The real transport, counting requests; it can lose a reply or spoil either."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.lose_replies_to: str | None = None
        self.forbidden: str | None = None
        self.copy_statuses: list[str] = []
        self.blocks_may_pass = Event()
        self.blocks_may_pass.set()

    def send(self, request: Any, **kwargs: Any) -> Any:
        self.requests.append(f"{request.method} {request.url}")
        if self.forbidden and self.forbidden in self.requests[-1]:
            request.headers["Authorization"] = "SharedKey devstoreaccount1:bm90IHRoZSBrZXk="
        if "comp=block&" in request.url:
            self.blocks_may_pass.wait(timeout=30)
        response = cast("Any", super().send(request, **kwargs))
        if self.lose_replies_to and self.lose_replies_to in self.requests[-1]:
            response.close()
            raise ServiceResponseError("the reply was lost")
        if request.method == "HEAD" and self.copy_statuses:
            response.headers["x-ms-copy-status"] = self.copy_statuses.pop(0)
        return response


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """One client of each kind, without retries of their own, and the wires below them."""

    tables: TableServiceClient
    blobs: BlobServiceClient
    queues: QueueServiceClient
    table_wire: Wire
    blob_wire: Wire

    @staticmethod
    def connect(connection_string: str, *, first_bytes: int = 1 << 20) -> Clients:
        table_wire, blob_wire = Wire(), Wire()
        return Clients(
            tables=TableServiceClient.from_connection_string(
                connection_string, retry_total=0, transport=table_wire
            ),
            blobs=BlobServiceClient.from_connection_string(
                connection_string,
                retry_total=0,
                transport=blob_wire,
                max_single_get_size=first_bytes,  # small, so that most downloads take several parts
                max_chunk_get_size=1 << 20,
            ),
            queues=QueueServiceClient.from_connection_string(connection_string, retry_total=0),
            table_wire=table_wire,
            blob_wire=blob_wire,
        )

    def close(self) -> None:
        self.tables.close()
        self.blobs.close()
        self.queues.close()


class Rooms(Protocol):
    """Opens each port's adapter over storage that no other test has touched."""

    def ledger(self) -> Ledger: ...

    def pointers(self) -> Pointers: ...

    def boards(self) -> Boards: ...

    def memories(self) -> Memories: ...

    def journal(self) -> Journal: ...

    def incidents(self) -> Incidents: ...

    def metering(self) -> Metering: ...

    def archive(self, prefix: str = "acme") -> Archive: ...

    def lease(self) -> Lease: ...

    def mail(self) -> Mail: ...

    def tellings(self) -> Tellings: ...


@dataclass(slots=True)
class MemoryRooms:
    clock: MemoryClock = field(default_factory=MemoryClock)

    def ledger(self) -> Ledger:
        return MemoryLedger()

    def pointers(self) -> Pointers:
        return MemoryPointers()

    def boards(self) -> Boards:
        return MemoryBoards()

    def memories(self) -> Memories:
        return MemoryMemories()

    def journal(self) -> Journal:
        return MemoryJournal()

    def incidents(self) -> Incidents:
        return MemoryIncidents()

    def metering(self) -> Metering:
        return MemoryMetering()

    def archive(self, prefix: str = "acme") -> Archive:
        archives = MemoryArchives(self.clock)
        archives.make("archive")
        return archives.open("archive", prefix)

    def lease(self) -> Lease:
        return MemoryLease(self.clock, duration_s=LEASE_S)

    def mail(self) -> Mail:
        return MemoryMail(self.clock)

    def tellings(self) -> Tellings:
        return MemoryTellings()


_numbers = itertools.count()


def unique(stem: str) -> str:
    return f"{stem}{os.getpid()}x{next(_numbers)}"


@dataclass(slots=True)
class AzuriteRooms:
    clients: Clients
    clock: MemoryClock = field(default_factory=MemoryClock)

    def ledger(self) -> TableLedger:
        return TableLedger(self.clients.tables, unique("ledger"))

    def pointers(self) -> TablePointers:
        return TablePointers(self.clients.tables, unique("pointers"))

    def boards(self) -> Boards:
        return TableBoards(self.clients.tables, "acme", unique("board"))

    def memories(self) -> Memories:
        return TableMemories(self.clients.tables, "acme", unique("memory"))

    def journal(self) -> Journal:
        return TableJournal(self.clients.tables, "acme", unique("journal"))

    def incidents(self) -> Incidents:
        return TableIncidents(self.clients.tables, "acme", unique("incidents"))

    def metering(self) -> Metering:
        return TableMetering(self.clients.tables, "acme", unique("metering"))

    def archive(self, prefix: str = "acme") -> Archive:
        archives, container = BlobArchives(self.clients.blobs, clock=self.clock), unique("archive-")
        archives.make(container)
        return archives.open(container, prefix)

    def lease(self) -> Lease:
        return BlobLease(
            self.clients.blobs, account="acme", container=unique("control-"), duration_s=LEASE_S
        )

    def mail(self) -> Mail:
        return StorageMail(self.clients.queues)

    def tellings(self) -> Tellings:
        return TableTellings(self.clients.tables, unique("tellings"))


def raced(action: Callable[[int], T]) -> list[T | EbbError]:
    """Sixteen threads at once; what each returned, or the EbbError it met."""
    gate = Barrier(RACERS)

    def run(number: int) -> T | EbbError:
        gate.wait()
        try:
            return action(number)
        except EbbError as error:
            return error

    with ThreadPoolExecutor(max_workers=RACERS) as pool:
        return list(pool.map(run, range(RACERS)))
