"""Removing one proven slice from the source, or restoring it, batch by batch under the budget.

A worker takes a seat as for copying, claims the removal, holds the archive against the receipt
once more, and notes each batch. Whatever stops it, the next one goes on at the batch it was at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from shared.application.bundle import Ports
from shared.application.desk import until_written
from shared.application.dispatching import named_in
from shared.application.ownership import check_account
from shared.application.pacer import GivenBack, NoRoom, Pacer, SeatLost
from shared.application.removing import Batch, Deleting, Field, Outcomes, Stubbing, Undoing
from shared.application.retirements import (
    GATE_INDEX,
    GATE_PROTECTION,
    GATE_WRITE_REGIONS,
    dispatch_removals,
    halt_retirement,
    index_fault,
    is_index_lost,
    mark_removal_unsent,
    protection_fault,
    waiting_removals,
    write_regions_fault,
)
from shared.application.shelf import Item, Shelf, opened, promised
from shared.domain.addresses import why_unaddressable
from shared.domain.board import Activity, Seat
from shared.domain.halts import Halt, Halting
from shared.domain.pointers import BEGUN_WAIT_S
from shared.domain.removal_record import RemovalRecord
from shared.domain.retirement import (
    BATCH_DOCUMENTS,
    IDLE_CLAIMS_MAX,
    Direction,
    Outcome,
    Removal,
    RemovalState,
    Retirement,
    removal_id,
)
from shared.domain.slices import Migration, Slice
from shared.domain.spec import MigrationSpec, parse_spec
from shared.errors import Conflict, EbbError, OtherVersion, PermanentError, ScratchFull
from shared.ports import Archive, Change

STAY_S = 300.0  # as for copying: an invocation must end well before functionTimeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A removal with everything that was decided about it."""

    migration: Migration
    spec: MigrationSpec
    retirement: Retirement
    removal: Removal
    slice: Slice


class NotYet(EbbError):
    """The proof is younger than the grace period."""

    def __init__(self, message: str, *, until_s: float) -> None:
        super().__init__(message)
        self.until_s = until_s


class Held(EbbError):
    """The retirement was paused, turned round or halted while a slice was in hand."""


