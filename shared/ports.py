"""What the application asks of the outside world, in the application's own words.

Every port says which errors are transient; adapters translate everything else they meet into
shared.errors. No port retries on its own unless it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO, Protocol, TypeVar

from shared.domain.board import Board
from shared.domain.governor import Decision, Memory
from shared.domain.notices import Message
from shared.domain.pointers import Key, Pointer, Span
from shared.domain.profile import Profile
from shared.domain.pulse import Pulse
from shared.domain.receipt import Row
from shared.domain.retirement import Removal, Retirement
from shared.domain.runs import Debt, Order, Part, Run, RunCost
from shared.domain.sharing import Share
from shared.domain.slices import (
    Extent,
    FeedRange,
    Migration,
    Progress,
    RangePlan,
    Slice,
    Stored,
)
from shared.errors import EbbError

T = TypeVar("T")


class Clock(Protocol):
    """Seconds since the epoch, UTC, and waiting. It may step; nothing assumes it is monotonic."""

    def now_s(self) -> float: ...

    def wait(self, seconds: float) -> None: ...


class Names(Protocol):
    """Identifiers nobody else has, and chance, which keeps apart those who would collide."""

    def new(self) -> str: ...

    def fraction(self) -> float:
        """Some number from 0 up to, and not including, 1."""
        ...


class Together(Protocol):
    """Makes several calls at the same time, each of which waits for somebody else's answer."""

    def run(self, calls: Sequence[Callable[[], T]]) -> tuple[T | EbbError, ...]:
        """Each call's answer or its failure, in the calls' order; anything else is raised."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which documents of a source are meant: an extent, the spec's extra filter, some ids only."""

    extent: Extent
    where: str | None = None
    ids: tuple[str, ...] | None = None
    ru_max: float | None = None
    """A number that takes several pages is given up behind the page that brings it to this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer of the source: what it held, what it cost, and how to go on."""

    items: Sequence[Any]
    ru: float
    continuation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One number from the source and what asking cost."""

    value: int | None
    ru: float


class Fate(StrEnum):
    """What became of a conditional write to the source."""

    DONE = "done"
    CHANGED = "changed"
    """Another version stands there; nothing was written."""
    ABSENT = "absent"
    EXISTS = "exists"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The answer to a write and what it cost; a refused condition is an answer, not an error."""

    fate: Fate
    ru: float
    document: Mapping[str, Any] | None = None
    """As it now stands in the source, where the source tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A document looked up by its key, or None, and what asking cost."""

    document: Mapping[str, Any] | None
    ru: float


class Source(Protocol):
    """One Cosmos container. Each call is one request and never retries.

    Raises Throttled on 429, TransientError on 408/449/5xx and broken connections, NotFound when
    database or container is missing, PermanentError otherwise. An answer without the value asked
    for is a TransientError, never a zero. An error's `ru` is what was charged before it; a number
    given up for the query's `ru_max` is CostLimitReached.
    """

    def partition_key_paths(self) -> tuple[str, ...]: ...

    def default_ttl_s(self) -> int | None:
        """The container's time to live: None is off, -1 by each document's own `ttl` only."""
        ...

    def ranges(self) -> tuple[FeedRange, ...]: ...

    def whole(self) -> FeedRange:
        """All of its ranges as one."""
        ...

    def partitions_of(self, ranges: Sequence[FeedRange]) -> Mapping[str, tuple[str, ...]]:
        """Range id -> ids of the partition key ranges it lies on now; a split adds some."""
        ...

    def count(self, query: Query) -> Measured: ...

    def earliest_s(self, query: Query) -> Measured: ...

    def documents(self, query: Query, *, continuation: str | None, limit: int) -> Page:
        """Whole documents, as plain Python values, system properties included."""
        ...

    def identities(
        self, query: Query, *, continuation: str | None, limit: int, paths: tuple[str, ...]
    ) -> Page:
        """Of each document only `id`, `_etag` and the partition key paths, nested as stored."""
        ...

    def find(self, key: Key) -> Found:
        """One document as it stands now."""
        ...

    def remove(self, key: Key, *, etag: str) -> Written:
        """Delete this very version: DONE, CHANGED or ABSENT."""
        ...

    def replace(self, key: Key, document: Mapping[str, Any], *, etag: str) -> Written:
        """Put a document in the place of this very version: DONE, CHANGED or ABSENT."""
        ...

    def create(self, key: Key, document: Mapping[str, Any]) -> Written:
        """Write a document that is not there: DONE or EXISTS."""
        ...


