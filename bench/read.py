"""Measures what a look-up in the archive takes, beside a bare ranged read and two rivals.

One data file and its pointers lie in Azurite; everybody looks for the same documents in turn. The
index of two million entries is spelt by the real adapter over a table that only counts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from bench import report
from bench.errors import BenchError
from bench.read_index import SOURCE, at_scale, over_service, plan
from bench.read_rivals import (
    BareRange,
    DuckdbLookUp,
    EbbLookUp,
    PyarrowLookUp,
    Stocked,
    Wire,
)
from sandbox.azurite import start_azurite
from sandbox.errors import SandboxError
from sandbox.processes import Processes, find_node_modules
from sandbox.seeding import PARTITION_KEY, SeedPlan, seed_documents
from shared.adapters.archive import BlobArchive, BlobArchives
from shared.adapters.clock import SystemClock
from shared.adapters.parquet import ParquetFormat
from shared.adapters.pointers import TablePointers
from shared.domain.canonical import canonical_document
from shared.domain.pointers import Key, Span, pointer_to
from shared.domain.receipt import Row
from shared.wiring import DOWNLOAD_BYTES, FIRST_BYTES

DOCUMENTS = 400
KB = 300
LOOK_UPS = 200
DOWNLOADS = 10  # of the whole blob; each costs as much as many look-ups
ENTRIES = 2_000_000
SERVICE_ENTRIES = 5_000  # Azurite looks through its whole table for each row that it writes
BILLION = 1_000_000_000
NAME = "data/s.parquet"
SEED = 7
MAY_S = 1_746_057_600
MS = 1e3

LookUp = Callable[[int], bytes]


@dataclass(slots=True, kw_only=True)
class Taken:
    """What one way's look-ups took."""

    ms: list[float] = field(default_factory=list)
    requests: int = 0
    received_bytes: int = 0

    def row(self, who: str, least_bytes: float) -> dict[str, Any]:
        count = len(self.ms)
        return {
            "who": who,
            "look_ups": count,
            "requests": self.requests / count,
            "kb": self.received_bytes / count / 1e3,
            "bytes_to_least": self.received_bytes / count / least_bytes,
            "ms_p50": median(self.ms),
            "ms_p99": quantiles(self.ms, n=100)[98] if count > 1 else self.ms[0],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An Azurite, and clients of it that count."""

    tables: TableServiceClient
    blobs: BlobServiceClient
    wires: tuple[Wire, Wire]

    @staticmethod
    def connect(connection_string: str) -> Place:
        table_wire, blob_wire = Wire(), Wire()
        return Place(
            tables=TableServiceClient.from_connection_string(
                connection_string, transport=table_wire
            ),
            blobs=BlobServiceClient.from_connection_string(
                connection_string,
                transport=blob_wire,
                max_single_get_size=FIRST_BYTES,
                max_chunk_get_size=DOWNLOAD_BYTES,
            ),
            wires=(table_wire, blob_wire),
        )

    def take(self, taken: Taken, look_up: LookUp, number: int) -> None:
        """One look-up, timed and counted."""
        for wire in self.wires:
            wire.requests = wire.received_bytes = 0
        started_s = time.monotonic()
        look_up(number)
        taken.ms.append((time.monotonic() - started_s) * MS)
        taken.requests += sum(wire.requests for wire in self.wires)
        taken.received_bytes += sum(wire.received_bytes for wire in self.wires)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show; 0 whatever was found, as a number is not a failure."""
    options = _parser().parse_args(arguments)
    try:
        found = measure(options)
    except (BenchError, SandboxError) as error:
        return report.told(error)
    shown = ("index", "index_on_azurite", "plan_for_a_billion")
    tables = [
        report.table("One look-up", found["rows"]),
        report.facts("Beside a bare ranged read", found),
        *(report.facts(name.replace("_", " ").capitalize(), found[name]) for name in shown),
    ]
    report.show(found, tables, as_json=options.json)
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Look-ups first, then the index: small on Azurite, in full over the counting table."""
    with Processes() as processes, TemporaryDirectory(prefix="ebb-bench-") as folder:
        place = Place.connect(start_azurite(processes, find_node_modules()).connection_string)
        report.note(f"{options.documents:,} documents of {KB} KB …")
        found = _looked_up(place, Path(folder), options)
        report.note(f"{options.service_entries:,} entries on Azurite …")
        small = over_service(place.tables, options.service_entries)
    report.note(f"{options.entries:,} entries …")
    index = at_scale(options.entries)
    return {
        **found,
        "load": os.getloadavg()[0],
        "index": index,
        "index_on_azurite": small,
        "plan_for_a_billion": plan(BILLION, index),
    }


def _looked_up(place: Place, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    archives = BlobArchives(place.blobs, clock=SystemClock())
    archives.make("archive")
    archive = archives.open("archive", "")
    stocked, spans = stock(archive, TablePointers(place.tables), options.documents)
    blob = place.blobs.get_blob_client("archive", NAME)
    pointers = TablePointers(place.tables)
    ebb = EbbLookUp(
        stocked=stocked, pointers=pointers, archive=archive, table_format=ParquetFormat()
    )
    bare = BareRange(blob=blob, ranges=[(each.offset, each.length) for each in spans])
    ways: dict[str, LookUp] = {
        "bare ranged read": bare,
        "ebb": ebb,
        "pyarrow, footer and row group": PyarrowLookUp(stocked=stocked, blob=blob),
        "DuckDB over a download": DuckdbLookUp(stocked=stocked, blob=blob, file=folder / "d"),
    }
    taken = {who: Taken() for who in ways}
    draws = random.Random(SEED)
    for turn in range(options.look_ups):
        number = draws.randrange(options.documents)
        for who, way in ways.items():
            if "DuckDB" not in who or turn < DOWNLOADS:
                place.take(taken[who], way, number)
    least = taken["bare ranged read"]
    least_bytes = least.received_bytes / len(least.ms)
    return _compared([each.row(who, least_bytes) for who, each in taken.items()])


def _compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    bare, ebb, *rivals = rows
    return {
        "bytes_to_least": ebb["bytes_to_least"],
        "requests": ebb["requests"],
        "p50_to_bare": ebb["ms_p50"] / bare["ms_p50"],
        "p99_to_bare": ebb["ms_p99"] / bare["ms_p99"],
        "p50_to_best_rival": ebb["ms_p50"] / min(each["ms_p50"] for each in rivals),
        "rows": rows,
    }


def stock(
    archive: BlobArchive, pointers: TablePointers, documents: int
) -> tuple[Stocked, list[Span]]:
    """A data file as Ebb writes it, pointers to all of it, and each document's span."""
    keys, rows = _write(archive, documents)
    file = BytesIO()
    archive.download(NAME, file)
    spans = ParquetFormat().spans(file)
    each = [(span, place) for span in spans for place in range(span.rows)]
    pointers.put(
        SOURCE,
        {
            key: pointer_to(row, span, archive="archive", blob=NAME, place=place)
            for key, row, (span, place) in zip(keys, rows, each, strict=True)
        },
    )
    digests = [row.sha256 for row in rows]
    stocked = Stocked(source=SOURCE, name=NAME, keys=keys, digests=digests)
    return stocked, [span for span, _ in each]


def _write(archive: BlobArchive, documents: int) -> tuple[list[Key], list[Row]]:
    seeded = SeedPlan(
        documents=documents,
        usual_kb=KB,
        large_share=0.0,
        small_share=0.0,
        cold_share=1.0,
        with_edges=False,
    )
    sink = archive.writer(NAME)
    writer = ParquetFormat().data_writer(sink, partition_key=(f"/{PARTITION_KEY}",), promote=())
    rows = []
    for row, data in sorted(_spelt(seeded), key=lambda pair: pair[0].id):
        writer.add(row, data)
        rows.append(row)
    writer.close({})
    sink.commit()
    return [(row.partition_key, row.id) for row in rows], rows


def _spelt(seeded: SeedPlan) -> list[tuple[Row, bytes]]:
    spelt = []
    for each in seed_documents(seeded, now_s=MAY_S):
        data = canonical_document(json.loads(each.text))
        document = json.loads(data)
        row = Row(
            id=document["id"],
            partition_key=json.dumps([each.customer]),
            etag="e",
            ts=each.ts,
            sha256=hashlib.sha256(data).hexdigest(),
        )
        spelt.append((row, data))
    return spelt


def _parser() -> argparse.ArgumentParser:
    parser = report.parser("bench.read", __doc__ or "")
    parser.add_argument("--documents", type=int, default=DOCUMENTS, help="in the data file")
    parser.add_argument("--look-ups", type=int, default=LOOK_UPS, help="by everybody in turn")
    parser.add_argument("--entries", type=int, default=ENTRIES, help="of the index, counted")
    parser.add_argument(
        "--service-entries", type=int, default=SERVICE_ENTRIES, help="of the index on Azurite"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
