"""Receiving what a Data Factory run wrote: held against the source, then staged like any copy.

The run waits for the verdict. Its file is never promoted: what is staged is written by Ebb from
documents that were found equal to the source, so the archive is the same from both engines.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from shared.application.bundle import Ports
from shared.application.dispatching import Work, read_work, work_message
from shared.application.pacer import GivenBack, NoRoom, Pacer, SeatLost
from shared.application.paging import row_of
from shared.application.reading import Read, WindowReading
from shared.application.settling import settle, settle_copied
from shared.application.spooling import Spool, Spooled, in_file_order
from shared.application.staging import Staging
from shared.domain.board import Activity, Seat
from shared.domain.canonical import canonical_document
from shared.domain.receipt import Row, incoming_folder
from shared.domain.runs import cost_until_proven
from shared.domain.slices import RunNote, Slice, SliceState, Staged
from shared.domain.verdict import Kind, Verdict, compare_with_source
from shared.domain.version import FIELD, check_version
from shared.errors import (
    EbbError,
    Fault,
    Invalid,
    NotFound,
    PermanentError,
    Refused,
    ScratchFull,
    TransientError,
    Uncanonical,
    Unreadable,
    WrongState,
)
from shared.ports import RECEIVE_QUEUE, VALIDATE_QUEUE, Archive

RETRY_S = 10  # a seat is free sooner or later; the run's own limit ends the waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a run says it wrote, and where it waits for the verdict."""

    migration: str
    slice: str
    fence: int
    attempt: int
    path: str
    rows: int
    run_id: str
    callback: str
    billing: object = None


class Contradicted(PermanentError):
    """What the run wrote is not what the source holds."""

    def __init__(self, message: str, *, wrong: int) -> None:
        super().__init__(message)
        self.wrong = wrong


class Receiving:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def accept(self, slice_id: str, text: str) -> Delivery:
        """Check what a run says and put it on the queue; the verdict follows by its callback."""
        delivery = _delivery(slice_id, text)
        if not self._ports.callbacks.allows(delivery.callback):
            raise Refused(
                f"validating slice {slice_id}: the callback address is not one of Data Factory's; "
                "nothing was done — if it is, add its host to EBB_CALLBACK_HOSTS"
            )
        target = self._ports.ledger.slice(delivery.migration, slice_id)
        if target is None:
            raise NotFound(f"migration {delivery.migration} has no slice {slice_id}")
        _require_current(target, delivery)
        # Without a version while that is 1: an Ebb of before versions takes no other field.
        self._ports.mail.send(RECEIVE_QUEUE, json.dumps(asdict(delivery), sort_keys=True))
        return delivery

    def run(self, message: str) -> str:
        """Validate one delivery; returns what was done, for the log."""
        delivery = _queued(message)
        work = read_work(self._ports, message)
        if isinstance(work, str):
            return self._refuse(delivery, work)
        try:
            _require_current(work.slice, delivery)
        except WrongState as error:
            return self._refuse(delivery, str(error))
        try:
            pacer = Pacer.seated(self._ports, _seat(work))
        except NoRoom as error:
            return self._later(message, f"slice {work.slice.id} waits: {error}")
        if pacer is None:
            return self._later(message, f"slice {work.slice.id} is in other hands")
        try:
            return self._received(work, delivery, pacer)
        except (GivenBack, SeatLost, ScratchFull) as error:
            return self._later(message, str(error))
        finally:
            pacer.leave()

    def _received(self, work: Work, delivery: Delivery, pacer: Pacer) -> str:
        noted = self._noted(work, delivery)
        if noted is None:
            return self._refuse(delivery, f"slice {work.slice.id} had moved on")
        work = work.with_slice(noted)
        try:
            staged = Reception(self._ports, work, delivery, pacer).run()
        except Contradicted as error:
            self._doubt(work, error)
            return self._refuse(delivery, str(error), code="Mismatch")
        except (GivenBack, SeatLost, TransientError):
            raise
        except EbbError as error:
            self._doubt(work, error)
            return self._refuse(delivery, str(error), code="Failed")
        # The factory tells no request units; its reading costs about what ours of the same did.
        cost = cost_until_proven(delivery.attempt, delivery.billing, read_ru=staged.ru_spent)
        copied = settle_copied(self._ports, work, staged, cost=cost)
        if copied is None:
            return self._refuse(delivery, f"slice {work.slice.id} went to someone else")
        self._ports.mail.send(VALIDATE_QUEUE, work_message(copied))
        text = f"slice {copied.id}: {staged.documents} documents equal the source"
        self._ports.callbacks.answer(delivery.callback, ok=True, code="Validated", text=text)
        return text

    def _noted(self, work: Work, delivery: Delivery) -> Slice | None:
        """The slice with what is known of its run; copying ended no later than now."""
        now_s = self._ports.clock.now_s()

        def note(current: Slice) -> Slice:
            before = current.run or RunNote(ordered_at_s=now_s)
            copied_at_s = before.copied_at_s or now_s
            return current.under_run(
                replace(
                    before, id=delivery.run_id, copied_at_s=copied_at_s, documents=delivery.rows
                )
            )

        return settle(self._ports, work, lambda current, totals: (note(current), totals))

    def _doubt(self, work: Work, error: EbbError) -> None:
        wrong = error.wrong if isinstance(error, Contradicted) else 0
        settle(
            self._ports,
            work,
            lambda current, totals: (
                current.doubted(str(error)),
                replace(totals, mismatches=totals.mismatches + wrong),
            ),
        )

    def _refuse(self, delivery: Delivery, text: str, *, code: str = "Refused") -> str:
        self._ports.callbacks.answer(delivery.callback, ok=False, code=code, text=text)
        return text

    def _later(self, message: str, text: str) -> str:
        self._ports.mail.send(RECEIVE_QUEUE, message, delay_s=RETRY_S)
        return text


