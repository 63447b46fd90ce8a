"""Documents on their way from the source to a file: in a temporary file, a short row of each here.

A slice may be larger than memory, and the source cannot sort it: memory then depends on rows only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from shared.domain.receipt import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    row: Row
    offset: int
    size: int


class Spool:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.rows: list[Spooled] = []

    def clear(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.rows = []

    def add(self, row: Row, document: bytes) -> None:
        offset = self._file.seek(0, 2)
        self._file.write(document)
        self.rows.append(Spooled(row=row, offset=offset, size=len(document)))

    def document(self, spooled: Spooled) -> bytes:
        self._file.seek(spooled.offset)
        return self._file.read(spooled.size)


def in_file_order(rows: Iterable[Spooled]) -> list[Spooled]:
    return sorted(rows, key=lambda each: each.row.key)
