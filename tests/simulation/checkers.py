"""What must hold whatever happened, checked from the stored bytes by other code."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pyarrow.parquet as pq

from shared.domain.slices import MigrationState
from tests.simulation.world import SOURCE, World

SINK = "archive"
SYSTEM = {"_rid", "_self", "_attachments", "_etag", "_ts"}


def receipts(world: World) -> dict[str, Any]:
    archive = world.ports.archives.open(SINK, "")
    return {
        stored.name: json.loads(archive.read(stored.name) or b"")
        for stored in archive.stored("receipts/")
    }


def check_always(world: World) -> None:
    """At every instant: nothing under data/ or manifests/ that no receipt names, byte for byte."""
    archive = world.ports.archives.open(SINK, "")
    named = {}
    for receipt in receipts(world).values():
        for kind in ("blob", "manifest"):
            if receipt[kind] is not None:
                named[receipt[kind]["name"]] = receipt[kind]["sha256"]
    for folder in ("data/", "manifests/"):
        for stored in archive.stored(folder):
            data = archive.read(stored.name) or b""
            assert stored.name in named, f"{stored.name} stands without a receipt"
            assert hashlib.sha256(data).hexdigest() == named[stored.name], stored.name


def check_end(world: World, cold: dict[str, dict[str, Any]], changed: set[str]) -> None:
    """When it claims completion: every document is archived once, as it was; totals add up."""
    migration = world.ports.ledger.migration("sim")
    assert migration.state is MigrationState.COMPLETED, migration.reason
    archive = world.ports.archives.open(SINK, "")
    found: dict[str, Any] = {}
    total = 0
    for name, receipt in receipts(world).items():
        total += receipt["documents"]
        if receipt["blob"] is None:
            assert receipt["documents"] == 0, name
            continue
        data = archive.read(receipt["blob"]["name"])
        assert data is not None, f"{name} names a blob that is not there"
        table = pq.read_table(io.BytesIO(data))
        assert table.num_rows == receipt["documents"], name
        for document in table.column("document").to_pylist():
            body = json.loads(document)
            assert body["id"] not in found, f"{body['id']} is archived twice"
            found[body["id"]] = body
    for key, document in cold.items():
        expected = {k: v for k, v in document.items() if k not in SYSTEM}
        if key in found:
            assert found[key] == expected, f"{key} differs from the source"
        else:
            assert key in changed, f"{key} was lost"
    assert set(found) <= set(cold), "something was archived that was not cold"
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    assert progress.documents_proven == total == len(found)
    assert progress.slices_proven == len(receipts(world))
    assert world.calm.verifying.run("sim").faults == []


def check_spending(world: World) -> None:
    """What was metered never exceeds what the source charged."""
    minutes = world.ports.metering.by_minute(SOURCE, since_s=0)
    metered = sum(sum(ranges.values()) for ranges in minutes.values())
    assert metered <= world.source.ru_charged + 1e-6
