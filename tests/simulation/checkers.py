"""What must hold whatever happened, checked from the stored bytes by other code."""

from __future__ import annotations

import hashlib
import io
import json
from itertools import pairwise
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
    check_published(
        receipts(world),
        {
            stored.name: hashlib.sha256(archive.read(stored.name) or b"").hexdigest()
            for folder in ("data/", "manifests/")
            for stored in archive.stored(folder)
        },
    )


def check_published(receipted: dict[str, Any], published: dict[str, str]) -> None:
    """Each published name with its SHA-256 is one that a receipt names."""
    named = {
        receipt[kind]["name"]: receipt[kind]["sha256"]
        for receipt in receipted.values()
        for kind in ("blob", "manifest")
        if receipt[kind] is not None
    }
    for name, sha256 in published.items():
        assert name in named, f"{name} stands without a receipt"
        assert sha256 == named[name], f"{name} is not what its receipt names"


def check_end(world: World, cold: dict[str, dict[str, Any]], changed: set[str]) -> None:
    """When it claims completion: every document is archived once, as it was; totals add up."""
    migration = world.ports.ledger.migration("sim")
    assert migration.state is MigrationState.COMPLETED, migration.reason
    found, total = archived(world)
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
    check_tiling(world)
    assert world.calm.verifying.run("sim").faults == []


def archived(world: World) -> tuple[dict[str, Any], int]:
    """Every archived document by id, and how many the receipts say there are."""
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
    return found, total


def check_tiling(world: World) -> None:
    """Receipts cover [0, until) of each range that was planned: no gap, nothing twice."""
    until_s = world.ports.ledger.migration("sim").until_s
    ranges = world.source.ranges()
    if {r["range"]["id"] for r in receipts(world).values()} == {world.source.whole().id}:
        ranges = (world.source.whole(),)  # a factory reads across all of them
    for each in ranges:
        mine = [r for r in receipts(world).values() if r["range"]["id"] == each.id]
        windows = sorted({(r["window"]["lo"], r["window"]["hi"]) for r in mine})
        edges = [(0, 0), *windows, (until_s, until_s)]
        for (_, before), (after, _) in pairwise(edges):
            assert before == after, f"{each.id}: one window ends at {before}, the next at {after}"
        for window in windows:
            ids = [r["ids"] for r in mine if (r["window"]["lo"], r["window"]["hi"]) == window]
            _check_ids(each.id, window, ids)


def _check_ids(range_id: str, window: tuple[int, int], ids: list[dict[str, Any]]) -> None:
    """The parts of one window: the first open below, the last open above, each the next's edge."""
    parts = sorted(ids, key=lambda part: (part["lo"] is not None, part["lo"] or ""))
    edges = [None, *(edge for part in parts for edge in (part["lo"], part["hi"])), None]
    for below, above in zip(edges[::2], edges[1::2], strict=True):
        assert below == above, f"{range_id} {window}: ids after {below!r} go on at {above!r}"
    inner = [part["hi"] for part in parts[:-1]]
    assert None not in inner, f"{range_id} {window}: two parts reach to the last id"


def check_spending(world: World) -> None:
    """What was metered and what is told never exceed what the source charged."""
    minutes = world.ports.metering.by_minute(SOURCE, since_s=0)
    metered = sum(sum(ranges.values()) for ranges in minutes.values())
    assert metered <= world.source.ru_charged + 1e-6
    progress = world.ports.ledger.progress("sim")
    told = progress.ru_spent if progress else 0.0
    assert told <= world.source.ru_charged + 1e-6
