"""The tick: observe, decide, act, record. One at a time, bounded, and harmless to repeat.

It moves no documents; it says how fast they may move, what comes next, and when all is done.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from shared.application.bundle import Ports
from shared.application.conducting import Conducting
from shared.application.cycling import begin_cycles
from shared.application.deciding import Deciding, Observed, SourceViews
from shared.application.dispatching import dispatch
from shared.application.foretelling import note_forecast
from shared.application.measuring import measure_decision, measure_progress
from shared.application.notifying import post
from shared.application.ownership import check_account, claim_state, note_hold
from shared.application.pacer import change_board
from shared.application.planning import (
    Allowance,
    AllowanceSpent,
    Planning,
    Plans,
    planned_ahead,
)
from shared.application.retirements import (
    go_on_after_cycles,
    halt_retirement,
    retires_now,
    step,
)
from shared.application.settling import halt, halting_for
from shared.application.spark import Sparks
from shared.application.watching import watch
from shared.domain.board import Board, Grant
from shared.domain.coverage import coverage_faults
from shared.domain.halts import Halt, Halting
from shared.domain.receipt import fingerprint, summary_name
from shared.domain.runs import BURST_S, RUN_SHARE, Debt, Run
from shared.domain.sharing import USEFUL_RU_PER_S, Demand, Share, divide
from shared.domain.slices import CLAIMS_MAX, Cause, Migration, MigrationState, Slice, SliceState
from shared.domain.spec import parse_spec
from shared.errors import (
    Conflict,
    EbbError,
    NotFound,
    OtherAccount,
    OtherVersion,
    PermanentError,
    TransientError,
)
from shared.ports import Change, Entry, Held

MIGRATIONS_RUNNING_MAX = 16  # more wait their turn by priority; a tick's calls stay bounded
RANGES_ON_BOARD_MAX = 500  # of all sources together: the board's row holds no more
SURVEY_SHARE = 0.1  # of the budget: planning costs a few per cent of what copying costs
RANGES_IN_JOURNAL_MAX = 10  # the tightest explain a pace; a row per decision stays small
TICK_S_MAX = 25.0  # what begins after it waits: the next tick is due after 30 s
PLANNING_S_MAX = 15.0  # of it, for asking one source
RENEW_AFTER_S = 20.0  # a third of the lease, so that two renewals may fail
QUARANTINED_MAX = 20  # more than these is not a few odd documents


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """One source's decision on its way to being published and acted upon."""

    source: SourceViews
    observed: Observed
    shares: tuple[Share, ...]


class _Tenure:
    """The lease while a tick lasts: renewed as it goes on, and never acted upon when lost."""

    def __init__(self, ports: Ports, held: Held) -> None:
        self._ports = ports
        self.token = held.token
        self._held = held
        self._renewed_at_s = ports.clock.now_s()
        self.until_s = self._renewed_at_s + TICK_S_MAX

    def lasts(self) -> bool:
        now_s = self._ports.clock.now_s()
        if now_s - self._renewed_at_s < RENEW_AFTER_S:
            return True
        self._renewed_at_s = now_s
        return self._ports.lease.renew(self._held)