class Sources(Protocol):
    """Opens the containers of the one account this Ebb serves."""

    account: str

    def open(self, database: str, container: str) -> Source: ...

    def write_regions(self) -> tuple[str, ...]:
        """The regions in which the account takes writes now, asked anew; it costs nothing."""
        ...


class BlobWriter(Protocol):
    """A blob being written, in bounded memory; nobody sees it before `commit`."""

    def write(self, data: bytes, /) -> int: ...

    def commit(self) -> Stored:
        """Publish under the writer's name, replacing what an earlier attempt left there."""
        ...

    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """What stands between a deleted or overwritten blob and its loss; None where nobody may ask."""

    soft_delete_days: int | None
    versioned: bool | None


class Archive(Protocol):
    """One blob container under one prefix; all names are relative to it.

    Raises TransientError for busy or broken storage, NotFound for a missing blob or container.
    """

    def writer(self, name: str) -> BlobWriter: ...

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write whole and only if nothing is there; False means something was. Racing is safe."""
        ...

    def read(self, name: str) -> bytes | None:
        """A small blob whole, or None when it does not exist."""
        ...

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """These bytes in one request; fewer than asked for is a TransientError."""
        ...

    def protection(self, name: str) -> Protection:
        """How this blob, and the account it lies in, are protected."""
        ...

    def download(self, name: str, into: BinaryIO) -> Stored:
        """Stream a blob's bytes, hashing what really arrived; `etag` is of what was read."""
        ...

    def promote(self, staged: Stored, name: str) -> bool:
        """Copy on the server, only if `staged` still has its etag and nothing stands at `name`.

        False means a blob stood there already; the copy is complete when this returns True.
        """
        ...

    def stored(self, prefix: str) -> Iterator[Stored]:
        """Blobs under a prefix in order of name, with when they were written and no sha256."""
        ...

    def delete(self, name: str) -> None:
        """Remove; removing what is not there is no error."""
        ...


class Archives(Protocol):
    """Opens archives in the storage account this Ebb writes to."""

    def open(self, container: str, prefix: str) -> Archive:
        """Asks nothing and makes nothing: in a container that is absent all is NotFound.

        A container that was deleted by mistake comes back only while its name is free.
        """
        ...

    def make(self, container: str) -> None:
        """Make a container that is absent, for a migration that starts."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DataGroup:
    """A row group of a data file; its rows can be gone through once."""

    number: int
    rows: Iterable[tuple[Row, bytes]] | None
    """Each row with its document's bytes as they stand there; None when they cannot be read."""


class TableFormat(Protocol):
    """The Parquet of data files and manifests: bytes out, rows in, a row group at a time."""

    def data_writer(
        self, sink: BlobWriter, *, partition_key: tuple[str, ...], promote: tuple[str, ...]
    ) -> TableWriter: ...

    def data_groups(self, file: BinaryIO) -> Iterator[DataGroup]:
        """A data file's row groups in turn; Unreadable when the file as a whole cannot be read."""
        ...

    def spans(self, file: BinaryIO) -> Sequence[Span]:
        """Where each row group's documents lie; Unreadable when the file cannot be read."""
        ...

    def document_at(self, data: bytes, span: Span, row: int) -> bytes:
        """One document from the bytes of its span alone; Unreadable when they are not."""
        ...

    def received(self, file: BinaryIO) -> Iterator[Mapping[str, Any]]:
        """The documents in a file that Data Factory wrote; Unreadable when it holds none."""
        ...

    def write_manifest(
        self, sink: BlobWriter, rows: Sequence[Row], facts: Mapping[str, str]
    ) -> None: ...

    def manifest_rows(self, file: BinaryIO) -> Iterator[Row]: ...


class TableWriter(Protocol):
    """Takes rows in file order and writes a row group whenever one is full."""

    def add(self, row: Row, document: bytes) -> int:
        """Returns the row group the row went to."""
        ...

    def close(self, facts: Mapping[str, str]) -> None: ...

    def abandon(self) -> None:
        """Let go of everything without writing any more."""
        ...


