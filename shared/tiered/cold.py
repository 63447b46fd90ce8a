"""The archive's side of a container: what points into it, and the documents that it holds.

Whatever goes wrong here comes out as azure-cosmos would say it, and never as a 404.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from shared.adapters.archive import BlobArchives
from shared.adapters.clock import SystemClock
from shared.adapters.parquet import ParquetFormat
from shared.adapters.pointers import TablePointers
from shared.application.retrieving import Retrieving
from shared.domain.pointers import Key, Pointer
from shared.errors import EbbError, TransientError
from shared.ports import Archives, Pointers, TableFormat
from shared.tiered.refusals import broken, unavailable


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
        self._retrieving = Retrieving(archives, table_format)

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
            return self._pointers.find(self.source, key)

    def mark(self, key: Key) -> None:
        """Nobody answers for what stands here any more: deleted, or written anew."""
        with told(f"marking {key[1]!r} of {self.source} in the index"):
            self._pointers.delete(self.source, key)

    def document(self, pointer: Pointer) -> bytes:
        """The archived bytes, their digest checked."""
        with told(f"reading a document of {self.source} from the archive"):
            return self._retrieving.document(pointer)


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Ebb's errors as azure-cosmos's own."""
    try:
        yield
    except TransientError as error:
        raise unavailable(f"{doing}: {error}") from error
    except EbbError as error:
        raise broken(f"{doing}: {error}") from error
