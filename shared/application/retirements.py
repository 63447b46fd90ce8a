"""A retirement as a whole: what must hold before it, what it will cost, and its course by the tick.

It removes nothing itself; workers do, slice by slice, while its record says that it runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from shared.application.bundle import Ports
from shared.application.desk import until_written
from shared.application.dispatching import RESEND_AFTER_S, message_of
from shared.application.ownership import check_account
from shared.application.shelf import promised
from shared.domain.board import Board
from shared.domain.coverage import coverage_faults
from shared.domain.halts import halt_of
from shared.domain.notices import NoticeKind
from shared.domain.receipt import (
    DATA,
    MANIFESTS,
    RECEIPTS,
    fingerprint,
    receipt_name,
    summary_name,
)
from shared.domain.retirement import (
    REASON_CHARS_MAX,
    Direction,
    Forecast,
    Gate,
    Override,
    Removal,
    RemovalState,
    Retirement,
    RetirementState,
    planned_for,
    removal_id,
)
from shared.domain.savings import write_ru
from shared.domain.slices import Migration, MigrationState, Progress, Slice
from shared.domain.spec import MigrationSpec, parse_spec
from shared.errors import (
    Conflict,
    Fault,
    Invalid,
    NotFound,
    PermanentError,
    Refused,
    TransientError,
    WrongState,
)
from shared.ports import RETIRE_QUEUE, Archive, Change, Protection

GATE_PROTECTION = "protection"
GATE_CHANGE_FEED = "change_feed"
GATE_WRITE_REGIONS = "write_regions"
GATE_INDEX = "index"
GATE_TIME_TO_LIVE = "time_to_live"
OVERRIDABLE = (
    GATE_PROTECTION,
    GATE_CHANGE_FEED,
    GATE_WRITE_REGIONS,
    GATE_TIME_TO_LIVE,
    GATE_INDEX,
)
WAITING_MAX = 200  # open in all: those in their grace period hold nobody else up
OPEN_MAX = 24  # planned ahead of the workers, as for copying
LOOKED_THROUGH_MAX = 100  # done slices of one tick; empty ones need no removal
RECEIPTS_READ_MAX = 1_000  # by a dry run, some ten seconds; a worker reads each before it removes
NAMED_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A dry run: what holds, what it would cost, and how far it is."""

    name: str
    mode: str
    gates: tuple[Gate, ...]
    forecast: Forecast
    waiting: int
    """Slices whose proof is younger than the grace period."""
    retirement: Retirement | None
    removals: tuple[Removal, ...]

    @property
    def closed(self) -> tuple[Gate, ...]:
        return tuple(gate for gate in self.gates if not gate.opens)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "mode": self.mode,
            "possible": not self.closed,
            "gates": [{**asdict(gate), "opens": gate.opens} for gate in self.gates],
            "forecast": asdict(self.forecast),
            "slices_in_grace": self.waiting,
            "retirement": retirement_shown(self.retirement, self.removals),
        }


def retirement_shown(
    retirement: Retirement | None, removals: Iterable[Removal]
) -> dict[str, Any] | None:
    """As HTTP, --json and the status show it; what is under way counts as far as it is noted."""
    if retirement is None:
        return None
    open_ = tuple(removals)
    here = [each for each in open_ if each.direction is retirement.direction]
    so_far = retirement
    for each in open_:
        so_far = so_far.with_done(each)
    spared = sorted({name for each in open_ for name in each.spared_ids})
    return {
        "mode": retirement.mode,
        "direction": retirement.direction.value,
        "state": retirement.state.value,
        "reason": retirement.reason,
        "halt": retirement.halt,
        "documents": {
            "expected": retirement.documents_expected,
            "removed": so_far.documents_removed,
            "restored": so_far.documents_restored,
            "spared_changed": so_far.spared_changed,
            "spared_gone": so_far.spared_gone,
            "spared_unaddressable": so_far.spared_unaddressable,
        },
        "spared_now": spared[:NAMED_MAX],
        "slices": {"done": retirement.slices_done, "open": len(here)},
        "errors": [f"{e.slice_id}: {e.error}" for e in open_ if e.error][:NAMED_MAX],
        "ru": {
            "spent": round(so_far.ru_spent, 1),
            "per_document": round(retirement.ru_per_document, 2),
        },
        "overrides": [asdict(each) for each in retirement.overrides],
        "started_at_s": retirement.started_at_s or None,
        "done_at_s": retirement.done_at_s or None,
    }


