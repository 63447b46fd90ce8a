"""Times Ebb's stages from outside, by wrapping the functions at their borders while it runs.

A sampling profiler would be wrong here: C code that holds the interpreter's lock is never seen.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.adapters import archive, boards, clock, cosmos, ledger, mail, metering, parquet
from shared.application import inspecting, paging, reading, staging

# (owner, function, stage). Inner stages are taken off the outer ones, so all add up to the whole.
_BORDERS: tuple[tuple[Any, str, str], ...] = (
    (cosmos.CosmosSource, "documents", "source"),
    (cosmos.CosmosSource, "count", "source, count"),
    (reading, "canonical_document", "canonical"),
    (paging, "digest", "sha256 of documents"),
    (paging, "partition_key_text", "canonical"),
    (staging, "merkle_root", "merkle"),
    (reading.WindowReading, "spool_documents", "spool write"),
    (staging.Staging, "_data", "spool read"),
    (parquet._DataWriter, "add", "parquet write"),  # noqa: SLF001 - the only border there is
    (parquet._DataWriter, "close", "parquet write"),  # noqa: SLF001
    (parquet.ParquetFormat, "write_manifest", "manifest"),
    (parquet.ParquetFormat, "manifest_rows", "manifest"),
    (parquet, "_group_rows", "parquet read"),
    (archive.BlockWriter, "write", "upload, buffer and sha256"),
    (archive.BlockWriter, "_stage", "upload, a block"),
    (archive.BlockWriter, "_arrived", "upload, waiting for a block"),
    (archive.BlockWriter, "commit", "upload, commit"),
    (archive.BlobArchive, "download", "download"),
    (archive.BlobArchive, "promote", "promote"),
    (archive.BlobArchive, "put_if_absent", "receipt"),
    (archive.BlobArchive, "read", "receipt"),
    (archive.BlobArchive, "delete", "clear staging"),
    (inspecting, "digest", "sha256 of documents"),
    (inspecting, "merkle_root", "merkle"),
    (inspecting, "compare", "compare"),
    *((ledger.TableLedger, name, "ledger") for name in ("migration", "slice", "commit")),
    *((ledger.TableLedger, name, "ledger") for name in ("progress", "open_slices")),
    *((boards.TableBoards, name, "board") for name in ("read", "write")),
    (metering.TableMetering, "add", "metering"),
    (mail.StorageMail, "send", "mail"),
    (clock.SystemClock, "wait", "waiting for the pace"),
)
# What the SDKs do inside a stage, told apart where it matters.
_DETAILS: tuple[tuple[Any, str, str], ...] = (
    (json, "loads", "json.loads"),
    (socket.SocketIO, "readinto", "receiving"),
)
_DETAILED = frozenset({"source", "download"})
_BESIDE = "uploader"  # threads that nobody named


@dataclass(slots=True)
class _Open:
    """A stage that has begun, and what inner stages took of it."""

    stage: str
    inner_s: float = 0.0
    inner_cpu_s: float = 0.0


@dataclass(slots=True)
class Stages:
    """Seconds and processor seconds by thread and stage."""

    roles: tuple[str, ...]
    found: dict[tuple[str, str], list[float]] = field(
        default_factory=lambda: defaultdict(lambda: [0.0, 0.0])
    )
    _local: threading.local = field(default_factory=threading.local)

    @contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """Count what happens inside to a stage, less what inner stages take."""
        stack: list[_Open] = self._local.__dict__.setdefault("stack", [])
        opened = _Open(stage=stage)
        stack.append(opened)
        began_s, cpu_began_s = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            taken_s = time.perf_counter() - began_s
            taken_cpu_s = time.thread_time() - cpu_began_s
            stack.pop()
            if stack:
                stack[-1].inner_s += taken_s
                stack[-1].inner_cpu_s += taken_cpu_s
            total = self.found[self._role(), stage]
            total[0] += taken_s - opened.inner_s
            total[1] += taken_cpu_s - opened.inner_cpu_s

    def now(self) -> str:
        """The stage this thread is in."""
        stack = self._local.__dict__.get("stack")
        return str(stack[-1].stage) if stack else ""

    def rows(self) -> list[dict[str, Any]]:
        """The longest first."""
        ordered = sorted(self.found.items(), key=lambda each: (each[0][0], -each[1][0]))
        return [
            {"thread": role, "stage": stage, "seconds": taken[0], "cpu_s": taken[1]}
            for (role, stage), taken in ordered
        ]

    def _role(self) -> str:
        name = threading.current_thread().name
        return name if name in self.roles else _BESIDE


@contextmanager
def watched(*roles: str) -> Iterator[Stages]:
    """Wrap every border until the end."""
    stages = Stages(roles=roles)
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in (*_BORDERS, *_DETAILS)]
    for owner, name, stage in _BORDERS:
        setattr(owner, name, _timed(stages, getattr(owner, name), stage))
    for owner, name, detail in _DETAILS:
        setattr(owner, name, _detailed(stages, getattr(owner, name), detail))
    try:
        yield stages
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _timed(stages: Stages, original: Callable[..., Any], stage: str) -> Callable[..., Any]:
    def timed(*given: Any, **named: Any) -> Any:
        with stages.within(stage):
            answer = original(*given, **named)
        return _steps(stages, answer, stage) if isinstance(answer, Iterator) else answer

    return timed


def _detailed(stages: Stages, original: Callable[..., Any], detail: str) -> Callable[..., Any]:
    def detailed(*given: Any, **named: Any) -> Any:
        stage = stages.now()
        if stage not in _DETAILED:
            return original(*given, **named)
        with stages.within(f"{stage}, {detail}"):
            return original(*given, **named)

    return detailed


def _steps(stages: Stages, iterator: Iterator[Any], stage: str) -> Iterator[Any]:
    """A generator works only while it is asked."""
    nothing = object()
    while True:
        with stages.within(stage):
            item = next(iterator, nothing)
        if item is nothing:
            return
        yield item
