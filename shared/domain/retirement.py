"""Removing from the source what is proven, and putting it back: the states, and what is counted.

Pure values. What may be removed is decided elsewhere; a record here moves only forwards, and what
is done never changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from shared.domain.halts import Halt
from shared.domain.slices import ERROR_CHARS_MAX, RETRY_BASE_S, RETRY_MAX_S, Slice
from shared.errors import WrongState

BATCH_DOCUMENTS = 100  # a kill repeats at most these, and one note in the ledger covers them
SPARED_NAMED_MAX = 10  # enough to look some up; the rest stands in the next archive
IDLE_CLAIMS_MAX = 20  # claims in a row that moved nothing on: it kills whoever works on it
REASON_CHARS_MAX = 500
_LEARNING_WEIGHT = 0.5  # as for copying: the newest slice counts as much as all before


class Direction(StrEnum):
    REMOVE = "remove"
    RESTORE = "restore"

    @property
    def other(self) -> Direction:
        return Direction.REMOVE if self is Direction.RESTORE else Direction.RESTORE


class RetirementState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    DONE = "done"


class RemovalState(StrEnum):
    PLANNED = "planned"
    WORKING = "working"
    DONE = "done"


class Outcome(StrEnum):
    """What became of one document: removed or restored, or left alone and why."""

    MOVED = "moved"
    CHANGED = "changed"
    GONE = "gone"
    UNADDRESSABLE = "unaddressable"
    UNTRACED = "untraced"
    """To be restored, and neither the look-up index nor the source knows anything of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A gate that a person opened, and the reason they gave."""

    gate: str
    reason: str
    at_s: float


def removal_id(direction: Direction, slice_id: str) -> str:
    return f"{direction.value}|{slice_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One slice's documents on their way out of the source, or back; `offset` are behind it."""

    migration: str
    direction: Direction
    slice_id: str
    range_id: str
    documents: int
    """How many of the manifest's rows are meant, from its first one on."""
    state: RemovalState = RemovalState.PLANNED
    fence: int = 0
    idle_claims: int = 0
    offset: int = 0
    moved: int = 0
    changed: int = 0
    gone: int = 0
    unaddressable: int = 0
    untraced: int = 0
    spared_ids: tuple[str, ...] = ()
    ru_spent: float = 0.0
    failures: int = 0
    error: str = ""
    retry_at_s: float = 0.0
    sent_at_s: float = 0.0
    version: str = ""

    @property
    def id(self) -> str:
        return removal_id(self.direction, self.slice_id)

    @property
    def reach(self) -> int:
        """Rows that a worker may have begun on: those behind it, and the batch it is at."""
        return min(self.documents, self.offset + (BATCH_DOCUMENTS if self.fence else 0))

    @property
    def untraced_max(self) -> int:
        """How many of its rows an undo may find no trace of: those that it did not remove."""
        return self.reach - self.moved - self.unaddressable

    def sent(self, now_s: float) -> Removal:
        return replace(self, sent_at_s=now_s)

    def claimed(self) -> Removal:
        """A worker begins: whoever worked before can note nothing any more."""
        self._must_be_open("claim")
        return replace(
            self,
            state=RemovalState.WORKING,
            fence=self.fence + 1,
            idle_claims=self.idle_claims + 1,
        )

    def noted(self, outcomes: Iterable[tuple[str, Outcome]], *, ru: float) -> Removal:
        """A batch is behind it; ids of spared documents are kept, up to a few."""
        told = list(outcomes)
        counts = Counter(outcome for _, outcome in told)
        spared = [name for name, outcome in told if outcome is not Outcome.MOVED]
        return replace(
            self,
            idle_claims=0,
            failures=0,
            error="",
            offset=self.offset + len(told),
            moved=self.moved + counts[Outcome.MOVED],
            changed=self.changed + counts[Outcome.CHANGED],
            gone=self.gone + counts[Outcome.GONE],
            unaddressable=self.unaddressable + counts[Outcome.UNADDRESSABLE],
            untraced=self.untraced + counts[Outcome.UNTRACED],
            spared_ids=(*self.spared_ids, *spared)[:SPARED_NAMED_MAX],
            ru_spent=self.ru_spent + ru,
        )

    def released(self, *, ru: float, retry_at_s: float = 0.0) -> Removal:
        """Given back unharmed, to be gone on with from where it stands."""
        self._must_be_open("release")
        return replace(
            self,
            state=RemovalState.PLANNED,
            idle_claims=max(0, self.idle_claims - 1),
            sent_at_s=0.0,
            retry_at_s=retry_at_s,
            ru_spent=self.ru_spent + ru,
        )

    def failed(self, error: str, *, ru: float, now_s: float) -> Removal:
        self._must_be_open("fail")
        failures = self.failures + 1
        return replace(
            self,
            state=RemovalState.PLANNED,
            failures=failures,
            error=error[:ERROR_CHARS_MAX],
            retry_at_s=now_s + min(RETRY_MAX_S, RETRY_BASE_S * 2 ** (failures - 1)),
            sent_at_s=0.0,
            ru_spent=self.ru_spent + ru,
        )

    def restarted(self) -> Removal:
        """From its first row on, counted anew: what it went by was not whole."""
        return replace(
            self,
            offset=0,
            moved=0,
            changed=0,
            gone=0,
            unaddressable=0,
            untraced=0,
            spared_ids=(),
        )

    def forgiven(self) -> Removal:
        """A person resumed: it may try again."""
        return replace(self, failures=0, idle_claims=0, retry_at_s=0.0, sent_at_s=0.0)

    def ended(self) -> Removal:
        self._must_be_open("end")
        return replace(self, state=RemovalState.DONE, error="")

    def _must_be_open(self, doing: str) -> None:
        if self.state is RemovalState.DONE:
            raise WrongState(f"cannot {doing} the removal {self.id}: it is done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """A migration's removal from its source, whole, with what it came to so far."""

    migration: str
    mode: str
    """`delete` or `stub`, as the spec said when it began."""
    direction: Direction = Direction.REMOVE
    state: RetirementState = RetirementState.RUNNING
    reason: str = ""
    halt: Halt | None = None
    overrides: tuple[Override, ...] = ()
    cursor: str = ""
    """The last slice that a removal was planned for; slices are gone through in order."""
    until_s: int = 0
    """Only slices that end by here are meant: up to here the tiling was checked whole."""
    reach: str = ""
    """Where a restoring ends: the last slice that a removal was planned for before it began."""
    documents_expected: int = 0
    slices_done: int = 0
    documents_removed: int = 0
    documents_restored: int = 0
    spared_changed: int = 0
    spared_gone: int = 0
    spared_unaddressable: int = 0
    """No request can name them: only queries reach them."""
    ru_spent: float = 0.0
    ru_per_document: float = 0.0
    """As measured in this direction; zero while nothing is."""
    started_at_s: float = 0.0
    changed_at_s: float = 0.0
    done_at_s: float = 0.0
    version: str = ""

    @property
    def running(self) -> bool:
        return self.state is RetirementState.RUNNING

    @property
    def behind(self) -> int:
        """Documents that were removed or left alone."""
        spared = self.spared_changed + self.spared_gone + self.spared_unaddressable
        return self.documents_removed + spared

    def moved(
        self, state: RetirementState, *, reason: str, now_s: float, halt: Halt | None = None
    ) -> Retirement:
        done_at_s = now_s if state is RetirementState.DONE else 0.0
        return replace(
            self,
            state=state,
            reason=reason[:ERROR_CHARS_MAX],
            halt=halt,
            changed_at_s=now_s,
            done_at_s=done_at_s,
        )

    def opened(self, reasons: Mapping[str, str], now_s: float) -> Retirement:
        """With the reasons a person gave since it began; the newest one of a gate counts."""
        kept = tuple(each for each in self.overrides if each.gate not in reasons)
        new = (Override(gate=gate, reason=why, at_s=now_s) for gate, why in reasons.items())
        return replace(self, overrides=(*kept, *new))

    def undone(self, now_s: float) -> Retirement:
        """From now on the other way: everything that it removed comes back."""
        if self.direction is Direction.RESTORE:
            raise WrongState(f"cannot undo the retirement of {self.migration}: it is being undone")
        turned = replace(
            self,
            direction=Direction.RESTORE,
            reach=self.cursor,
            cursor="",
            slices_done=0,
            ru_per_document=0.0,
        )
        return turned.moved(RetirementState.RUNNING, reason="undone by hand", now_s=now_s)

    def extended(self, until_s: int, *, documents: int, now_s: float) -> Retirement:
        """A schedule's next cycle is proven: what it archived goes the same way."""
        further = replace(self, until_s=until_s, documents_expected=documents)
        return further.moved(RetirementState.RUNNING, reason="a cycle is proven", now_s=now_s)

    def planned(self, cursor: str) -> Retirement:
        return replace(self, cursor=cursor)

    def with_done(self, done: Removal) -> Retirement:
        """With a slice's removal counted, once, in the transaction that ends it."""
        ended = replace(
            self,
            slices_done=self.slices_done + (done.direction is self.direction),
            ru_spent=self.ru_spent + done.ru_spent,
        ).learned(done)
        if done.direction is Direction.RESTORE:
            return replace(ended, documents_restored=self.documents_restored + done.moved)
        return replace(
            ended,
            documents_removed=self.documents_removed + done.moved,
            spared_changed=self.spared_changed + done.changed,
            spared_gone=self.spared_gone + done.gone,
            spared_unaddressable=self.spared_unaddressable + done.unaddressable,
        )

    def learned(self, done: Removal) -> Retirement:
        if done.direction is not self.direction or not done.moved:
            return self
        weight = _LEARNING_WEIGHT if self.ru_per_document else 1.0
        ru = done.ru_spent / done.moved
        return replace(
            self, ru_per_document=self.ru_per_document + weight * (ru - self.ru_per_document)
        )


def planned_for(done: Slice, direction: Direction, *, documents: int) -> Removal:
    """The removal of a proven slice, not begun yet."""
    return Removal(
        migration=done.migration,
        direction=direction,
        slice_id=done.id,
        range_id=done.extent.range.id,
        documents=documents,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Something that must hold before anything is removed, and whether it does."""

    name: str
    holds: bool
    text: str
    """What was seen; where it does not hold, also what to do."""
    overridden: str = ""
    """The reason a person gave for going on all the same."""

    @property
    def opens(self) -> bool:
        return self.holds or bool(self.overridden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What retiring is going to cost, and by whose word."""

    documents: int
    document_bytes: int
    ru: float
    seconds: float | None
    ru_per_document: float
    measured: bool
    """Whether the cost of a document was learned from removals, or is assumed from its size."""
