"""Proving that one document is in an archive: the few hashes from it up to the fingerprint.

It reads the archive only; whoever holds the fingerprint can check every line without Ebb.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.application.bundle import Ports
from shared.application.shelf import receipts
from shared.application.verifying import summary_names
from shared.domain.canonical import canonical_bytes, digest
from shared.domain.merkle import Step, climbed, inclusion
from shared.domain.receipt import (
    Promise,
    Row,
    fingerprint_leaves,
    receipt_name,
)
from shared.domain.spec import MigrationSpec, parse_spec
from shared.errors import PermanentError, Refused, Unreadable
from shared.ports import Archive


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """From a document's bytes to the root of all receipts, step by step."""

    slice_id: str
    row: Row
    document: bytes
    blob_name: str
    leaf: str
    steps: tuple[Step, ...]
    merkle_root: str
    receipt_sha256: str
    receipt_leaf: str
    receipt_steps: tuple[Step, ...]
    fingerprint: str
    summary: str
    """The file that claims this fingerprint; empty while none speaks of the document's slice."""

    @property
    def complete(self) -> bool:
        """Whether this fingerprint is the migration's last one, or that of its newest cycle."""
        return bool(self.summary)

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.row.id,
            "partition_key": json.loads(self.row.partition_key),
            "etag": self.row.etag,
            "ts": self.row.ts,
            "sha256": self.row.sha256,
            "slice": self.slice_id,
            "blob": self.blob_name,
            "leaf": self.leaf,
            "steps": _told(self.steps),
            "merkle_root": self.merkle_root,
            "receipt": receipt_name(self.slice_id),
            "receipt_sha256": self.receipt_sha256,
            "receipt_leaf": self.receipt_leaf,
            "receipt_steps": _told(self.receipt_steps),
            "fingerprint": self.fingerprint,
            "complete": self.complete,
            "summary": self.summary or None,
        }


class Absent(PermanentError):
    """The document is not in the archive."""


