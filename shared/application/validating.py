"""Validating one staged slice from the bytes that are really there, then receipt and promotion.

The receipt is the commit point: it is written once per slice and names one fence's blob by hash,
so whoever finishes a promotion, now or after a crash, publishes the same bytes or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, cast

from shared.application.bundle import Ports
from shared.application.dispatching import Work, dispatch_next, mark_unsent, read_work
from shared.application.inspecting import Inspecting, Recorded
from shared.application.pacer import GivenBack, NoRoom, Pacer, SeatLost
from shared.application.paging import documents_of, rows_of
from shared.application.settling import settle, settle_failure, settle_proven
from shared.domain.board import Activity, Seat
from shared.domain.receipt import (
    Promise,
    Row,
    build_receipt,
    read_receipt,
    receipt_name,
    staging_name,
)
from shared.domain.slices import Cause, Slice, SliceState, Staged, Stored
from shared.domain.verdict import compare_with_source
from shared.errors import (
    EbbError,
    NotFound,
    PermanentError,
    Refused,
    ScratchFull,
    TransientError,
)
from shared.ports import Archive, Query


class Mismatch(PermanentError):
    """The archive's bytes are not what the source gave."""

    def __init__(self, message: str, *, total: int, harmed: bool = False) -> None:
        super().__init__(message)
        self.total = total
        self.harmed = harmed
        """Whether the bytes were harmed after they were read soundly, so that most may be kept."""


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
            with self._ports.scratch.reserved(self._scratch_bytes(work)):
                return self._seated(work, pacer)
        except (SeatLost, GivenBack, ScratchFull) as error:
            return str(error)
        finally:
            pacer.leave()
            dispatch_next(self._ports, work.migration.name)

    def _scratch_bytes(self, work: Work) -> int:
        """One file of the slice at a time: the blob is the larger one."""
        blob = work.slice.staged.blob if work.slice.staged is not None else None
        size_bytes = 0 if blob is None else blob.size_bytes
        return min(size_bytes, self._ports.scratch.bytes_max // 2)

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
                keep_staged=error.harmed,
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
        self._inspecting = Inspecting(ports, self._archive, keep=pacer.keep)

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
        found = self._inspecting.look(_recorded(staged))
        self._seen = found.seen
        if not found.sound:
            raise Mismatch(
                f"validating slice {self._slice.id}, fence {self._slice.fence}: "
                f"{found.sentence()}; nothing was promoted",
                total=found.wrong,
                harmed=True,
            )
        if self._work.spec.validation == "reread":
            self._compare_with_source(found.rows)

    def _staged(self) -> Staged:
        if self._slice.staged is None:
            raise PermanentError(f"validating slice {self._slice.id}: nothing is staged")
        return self._slice.staged

    def _compare_with_source(self, rows: list[Row]) -> None:
        """Read the window a second time, and a third before the archive is called wrong."""
        verdict = compare_with_source(rows, self._reread())
        if not verdict.sound:
            verdict = compare_with_source(rows, self._reread())
        if not verdict.sound:
            raise Mismatch(
                f"comparing slice {self._slice.id} with a second reading of the source: "
                f"{verdict.sentence()}",
                total=verdict.wrong,
            )

    def _reread(self) -> Iterator[Row]:
        spec = self._work.spec
        source = self._ports.sources.open(spec.source.database, spec.source.container)
        query = Query(extent=self._slice.extent, where=spec.cold_where)
        documents = documents_of(source, query, self._pacer, self._work.progress)
        return rows_of(documents, spec.source.partition_key)

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


def _recorded(staged: Staged) -> Recorded:
    return Recorded(
        blob=staged.blob,
        manifest=staged.manifest,
        merkle_root=staged.merkle_root,
        documents=staged.documents,
    )


class _Nowhere:
    """A file that keeps nothing: for hashing a blob without holding it."""

    def write(self, data: bytes) -> int:
        return len(data)
