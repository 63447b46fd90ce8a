"""Decisions kept in an Azure table, newest first; it explains none of them."""

from __future__ import annotations

import hashlib
import json
from itertools import islice

from azure.data.tables import TableServiceClient

from shared.adapters.keys import key
from shared.adapters.records import packed, unpacked
from shared.adapters.tables import AFTER_BAR, Table, Write
from shared.ports import Entry

_HORIZON_US = 10**16  # the year 2286 in microseconds: counted down from, so newest sorts first
_FIRST, _LAST = "0", ":"  # every key begins with a digit, and ":" comes after "9"
_DIGEST_CHARS = 16


class TableJournal:
    """An entry's key is its time and a digest of it, so recording it twice leaves one."""

    def __init__(self, tables: TableServiceClient, account: str, table: str = "ebbjournal") -> None:
        self._table = Table(tables, table)
        self._partition = key(account)
        self._thing = f"the decisions for {account}"

    def record(self, entry: Entry) -> None:
        properties = packed(entry, thing=self._thing)
        text = json.dumps(properties, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]
        row = f"{countdown(entry.decision.at_s)}|{digest}"
        write = Write(kind="put", key=row, thing=self._thing, properties=properties)
        self._table.submit(self._partition, [write], thing=self._thing)

    def entries(self, *, since_s: float, limit: int) -> tuple[Entry, ...]:
        if limit <= 0:
            return ()
        last = f"{countdown(since_s)}{AFTER_BAR}"
        rows = self._table.between(
            self._partition, _FIRST, last, thing=self._thing, page_rows=limit
        )
        return tuple(
            unpacked(Entry, row.properties, version="", thing=self._thing)
            for row in islice(rows, limit)
        )

    def forget(self, *, before_s: float, limit: int) -> int:
        if limit <= 0:
            return 0
        first = f"{countdown(before_s)}{AFTER_BAR}"
        rows = self._table.between(
            self._partition, first, _LAST, thing=self._thing, select=("RowKey",), page_rows=limit
        )
        keys = [row.key for row in islice(rows, limit)]
        self._table.remove(self._partition, keys, thing=self._thing)
        return len(keys)


def countdown(at_s: float) -> str:
    left = _HORIZON_US - round(at_s * 1_000_000)
    return f"{min(max(left, 0), _HORIZON_US):017d}"
