"""Ways to one archived document: Ebb's, the bare ranged read, and what others would do.

Each takes a document's number and gives its bytes; how long and how much is counted outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobClient

from bench.errors import BenchError
from shared.domain.pointers import Key
from shared.ports import Archive, Pointers, TableFormat
from shared.tiered.searching import RangedFile


class Wire(RequestsTransport):  # type: ignore[misc]  # azure-core exports it lazily, untyped
    """The real transport; it counts requests, and the bytes of their answers' bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.received_bytes = 0

    def send(self, request: Any, **options: Any) -> Any:
        answer = super().send(request, **options)
        self.requests += 1
        self.received_bytes += 0 if request.method == "HEAD" else _body_bytes(answer)
        return answer


def _body_bytes(answer: Any) -> int:
    """By its header, or by what came where a server announces nothing: only small answers do."""
    told = answer.headers.get("content-length")
    return len(answer.internal_response.content) if told is None else int(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stocked:
    """Documents in one data file, and the keys they are pointed at by."""

    source: str
    name: str
    keys: Sequence[Key]
    digests: Sequence[str]

    def checked(self, number: int, document: bytes) -> bytes:
        """The document, if it is the right one."""
        if hashlib.sha256(document).hexdigest() != self.digests[number]:
            raise BenchError(f"looking up document {number}: another one came")
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class EbbLookUp:
    """The pointer by one table read, the span by one ranged read, the row, and its digest."""

    stocked: Stocked
    pointers: Pointers
    archive: Archive
    table_format: TableFormat

    def __call__(self, number: int) -> bytes:
        pointer = self.pointers.find(self.stocked.source, self.stocked.keys[number])
        if pointer is None:
            raise BenchError(f"looking up document {number}: no pointer stands there")
        data = self.archive.read_range(pointer.blob, pointer.offset, pointer.length)
        document = self.table_format.document_at(data, pointer.span, pointer.row)
        return self.stocked.checked(number, document)


@dataclass(frozen=True, slots=True, kw_only=True)
class BareRange:
    """The SDK reads the same bytes, known beforehand, and does nothing with them."""

    blob: BlobClient
    ranges: Sequence[tuple[int, int]]

    def __call__(self, number: int) -> bytes:
        return self.blob.download_blob(*self.ranges[number], max_concurrency=1).readall()


@dataclass(frozen=True, slots=True, kw_only=True)
class PyarrowLookUp:
    """The footer, the row group whose ids may hold this one, and of that two columns."""

    stocked: Stocked
    blob: BlobClient

    def __call__(self, number: int) -> bytes:
        wanted = self.stocked.keys[number][1]
        ranged = RangedFile(self._read, self.blob.get_blob_properties().size)
        file = pq.ParquetFile(pa.PythonFile(ranged, mode="r"), pre_buffer=True)
        ids = file.schema_arrow.names.index("id")
        for group in range(file.num_row_groups):
            known = file.metadata.row_group(group).column(ids).statistics
            if known.min <= wanted <= known.max:
                table = file.read_row_group(group, columns=["id", "document"])
                place = table["id"].index(wanted).as_py()
                return self.stocked.checked(number, table["document"][place].as_py().encode())
        raise BenchError(f"looking up document {number}: no row group may hold it")

    def _read(self, offset: int, length: int) -> bytes:
        return self.blob.download_blob(offset, length, max_concurrency=1).readall()


@dataclass(frozen=True, slots=True, kw_only=True)
class DuckdbLookUp:
    """The whole blob into a file, and one SQL query over it."""

    stocked: Stocked
    blob: BlobClient
    file: Path

    def __call__(self, number: int) -> bytes:
        with self.file.open("wb") as into:
            self.blob.download_blob(max_concurrency=1).readinto(into)
        query = "SELECT document FROM read_parquet(?) WHERE id = ?"
        row = duckdb.execute(query, [str(self.file), self.stocked.keys[number][1]]).fetchone()
        if row is None:
            raise BenchError(f"looking up document {number}: DuckDB did not find it")
        return self.stocked.checked(number, row[0].encode())
