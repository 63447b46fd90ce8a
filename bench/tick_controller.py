"""Prepares a ledger with a running migration, or times the controller's real ticks over it.

Between two ticks one open slice is moved to done, so that every tick has one slice to plan, as
when a migration is under way.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
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
    RangePlan,
    Slice,
    SliceState,
    Staged,
    Stored,
    Window,
)
from shared.domain.spec import spec_from, spec_text
from shared.ports import Change, Entry

NAME = "tick"
TABLE = "ebbledger"
IN_FLIGHT = 3
WARM_UP_TICKS = 3
READS = 20
SHA256 = "0" * 64
TICKS_MAX = 50  # until the survey is done or slices lie planned


class Fixture:
    """A running migration in the ledger, with the ports it runs on."""

    def __init__(self, storage: str) -> None:
        self._app = wiring.app()
        self._ports = self._app.ports
        self._table = Table(TableServiceClient.from_connection_string(storage), TABLE)

    def prepare(self, job: Job) -> None:
        """Survey, plan a few slices, and put the first done ones behind their frontier.

        The frontier lies so far on that as many slices as will ever be done fit before it.
        """
        self._app.operating.apply(spec_text(spec_from(_spec(job))))
        self._app.operating.start(NAME)
        self._until(lambda: all(each.surveyed for each in self._ranges()))
        (plan,) = self._ranges()
        frontier_s = plan.earliest_s - 1
        moved = replace(plan, frontier_s=frontier_s)
        self._ports.ledger.commit(NAME, Change(ranges=(moved,)))
        self._until(lambda: self.open_slices() > IN_FLIGHT)
        width_s = frontier_s // int(job["slices_max"])
        for start in range(0, int(job["slices"]), OPERATIONS_MAX):
            end = min(start + OPERATIONS_MAX, int(job["slices"]))
            self._insert([_synthetic(number, width_s, plan.range) for number in range(start, end)])

    def check_done(self, slice_id: str) -> None:
        """Raise when the last of the done slices is not there."""
        found = self._ports.ledger.slice(NAME, slice_id)
        if found is None or found.id != slice_id or found.state is not SliceState.PROVEN:
            raise BenchError(f"ticking: the ledger does not hold slice {slice_id} as done")

    def tick(self) -> Entry:
        """One tick that decided something."""
        entries = self._app.controller.tick()
        if len(entries) != 1:
            raise BenchError(
                f"ticking: the controller decided for {len(entries)} sources and not for one; "
                "is another one running?"
            )
        return entries[0]

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

    def _ranges(self) -> tuple[RangePlan, ...]:
        return self._ports.ledger.ranges(NAME)

    def _until(self, holds: Callable[[], bool]) -> None:
        for _ in range(TICKS_MAX):
            entry = self.tick()
            if holds():
                return
        raise BenchError(
            f"ticking: nothing was surveyed or planned in {TICKS_MAX} ticks; "
            f"{entry.decision.sentence}; {dict(entry.actions)}"
        )

    def _insert(self, slices: Sequence[Slice]) -> None:
        """As TableLedger spells them; it has no way to write a done slice that was never open."""
        writes = []
        for done in slices:
            thing = f"slice {done.id}"
            writes.append(stored(f"done|{key(done.id)}", thing, packed(done, thing=thing), ""))
        self._table.submit(key(NAME), writes, thing="done slices")


def _synthetic(number: int, width_s: int, feed: FeedRange) -> Slice:
    window = Window(lo_s=number * width_s, hi_s=(number + 1) * width_s)
    extent = Extent(window=window, range=feed)
    return _done(Slice(migration=NAME, extent=extent, documents_planned=100))


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


def _worked(job: Job) -> dict[str, Any]:
    fixture = Fixture(str(job["storage"]))
    if job["prepare"]:
        fixture.prepare(job)
        return {}
    fixture.check_done(str(job["last"]))
    endpoints = {str(name): str(url) for name, url in job["endpoints"].items()}
    with counted(endpoints) as requests:
        return _level(fixture, requests, int(job["ticks"]))


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
    child_main(_worked)
