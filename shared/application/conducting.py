"""Conducting Data Factory runs: ordered one slice at a time, adopted, cancelled, and settled.

Called by each tick for each migration whose engine is the factory. A run is fenced by its slice's
fence; whatever it writes late, or under an old one, is looked at by nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from shared.application.bundle import Ports
from shared.application.dispatching import Work, next_first
from shared.application.paging import page_documents
from shared.application.planning import Plans
from shared.application.settling import settle, settle_failure, settle_released
from shared.domain.board import Board
from shared.domain.receipt import incoming_folder
from shared.domain.runs import (
    ADOPT_WITHIN_S,
    RUN_S_MAX,
    RUN_SHARE,
    Debt,
    Order,
    Run,
    RunCost,
    RunState,
)
from shared.domain.sharing import USEFUL_RU_PER_S, Share
from shared.domain.slices import Cause, Migration, RunNote, Slice, SliceState
from shared.errors import Conflict, EbbError
from shared.ports import Change, Incident, IncidentKind, Place

RUNS_LISTED_S = 3 * RUN_S_MAX
METERED_PART = 0.9  # of what a run probably used: too little makes the business look larger: safe
MINUTE_S = 60


@dataclass(slots=True)
class Conducted:
    """What one tick did with a migration's runs."""

    started: int = 0
    adopted: int = 0
    cancelled: int = 0
    ended: int = 0
    troubles: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        told = {name: getattr(self, name) for name in ("started", "adopted", "cancelled", "ended")}
        return {name: count for name, count in told.items() if count} | (
            {"troubles": self.troubles} if self.troubles else {}
        )


class Conducting:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def runs(self) -> tuple[Run, ...]:
        """All of Ebb's runs lately, asked for once a tick."""
        since_s = self._ports.clock.now_s() - RUNS_LISTED_S
        return self._ports.factory.runs(since_s=since_s)

    def conduct(
        self, view: Plans, share: Share, board: Board, runs: Iterable[Run], debt: Debt
    ) -> tuple[Conducted, Debt]:
        """One step; returns what was done and what is still to be paid for by time."""
        conducting = _Step(self._ports, view, share, board, runs)
        return conducting.run(debt)

    def end_all(self, migration: Migration, runs: Iterable[Run]) -> int:
        """Cancel every living run of a migration that does not run (any more)."""
        for each in self._ports.ledger.open_slices(migration.name):
            if each.state is SliceState.COPYING:
                with suppress(Conflict):
                    change = Change(slices=(each.released(),))
                    self._ports.ledger.commit(migration.name, change)
        living = [
            run
            for run in runs
            if run.migration == migration.name and run.live and run.state is not RunState.CANCELLING
        ]
        for run in living:
            self._ports.factory.cancel(run.id)
        return len(living)


