"""Inspecting stored bytes: every harm is found, and the documents it concerns are named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.adapters.memory import MemoryArchives, MemoryClock
from shared.adapters.parquet import ParquetFormat
from shared.application.inspecting import Inspecting, Inspection, Recorded
from shared.domain.merkle import merkle_root
from shared.domain.slices import Stored
from shared.domain.verdict import NAMED_MAX, Kind
from tests.simulation.world import make_world
from tests.unit.test_parquet import Sink, a_file

BLOB, MANIFEST = "data/s.parquet", "manifests/s.parquet"
DOCUMENTS = [{"id": f"doc-{n:02d}", "pk": n % 3, "at": "2024-01-01T00:00:00Z"} for n in range(80)]


@dataclass(slots=True)
class Shelf:
    """One slice's blobs in an archive, and what was recorded of them."""

    archives: MemoryArchives
    recorded: Recorded
    inspecting: Inspecting

    def look(self) -> Inspection:
        return self.inspecting.look(self.recorded)

    def bytes_of(self, name: str) -> bytes:
        return self.archives.bytes_of("archive", name) or b""

    def put(self, name: str, data: bytes, *, recorded: bool = False) -> None:
        """Replace a blob; with `recorded`, so that its hash is what was recorded of it."""
        self.archives.put("archive", name, data, missing=False)
        if recorded and name == BLOB:
            self.recorded = replace(self.recorded, blob=told(name, data))
        elif recorded:
            self.recorded = replace(self.recorded, manifest=told(name, data))


