"""The account's budget board as one conditional table row; it divides nothing itself."""

from __future__ import annotations

from dataclasses import replace

from azure.data.tables import TableServiceClient

from shared.adapters.keys import key
from shared.adapters.records import packed, unpacked
from shared.adapters.tables import Table, stored
from shared.domain.board import Board

_ROW = "board"


class TableBoards:
    def __init__(self, tables: TableServiceClient, account: str, table: str = "ebbboard") -> None:
        self._table = Table(tables, table)
        self._partition = key(account)
        self._thing = f"the budget board of {account}"

    def read(self) -> Board:
        row = self._table.get(self._partition, _ROW, thing=self._thing)
        if row is None:
            return Board()
        return unpacked(Board, row.properties, version=row.version, thing=self._thing)

    def write(self, board: Board) -> Board:
        properties = packed(board, thing=self._thing)
        change = stored(_ROW, self._thing, properties, board.version)
        (version,) = self._table.submit(self._partition, [change], thing=self._thing)
        return replace(board, version=version)
