"""A business that reads, writes and deletes by id, and keeps its own record of what is right.

Every answer is held against that record: what is missing, stale or doubled is counted and named.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from azure.cosmos.exceptions import CosmosResourceNotFoundError

SYSTEM = frozenset({"_rid", "_self", "_attachments", "_etag", "_ts"})
THREADS = 8
NAMED_MAX = 10
NEVER = 20  # ids of 1,000 reads that were never there
BATCH = 4


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in SYSTEM}


@dataclass(slots=True)
class Record:
    """What must be answered for one id; None once it is deleted."""

    partition_key: str
    truth: dict[str, Any] | None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class Tally:
    """Answers by what was wrong with them, and how long each took by phase."""

    reads: int = 0
    writes: int = 0
    deletions: int = 0
    missing: int = 0
    stale: int = 0
    doubled: int = 0
    named: list[str] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def wrong(self, kind: str, name: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.named) < NAMED_MAX:
            self.named.append(f"{kind}: {name}")

    def percentile_ms(self, phase: str, share: float) -> float:
        taken = sorted(self.seconds[phase])
        return round(1000 * taken[min(len(taken) - 1, int(share * len(taken)))], 1) if taken else 0

    def as_dict(self) -> dict[str, Any]:
        phases = {
            phase: {
                "reads": len(taken),
                "p50_ms": self.percentile_ms(phase, 0.50),
                "p99_ms": self.percentile_ms(phase, 0.99),
            }
            for phase, taken in self.seconds.items()
        }
        counts = ("reads", "writes", "deletions", "missing", "stale", "doubled", "named")
        return {name: getattr(self, name) for name in counts} | {"phases": phases}


class ReadingLoad:
    """Threads that read at most so often a second, all together, until told to end."""

    def __init__(self, container: Any, documents: Iterator[dict[str, Any]], *, seed: int) -> None:
        self.container = container
        self.phase = "before"
        self.tally = Tally()
        self.changes = 0.0
        """The share of requests that write or delete."""
        self.records = {
            each["id"]: Record(partition_key=each["customerId"], truth=plain(each))
            for each in documents
        }
        self._seed = seed
        self._tally_lock = threading.Lock()
        self._over = threading.Event()

    @contextmanager
    def running(self, *, per_s: float) -> Iterator[None]:
        self._over.clear()
        with ThreadPoolExecutor(THREADS) as threads:
            works = [
                threads.submit(self._work, random.Random(self._seed + n), THREADS / per_s)
                for n in range(THREADS)
            ]
            try:
                yield
            finally:
                self._over.set()
        for work in works:
            work.result()

    def wait_for(self, reads: int) -> None:
        """Until so many more reads were answered."""
        target = self.tally.reads + reads
        while self.tally.reads < target and not self._over.is_set():
            time.sleep(0.05)

    def _work(self, rng: random.Random, every_s: float) -> None:
        names = sorted(self.records)
        due = time.monotonic()
        while not self._over.is_set():
            due = max(due + every_s, time.monotonic() - 1.0)
            time.sleep(max(0.0, due - time.monotonic()))
            if rng.random() < NEVER / 1000:
                self._read_nothing(f"never-{rng.random()}")
                continue
            self._touch(rng, rng.choice(names))

    def _touch(self, rng: random.Random, name: str) -> None:
        record = self.records[name]
        with record.lock:
            drawn = rng.random()
            if drawn < self.changes / 2:
                self._write(rng, name, record)
            elif drawn < self.changes and record.truth is not None:
                self._delete(name, record)
            self._read(name, record)

    def _read(self, name: str, record: Record) -> None:
        found = self._answer(name, record.partition_key)
        if found is None and record.truth is not None:
            self._wrong("missing", name)
        elif found is not None and (record.truth is None or plain(found) != record.truth):
            self._wrong("stale", name)

    def _read_nothing(self, name: str) -> None:
        if self._answer(name, "nobody") is not None:
            self._wrong("stale", name)

    def _answer(self, name: str, partition_key: str) -> Mapping[str, Any] | None:
        began = time.monotonic()
        found: Mapping[str, Any] | None
        try:
            found = self.container.read_item(name, partition_key)
        except CosmosResourceNotFoundError:
            found = None
        took = time.monotonic() - began
        with self._tally_lock:
            self.tally.reads += 1
            self.tally.seconds[self.phase].append(took)
        return found

    def _write(self, rng: random.Random, name: str, record: Record) -> None:
        base = record.truth or {"id": name, "customerId": record.partition_key}
        body = base | {"changed": rng.random()}
        self.container.upsert_item(dict(body))
        record.truth = body
        with self._tally_lock:
            self.tally.writes += 1

    def _delete(self, name: str, record: Record) -> None:
        self.container.delete_item(name, record.partition_key)
        record.truth = None
        with self._tally_lock:
            self.tally.deletions += 1

    def _wrong(self, kind: str, name: str) -> None:
        with self._tally_lock:
            self.tally.wrong(kind, f"{name} while {self.phase}")

    def read_each_once(self) -> None:
        """Every id, in batches: each is given once, or not at all where it was deleted."""
        names = sorted(self.records)
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            asked = [(name, self.records[name].partition_key) for name in batch]
            found: dict[str, list[Any]] = defaultdict(list)
            for each in self.container.read_items(asked):
                found[each["id"]].append(plain(each))
            for name in batch:
                self._judge(name, found[name])

    def _judge(self, name: str, found: list[Any]) -> None:
        truth = self.records[name].truth
        if len(found) > 1:
            self._wrong("doubled", name)
        elif not found and truth is not None:
            self._wrong("missing", name)
        elif found and found[0] != truth:
            self._wrong("stale", name)
