"""What went wrong outside any slice's own record, kept in an Azure table, newest first."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from itertools import islice

from azure.data.tables import TableServiceClient

from shared.adapters.journal import countdown
from shared.adapters.keys import key
from shared.adapters.records import packed, unpacked
from shared.adapters.tables import AFTER_BAR, Table, Write
from shared.errors import Conflict
from shared.ports import Incident


class TableIncidents:
    """An incident's key is its time and a digest of it, so recording it twice leaves one."""

    def __init__(
        self, tables: TableServiceClient, account: str, table: str = "ebbincidents"
    ) -> None:
        self._table = Table(tables, table)
        self._partition = key(account)
        self._thing = f"the incidents of {account}"

    def record(self, incident: Incident) -> None:
        properties = packed(incident, thing=self._thing)
        write = Write(kind="put", key=_row(incident), thing=self._thing, properties=properties)
        self._table.submit(self._partition, [write], thing=self._thing)

    def latest(self, *, limit: int, since_s: float = 0.0) -> tuple[Incident, ...]:
        if limit <= 0:
            return ()
        last = f"{countdown(since_s)}{AFTER_BAR}"
        rows = self._table.between(self._partition, "0", last, thing=self._thing, page_rows=limit)
        return tuple(
            unpacked(Incident, row.properties, version="", thing=self._thing)
            for row in islice(rows, limit)
        )

    def remove(self, incident: Incident) -> None:
        with suppress(Conflict):  # it is gone already
            self._table.remove(self._partition, [_row(incident)], thing=self._thing)


def _row(incident: Incident) -> str:
    told = json.dumps(packed(incident, thing="an incident"), sort_keys=True, default=str)
    return f"{countdown(incident.at_s)}|{hashlib.sha256(told.encode()).hexdigest()[:16]}"
