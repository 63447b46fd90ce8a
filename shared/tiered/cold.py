"""The archive's side of a container: what points into it, and the documents that it holds.

Whatever goes wrong here comes out as azure-cosmos would say it, and never as a 404.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from azure.cosmos.exceptions import CosmosHttpResponseError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from shared.adapters.archive import BlobArchives
from shared.adapters.clock import SystemClock
from shared.adapters.parquet import ParquetFormat
from shared.adapters.pointers import TablePointers
from shared.application.retrieving import Retrieving
from shared.domain.pointers import UNBEGUN_KNOWN_S, Key, Pointer
from shared.domain.removal_record import REMOVED
from shared.errors import EbbError, NotFound, PermanentError, TransientError
from shared.ports import Archives, Pointers, TableFormat
from shared.tiered.later import Later
from shared.tiered.refusals import broken, unavailable

MARK_KNOWN_S = 60.0  # a mark that is there stays; asked again only to notice a lost index


class ColdStore:
    """One source's archived documents; `source` is database/container. Safe between threads."""

    def __init__(
        self,
        source: str,
        *,
        pointers: Pointers,
        archives: Archives,
        table_format: TableFormat,
        places: tuple[str, ...] = (),
    ) -> None:
        self.source = source
        self.places = places
        self.archives = archives
        self.table_format = table_format
        self._pointers = pointers
        self._mark = _Mark(source, pointers, self._recorded)
        self._retrieving = Retrieving(archives, table_format)
        self._later = Later()

    @classmethod
    def connect(
        cls,
        source: str,
        *,
        tables: TableServiceClient,
        blobs: BlobServiceClient,
        places: tuple[str, ...] = (),
    ) -> ColdStore:
        """Over the table service of Ebb's state and the blob service of its archive.

        `places` are the sinks, as container/prefix, that a search goes through; a look-up needs
        none of them, because each pointer names its own.
        """
        return cls(
            source,
            pointers=TablePointers(tables),
            archives=BlobArchives(blobs, clock=SystemClock()),
            table_format=ParquetFormat(),
            places=places,
        )

    def find(self, key: Key) -> Pointer | None:
        with told(f"looking up {key[1]!r} of {self.source} in the index"):
            if not self._mark.is_there():
                return None
            return self._pointers.find(self.source, key)

    def mark(self, key: Key) -> None:
        """Nobody answers for what stands here any more: deleted, or written anew."""
        with told(f"marking {key[1]!r} of {self.source} in the index"):
            if self._mark.is_there():
                self._pointers.delete(self.source, key)

    def shadow(self, written: tuple[Key, str]) -> None:
        """Mark what points to another version than the one written; a failure is tried again."""
        try:
            self._shadow(written)
        except CosmosHttpResponseError:
            self._later.add(lambda: self._shadow(written), f"marking {written[0][1]!r}")

    def _shadow(self, written: tuple[Key, str]) -> None:
        key, etag = written
        points = self.find(key)
        if points is not None and not points.deleted and points.etag != etag:
            self.mark(key)

    def _recorded(self) -> str | None:
        """A record in one of `places` that documents were removed; None while nobody can tell."""
        for place in self.places:
            container, _, prefix = place.partition("/")
            try:
                for stored in self.archives.open(container, prefix).stored(REMOVED):
                    return f"{place}/{stored.name}"
            except NotFound:
                continue  # nothing was archived there yet
            except EbbError:
                return None
        return ""

    def document(self, pointer: Pointer) -> bytes:
        """The archived bytes, their digest checked."""
        with told(f"reading a document of {self.source} from the archive"):
            return self._retrieving.document(pointer)


class _Mark:
    """Whether documents of a source may have been removed: the index's mark, asked now and then.

    Before the first retirement nothing can be in the index, so nothing is looked up there. A mark
    that was there never goes, so its absence is then a lost index, and no answer. An archive that
    cannot be asked holds nobody up; it is asked again.
    """

    def __init__(
        self,
        source: str,
        pointers: Pointers,
        recorded: Callable[[], str | None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now_s = now_s
        self._source = source
        self._pointers = pointers
        self._recorded = recorded
        self._record: str | None = None
        self._is_marked = False
        self._there_until_s = self._unmarked_until_s = float("-inf")

    def is_there(self) -> bool:
        now_s = self.now_s()
        if now_s < self._unmarked_until_s:
            return False
        if now_s < self._there_until_s:
            return True
        since_s = self._pointers.begun_s(self._source)
        if since_s is not None:
            self._is_marked = self._is_marked or since_s > 0  # pointers without a mark may all go
            self._there_until_s = now_s + MARK_KNOWN_S
            return True
        self._check_lost()
        self._unmarked_until_s = now_s + UNBEGUN_KNOWN_S
        return False

    def _check_lost(self) -> None:
        if self._record is None and not self._is_marked:
            self._record = self._recorded()
        if not self._is_marked and not self._record:
            return
        here = f"{self._record} is in the archive"
        seen = "its mark was there before" if self._is_marked else here
        raise PermanentError(
            f"the look-up index knows nothing of {self._source}, and {seen}: the index was lost, "
            "or this is another account's; connect to the right one, or rebuild it (ebb reindex)"
        )


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Ebb's errors as azure-cosmos's own."""
    try:
        yield
    except TransientError as error:
        raise unavailable(f"{doing}: {error}") from error
    except EbbError as error:
        raise broken(f"{doing}: {error}") from error
