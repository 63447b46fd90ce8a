"""Measures reading by id through copy, removal, a crash and a restore: `python -m bench.tiered`.

Cosmos DB alone is measured first, then the tiered container in each phase, at the same rate.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

from azure.cosmos import CosmosClient
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from bench.reading_load import ReadingLoad
from sandbox.cosmos.account import History
from sandbox.rehearsal import FunctionApp, HostOptions, function_app, wait_until
from sandbox.seeding import SeedPlan, seed_container
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from shared import wiring
from shared.domain.slices import MigrationState
from shared.tiered import ColdStore, TieredContainer

DATABASE, CONTAINER, NAME = "appdb", "records", "tiered"
RU_PER_S = 4_000
ENDS_WITHIN_S = 600.0
CHANGES = 0.01  # of all requests: half writes, half deletions
SPEC = f"""
name: {NAME}
source: {{account: cosmos-sandbox, database: {DATABASE}, container: {CONTAINER},
  partition_key: /customerId}}
cold: {{older_than: 90d}}
sink: {{container: archive-tiered}}
capacity: {{ru_per_s_per_partition: {RU_PER_S}}}
slice: {{budget_s: 5}}
retire: delete
retire_grace: 0s
"""


class Course:
    """One load, and the migration that goes on beside it."""

    def __init__(self, sandbox: Sandbox, app: FunctionApp, load: ReadingLoad) -> None:
        self._sandbox = sandbox
        self._app = app
        self._load = load
        self._ledger = wiring.build(app.settings()).ports.ledger

    def run(self, *, reads: int) -> None:
        load = self._load
        load.wait_for(reads)
        load.container = tiered(self._sandbox)
        load.phase = "tiered, nothing archived"
        load.wait_for(reads)
        load.changes = CHANGES
        load.phase = "copying"
        self._app.remote.call("PUT", f"migrations/{NAME}", SPEC)
        self._app.remote.call("POST", f"migrations/{NAME}/start")
        self._until("copied", self._is_copied)
        load.phase = "removing, killed once"
        self._ask("execute")
        self._until("some removed", self._has_removed)
        self._app.kill()
        self._app.start()
        self._until("removed", self._is_done)
        load.phase = "removed"
        load.wait_for(reads)
        load.phase = "restoring"
        self._ask("undo")
        self._until("restored", self._is_done)
        load.phase = "restored"
        load.wait_for(reads)

    def _ask(self, action: str) -> None:
        why = {"accept_protection": "the sandbox has neither"} if action == "execute" else {}
        asked = {"action": action, **why}
        self._app.remote.call("POST", f"migrations/{NAME}/retirement", json.dumps(asked))

    def _until(self, what: str, holds: Callable[[], bool]) -> None:
        wait_until(what, holds, within_s=ENDS_WITHIN_S, of=self._app)

    def _is_copied(self) -> bool:
        return self._ledger.migration(NAME).state is MigrationState.COMPLETED

    def _has_removed(self) -> bool:
        return any(each.moved for each in self._ledger.removals(NAME)) or self._is_done()

    def _is_done(self) -> bool:
        course = self._ledger.retirement(NAME)
        return course is not None and course.state.value == "done"


def plain(sandbox: Sandbox) -> Any:
    client = CosmosClient(
        sandbox.cosmos_endpoint, sandbox.cosmos_key, connection_verify=str(sandbox.ca_file)
    )
    return client.get_database_client(DATABASE).get_container_client(CONTAINER)


def tiered(sandbox: Sandbox) -> TieredContainer:
    storage = sandbox.storage_connection_string
    cold = ColdStore.connect(
        f"{DATABASE}/{CONTAINER}",
        tables=TableServiceClient.from_connection_string(storage),
        blobs=BlobServiceClient.from_connection_string(storage),
    )
    return TieredContainer(plain(sandbox), cold)


def measure(*, documents: int, kilobytes: int, per_s: float, reads: int) -> dict[str, Any]:
    plan = SeedPlan(documents=documents, usual_kb=kilobytes, large_share=0.0)
    with start_sandbox(SandboxOptions(ru_per_s=RU_PER_S, lag_s=1)) as sandbox:
        seed_container(sandbox.backing, database=DATABASE, container=CONTAINER, plan=plan)
        sandbox.admin.tell_history(
            History(minutes=30, ru_per_s=RU_PER_S / 2, database=DATABASE, container=CONTAINER)
        )
        container = plain(sandbox)
        load = ReadingLoad(container, container.read_all_items(), seed=1)
        load.phase = "Cosmos DB alone"
        options = HostOptions(tick_schedule="*/2 * * * * *", time_scale=0.005)
        with function_app(sandbox, options) as app, load.running(per_s=per_s):
            Course(sandbox, app, load).run(reads=reads)
        load.read_each_once()
        return load.tally.as_dict()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.tiered", description=__doc__)
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--kilobytes", type=int, default=8)
    parser.add_argument("--per-s", type=float, default=200.0)
    parser.add_argument("--reads", type=int, default=2_000, help="in each phase that only waits")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    told = measure(
        documents=options.documents,
        kilobytes=options.kilobytes,
        per_s=options.per_s,
        reads=options.reads,
    )
    sys.stdout.write((json.dumps(told, indent=2) if options.json else _text(told)) + "\n")
    return 1 if told["missing"] or told["stale"] or told["doubled"] else 0


def _text(told: dict[str, Any]) -> str:
    head = (
        f"{told['reads']:,} reads, {told['writes']} writes, {told['deletions']} deletions: "
        f"{told['missing']} missing, {told['stale']} stale, {told['doubled']} doubled"
    )
    rows = [
        f"{phase:<26} {each['reads']:>7,} {each['p50_ms']:>8} {each['p99_ms']:>8}"
        for phase, each in told["phases"].items()
    ]
    return "\n".join([head, f"{'':<26} {'reads':>7} {'p50 ms':>8} {'p99 ms':>8}", *rows])


if __name__ == "__main__":
    sys.exit(main())
