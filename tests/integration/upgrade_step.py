"""One life of a process of some release: it ticks and works over stored state, and may be killed.

Run by test_upgrade.py with a release's tree as working directory: `shared` and `tests.simulation`
are that release's own. State is in Azurite; the source and the clock are in a file between lives.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path.cwd()))

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient, TextBase64DecodePolicy

from shared.adapters.archive import BlobArchives
from shared.adapters.boards import TableBoards
from shared.adapters.incidents import TableIncidents
from shared.adapters.journal import TableJournal
from shared.adapters.lease import BlobLease
from shared.adapters.ledger import TableLedger
from shared.adapters.mail import StorageMail
from shared.adapters.memories import TableMemories
from shared.adapters.memory import MemoryClock
from shared.adapters.metering import TableMetering
from shared.adapters.pointers import TablePointers
from shared.adapters.tellings import TableTellings
from shared.application import copying, retiring
from shared.application.bundle import Ports
from shared.errors import EbbError
from shared.ports import COPY_QUEUE, RETIRE_QUEUE, VALIDATE_QUEUE
from shared.wiring import App, assemble
from tests.simulation.sources import MemorySource, MemorySources, PagedSource
from tests.simulation.world import make_world

ACCOUNT = "acct"
TICK_S = 30.0
HIDDEN_S = 2  # of a message in a killed worker's hands, until it comes again
SETTLE_S = 60.0
STALE = ("is done", "is proven", "is completed", "copied already", "in other hands")
STALE_MAX = 30  # messages in a row for what is done: ticks send again what is late
SAID_MAX = 40  # enough to see what a failed test ran into


class Killed:
    """A source at whose n-th call the process ends, as by the platform."""

    def __init__(self, source: Any, at: int, save: Callable[[], None]) -> None:
        self._source, self._left, self._save = source, at, save

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._source, name)
        if not callable(real):
            return real

        def call(*given: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self._save()
                os._exit(9)
            return real(*given, **named)

        return call


class Prompt:
    """Queues without delays: virtual time is not the queue's own."""

    def __init__(self, queues: QueueServiceClient) -> None:
        self._mail = StorageMail(queues)

    def send(self, queue: str, text: str, *, delay_s: int = 0) -> None:
        del delay_s
        self._mail.send(queue, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mail, name)


class Life:
    """The release's application over Azurite."""

    def __init__(self, told: dict[str, Any], place: Path) -> None:
        self._place = place
        connection = told["connection"]
        kept = json.loads(place.read_text()) if place.exists() else {}
        self.clock = MemoryClock(start_s=kept.get("now_s", time.time()))
        self.source = MemorySource(clock=self.clock)
        self.source.documents = kept.get("documents", {})
        self.source.etags = kept.get("etags", 0)
        tables = TableServiceClient.from_connection_string(connection)
        blobs = BlobServiceClient.from_connection_string(connection)
        self.queues = QueueServiceClient.from_connection_string(connection)
        paged: Any = PagedSource(self.source, random.Random(1))
        if told.get("kill_at"):
            paged = Killed(paged, told["kill_at"], self.save)
        self.ports: Ports = replace(
            make_world(1).ports,
            clock=self.clock,
            ledger=TableLedger(tables),
            pointers=TablePointers(tables),
            boards=TableBoards(tables, ACCOUNT),
            memories=TableMemories(tables, ACCOUNT),
            journal=TableJournal(tables, ACCOUNT),
            incidents=TableIncidents(tables, ACCOUNT),
            metering=TableMetering(tables, ACCOUNT),
            tellings=TableTellings(tables),
            lease=BlobLease(blobs, account=ACCOUNT),
            mail=cast("Any", Prompt(self.queues)),
            archives=BlobArchives(blobs, clock=self.clock),
            sources=MemorySources(source=paged, account=ACCOUNT),
        )
        self.ports.monitor.clock = self.clock  # type: ignore[attr-defined]
        self.ports.monitor.source = self.source  # type: ignore[attr-defined]
        self.said: list[str] = []
        self.app: App = assemble(self.ports, SETTLE_S)

    def save(self) -> None:
        kept = {
            "now_s": self.clock.now_s(),
            "documents": self.source.documents,
            "etags": self.source.etags,
        }
        self._place.write_text(json.dumps(kept))

    def deliver(self, queue: str, work: Callable[[str], str]) -> bool:
        """One message, as the host does: hidden while worked on, deleted when that went well."""
        client = self.queues.get_queue_client(queue, message_decode_policy=TextBase64DecodePolicy())
        try:
            message = client.receive_message(visibility_timeout=HIDDEN_S)
        except ResourceNotFoundError:
            return False
        if message is None:
            return False
        try:
            self.said.append(self.app.burying.guarded(queue, message.content.encode(), work))
        except EbbError as error:
            self.said.append(f"failed: {error}")
            return True
        client.delete_message(message)
        return True

    def turn(self) -> None:
        """A tick, and of each queue the first message that there is something to do for."""
        try:
            self.app.controller.tick()
        except EbbError as error:
            self.said.append(f"tick: {error}")
        works = {
            COPY_QUEUE: self.app.copying.run,
            VALIDATE_QUEUE: self.app.validating.run,
            RETIRE_QUEUE: self.app.retiring.run,
        }
        for queue, work in works.items():
            for _ in range(STALE_MAX):
                if not self.deliver(queue, work) or not self.said[-1].endswith(STALE):
                    break
        self.clock.advance(TICK_S)

    def seen(self) -> dict[str, Any]:
        """How it is, in words that every release has."""
        ledger = self.ports.ledger
        migration = ledger.migration("sim")
        progress, retirement = ledger.progress("sim"), ledger.retirement("sim")
        return {
            "state": migration.state.value,
            "reason": migration.reason,
            "halt": migration.halt,
            "proven": progress.documents_proven if progress else 0,
            "failed": progress.attempts_failed if progress else 0,
            "retirement": retirement.state.value if retirement else "",
            "why": retirement.reason if retirement else "",
            "removed": retirement.documents_removed if retirement else 0,
            "restored": retirement.documents_restored if retirement else 0,
            "slices_done": retirement.slices_done if retirement else 0,
            "documents": len(self.source.documents),
            "said": self.said[-SAID_MAX:],
            "incidents": [each.text for each in self.ports.incidents.latest(limit=20)],
        }


def until(told: dict[str, Any], life: Life) -> bool:
    """Whether a life has come to where it was to end."""
    goal: dict[str, Any] = told["until"]
    seen = life.seen()
    return any(
        seen[name] >= wanted if isinstance(wanted, int) else seen[name] == wanted
        for name, wanted in goal.items()
    )


def main() -> None:
    copying.STAY_S = retiring.STAY_S = 1.0  # one slice to an invocation
    told = json.loads(sys.argv[1])
    place = Path(sys.argv[2])
    life = Life(told, place)
    for document in told.get("seed", []):
        life.source.put(document["id"], ts=document["ts"], body=document["body"])
    if "spec" in told:
        life.app.operating.apply(told["spec"])
        life.app.operating.start("sim")
    if told.get("asked") == "execute":
        life.app.retirements.execute("sim", {"protection": "a rehearsal on Azurite"})
    if told.get("asked") == "undo":
        life.app.retirements.undo("sim")
    for turn in range(told["turns_max"]):
        if until(told, life):
            break
        life.said.append(f"turn {turn}")
        life.turn()
    life.save()
    sys.stdout.write(json.dumps(life.seen()))


if __name__ == "__main__":
    main()