class Retirements:
    """What a person asks of a retirement."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def assess(self, name: str, reasons: Mapping[str, str] | None = None) -> Assessment:
        """A dry run: every gate looked at, nothing changed, no request unit spent."""
        migration = self._ports.ledger.migration(name)
        spec = parse_spec(migration.spec_text)
        check_account(self._ports, spec)
        retirement = self._ports.ledger.retirement(name)
        given = {each.gate: each.reason for each in retirement.overrides} if retirement else {}
        examined = _Gates(self._ports, migration, spec, {**given, **_checked(reasons or {})})
        gates = examined.all()
        return Assessment(
            name=name,
            mode=spec.retire,
            gates=gates,
            forecast=_forecast(self._ports.ledger.progress(name), retirement),
            waiting=examined.waiting,
            retirement=retirement,
            removals=self._ports.ledger.removals(name),
        )

    def change(self, name: str, action: str, reasons: Mapping[str, str]) -> Retirement:
        """Do what an action says; Invalid names the actions there are."""
        actions: dict[str, Callable[[], Retirement]] = {
            "execute": lambda: self.execute(name, reasons),
            "undo": lambda: self.undo(name),
            "pause": lambda: self.pause(name),
            "resume": lambda: self.resume(name, reasons),
        }
        if action not in actions:
            advice = f"write one of {', '.join(actions)}"
            fault = Fault(path="$.action", seen=f"saw {action[:40]!r}", advice=advice)
            raise Invalid("the request", (fault,))
        if reasons and action not in {"execute", "resume"}:
            advice = "leave it out, or give it with execute or resume"
            fault = Fault(path="$.action", seen=f"a reason came with {action}", advice=advice)
            raise Invalid("the request", (fault,))
        return actions[action]()

    def execute(self, name: str, reasons: Mapping[str, str]) -> Retirement:
        """Begin, if every gate opens; Refused names each that does not, and what to do."""
        known = self._ports.ledger.retirement(name)
        if known is not None:
            return self._begun(known)
        assessment = self.assess(name, reasons)
        if assessment.closed:
            lines = "".join(f"\n  - {gate.name}: {gate.text}" for gate in assessment.closed)
            raise Refused(
                f"retiring {name}: {len(assessment.closed)} condition(s) do not hold; nothing was "
                f"removed:{lines}"
            )
        now_s = self._ports.clock.now_s()
        self._mark_index(name, assessment.mode, now_s)
        begun = Retirement(
            migration=name,
            mode=assessment.mode,
            reason="executed by hand",
            documents_expected=assessment.forecast.documents,
            until_s=self._ports.ledger.migration(name).completed_until_s,
            overrides=tuple(
                Override(gate=gate.name, reason=gate.overridden, at_s=now_s)
                for gate in assessment.gates
                if gate.overridden and not gate.holds
            ),
            started_at_s=now_s,
            changed_at_s=now_s,
        )
        return self._put(begun)

    def _mark_index(self, name: str, mode: str, now_s: float) -> None:
        """Readers learn that documents will go before the first one does."""
        if mode == "delete":
            spec = parse_spec(self._ports.ledger.migration(name).spec_text)
            self._ports.pointers.begin(spec.source.name, now_s)

    def undo(self, name: str) -> Retirement:
        """Turn round: what was removed is restored, slice by slice; the archive stays."""
        known = self._known(name)
        return self._put(known.undone(self._ports.clock.now_s()))

    def pause(self, name: str) -> Retirement:
        return self._move(name, "pause", {RetirementState.RUNNING}, RetirementState.PAUSED)

    def resume(self, name: str, reasons: Mapping[str, str] | None = None) -> Retirement:
        """Go on after a pause or a halt, with reasons for gates that closed meanwhile."""
        allowed = {RetirementState.PAUSED, RetirementState.HALTED}
        known = self._known(name)
        _require(known, "resume", allowed)
        given = _checked(reasons or {})
        if given:
            opened = known.opened(given, self._ports.clock.now_s())
            self._ports.ledger.commit(name, Change(retirement=opened))
        for each in self._ports.ledger.removals(name):
            if each.failures or each.idle_claims:
                self._ports.ledger.commit(name, Change(removals=(each.forgiven(),)))
        return self._move(name, "resume", allowed, RetirementState.RUNNING)

    def _begun(self, known: Retirement) -> Retirement:
        """Asked again: harmless while it runs, so that a lost reply costs nothing."""
        if known.direction is Direction.RESTORE:
            raise WrongState(
                f"cannot retire {known.migration}: it was undone, and what came back has new "
                "versions; archive it by a new migration and retire that one"
            )
        if known.state in {RetirementState.PAUSED, RetirementState.HALTED}:
            raise WrongState(
                f"cannot execute the retirement of {known.migration}: it is {known.state.value} "
                f"({known.reason}); go on with: ebb retire {known.migration} --resume"
            )
        return self._put(known) if known.running else known

    def _known(self, name: str) -> Retirement:
        self._ports.ledger.migration(name)
        known = self._ports.ledger.retirement(name)
        if known is None:
            raise NotFound(f"{name} is not being retired; begin with: ebb retire {name} --execute")
        return known

    def _move(
        self, name: str, doing: str, allowed: set[RetirementState], to: RetirementState
    ) -> Retirement:
        known = self._known(name)
        _require(known, doing, allowed)
        reason = f"{doing}d by hand"
        return self._put(known.moved(to, reason=reason, now_s=self._ports.clock.now_s()))

    def _put(self, retirement: Retirement) -> Retirement:
        """The record first: it decides; the migration's mark only makes a tick look at it."""
        self._ports.ledger.commit(retirement.migration, Change(retirement=retirement))
        _mark(self._ports, retirement.migration)
        written = self._ports.ledger.retirement(retirement.migration)
        return written or retirement


