"""Makes what is to be validated: copies the bench's documents into a directory with Ebb's own code.

The source deals the documents out slice after slice and costs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

from bench.children import Job, child_main
from bench.documents import DATABASE, KEY_PATH
from bench.errors import BenchError
from bench.validate_ports import ACCOUNT, ARCHIVE, PREFIX, ports_over, told
from sandbox.seeding import SeedDocument, SeedPlan, seed_documents
from shared.application.bundle import Ports
from shared.application.copying import Copying
from shared.application.dispatching import work_message
from shared.domain.board import Board, Grant
from shared.domain.slices import (
    Extent,
    FeedRange,
    Migration,
    MigrationState,
    Progress,
    Slice,
    SliceState,
    Window,
)
from shared.domain.spec import MigrationSpec, spec_from, spec_text
from shared.ports import Change, Measured, Page, Query, Sources

NAME = "bench-validate"
CONTAINER = "invoices"
MAY_S = 1_746_057_600  # 2025-05-01, when the documents were last written
SLICE_S = 3_600
SETTLED_S = MAY_S + 90 * 86_400
UNLIMITED_RU_PER_S = 1e9
VALID_S = 24 * 3_600.0
RANGE = FeedRange(id="r000", token="{}")  # noqa: S106 - a key range is no secret


class Dealer:
    """The only source of its account; each slice gets the next so many documents.

    It answers what copying asks while every count is right, and nothing else.
    """

    account = ACCOUNT

    def __init__(self, documents: Iterator[SeedDocument], slice_documents: int) -> None:
        self._documents = documents
        self._slice_documents = slice_documents

    def open(self, database: str, container: str) -> Dealer:  # noqa: ARG002 - there is one
        return self

    def count(self, query: Query) -> Measured:  # noqa: ARG002 - all slices are alike
        return Measured(value=self._slice_documents, ru=0.0)

    def documents(self, query: Query, *, continuation: str | None, limit: int) -> Page:
        dealt = int(continuation or 0)
        count = min(limit, self._slice_documents - dealt)
        items = [_as_stored(each, query) for each in islice(self._documents, count)]
        dealt += count
        more = str(dealt) if dealt < self._slice_documents else None
        return Page(items=items, ru=0.0, continuation=more)


def made(job: Job) -> dict[str, Any]:
    """Copy and stage everything; returns the records and how much there is."""
    plan = SeedPlan(
        documents=job["slices"] * job["slice_documents"],
        usual_kb=job["kb"],
        large_share=0.0,
        small_share=0.0,
        cold_share=1.0,
        with_edges=False,  # the limit's library writes some of those in a form of its own
    )
    dealer = Dealer(seed_documents(plan, now_s=SETTLED_S), job["slice_documents"])
    ports = ports_over(Path(job["folder"]), sources=cast("Sources", dealer))
    slices = _planned(ports, job["slices"])
    copying = Copying(ports)
    for each in slices:
        copying.run(work_message(each))
    return {"records": told(ports.ledger, NAME), **_totals(ports)}


def _totals(ports: Ports) -> dict[str, Any]:
    slices = ports.ledger.open_slices(NAME)
    left = [each for each in slices if each.state is not SliceState.COPIED]
    if left:
        raise BenchError(f"copying the stock: {left[0].id} is {left[0].state} ({left[0].error})")
    staged = [each.staged for each in slices if each.staged]
    return {
        "documents": sum(each.documents for each in staged),
        "document_bytes": sum(each.document_bytes for each in staged),
        "blobs": [f"{ARCHIVE}/{PREFIX}/{each.blob.name}" for each in staged if each.blob],
        "blob_bytes": sum(each.blob.size_bytes for each in staged if each.blob),
    }


def _planned(ports: Ports, count: int) -> tuple[Slice, ...]:
    """A running migration, its slices in the ledger, and a board that grants everything."""
    now_s = ports.clock.now_s()
    spec = _spec()
    ports.ledger.put_migration(
        Migration(
            name=NAME,
            uid=ports.names.new(),
            spec_text=spec_text(spec),
            state=MigrationState.RUNNING,
            reason="the bench started it",
            created_at_s=now_s,
            changed_at_s=now_s,
            until_s=SETTLED_S,
        )
    )
    windows = (
        Window(lo_s=MAY_S + number * SLICE_S, hi_s=MAY_S + (number + 1) * SLICE_S)
        for number in range(count)
    )
    slices = tuple(
        Slice(migration=NAME, extent=Extent(window=window, range=RANGE), documents_planned=1)
        for window in windows
    )
    ports.ledger.commit(NAME, Change(slices=slices, progress=Progress(migration=NAME)))
    _grant_everything(ports, spec.source.name)
    return slices


def _grant_everything(ports: Ports, source: str) -> None:
    now_s = ports.clock.now_s()
    grant = Grant(
        budget_ru_per_s=UNLIMITED_RU_PER_S,
        limit_ru_per_s=UNLIMITED_RU_PER_S,
        shares_ru_per_s={NAME: UNLIMITED_RU_PER_S},
        in_flight={NAME: 1},
        other_ranges_ru_per_s=UNLIMITED_RU_PER_S,
        reason="the bench grants everything",
    )
    ports.boards.write(
        Board(grants={source: grant}, decided_at_s=now_s, valid_until_s=now_s + VALID_S)
    )


def _spec() -> MigrationSpec:
    return spec_from(
        {
            "name": NAME,
            "source": {
                "account": ACCOUNT,
                "database": DATABASE,
                "container": CONTAINER,
                "partition_key": KEY_PATH,
            },
            "cold": {"before": SETTLED_S},
            "sink": {"container": ARCHIVE, "prefix": PREFIX},
        }
    )


def _as_stored(document: SeedDocument, query: Query) -> dict[str, Any]:
    """As Cosmos DB gives it, written at the beginning of its slice's window."""
    found: dict[str, Any] = json.loads(document.text)
    del found["__sandbox_ts"]
    system = {"_rid": "r", "_self": "s", "_attachments": "attachments/"}
    return found | system | {"_etag": f'"{document.id}"', "_ts": query.extent.window.lo_s}


if __name__ == "__main__":
    child_main(made)
