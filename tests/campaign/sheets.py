"""Parquet files as rows that can be edited and written again as valid Parquet, by pyarrow alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Cells = dict[str, Any]

FIXED = ("id", "_partition_key", "_ts", "_etag", "sha256", "document")
MANIFEST = ("id", "partition_key", "ts", "etag", "sha256", "row_group")


@dataclass(slots=True)
class Sheet:
    """A file's row groups, each a list of rows, and its schema with the file's own facts."""

    schema: pa.Schema
    groups: list[list[Cells]]

    @classmethod
    def read(cls, data: bytes) -> Sheet:
        file = pq.ParquetFile(BytesIO(data))
        groups = [file.read_row_group(n).to_pylist() for n in range(file.num_row_groups)]
        return cls(schema=file.schema_arrow, groups=groups)

    def copy(self) -> Sheet:
        return Sheet(
            schema=self.schema, groups=[[dict(row) for row in group] for group in self.groups]
        )

    def written(self) -> bytes:
        sink = BytesIO()
        with pq.ParquetWriter(sink, self.schema, compression="zstd") as writer:
            for group in self.groups:
                if group:
                    writer.write_table(pa.Table.from_pylist(group, schema=self.schema))
        return sink.getvalue()

    @property
    def rows(self) -> list[Cells]:
        return [row for group in self.groups for row in group]

    @property
    def shown(self) -> list[str]:
        """Columns for people's queries: partition key paths and promoted values."""
        return [name for name in self.schema.names if name not in FIXED]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def contradicting_ids(good: Sheet, harmed: bytes, columns: tuple[str, ...]) -> frozenset[str]:
    """Ids whose rows a damaged file no longer shows as they were; none where it shows nothing.

    A row group that cannot be read contradicts all its documents; a manifest without one of its
    columns or row groups shows nothing.
    """
    try:
        file = pq.ParquetFile(BytesIO(harmed))
        whole = set(file.schema_arrow.names) >= set(columns)
        if columns == MANIFEST:
            whole = file.schema_arrow.equals(good.schema)
        found = [_group(file, number, columns) for number in range(file.num_row_groups)]
    except Exception:  # noqa: BLE001 - whatever pyarrow says of damaged bytes: it is not readable
        return frozenset()
    if not whole or (columns == MANIFEST and None in found):
        return frozenset()
    seen = [row for group in found for row in group or ()]
    return frozenset(row["id"] for row in good.rows if _in_bytes(row, columns) not in seen)


def _group(file: pq.ParquetFile, number: int, columns: tuple[str, ...]) -> list[Cells] | None:
    try:
        table = file.read_row_group(number, columns=list(columns))
        at = table.schema.get_field_index("document")
        if at >= 0:
            table = table.set_column(at, "document", table.column("document").cast(pa.binary()))
        rows: list[Cells] = table.to_pylist()
    except Exception:  # noqa: BLE001 - the same
        return None
    return rows


def _in_bytes(row: Cells, columns: tuple[str, ...]) -> Cells:
    document = {"document": row["document"].encode()} if "document" in columns else {}
    return {name: row[name] for name in columns} | document