class Scratch(Protocol):
    """Temporary files that vanish when closed; ScratchFull where the disk holds no more."""

    @property
    def bytes_max(self) -> int:
        """What all files of one machine together may take."""
        ...

    def open(self) -> AbstractContextManager[BinaryIO]: ...

    def reserved(self, size_bytes: int) -> AbstractContextManager[None]:
        """Keeps room for one worker's files; ScratchFull where others need it or it is gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One transaction on one migration's records: all of it happens or none.

    Every record with a version is written only if unchanged since it was read; a record without
    one must not exist yet. Slices and removals move between open and done by their state. New
    removals come with the retirement that plans them.
    """

    slices: tuple[Slice, ...] = ()
    cut: Slice | None = None
    """An open slice that goes; the new ones of this change tile its window."""
    ranges: tuple[RangePlan, ...] = ()
    progress: Progress | None = None
    removals: tuple[Removal, ...] = ()
    retirement: Retirement | None = None


class Ledger(Protocol):
    """What is declared, planned, in hand and done.

    Raises Conflict when a version no longer holds, NotFound for a name that is not there,
    TransientError for busy or broken storage. The number of storage calls of each method does not
    depend on how many slices are done.
    """

    def account(self) -> str | None:
        """The account whose state this is; None while nobody claimed it."""
        ...

    def put_account(self, account: str) -> None:
        """Once; Conflict when it is there already."""
        ...

    def migrations(self) -> tuple[Migration, ...]: ...

    def migration(self, name: str) -> Migration: ...

    def put_migration(self, migration: Migration) -> Migration: ...

    def progress(self, name: str) -> Progress | None: ...

    def ranges(self, name: str) -> tuple[RangePlan, ...]: ...

    def open_slices(self, name: str) -> tuple[Slice, ...]:
        """All slices not yet proven; the planner keeps them few."""
        ...

    def slice(self, name: str, slice_id: str) -> Slice | None:
        """An open or done slice."""
        ...

    def done_slices(self, name: str) -> Iterator[Slice]:
        """Every proven slice in order of id; for completion and reports, never for a tick."""
        ...

    def done_after(self, name: str, after: str, *, limit: int) -> tuple[Slice, ...]:
        """At most so many proven slices behind an id, always in one and the same order."""
        ...

    def retirement(self, name: str) -> Retirement | None: ...

    def removals(self, name: str) -> tuple[Removal, ...]:
        """All removals that are not done; they are planned only a few ahead."""
        ...

    def removal(self, name: str, removal_id: str) -> Removal | None:
        """An open or done removal."""
        ...

    def commit(self, name: str, change: Change) -> None: ...


class Pointers(Protocol):
    """Where the documents lie that the source no longer holds, by source (database/container).

    Raises TransientError for busy or broken storage.
    """

    def find(self, source: str, key: Key) -> Pointer | None:
        """One read; nobody may go by a pointer that does not `answer`."""
        ...

    def put(self, source: str, pointers: Mapping[Key, Pointer]) -> frozenset[Key]:
        """Write those that may stand (`Pointer.yields_to`); the keys under which they now stand.

        A key that is not returned keeps what stood there: a later version, a deletion, or another
        archive's pointer to the same version.
        """
        ...

    def put_answering(self, source: str, pointers: Mapping[Key, Pointer]) -> frozenset[Key]:
        """Replace each announcement by its pointer; the keys under which these now stand.

        It creates nothing: an announcement that was withdrawn meanwhile stays withdrawn.
        """
        ...

    def begin(self, source: str, now_s: float) -> float:
        """Mark that documents of this source are going to be removed; since when it is marked.

        The mark is written once, before the first announcement, and nothing removes it.
        """
        ...

    def begun_s(self, source: str) -> float | None:
        """Since when documents of this source may have been removed; None if none ever were.

        None is also the answer of an index that was lost, and of another account's. A reader may
        go by None for `UNBEGUN_KNOWN_S` from the moment it asked. Zero: there are pointers and no
        mark, as an older Ebb left them.
        """
        ...

    def withdraw(self, source: str, pointers: Mapping[Key, Pointer]) -> None:
        """Remove each pointer that still stands as given; others stay."""
        ...

    def delete(self, source: str, key: Key) -> bool:
        """Mark whatever stands there as deleted by its owner; False when nothing stood there."""
        ...


