"""The ledger's twin: the same transactions and conflicts over dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import TypeVar

from shared.adapters.keys import key
from shared.domain.retirement import Removal, RemovalState, Retirement
from shared.domain.slices import Migration, Progress, RangePlan, Slice, SliceState
from shared.errors import Conflict, NotFound, PermanentError
from shared.ports import Change

OPERATIONS_MAX = 100  # of one table transaction: what the real ledger can take

Record = TypeVar("Record", Migration, Progress, RangePlan, Slice, Removal, Retirement)


@dataclass(slots=True)
class _Book:
    """One migration's records."""

    progress: dict[str, Progress] = field(default_factory=dict)
    ranges: dict[str, RangePlan] = field(default_factory=dict)
    open: dict[str, Slice] = field(default_factory=dict)
    done: dict[str, Slice] = field(default_factory=dict)
    retirement: dict[str, Retirement] = field(default_factory=dict)
    removals: dict[str, Removal] = field(default_factory=dict)
    removed: dict[str, Removal] = field(default_factory=dict)


class MemoryLedger:
    def __init__(self) -> None:
        self._migrations: dict[str, Migration] = {}
        self._books: dict[str, _Book] = {}
        self._account: str | None = None
        self._version = 0
        self._lock = RLock()

    def account(self) -> str | None:
        with self._lock:
            return self._account

    def put_account(self, account: str) -> None:
        with self._lock:
            if self._account is not None:
                raise Conflict("writing the account of the state: it is there; nothing was written")
            self._account = account

    def migrations(self) -> tuple[Migration, ...]:
        with self._lock:
            return tuple(self._migrations[name] for name in sorted(self._migrations))

    def migration(self, name: str) -> Migration:
        with self._lock:
            found = self._migrations.get(name)
        if found is None:
            raise NotFound(f"reading migration {name}: there is none of that name; apply its spec")
        return found

    def put_migration(self, migration: Migration) -> Migration:
        with self._lock:
            thing = f"migration {migration.name}"
            _check(self._migrations.get(migration.name), migration.version, thing)
            written = replace(migration, version=self._next())
            self._migrations[migration.name] = written
            return written

    def progress(self, name: str) -> Progress | None:
        with self._lock:
            return self._book(name).progress.get(name)

    def ranges(self, name: str) -> tuple[RangePlan, ...]:
        with self._lock:
            ranges = self._book(name).ranges
            return tuple(ranges[one] for one in sorted(ranges))

    def open_slices(self, name: str) -> tuple[Slice, ...]:
        with self._lock:
            opened = self._book(name).open
            return tuple(opened[one] for one in sorted(opened))

    def slice(self, name: str, slice_id: str) -> Slice | None:
        with self._lock:
            book = self._book(name)
            return book.open.get(slice_id) or book.done.get(slice_id)

    def done_slices(self, name: str) -> Iterator[Slice]:
        with self._lock:
            done = self._book(name).done
            found = [done[one] for one in sorted(done)]
        yield from found

    def done_after(self, name: str, after: str, *, limit: int) -> tuple[Slice, ...]:
        with self._lock:
            done = self._book(name).done
            behind = sorted((key(one), one) for one in done if not after or key(one) > key(after))
            return tuple(done[one] for _, one in behind[:limit])

    def retirement(self, name: str) -> Retirement | None:
        with self._lock:
            return self._book(name).retirement.get(name)

    def removals(self, name: str) -> tuple[Removal, ...]:
        with self._lock:
            opened = self._book(name).removals
            return tuple(opened[one] for one in sorted(opened))

    def removal(self, name: str, removal_id: str) -> Removal | None:
        with self._lock:
            book = self._book(name)
            return book.removals.get(removal_id) or book.removed.get(removal_id)

    def commit(self, name: str, change: Change) -> None:
        """Everything is checked before anything is written."""
        _check_bounds(name, change)
        with self._lock:
            book = self._book(name)
            for target in change.slices:
                _check_slice(book, target)
            if change.cut is not None:
                _check_slice(book, change.cut)
            for plan in change.ranges:
                thing = f"range {plan.range.id} of migration {name}"
                _check(book.ranges.get(plan.range.id), plan.version, thing)
            if change.progress is not None:
                thing = f"the progress of migration {name}"
                _check(book.progress.get(name), change.progress.version, thing)
            _check_retiring(name, book, change)
            self._write(name, self._books.setdefault(name, book), change)

    def _write(self, name: str, book: _Book, change: Change) -> None:
        version = self._next()
        if change.cut is not None:
            del book.open[change.cut.id]
        for target in change.slices:
            book.open.pop(target.id, None)
            place = book.done if target.state is SliceState.PROVEN else book.open
            place[target.id] = replace(target, version=version)
        for plan in change.ranges:
            book.ranges[plan.range.id] = replace(plan, version=version)
        if change.progress is not None:
            book.progress[name] = replace(change.progress, version=version)
        for removal in change.removals:
            book.removals.pop(removal.id, None)
            rest = book.removed if removal.state is RemovalState.DONE else book.removals
            rest[removal.id] = replace(removal, version=version)
        if change.retirement is not None:
            book.retirement[name] = replace(change.retirement, version=version)

    def _book(self, name: str) -> _Book:
        return self._books.get(name) or _Book()

    def _next(self) -> str:
        self._version += 1
        return f"v{self._version}"


