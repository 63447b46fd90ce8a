"""Copying one slice: count, read in turn, digest, count again, and stage a Parquet file.

What it leaves is staged and unproven; validating is a separate step by another invocation.
"""

from __future__ import annotations

from shared.application.bundle import Ports
from shared.application.dispatching import (
    Work,
    dispatch_next,
    mark_unsent,
    next_first,
    read_work,
    work_message,
)
from shared.application.pacer import GivenBack, NoRoom, Pacer, SeatLost, TooSlow
from shared.application.reading import Incomplete, Read, WindowReading
from shared.application.salvaging import Salvage
from shared.application.settling import (
    settle_copied,
    settle_failure,
    settle_released,
    settle_too_slow,
)
from shared.application.spooling import Spool
from shared.application.staging import Staging
from shared.domain.board import Activity, Seat
from shared.domain.slices import Cause, SliceState, Staged
from shared.errors import (
    Conflict,
    EbbError,
    OtherVersion,
    PermanentError,
    ScratchFull,
    Uncanonical,
)
from shared.ports import VALIDATE_QUEUE, Archive, Change, Source

STAY_S = 300.0  # no new slice after this: an invocation must end well before functionTimeout


class TooLarge(EbbError):
    """The documents of the slice do not fit into the machine's scratch; it has to be cut."""

    seen_s: tuple[int, ...] = ()
    """`_ts` of the documents that were read until then."""


