"""One proven slice of the archive, held against its receipt at this very moment.

Whatever is about to be removed from the source is looked up here first; it reads blobs only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from shared.application.bundle import Ports
from shared.application.inspecting import attended
from shared.domain.canonical import digest
from shared.domain.halts import Halt, Halting
from shared.domain.merkle import merkle_root
from shared.domain.pointers import Pointer, Span, pointer_to
from shared.domain.receipt import RECEIPTS, Promise, Row, read_receipt, receipt_name
from shared.domain.slices import Slice, Stored
from shared.domain.spec import Sink
from shared.errors import NotFound, PermanentError, Unreadable
from shared.ports import Archive, TableFormat

LOOKS = 2  # a download may be cut or flipped on its way; the second one then says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A document that a receipt covers, where it lies, and its bytes where they are asked for."""

    index: int
    row: Row
    pointer: Pointer
    document: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Rows, and the bytes of their documents; all of it is what the receipt names."""

    rows: list[Row]
    pointers: list[Pointer]
    name: str
    file: BinaryIO
    table_format: TableFormat

    def items(self, start: int, end: int, *, with_documents: bool) -> Iterator[Item]:
        """From one row to before another, in the manifest's order."""
        numbers = range(start, min(end, len(self.rows)))
        documents = self._documents(start) if with_documents else None
        for index in numbers:
            yield Item(
                index=index,
                row=self.rows[index],
                pointer=self.pointers[index],
                document=next(documents, b"") if documents else b"",
            )

    def repeats(self) -> frozenset[str]:
        """Ids that several rows have, under different partition keys."""
        counted = Counter(row.id for row in self.rows)
        return frozenset(name for name, count in counted.items() if count > 1)

    def _documents(self, start: int) -> Iterator[bytes]:
        self.file.seek(0)
        at = 0
        for group in self.table_format.data_groups(self.file):
            if group.rows is None:
                raise _harmed(self.name, f"its row group {group.number} cannot be read")
            for row, document in group.rows:
                if at >= start:
                    if (row.key, digest(document)) != (self.rows[at].key, self.rows[at].sha256):
                        raise _harmed(self.name, f"row {at} is not what its manifest says")
                    yield document
                at += 1


def receipts(archive: Archive) -> Iterator[Promise]:
    """Every receipt that stands, in order of slice; PermanentError names one that was altered."""
    for stored in archive.stored(RECEIPTS):
        yield read_receipt(stored.name, archive.read(stored.name) or b"")


def promised(archive: Archive, done: Slice) -> Promise:
    """The slice's receipt, if it is the one that the ledger knows."""
    name = receipt_name(done.id)
    data = archive.read(name)
    if data is None:
        raise _harmed(name, "it is not there")
    try:
        promise = read_receipt(name, data)
    except PermanentError as error:
        raise Halting(Halt.ARCHIVE_HARMED, str(error)) from error
    if promise.receipt_sha256 != done.receipt_sha256:
        raise _harmed(name, "it is not the receipt that was recorded")
    return promise


@contextmanager
def opened(
    ports: Ports,
    archive: Archive,
    sink: Sink,
    promise: Promise,
    *,
    keep: Callable[[], None] = lambda: None,
) -> Iterator[Shelf]:
    """The promised blob and manifest, downloaded and found to be what the receipt names."""
    if promise.blob is None:
        raise _harmed(promise.manifest.name, "its receipt names no blob, and documents are due")
    rows = rows_promised(ports, archive, promise, keep=keep)
    with ports.scratch.open() as file:
        _fetch(archive, promise.blob, file, keep)
        try:
            spans = ports.table_format.spans(file)
        except Unreadable as error:
            raise _harmed(promise.blob.name, str(error)) from error
        yield Shelf(
            rows=rows,
            pointers=_pointers(rows, spans, sink.place, promise.blob.name),
            name=promise.blob.name,
            file=file,
            table_format=ports.table_format,
        )


def rows_promised(
    ports: Ports,
    archive: Archive,
    promise: Promise,
    *,
    keep: Callable[[], None] = lambda: None,
) -> list[Row]:
    """The manifest's rows, found to give the receipt's Merkle root."""
    with ports.scratch.open() as file:
        _fetch(archive, promise.manifest, file, keep)
        rows = list(ports.table_format.manifest_rows(file))
    right = merkle_root(row.leaf() for row in rows) == promise.merkle_root
    if not right or len(rows) != promise.documents:
        raise _harmed(promise.manifest.name, "it does not give its receipt's Merkle root")
    return rows


def _fetch(archive: Archive, expected: Stored, file: BinaryIO, keep: Callable[[], None]) -> None:
    for _ in range(LOOKS):
        file.seek(0)
        file.truncate()
        try:
            found = archive.download(expected.name, attended(file, keep))
        except NotFound as error:
            raise _harmed(expected.name, "it is not there") from error
        if (found.sha256, found.size_bytes) == (expected.sha256, expected.size_bytes):
            file.seek(0)
            return
    raise _harmed(expected.name, "its bytes are not those that its receipt names")


def _pointers(rows: list[Row], spans: Sequence[Span], place: str, blob: str) -> list[Pointer]:
    """Where each row's document lies; a file whose groups hold other numbers is not the one."""
    counts = Counter(row.row_group for row in rows)
    if [counts[number] for number in range(len(spans))] != [span.rows for span in spans]:
        raise _harmed(blob, "its row groups are not those that its manifest tells of")
    seen: Counter[int] = Counter()
    pointers = []
    for row in rows:
        at = seen[row.row_group]
        seen[row.row_group] += 1
        span = spans[row.row_group]
        pointers.append(pointer_to(row, span, archive=place, blob=blob, place=at))
    return pointers


def _harmed(name: str, seen: str) -> Halting:
    return Halting(
        Halt.ARCHIVE_HARMED,
        f"looking at {name} before its documents are removed or restored: {seen}; nothing of its "
        "slice is removed — restore it from its versions, then 'ebb retire NAME --resume'",
    )
