"""Validating one staged slice from the bytes that are really there, then receipt and promotion.

The receipt is the commit point: it is written once per slice and names one fence's blob by hash,
so whoever finishes a promotion, now or after a crash, publishes the same bytes or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, cast

from shared.application.bundle import Ports
from shared.application.dispatching import Work, dispatch_next, mark_unsent, read_work
from shared.application.pacer import GivenBack, NoRoom, Pacer, SeatLost
from shared.application.paging import items, page_documents, row_of
from shared.application.settling import settle, settle_failure, settle_proven
from shared.domain.board import Activity, Seat
from shared.domain.canonical import canonical_document, digest
from shared.domain.receipt import (
    Promise,
    Row,
    build_receipt,
    merkle_root,
    read_receipt,
    receipt_name,
    staging_name,
)
from shared.domain.slices import Cause, Slice, SliceState, Staged, Stored
from shared.domain.verdict import Kind, Verdict, compare
from shared.errors import EbbError, NotFound, PermanentError, Refused, TransientError, Unreadable
from shared.ports import Archive, Page, Query


class Mismatch(PermanentError):
    """The archive's bytes are not what the source gave."""

    def __init__(self, message: str, *, total: int) -> None:
        super().__init__(message)
        self.total = total


class Validating:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def run(self, message: str) -> str:
        """Validate the slice a message names; returns what was done, for the log."""
        work = read_work(self._ports, message)
        if isinstance(work, str):
            return work
        if work.slice.state not in {SliceState.COPIED, SliceState.VALIDATING}:
            return f"slice {work.slice.id} is {work.slice.state.value}, not copied"
        reread = work.spec.validation == "reread"
        seat = Seat(
            migration=work.migration.name,
            source=work.spec.source.name,
            range_id=work.slice.extent.range.id,
            slice_id=work.slice.id,
            fence=work.slice.fence,
            activity=Activity.REREAD if reread else Activity.VALIDATE,
            until_s=0.0,
        )
        try:
            pacer = Pacer.seated(self._ports, seat)
        except NoRoom as error:
            mark_unsent(self._ports, work.slice)
            return f"slice {work.slice.id} waits: {error}"
        if pacer is None:
            return f"slice {work.slice.id} is in other hands"
        try:
            return self._seated(work, pacer)
        except (SeatLost, GivenBack) as error:
            return str(error)
        finally:
            pacer.leave()
            dispatch_next(self._ports, work.migration.name)

    def _seated(self, work: Work, pacer: Pacer) -> str:
        validating = settle(self._ports, work, lambda s, totals: (s.validating(), totals))
        if validating is None:
            return f"slice {work.slice.id} had moved on"
        work = work.with_slice(validating)
        validation = Validation(self._ports, work, pacer)
        try:
            promise = validation.run()
        except Mismatch as error:
            return settle_failure(
                self._ports,
                work,
                cause=Cause.MISMATCH,
                error=error,
                ru=pacer.meter.spent_ru,
                mismatches=error.total,
            )
        except (SeatLost, GivenBack, TransientError):
            raise
        except EbbError as error:
            return settle_failure(self._ports, work, cause=Cause.FAULT, error=error)
        outcome = settle_proven(self._ports, work, promise, ru=pacer.meter.spent_ru)
        validation.clear_staging()
        return outcome