class Copying:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def run(self, message: str) -> str:
        """Copy the slice a message names, and those that follow while time and seat last.

        Staying seated saves each next slice the wait for a message and for the board.
        """
        work = read_work(self._ports, message)
        if isinstance(work, str):
            return work
        if work.spec.engine != "embedded":
            return f"slice {work.slice.id} is copied by a run of Data Factory"
        if work.slice.state in {SliceState.COPIED, SliceState.VALIDATING}:
            return f"slice {work.slice.id} is copied already"
        try:
            pacer = Pacer.seated(self._ports, _seat(work))
        except NoRoom as error:
            mark_unsent(self._ports, work.slice)
            return f"slice {work.slice.id} waits: {error}"
        if pacer is None:
            return f"slice {work.slice.id} is in other hands"
        try:
            return self._several(work, pacer)
        except SeatLost as error:
            return str(error)
        finally:
            pacer.leave()
            dispatch_next(self._ports, work.migration.name)

    def _several(self, first: Work, pacer: Pacer) -> str:
        until_s = self._ports.clock.now_s() + STAY_S
        outcomes: list[str] = []
        work: Work | None = first
        while work is not None:
            outcome, go_on = self._one(work, pacer)
            outcomes.append(outcome)
            now_s = self._ports.clock.now_s()
            work = self._following(work, pacer) if go_on and now_s < until_s else None
        return "; ".join(outcomes)

    def _following(self, work: Work, pacer: Pacer) -> Work | None:
        """The next waiting slice, with the seat moved to it."""
        now_s = self._ports.clock.now_s()
        board = self._ports.boards.read()
        for each in next_first(board, self._ports.ledger.open_slices(work.migration.name), now_s):
            if pacer.move_to(each.id, each.extent.range.id, each.fence + 1):
                following = read_work(self._ports, work_message(each))
                return None if isinstance(following, str) else following
        return None

    def _one(self, work: Work, pacer: Pacer) -> tuple[str, bool]:
        """Copy one slice; says what happened, and whether to go on to another."""
        claimed = self._claim(work)
        if claimed is None:
            return f"slice {work.slice.id} was claimed by someone else", False
        earlier = work.slice.staged
        try:
            with self._ports.scratch.reserved(self._scratch_bytes(claimed, earlier)):
                staged = SliceCopy(self._ports, claimed, pacer, earlier=earlier).run()
        except (TooSlow, TooLarge) as error:
            ru = pacer.meter.spent_ru
            return settle_too_slow(self._ports, claimed, seen_s=error.seen_s, ru=ru), False
        except (GivenBack, OtherVersion, ScratchFull) as error:
            settle_released(self._ports, claimed, pacer.meter.spent_ru)
            return str(error), False
        except SeatLost:
            raise
        except EbbError as error:
            ru = pacer.meter.spent_ru
            outcome = settle_failure(self._ports, claimed, cause=_cause(error), error=error, ru=ru)
            return outcome, True
        copied = settle_copied(self._ports, claimed, staged)
        if copied is None:
            return f"slice {work.slice.id} went to someone else while it was copied", False
        self._ports.mail.send(VALIDATE_QUEUE, work_message(copied))
        outcome = f"slice {copied.id} copied: {staged.documents} documents, fence {copied.fence}"
        return outcome, claimed.spec.validation == "readback"  # a reread needs the seat next

    def _scratch_bytes(self, work: Work, earlier: Staged | None) -> int:
        """Its documents as planned, and the staged blob beside them where it is taken over.

        Where that is more than half of the disk, half has to be free; if the documents then do
        not fit, the slice is cut.
        """
        planned = int(work.slice.documents_planned * work.progress.bytes_per_document)
        blob = earlier.blob.size_bytes if earlier is not None and earlier.blob is not None else 0
        return min(planned + blob, self._ports.scratch.bytes_max // 2)

    def _claim(self, work: Work) -> Work | None:
        claimed = work.slice.claimed()
        try:
            self._ports.ledger.commit(work.migration.name, Change(slices=(claimed,)))
        except Conflict:
            return None
        written = self._ports.ledger.slice(work.migration.name, work.slice.id)
        if written is None or written.fence != claimed.fence:
            return None
        return work.with_slice(written)


def _seat(work: Work) -> Seat:
    return Seat(
        migration=work.migration.name,
        source=work.spec.source.name,
        range_id=work.slice.extent.range.id,
        slice_id=work.slice.id,
        fence=work.slice.fence + 1,
        activity=Activity.COPY,
        until_s=0.0,
    )


def _cause(error: EbbError) -> Cause:
    if isinstance(error, Uncanonical):
        return Cause.DOCUMENT
    if isinstance(error, Incomplete):
        return Cause.INCOMPLETE
    if isinstance(error, PermanentError):
        return Cause.FAULT
    return Cause.TRANSIENT


class SliceCopy:
    """One attempt on one slice, from the first count to the staged manifest."""

    def __init__(
        self, ports: Ports, work: Work, pacer: Pacer, *, earlier: Staged | None = None
    ) -> None:
        self._ports = ports
        self._work = work
        self._pacer = pacer
        self._earlier = earlier
        self._source: Source = ports.sources.open(
            work.spec.source.database, work.spec.source.container
        )
        self._archive: Archive = ports.archives.open(
            work.spec.sink.container, work.spec.sink.prefix
        )

    def run(self) -> Staged:
        with self._ports.scratch.open() as file:
            spool = Spool(file)
            try:
                read = self._read(spool)
            except TooSlow as error:
                error.seen_s = tuple(each.row.ts for each in spool.rows)
                raise
            except ScratchFull as error:
                larger = TooLarge(f"slice {self._work.slice.id} does not fit: {error}")
                larger.seen_s = tuple(each.row.ts for each in spool.rows)
                raise larger from error
            staging = Staging(self._ports, self._archive, self._work, keep=self._pacer.keep)
            return staging.run(spool, read, ru=self._pacer.meter.spent_ru)

    def _read(self, spool: Spool) -> Read:
        """What an earlier attempt staged soundly is taken over; where that fails, all is read."""
        reading = WindowReading(self._work, self._source, self._pacer)
        if self._earlier is not None:
            salvage = Salvage(self._ports, self._archive, self._work, self._pacer, reading)
            salvaged = salvage.run(self._earlier, spool)
            if salvaged is not None:
                return salvaged
            spool.clear()
        return reading.run(spool)
