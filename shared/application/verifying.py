"""Proving an archive again: every receipt, manifest and blob from its own bytes, and the coverage.

The source is touched only when asked for, and then like everything else under the budget.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from shared.application.bundle import Ports
from shared.application.comparing import Comparing
from shared.application.inspecting import Inspecting, Inspection, Recorded
from shared.application.ownership import check_account
from shared.domain.cycles import ReceiptsUpTo
from shared.domain.receipt import (
    CYCLES,
    DATA,
    MANIFESTS,
    RECEIPTS,
    SUMMARY,
    Promise,
    read_receipt,
    summary_name,
)
from shared.domain.slices import Migration, Stored
from shared.domain.spec import MigrationSpec, parse_spec
from shared.domain.verdict import NAMED_MAX, Kind, Verdict
from shared.errors import PermanentError
from shared.ports import Archive

FAULTS_SHOWN_MAX = 100


class Notebook(Protocol):
    """What earlier runs of one verification found sound, so that a new run can go on from there."""

    def knows(self, checked: Checked) -> bool: ...

    def note(self, checked: Checked) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A slice found sound, under exactly these bytes of its receipt."""

    receipt: str
    sha256: str
    with_source: bool


class NoNotebook:
    """Remembers nothing: everything is looked at in this run."""

    def knows(self, checked: Checked) -> bool:  # noqa: ARG002 - the protocol's shape
        return False

    def note(self, checked: Checked) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How much of an archive is looked at."""

    sample: float = 1.0
    """The share of slices whose blobs are read; receipts and coverage are checked whole."""
    seed: int = 0
    with_source: bool = False
    notebook: Notebook = field(default_factory=NoNotebook)


@dataclass(slots=True)
class _Seen:
    """What the receipts named, gathered while they are read."""

    names: set[str] = field(default_factory=set)
    unread: dict[str, int] = field(default_factory=dict)
    """Blobs this run does not open, with the size that a listing must show."""
    promises: list[Promise] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """What a verification found; sound only if nothing at all is wrong."""

    name: str
    receipts: int = 0
    documents: int = 0
    blob_bytes: int = 0
    slices_read: int = 0
    slices_known: int = 0
    """Found sound by an earlier run under the same receipt, and not read again."""
    slices_compared: int = 0
    superseded: int = 0
    superseded_ids: list[str] = field(default_factory=list)
    fingerprint: str = ""
    complete: bool = False
    """Whether a summary stands there that speaks of every receipt."""
    watermark_s: int | None = None
    """Up to where the newest summary says that all is proven."""
    faults: list[str] = field(default_factory=list)
    faults_total: int = 0

    @property
    def sound(self) -> bool:
        return not self.faults_total

    @property
    def whole(self) -> bool:
        """Whether every blob was read, by this run or by one it goes on from."""
        return self.slices_read + self.slices_known == self.receipts

    def fault(self, text: str) -> None:
        self.faults_total += 1
        if len(self.faults) < FAULTS_SHOWN_MAX:
            self.faults.append(text)

    def superseded_by(self, verdict: Verdict) -> None:
        self.superseded += verdict.counts.get(Kind.SUPERSEDED, 0)
        room = NAMED_MAX - len(self.superseded_ids)
        self.superseded_ids += verdict.named.get(Kind.SUPERSEDED, [])[:room]

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sound": self.sound,
            "complete": self.complete,
            "watermark_s": self.watermark_s,
            "whole": self.whole,
            "receipts": self.receipts,
            "documents": self.documents,
            "blob_bytes": self.blob_bytes,
            "slices_read": self.slices_read,
            "slices_known": self.slices_known,
            "slices_compared_with_source": self.slices_compared,
            "superseded_since": self.superseded,
            "superseded_ids": self.superseded_ids,
            "fingerprint": self.fingerprint or None,
            "faults": self.faults,
            "faults_total": self.faults_total,
        }


class Verifying:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def run(
        self,
        name: str,
        scope: Scope | None = None,
        on_receipt: Callable[[Report], None] | None = None,
    ) -> Report:
        """Verify a migration's archive; `on_receipt` is told after each slice."""
        migration = self._ports.ledger.migration(name)
        with Verification(self._ports, migration, scope or Scope()) as verification:
            return verification.run(on_receipt or _untold)


def _untold(_report: Report) -> None:
    """Nobody follows."""