class Reception:
    """One delivery: the source read once more, the run's file beside it, and what is staged."""

    def __init__(self, ports: Ports, work: Work, delivery: Delivery, pacer: Pacer) -> None:
        self._ports = ports
        self._work = work
        self._delivery = delivery
        self._pacer = pacer
        source = work.spec.source
        opened = ports.sources.open(source.database, source.container)
        self._reading = WindowReading(work, opened, pacer)
        self._archive: Archive = ports.archives.open(
            work.spec.sink.container, work.spec.sink.prefix
        )

    def run(self) -> Staged:
        present = self._present()
        with self._ports.scratch.open() as file:
            spool = Spool(file)
            trouble = self._spool_file(spool)
            verdict = self._verdict(spool, present)
            if not verdict.sound:
                present = self._present()
                verdict = self._verdict(spool, present)
            if trouble or not verdict.sound:
                raise Contradicted(
                    f"comparing what run {self._delivery.run_id} wrote for slice "
                    f"{self._work.slice.id} with the source: {trouble}{verdict.sentence()}",
                    wrong=max(1, verdict.wrong),
                )
            read = _kept(spool.rows, present)
            staging = Staging(self._ports, self._archive, self._work, keep=self._pacer.keep)
            return staging.run(spool, read, ru=self._pacer.meter.spent_ru)

    def _present(self) -> Read:
        """The window as the source holds it now, complete by its counts; bodies are not kept."""
        return self._reading.run(_RowsOnly())

    def _spool_file(self, spool: Spool) -> str:
        """Everything that can be read of the run's file, and what kept the rest from being read."""
        paths = self._work.spec.source.partition_key
        name = _name_of(self._delivery) or ""
        with self._ports.scratch.open() as file:
            try:
                self._archive.download(name, file)
                file.seek(0)
                for document in self._ports.table_format.received(file):
                    self._pacer.keep()
                    canonical = canonical_document(document)
                    spool.add(row_of(document, paths, canonical), canonical)
            except (NotFound, Unreadable, Uncanonical) as error:
                return f"{name}: {error}; "
        return ""

    def _verdict(self, spool: Spool, present: Read) -> Verdict:
        verdict = compare_with_source(
            (each.row for each in spool.rows), (each.row for each in present.rows)
        )
        seen: set[tuple[str, str]] = set()
        for each in spool.rows:
            if each.row.key in seen:
                verdict.add(Kind.DUPLICATED, each.row.id)
            seen.add(each.row.key)
        return verdict


