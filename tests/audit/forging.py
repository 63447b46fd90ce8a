"""Changes an archive as an intruder would, up to rebuilding every digest that can be rebuilt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shared.domain.receipt import Row
from tests.property import reference

Documents = list[tuple[Row, bytes]]

MANIFEST = ("id", "partition_key", "etag", "ts", "sha256", "row_group")
DATA = ("id", "_partition_key", "_etag", "_ts", "sha256", "document")
NUMBERS = {"ts": pa.int64(), "_ts": pa.int64(), "row_group": pa.int32()}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def flip(data: bytes) -> bytes:
    """One bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


class Forger:
    """An archive's folder in the hands of somebody who knows how it is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def change(self, name: str, change: Callable[[bytes], bytes]) -> None:
        path = self.path(name)
        path.write_bytes(change(path.read_bytes()))

    def slices(self, *, filled: bool = True) -> list[str]:
        """Slices with documents, or all of them."""
        names = sorted(path.stem for path in self.path("receipts").iterdir())
        return [each for each in names if not filled or self.receipt(each)["documents"]]

    def receipt(self, slice_id: str) -> Any:
        return json.loads(self.path(f"receipts/{slice_id}.json").read_bytes())

    def write_receipt(self, slice_id: str, body: Any) -> None:
        data = json.dumps(body, indent=1, sort_keys=True).encode()
        self.path(f"receipts/{slice_id}.json").write_bytes(data)

    def data(self, slice_id: str) -> str:
        """The name of its data file."""
        return str(self.receipt(slice_id)["blob"]["name"])

    def documents(self, slice_id: str) -> Documents:
        """Its rows as they stand in the data file, each with its document."""
        file = pq.ParquetFile(self.path(self.data(slice_id)))
        return [
            (Row(**dict(zip(MANIFEST, (*values, group), strict=True))), body.encode())
            for group in range(file.num_row_groups)
            for *values, body in zip(
                *(file.read_row_group(group).column(name).to_pylist() for name in DATA),
                strict=True,
            )
        ]

    def rebuild(
        self, slice_id: str, documents: Documents, promised: Sequence[Row] | None = None
    ) -> None:
        """Write a slice's data file, manifest and receipt anew, so that all digests fit."""
        receipt = self.receipt(slice_id)
        labels = {"ebb.slice": slice_id, "ebb.fence": str(receipt["fence"])}
        grouped = [
            (replace(row, row_group=n // 32), body) for n, (row, body) in enumerate(documents)
        ]
        rows = list(promised) if promised is not None else [row for row, _ in grouped]
        root = reference.merkle([row.leaf() for row in rows]).hex()
        columns = [[getattr(row, name) for row, _ in grouped] for name in MANIFEST[:-1]]
        columns.append([body for _, body in grouped])
        self._write(receipt["blob"], dict(zip(DATA, columns, strict=True)), labels)
        columns = [[getattr(row, name) for row in rows] for name in MANIFEST]
        labels["ebb.merkle_root"] = root
        self._write(receipt["manifest"], dict(zip(MANIFEST, columns, strict=True)), labels)
        count = len(rows)
        receipt |= {"merkle_root": root, "documents": count}
        receipt |= {"document_bytes": sum(len(body) for _, body in documents)}
        receipt |= {"counts": {"before": count, "read": count, "after": count}}
        self.write_receipt(slice_id, receipt)

    def _write(self, named: Any, columns: dict[str, list[Any]], labels: dict[str, str]) -> None:
        arrays = {name: _array(name, values) for name, values in columns.items()}
        table = pa.table(arrays).replace_schema_metadata(labels)
        pq.write_table(table, self.path(named["name"]), row_group_size=32, use_dictionary=False)
        self._store(named, self.path(named["name"]).read_bytes())

    def rehash(self, slice_id: str, kind: str) -> None:
        """Write the size and SHA-256 that a file now has into its receipt."""
        receipt = self.receipt(slice_id)
        self._store(receipt[kind], self.path(receipt[kind]["name"]).read_bytes())
        self.write_receipt(slice_id, receipt)

    def _store(self, named: Any, data: bytes) -> None:
        self.path(named["name"]).write_bytes(data)
        named |= {"bytes": len(data), "sha256": sha256(data)}

    def seal(self) -> None:
        """Write what the receipts now say into migration.json."""
        ids = self.slices(filled=False)
        receipts = [(each, self.path(f"receipts/{each}.json").read_bytes()) for each in ids]
        body = json.loads(self.path("migration.json").read_bytes())
        leaves = [f"{each}:{sha256(data)}".encode() for each, data in receipts]
        body["fingerprint"] = reference.merkle(leaves).hex()
        body["receipts"] = len(ids)
        body["documents"] = sum(json.loads(data)["documents"] for _, data in receipts)
        self.path("migration.json").write_text(json.dumps(body))


def _array(name: str, values: list[Any]) -> pa.Array:
    """Text is put in as bytes, so that what is no UTF-8 can be forged too."""
    if name in NUMBERS:
        return pa.array(values, NUMBERS[name])
    raw = [each.encode() if isinstance(each, str) else each for each in values]
    array = pa.array(raw, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(array), array.buffers())


def with_body(entry: tuple[Row, bytes], body: bytes) -> tuple[Row, bytes]:
    """A document replaced, and its digest with it."""
    return replace(entry[0], sha256=sha256(body)), body