def _check(stands: Record | None, version: str, thing: str) -> None:
    if (stands.version if stands else "") != version:
        raise Conflict(
            f"writing {thing}: it was changed, made or removed by someone else; "
            "nothing was written — read again and decide anew"
        )


def _check_slice(book: _Book, target: Slice) -> None:
    thing = f"slice {target.id} of migration {target.migration}"
    _check(book.open.get(target.id), target.version, thing)
    if target.id in book.done:
        raise Conflict(
            f"writing {thing}: it is proven already; "
            "nothing was written — read again and decide anew"
        )


def _check_retiring(name: str, book: _Book, change: Change) -> None:
    for target in change.removals:
        thing = f"removal {target.id} of migration {name}"
        _check(book.removals.get(target.id), target.version, thing)
    if change.retirement is not None:
        thing = f"the retirement of migration {name}"
        _check(book.retirement.get(name), change.retirement.version, thing)


def _check_bounds(name: str, change: Change) -> None:
    operations = len(change.ranges) + sum(
        one is not None for one in (change.progress, change.retirement, change.cut)
    )
    ended = {t.id: t.state is SliceState.PROVEN for t in change.slices}
    ended |= {t.id: t.state is RemovalState.DONE for t in change.removals}
    new = {t.id for t in change.slices if not t.version}
    new |= {t.id for t in change.removals if not t.version}
    operations += len(change.slices) + len(change.removals) + sum(ended.values())
    unread = [one for one in new if ended[one]]
    if unread:
        raise PermanentError(
            f"writing {unread[0]}: it is done but was never read from the ledger; "
            "nothing was written — read the open one and move that one on"
        )
    if any(not t.version for t in change.removals) and not (
        change.retirement and change.retirement.version
    ):
        raise PermanentError(
            f"writing a change of migration {name}: a removal is new, and no retirement that was "
            "read comes with it; nothing was written — plan it with its retirement"
        )
    ids = [*ended, *(plan.range.id for plan in change.ranges)]
    named = {
        target.migration for target in (*change.slices, *((change.cut,) if change.cut else ()))
    }
    named |= {plan.migration for plan in change.ranges}
    named |= {target.migration for target in change.removals}
    named |= {change.progress.migration} if change.progress else set()
    named |= {change.retirement.migration} if change.retirement else set()
    if operations > OPERATIONS_MAX or named - {name} or _repeated(change):
        raise PermanentError(
            f"writing a change of migration {name}: {operations} operations on {len(ids)} records "
            f"of {sorted(named)}; one transaction takes {OPERATIONS_MAX} operations on different "
            "records of one migration — nothing was written, cut the change smaller"
        )


def _repeated(change: Change) -> bool:
    kinds = (
        [target.id for target in change.slices] + ([change.cut.id] if change.cut else []),
        [plan.range.id for plan in change.ranges],
        [target.id for target in change.removals],
    )
    return any(len(set(ids)) < len(ids) for ids in kinds)