class _RowsOnly(Spool):
    """Keeps rows and forgets documents: for reading a window only to compare with it."""

    def __init__(self) -> None:
        self.rows = []

    def add(self, row: Row, document: bytes) -> None:
        self.rows.append(Spooled(row=row, offset=0, size=len(document)))


def _kept(rows: list[Spooled], present: Read) -> Read:
    """What the run wrote and the source still holds; what it holds no longer was superseded."""
    here = {each.row.key for each in present.rows}
    kept = [each for each in rows if each.row.key in here]
    gone = tuple(each.row.id for each in rows if each.row.key not in here)
    return Read(
        rows=in_file_order(kept),
        count_before=present.count_before + len(gone),
        rows_read=len(rows),
        count_after=len(kept),
        superseded=gone,
    )


def _seat(work: Work) -> Seat:
    return Seat(
        migration=work.migration.name,
        source=work.spec.source.name,
        range_id=work.slice.extent.range.id,
        slice_id=work.slice.id,
        fence=work.slice.fence,
        activity=Activity.REREAD,
        until_s=0.0,
    )


def _require_current(target: Slice, delivery: Delivery) -> None:
    """A late run with an old fence can write, but what it wrote is looked at by nobody."""
    if target.state is not SliceState.COPYING or target.fence != delivery.fence:
        raise WrongState(
            f"slice {target.id} is {target.state.value} under fence {target.fence}, and the run "
            f"{delivery.run_id} was begun under fence {delivery.fence}; its file is not used"
        )
    if _name_of(delivery) is None:
        raise WrongState(f"{delivery.path} is not in the folder of slice {target.id}'s run")


def _name_of(delivery: Delivery) -> str | None:
    """The file's name within its archive; None for one that lies elsewhere."""
    folder = f"{incoming_folder(delivery.slice, delivery.fence)}/"
    _, found, file = delivery.path.rpartition(folder)
    return f"{folder}{file}" if found and file and "/" not in file else None


def _delivery(slice_id: str, text: str) -> Delivery:
    try:
        body = json.loads(text)
        delivery = Delivery(
            migration=body["migration"],
            slice=body["slice"],
            fence=body["fence"],
            attempt=body["attempt"],
            path=body["path"],
            rows=body["rowsCopied"],
            run_id=body["runId"],
            callback=body["callBackUri"],
            billing=body.get("billing"),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        fault = Fault(
            path="$",
            seen=f"{type(error).__name__}: {error}"[:200],
            advice="only Ebb's own pipeline calls this; deploy it anew with 'ebb adf deploy'",
        )
        raise Invalid("the delivery", (fault,)) from error
    _check_types(delivery)
    if delivery.slice != slice_id:
        fault = Fault(path="$.slice", seen=repr(delivery.slice)[:80], advice=f"write {slice_id!r}")
        raise Invalid("the delivery", (fault,))
    return delivery


def _check_types(delivery: Delivery) -> None:
    texts = ("migration", "slice", "path", "run_id", "callback")
    faults = [
        Fault(path=f"$.{name}", seen=type(value).__name__, advice=f"write {kind.__name__}")
        for name, value in asdict(delivery).items()
        if name != "billing"
        for kind in ((str if name in texts else int),)
        if not isinstance(value, kind) or isinstance(value, bool)
    ]
    if faults:
        raise Invalid("the delivery", tuple(faults))


def _queued(message: str) -> Delivery:
    try:
        told = json.loads(message)
        check_version(told.pop(FIELD, None), thing=f"a message of {RECEIVE_QUEUE}")
        return Delivery(**told)
    except (ValueError, TypeError, AttributeError) as error:
        raise PermanentError(
            f"reading a message of {RECEIVE_QUEUE}: it is no delivery; only Ebb writes there"
        ) from error