class Verification:
    """One pass over one archive."""

    def __init__(self, ports: Ports, migration: Migration, scope: Scope) -> None:
        spec: MigrationSpec = parse_spec(migration.spec_text)
        check_account(ports, spec)
        self._migration = migration
        self._spec = spec
        self._scope = scope
        self._archive: Archive = ports.archives.open(spec.sink.container, spec.sink.prefix)
        self._comparing = Comparing(ports, migration, spec) if scope.with_source else None
        keep = self._comparing.keep if self._comparing else _nothing
        self._inspecting = Inspecting(ports, self._archive, keep=keep)
        self._seen = _Seen()
        self._report = Report(name=migration.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._comparing is not None:
            self._comparing.leave()

    def run(self, on_receipt: Callable[[Report], None]) -> Report:
        report = self._report
        for stored in self._archive.stored(RECEIPTS):
            self._one(stored.name)
            on_receipt(report)
        self._standing()
        self._summaries()
        return report

    def _one(self, name: str) -> None:
        try:
            promise = read_receipt(name, self._archive.read(name) or b"")
        except PermanentError as error:
            self._report.fault(f"{name}: {error}")
            return
        self._note(promise)
        checked = Checked(
            receipt=name, sha256=promise.receipt_sha256, with_source=self._comparing is not None
        )
        if self._scope.notebook.knows(checked):
            self._report.slices_known += 1
            self._leave_unread(promise)
        elif not _is_sampled(name, self._scope):
            self._leave_unread(promise)
        elif self._is_sound(name, promise):
            self._scope.notebook.note(checked)

    def _note(self, promise: Promise) -> None:
        report, seen = self._report, self._seen
        seen.promises.append(promise)
        seen.names.update(blob.name for blob in _blobs(promise))
        report.receipts += 1
        report.documents += promise.documents
        report.blob_bytes += promise.blob.size_bytes if promise.blob else 0
        if promise.migration_uid != self._migration.uid:
            report.fault(f"{promise.slice_id}: its receipt is of another migration")

    def _leave_unread(self, promise: Promise) -> None:
        self._seen.unread.update((blob.name, blob.size_bytes) for blob in _blobs(promise))

    def _is_sound(self, name: str, promise: Promise) -> bool:
        """Read the slice's blobs, and its source where asked; whether all agree."""
        report = self._report
        report.slices_read += 1
        found = self._inspecting.look(
            Recorded(
                blob=promise.blob,
                manifest=promise.manifest,
                merkle_root=promise.merkle_root,
                documents=promise.documents,
            )
        )
        if not found.sound:
            report.fault(f"{name}: {found.sentence()}")
            return False
        return self._agrees_with_source(name, promise, found)

    def _agrees_with_source(self, name: str, promise: Promise, found: Inspection) -> bool:
        if self._comparing is None:
            return True
        verdict = self._comparing.compare(promise.extent, found.rows)
        self._report.slices_compared += 1
        self._report.superseded_by(verdict)
        if not verdict.sound:
            self._report.fault(f"{name}, beside the source: {verdict.sentence()}")
        return verdict.sound

    def _standing(self) -> None:
        """What stands in the archive: nothing without a receipt, and nothing unread missing."""
        unread = dict(self._seen.unread)
        for folder in (DATA, MANIFESTS):
            for stored in self._archive.stored(folder):
                if stored.name not in self._seen.names:
                    self._report.fault(f"{stored.name}: it stands there without a receipt")
                elif unread.get(stored.name) == stored.size_bytes:
                    del unread[stored.name]
        for name, size_bytes in sorted(unread.items()):
            self._report.fault(f"{name}: not there with the {size_bytes} bytes of its receipt")

    def _summaries(self) -> None:
        """Each cycle's summary speaks of the receipts up to its boundary, the only one of all."""
        report = self._report
        receipts = ReceiptsUpTo(self._seen.promises)
        names = summary_names(self._archive, self._spec)
        for name in names:
            data = self._archive.read(name)
            if data is not None:
                self._summary(name, data, receipts, is_newest=name == names[-1])
        if report.watermark_s is None:
            receipts.go_on_to(None)
        report.complete = report.watermark_s is not None and not receipts.beyond
        report.fingerprint = receipts.fingerprint

    def _summary(self, name: str, data: bytes, receipts: ReceiptsUpTo, *, is_newest: bool) -> None:
        """A summary claims completion: then it must name this root, and coverage must be exact.

        Where the newest one's is exact, an older one's is if no slice crosses its boundary.
        """
        report = self._report
        try:
            body = json.loads(data)
            ranges = {(each["id"], each["token"]) for each in body["ranges"]}
            until_s = body["until_s"]
            receipts.go_on_to(None if self._spec.schedule is None else until_s)
            range_ids = [range_id for range_id, _ in sorted(ranges)] if is_newest else None
            faults = receipts.coverage_faults(range_ids, until_s)
            known = self._known(receipts)
            claims = {key: body[key] for key in known}
            if name != summary_name(self._spec, until_s):
                report.fault(f"{name}: it speaks of {until_s}, and its name does not")
        except (ValueError, KeyError, TypeError) as error:
            report.fault(f"{name}: unreadable ({type(error).__name__})")
            return
        report.watermark_s = until_s
        for fault in faults:
            report.fault(f"{name}: {fault}")
        for key, value in known.items():
            if claims[key] != value:
                report.fault(f"{name}: its {key} is {claims[key]!r:.100}, and not {value!r}")
        if ranges != receipts.ranges:
            report.fault(f"{name}: its ranges are not those of the receipts")

    def _known(self, receipts: ReceiptsUpTo) -> dict[str, Any]:
        """What a summary must say, from the ledger and from the receipts themselves."""
        return {
            "ebb_migration": 1,
            "name": self._migration.name,
            "uid": self._migration.uid,
            "receipts": len(receipts.extents),
            "documents": receipts.documents,
            "fingerprint": receipts.fingerprint,
        }


def summary_names(archive: Archive, spec: MigrationSpec) -> list[str]:
    """Where summaries may stand, oldest first: one at the end, or one for each cycle."""
    if spec.schedule is None:
        return [SUMMARY]
    return [stored.name for stored in archive.stored(CYCLES)]


def _is_sampled(name: str, scope: Scope) -> bool:
    """The same slices for the same seed, however often and in whatever order it is asked."""
    drawn = hashlib.sha256(f"{scope.seed}:{name}".encode()).digest()
    return int.from_bytes(drawn[:8]) < scope.sample * 2**64


def _nothing() -> None:
    """No seat to keep."""


def _blobs(promise: Promise) -> tuple[Stored, ...]:
    return (promise.manifest,) if promise.blob is None else (promise.manifest, promise.blob)