class _Gates:
    """What must hold before anything is removed, looked at one after the other."""

    def __init__(
        self, ports: Ports, migration: Migration, spec: MigrationSpec, reasons: Mapping[str, str]
    ) -> None:
        self._ports = ports
        self._migration = migration
        self._spec = spec
        self._reasons = reasons
        self._archive: Archive = ports.archives.open(spec.sink.container, spec.sink.prefix)
        self._progress = ports.ledger.progress(migration.name)
        self._summary_name = summary_name(spec, migration.until_s)
        self.waiting = 0

    def all(self) -> tuple[Gate, ...]:
        done = list(self._ports.ledger.done_slices(self._migration.name))
        return (
            self._gate("mode", self._mode(), f"the spec says retire: {self._spec.retire}"),
            self._gate("completed", self._completed(), "the migration is completed"),
            self._gate("coverage", self._coverage(done), "receipts tile the cold range"),
            self._gate("summary", self._summary(done), "its summary has the right fingerprint"),
            self._gate("receipts", self._receipts(done), self._receipts_stand(done)),
            self._gate("blobs", self._blobs(done), "every promoted blob and manifest stands"),
            self._gate(
                GATE_PROTECTION, self._protection(), "deleted or overwritten blobs can be restored"
            ),
            self._gate(
                GATE_CHANGE_FEED, self._change_feed(), "no consumer of the change feed is declared"
            ),
            self._gate(
                GATE_WRITE_REGIONS,
                write_regions_fault(self._ports.sources.write_regions()),
                "the account takes writes in one region",
            ),
            self._gate(
                GATE_TIME_TO_LIVE, self._time_to_live(), "no document's time to live is changed"
            ),
            self._gate(GATE_INDEX, self._index(), "the look-up index is there"),
        )

    def _gate(self, name: str, fault: str, sound: str) -> Gate:
        overridden = self._reasons.get(name, "") if fault and name in OVERRIDABLE else ""
        return Gate(name=name, holds=not fault, text=fault or sound, overridden=overridden)

    def _mode(self) -> str:
        if self._spec.retire != "keep":
            return ""
        return (
            "the spec says retire: keep, so nothing may be removed; a started migration's spec "
            "cannot change — archive with a new migration that says delete or stub"
        )

    def _completed(self) -> str:
        state = self._migration.state
        whole = self._progress is not None and bool(self._progress.fingerprint)
        if state is MigrationState.COMPLETED and whole:
            return ""
        return f"the migration is {state.value}; wait until every cold document is proven"

    def _coverage(self, done: list[Slice]) -> str:
        faults = coverage_faults(
            (each.extent for each in done),
            range_ids=[plan.range.id for plan in self._ports.ledger.ranges(self._migration.name)],
            until_s=self._migration.until_s,
        )
        named = "; ".join(faults[:NAMED_MAX])
        return f"{named} — report it with the output of 'ebb verify'" if faults else ""

    def _summary(self, done: list[Slice]) -> str:
        name = self._summary_name
        data = self._archive.read(name)
        if data is None:
            return f"{name} is not in the archive; restore it from its versions"
        try:
            claimed = json.loads(data)["fingerprint"]
        except (ValueError, KeyError, TypeError):
            return f"{name} cannot be read; restore it from its versions"
        root = fingerprint((each.id, each.receipt_sha256) for each in done)
        noted = self._progress.fingerprint if self._progress else ""
        if claimed == root == noted:
            return ""
        return f"{name} claims {claimed}, the receipts give {root}; run 'ebb verify'"

    def _receipts(self, done: list[Slice]) -> str:
        """All by name; read are as many as time allows, evenly over the whole."""
        now_s = self._ports.clock.now_s()
        stands = {stored.name: stored.modified_s for stored in self._archive.stored(RECEIPTS)}
        names = [receipt_name(each.id) for each in done]
        lost = [name for name in names if name not in stands]
        if lost:
            return _several([f"{name} is not there" for name in lost])
        self.waiting = sum(now_s < stands[name] + self._spec.retire_grace for name in names)
        return _several([fault for each in _evenly(done) if (fault := self._unlike(each))])

    def _receipts_stand(self, done: list[Slice]) -> str:
        read = len(_evenly(done))
        less = f"; {read} of them were read, the others are before their documents go"
        return f"all {len(done)} receipts stand{less if read < len(done) else ''}"

    def _unlike(self, done: Slice) -> str:
        try:
            promised(self._archive, done)
        except PermanentError as error:
            return str(error)
        return ""

    def _blobs(self, done: list[Slice]) -> str:
        """By name and size; each is hashed again by the worker that removes what it holds."""
        stands = {
            stored.name: stored.size_bytes
            for folder in (DATA, MANIFESTS)
            for stored in self._archive.stored(folder)
        }
        wanted = [
            blob
            for each in done
            if each.staged is not None
            for blob in (each.staged.blob, each.staged.manifest)
            if blob is not None
        ]
        lost = [blob.name for blob in wanted if stands.get(blob.name) != blob.size_bytes]
        return _several([f"{name} is not there as it was promoted" for name in lost])

    def _protection(self) -> str:
        try:
            return protection_fault(self._archive.protection(self._summary_name))
        except NotFound as error:
            return str(error)

    def _time_to_live(self) -> str:
        source = self._spec.source
        ttl_s = self._ports.sources.open(source.database, source.container).default_ttl_s()
        on_by_default = ttl_s is not None and ttl_s > 0
        if self._spec.retire == "stub" and on_by_default:
            seen = (
                f"documents of {source.name} expire after {ttl_s} s unless their own ttl says "
                "otherwise; a stub keeps its document's ttl, and its time begins when it is written"
            )
        elif self._spec.retire == "delete" and ttl_s is not None:
            seen = (
                f"{source.name} has a time to live ({ttl_s} s by default); what is removed never "
                "expires for readers of the archive"
            )
        else:
            return ""
        return f'{seen} — make sure that this is right, then say so: --accept-time-to-live "why"'

    def _index(self) -> str:
        """Whether the index still knows of what any migration removed from this source."""
        source = self._spec.source.name
        if self._ports.pointers.begun_s(source) is not None:
            return ""
        for each in self._ports.ledger.migrations():
            retirement = self._ports.ledger.retirement(each.name)
            same = parse_spec(each.spec_text).source.name == source
            if same and retirement is not None and is_index_lost(retirement, None):
                return index_fault(source, each.name)
        return ""

    def _change_feed(self) -> str:
        if not self._spec.source.change_feed_consumers:
            return ""
        return (
            "the spec says source.change_feed_consumers: true; whoever reads the change feed sees "
            "stubs as changes, and never sees deletions — make sure that each of them can bear "
            'it, then say so: --accept-change-feed "why"'
        )


