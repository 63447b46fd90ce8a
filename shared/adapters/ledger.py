"""Migrations, plans, slices and progress in one Azure table; it decides nothing about them.

All records of a migration share its partition, so one transaction moves a slice from open to done
and adds it to the progress.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, TypeVar

from azure.data.tables import TableServiceClient

from shared.adapters.keys import key
from shared.adapters.records import packed, unpacked
from shared.adapters.tables import AFTER_BAR, Row, Table, Write, check_size, stored
from shared.domain.retirement import Removal, RemovalState, Retirement
from shared.domain.slices import Migration, Progress, RangePlan, Slice, SliceState
from shared.errors import Conflict, NotFound, PermanentError
from shared.ports import Change

T = TypeVar("T")

_REGISTRY = "~migrations"  # no migration's partition: key() spells "~" otherwise
_ACCOUNT = "~account"  # no migration's either
_PROGRESS = "progress"
_RETIREMENT = "retirement"
_WINDOW_CHARS = len("0000000000-0000000000")


class TableLedger:
    def __init__(self, tables: TableServiceClient, table: str = "ebbledger") -> None:
        self._table = Table(tables, table)

    def account(self) -> str | None:
        row = self._table.get(_ACCOUNT, _ACCOUNT, thing="the account of the state")
        return None if row is None else str(row.properties["account"])

    def put_account(self, account: str) -> None:
        thing = "the account of the state"
        write = stored(_ACCOUNT, thing, {"account": account}, "")
        self._table.submit(_ACCOUNT, [write], thing=thing)

    def migrations(self) -> tuple[Migration, ...]:
        rows = self._table.between(_REGISTRY, "!", "~", thing="the migrations")
        return tuple(_migration(row) for row in rows)

    def migration(self, name: str) -> Migration:
        row = self._table.get(_REGISTRY, key(name), thing=f"migration {name}")
        if row is None:
            raise NotFound(
                f"reading migration {name}: there is none of that name; "
                "see `ebb status` for those there are, or apply its spec"
            )
        return _migration(row)

    def put_migration(self, migration: Migration) -> Migration:
        thing = f"migration {migration.name}"
        properties = packed(migration, thing=thing)
        write = stored(key(migration.name), thing, properties, migration.version)
        (version,) = self._table.submit(_REGISTRY, [write], thing=thing)
        return replace(migration, version=version)

    def progress(self, name: str) -> Progress | None:
        return self._first(Progress, name, (_PROGRESS,), f"the progress of migration {name}")

    def ranges(self, name: str) -> tuple[RangePlan, ...]:
        thing = f"the ranges of migration {name}"
        return tuple(
            unpacked(RangePlan, row.properties, version=row.version, thing=thing)
            for row in self._all(name, "range", thing)
        )

    def open_slices(self, name: str) -> tuple[Slice, ...]:
        thing = f"the open slices of migration {name}"
        found = (_slice(row, thing) for row in self._all(name, "open", thing))
        return tuple(sorted(found, key=lambda one: one.id))

    def slice(self, name: str, slice_id: str) -> Slice | None:
        """Open before done: a slice only ever moves that way, so none is missed in between."""
        rows = [f"{place}|{key(slice_id)}" for place in ("open", "done")]
        return self._first(Slice, name, rows, f"slice {slice_id} of migration {name}")

    def done_slices(self, name: str) -> Iterator[Slice]:
        """In order of id: odd range ids are spelt otherwise as keys, so each window is sorted."""
        thing = f"the done slices of migration {name}"
        found = (_slice(row, thing) for row in self._all(name, "done", thing))
        for _, window in groupby(found, key=lambda one: one.id[:_WINDOW_CHARS]):
            yield from sorted(window, key=lambda one: one.id)

    def done_after(self, name: str, after: str, *, limit: int) -> tuple[Slice, ...]:
        """In order of key, whichever way odd range ids are spelt there."""
        thing = f"the done slices of migration {name}"
        low = f"done|{key(after)}" if after else "done|"
        rows = self._table.between(
            key(name), low, f"done{AFTER_BAR}", thing=thing, page_rows=limit + 1
        )
        found = (_slice(row, thing) for row in rows)
        return tuple(islice((one for one in found if one.id != after), limit))

    def retirement(self, name: str) -> Retirement | None:
        return self._first(Retirement, name, (_RETIREMENT,), f"the retirement of migration {name}")

    def removals(self, name: str) -> tuple[Removal, ...]:
        thing = f"the open removals of migration {name}"
        found = (_removal(row, thing) for row in self._all(name, "removal", thing))
        return tuple(sorted(found, key=lambda one: one.id))

    def removal(self, name: str, removal_id: str) -> Removal | None:
        """Open before done, as for slices."""
        rows = [f"{place}|{key(removal_id)}" for place in ("removal", "removed")]
        return self._first(Removal, name, rows, f"removal {removal_id} of migration {name}")

    def commit(self, name: str, change: Change) -> None:
        _check_names(name, change)
        _check_planned(name, change)
        writes = [write for target in change.slices for write in _slice_writes(target)]
        writes += [_cut_write(change.cut)] if change.cut else []
        writes += [_range_write(plan) for plan in change.ranges]
        if change.progress is not None:
            thing = f"the progress of migration {name}"
            properties = packed(change.progress, thing=thing)
            writes.append(stored(_PROGRESS, thing, properties, change.progress.version))
        writes += [write for removal in change.removals for write in _removal_writes(removal)]
        if change.retirement is not None:
            thing = f"the retirement of migration {name}"
            properties = packed(change.retirement, thing=thing)
            writes.append(stored(_RETIREMENT, thing, properties, change.retirement.version))
        thing = f"a change of migration {name}"
        check_size(writes, thing=thing)
        self._check_not_done(name, change)
        self._table.submit(key(name), writes, thing=thing)

    def _check_not_done(self, name: str, change: Change) -> None:
        """A new slice must not be an old one: no transaction can ask that of another key.

        Reading first is enough, because nothing ever leaves `done`.
        """
        for target in change.slices:
            if target.version:
                continue
            thing = f"slice {target.id} of migration {name}"
            if self._table.get(key(name), f"done|{key(target.id)}", thing=thing) is not None:
                raise Conflict(
                    f"writing a change of migration {name}: {thing} is proven already; "
                    "nothing was written — read again and decide anew"
                )

    def _first(self, kind: type[T], name: str, rows: Sequence[str], thing: str) -> T | None:
        """The record under the first of these keys that holds one."""
        for each in rows:
            row = self._table.get(key(name), each, thing=thing)
            if row is not None:
                return unpacked(kind, row.properties, version=row.version, thing=thing)
        return None

    def _all(self, name: str, place: str, thing: str) -> Iterator[Row]:
        return self._table.between(key(name), f"{place}|", f"{place}{AFTER_BAR}", thing=thing)


def _migration(row: Row) -> Migration:
    thing = f"migration {row.key}"
    return unpacked(Migration, row.properties, version=row.version, thing=thing)


def _slice(row: Row, thing: str) -> Slice:
    return unpacked(Slice, row.properties, version=row.version, thing=thing)


def _removal(row: Row, thing: str) -> Removal:
    return unpacked(Removal, row.properties, version=row.version, thing=thing)


def _slice_writes(target: Slice) -> list[Write]:
    thing = f"slice {target.id} of migration {target.migration}"
    properties = packed(replace(target, error=_plain(target.error)), thing=thing)
    opened, done = f"open|{key(target.id)}", f"done|{key(target.id)}"
    if target.state is not SliceState.PROVEN:
        return [stored(opened, thing, properties, target.version)]
    return _moved(thing, opened, done, properties, target.version)


def _cut_write(target: Slice) -> Write:
    thing = f"slice {target.id} of migration {target.migration}"
    return Write(kind="delete", key=f"open|{key(target.id)}", thing=thing, version=target.version)


def _removal_writes(target: Removal) -> list[Write]:
    thing = f"removal {target.id} of migration {target.migration}"
    plain = replace(
        target, error=_plain(target.error), spared_ids=tuple(map(_plain, target.spared_ids))
    )
    properties = packed(plain, thing=thing)
    opened, done = f"removal|{key(target.id)}", f"removed|{key(target.id)}"
    if target.state is not RemovalState.DONE:
        return [stored(opened, thing, properties, target.version)]
    return _moved(thing, opened, done, properties, target.version)


def _moved(
    thing: str, opened: str, done: str, properties: dict[str, Any], version: str
) -> list[Write]:
    """From open to done: both in one transaction, or neither."""
    if not version:
        raise PermanentError(
            f"writing {thing}: it is done but was never read from the ledger; "
            "nothing was written — read the open one and move that one on"
        )
    return [
        Write(kind="delete", key=opened, thing=thing, version=version),
        stored(done, thing, properties, ""),
    ]


def _plain(text: str) -> str:
    """A text may quote a document's id, and half a surrogate pair must not block the ledger."""
    return text.encode("utf-8", "backslashreplace").decode()


def _range_write(plan: RangePlan) -> Write:
    thing = f"range {plan.range.id} of migration {plan.migration}"
    return stored(f"range|{key(plan.range.id)}", thing, packed(plan, thing=thing), plan.version)


def _check_planned(name: str, change: Change) -> None:
    """A new removal must not be an old one: the version of the retirement that plans it tells."""
    new = [target.id for target in change.removals if not target.version]
    if new and not (change.retirement and change.retirement.version):
        raise PermanentError(
            f"writing a change of migration {name}: removal {new[0]} is new, and no retirement "
            "that was read comes with it; nothing was written — plan it with its retirement"
        )


def _check_names(name: str, change: Change) -> None:
    named = {
        target.migration for target in (*change.slices, *((change.cut,) if change.cut else ()))
    }
    named |= {plan.migration for plan in change.ranges}
    named |= {target.migration for target in change.removals}
    named |= {change.progress.migration} if change.progress else set()
    named |= {change.retirement.migration} if change.retirement else set()
    strangers = sorted(named - {name})
    if strangers:
        raise PermanentError(
            f"writing a change of migration {name}: it holds records of {', '.join(strangers)}; "
            "nothing was written — commit each migration's change under its own name"
        )
