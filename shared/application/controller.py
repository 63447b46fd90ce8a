"""The tick: observe, decide, act, record. One at a time, bounded, and harmless to repeat.

It moves no documents; it says how fast they may move, what comes next, and when all is done.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from shared.application.bundle import Ports
from shared.application.dispatching import dispatch
from shared.application.pacer import MINUTE_S, change_board
from shared.application.planning import Allowance, AllowanceSpent, Planning, Plans
from shared.application.settling import halt
from shared.domain.board import BOARD_VALID_S, Board
from shared.domain.coverage import coverage_faults
from shared.domain.governor import (
    Decision,
    Demand,
    Memory,
    Reading,
    Share,
    Signals,
    decide,
    divide,
)
from shared.domain.pacing import COOL_DOWN_S
from shared.domain.receipt import SUMMARY, fingerprint
from shared.domain.slices import Migration, MigrationState, SliceState
from shared.domain.spec import MigrationSpec, parse_spec
from shared.errors import Conflict, EbbError, NotFound, PermanentError, TransientError
from shared.ports import Change, Entry, Held

MIGRATIONS_RUNNING_MAX = 16  # more wait their turn by priority; a tick's calls stay bounded
READINGS_SPAN_S = 900  # fifteen minutes: three times what Monitor may be late
SURVEY_SHARE = 0.1  # of the budget: planning costs a few per cent of what copying costs
OPEN_MIN = 8  # slices planned ahead of the workers, for those that turn out small
OPEN_MAX = 24
AHEAD_S = 60.0  # work for two ticks lies ready, so that a late tick starves nobody
QUARANTINED_MAX = 20  # more than these is not a few odd documents
FENCE_MAX = 60  # claims without a result: the slice kills whoever works on it


@dataclass(frozen=True, slots=True, kw_only=True)
class TickLimits:
    """How the tick reads Monitor's minutes."""

    metric_settle_s: float = 60.0  # a minute younger than this is still being added up


