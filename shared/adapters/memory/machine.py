"""A clock that moves only when told or waited on, names and chance in order, files in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from threading import Lock
from typing import Any, BinaryIO, TypeVar

from shared.adapters.scratch import SCRATCH_BYTES_MAX, Reserved
from shared.adapters.threads import outcome
from shared.errors import EbbError, ScratchFull

T = TypeVar("T")

GOLDEN = 0.6180339887498949  # its multiples spread most evenly between 0 and 1


class MemoryClock:
    """Waiting moves it on; `advance` does the same for a test."""

    def __init__(self, start_s: float = 1_800_000_000.0) -> None:
        self._now_s = start_s
        self._lock = Lock()

    def now_s(self) -> float:
        with self._lock:
            return self._now_s

    def wait(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now_s += seconds


class OneByOne:
    """Makes the calls in their order, so that a simulation replays."""

    def run(self, calls: Sequence[Callable[[], T]]) -> tuple[T | EbbError, ...]:
        return tuple(outcome(call) for call in calls)


class SequentialNames:
    def __init__(self, prefix: str = "name") -> None:
        self._prefix = prefix
        self._last = 0
        self._drawn = 0
        self._lock = Lock()

    def new(self) -> str:
        with self._lock:
            self._last += 1
            return f"{self._prefix}-{self._last:06d}"

    def fraction(self) -> float:
        """Evenly spread, and the same ones at each run."""
        with self._lock:
            self._drawn += 1
            return self._drawn * GOLDEN % 1.0


class MemoryScratch:
    """As small as a Flex instance's; a write beyond it fails as a full disk does."""

    def __init__(self, bytes_max: int = SCRATCH_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.used_bytes = 0
        self._reserved = Reserved(bytes_max)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        with _Counted(self) as file:
            try:
                yield file
            finally:
                self.used_bytes -= file.size_bytes

    @contextmanager
    def reserved(self, size_bytes: int) -> Iterator[None]:
        self._reserved.take(size_bytes, free_bytes=self.bytes_max - self.used_bytes)
        try:
            yield
        finally:
            self._reserved.give(size_bytes)


class _Counted(BytesIO):
    """Counts what it holds against its disk."""

    def __init__(self, disk: MemoryScratch) -> None:
        super().__init__()
        self._disk = disk
        self.size_bytes = 0

    def write(self, data: Any, /) -> int:
        with memoryview(data) as view:
            grown = max(0, self.tell() + view.nbytes - self.size_bytes)
        if self._disk.used_bytes + grown > self._disk.bytes_max:
            raise ScratchFull("writing a temporary file: the disk is full")
        self._disk.used_bytes += grown
        self.size_bytes += grown
        return super().write(data)

    def truncate(self, size: int | None = None, /) -> int:
        kept = super().truncate(size)
        cut = max(0, self.size_bytes - kept)
        self._disk.used_bytes -= cut
        self.size_bytes -= cut
        return kept