class Retiring:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def run(self, message: str) -> str:
        """Remove or restore the slice a message names, and those that follow while time lasts."""
        name, slice_id = named_in(message)
        errand = self._errand(name, slice_id)
        if isinstance(errand, str):
            return errand
        try:
            pacer = Pacer.seated(self._ports, _seat(errand))
        except NoRoom as error:
            mark_removal_unsent(self._ports, errand.removal)
            return f"the removal of slice {slice_id} waits: {error}"
        if pacer is None:
            return f"slice {slice_id} is in other hands"
        try:
            return self._several(errand, pacer)
        except (SeatLost, Conflict) as error:
            return str(error)
        finally:
            pacer.leave()
            dispatch_removals(self._ports, name)

    def _errand(self, name: str, slice_id: str) -> Errand | str:
        migration = self._ports.ledger.migration(name)
        spec = parse_spec(migration.spec_text)
        check_account(self._ports, spec)
        retirement = self._ports.ledger.retirement(name)
        if retirement is None or not retirement.running:
            state = retirement.state.value if retirement else "not asked for"
            return f"the retirement of {name} is {state}"
        removal = self._ports.ledger.removal(name, removal_id(retirement.direction, slice_id))
        done = self._ports.ledger.slice(name, slice_id)
        other_way = removal_id(retirement.direction.other, slice_id)
        if removal is None and self._ports.ledger.removal(name, other_way):
            return f"the retirement of {name} was turned round before slice {slice_id} was begun"
        if removal is None or done is None or not done.receipt_sha256:
            raise PermanentError(f"a queue message names slice {slice_id}, not planned for {name}")
        if removal.state is RemovalState.DONE:
            return f"the removal of slice {slice_id} is done"
        return Errand(
            migration=migration,
            spec=spec,
            retirement=retirement,
            removal=removal,
            slice=done,
        )

    def _several(self, first: Errand, pacer: Pacer) -> str:
        until_s = self._ports.clock.now_s() + STAY_S
        outcomes: list[str] = []
        errand: Errand | None = first
        while errand is not None:
            outcome, go_on = self._one(errand, pacer, until_s)
            outcomes.append(outcome)
            late = self._ports.clock.now_s() >= until_s
            errand = self._following(errand, pacer) if go_on and not late else None
        return "; ".join(outcomes)

    def _following(self, errand: Errand, pacer: Pacer) -> Errand | None:
        """The next waiting removal, with the seat moved to it."""
        name = errand.migration.name
        board, now_s = self._ports.boards.read(), self._ports.clock.now_s()
        for each in waiting_removals(board, self._ports.ledger.removals(name), now_s):
            if pacer.move_to(each.slice_id, each.range_id, each.fence + 1):
                following = self._errand(name, each.slice_id)
                return None if isinstance(following, str) else following
        return None

    def _one(self, errand: Errand, pacer: Pacer, until_s: float) -> tuple[str, bool]:
        """One slice as far as time and budget last; says what happened, and whether to go on."""
        claimed = self._claim(errand)
        if claimed is None:
            return f"the removal of slice {errand.slice.id} was claimed by someone else", False
        passage = Passage(self._ports, claimed, pacer, until_s=until_s)
        try:
            return passage.run(), True
        except (GivenBack, Held, OtherVersion, ScratchFull) as error:
            self._settled(claimed, lambda r: r.released(ru=passage.unnoted_ru))
            return str(error), False
        except NotYet as error:
            at_s = error.until_s
            self._settled(claimed, lambda r: r.released(ru=passage.unnoted_ru, retry_at_s=at_s))
            return str(error), True
        except (SeatLost, Conflict):
            raise
        except EbbError as error:
            return self._failed(claimed, error, passage.unnoted_ru), True

    def _claim(self, errand: Errand) -> Errand | None:
        name, claimed = errand.migration.name, errand.removal.claimed()
        try:
            self._ports.ledger.commit(name, Change(removals=(claimed,)))
        except Conflict:
            return None
        written = self._ports.ledger.removal(name, claimed.id)
        if written is None or written.fence != claimed.fence:
            return None
        return replace(errand, removal=written)

    def _failed(self, errand: Errand, error: EbbError, ru: float) -> str:
        now_s = self._ports.clock.now_s()
        unsound = isinstance(error, Halting) and error.halt is Halt.INDEX_INCOMPLETE

        def failing(removal: Removal) -> Removal:
            failed = removal.failed(str(error), ru=ru, now_s=now_s)
            return failed.restarted() if unsound and self._is_restoring(errand) else failed

        failed = self._settled(errand, failing)
        if failed is None:
            return f"the removal of slice {errand.slice.id} had moved on: {error}"
        name = errand.migration.name
        if isinstance(error, PermanentError):
            halt_retirement(self._ports, name, error)
        elif failed.failures >= errand.spec.slice.attempts_max:
            text = f"slice {errand.slice.id} failed {failed.failures} times: {error}"
            halt_retirement(self._ports, name, Halting(Halt.REMOVAL_FAILED, text))
        return f"the removal of slice {errand.slice.id} failed: {error}"

    def _is_restoring(self, errand: Errand) -> bool:
        return errand.removal.direction is Direction.RESTORE

    def _settled(self, errand: Errand, change: Callable[[Removal], Removal]) -> Removal | None:
        """The removal moved on by whoever holds it; None if someone else does by now."""
        name = errand.migration.name

        def settled() -> Removal | None:
            current = self._ports.ledger.removal(name, errand.removal.id)
            if current is None or current.fence != errand.removal.fence:
                return None
            if current.state is not RemovalState.WORKING:
                return None
            changed = change(current)
            self._ports.ledger.commit(name, Change(removals=(changed,)))
            return changed

        doing = f"recording the removal of slice {errand.slice.id}"
        return until_written(self._ports, settled, doing=doing)