class Controller:
    def __init__(self, ports: Ports, limits: TickLimits) -> None:
        self._ports = ports
        self._limits = limits
        self._planning = Planning(ports)

    def tick(self) -> Entry | None:
        """One decision and what follows from it; None when another controller is at work."""
        held = self._ports.lease.acquire()
        if held is None:
            return None
        try:
            return self._tick(held)
        finally:
            self._ports.lease.release(held)

    def _tick(self, held: Held) -> Entry | None:
        running = self._running()
        if not running:
            self._clear_board(held)
            return None
        actions: dict[str, Any] = {}
        views = [view for view in (self._view(m, actions) for m in running) if view]
        if not views:
            return None
        decision, own_ru_per_s = self._decide(views)
        demands = tuple(_demand(view) for view in views)
        shares = divide(decision.budget_ru_per_s * (1 - SURVEY_SHARE), demands)
        board = self._publish(held, decision, shares)
        if board is None:
            return None
        self._act(board, decision, views, shares, actions)
        entry = Entry(decision=decision, shares=shares, own_ru_per_s=own_ru_per_s, actions=actions)
        self._ports.journal.record(entry)
        return entry

    def _running(self) -> list[Migration]:
        """Running migrations whose predecessors are complete, the most urgent first."""
        known = self._ports.ledger.migrations()
        complete = {m.name for m in known if m.state is MigrationState.COMPLETED}
        running = [m for m in known if m.state is MigrationState.RUNNING]
        ready = [m for m in running if set(parse_spec(m.spec_text).after) <= complete]
        ready.sort(key=lambda m: (-m.priority, m.created_at_s, m.name))
        return ready[:MIGRATIONS_RUNNING_MAX]

    def _view(self, migration: Migration, actions: dict[str, Any]) -> Plans | None:
        spec = parse_spec(migration.spec_text)
        try:
            progress = self._ports.ledger.progress(migration.name)
            if progress is None:
                self._planning.register_ranges(migration, spec)
                progress = self._ports.ledger.progress(migration.name)
        except TransientError as error:
            actions[f"{migration.name}.error"] = str(error)
            return None
        except PermanentError as error:
            halt(self._ports, migration.name, str(error))
            return None
        if progress is None:
            return None
        return Plans(
            migration=migration,
            spec=spec,
            progress=progress,
            ranges=self._ports.ledger.ranges(migration.name),
            slices=self._ports.ledger.open_slices(migration.name),
        )

    def _decide(self, views: list[Plans]) -> tuple[Decision, float]:
        now_s = self._ports.clock.now_s()
        capacity, capacity_from = _capacity(views)
        board = self._ports.boards.read()
        readings, own_ru_per_s, trouble = self._readings(now_s)
        signals = Signals(
            now_s=now_s,
            capacity_ru_per_s=capacity,
            capacity_from=capacity_from,
            ceiling=min(view.spec.ceiling for view in views),
            readings=readings,
            throttled_at_s=board.throttled_at_s or None,
            monitor_trouble=trouble,
        )
        decision, _ = decide(signals, Memory(budget_ru_per_s=board.budget_ru_per_s))
        return decision, own_ru_per_s

    def _readings(self, now_s: float) -> tuple[tuple[Reading, ...], float, str]:
        """Complete minutes, Monitor's total beside our own; none when Monitor cannot be asked."""
        since_s = (int(now_s) - READINGS_SPAN_S) // MINUTE_S * MINUTE_S
        settled_s = now_s - self._limits.metric_settle_s
        own = self._ports.metering.by_minute(since_s=since_s)
        trouble = ""
        try:
            totals = self._ports.monitor.total_ru_by_minute(since_s=since_s, until_s=int(now_s))
        except EbbError as error:
            totals, trouble = {}, str(error)
        readings = tuple(
            Reading(minute_s=minute, total_ru=total, own_ru=own.get(minute, 0.0))
            for minute, total in sorted(totals.items())
            if minute + MINUTE_S <= settled_s
        )
        latest = max(own, default=None)
        return readings, 0.0 if latest is None else own[latest] / MINUTE_S, trouble

    def _publish(self, held: Held, decision: Decision, shares: tuple[Share, ...]) -> Board | None:
        def decided(board: Board) -> Board | None:
            if board.controller_token > held.token:
                return None
            return replace(
                board,
                budget_ru_per_s=decision.budget_ru_per_s,
                shares_ru_per_s={share.migration: share.ru_per_s for share in shares},
                in_flight={share.migration: share.in_flight for share in shares},
                reason=decision.sentence,
                decided_at_s=decision.at_s,
                valid_until_s=decision.at_s + BOARD_VALID_S,
                controller_token=held.token,
                seats=board.live_seats(decision.at_s),
            )

        return change_board(self._ports, decided)

    def _clear_board(self, held: Held) -> None:
        def cleared(board: Board) -> Board | None:
            if board.controller_token > held.token or board.budget_ru_per_s == 0:
                return None
            return replace(
                board,
                budget_ru_per_s=0.0,
                shares_ru_per_s={},
                in_flight={},
                reason="no migration is running",
                controller_token=held.token,
            )

        change_board(self._ports, cleared)

    def _act(
        self,
        board: Board,
        decision: Decision,
        views: list[Plans],
        shares: tuple[Share, ...],
        actions: dict[str, Any],
    ) -> None:
        allowance = Allowance(self._ports, rate_ru_per_s=decision.budget_ru_per_s * SURVEY_SHARE)
        for view, share in zip(views, shares, strict=True):
            name = view.migration.name
            try:
                self._advance(view, share, allowance, actions)
            except AllowanceSpent:
                actions[f"{name}.waits"] = "the tick's allowance for asking is spent"
            except Conflict as error:
                actions[f"{name}.conflict"] = str(error)
            except TransientError as error:
                actions[f"{name}.error"] = str(error)
            except PermanentError as error:
                halt(self._ports, name, str(error))
                actions[f"{name}.halted"] = str(error)
            actions[f"{name}.sent"] = dispatch(
                self._ports, board, self._ports.ledger.open_slices(name)
            )
        allowance.meter.flush()
        if allowance.throttled is not None:
            now_s = self._ports.clock.now_s()
            change_board(self._ports, lambda b: b.throttled(now_s=now_s, hold_s=COOL_DOWN_S))

    def _advance(
        self,
        view: Plans,
        share: Share,
        allowance: Allowance,
        actions: dict[str, Any],
    ) -> None:
        name = view.migration.name
        if not view.progress.surveyed:
            if share.ru_per_s <= 0:
                return
            self._planning.survey(view, allowance)
            actions[f"{name}.surveyed"] = True
            return
        self._note_forecast(view, share)
        self._quarantine_deadly(view)
        if all(plan.finished for plan in view.ranges):
            self._finish(view, actions)
        elif share.ru_per_s > 0:
            ahead = _ahead(view.spec, share)
            actions[f"{name}.planned"] = self._planning.plan(
                view, batch_documents=share.batch_documents, ahead=ahead, allowance=allowance
            )

    def _note_forecast(self, view: Plans, share: Share) -> None:
        progress = view.progress
        if progress.forecast_s is not None or share.ru_per_s <= 0 or not progress.ru_per_document:
            return
        seconds = progress.documents_expected * progress.ru_per_document / share.ru_per_s
        self._ports.ledger.commit(
            view.migration.name, Change(progress=replace(progress, forecast_s=seconds))
        )

    def _quarantine_deadly(self, view: Plans) -> None:
        quarantined = [s for s in view.slices if s.state is SliceState.QUARANTINED]
        deadly = [s for s in view.slices if s.fence > FENCE_MAX]
        if len(quarantined) > QUARANTINED_MAX or deadly:
            example = (deadly or quarantined)[0]
            raise PermanentError(
                f"halting: {len(quarantined)} slices are quarantined and {len(deadly)} were "
                f"claimed over {FENCE_MAX} times, such as {example.id}: {example.error}"
            )

    def _finish(self, view: Plans, actions: dict[str, Any]) -> None:
        """Claim completion only if nothing is open and receipts tile the whole cold range."""
        name = view.migration.name
        if view.slices:
            stuck = [s for s in view.slices if s.state is SliceState.QUARANTINED]
            if len(stuck) == len(view.slices):
                raise PermanentError(
                    f"everything else is proven, but {len(stuck)} slice(s) are quarantined, such "
                    f"as {stuck[0].id}: {stuck[0].error}"
                )
            return
        Completion(self._ports, view).run()
        actions[f"{name}.completed"] = True


