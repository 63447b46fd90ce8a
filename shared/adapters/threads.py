"""Makes several calls at the same time, each in a thread that ends with its call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shared.errors import EbbError

THREADS_MAX = 32  # each only waits for an answer; a tick has at most 16 sources

T = TypeVar("T")


class Threads:
    def run(self, calls: Sequence[Callable[[], T]]) -> tuple[T | EbbError, ...]:
        if not calls:
            return ()
        with ThreadPoolExecutor(max_workers=min(THREADS_MAX, len(calls))) as pool:
            return tuple(pool.map(outcome, calls))


def outcome(call: Callable[[], T]) -> T | EbbError:
    try:
        return call()
    except EbbError as error:
        return error