class Passage:
    """One worker's way through one slice."""

    def __init__(self, ports: Ports, errand: Errand, pacer: Pacer, *, until_s: float) -> None:
        self._ports = ports
        self._errand = errand
        self._removal = errand.removal
        self._pacer = pacer
        self._until_s = until_s
        self._noted_ru = 0.0

    @cached_property
    def _archive(self) -> Archive:
        sink = self._errand.spec.sink
        return self._ports.archives.open(sink.container, sink.prefix)

    @property
    def unnoted_ru(self) -> float:
        return self._pacer.meter.spent_ru - self._noted_ru

    def run(self) -> str:
        self._check_deadly()
        self._check_protection()
        self._check_regions()
        self._check_index()
        promise = promised(self._archive, self._errand.slice)
        self._check_grace(promise.validated_at_s)
        removal = self._removal
        sink, keep = self._errand.spec.sink, self._pacer.keep
        with opened(self._ports, self._archive, sink, promise, keep=keep) as shelf:
            batch = self._batch(shelf)
            items = shelf.items(removal.offset, removal.documents, with_documents=not self._deletes)
            while several := tuple(islice(items, BATCH_DOCUMENTS)):
                self._pacer.keep()
                self._note(several, _outcomes(batch, several))
        return self._outcome()

    @property
    def _restores(self) -> bool:
        return self._removal.direction is Direction.RESTORE

    @property
    def _deletes(self) -> bool:
        return self._errand.retirement.mode == "delete" and not self._restores

    def _batch(self, shelf: Shelf) -> Batch:
        spec = self._errand.spec
        field = Field(
            ports=self._ports,
            spec=spec,
            source=self._ports.sources.open(spec.source.database, spec.source.container),
            extent=self._errand.slice.extent,
            pacer=self._pacer,
            still_mine=self._still_mine,
            repeats=shelf.repeats(),
            noted=self._removed.offset if self._removed else 0,
        )
        if self._restores:
            return Undoing(field, deleted=self._errand.retirement.mode == "delete")
        return Deleting(field) if self._deletes else Stubbing(field)

    @cached_property
    def _removed(self) -> Removal | None:
        """What is being undone here."""
        if not self._restores:
            return None
        removing_id = removal_id(Direction.REMOVE, self._removal.slice_id)
        return self._ports.ledger.removal(self._removal.migration, removing_id)

    def _still_mine(self) -> Removal:
        current = self._ports.ledger.removal(self._removal.migration, self._removal.id)
        if current is None or current.fence != self._removal.fence:
            raise SeatLost(f"the removal of slice {self._removal.slice_id} is someone else's now")
        return current

    def _check_deadly(self) -> None:
        if self._removal.idle_claims > IDLE_CLAIMS_MAX:
            raise Halting(
                Halt.REMOVAL_FAILED,
                f"slice {self._removal.slice_id} was claimed {self._removal.idle_claims} times in "
                "a row and moved nothing on: it stops whoever works on it; look at the app's log",
            )

    def _is_opened(self, gate: str) -> bool:
        return any(each.gate == gate for each in self._errand.retirement.overrides)

    def _check_regions(self) -> None:
        if self._restores or self._is_opened(GATE_WRITE_REGIONS):
            return
        fault = write_regions_fault(self._ports.sources.write_regions())
        if fault:
            raise Halting(Halt.GATE_CLOSED, f"removing slice {self._removal.slice_id}: {fault}")

    def _check_index(self) -> None:
        """Nothing goes before the mark that readers go by has been there for a while."""
        if not self._deletes:
            return
        pointers, source = self._ports.pointers, self._errand.spec.source.name
        retirement, now_s = self._errand.retirement, self._ports.clock.now_s()
        since_s = pointers.begun_s(source)
        if is_index_lost(retirement, since_s) and not self._is_opened(GATE_INDEX):
            raise Halting(Halt.INDEX_INCOMPLETE, index_fault(source, retirement.migration))
        seen_s = (pointers.begin(source, now_s) if since_s is None else since_s) + BEGUN_WAIT_S
        if now_s < seen_s:
            raise NotYet(
                f"slice {self._removal.slice_id} waits until every reader has seen that documents "
                "of its source are going to be removed",
                until_s=seen_s,
            )

    def _check_protection(self) -> None:
        blob = self._errand.slice.staged.blob if self._errand.slice.staged else None
        if self._restores or self._is_opened(GATE_PROTECTION) or blob is None:
            return
        fault = protection_fault(self._archive.protection(blob.name))
        if fault:
            raise Halting(Halt.GATE_CLOSED, f"removing slice {self._removal.slice_id}: {fault}")

    def _check_grace(self, validated_at_s: float) -> None:
        until_s = validated_at_s + self._errand.spec.retire_grace
        if not self._restores and self._ports.clock.now_s() < until_s:
            raise NotYet(
                f"slice {self._removal.slice_id} waits until its proof is "
                f"{self._errand.spec.retire_grace} s old",
                until_s=until_s,
            )

    def _note(self, items: tuple[Item, ...], outcomes: Outcomes) -> None:
        """The batch is behind us: one conditional write, which ends the removal if it was last."""
        told = [(item.row.id, outcomes[item.row.key]) for item in items]
        noted = self._removal.noted(told, ru=self.unnoted_ru)
        self._noted_ru = self._pacer.meter.spent_ru
        self._check_traced(noted)
        self._record(outcomes[item.row.key] for item in items)
        if noted.offset >= noted.documents:
            self._end(noted)
            return
        with suppress(Conflict):  # perhaps with our own write, whose reply was lost
            self._ports.ledger.commit(noted.migration, Change(removals=(noted,)))
        written = self._still_mine()
        if written.offset != noted.offset:
            raise Conflict(f"noting a batch of slice {noted.slice_id}: its record was changed")
        self._removal = written
        self._go_on_or_hold()

    def _record(self, outcomes: Iterable[Outcome]) -> None:
        """Into the archive, before the ledger: the index alone knows who removed a document."""
        record = RemovalRecord(
            name=self._removal.migration,
            uid=self._errand.migration.uid,
            mode=self._errand.retirement.mode,
            direction=self._removal.direction,
            slice_id=self._removal.slice_id,
            fence=self._removal.fence,
            first=self._removal.offset,
            outcomes=tuple(outcomes),
        )
        self._archive.put_if_absent(record.blob, record.as_bytes())

    def _check_traced(self, noted: Removal) -> None:
        """An undo finds a trace of each document that was removed, or the index is not whole."""
        removed = self._removed
        if removed is None or self._is_opened(GATE_INDEX):
            return
        if noted.untraced > removed.untraced_max:
            raise Halting(
                Halt.INDEX_INCOMPLETE,
                f"restoring slice {noted.slice_id}: {removed.moved} of its documents were removed, "
                f"and of {noted.untraced} neither the look-up index nor the source knows anything "
                f"({', '.join(noted.spared_ids)}); the index is not whole — rebuild it: ebb "
                f'reindex {noted.migration}, then --resume; or leave them: --accept-index "why"',
            )

    def _go_on_or_hold(self) -> None:
        retirement = self._ports.ledger.retirement(self._removal.migration)
        if retirement is None or not retirement.running:
            raise Held(f"the retirement of {self._removal.migration} runs no longer")
        if retirement.direction is not self._removal.direction:
            raise Held(f"the retirement of {self._removal.migration} was turned round")
        if self._ports.clock.now_s() >= self._until_s:
            raise Held(f"slice {self._removal.slice_id} goes on in another invocation")

    def _end(self, noted: Removal) -> None:
        """With the totals, in one transaction; conflicts come from other slices that end."""
        name, ended = noted.migration, noted.ended()

        def recorded() -> None:
            totals = self._ports.ledger.retirement(name)
            if totals is None:
                raise PermanentError(f"ending a removal of {name}: its retirement is gone")
            change = Change(removals=(ended,), retirement=totals.with_done(ended))
            try:
                self._ports.ledger.commit(name, change)
            except Conflict:
                if self._still_mine().state is not RemovalState.DONE:
                    raise

        until_written(self._ports, recorded, doing=f"ending the removal of slice {noted.slice_id}")
        self._removal = ended

    def _outcome(self) -> str:
        end = self._removal
        doing = "restored" if self._restores else "removed"
        return (
            f"slice {end.slice_id}: {end.moved} {doing}; left alone: {end.changed} changed, "
            f"{end.gone} gone, {end.unaddressable} that no request can name"
        )


def _outcomes(batch: Batch, items: tuple[Item, ...]) -> Outcomes:
    """What no request can name stays as it is, whichever way the others go."""
    named = tuple(item for item in items if not why_unaddressable(item.row.key))
    left = {item.row.key: Outcome.UNADDRESSABLE for item in items}
    return {**left, **(batch.run(named) if named else {})}


def _seat(errand: Errand) -> Seat:
    return Seat(
        migration=errand.migration.name,
        source=errand.spec.source.name,
        range_id=errand.removal.range_id,
        slice_id=errand.slice.id,
        fence=errand.removal.fence + 1,
        activity=Activity.RETIRE,
        until_s=0.0,
    )