class Completion:
    """The end of a migration: coverage checked, the summary written once, the state moved on."""

    def __init__(self, ports: Ports, view: Plans) -> None:
        self._ports = ports
        self._view = view

    def run(self) -> None:
        view = self._view
        done = list(self._ports.ledger.done_slices(view.migration.name))
        faults = coverage_faults(
            (each.extent for each in done),
            range_ids=[plan.range.id for plan in view.ranges],
            until_s=view.migration.until_s,
        )
        if faults:
            raise PermanentError(f"receipts do not cover the cold range: {'; '.join(faults)}")
        root = fingerprint((each.id, each.receipt_sha256) for each in done)
        self._write_summary(root)
        self._record(root)

    def _write_summary(self, root: str) -> None:
        view = self._view
        archive = self._ports.archives.open(view.spec.sink.container, view.spec.sink.prefix)
        body = {
            "ebb_migration": 1,
            "name": view.migration.name,
            "uid": view.migration.uid,
            "until_s": view.migration.until_s,
            "ranges": [{"id": p.range.id, "token": p.range.token} for p in view.ranges],
            "receipts": view.progress.slices_proven,
            "documents": view.progress.documents_proven,
            "fingerprint": root,
        }
        data = json.dumps(body, indent=1, sort_keys=True).encode()
        if not archive.put_if_absent(SUMMARY, data) and archive.read(SUMMARY) != data:
            raise PermanentError(
                f"{SUMMARY} in the sink differs from what was proven; someone else wrote it"
            )

    def _record(self, root: str) -> None:
        now_s = self._ports.clock.now_s()
        name = self._view.migration.name
        progress = self._ports.ledger.progress(name)
        if progress is None:
            raise NotFound(f"completing {name}: its progress record is gone")
        finished = replace(progress, fingerprint=root, completed_at_s=now_s)
        self._ports.ledger.commit(name, Change(progress=finished))
        migration = self._ports.ledger.migration(name)
        if migration.state is MigrationState.RUNNING:
            text = (
                f"{progress.documents_proven} documents proven in {progress.slices_proven} slices"
            )
            self._ports.ledger.put_migration(
                migration.moved(MigrationState.COMPLETED, reason=text, now_s=now_s)
            )


def _demand(view: Plans) -> Demand:
    limits = view.spec.slice
    return Demand(
        migration=view.migration.name,
        priority=view.spec.priority,
        ru_per_document=view.progress.ru_per_document,
        bytes_per_document=view.progress.bytes_per_document,
        documents_max=limits.documents_max,
        bytes_max=limits.bytes_max,
        budget_s=limits.budget_s,
        in_flight_max=limits.in_flight_max,
    )


def _ahead(spec: MigrationSpec, share: Share) -> int:
    rounds = 1 + math.ceil(AHEAD_S / spec.slice.budget_s)
    return min(OPEN_MAX, max(OPEN_MIN, share.in_flight * rounds))


def _capacity(views: list[Plans]) -> tuple[float, str]:
    """The smallest capacity any running migration is told: one budget serves the account."""
    return min((_capacity_of(view) for view in views), key=lambda each: each[0])


def _capacity_of(view: Plans) -> tuple[float, str]:
    told = view.spec.capacity
    per_partition = told.ru_per_s_per_partition
    if told.partitions == "discover":
        count = len(view.ranges)
        return float(count * per_partition), f"{count} x {per_partition}, partitions discovered"
    return (
        float(told.partitions * per_partition),
        f"{told.partitions} x {per_partition}, as configured",
    )
