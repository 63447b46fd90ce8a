"""Windows, slices and the migration's own records: the states each may be in and how it moves on.

Pure values; storing them and moving bytes happens elsewhere.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from shared.domain.halts import Halt
from shared.domain.notices import Notice, NoticeKind, notice_id, with_notice
from shared.errors import WrongState

CLAIMS_MAX = 60  # without a result: the slice kills whoever works on it
ERROR_CHARS_MAX = 2_000  # an error kept in the ledger names what matters; a table row is small
RETRY_BASE_S = 15.0
RETRY_MAX_S = 600.0
_WINDOW = re.compile(r"\d{10}-\d{10}-.")  # how the id of every slice begins
_LEARNING_WEIGHT = 0.5  # the newest slice counts as much as all before: sizes drift with age


def is_slice_id(text: str) -> bool:
    """Whether a slice may be called so. One that no ledger holds any more was cut."""
    return _WINDOW.match(text) is not None


class MigrationState(StrEnum):
    REGISTERED = "registered"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    HALTED = "halted"
    COMPLETED = "completed"


class SliceState(StrEnum):
    PLANNED = "planned"
    COPYING = "copying"
    COPIED = "copied"
    VALIDATING = "validating"
    PROVEN = "proven"
    FAILED = "failed"
    QUARANTINED = "quarantined"


class Cause(StrEnum):
    """Why an attempt failed; it decides whether the rest of the migration goes on."""

    TRANSIENT = "transient"
    INCOMPLETE = "incomplete"
    MISMATCH = "mismatch"
    DOCUMENT = "document"
    FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A half-open interval of `_ts`, wholly in the past."""

    lo_s: int
    hi_s: int

    def __post_init__(self) -> None:
        if not 0 <= self.lo_s < self.hi_s:
            raise ValueError(f"a window needs 0 <= lo < hi, saw [{self.lo_s}, {self.hi_s})")

    @property
    def month(self) -> str:
        """The archive folder of its documents; the planner cuts windows at months."""
        last = self._last
        return f"year={last.year:04d}/month={last.month:02d}"

    @property
    def _last(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.hi_s - 1, dt.UTC)

    def cut(self, pieces: int, seen_s: Sequence[int] = ()) -> tuple[Window, ...]:
        """Pieces that tile it, fewer where a second would have to be cut.

        Each holds as many of the documents that were seen; where none were, they are equally wide
        within its last month: nothing in it is older, as the planner cuts at months.
        """
        if seen_s:
            ordered = sorted(seen_s)
            edges = {ordered[len(ordered) * index // pieces] for index in range(1, pieces)}
            edges |= {ordered[0], ordered[-1] + 1}
        else:
            month = self._last.replace(day=1, hour=0, minute=0, second=0)
            begins_s = max(self.lo_s, int(month.timestamp()))
            width_s = self.hi_s - begins_s
            edges = {begins_s + width_s * index // pieces for index in range(1, pieces)}
        inner = sorted(edge for edge in edges if self.lo_s < edge < self.hi_s)
        bounds = pairwise((self.lo_s, *inner, self.hi_s))
        return tuple(Window(lo_s=lo_s, hi_s=hi_s) for lo_s, hi_s in bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRange:
    """One of the source's key ranges; `token` is the source's own description of it."""

    id: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What a slice covers: a window on a range, cut by ids where one second holds too much."""

    window: Window
    range: FeedRange
    id_lo: str | None = None
    id_hi: str | None = None
    part: int | None = None

    @property
    def slice_id(self) -> str:
        base = f"{self.window.lo_s:010d}-{self.window.hi_s:010d}-{self.range.id}"
        return base if self.part is None else f"{base}-p{self.part:03d}"

    def cut(self, pieces: int, seen_s: Sequence[int] = ()) -> tuple[Extent, ...]:
        """Smaller ones that tile it; part of a second, or a second alone, stays as it is."""
        if self.part is not None:
            return (self,)
        return tuple(replace(self, window=window) for window in self.window.cut(pieces, seen_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A blob as it was written or read: the bytes it really has."""

    name: str
    size_bytes: int
    sha256: str = ""
    etag: str = ""
    modified_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What one copy attempt left for validation."""

    blob: Stored | None
    manifest: Stored
    merkle_root: str
    documents: int
    document_bytes: int
    count_before: int
    rows_read: int
    count_after: int
    superseded: int
    superseded_ids: tuple[str, ...]
    ru_spent: float
    taken_over: int = 0
    """Documents that came from an earlier attempt's file and were not read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNote:
    """Which Data Factory run works on a slice, and what is known of its copying."""

    ordered_at_s: float
    id: str = ""
    """Empty while nobody knows whether the order arrived."""
    copied_at_s: float = 0.0
    documents: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    migration: str
    extent: Extent
    documents_planned: int
    state: SliceState = SliceState.PLANNED
    fence: int = 0
    given_back: int = 0
    """Of its claims, those not held against it: given back unharmed, or forgiven by a person."""
    failures: int = 0
    cause: Cause | None = None
    error: str = ""
    retry_at_s: float = 0.0
    sent_at_s: float = 0.0
    staged: Staged | None = None
    run: RunNote | None = None
    receipt_sha256: str = ""
    version: str = ""

    @property
    def id(self) -> str:
        return self.extent.slice_id

    @property
    def is_deadly(self) -> bool:
        """Whoever works on it dies: it was claimed again and again without a result."""
        return self.fence - self.given_back > CLAIMS_MAX

    def sent(self, now_s: float) -> Slice:
        return replace(self, sent_at_s=now_s)

    def claimed(self) -> Slice:
        """A worker begins: the fence moves on, so whoever worked before can promote nothing."""
        self._must_be(
            "copy",
            SliceState.PLANNED,
            SliceState.FAILED,
            SliceState.COPYING,
            SliceState.QUARANTINED,
        )
        return replace(self, state=SliceState.COPYING, fence=self.fence + 1, staged=None, run=None)

    def ordered(self, now_s: float) -> Slice:
        """Claimed for a Data Factory run that is about to be asked for."""
        return replace(self.claimed(), run=RunNote(ordered_at_s=now_s))

    def under_run(self, note: RunNote) -> Slice:
        self._must_be("note a run of", SliceState.COPYING)
        return replace(self, run=note)

    def doubted(self, error: str) -> Slice:
        """What a run wrote was found wrong; the run may try again under the same fence."""
        self._must_be("doubt", SliceState.COPYING)
        return replace(self, error=error[:ERROR_CHARS_MAX])

    def released(self) -> Slice:
        """The worker gave the slice back unfinished and without fault."""
        self._must_be("release", SliceState.COPYING)
        return replace(
            self,
            state=SliceState.PLANNED,
            sent_at_s=0.0,
            given_back=self.given_back + 1,
            run=None,
        )

    def cut(self, pieces: int, seen_s: Sequence[int] = ()) -> tuple[Slice, ...]:
        """Smaller slices in the place of this one, which nobody has copied."""
        self._must_be("cut", SliceState.COPYING)
        extents = self.extent.cut(pieces, seen_s)
        each = -(-self.documents_planned // len(extents))
        return tuple(
            Slice(migration=self.migration, extent=extent, documents_planned=each)
            for extent in extents
        )

    def copied(self, staged: Staged) -> Slice:
        self._must_be("finish copying", SliceState.COPYING)
        return replace(self, state=SliceState.COPIED, staged=staged, sent_at_s=0.0)

    def validating(self) -> Slice:
        self._must_be("validate", SliceState.COPIED, SliceState.VALIDATING)
        return replace(self, state=SliceState.VALIDATING)

    def proven(self, *, staged: Staged, receipt_sha256: str) -> Slice:
        """Its receipt stands; `staged` is now what that receipt names."""
        self._must_be("prove", SliceState.VALIDATING)
        return replace(
            self,
            state=SliceState.PROVEN,
            error="",
            cause=None,
            staged=staged,
            receipt_sha256=receipt_sha256,
        )

    def failed(
        self,
        *,
        cause: Cause,
        error: str,
        now_s: float,
        attempts_max: int,
        keep_staged: bool = False,
    ) -> Slice:
        """An attempt came to nothing; `keep_staged` leaves what it staged for the next to use."""
        self._must_be("fail", *(state for state in SliceState if state is not SliceState.PROVEN))
        failures = self.failures + 1
        spent = failures >= attempts_max or cause in {Cause.DOCUMENT, Cause.FAULT}
        return replace(
            self,
            state=SliceState.QUARANTINED if spent else SliceState.FAILED,
            failures=failures,
            cause=cause,
            error=error[:ERROR_CHARS_MAX],
            retry_at_s=now_s + min(RETRY_MAX_S, RETRY_BASE_S * 2 ** (failures - 1)),
            sent_at_s=0.0,
            staged=self.staged if keep_staged else None,
            run=None,
        )

    def retried(self) -> Slice:
        """A person resumed the migration: a quarantined slice may try again."""
        self._must_be("retry", SliceState.QUARANTINED)
        planned = replace(self, state=SliceState.PLANNED, failures=0)
        return replace(planned.forgiven(), retry_at_s=0.0, sent_at_s=0.0)

    def forgiven(self) -> Slice:
        """A person resumed the migration: claims until now are held against it no more."""
        return replace(self, given_back=self.fence)

    def _must_be(self, doing: str, *states: SliceState) -> None:
        if self.state not in states:
            raise WrongState(
                f"cannot {doing} slice {self.id}: it is {self.state.value}, "
                f"and only {' or '.join(s.value for s in states)} allows it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How far a range is counted in parts; it is kept until all of it is."""

    to_s: int
    width_s: int
    """Of the next part."""
    documents: int = 0
    found: Window | None = None
    """The first part that held any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangePlan:
    """How far one feed range is cut into slices; [floor, until) is tiled up to `frontier_s`.

    `documents_expected` were counted in this cycle, from the frontier it began at.
    """

    migration: str
    range: FeedRange
    frontier_s: int
    until_s: int
    earliest_s: int
    documents_expected: int = 0
    documents_per_s: float = 0.0
    surveyed: bool = False
    census: Census | None = None
    version: str = ""

    @property
    def finished(self) -> bool:
        return self.frontier_s >= self.until_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A migration's totals, moved on in the same transaction as the slice that adds to them."""

    migration: str
    documents_expected: int = 0
    documents_proven: int = 0
    document_bytes: int = 0
    blob_bytes: int = 0
    superseded: int = 0
    slices_proven: int = 0
    attempts_failed: int = 0
    mismatches: int = 0
    ru_spent: float = 0.0
    ru_per_document: float = 0.0
    bytes_per_document: float = 0.0
    surveyed: bool = False
    activity_runs: int = 0
    diu_hours: float = 0.0
    forecast_s: float | None = None
    forecast_ru: float = 0.0
    """What it was to cost, by what was measured when the forecast was made."""
    documents_before: int = 0
    """Of those proven, the ones of cycles before this."""
    started_at_s: float = 0.0
    completed_at_s: float = 0.0
    fingerprint: str = ""
    version: str = ""

    def in_next_cycle(self, now_s: float) -> Progress:
        """The totals go on; survey and forecast are made anew for what became cold since."""
        return replace(
            self,
            surveyed=False,
            forecast_s=None,
            forecast_ru=0.0,
            documents_before=self.documents_proven,
            started_at_s=now_s,
        )

    @property
    def documents_left(self) -> int:
        return max(0, self.documents_expected - self.documents_proven - self.superseded)

    def with_proven(self, proven: Slice) -> Progress:
        staged = proven.staged
        if staged is None:
            raise WrongState(f"cannot count slice {proven.id} as proven: it holds nothing staged")
        return replace(
            self,
            documents_proven=self.documents_proven + staged.documents,
            document_bytes=self.document_bytes + staged.document_bytes,
            blob_bytes=self.blob_bytes + (staged.blob.size_bytes if staged.blob else 0),
            superseded=self.superseded + staged.superseded,
            slices_proven=self.slices_proven + 1,
        ).learned(staged)

    def with_run_cost(self, activity_runs: int, diu_hours: float, ru: float) -> Progress:
        return replace(
            self,
            ru_spent=self.ru_spent + ru,
            activity_runs=self.activity_runs + activity_runs,
            diu_hours=self.diu_hours + diu_hours,
        )

    def learned(self, staged: Staged) -> Progress:
        """With the measured cost and size of documents moved towards what this slice showed."""
        if staged.rows_read == 0 or staged.documents == 0 or staged.taken_over:
            return self
        weight = _LEARNING_WEIGHT if self.ru_per_document else 1.0
        ru = staged.ru_spent / staged.rows_read
        size = staged.document_bytes / staged.documents
        return replace(
            self,
            ru_per_document=self.ru_per_document + weight * (ru - self.ru_per_document),
            bytes_per_document=self.bytes_per_document + weight * (size - self.bytes_per_document),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    name: str
    uid: str
    spec_text: str
    state: MigrationState
    reason: str
    created_at_s: float
    changed_at_s: float
    until_s: int = 0
    completed_until_s: int = 0
    """Up to where a cycle was completed; 0 before the first one."""
    priority: int = 5
    halt: Halt | None = None
    """Why it halted, while it is halted."""
    notices: tuple[Notice, ...] = ()
    """What people are told of it; written with what it tells of, so that no crash parts them."""
    retiring: bool = False
    """Whether its retirement runs; the retirement's own record decides, and a tick mends this."""
    version: str = ""

    def moved(
        self, state: MigrationState, *, reason: str, now_s: float, halt: Halt | None = None
    ) -> Migration:
        moved = replace(
            self, state=state, reason=reason[:ERROR_CHARS_MAX], changed_at_s=now_s, halt=halt
        )
        kind = _TOLD.get(state)
        if state is MigrationState.COMPLETED:
            kind = None if self.completed_until_s else kind
            moved = replace(moved, completed_until_s=self.until_s)
        return (
            moved if kind is None else moved.noted(kind, mark=self.version, now_s=now_s, halt=halt)
        )

    def reopened(self, until_s: int, *, reason: str, now_s: float) -> Migration:
        """The schedule's next cycle begins; the cold range only ever grows."""
        if self.state is not MigrationState.COMPLETED or until_s <= self.until_s:
            raise WrongState(
                f"cannot begin a cycle of {self.name} up to {until_s}: it is {self.state.value} "
                f"up to {self.until_s}, and only what is completed before that can go on"
            )
        moved = self.moved(MigrationState.RUNNING, reason=reason, now_s=now_s)
        return replace(moved, until_s=until_s)

    @property
    def is_at_work(self) -> bool:
        """Copying, or removing and restoring: a controller must decide how fast."""
        return self.state is MigrationState.RUNNING or self.retiring

    @property
    def has_completed(self) -> bool:
        """Whether it is complete, or was and is at a later cycle."""
        return self.state is MigrationState.COMPLETED or self.completed_until_s > 0

    def noted(
        self, kind: NoticeKind, *, mark: str, now_s: float, halt: Halt | None = None
    ) -> Migration:
        """With something to tell people; the same kind and mark are told once."""
        notice = Notice(id=notice_id(self.uid, kind, mark), kind=kind, at_s=now_s, halt=halt)
        return replace(self, notices=with_notice(self.notices, notice))

    @property
    def untold(self) -> tuple[Notice, ...]:
        return tuple(each for each in self.notices if not each.sent)

    def with_all_sent(self) -> Migration:
        return replace(self, notices=tuple(replace(each, sent=True) for each in self.notices))


_TOLD = {
    MigrationState.HALTED: NoticeKind.HALTED,
    MigrationState.COMPLETED: NoticeKind.COMPLETED,
}
