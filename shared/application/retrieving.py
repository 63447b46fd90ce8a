"""Retrieving one archived document by its pointer, and never other bytes than the pointer names."""

from __future__ import annotations

from shared.domain.canonical import digest
from shared.domain.pointers import Pointer
from shared.errors import Unreadable
from shared.ports import Archive, Archives, TableFormat


class Retrieving:
    """Keeps the newest span, because whoever goes through a file asks for its neighbours next."""

    def __init__(self, archives: Archives, table_format: TableFormat) -> None:
        self._archives = archives
        self._table_format = table_format
        self._opened: dict[str, Archive] = {}
        self._newest: tuple[Pointer, bytes] | None = None

    def document(self, pointer: Pointer) -> bytes:
        """The canonical bytes, their digest checked; Unreadable when they are not there."""
        found = self._table_format.document_at(self._span(pointer), pointer.span, pointer.row)
        if digest(found) != pointer.sha256:
            raise Unreadable(
                f"reading row {pointer.row} at byte {pointer.offset} of {pointer.blob} in "
                f"{pointer.archive}: its digest is not the pointer's; run 'ebb verify', and "
                "restore the blob from its versions"
            )
        return found

    def _span(self, pointer: Pointer) -> bytes:
        newest = self._newest
        if newest is not None and _same_span(newest[0], pointer):
            return newest[1]
        archive = self._opened.get(pointer.archive)
        if archive is None:
            container, _, prefix = pointer.archive.partition("/")
            archive = self._opened.setdefault(
                pointer.archive, self._archives.open(container, prefix)
            )
        data = archive.read_range(pointer.blob, pointer.offset, pointer.length)
        self._newest = (pointer, data)
        return data


def _same_span(one: Pointer, other: Pointer) -> bool:
    return (one.archive, one.blob, one.span) == (other.archive, other.blob, other.span)