class _Step:
    """One migration's runs within one tick."""

    def __init__(
        self, ports: Ports, view: Plans, share: Share, board: Board, runs: Iterable[Run]
    ) -> None:
        self._ports = ports
        self._view = view
        self._share = share
        self._board = board
        self._now_s = ports.clock.now_s()
        self._runs: Mapping[tuple[str, int], Run] = _by_slice(view.migration.name, runs)
        self._done = Conducted()
        self._allowed_ru_per_s = share.ru_per_s * RUN_SHARE

    def run(self, debt: Debt) -> tuple[Conducted, Debt]:
        working = [s for s in self._view.slices if s.state is SliceState.COPYING]
        living = [each for each in map(self._looked_after, working) if each is not None]
        self._cancel_orphans(self._view.slices)
        debt = debt.after(self._now_s, self._allowed_ru_per_s)
        if self._allowed_ru_per_s < USEFUL_RU_PER_S:
            for each in living:
                self._cancel(each, "there is no budget now")
        else:
            debt = self._started(debt, len(living))
        return self._done, debt

    def _work(self, target: Slice) -> Work:
        return Work(
            migration=self._view.migration,
            spec=self._view.spec,
            progress=self._view.progress,
            slice=target,
        )

    def _looked_after(self, target: Slice) -> Slice | None:
        """The slice if a living run works on it; otherwise what became of it is settled."""
        note = target.run or RunNote(ordered_at_s=target.sent_at_s)
        run = self._runs.get((target.id, target.fence))
        if run is None and note.id:
            run = self._ports.factory.run(note.id)
        if run is None:
            return self._awaited(target, note)
        if not note.id:
            target = self._adopted(target, note, run)
        self._meter(target, run)
        if not run.live:
            self._ended(target, run)
            return None
        if self._now_s - (run.started_at_s or note.ordered_at_s) > RUN_S_MAX:
            self._tell(f"run {run.id} of slice {target.id} took over {RUN_S_MAX:.0f} s")
            self._cancel(target, "it took too long")
            return None
        return target

    def _awaited(self, target: Slice, note: RunNote) -> Slice | None:
        """Ordered, and not to be found: it may show up yet, or its order never arrived."""
        if self._now_s - note.ordered_at_s <= ADOPT_WITHIN_S:
            return target
        self._tell(f"no run was found for slice {target.id}, fence {target.fence}; ordered anew")
        settle_released(self._ports, self._work(target), 0.0)
        return None

    def _adopted(self, target: Slice, note: RunNote, run: Run) -> Slice:
        self._done.adopted += 1
        known = replace(note, id=run.id)
        settled = settle(
            self._ports,
            self._work(target),
            lambda current, totals: (current.under_run(known), totals),
        )
        return target if settled is None else settled

    def _ended(self, target: Slice, run: Run) -> None:
        self._done.ended += 1
        self._count_cost(target, self._ports.factory.cost(run))
        work = self._work(target)
        if run.state is RunState.CANCELLED:
            self._tell(f"run {run.id} of slice {target.id} was cancelled by someone else")
            settle_released(self._ports, work, 0.0)
            return
        cause = Cause.MISMATCH if target.error else Cause.TRANSIENT
        text = target.error or run.message or f"run {run.id} ended as {run.state.value}"
        settle_failure(self._ports, work, cause=cause, error=EbbError(text))

    def _count_cost(self, target: Slice, cost: RunCost) -> None:
        settle(
            self._ports,
            self._work(target),
            lambda current, totals: (
                current,
                totals.with_run_cost(cost.activity_runs, cost.diu_hours, cost.ru),
            ),
        )

    def _cancel(self, target: Slice, why: str) -> None:
        """Give the slice back first: then the run is an orphan whatever happens next."""
        self._done.cancelled += 1
        settle_released(self._ports, self._work(target), 0.0)
        run_id = target.run.id if target.run else ""
        run = self._runs.get((target.id, target.fence))
        if run is not None or run_id:
            self._ports.factory.cancel(run.id if run is not None else run_id)
        self._done.troubles.append(f"cancelled the run of {target.id}: {why}")

    def _cancel_orphans(self, slices: Iterable[Slice]) -> None:
        """Living runs whose slice is under another fence by now, or no slice of ours at all."""
        current = {(s.id, s.fence) for s in slices if s.state in _UNDER_RUN}
        for key, run in self._runs.items():
            stray = run.live and run.state is not RunState.CANCELLING and key not in current
            if stray and not self._has_just_ended_well(run):
                self._ports.factory.cancel(run.id)
                self._done.cancelled += 1

    def _has_just_ended_well(self, run: Run) -> bool:
        """Its slice is proven by what it brought: let it come to its own end."""
        proven = self._ports.ledger.slice(run.migration, run.slice_id)
        young = self._now_s - run.started_at_s <= RUN_S_MAX
        return young and proven is not None and proven.fence == run.fence and _is_proven(proven)

    def _started(self, debt: Debt, living: int) -> Debt:
        waiting = next_first(self._board, self._view.slices, self._now_s)
        for target in waiting:
            if living >= self._share.in_flight or not debt.paid:
                break
            if target.state is SliceState.COPYING:
                continue
            if self._start(target):
                living += 1
                debt = debt.with_order(self._expected_ru(target))
        return debt

    def _expected_ru(self, target: Slice) -> float:
        return target.documents_planned * self._view.progress.ru_per_document

    def _start(self, target: Slice) -> bool:
        """Claim, then order: a lost reply leaves a claimed slice whose run is adopted later."""
        name = self._view.migration.name
        ordered = target.ordered(self._now_s)
        try:
            self._ports.ledger.commit(name, Change(slices=(ordered,)))
        except Conflict:
            return False
        run_id = self._ports.factory.start(self._order(ordered))
        self._done.started += 1
        settle(
            self._ports,
            self._work(ordered),
            lambda current, totals: (
                current.under_run(RunNote(ordered_at_s=self._now_s, id=run_id)),
                totals,
            ),
        )
        return True

    def _order(self, target: Slice) -> Order:
        spec = self._view.spec
        return Order(
            migration=self._view.migration.name,
            slice_id=target.id,
            fence=target.fence,
            database=spec.source.database,
            container=spec.source.container,
            extent=target.extent,
            where=spec.cold_where,
            sink=spec.sink.place,
            folder=incoming_folder(target.id, target.fence),
            documents=target.documents_planned,
            page_documents=page_documents(self._view.progress, self._allowed_ru_per_s),
            attempts_max=spec.slice.attempts_max,
        )

    def _meter(self, target: Slice, run: Run) -> None:
        """What a run has probably used so far, minute by minute: the factory does not say.

        Each tick sets the same totals anew, before any minute is old enough to be believed.
        """
        note = target.run or RunNote(ordered_at_s=run.started_at_s)
        begun_s = run.started_at_s or note.ordered_at_s
        ended_s = note.copied_at_s or run.ended_at_s or self._now_s
        documents = note.documents or target.documents_planned
        ru = documents * self._view.progress.ru_per_document * METERED_PART
        span_s = max(1.0, ended_s - begun_s, ru / max(1.0, self._allowed_ru_per_s))
        place = Place(source=self._view.spec.source.name, range_id=target.extent.range.id)
        spent = {
            (minute, place): ru * seconds / span_s
            for minute, seconds in _minutes(begun_s, ended_s).items()
        }
        self._ports.metering.add(f"run-{run.id}", spent)

    def _tell(self, text: str) -> None:
        self._ports.incidents.record(Incident(at_s=self._now_s, kind=IncidentKind.RUN, text=text))


_UNDER_RUN = frozenset({SliceState.COPYING, SliceState.COPIED, SliceState.VALIDATING})


def _is_proven(target: Slice) -> bool:
    return target.state is SliceState.PROVEN


def _by_slice(migration: str, runs: Iterable[Run]) -> dict[tuple[str, int], Run]:
    """The newest run of each slice and fence."""
    found: dict[tuple[str, int], Run] = {}
    for run in sorted(runs, key=lambda each: each.started_at_s):
        if run.migration == migration:
            found[run.slice_id, run.fence] = run
    return found


def _minutes(since_s: float, until_s: float) -> dict[int, float]:
    """Seconds of each UTC minute within a span."""
    found: dict[int, float] = {}
    minute = int(since_s) // MINUTE_S * MINUTE_S
    while minute < until_s:
        seconds = min(until_s, minute + MINUTE_S) - max(since_s, minute)
        if seconds > 0:
            found[minute] = seconds
        minute += MINUTE_S
    return found