class Validation:
    """One pass over one staged slice."""

    def __init__(self, ports: Ports, work: Work, pacer: Pacer) -> None:
        self._ports = ports
        self._work = work
        self._pacer = pacer
        self._slice: Slice = work.slice
        self._seen: dict[str, Stored] = {}
        self._archive: Archive = ports.archives.open(
            work.spec.sink.container, work.spec.sink.prefix
        )

    def run(self) -> Promise:
        """Publish what was proven; Mismatch if anything staged is not what the source gave."""
        receipt = self._archive.read(receipt_name(self._slice.id))
        if receipt is None:
            self._prove()
            receipt = self._write_receipt()
        promise = read_receipt(receipt_name(self._slice.id), receipt)
        self._promote(promise)
        return promise

    def clear_staging(self) -> None:
        for kind in ("parquet", "manifest"):
            self._archive.delete(staging_name(self._slice.id, self._slice.fence, kind))

    def _prove(self) -> None:
        staged = self._staged()
        rows = self._manifest(staged)
        verdict = self._data_verdict(staged, rows)
        if not verdict.sound:
            raise Mismatch(
                f"validating slice {self._slice.id}, fence {self._slice.fence}: "
                f"{verdict.sentence()}; nothing was promoted",
                total=verdict.total,
            )
        if self._work.spec.validation == "reread":
            self._compare_with_source(rows)

    def _staged(self) -> Staged:
        if self._slice.staged is None:
            raise PermanentError(f"validating slice {self._slice.id}: nothing is staged")
        return self._slice.staged

    def _manifest(self, staged: Staged) -> list[Row]:
        with self._ports.scratch.open() as file:
            self._fetch(staged.manifest, file)
            rows = list(self._ports.table_format.manifest_rows(file))
        if merkle_root(row.leaf() for row in rows) != staged.merkle_root:
            raise Mismatch(
                f"validating slice {self._slice.id}: its manifest does not give the Merkle root "
                "recorded when it was read",
                total=1,
            )
        return rows

    def _data_verdict(self, staged: Staged, rows: list[Row]) -> Verdict:
        if staged.blob is None:
            return compare(rows, ())
        with self._ports.scratch.open() as file:
            try:
                self._fetch(staged.blob, file)
                return compare(rows, self._recomputed(file))
            except Unreadable as error:
                raise Mismatch(
                    f"validating slice {self._slice.id}: {error}", total=staged.documents
                ) from error

    def _recomputed(self, file: BinaryIO) -> Iterator[Row]:
        """Rows as the file has them, each with the digest of the bytes that stand there."""
        for row, document in self._ports.table_format.data_rows(file):
            self._pacer.keep()
            yield row.with_digest(digest(document))

    def _fetch(self, expected: Stored, file: BinaryIO) -> None:
        try:
            found = self._archive.download(expected.name, file)
        except NotFound as error:
            raise Mismatch(
                f"validating slice {self._slice.id}: {expected.name} is not there", total=1
            ) from error
        if (found.sha256, found.size_bytes) != (expected.sha256, expected.size_bytes):
            raise Mismatch(
                f"validating slice {self._slice.id}: {expected.name} has {found.size_bytes} bytes "
                f"with SHA-256 {found.sha256[:12]}…, not the {expected.size_bytes} bytes with "
                f"{expected.sha256[:12]}… that were written",
                total=1,
            )
        self._seen[expected.name] = found
        file.seek(0)

    def _compare_with_source(self, rows: list[Row]) -> None:
        """Read the window a second time; only documents still unchanged can contradict us."""
        expected = {row.key: row for row in rows}
        verdict = Verdict()
        for found in self._reread():
            wanted = expected.get(found.key)
            if wanted is None:
                verdict.add(Kind.MISSING, found.id)
            elif (wanted.etag, wanted.sha256) != (found.etag, found.sha256):
                verdict.add(Kind.CHANGED, found.id)
        if not verdict.sound:
            raise Mismatch(
                f"comparing slice {self._slice.id} with a second reading of the source: "
                f"{verdict.sentence()}",
                total=verdict.total,
            )

    def _reread(self) -> Iterator[Row]:
        spec = self._work.spec
        source = self._ports.sources.open(spec.source.database, spec.source.container)
        query = Query(extent=self._slice.extent, where=spec.cold.where)

        def ask(continuation: str | None) -> Page:
            return self._pacer.call(
                lambda: source.documents(
                    query,
                    continuation=continuation,
                    limit=page_documents(self._work.progress, self._pacer.rate_ru_per_s()),
                )
            )

        for document in items(ask):
            canonical = canonical_document(document)
            yield row_of(document, spec.source.partition_key, canonical)

    def _write_receipt(self) -> bytes:
        receipt = build_receipt(
            self._work.spec,
            self._work.migration,
            self._slice,
            validated_at_s=self._ports.clock.now_s(),
        )
        name = receipt_name(self._slice.id)
        if self._archive.put_if_absent(name, receipt):
            return receipt
        first = self._archive.read(name)
        if first is None:
            raise TransientError(f"reading receipt {name}: it was there and is gone again")
        return first

    def _promote(self, promise: Promise) -> None:
        """Publish what the receipt names; harmless to repeat, refused when it would differ."""
        if promise.migration_uid != self._work.migration.uid:
            raise Refused(
                f"promoting slice {self._slice.id}: a receipt of another migration "
                f"({promise.migration_uid}) stands in this sink; choose another sink.prefix"
            )
        wanted = [(promise.manifest, "manifest")]
        if promise.blob is not None:
            wanted.append((promise.blob, "parquet"))
        for target, kind in wanted:
            self._publish(target, staging_name(promise.slice_id, promise.fence, kind))

    def _publish(self, target: Stored, staged_name: str) -> None:
        self._pacer.keep()
        source = self._seen.get(staged_name) or self._hashed(staged_name)
        sound = source is not None and source.sha256 == target.sha256
        if source is not None and sound and self._archive.promote(source, target.name):
            return
        found = self._hashed(target.name)
        if found is None:
            raise TransientError(
                f"publishing {target.name}: {staged_name} does not hold the bytes that the "
                "receipt names, and they are not published either; look at both blobs' versions"
            )
        if found.sha256 != target.sha256:
            raise Mismatch(
                f"publishing {target.name}: a different blob stands there (SHA-256 "
                f"{found.sha256[:12]}…) and Ebb never wrote it; move it away, then resume",
                total=1,
            )

    def _hashed(self, name: str) -> Stored | None:
        try:
            return self._archive.download(name, cast("BinaryIO", _Nowhere()))
        except NotFound:
            return None


class _Nowhere:
    """A file that keeps nothing: for hashing a blob without holding it."""

    def write(self, data: bytes) -> int:
        return len(data)