class Proving:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def run(
        self, name: str, document_id: str, partition_key: tuple[str, ...], *, slice_id: str = ""
    ) -> Proof:
        """Find the document and prove it; `slice_id` spares the search through all manifests."""
        migration = self._ports.ledger.migration(name)
        spec = parse_spec(migration.spec_text)
        archive = self._ports.archives.open(spec.sink.container, spec.sink.prefix)
        promises = list(receipts(archive))
        wanted = Wanted(document_id=document_id, partition_key=partition_key)
        promise, rows, index = self._found(archive, promises, wanted, slice_id)
        document = self._document(archive, promise, rows[index])
        leaves = [row.leaf() for row in rows]
        summary = _newest_summary(archive, spec)
        if summary is not None and summary.speaks_of(promise):
            promises = [each for each in promises if summary.speaks_of(each)]
        else:
            summary = None
        leaves_of_all = fingerprint_leaves((p.slice_id, p.receipt_sha256) for p in promises)
        receipt_leaf = f"{promise.slice_id}:{promise.receipt_sha256}".encode()
        receipt_steps = inclusion(leaves_of_all, leaves_of_all.index(receipt_leaf))
        steps = inclusion(leaves, index)
        if climbed(leaves[index], steps) != promise.merkle_root:
            raise Unreadable(f"{promise.manifest.name} does not give its receipt's Merkle root")
        root = climbed(receipt_leaf, receipt_steps)
        if summary is not None:
            summary.must_claim(root)
        return Proof(
            slice_id=promise.slice_id,
            row=rows[index],
            document=document,
            blob_name=promise.blob.name if promise.blob else "",
            leaf=leaves[index].decode(),
            steps=steps,
            merkle_root=promise.merkle_root,
            receipt_sha256=promise.receipt_sha256,
            receipt_leaf=receipt_leaf.decode(),
            receipt_steps=receipt_steps,
            fingerprint=root,
            summary=summary.name if summary else "",
        )

    def _found(
        self, archive: Archive, promises: list[Promise], wanted: Wanted, slice_id: str
    ) -> tuple[Promise, list[Row], int]:
        """The newest version, where a later cycle took the document up again."""
        looked = [p for p in promises if p.documents and slice_id in {"", p.slice_id}]
        looked.sort(key=lambda each: each.extent.window.lo_s, reverse=True)
        for promise in looked:
            rows = self._rows(archive, promise)
            hits = [index for index, row in enumerate(rows) if wanted.is_met_by(row)]
            if len(hits) > 1:
                raise Refused(
                    f"proving {wanted}: {len(hits)} documents are meant, whose keys differ only "
                    "in type; write the key as JSON, such as --pk '\"5\"' for text"
                )
            if hits:
                return promise, rows, hits[0]
        raise Absent(
            f"proving {wanted}: none of {sum(p.documents for p in looked)} documents in "
            f"{len(looked)} slices is it; check id and partition key"
        )

    def _rows(self, archive: Archive, promise: Promise) -> list[Row]:
        with self._ports.scratch.open() as file:
            archive.download(promise.manifest.name, file)
            file.seek(0)
            return list(self._ports.table_format.manifest_rows(file))

    def _document(self, archive: Archive, promise: Promise, row: Row) -> bytes:
        """The document's bytes as they stand in the archive; Unreadable when they are others."""
        if promise.blob is None:
            raise PermanentError(f"{promise.manifest.name} has rows, yet its receipt names no blob")
        with self._ports.scratch.open() as file:
            archive.download(promise.blob.name, file)
            file.seek(0)
            for group in self._ports.table_format.data_groups(file):
                if group.number == row.row_group:
                    for found, document in group.rows or ():
                        if found.key == row.key and digest(document) == row.sha256:
                            return document
        raise Unreadable(
            f"{promise.blob.name} does not hold {row.id!r} as its receipt says; run 'ebb verify'"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    document_id: str
    partition_key: tuple[str, ...]

    def __str__(self) -> str:
        return f"document {self.document_id!r} with partition key {', '.join(self.partition_key)}"

    def is_met_by(self, row: Row) -> bool:
        if row.id != self.document_id:
            return False
        return tuple(_spelt(row.partition_key, self.partition_key)) == self.partition_key


def _spelt(partition_key: str, wanted: tuple[str, ...]) -> Iterator[str]:
    """A row's key in the words it was asked by: text as itself, or each part as JSON."""
    parts = json.loads(partition_key)
    for index, part in enumerate(parts):
        as_json = canonical_bytes(part).decode()
        asked = wanted[index] if index < len(wanted) else ""
        yield part if isinstance(part, str) and asked != as_json else as_json


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summary:
    """What an archive's newest summary claims; `until_s` is None where it speaks of everything."""

    name: str
    until_s: int | None
    fingerprint: str

    def speaks_of(self, promise: Promise) -> bool:
        return self.until_s is None or promise.extent.window.lo_s < self.until_s

    def must_claim(self, root: str) -> None:
        if self.fingerprint != root:
            raise Unreadable(
                f"{self.name} claims the fingerprint {self.fingerprint}, and the receipts give "
                f"{root}; run 'ebb verify'"
            )


def _newest_summary(archive: Archive, spec: MigrationSpec) -> _Summary | None:
    name = next(reversed(summary_names(archive, spec)), None)
    data = None if name is None else archive.read(name)
    if name is None or data is None:
        return None
    try:
        body = json.loads(data)
        until_s = None if spec.schedule is None else int(body["until_s"])
        return _Summary(name=name, until_s=until_s, fingerprint=body["fingerprint"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"reading {name}: {type(error).__name__}; it was altered") from error


def _told(steps: tuple[Step, ...]) -> list[dict[str, str]]:
    return [{"left" if step.on_left else "right": step.other} for step in steps]