class Boards(Protocol):
    """The one budget board of the account. Conflict when it changed since it was read."""

    def read(self) -> Board: ...

    def write(self, board: Board) -> Board: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decision as it is kept: for which source, what, for whom, and what followed."""

    source: str
    decision: Decision
    shares: tuple[Share, ...] = ()
    own_ru_per_s: float = 0.0
    """In the last minute that was metered whole when it was decided."""
    actions: Mapping[str, Any] = field(default_factory=dict)


class Journal(Protocol):
    """Every decision, newest first on reading."""

    def record(self, entry: Entry) -> None: ...

    def entries(self, *, since_s: float, limit: int) -> tuple[Entry, ...]: ...

    def forget(self, *, before_s: float, limit: int) -> int:
        """Delete old entries; returns how many went."""
        ...


class IncidentKind(StrEnum):
    """What may go wrong outside any slice's own record."""

    POISON = "poison"
    STALLED = "stalled"
    RUN = "run"
    UNTOLD = "untold"
    ALERT = "alert"
    VERSION = "version"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertNote:
    """Which rule's alert it was, and the sources it concerned: those it named, or every one."""

    rule: str
    resolved: bool
    sources: tuple[str, ...]
    everywhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that went wrong outside any slice's own record."""

    at_s: float
    kind: str
    text: str
    alert: AlertNote | None = None


class Incidents(Protocol):
    """What an operator must be able to find afterwards, newest first on reading."""

    def record(self, incident: Incident) -> None: ...

    def latest(self, *, limit: int, since_s: float = 0.0) -> tuple[Incident, ...]: ...

    def remove(self, incident: Incident) -> None:
        """For what was only a test; removing what is not there is no error."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What the controller carries from one tick to the next about one source."""

    memory: Memory = field(default_factory=Memory)
    pulses: Mapping[str, Pulse] = field(default_factory=dict)
    debts: Mapping[str, Debt] = field(default_factory=dict)
    """Migration -> request units ordered from the factory and not yet paid for by time."""


class Memories(Protocol):
    """One memory per source, written by whoever holds the controller's lease."""

    def recall(self, source: str) -> Remembered:
        """An empty memory for a source never kept."""
        ...

    def keep(self, source: str, remembered: Remembered) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """Where request units went: a source (database/container) and one of its ranges."""

    source: str
    range_id: str