class Controller:
    def __init__(self, ports: Ports, *, metric_settle_s: float) -> None:
        self._ports = ports
        self._planning = Planning(ports)
        self._conducting = Conducting(ports)
        self._deciding = Deciding(ports, metric_settle_s=metric_settle_s)
        self._sparks = Sparks(ports)

    def tick(self) -> tuple[Entry, ...]:
        """A decision for each source and what follows; none when another controller is at work."""
        held = self._ports.lease.acquire()
        if held is None:
            return ()
        try:
            with self._ports.telemetry.span("tick"):
                claim_state(self._ports)
                return self._tick(_Tenure(self._ports, held))
        except (OtherAccount, OtherVersion) as error:
            note_hold(self._ports, error)
            raise
        finally:
            self._ports.lease.release(held)

    def _tick(self, tenure: _Tenure) -> tuple[Entry, ...]:
        board = self._ports.boards.read()
        actions: dict[str, Any] = {}
        known = begin_cycles(self._ports, self._ports.ledger.migrations(), actions)
        known = go_on_after_cycles(self._ports, known, actions)
        now_s = self._ports.clock.now_s()
        removing = {m.name for m in known if retires_now(self._ports, m, now_s)}
        spending = _spending(known, board.compared(now_s) | removing, board.holding)
        self._plan_waiting_removals(board, known, spending, actions)
        post(self._ports, known, actions)
        runs = self._runs_of_factory(actions)
        if not spending:
            self._clear_board(tenure.token)
            return ()
        sources = _by_source(view for m in spending if (view := self._view(m, actions)))
        if not sources:
            return ()
        decided = _in_turn(self._decided_of(sources, board, actions), tenure.token)
        if not decided or not tenure.lasts():
            return ()
        published = self._publish(tenure.token, decided)
        if published is None:
            return ()
        entries = self._acted_in_turn(published, decided, runs, tenure, actions)
        for each in decided:
            if self._ports.clock.now_s() < tenure.until_s:
                self._deciding.learn_habits(each.source)
        return entries

    def _acted_in_turn(
        self,
        published: Board,
        decided: list[_Decided],
        runs: tuple[Run, ...],
        tenure: _Tenure,
        actions: dict[str, Any],
    ) -> tuple[Entry, ...]:
        """What follows of each decision, while this is still the controller."""
        for each in decided:
            if not tenure.lasts():
                return ()
            remembered = watch(
                self._ports, each.source, each.shares, each.observed.remembered, published
            )
            debts = self._conducted(published, each, remembered.debts, runs, actions)
            self._ports.memories.keep(each.source.name, replace(remembered, debts=debts))
        entries: list[Entry] = []
        for each in decided:
            if not tenure.lasts():
                break
            entries.append(self._acted(published, each, tenure.until_s, actions))
        return tuple(entries)

    def _conducted(
        self,
        board: Board,
        decided: _Decided,
        debts: Mapping[str, Debt],
        runs: tuple[Run, ...],
        actions: dict[str, Any],
    ) -> dict[str, Debt]:
        """One step of each migration that a factory copies; returns what is still to be paid."""
        left: dict[str, Debt] = {}
        for view, share in zip(decided.source.views, decided.shares, strict=True):
            name = view.migration.name
            if view.spec.engine == "embedded" or not _is_running(view):
                continue
            left[name] = debt = debts.get(name, Debt(at_s=self._ports.clock.now_s()))
            try:
                done, left[name] = self._conducting.conduct(view, share, board, runs, debt)
                actions[f"{name}.runs"] = done.as_dict()
            except TransientError as error:
                actions[f"{name}.error"] = str(error)
            except PermanentError as error:
                halt(self._ports, name, error)
                actions[f"{name}.halted"] = str(error)
        return left

    def _runs_of_factory(self, actions: dict[str, Any]) -> tuple[Run, ...]:
        """What runs in the factory; runs of migrations that do not run are ended here."""
        theirs = [m for m in self._ports.ledger.migrations() if _is_for_factory(m)]
        if not theirs:
            return ()
        try:
            runs = self._conducting.runs()
            for each in theirs:
                if each.state is not MigrationState.RUNNING and (
                    ended := self._conducting.end_all(each, runs)
                ):
                    actions[f"{each.name}.runs_ended"] = ended
        except EbbError as error:
            actions["factory.error"] = str(error)
            return ()
        return runs

    def _plan_waiting_removals(
        self,
        board: Board,
        known: tuple[Migration, ...],
        spending: list[Migration],
        actions: dict[str, Any],
    ) -> None:
        """What has nothing to spend on now takes no share and nobody's turn, and is looked at."""
        counted = {each.name for each in spending}
        for each in known:
            if each.retiring and each.name not in counted:
                step(self._ports, each, board, actions)

    def _decided_of(
        self, sources: list[SourceViews], board: Board, actions: dict[str, Any]
    ) -> list[_Decided]:
        """A source of which nothing can be decided stops alone; if all do, the tick says why."""
        decided: list[_Decided] = []
        trouble: TransientError | None = None
        found = self._ports.together.run(
            [partial(self._decided, source, board) for source in sources]
        )
        for source, each in zip(sources, found, strict=True):
            if isinstance(each, _Decided):
                decided.append(each)
                continue
            actions[f"{source.name}.error"] = str(each)
            if isinstance(each, TransientError):
                trouble = each
            elif isinstance(each, PermanentError):
                self._halt_all_of(source, each)
        if trouble is not None and not decided:
            raise trouble
        return decided

    def _halt_all_of(self, source: SourceViews, error: PermanentError) -> None:
        for view in source.views:
            if _is_running(view):
                halt(self._ports, view.migration.name, error)
            if view.migration.retiring:
                halt_retirement(self._ports, view.migration.name, error)

    def _decided(self, source: SourceViews, board: Board) -> _Decided:
        observed = self._deciding.decide(source, board)
        if observed.is_idle:
            observed = self._sparks.struck(source, observed)
        budget = observed.decision.budget_ru_per_s * (1 - SURVEY_SHARE)
        shares = divide(budget, tuple(_demand(view) for view in source.views))
        return _Decided(source=source, observed=observed, shares=shares)

    def _acted(
        self, board: Board, decided: _Decided, until_s: float, actions: Mapping[str, Any]
    ) -> Entry:
        own_actions = dict(actions)
        self._act(board, decided, until_s, own_actions)
        decision = decided.observed.decision
        tightest = sorted(decision.range_ru_per_s.items(), key=lambda each: each[1])
        entry = Entry(
            source=decided.source.name,
            decision=replace(decision, range_ru_per_s=dict(tightest[:RANGES_IN_JOURNAL_MAX])),
            shares=decided.shares,
            own_ru_per_s=decided.observed.own_ru_per_s,
            actions=own_actions,
        )
        self._ports.journal.record(entry)
        measure_decision(self._ports.telemetry, entry)
        for view in decided.source.views:
            measure_progress(self._ports.telemetry, view.progress)
        return entry

    def _view(self, migration: Migration, actions: dict[str, Any]) -> Plans | None:
        spec = parse_spec(migration.spec_text)
        ledger = self._ports.ledger
        try:
            check_account(self._ports, spec)
            ranges = self._planning.extend_ranges(migration, ledger.ranges(migration.name))
            progress = ledger.progress(migration.name)
            if progress is None:
                self._planning.register_ranges(migration, spec)
                ranges = ledger.ranges(migration.name)
                progress = ledger.progress(migration.name)
        except (TransientError, OtherAccount) as error:
            actions[f"{migration.name}.error"] = str(error)
            return None
        except PermanentError as error:
            halt(self._ports, migration.name, error)
            return None
        if progress is None:
            return None
        return Plans(
            migration=migration,
            spec=spec,
            progress=progress,
            ranges=ranges,
            slices=ledger.open_slices(migration.name),
        )

    def _publish(self, token: int, decided: list[_Decided]) -> Board | None:
        now_s = min(each.observed.decision.at_s for each in decided)
        published_at_s = self._ports.clock.now_s()
        named = RANGES_ON_BOARD_MAX // len(decided)
        grants = {each.source.name: _grant(each, named) for each in decided}

        def publish(board: Board) -> Board | None:
            if board.controller_token > token:
                return None
            return board.decided(
                grants,
                now_s=now_s,
                controller_token=token,
                published_at_s=published_at_s,
            )

        return change_board(self._ports, publish)

    def _clear_board(self, token: int) -> None:
        def cleared(board: Board) -> Board | None:
            if board.controller_token > token or not board.budget_ru_per_s:
                return None
            now_s = self._ports.clock.now_s()
            return board.decided({}, now_s=now_s, controller_token=token)

        change_board(self._ports, cleared)

    def _act(
        self, board: Board, decided: _Decided, until_s: float, actions: dict[str, Any]
    ) -> None:
        source = decided.source.name
        grant = board.grants[source]
        allowance = Allowance(
            self._ports,
            source=source,
            rate_ru_per_s=_survey_rate(decided),
            until_s=min(until_s, self._ports.clock.now_s() + PLANNING_S_MAX),
        )
        for view, share in zip(decided.source.views, decided.shares, strict=True):
            name = view.migration.name
            if view.migration.retiring:
                step(self._ports, view.migration, board, actions)
            if not _is_running(view):
                continue
            try:
                note_forecast(self._ports, view, share, decided.observed.decision)
                self._advance(view, share, grant, allowance, actions)
            except AllowanceSpent:
                actions[f"{name}.waits"] = "the tick's allowance for asking is spent"
            except Conflict as error:
                actions[f"{name}.conflict"] = str(error)
            except TransientError as error:
                actions[f"{name}.error"] = str(error)
            except PermanentError as error:
                halt(self._ports, name, error)
                actions[f"{name}.halted"] = str(error)
            actions[f"{name}.sent"] = dispatch(
                self._ports,
                board,
                self._ports.ledger.open_slices(name),
                copying=view.spec.engine == "embedded",
            )
        allowance.meter.flush()
        full = allowance.throttled_on
        if full is not None:
            now_s = self._ports.clock.now_s()
            change_board(self._ports, lambda b: b.throttled(source, full, now_s=now_s))

    def _advance(
        self,
        view: Plans,
        share: Share,
        grant: Grant,
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
        self._quarantine_deadly(view)
        if all(plan.finished for plan in view.ranges):
            self._finish(view, actions)
        elif share.ru_per_s > 0:
            ahead = planned_ahead(view.spec, share)
            actions[f"{name}.planned"] = self._planning.plan(
                view, grant, share=share, ahead=ahead, allowance=allowance
            )

    def _quarantine_deadly(self, view: Plans) -> None:
        quarantined = [s for s in view.slices if s.state is SliceState.QUARANTINED]
        deadly = [s for s in view.slices if s.is_deadly]
        faulty = [s for s in quarantined if s.cause not in {None, Cause.DOCUMENT}]
        if faulty:  # its worker died, or met a full table, before it could halt
            raise halting_for(faulty[0])
        if len(quarantined) > QUARANTINED_MAX or deadly:
            example = (deadly or quarantined)[0]
            raise Halting(
                Halt.DEADLY_SLICE if deadly else Halt.TOO_MANY_QUARANTINED,
                f"halting: {len(quarantined)} slices are quarantined and {len(deadly)} were "
                f"claimed over {CLAIMS_MAX} times, such as {example.id}: {example.error}",
            )

    def _finish(self, view: Plans, actions: dict[str, Any]) -> None:
        """Claim completion only if nothing is open and receipts tile the whole cold range."""
        name = view.migration.name
        if view.slices:
            stuck = [s for s in view.slices if s.state is SliceState.QUARANTINED]
            if len(stuck) == len(view.slices):
                raise Halting(
                    Halt.ONLY_QUARANTINED,
                    f"everything else is proven, but {len(stuck)} slice(s) are quarantined, such "
                    f"as {stuck[0].id}: {stuck[0].error}",
                )
            return
        if Completion(self._ports, view).run():
            actions[f"{name}.completed"] = True


class Completion:
    """The end of a migration or cycle: coverage checked, summary written once, state moved on."""

    def __init__(self, ports: Ports, view: Plans) -> None:
        self._ports = ports
        self._view = view

    def run(self) -> bool:
        """Whether it is complete by this; not if somebody else moved it on meanwhile."""
        view = self._view
        done = list(self._ports.ledger.done_slices(view.migration.name))
        if not self._is_due(self._ports.ledger.migration(view.migration.name)):
            return False
        faults = coverage_faults(
            (each.extent for each in done),
            range_ids=[plan.range.id for plan in view.ranges],
            until_s=view.migration.until_s,
        )
        if faults:
            raise Halting(
                Halt.NOT_COVERED, f"receipts do not cover the cold range: {'; '.join(faults)}"
            )
        root = fingerprint((each.id, each.receipt_sha256) for each in done)
        self._write_summary(root, done)
        return self._record(root)

    def _is_due(self, migration: Migration) -> bool:
        """Not if it was ended meanwhile, and perhaps begun anew, by whoever came after us.

        A boundary moves before any slice is planned beyond it, so slices that were read before
        the record all lie within the boundary that is compared here.
        """
        running = migration.state is MigrationState.RUNNING
        return running and migration.until_s == self._view.migration.until_s

    def _write_summary(self, root: str, done: list[Slice]) -> None:
        """Its numbers are counted here: the totals were read before the last slice ended."""
        view = self._view
        archive = self._ports.archives.open(view.spec.sink.container, view.spec.sink.prefix)
        body = {
            "ebb_migration": 1,
            "name": view.migration.name,
            "uid": view.migration.uid,
            "until_s": view.migration.until_s,
            "ranges": [{"id": p.range.id, "token": p.range.token} for p in view.ranges],
            "receipts": len(done),
            "documents": sum(each.staged.documents for each in done if each.staged),
            "fingerprint": root,
        }
        data = json.dumps(body, indent=1, sort_keys=True).encode()
        name = summary_name(view.spec, view.migration.until_s)
        if not archive.put_if_absent(name, data) and archive.read(name) != data:
            raise Halting(
                Halt.FOREIGN_SUMMARY,
                f"{name} in the sink differs from what was proven; someone else wrote it",
            )

    def _record(self, root: str) -> bool:
        now_s = self._ports.clock.now_s()
        name = self._view.migration.name
        migration = self._ports.ledger.migration(name)
        if not self._is_due(migration):
            return False
        progress = self._ports.ledger.progress(name)
        if progress is None:
            raise NotFound(f"completing {name}: its progress record is gone")
        finished = replace(progress, fingerprint=root, completed_at_s=now_s)
        self._ports.ledger.commit(name, Change(progress=finished))
        text = f"{progress.documents_proven} documents proven in {progress.slices_proven} slices"
        self._ports.ledger.put_migration(
            migration.moved(MigrationState.COMPLETED, reason=text, now_s=now_s)
        )
        return True


def _spending(
    known: tuple[Migration, ...], compared: frozenset[str], holding: frozenset[str]
) -> list[Migration]:
    """Those running whose predecessors are complete, those compared and those retired.

    Where they are too many, those that were granted nothing let the others pass this time.
    """
    complete = {m.name for m in known if m.has_completed}
    running = [m for m in known if m.state is MigrationState.RUNNING]
    ready = [m for m in running if set(parse_spec(m.spec_text).after) <= complete]
    ready += [m for m in known if m.name in compared and m.state is not MigrationState.RUNNING]
    ready.sort(key=lambda m: (m.name in holding, -m.priority, m.created_at_s, m.name))
    return ready[:MIGRATIONS_RUNNING_MAX]


def _in_turn(decided: list[_Decided], token: int) -> list[_Decided]:
    """Another one comes first at each tick, so that a short tick leaves nobody out for good."""
    first = token % len(decided) if decided else 0
    return decided[first:] + decided[:first]


def _is_running(view: Plans) -> bool:
    return view.migration.state is MigrationState.RUNNING


def _is_for_factory(migration: Migration) -> bool:
    """Whether runs of it may be under way: once started, until it is complete."""
    begun = migration.state not in {MigrationState.REGISTERED, MigrationState.COMPLETED}
    return begun and parse_spec(migration.spec_text).engine != "embedded"


def _demand(view: Plans) -> Demand:
    limits = view.spec.slice
    embedded = view.spec.engine == "embedded"
    return Demand(
        migration=view.migration.name,
        priority=view.spec.priority,
        ru_per_document=view.progress.ru_per_document / (1.0 if embedded else 1.0 - RUN_SHARE),
        bytes_per_document=view.progress.bytes_per_document,
        documents_max=limits.documents_max,
        bytes_max=limits.bytes_max,
        budget_s=limits.budget_s if embedded else min(limits.budget_s, BURST_S),
        in_flight_max=limits.in_flight_max,
    )


def _by_source(views: Iterable[Plans]) -> list[SourceViews]:
    found: dict[str, SourceViews] = {}
    for view in views:
        name = view.spec.source.name
        found.setdefault(name, SourceViews(name=name, views=[])).views.append(view)
    return list(found.values())


def _grant(decided: _Decided, named: int) -> Grant:
    """The decision as workers read it: the tightest ranges by name, the rest by the next one."""
    decision = decided.observed.decision
    limits = sorted(decision.range_ru_per_s.items(), key=lambda each: each[1])
    copying = 1 - SURVEY_SHARE
    return Grant(
        budget_ru_per_s=decision.budget_ru_per_s,
        limit_ru_per_s=decision.ceiling * decision.capacity_ru_per_s,
        shares_ru_per_s={
            view.migration.name: share.ru_per_s * _for_seats(view)
            for view, share in zip(decided.source.views, decided.shares, strict=True)
        },
        in_flight={share.migration: share.in_flight for share in decided.shares},
        range_ru_per_s={name: _floor_tenth(ru * copying) for name, ru in limits[:named]},
        other_ranges_ru_per_s=limits[named][1] * copying if len(limits) > named else 0.0,
        stale_at_s=decision.stale_at_s,
        reason=decision.sentence,
    )


def _for_seats(view: Plans) -> float:
    """Of a migration's share, what workers with a seat may spend; the rest is for runs."""
    runs = view.spec.engine != "embedded" and _is_running(view)
    return 1.0 - RUN_SHARE if runs else 1.0


def _floor_tenth(ru_per_s: float) -> float:
    """Shorter to write, and never more than it was."""
    return math.floor(ru_per_s * 10) / 10


def _survey_rate(decided: _Decided) -> float:
    """Planning asks every range that is not paused, so the least of those sets its rate."""
    decision = decided.observed.decision
    open_ = [ru for ru in decision.range_ru_per_s.values() if ru >= USEFUL_RU_PER_S]
    return SURVEY_SHARE * min([decision.budget_ru_per_s, *open_])
