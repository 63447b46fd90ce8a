"""Which notices each target was told, and what went wrong last: one table row per target."""

from __future__ import annotations

from azure.data.tables import TableServiceClient

from shared.adapters.keys import key
from shared.adapters.records import packed, unpacked
from shared.adapters.tables import Row, Table, stored
from shared.ports import Telling


class TableTellings:
    def __init__(self, tables: TableServiceClient, table: str = "ebbtellings") -> None:
        self._table = Table(tables, table)

    def recall(self, migration: str, target: str) -> Telling:
        thing = _thing(migration, target)
        row = self._table.get(key(migration), key(target), thing=thing)
        return Telling(migration=migration, target=target) if row is None else _telling(row, thing)

    def keep(self, telling: Telling) -> None:
        thing = _thing(telling.migration, telling.target)
        properties = packed(telling, thing=thing)
        write = stored(key(telling.target), thing, properties, telling.version)
        self._table.submit(key(telling.migration), [write], thing=thing)

    def of(self, migration: str) -> tuple[Telling, ...]:
        thing = f"what was told of {migration}"
        rows = self._table.between(key(migration), "!", "~", thing=thing)
        return tuple(sorted((_telling(row, thing) for row in rows), key=lambda one: one.target))


def _telling(row: Row, thing: str) -> Telling:
    return unpacked(Telling, row.properties, version=row.version, thing=thing)


def _thing(migration: str, target: str) -> str:
    return f"what {target} was told of {migration}"
