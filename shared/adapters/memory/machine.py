"""A clock that moves only when told or waited on, names and chance in order, files in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from threading import Lock
from typing import BinaryIO, TypeVar

from shared.adapters.threads import outcome
from shared.errors import EbbError

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
    def open(self) -> AbstractContextManager[BinaryIO]:
        return BytesIO()
