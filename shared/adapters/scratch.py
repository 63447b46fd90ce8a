"""Temporary files on the machine's own disk; they have no name and vanish when closed."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from shared.errors import ScratchFull, TransientError

SCRATCH_BYTES_MAX = 800_000_000  # Flex Consumption gives an instance 0.8 GB of temporary storage
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BROKEN = frozenset({errno.EIO, errno.EROFS})


class TempScratch:
    def __init__(
        self, directory: Path | None = None, *, bytes_max: int = SCRATCH_BYTES_MAX
    ) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._reserved = Reserved(bytes_max)

    @property
    def bytes_max(self) -> int:
        return self._bytes_max

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        try:
            with tempfile.TemporaryFile(dir=self._directory) as file:
                yield file
        except OSError as error:
            if error.errno in _FULL:
                raise ScratchFull(
                    f"writing a temporary file: the disk is full ({error}); lower slice.bytes_max "
                    "or slice.in_flight_max, or set EBB_SCRATCH_DIR to a larger disk"
                ) from error
            if error.errno in _BROKEN:
                raise TransientError(
                    f"writing a temporary file: the disk fails ({error}); restart the app if that "
                    "goes on"
                ) from error
            raise

    @contextmanager
    def reserved(self, size_bytes: int) -> Iterator[None]:
        folder = self._directory or Path(tempfile.gettempdir())
        self._reserved.take(size_bytes, free_bytes=shutil.disk_usage(folder).free)
        try:
            yield
        finally:
            self._reserved.give(size_bytes)


class Reserved:
    """What the workers of one machine have reserved of its disk."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lock = Lock()

    def take(self, size_bytes: int, *, free_bytes: int) -> None:
        """Refused where it is not there; `free_bytes` leaves out what is written already."""
        with self._lock:
            left = min(self._bytes_max - self._bytes, free_bytes)
            if size_bytes > left:
                raise ScratchFull(
                    f"the temporary storage has {max(0, left)} bytes left and {size_bytes} are "
                    "needed"
                )
            self._bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        with self._lock:
            self._bytes -= size_bytes
