"""Proving an archive again from its own bytes: every receipt, manifest and blob, and the coverage.

It reads blobs only; the source is not touched and no request units are spent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared.application.bundle import Ports
from shared.domain.canonical import digest
from shared.domain.coverage import coverage_faults
from shared.domain.receipt import (
    DATA,
    MANIFESTS,
    RECEIPTS,
    SUMMARY,
    Promise,
    Row,
    fingerprint,
    merkle_root,
    read_receipt,
)
from shared.domain.slices import Extent, FeedRange, Window
from shared.domain.spec import MigrationSpec, parse_spec
from shared.domain.verdict import compare
from shared.errors import NotFound, PermanentError, Unreadable
from shared.ports import Archive

FAULTS_SHOWN_MAX = 100


@dataclass(slots=True)
class _Seen:
    """What the receipts named, gathered while they are read."""

    names: set[str] = field(default_factory=set)
    extents: list[Extent] = field(default_factory=list)
    roots: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What a verification found; sound only if nothing at all is wrong."""

    name: str
    receipts: int = 0
    documents: int = 0
    blob_bytes: int = 0
    fingerprint: str = ""
    complete: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sound": self.sound,
            "complete": self.complete,
            "receipts": self.receipts,
            "documents": self.documents,
            "blob_bytes": self.blob_bytes,
            "fingerprint": self.fingerprint or None,
            "faults": self.faults[:FAULTS_SHOWN_MAX],
            "faults_total": len(self.faults),
        }


class Verifying:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def run(self, name: str, on_receipt: Callable[[Report], None] | None = None) -> Report:
        """Verify a migration's whole archive; `on_receipt` is told after each slice."""
        migration = self._ports.ledger.migration(name)
        spec: MigrationSpec = parse_spec(migration.spec_text)
        archive = self._ports.archives.open(spec.sink.container, spec.sink.prefix)
        report = Report(name=name)
        seen = _Seen()
        for stored in archive.stored(RECEIPTS):
            self._one(archive, stored.name, report, seen)
            if on_receipt is not None:
                on_receipt(report)
        self._strangers(archive, seen.names, report)
        report.fingerprint = fingerprint(seen.roots)
        self._summary(archive, seen.extents, migration.uid, report)
        return report

    def _one(self, archive: Archive, name: str, report: Report, seen: _Seen) -> None:
        data = archive.read(name) or b""
        try:
            promise = read_receipt(name, data)
            extent = _extent(data)
        except (PermanentError, ValueError, KeyError) as error:
            report.faults.append(f"{name}: {error}")
            return
        seen.extents.append(extent)
        seen.roots.append((promise.slice_id, promise.receipt_sha256))
        seen.names.add(promise.manifest.name)
        if promise.blob is not None:
            seen.names.add(promise.blob.name)
            report.blob_bytes += promise.blob.size_bytes
        report.receipts += 1
        report.documents += promise.documents
        fault = self._fault(archive, promise)
        if fault is not None:
            report.faults.append(f"{name}: {fault}")

    def _fault(self, archive: Archive, promise: Promise) -> str | None:
        """The first thing that contradicts a receipt."""
        try:
            rows = self._rows(archive, promise)
            if promise.blob is None:
                return None if not rows else f"no blob, yet {len(rows)} rows in its manifest"
            with self._ports.scratch.open() as file:
                found = archive.download(promise.blob.name, file)
                if (found.sha256, found.size_bytes) != (
                    promise.blob.sha256,
                    promise.blob.size_bytes,
                ):
                    return f"{promise.blob.name} has other bytes than the receipt says"
                file.seek(0)
                verdict = compare(rows, map(_recomputed, self._ports.table_format.data_rows(file)))
            return None if verdict.sound else f"{promise.blob.name}: {verdict.sentence()}"
        except (NotFound, Unreadable) as error:
            return str(error)

    def _rows(self, archive: Archive, promise: Promise) -> list[Row]:
        with self._ports.scratch.open() as file:
            found = archive.download(promise.manifest.name, file)
            if found.sha256 != promise.manifest.sha256:
                raise Unreadable(f"{promise.manifest.name} has other bytes than the receipt says")
            file.seek(0)
            rows = list(self._ports.table_format.manifest_rows(file))
        if merkle_root(row.leaf() for row in rows) != promise.merkle_root:
            raise Unreadable(f"{promise.manifest.name} does not give the receipt's Merkle root")
        if len(rows) != promise.documents:
            raise Unreadable(
                f"{promise.manifest.name} has {len(rows)} rows, the receipt says "
                f"{promise.documents}"
            )
        return rows

    def _strangers(self, archive: Archive, expected: set[str], report: Report) -> None:
        for folder in (DATA, MANIFESTS):
            for stored in archive.stored(folder):
                if stored.name not in expected:
                    report.faults.append(f"{stored.name}: it stands there without a receipt")

    def _summary(self, archive: Archive, extents: list[Extent], uid: str, report: Report) -> None:
        """A summary claims completion: then it must name this root, and coverage must be exact."""
        data = archive.read(SUMMARY)
        if data is None:
            return
        try:
            body = json.loads(data)
            faults = coverage_faults(
                extents,
                range_ids=[each["id"] for each in body["ranges"]],
                until_s=body["until_s"],
            )
            claimed, owner = body["fingerprint"], body["uid"]
        except (ValueError, KeyError, TypeError) as error:
            report.faults.append(f"{SUMMARY}: unreadable ({type(error).__name__})")
            return
        report.complete = True
        report.faults.extend(f"{SUMMARY}: {fault}" for fault in faults)
        if claimed != report.fingerprint:
            report.faults.append(f"{SUMMARY}: its fingerprint is not that of the receipts")
        if owner != uid:
            report.faults.append(f"{SUMMARY}: it belongs to another migration ({owner})")


def _recomputed(found: tuple[Row, bytes]) -> Row:
    row, document = found
    return row.with_digest(digest(document))


def _extent(receipt: bytes) -> Extent:
    body = json.loads(receipt)
    part = body["slice"].rpartition("-p")
    return Extent(
        window=Window(lo_s=body["window"]["lo"], hi_s=body["window"]["hi"]),
        range=FeedRange(id=body["range"]["id"], token=body["range"]["token"]),
        id_lo=body["ids"]["lo"],
        id_hi=body["ids"]["hi"],
        part=int(part[2]) if part[0] and part[2].isdigit() else None,
    )