def told(name: str, data: bytes) -> Stored:
    return Stored(name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture
def shelf() -> Shelf:
    ports = make_world(1).ports
    archives = MemoryArchives(MemoryClock(start_s=0.0))
    data, expected = a_file(DOCUMENTS)
    rows = [row for row, _ in expected]
    sink = Sink()
    ParquetFormat().write_manifest(sink, rows, {})
    archives.make("archive")
    archive = archives.open("archive", "")
    found = Shelf(
        archives=archives,
        recorded=Recorded(
            blob=told(BLOB, data),
            manifest=told(MANIFEST, bytes(sink.data)),
            merkle_root=merkle_root(row.leaf() for row in rows),
            documents=len(rows),
        ),
        inspecting=Inspecting(ports, archive, keep=lambda: None),
    )
    found.put(BLOB, data)
    found.put(MANIFEST, bytes(sink.data))
    return found


def rewritten(data: bytes, change: Callable[[list[dict[str, Any]]], object]) -> bytes:
    """The same columns and groups, other rows: Parquet as another writer might leave it."""
    file = pq.ParquetFile(pa.BufferReader(data))
    sink = pa.BufferOutputStream()
    rows = file.read().to_pylist()
    change(rows)
    with pq.ParquetWriter(sink, file.schema_arrow) as writer:
        table = pa.Table.from_pylist(rows, schema=file.schema_arrow)
        writer.write_table(table, row_group_size=32)
    return bytes(sink.getvalue())


def test_an_unharmed_slice_is_sound(shelf: Shelf) -> None:
    """And gives its rows, and the etags of what was read."""
    found = shelf.look()
    assert found.sound
    assert found.sentence() == "every document matches"
    assert [row.id for row in found.rows] == [each["id"] for each in DOCUMENTS]
    assert set(found.seen) == {BLOB, MANIFEST}
    assert all(each.etag for each in found.seen.values())


@pytest.mark.parametrize("faults", [0, 1])
def test_a_changed_document_is_named_whatever_the_file_hashes_to(shelf: Shelf, faults: int) -> None:
    """Also where the whole file has other bytes than recorded: which document is the question."""

    def change(rows: list[dict[str, Any]]) -> None:
        rows[7]["document"] = rows[7]["document"].replace("00:00Z", "00:00.0000000Z")

    shelf.put(BLOB, rewritten(shelf.bytes_of(BLOB), change), recorded=not faults)
    found = shelf.look()
    assert found.verdict.named == {Kind.CHANGED: ["doc-07"]}
    assert len(found.faults) == faults
    assert not found.sound


@pytest.mark.parametrize(
    ("column", "value"),
    [("sha256", "ab" * 32), ("_etag", '"other"'), ("_ts", 5), ("document", "{}")],
)
def test_a_row_altered_in_one_column_is_named(shelf: Shelf, column: str, value: object) -> None:
    """Its digest column too, though nothing else is derived from it."""

    def change(rows: list[dict[str, Any]]) -> None:
        rows[3][column] = value

    shelf.put(BLOB, rewritten(shelf.bytes_of(BLOB), change), recorded=True)
    assert shelf.look().verdict.named == {Kind.CHANGED: ["doc-03"]}


def test_a_harmed_row_group_names_the_documents_in_it(shelf: Shelf) -> None:
    """The manifest knows which they are; the other groups are looked at all the same."""
    data = bytearray(shelf.bytes_of(BLOB))
    column = pq.ParquetFile(pa.BufferReader(bytes(data))).metadata.row_group(1).column(0)
    for at in range(column.total_compressed_size):
        data[column.dictionary_page_offset or column.data_page_offset + at] ^= 0xFF
    shelf.put(BLOB, bytes(data), recorded=True)
    found = shelf.look()
    assert found.verdict.counts == {Kind.UNREADABLE: 32}
    assert found.verdict.named[Kind.UNREADABLE][0] == "doc-32"
    assert len(found.verdict.named[Kind.UNREADABLE]) == NAMED_MAX


def test_a_manifest_row_that_was_altered_is_named_by_its_data(shelf: Shelf) -> None:
    """The data is as it was: then what differs from it is the manifest's row."""
    rows = list(ParquetFormat().manifest_rows(pa.BufferReader(shelf.bytes_of(MANIFEST))))
    rows[9] = replace(rows[9], sha256="00" * 32)
    sink = Sink()
    ParquetFormat().write_manifest(sink, rows, {})
    shelf.put(MANIFEST, bytes(sink.data), recorded=True)
    found = shelf.look()
    assert found.verdict.named == {Kind.CHANGED: ["doc-09"]}
    assert "Merkle root" in found.sentence()


def test_without_its_manifest_a_file_is_held_against_itself(shelf: Shelf) -> None:
    """A harmed manifest is no reason to look away from the data."""
    shelf.put(MANIFEST, b"PAR1")
    assert "the bytes are damaged or foreign" in shelf.look().sentence()

    def change(rows: list[dict[str, Any]]) -> None:
        rows[5]["document"] = "{}"

    shelf.put(BLOB, rewritten(shelf.bytes_of(BLOB), change))
    assert shelf.look().verdict.named == {Kind.CHANGED: ["doc-05"]}


@pytest.mark.parametrize("name", [BLOB, MANIFEST])
def test_a_missing_blob_is_a_fault_with_its_name(shelf: Shelf, name: str) -> None:
    """Somebody deleted it."""
    shelf.archives.drop("archive", name)
    found = shelf.look()
    assert found.faults == [f"{name} is not there"]
    assert found.wrong == 1


def test_a_receipt_of_no_documents_needs_an_empty_manifest(shelf: Shelf) -> None:
    """Rows without a blob are documents that are missing."""
    shelf.recorded = replace(shelf.recorded, blob=None)
    assert shelf.look().verdict.counts == {Kind.MISSING: len(DOCUMENTS)}


def test_more_rows_than_were_read_are_a_fault(shelf: Shelf) -> None:
    """Also when tree and hash were recorded from the same wrong rows."""
    shelf.recorded = replace(shelf.recorded, documents=79)
    assert "has 80 rows, not the 79 read" in shelf.look().sentence()


def test_a_download_that_was_harmed_once_is_no_corruption(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at afresh before anything is called wrong."""
    whole = shelf.bytes_of(BLOB)
    reads: list[str] = []
    find = shelf.archives.find

    def flipped_once(container: str, name: str) -> Any:
        if name == BLOB:
            reads.append(name)
            found = find(container, name)
            assert found is not None
            return replace(found, data=whole[:-9]) if len(reads) == 1 else found
        return find(container, name)

    monkeypatch.setattr(shelf.archives, "find", flipped_once)
    assert shelf.look().sound
    assert len(reads) == 2