def write_regions_fault(regions: tuple[str, ...]) -> str:
    """Empty with one: a condition on `_etag` holds in one region, and a deletion wins in all."""
    if len(regions) <= 1:
        return ""
    return (
        f"the account takes writes in {', '.join(regions)}; an update that was answered in another "
        "region than Ebb's, and not replicated yet, would lose to Ebb's removal and be gone "
        "everywhere — turn multi-region writes off, or, if the business writes in Ebb's region "
        'only, say so: --accept-write-regions "why"'
    )


def is_index_lost(retirement: Retirement, begun_s: float | None) -> bool:
    """Whether it removed what the index must know of, and the index knows nothing."""
    removed = retirement.documents_removed > retirement.documents_restored
    return begun_s is None and retirement.mode == "delete" and removed


def index_fault(source: str, name: str) -> str:
    return (
        f"{name} removed documents of {source}, and the look-up index knows nothing of that "
        "source: it was lost, or this app uses another storage account for its state — restore "
        f"the account, or rebuild the index: ebb reindex {name}"
    )


def protection_fault(protection: Protection) -> str:
    """Empty when a lost blob can be brought back; what nobody may ask counts as missing."""
    if protection.soft_delete_days or protection.versioned:
        return ""
    seen = "has neither soft delete nor versioning"
    if protection.soft_delete_days is None or protection.versioned is None:
        seen = "does not tell whether it has soft delete or versioning"
    return (
        f"the archive's storage account {seen}, so one mistake there would be final: turn on blob "
        'soft delete (Bicep and Terraform of this repository do), or: --accept-unprotected "why"'
    )


