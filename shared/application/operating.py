"""What a person asks of a migration: apply, start, pause, resume, stop, and how it stands.

Each verb checks before it writes, writes once and conditionally, and says what to do when refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shared.application.bundle import Ports
from shared.application.ownership import check_account, claim_state
from shared.application.retirements import Retirements, retirement_shown, retires_now
from shared.domain.board import BOARD_VALID_S
from shared.domain.cycles import SETTLE_S, cold_until_s, due_at_s, watermark_s
from shared.domain.forecast import remaining_s
from shared.domain.pulse import retiring_pulse
from shared.domain.receipt import OWNER
from shared.domain.slices import Migration, MigrationState, Progress, Slice, SliceState, Window
from shared.domain.spec import (
    NO_STUB,
    MigrationSpec,
    declared_spec,
    key_advice,
    parse_spec,
    spec_text,
)
from shared.errors import Fault, Invalid, NotFound, PermanentError, Refused, WrongState
from shared.ports import Change, Entry

QUARANTINED_SHOWN_MAX = 20
DECISIONS_MAX = 1_000
# The journal holds every source's decisions: as many are read as it takes, 20 of its pages at most.
ENTRIES_READ = (1_000, 5_000, 20_000)
INCIDENTS_SHOWN_MAX = 10

_PACED = {MigrationState.RUNNING, MigrationState.COMPLETED}
_STARTABLE = {MigrationState.REGISTERED, MigrationState.STOPPED}
_STOPPABLE = {MigrationState.RUNNING, MigrationState.PAUSED, MigrationState.HALTED}
_STOPPABLE_SCHEDULED = _STOPPABLE | {MigrationState.COMPLETED}
_RESUMABLE = {MigrationState.PAUSED, MigrationState.HALTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A migration as a person sees it; `as_dict` is what HTTP and --json show."""

    migration: Migration
    spec: MigrationSpec
    progress: Progress | None
    slices: tuple[Slice, ...]
    watermark_s: int | None
    """Everything last written before this second is archived and proven."""
    budget_ru_per_s: float
    share_ru_per_s: float
    pace_reason: str
    stalled_since_s: float | None
    notifications_failed: Mapping[str, str]
    """Targets that the last notice did not reach, and why."""
    retirement: Mapping[str, Any] | None
    now_s: float

    @property
    def eta_s(self) -> float | None:
        """Seconds left; None while nothing is granted or known.

        At the present share, which workers use nearly all of; runs of a factory do not, so of
        those at their own pace since the start.
        """
        progress = self.progress
        if progress is None or not progress.surveyed or not progress.ru_per_document:
            return None
        if self.migration.state is not MigrationState.RUNNING or self.share_ru_per_s <= 0:
            return None
        if self.spec.engine != "embedded":
            proven = progress.documents_proven - progress.documents_before
            taken_s = self.now_s - progress.started_at_s
            return taken_s * progress.documents_left / proven if proven else None
        ru = progress.documents_left * progress.ru_per_document
        return remaining_s(ru, self.share_ru_per_s)

    @property
    def next_cycle_s(self) -> int | None:
        """From when the schedule goes on; None unless the migration waits for that."""
        waits = self.migration.state is MigrationState.COMPLETED
        return due_at_s(self.spec, self.migration.until_s) if waits else None

    def as_dict(self) -> dict[str, Any]:
        progress = self.progress or Progress(migration=self.migration.name)
        quarantined = [s for s in self.slices if s.state is SliceState.QUARANTINED]
        return {
            "name": self.migration.name,
            "state": self.migration.state.value,
            "reason": self.migration.reason,
            "halt": self.migration.halt,
            "engine": self.spec.engine,
            "priority": self.spec.priority,
            "cold_until_s": self.migration.until_s,
            "watermark_s": self.watermark_s,
            "next_cycle_s": self.next_cycle_s,
            "documents": {
                "expected": progress.documents_expected if progress.surveyed else None,
                "proven": progress.documents_proven,
                "superseded": progress.superseded,
                "mismatches": progress.mismatches,
            },
            "bytes": {"documents": progress.document_bytes, "blobs": progress.blob_bytes},
            "slices": {
                "proven": progress.slices_proven,
                "attempts_failed": progress.attempts_failed,
                **dict(sorted(Counter(s.state.value for s in self.slices).items())),
            },
            "quarantined": [
                {"slice": s.id, "error": s.error} for s in quarantined[:QUARANTINED_SHOWN_MAX]
            ],
            "ru": {
                "spent": round(progress.ru_spent, 1),
                "per_document": round(progress.ru_per_document, 2),
                "budget_per_s": round(self.budget_ru_per_s, 1),
                "share_per_s": round(self.share_ru_per_s, 1),
            },
            "factory": {
                "activity_runs": progress.activity_runs,
                "diu_hours": round(progress.diu_hours, 4),
            },
            "pace": self.pace_reason,
            "stalled_since_s": self.stalled_since_s,
            "notifications_failed": dict(self.notifications_failed),
            "forecast_s": progress.forecast_s,
            "eta_s": self.eta_s,
            "started_at_s": progress.started_at_s or None,
            "completed_at_s": progress.completed_at_s or None,
            "fingerprint": progress.fingerprint or None,
            "retirement": self.retirement,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Decisions that concerned a migration, newest first."""

    entries: tuple[Entry, ...]
    cut: bool
    """Whether older ones that were asked for may be missing."""


class Operating:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def apply(self, text: str, *, name: str | None = None) -> Migration:
        """Register a spec, or replace that of a migration which has not started."""
        spec = declared_spec(text)
        self._check_can_run(spec, name)
        claim_state(self._ports)
        now_s = self._ports.clock.now_s()
        known = self._known(spec.name)
        if known is not None and known.state is not MigrationState.REGISTERED:
            if parse_spec(known.spec_text) == spec:
                return known
            raise WrongState(
                f"applying {spec.name}: it is {known.state.value} and its slices follow the spec "
                "it started with; give the changed spec a new name and a new sink.prefix"
            )
        self._check_scratch(spec)
        self._check_source(spec)
        self._check_engine(spec)
        migration = Migration(
            name=spec.name,
            uid=known.uid if known else self._ports.names.new(),
            spec_text=spec_text(spec),
            state=MigrationState.REGISTERED,
            reason="applied",
            created_at_s=known.created_at_s if known else now_s,
            changed_at_s=now_s,
            priority=spec.priority,
            version=known.version if known else "",
        )
        return self._ports.ledger.put_migration(migration)

    def _check_scratch(self, spec: MigrationSpec) -> None:
        """A slice and the blob of its earlier attempt are on the disk at the same time."""
        most = self._ports.scratch.bytes_max // 2
        if spec.slice.bytes_max > most:
            fault = Fault(
                path="$.slice.bytes_max",
                seen=f"{spec.slice.bytes_max} bytes, and the app's temporary storage holds "
                f"{self._ports.scratch.bytes_max} for a slice and its earlier file together",
                advice=f"write at most {most >> 20}MiB",
            )
            raise Invalid(f"the spec of {spec.name}", (fault,))

    def change(self, name: str, verb: str) -> Migration:
        """Do what a verb says; NotFound names the verbs there are."""
        verbs = {
            "start": self.start,
            "pause": self.pause,
            "resume": self.resume,
            "stop": self.stop,
        }
        if verb not in verbs:
            raise NotFound(f"there is no {verb!r} for a migration; use {', '.join(verbs)}")
        return verbs[verb](name)

    def start(self, name: str) -> Migration:
        """Let the controller run it, after checking source and sink once more."""
        migration = self._ports.ledger.migration(name)
        _require(migration, "start", _STARTABLE)
        spec = parse_spec(migration.spec_text)
        check_account(self._ports, spec)
        self._check_source(spec)
        self._check_engine(spec)
        until_s = migration.until_s or self._until_s(spec)
        self._check_predecessors(spec)
        self._own_sink(migration, spec)
        moved = migration.moved(
            MigrationState.RUNNING, reason="started by hand", now_s=self._ports.clock.now_s()
        )
        return self._ports.ledger.put_migration(replace(moved, until_s=until_s))

    def pause(self, name: str) -> Migration:
        """Spend nothing more until resumed, retiring included; what is in hand is given back."""
        self._pause_retirement(name, "pause", {MigrationState.RUNNING})
        return self._move(name, "pause", {MigrationState.RUNNING}, MigrationState.PAUSED)

    def stop(self, name: str) -> Migration:
        """End the run, and the schedule; what is proven stays, and start goes on from there."""
        spec = parse_spec(self._ports.ledger.migration(name).spec_text)
        allowed = _STOPPABLE if spec.schedule is None else _STOPPABLE_SCHEDULED
        self._pause_retirement(name, "stop", allowed)
        return self._move(name, "stop", allowed, MigrationState.STOPPED)

    def _pause_retirement(self, name: str, doing: str, allowed: set[MigrationState]) -> None:
        """Before the migration itself, so that what is paused or stopped spends nothing at all."""
        migration = self._ports.ledger.migration(name)
        if migration.state not in allowed and migration.retiring:
            raise WrongState(
                f"cannot {doing} {name}: it is {migration.state.value}, and only its retirement "
                f"goes on; hold that with: ebb retire {name} --pause"
            )
        _require(migration, doing, allowed)
        retirement = self._ports.ledger.retirement(name) if migration.retiring else None
        if retirement is not None and retirement.running:
            Retirements(self._ports).pause(name)

    def resume(self, name: str) -> Migration:
        """Go on after a pause or a halt; quarantined and deadly slices get new attempts."""
        migration = self._ports.ledger.migration(name)
        _require(migration, "resume", _RESUMABLE)
        for each in self._ports.ledger.open_slices(name):
            if each.state is SliceState.QUARANTINED:
                self._ports.ledger.commit(name, Change(slices=(each.retried(),)))
            elif each.is_deadly:
                self._ports.ledger.commit(name, Change(slices=(each.forgiven(),)))
        return self._move(name, "resume", _RESUMABLE, MigrationState.RUNNING)

    def status(self, name: str) -> Status:
        return self._status(self._ports.ledger.migration(name))

    def statuses(self) -> tuple[Status, ...]:
        return tuple(self._status(m) for m in self._ports.ledger.migrations())

    def decisions(self, name: str, *, since_s: float, limit: int) -> Decided:
        """The decisions that concerned a migration, out of those for all sources."""
        self._ports.ledger.migration(name)
        wanted = min(limit, DECISIONS_MAX)
        for read_max in ENTRIES_READ:
            read = self._ports.journal.entries(since_s=since_s, limit=read_max)
            found = tuple(e for e in read if any(s.migration == name for s in e.shares))
            more = len(read) == read_max
            if len(found) >= wanted or not more:
                break
        return Decided(entries=found[:wanted], cut=more or len(found) > wanted)

    def health(self) -> dict[str, Any]:
        """Whether the controller decides and its stores answer; raises when they do not."""
        board = self._ports.boards.read()
        now_s = self._ports.clock.now_s()
        running = to_be_decided(self._ports, self._ports.ledger.migrations(), now_s)
        return {
            "healthy": not running or now_s < board.valid_until_s,
            "running": running,
            "decision_age_s": round(now_s - board.decided_at_s, 1) if board.decided_at_s else None,
            "budget_ru_per_s": round(board.budget_ru_per_s, 1),
            "reason": "; ".join(f"{s}: {g.reason}" for s, g in sorted(board.grants.items()))
            or "no migration is running",
            "incidents": [
                {"at_s": each.at_s, "kind": each.kind, "text": each.text}
                for each in self._ports.incidents.latest(limit=INCIDENTS_SHOWN_MAX)
            ],
        }

    def _status(self, migration: Migration) -> Status:
        board = self._ports.boards.read()
        now_s = self._ports.clock.now_s()
        watched = migration.is_at_work and now_s < board.valid_until_s
        fresh = watched and migration.state in _PACED
        spec = parse_spec(migration.spec_text)
        grant = board.grant_for(migration.name)
        waits_for = _waits_for(migration, spec, self._ports.ledger.migrations)
        if waits_for:
            pace = f"waiting for {', '.join(waits_for)} to complete"
        else:
            pace = grant.reason if fresh else f"{migration.state.value}: {migration.reason}"
        pulses = self._ports.memories.recall(spec.source.name).pulses if watched else {}
        own = (pulses.get(migration.name), pulses.get(retiring_pulse(migration.name)))
        stalls = [each.since_s for each in own if each and each.is_stalled(now_s)]
        ranges = self._ports.ledger.ranges(migration.name)  # before the slices, see watermark_s
        slices = self._ports.ledger.open_slices(migration.name)
        return Status(
            migration=migration,
            spec=spec,
            progress=self._ports.ledger.progress(migration.name),
            slices=slices,
            watermark_s=watermark_s(ranges, slices),
            budget_ru_per_s=grant.budget_ru_per_s if fresh else 0.0,
            share_ru_per_s=grant.shares_ru_per_s.get(migration.name, 0.0) if fresh else 0.0,
            stalled_since_s=min(stalls, default=None),
            pace_reason=pace,
            notifications_failed=self._untold(migration, spec),
            retirement=self._retirement(migration.name, spec),
            now_s=now_s,
        )

    def _retirement(self, name: str, spec: MigrationSpec) -> Mapping[str, Any] | None:
        if spec.retire == "keep":
            return None
        ledger = self._ports.ledger
        return retirement_shown(ledger.retirement(name), ledger.removals(name))

    def _untold(self, migration: Migration, spec: MigrationSpec) -> dict[str, str]:
        if not spec.notify:
            return {}
        told = self._ports.tellings.of(migration.name)
        return {each.target: each.trouble for each in told if each.trouble}

    def _move(
        self, name: str, doing: str, allowed: set[MigrationState], to: MigrationState
    ) -> Migration:
        migration = self._ports.ledger.migration(name)
        _require(migration, doing, allowed)
        now_s = self._ports.clock.now_s()
        reason = {"pause": "paused", "stop": "stopped", "resume": "resumed"}[doing] + " by hand"
        return self._ports.ledger.put_migration(migration.moved(to, reason=reason, now_s=now_s))

    def _known(self, name: str) -> Migration | None:
        try:
            return self._ports.ledger.migration(name)
        except NotFound:
            return None

    def _check_can_run(self, spec: MigrationSpec, name: str | None) -> None:
        faults = []
        if name is not None and name != spec.name:
            faults.append(
                Fault(path="$.name", seen=f"saw {spec.name!r}", advice=f"write {name!r} as asked")
            )
        if spec.source.account != self._ports.sources.account:
            faults.append(
                Fault(
                    path="$.source.account",
                    seen=f"saw {spec.source.account!r}",
                    advice=f"this Ebb serves the account {self._ports.sources.account!r}; write "
                    "that, or deploy an Ebb for the other account",
                )
            )
        if spec.retires_young(self._ports.clock.now_s()):
            seen = f"retire: {spec.retire} of documents written less than a day ago"
            advice = "write older_than: 1d or more, or retire_young: true where this is meant"
            faults.append(Fault(path="$.cold", seen=seen, advice=advice))
        faults += self._unknown_targets(spec)
        if faults:
            raise Invalid("the spec", tuple(faults))

    def _unknown_targets(self, spec: MigrationSpec) -> list[Fault]:
        """A name that stands for no address would be found out only when it is too late."""
        known = self._ports.webhooks.targets
        unknown = set(spec.notify) - known
        if not unknown:
            return []
        seen = f"{len(unknown)} of its {len(spec.notify)} names stand for no address"
        names = ", ".join(sorted(known)) or "none"
        advice = f"write names that the setting EBB_WEBHOOKS gives addresses; it has {names}"
        return [Fault(path="$.notify", seen=seen, advice=advice)]

    def _check_source(self, spec: MigrationSpec) -> None:
        source = self._ports.sources.open(spec.source.database, spec.source.container)
        paths = source.partition_key_paths()
        if paths != spec.source.partition_key:
            raise _faulty(
                path="$.source.partition_key",
                seen=f"saw {list(spec.source.partition_key)}",
                advice=key_advice(paths),
            )
        self._check_stubs(spec)
        self._until_s(spec)

    def _check_stubs(self, spec: MigrationSpec) -> None:
        """What one migration leaves in a container must not be archived by another."""
        faults = []
        for each in self._ports.ledger.migrations():
            other = parse_spec(each.spec_text)
            if each.name == spec.name or other.source.name != spec.source.name:
                continue
            if other.retire == "stub" and not spec.passes_stubs_by:
                advice = f"write {NO_STUB} into cold.where, or retire: stub"
                seen = f"migration {other.name} leaves stubs in this container"
                faults.append(Fault(path="$.cold.where", seen=seen, advice=advice))
            goes_on = other.schedule is not None and each.state is not MigrationState.STOPPED
            if spec.retire == "stub" and goes_on and not other.passes_stubs_by:
                advice = f"stop {other.name} first, and let another with {NO_STUB} take its place"
                seen = f"migration {other.name} goes on by its schedule and would archive the stubs"
                faults.append(Fault(path="$.retire", seen=seen, advice=advice))
        if faults:
            raise Invalid("the spec", tuple(faults))

    def _check_engine(self, spec: MigrationSpec) -> None:
        if spec.engine == "embedded":
            return
        try:
            self._ports.factory.check()
        except PermanentError as error:
            seen = f"saw {spec.engine!r}"
            raise _faulty(path="$.engine", seen=seen, advice=str(error)) from error

    def _until_s(self, spec: MigrationSpec) -> int:
        """Where the cold range ends at the start: settled, and in the past."""
        now_s = self._ports.clock.now_s()
        latest_s = int(now_s) - SETTLE_S
        until_s = spec.cold.until_s(now_s)
        if spec.cold.before is not None and until_s > latest_s:
            raise _faulty(
                path="$.cold.before",
                seen=f"it lies {until_s - latest_s} s too late",
                advice=f"only what was last written over {SETTLE_S} s ago can be archived; write "
                "an earlier instant",
            )
        return Window(lo_s=0, hi_s=cold_until_s(spec, now_s)).hi_s

    def _check_predecessors(self, spec: MigrationSpec) -> None:
        if not spec.after:
            return
        migrations = self._ports.ledger.migrations()
        known = {migration.name for migration in migrations}
        unknown = [name for name in spec.after if name not in known]
        if unknown:
            raise _faulty(
                path="$.after",
                seen=f"there is no migration {', '.join(unknown)}",
                advice="apply it first, or correct its name",
            )
        circle = _circle(spec.name, [each for each in migrations if not each.has_completed])
        if circle:
            raise _faulty(
                path="$.after",
                seen=f"a circle that never begins: {', after '.join(circle)}",
                advice="take a name out of after in one that has not started, and apply it again",
            )

    def _own_sink(self, migration: Migration, spec: MigrationSpec) -> None:
        self._ports.archives.make(spec.sink.container)
        archive = self._ports.archives.open(spec.sink.container, spec.sink.prefix)
        mine = {"ebb_owner": 1, "name": migration.name, "uid": migration.uid}
        data = json.dumps(mine, indent=1, sort_keys=True).encode()
        if archive.put_if_absent(OWNER, data):
            stranger = next(iter(archive.stored("receipts/")), None)
            if stranger is None:
                return
            archive.delete(OWNER)
            seen = f"receipts without an owner stand there, such as {stranger.name}"
        else:
            found = archive.read(OWNER)
            if found == data:
                return
            seen = f"it belongs to {_owner_of(found)}"
        raise Refused(
            f"starting {migration.name}: the sink {spec.sink.place} is taken: {seen}; choose "
            "another sink.prefix"
        )


def _faulty(*, path: str, seen: str, advice: str) -> Invalid:
    return Invalid("the spec", (Fault(path=path, seen=seen, advice=advice),))


def _circle(name: str, waited_for: Sequence[Migration]) -> list[str]:
    """The way from a migration through what it comes after back to itself; empty for none."""
    after = {each.name: parse_spec(each.spec_text).after for each in waited_for}
    ways, seen = [[name]], {name}
    while ways:
        way = ways.pop()
        if name in after.get(way[-1], ()):
            return [*way, name]
        onwards = set(after.get(way[-1], ())) - seen
        seen |= onwards
        ways += [[*way, each] for each in sorted(onwards)]
    return []


def to_be_decided(ports: Ports, migrations: Collection[Migration], now_s: float) -> list[str]:
    """Those for which the controller must have decided by now."""
    return [
        each.name
        for each in migrations
        if (each.state is MigrationState.RUNNING or retires_now(ports, each, now_s))
        and not _has_just_gone_on(each, now_s)
        and not _waits_for(each, parse_spec(each.spec_text), lambda: migrations)
    ]


def _waits_for(
    migration: Migration, spec: MigrationSpec, known: Callable[[], Collection[Migration]]
) -> list[str]:
    """Predecessors of a running migration that are not complete yet."""
    if migration.state is not MigrationState.RUNNING or not spec.after:
        return []
    complete = {each.name for each in known() if each.has_completed}
    return [name for name in spec.after if name not in complete]


def _has_just_gone_on(migration: Migration, now_s: float) -> bool:
    """A cycle begins before the tick that begins it has decided anything."""
    return migration.completed_until_s > 0 and now_s - migration.changed_at_s < BOARD_VALID_S


def _owner_of(data: bytes | None) -> str:
    try:
        body = json.loads(data or b"")
        return f"migration {body['name']!r} ({body['uid']})"
    except (ValueError, KeyError, TypeError):
        return "something that is not Ebb's"


def _require(migration: Migration, doing: str, allowed: set[MigrationState]) -> None:
    if migration.state not in allowed:
        states = " or ".join(sorted(state.value for state in allowed))
        raise WrongState(
            f"cannot {doing} {migration.name}: it is {migration.state.value} "
            f"({migration.reason}), and only what is {states} can be asked that"
        )
