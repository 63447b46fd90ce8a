"""Searching the archive by id, partition key and time of last writing, through pyarrow datasets.

A file is opened over ranged reads, so what its statistics rule out is never fetched, and at most
one row group's documents are in memory. A row counts only where the archive alone answers for it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from shared.application.shelf import receipts
from shared.domain.canonical import digest, storable
from shared.domain.receipt import Promise
from shared.domain.slices import Stored
from shared.errors import Unreadable
from shared.ports import Archive
from shared.tiered.cold import ColdStore, told
from shared.tiered.keys import key_of

ANY: Any = object()
"""Every partition key: None is a key of its own."""

_COLUMNS = ["_partition_key", "id", "_ts", "_etag", "sha256"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Documents with this id, of this partition key, last written in [since, until)."""

    id: str | None = None
    partition_key: Any = ANY
    since: int = 0
    until: int | None = None

    def may_be_in(self, promise: Promise) -> bool:
        window = promise.extent.window
        return window.hi_s > self.since and (self.until is None or window.lo_s < self.until)

    def condition(self) -> Any:
        """As pyarrow rules out row groups by, from their statistics."""
        meant = pc.field("_ts") >= self.since
        if self.until is not None:
            meant &= pc.field("_ts") < self.until
        if self.id is not None:
            meant &= pc.field("id") == storable(self.id)
        if self.partition_key is not ANY:
            meant &= pc.field("_partition_key") == key_of("", self.partition_key)[0]
        return meant


def found_in(cold: ColdStore, wanted: Wanted) -> Iterator[Row]:
    """The documents as they were archived, with the `_etag` and `_ts` they had."""
    with told(f"searching the archive of {cold.source}"):
        for place in dict.fromkeys(each.rstrip("/") for each in cold.places):
            container, _, prefix = place.partition("/")
            archive = cold.archives.open(container, prefix)
            for promise in receipts(archive):
                if promise.blob is not None and wanted.may_be_in(promise):
                    yield from _in_blob(cold, archive, promise.blob, wanted, place)


def _in_blob(
    cold: ColdStore, archive: Archive, blob: Stored, wanted: Wanted, place: str
) -> Iterator[Row]:
    condition = wanted.condition()
    for group in _groups(archive, blob, condition):
        yield from _in_group(cold, group, condition, (place, blob.name))


def _groups(archive: Archive, blob: Stored, condition: Any) -> list[Any]:
    """Those that the footer's statistics do not rule out."""
    file = RangedFile(lambda at, size: archive.read_range(blob.name, at, size), blob.size_bytes)
    options = ds.ParquetFragmentScanOptions(pre_buffer=False)
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    with _harm_told(blob.name):
        fragment = form.make_fragment(file)
        groups = fragment.split_by_row_group(condition, schema=fragment.physical_schema)
        return list(groups)


def _in_group(
    cold: ColdStore, group: Any, condition: Any, lies_in: tuple[str, str]
) -> Iterator[Row]:
    """The row's own columns first; the documents only where one of them is wanted and live."""
    _, blob = lies_in
    meant = _table(group, _COLUMNS, condition, blob).to_pylist()
    live = [row for row in meant if _is_live(cold, row, lies_in)]
    if not live:
        return
    documents = _table(group, ["_partition_key", "id", "document"], condition, blob).to_pylist()
    by_key = {(each["_partition_key"], each["id"]): each["document"] for each in documents}
    for row in live:
        yield _document(by_key[row["_partition_key"], row["id"]].encode(), row, blob)


def _table(group: Any, columns: list[str], condition: Any, blob: str) -> Any:
    with _harm_told(blob):
        return group.to_table(columns=columns, filter=condition, use_threads=False)


@contextmanager
def _harm_told(blob: str) -> Iterator[None]:
    """Whatever pyarrow makes of damaged bytes."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Unreadable(
            f"searching {blob}: {type(error).__name__}; its bytes are damaged"
        ) from error


def _is_live(cold: ColdStore, row: Row, lies_in: tuple[str, str]) -> bool:
    """Whether the index names this very row; another archive may have the version, too."""
    points = cold.find((row["_partition_key"], row["id"]))
    if points is None or not points.answers:
        return False
    place = points.archive.rstrip("/"), points.blob
    return (place, _version(row)) == (lies_in, (points.etag, points.sha256))


def _version(row: Row) -> tuple[str, str]:
    return row["_etag"], row["sha256"]


def _document(data: bytes, row: Row, blob: str) -> Row:
    if digest(data) != row["sha256"]:
        raise Unreadable(f"searching {blob}: {row['id']!r} has not the digest of its row")
    document: Row = json.loads(data)
    return document | {"_etag": row["_etag"], "_ts": row["_ts"]}


class RangedFile(io.RawIOBase):
    """A file of which only the bytes asked for are fetched."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size < 0 else min(size, left)
        data = self._fetch(self._at, wanted) if wanted else b""
        self._at += len(data)
        return data
