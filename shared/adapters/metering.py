"""Each worker's own RU by minute and place in an Azure table; it prices nothing."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from azure.data.tables import TableServiceClient

from shared.adapters.keys import key
from shared.adapters.tables import OPERATIONS_MAX, Table, Write
from shared.ports import Place

_FIRST, _LAST = "0", ":"  # every key begins with a digit, and ":" comes after "9"


class TableMetering:
    def __init__(
        self, tables: TableServiceClient, account: str, table: str = "ebbmetering"
    ) -> None:
        self._table = Table(tables, table)
        self._partition = key(account)
        self._thing = f"the metering of {account}"

    def add(self, worker: str, spent: Mapping[tuple[int, Place], float]) -> None:
        writes = [
            Write(
                kind="put",
                key="|".join(
                    (_minute(minute), key(place.source), key(place.range_id), key(worker))
                ),
                thing=self._thing,
                properties={"ru": float(ru), "source": place.source, "range_id": place.range_id},
            )
            for (minute, place), ru in sorted(spent.items())
        ]
        for start in range(0, len(writes), OPERATIONS_MAX):
            batch = writes[start : start + OPERATIONS_MAX]
            self._table.submit(self._partition, batch, thing=self._thing)

    def by_minute(self, source: str, *, since_s: int) -> Mapping[int, Mapping[str, float]]:
        found: dict[int, dict[str, float]] = {}
        rows = self._table.between(
            self._partition,
            _minute(since_s),
            _LAST,
            thing=self._thing,
            select=("ru", "source", "range_id"),
        )
        for row in rows:
            if row.properties["source"] == source:
                ranges = found.setdefault(int(row.key.partition("|")[0]), {})
                range_id = row.properties["range_id"]
                ranges[range_id] = ranges.get(range_id, 0.0) + float(row.properties["ru"])
        return found

    def forget(self, *, before_s: int, limit: int) -> int:
        if limit <= 0:
            return 0
        rows = self._table.between(
            self._partition,
            _FIRST,
            _minute(before_s),
            thing=self._thing,
            select=("RowKey",),
            page_rows=limit,
        )
        keys = [row.key for row in islice(rows, limit)]
        self._table.remove(self._partition, keys, thing=self._thing)
        return len(keys)


def _minute(minute_s: int) -> str:
    return f"{max(0, minute_s):012d}"