class Metering(Protocol):
    """Ebb's own consumption by UTC minute and place, added up over all workers."""

    def add(self, worker: str, spent: Mapping[tuple[int, Place], float]) -> None:
        """Set this worker's total of each minute and place (no increment: twice is harmless)."""
        ...

    def by_minute(self, source: str, *, since_s: int) -> Mapping[int, Mapping[str, float]]:
        """Minute -> range id -> RU; minutes in which nothing was spent are absent."""
        ...

    def forget(self, *, before_s: int, limit: int) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteUse:
    """One minute of a container as Azure Monitor tells it, everybody's use together."""

    total_ru: float
    requests: int = 0
    throttled: int = 0  # of the requests, those answered 429
    heat: Mapping[str, float] = field(default_factory=dict)
    """Partition key range id -> the busiest second's share of that partition's capacity, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provision:
    """What a container can do, as the platform tells it."""

    partitions: int
    ru_per_s: float | None  # provisioned throughput; None where there is none: serverless


class Monitor(Protocol):
    """What a container consumed, as Azure Monitor tells it: late and with gaps.

    Raises TransientError when it does not answer, PermanentError when it refuses.
    """

    def minutes(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[int, MinuteUse]:
        """Minutes with a total; a minute Monitor says nothing about is absent, never zero."""
        ...

    def provision(self, database: str, container: str, *, now_s: int) -> Provision | None:
        """Newest known partition count and throughput of the last hour; None when not told."""
        ...


class History(Protocol):
    """Weeks of a container's use, from Log Analytics; for habits, never for what is so now."""

    def profile(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Profile | None:
        """What each hour of the week is used to; None when the logs hold nothing."""
        ...

    def partition_shares(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[str, float]:
        """Partition key range id -> its share of the container's use; they add up to 1."""
        ...


class Factory(Protocol):
    """One Data Factory, and in it the runs of Ebb's own pipeline only.

    Raises Throttled or TransientError when it is busy or broken, NotFound when factory or pipeline
    is missing, PermanentError when it refuses.
    """

    def deploy(self, part: Part) -> None:
        """Put one part of Ebb's pipeline into the factory, or bring it up to date."""
        ...

    def check(self) -> None:
        """Raise PermanentError unless the pipeline stands there in the version this Ebb needs."""
        ...

    def start(self, order: Order) -> str:
        """Begin a run and return its id. A lost reply may have begun one all the same."""
        ...

    def runs(self, *, since_s: float) -> tuple[Run, ...]:
        """Runs that were touched since then, whoever began them; a new one may take a while."""
        ...

    def run(self, run_id: str) -> Run | None: ...

    def cancel(self, run_id: str) -> None:
        """Ask it to end; it may go on for a while, and write late. Harmless when it ended."""
        ...

    def cost(self, run: Run) -> RunCost: ...


class Callers(Protocol):
    """Who may say that an alert fired."""

    def check(self, authorization: str) -> None:
        """The header of that name; Denied for whoever may not, TransientError if unknown."""
        ...


class FrontDoor(Protocol):
    """This app's own public address, with the key that Azure Monitor's action group has."""

    @property
    def closed(self) -> str:
        """Why nothing can be posted there; empty where something can."""
        ...

    @property
    def guarded(self) -> bool:
        """Whether an alert must bring a token that only Azure's action groups are given."""
        ...

    def alert(self, text: str) -> None:
        """TransientError when it is not answered or busy, PermanentError when it is refused.

        Of a guarded one, PermanentError unless this app itself turns the alert away.
        """
        ...


class Callbacks(Protocol):
    """Answers a run that waits for a verdict."""

    def allows(self, url: str) -> bool:
        """Whether the address is one of Data Factory's own."""
        ...

    def answer(self, url: str, *, ok: bool, code: str, text: str) -> None:
        """Tell the verdict; TransientError when it cannot be delivered."""
        ...


class Webhooks(Protocol):
    """The addresses that people named for messages; who knows a name does not know its address."""

    runbook: str
    """Where the runbook can be read."""

    @property
    def targets(self) -> frozenset[str]: ...

    def send(self, target: str, message: Message) -> None:
        """TransientError when it cannot be delivered now, PermanentError when it never will."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How one target stands with one migration: what it was told, and what went wrong last."""

    migration: str
    target: str
    told: tuple[str, ...] = ()
    """Ids of the newest notices that arrived."""
    trouble: str = ""
    """Why the last notice did not arrive; empty once one does."""
    version: str = ""


class Tellings(Protocol):
    """Conflict when a record changed since it was read."""

    def recall(self, migration: str, target: str) -> Telling:
        """An empty one for a target that was never told anything."""
        ...

    def keep(self, telling: Telling) -> None: ...

    def of(self, migration: str) -> tuple[Telling, ...]:
        """Every target that was ever told something, by name."""
        ...


class Telemetry(Protocol):
    """Numbers and spans for whoever watches; it raises nothing, and nothing waits for it."""

    def measured(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        """What a number is now."""
        ...

    def counted(self, name: str, tags: Mapping[str, str]) -> None:
        """One more of something."""
        ...

    def span(self, name: str) -> AbstractContextManager[None]:
        """How long something takes, and whether it fails; never with what text."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The controller's lease; `token` grows with every holder, so an old one can be told."""

    token: int
    lease_id: str


class Lease(Protocol):
    """At most one controller at a time. It runs out on its own if its holder dies."""

    def acquire(self) -> Held | None:
        """None means somebody else holds it."""
        ...

    def renew(self, held: Held) -> bool:
        """Begin its time anew; False when it ran out or went to somebody else."""
        ...

    def release(self, held: Held) -> None: ...


class Mail(Protocol):
    """Work to be done, by name of queue; delivered at least once, in no order."""

    def send(self, queue: str, text: str, *, delay_s: int = 0) -> None:
        """The queue is made when it is missing: no trigger makes its own."""
        ...

    def count(self, queue: str) -> int:
        """About how many messages it holds, hidden ones included; 0 when it is missing."""
        ...


COPY_QUEUE = "ebb-copy"
RECEIVE_QUEUE = "ebb-receive"
VALIDATE_QUEUE = "ebb-validate"
NOTIFY_QUEUE = "ebb-notify"
RETIRE_QUEUE = "ebb-retire"
POISON_QUEUES = tuple(
    f"{queue}-poison"
    for queue in (COPY_QUEUE, RECEIVE_QUEUE, VALIDATE_QUEUE, NOTIFY_QUEUE, RETIRE_QUEUE)
)