def _evenly(done: list[Slice]) -> list[Slice]:
    return done[:: -(-len(done) // RECEIPTS_READ_MAX) or 1]


def _several(faults: list[str]) -> str:
    if not faults:
        return ""
    more = f" (and {len(faults) - NAMED_MAX} more)" if len(faults) > NAMED_MAX else ""
    return "; ".join(faults[:NAMED_MAX]) + more + " — run 'ebb verify', restore what is missing"


def _checked(reasons: Mapping[str, str]) -> dict[str, str]:
    """Reasons are kept for whoever asks later why a gate was opened, so there must be one."""
    faults = [
        Fault(path=f"$.accept_{gate}", seen="no reason", advice="say why, in a few words")
        for gate, reason in reasons.items()
        if not reason.strip()
    ]
    if faults:
        raise Invalid("the request", tuple(faults))
    return {gate: reason.strip()[:REASON_CHARS_MAX] for gate, reason in reasons.items()}


def _forecast(progress: Progress | None, retirement: Retirement | None) -> Forecast:
    """By what a removal cost so far; before the first one, by what a write of that size costs."""
    proven = progress.documents_proven if progress else 0
    size = progress.bytes_per_document if progress else 0.0
    left = max(0, proven - (retirement.behind if retirement else 0))
    learned = retirement.ru_per_document if retirement else 0.0
    per_document = learned or write_ru(size)
    pace = _pace(progress)
    return Forecast(
        documents=left,
        document_bytes=progress.document_bytes if progress else 0,
        ru=round(left * per_document, 1),
        seconds=left * per_document / pace if pace else None,
        ru_per_document=round(per_document, 2),
        measured=bool(learned),
    )


def _pace(progress: Progress | None) -> float:
    """RU/s that the copy had in the mean: what retiring may hope for on the same source."""
    if progress is None or not progress.completed_at_s:
        return 0.0
    took_s = progress.completed_at_s - progress.started_at_s
    return progress.ru_spent / took_s if progress.started_at_s and took_s > 0 else 0.0


def _require(known: Retirement, doing: str, allowed: set[RetirementState]) -> None:
    if known.state not in allowed:
        states = " or ".join(sorted(state.value for state in allowed))
        raise WrongState(
            f"cannot {doing} the retirement of {known.migration}: it is {known.state.value} "
            f"({known.reason}), and only what is {states} can be asked that"
        )


def _mark(ports: Ports, name: str) -> None:
    """Let the tick look after it, or no more, as its record says; and people be told of its end."""

    def marked_as_told() -> None:
        migration = ports.ledger.migration(name)
        retirement = ports.ledger.retirement(name)
        if retirement is None:
            return
        marked = replace(migration, retiring=retirement.running)
        kind = _TOLD.get((retirement.direction, retirement.state))
        if kind is not None:
            mark = f"{retirement.changed_at_s}"
            now_s = ports.clock.now_s()
            marked = marked.noted(kind, mark=mark, now_s=now_s, halt=retirement.halt)
        if marked != migration:
            ports.ledger.put_migration(marked)

    until_written(ports, marked_as_told, doing=f"marking {name} as its retirement says")


_TOLD = {
    (Direction.REMOVE, RetirementState.DONE): NoticeKind.RETIRED,
    (Direction.RESTORE, RetirementState.DONE): NoticeKind.RESTORED,
    (Direction.REMOVE, RetirementState.HALTED): NoticeKind.RETIREMENT_HALTED,
    (Direction.RESTORE, RetirementState.HALTED): NoticeKind.RETIREMENT_HALTED,
}


def halt_retirement(ports: Ports, name: str, error: PermanentError) -> None:
    """Remove and restore nothing more until a person resumes it; the copy is not concerned."""

    def halted() -> None:
        retirement = ports.ledger.retirement(name)
        if retirement is None or not retirement.running:
            return
        now_s = ports.clock.now_s()
        moved = retirement.moved(
            RetirementState.HALTED, reason=str(error), now_s=now_s, halt=halt_of(error)
        )
        ports.ledger.commit(name, Change(retirement=moved))

    until_written(ports, halted, doing=f"halting the retirement of {name}")
    _mark(ports, name)


def go_on_after_cycles(
    ports: Ports, known: tuple[Migration, ...], actions: dict[str, Any]
) -> tuple[Migration, ...]:
    """The migrations as they stand once retirements that were done take up what a cycle proved."""
    return tuple(_gone_on(ports, each, actions) for each in known)


def _gone_on(ports: Ports, migration: Migration, actions: dict[str, Any]) -> Migration:
    if migration.retiring or not migration.completed_until_s:
        return migration
    spec = parse_spec(migration.spec_text)
    if spec.schedule is None or spec.retire == "keep":
        return migration
    name = migration.name
    try:
        retirement = ports.ledger.retirement(name)
        if retirement is None or not _is_behind(retirement, migration):
            return migration
        progress = ports.ledger.progress(name)
        further = retirement.extended(
            migration.completed_until_s,
            documents=progress.documents_proven if progress else 0,
            now_s=ports.clock.now_s(),
        )
        ports.ledger.commit(name, Change(retirement=further))
        _mark(ports, name)
        actions[f"{name}.retirement_goes_on"] = True
        return ports.ledger.migration(name)
    except TransientError as error:
        actions[f"{name}.retirement_error"] = str(error)
        return migration


def _is_behind(retirement: Retirement, migration: Migration) -> bool:
    done = retirement.state is RetirementState.DONE and retirement.direction is Direction.REMOVE
    return done and retirement.until_s < migration.completed_until_s


def retires_now(ports: Ports, migration: Migration, now_s: float) -> bool:
    """Whether something is to be planned, removed or restored, and not all waits for its grace."""
    if not migration.retiring:
        return False
    open_ = ports.ledger.removals(migration.name)
    return not open_ or any(now_s >= each.retry_at_s for each in open_)


def step(ports: Ports, migration: Migration, board: Board, actions: dict[str, Any]) -> None:
    """What a tick does for a retirement: plan a few removals, send them out, or end it."""
    name = migration.name
    try:
        retirement = ports.ledger.retirement(name)
        if retirement is not None and retirement.running:
            actions[f"{name}.retirement_planned"] = _planned(ports, retirement)
            actions[f"{name}.retirement_sent"] = _dispatch(ports, name, board)
        _mark(ports, name)
    except TransientError as error:
        actions[f"{name}.retirement_error"] = str(error)
    except PermanentError as error:
        halt_retirement(ports, name, error)
        actions[f"{name}.retirement_halted"] = str(error)


def _planned(ports: Ports, retirement: Retirement) -> int:
    """How many removals were planned; with none left to plan and none open it is done."""
    name, direction = retirement.migration, retirement.direction
    open_ = ports.ledger.removals(name)
    strangers = [each for each in open_ if each.direction is not direction]
    for each in strangers:
        _close(ports, each)
    if strangers:
        return 0
    now_s = ports.clock.now_s()
    due = sum(now_s >= each.retry_at_s for each in open_)
    room = min(OPEN_MAX - due, WAITING_MAX - len(open_))
    if room <= 0:
        return 0
    slices = ports.ledger.done_after(name, retirement.cursor, limit=LOOKED_THROUGH_MAX)
    if direction is Direction.RESTORE:
        slices = _up_to(slices, retirement)
    else:
        slices = tuple(s for s in slices if s.extent.window.hi_s <= retirement.until_s)
    removals, cursor = _next_removals(ports, slices, direction, room)
    if cursor:
        change = Change(removals=tuple(removals), retirement=retirement.planned(cursor))
        ports.ledger.commit(name, change)
    elif not open_:
        done = retirement.moved(RetirementState.DONE, reason="all of it", now_s=ports.clock.now_s())
        ports.ledger.commit(name, Change(retirement=done))
    return len(removals)


def _up_to(slices: tuple[Slice, ...], retirement: Retirement) -> tuple[Slice, ...]:
    """Not beyond the last slice that was ever planned to be removed."""
    if not retirement.reach or retirement.cursor == retirement.reach:
        return ()
    ids = [each.id for each in slices]
    return slices[: ids.index(retirement.reach) + 1] if retirement.reach in ids else slices


def _next_removals(
    ports: Ports, slices: tuple[Slice, ...], direction: Direction, room: int
) -> tuple[list[Removal], str]:
    """Removals for the next slices that hold something, and the last slice looked at."""
    removals: list[Removal] = []
    cursor = ""
    for each in slices:
        documents = _due(ports, each, direction)
        if documents:
            if len(removals) == room:
                break
            removals.append(planned_for(each, direction, documents=documents))
        cursor = each.id
    return removals, cursor


def _due(ports: Ports, done: Slice, direction: Direction) -> int:
    if direction is Direction.REMOVE:
        return done.staged.documents if done.staged else 0
    removed = ports.ledger.removal(done.migration, removal_id(Direction.REMOVE, done.id))
    return removed.reach if removed else 0


def _close(ports: Ports, removal: Removal) -> None:
    """It was under way when the retirement was turned round: it ends where it stands."""
    totals = ports.ledger.retirement(removal.migration)
    if totals is not None:
        ended = removal.ended()
        change = Change(removals=(ended,), retirement=totals.with_done(ended))
        ports.ledger.commit(removal.migration, change)


def waiting_removals(board: Board, removals: Iterable[Removal], now_s: float) -> list[Removal]:
    """Those that nobody has in hand, on ranges that may be asked for something."""
    return [
        each
        for each in removals
        if each.state is not RemovalState.DONE
        and now_s >= each.retry_at_s
        and not board.works_on(each.migration, each.slice_id, now_s, copying=False)
        and not board.grant_for(each.migration).is_paused(each.range_id)
    ]


def dispatch_removals(ports: Ports, name: str) -> int:
    """Send messages for as many waiting removals as there is room for."""
    retirement = ports.ledger.retirement(name)
    if retirement is None or not retirement.running:
        return 0
    return _dispatch(ports, name, ports.boards.read())


def _dispatch(ports: Ports, name: str, board: Board) -> int:
    """Mark first, then send: a lost message is sent again, a doubled one finds the seat taken."""
    now_s = ports.clock.now_s()
    waiting = waiting_removals(board, ports.ledger.removals(name), now_s)
    under_way = [each for each in waiting if 0 <= now_s - each.sent_at_s < RESEND_AFTER_S]
    allowed = board.grant_for(name).in_flight.get(name, 0)
    room = allowed - len(board.spending_seats(name, now_s)) - len(under_way)
    sent = 0
    for each in [each for each in waiting if each not in under_way][: max(0, room)]:
        try:
            ports.ledger.commit(name, Change(removals=(each.sent(now_s),)))
        except Conflict:
            continue
        ports.mail.send(RETIRE_QUEUE, message_of(name, each.slice_id))
        sent += 1
    return sent


def mark_removal_unsent(ports: Ports, removal: Removal) -> None:
    """Its message came too early and is used up; the next dispatch sends another."""
    if removal.state is RemovalState.WORKING:
        return  # its worker's next note must not meet a conflict
    with suppress(Conflict):
        ports.ledger.commit(removal.migration, Change(removals=(removal.sent(0.0),)))
