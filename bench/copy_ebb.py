"""Copies and validates slices with Ebb's own code and adapters, and says how long that took.

Only the budget is not Ebb's: the board is written once with more than any source can give, so that
nothing waits for the pace.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient, TextBase64DecodePolicy

from bench.children import Job, child_main, peak_rss_mb
from bench.documents import DATABASE, KEY_PATH
from bench.errors import BenchError
from bench.stages import watched
from shared import wiring
from shared.application.dispatching import named_in, next_first, work_message
from shared.application.planning import Planning
from shared.domain.board import Board, Grant
from shared.domain.slices import Extent, Migration, Slice, SliceState, Window
from shared.domain.spec import spec_from, spec_text
from shared.ports import VALIDATE_QUEUE, Change

UNLIMITED_RU_PER_S = 1e9
VALID_S = 24 * 3600.0
SLICES_PER_CHANGE = 90
POLL_S = 0.02
ROUNDS_MAX = 1_000  # of copying; each ends after five minutes at the latest
ENDS_WITHIN_S = 1_200.0
COLLISIONS_MAX = 500


class Rehearsal:
    """One migration whose slices are planned already."""

    def __init__(self, job: Job) -> None:
        self._app = wiring.app()
        self._ports = self._app.ports
        self._name = str(job["name"])
        self._storage = str(job["storage"])
        self._slices = len(job["windows"])
        self.collisions = 0
        self._failure: list[BaseException] = []
        self._board = self._planned(job)

    def copy(self) -> None:
        """As the copy queue's function: one message, and then whatever waits."""
        for _ in range(ROUNDS_MAX):
            waiting = self._waiting()
            if waiting is None:
                return
            self._app.copying.run(work_message(waiting))

    def validate(self) -> None:
        """As the validate queue's function, one message after the other, until all is proven."""
        queue = QueueClient.from_connection_string(
            self._storage, VALIDATE_QUEUE, message_decode_policy=TextBase64DecodePolicy()
        )
        until_s = time.monotonic() + ENDS_WITHIN_S
        proven: set[str] = set()
        with queue:
            with suppress(ResourceExistsError):
                queue.create_queue()
            while len(proven) < self._slices and not self._failure:
                message = queue.receive_message(visibility_timeout=600)
                if message is not None:
                    if named_in(message.content)[0] == self._name:  # not an earlier run's second
                        proven.add(self._validated(message.content))
                    queue.delete_message(message)
                elif time.monotonic() < until_s:
                    time.sleep(POLL_S)
                else:
                    raise BenchError(f"validating: {len(proven)} of {self._slices} are proven")

    def _validated(self, message: str) -> str:
        """The id of the slice that is proven now.

        A message can come before the copier has left its seat. Ebb then drops it, and the next
        tick sends another; here it is tried again at once, and counted.
        """
        for _ in range(COLLISIONS_MAX):
            outcome = self._app.validating.run(message)
            if outcome.endswith("is proven"):
                return named_in(message)[1]
            if not outcome.endswith("in other hands"):
                break
            self.collisions += 1
            time.sleep(POLL_S)
        raise BenchError(f"validating: {outcome}")

    def run(self, *parts: tuple[str, Callable[[], None]]) -> float:
        """Run parts side by side, each in a thread of its name; returns the seconds."""
        began_s = time.perf_counter()
        threads = [
            threading.Thread(target=self._kept(part), name=name, daemon=True)
            for name, part in parts
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failure:
            raise BenchError(f"copying {self._name}: {self._failure[0]!r}") from self._failure[0]
        return time.perf_counter() - began_s

    def totals(self) -> tuple[int, int, int]:
        """Documents proven, their bytes, and the bytes of their Parquet."""
        progress = self._ports.ledger.progress(self._name)
        if progress is None:
            raise BenchError(f"copying {self._name}: its progress record is gone")
        return progress.documents_proven, progress.document_bytes, progress.blob_bytes

    def _kept(self, part: Callable[[], None]) -> Callable[[], None]:
        def kept() -> None:
            try:
                part()
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                self._failure.append(error)

        return kept

    def _waiting(self) -> Slice | None:
        now_s = self._ports.clock.now_s()
        slices = self._ports.ledger.open_slices(self._name)
        failed = [s for s in slices if s.state in {SliceState.FAILED, SliceState.QUARANTINED}]
        if failed:
            raise BenchError(f"copying {failed[0].id}: {failed[0].error}")
        waiting = next_first(self._board, slices, now_s)
        return waiting[0] if waiting else None

    def _planned(self, job: Job) -> Board:
        """The board as it was written, with every slice in the ledger."""
        spec = spec_from(_spec(job))
        self._app.operating.apply(spec_text(spec))
        migration = self._app.operating.start(self._name)
        Planning(self._ports).register_ranges(migration, spec)
        slices = self._cut(migration, job)
        for start in range(0, len(slices), SLICES_PER_CHANGE):
            part = slices[start : start + SLICES_PER_CHANGE]
            self._ports.ledger.commit(self._name, Change(slices=part))
        now_s = self._ports.clock.now_s()
        grant = Grant(
            budget_ru_per_s=UNLIMITED_RU_PER_S,
            limit_ru_per_s=UNLIMITED_RU_PER_S,
            shares_ru_per_s={self._name: UNLIMITED_RU_PER_S},
            in_flight={self._name: 1},
            other_ranges_ru_per_s=UNLIMITED_RU_PER_S,
            reason="the bench grants everything",
        )
        granted = Board(
            grants={spec.source.name: grant},
            decided_at_s=now_s,
            valid_until_s=now_s + VALID_S,
            version=self._ports.boards.read().version,
        )
        return self._ports.boards.write(granted)

    def _cut(self, migration: Migration, job: Job) -> tuple[Slice, ...]:
        (plan,) = self._ports.ledger.ranges(migration.name)
        extents = [
            Extent(window=Window(lo_s=lo, hi_s=hi), range=plan.range) for lo, hi in job["windows"]
        ]
        return tuple(
            Slice(migration=migration.name, extent=extent, documents_planned=1)
            for extent in extents
        )


def _spec(job: Job) -> dict[str, Any]:
    return {
        "name": job["name"],
        "source": {
            "account": job["account"],
            "database": DATABASE,
            "container": job["container"],
            "partition_key": KEY_PATH,
        },
        "cold": {"older_than": "60d"},
        "sink": {"container": "archive", "prefix": job["name"]},
    }


def _measured(job: Job) -> dict[str, Any]:
    rehearsal = Rehearsal(job)
    found: dict[str, Any] = {"rss_mb_idle": peak_rss_mb()}
    cpu_began_s = time.process_time()
    if job["side_by_side"]:
        parts = (("copy", rehearsal.copy), ("validate", rehearsal.validate))
        found["seconds"] = rehearsal.run(*parts)
    else:
        with watched("copy", "validate") as stages:
            found["copy_s"] = rehearsal.run(("copy", rehearsal.copy))
            found["validate_s"] = rehearsal.run(("validate", rehearsal.validate))
        found["seconds"] = found["copy_s"] + found["validate_s"]
        found["stages"] = stages.rows()
    found["cpu_s"] = time.process_time() - cpu_began_s
    found["collisions"] = rehearsal.collisions
    found["rss_mb"] = peak_rss_mb()
    found["documents"], found["document_bytes"], found["blob_bytes"] = rehearsal.totals()
    return found


if __name__ == "__main__":
    child_main(_measured)
