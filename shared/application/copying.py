"""Copying one slice: count, read in turn, digest, count again, and stage a Parquet file.

What it leaves is staged and unproven; validating is a separate step by another invocation.
"""

from __future__ import annotations

from dataclasses import replace

from shared.application.bundle import Ports
from shared.application.dispatching import (
    Work,
    dispatch_next,
    mark_unsent,
    next_first,
    read_work,
    work_message,
)
from shared.application.pacer import GivenBack, NoRoom, Pacer, SeatLost
from shared.application.reading import Incomplete, Read, WindowReading
from shared.application.salvaging import Salvage
from shared.application.settling import settle_copied, settle_failure, settle_released
from shared.application.spooling import Spool, Spooled
from shared.domain.board import Activity, Seat
from shared.domain.merkle import merkle_root
from shared.domain.receipt import Row, staging_name
from shared.domain.slices import Cause, Slice, SliceState, Staged, Stored
from shared.domain.spec import MigrationSpec
from shared.errors import (
    Conflict,
    EbbError,
    PermanentError,
    Uncanonical,
)
from shared.ports import VALIDATE_QUEUE, Archive, Change, Source

SUPERSEDED_NAMED_MAX = 10  # an id may have 1,023 characters and a table property holds 32 Ki
STAY_S = 300.0  # no new slice after this: an invocation must end well before functionTimeout


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
        try:
            staged = SliceCopy(self._ports, claimed, pacer, earlier=work.slice.staged).run()
        except GivenBack as error:
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
        self._spec: MigrationSpec = work.spec
        self._slice: Slice = work.slice
        self._source: Source = ports.sources.open(
            work.spec.source.database, work.spec.source.container
        )
        self._archive: Archive = ports.archives.open(
            work.spec.sink.container, work.spec.sink.prefix
        )

    def run(self) -> Staged:
        with self._ports.scratch.open() as file:
            spool = Spool(file)
            read = self._read(spool)
            blob, rows = self._stage_data(spool, read.rows)
        root = merkle_root(row.leaf() for row in rows)
        manifest = self._stage_manifest(rows, root)
        return Staged(
            blob=blob,
            manifest=manifest,
            merkle_root=root,
            documents=len(rows),
            document_bytes=sum(each.size for each in read.rows),
            count_before=read.count_before,
            rows_read=read.rows_read,
            count_after=read.count_after,
            superseded=len(read.superseded),
            superseded_ids=read.superseded[:SUPERSEDED_NAMED_MAX],
            taken_over=read.taken_over,
            ru_spent=self._pacer.meter.spent_ru,
        )

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

    def _stage_data(self, spool: Spool, rows: list[Spooled]) -> tuple[Stored | None, list[Row]]:
        if not rows:
            return None, []
        name = staging_name(self._slice.id, self._slice.fence, "parquet")
        sink = self._archive.writer(name)
        table = self._ports.table_format.data_writer(
            sink,
            partition_key=self._spec.source.partition_key,
            promote=self._spec.sink.promote,
        )
        staged: list[Row] = []
        try:
            for each in rows:
                group = table.add(each.row, spool.document(each))
                staged.append(replace(each.row, row_group=group))
                self._pacer.keep()
            table.close({"slice": self._slice.id, "fence": str(self._slice.fence)})
        except BaseException:
            table.abandon()
            sink.abort()
            raise
        return sink.commit(), staged

    def _stage_manifest(self, rows: list[Row], root: str) -> Stored:
        sink = self._archive.writer(staging_name(self._slice.id, self._slice.fence, "manifest"))
        facts = {"slice": self._slice.id, "fence": str(self._slice.fence), "merkle_root": root}
        try:
            self._ports.table_format.write_manifest(sink, rows, facts)
        except BaseException:
            sink.abort()
            raise
        return sink.commit()
