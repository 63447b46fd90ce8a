"""Fills a ledger with done slices and times the controller's real tick over it, level by level.

Between two ticks one open slice is moved to done, so that every tick has one slice to plan, as
when a migration is under way.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from azure.data.tables import TableServiceClient

from bench.children import Job, child_main
from bench.counting import Requests, counted
from bench.documents import DATABASE, KEY_PATH
from bench.errors import BenchError
from shared import wiring
from shared.adapters.keys import key
from shared.adapters.records import packed
from shared.adapters.tables import OPERATIONS_MAX, Table, stored
from shared.domain.slices import (
    Extent,
    FeedRange,
    Slice,
    SliceState,
    Staged,
    Stored,
    Window,
)
from shared.domain.spec import spec_from, spec_text
from shared.errors import Conflict, TransientError
from shared.ports import Change, Entry

NAME = "tick"
TABLE = "ebbledger"
IN_FLIGHT = 3
WRITERS = 4  # Azurite has one thread; while it stores a batch, others are being spelt
WARM_UP_TICKS = 3
READS = 20
TRIES_MAX = 5
SHA256 = "0" * 64
UPSETS_MAX = 200  # ticks until the first slices lie planned


class Fixture:
    """A running migration whose frontier lies behind as many slices as will ever be done."""

    def __init__(self, job: Job) -> None:
        self._app = wiring.app()
        self._ports = self._app.ports
        tables = TableServiceClient.from_connection_string(job["storage"])
        self._table = Table(tables, TABLE)
        self._slices_max = int(job["levels"][-1])
        self._width_s = 1
        self._range = FeedRange(id="", token="")
        self._app.operating.apply(spec_text(spec_from(_spec(job))))
        self._app.operating.start(NAME)
        self._settle()

    def fill(self, start: int, end: int) -> None:
        """Done slices number `start` to `end`, a transaction of a hundred at a time."""
        bounds = range(start, end, OPERATIONS_MAX)
        with ThreadPoolExecutor(WRITERS) as pool:
            batches = (range(at, min(at + OPERATIONS_MAX, end)) for at in bounds)
            for _ in pool.map(self._insert, batches):
                pass

    def tick(self) -> Entry:
        """One tick that decided something."""
        entry = self._app.controller.tick()
        if entry is None:
            raise BenchError("ticking: the controller decided nothing; is another one running?")
        return entry

    def read_ms(self) -> float:
        """The median point read: what Azurite itself takes in a table of this size."""
        taken = [_timed_ms(lambda: self._ports.ledger.progress(NAME)) for _ in range(READS)]
        return statistics.median(taken)

    def prove_one(self) -> None:
        """Move the first open slice to done, as the end of a validation does."""
        first = self._ports.ledger.open_slices(NAME)[0]
        progress = self._ports.ledger.progress(NAME)
        if progress is None:
            raise BenchError("ticking: the progress record is gone")
        done = _done(first)
        change = Change(slices=(done,), progress=progress.with_proven(done))
        self._ports.ledger.commit(NAME, change)

    def open_slices(self) -> int:
        """How many are open now."""
        return len(self._ports.ledger.open_slices(NAME))

    def _settle(self) -> None:
        """Tick until the survey is done and slices lie ahead, behind a frontier set back once."""
        for _ in range(UPSETS_MAX):
            self.tick()
            (plan,) = self._ports.ledger.ranges(NAME)
            if plan.surveyed and not self._range.token:
                self._range = plan.range
                frontier_s = plan.earliest_s - 1
                self._width_s = frontier_s // self._slices_max
                moved = replace(plan, frontier_s=frontier_s)
                self._ports.ledger.commit(NAME, Change(ranges=(moved,)))
            elif self._range.token and self.open_slices() > IN_FLIGHT:
                return
        raise BenchError(f"ticking: no slices were planned in {UPSETS_MAX} ticks")

    def _insert(self, numbers: Iterable[int]) -> None:
        """As TableLedger spells them; it has no way to write a done slice that was never open."""
        writes = []
        for done in self._synthetic(numbers):
            thing = f"slice {done.id}"
            writes.append(stored(f"done|{key(done.id)}", thing, packed(done, thing=thing), ""))
        for _ in range(TRIES_MAX):
            try:
                self._table.submit(key(NAME), writes, thing="done slices")
            except TransientError:
                continue  # Azurite resets a connection now and then
            except Conflict:
                return  # the try before was written, and only its answer was lost
            return
        raise BenchError(f"filling the ledger: {TRIES_MAX} tries without an answer")

    def _synthetic(self, numbers: Iterable[int]) -> Iterator[Slice]:
        for number in numbers:
            window = Window(lo_s=number * self._width_s, hi_s=(number + 1) * self._width_s)
            extent = Extent(window=window, range=self._range)
            yield _done(Slice(migration=NAME, extent=extent, documents_planned=100))


def _done(target: Slice) -> Slice:
    blob = Stored(name=f"data/{target.id}.parquet", size_bytes=12_000_000, sha256=SHA256)
    manifest = Stored(name=f"manifests/{target.id}.parquet", size_bytes=9_000, sha256=SHA256)
    documents = target.documents_planned
    staged = Staged(
        blob=blob,
        manifest=manifest,
        merkle_root=SHA256,
        documents=documents,
        document_bytes=documents * 300_000,
        count_before=documents,
        rows_read=documents,
        count_after=documents,
        superseded=0,
        superseded_ids=(),
        ru_spent=documents * 30.0,
    )
    proven = replace(target, state=SliceState.VALIDATING, fence=1)
    return proven.proven(staged=staged, receipt_sha256=SHA256)


def _spec(job: Job) -> dict[str, Any]:
    return {
        "name": NAME,
        "source": {
            "account": job["account"],
            "database": DATABASE,
            "container": job["container"],
            "partition_key": KEY_PATH,
        },
        "cold": {"older_than": "60d"},
        "sink": {"container": "archive"},
        # Slices of one document a second: few enough that the bench's documents last.
        "slice": {"documents_max": 20, "in_flight_max": IN_FLIGHT},
    }


def _levels(job: Job) -> dict[str, Any]:
    endpoints = {str(name): str(url) for name, url in job["endpoints"].items()}
    fixture = Fixture(job)
    rows = []
    filled = 0
    with counted(endpoints) as requests:
        for level in job["levels"]:
            filling_ms = _timed_ms(lambda: fixture.fill(filled, level))  # noqa: B023 - called at once
            filled = int(level)
            row = _level(fixture, requests, int(job["ticks"]))
            rows.append({"slices": level, **row, "filling_s": filling_ms / 1e3})
    return {"rows": rows}


def _level(fixture: Fixture, requests: Requests, ticks: int) -> dict[str, Any]:
    for _ in range(WARM_UP_TICKS):
        fixture.prove_one()
        fixture.tick()
    taken_ms = []
    calls: list[dict[str, int]] = []
    for _ in range(ticks):
        fixture.prove_one()
        requests.by_service.clear()
        taken_ms.append(_timed_ms(fixture.tick))
        calls.append(dict(requests.by_service))
    most = max(calls, key=_storage_calls)
    return {
        "open": fixture.open_slices(),
        "storage_calls": _storage_calls(most),
        "storage_calls_min": min(map(_storage_calls, calls)),
        "calls_by_service": most,
        "ms_median": statistics.median(taken_ms),
        "ms_max": max(taken_ms),
        "point_read_ms": fixture.read_ms(),
    }


def _storage_calls(calls: dict[str, int]) -> int:
    return sum(calls.get(service, 0) for service in ("blob", "queue", "table"))


def _timed_ms(work: Any) -> float:
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1e3


if __name__ == "__main__":
    child_main(_levels)
