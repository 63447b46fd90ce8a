"""What happens inside the factory: runs that copy as Data Factory does, fail, and act late.

It moves the runs of MemoryFactory on, one step at a call, over the same source and archive.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shared.adapters.memory import MemoryCallbacks, MemoryFactory
from shared.adapters.memory.factory import DIU_HOURS
from shared.domain.runs import Order, RunState
from shared.errors import EbbError
from shared.ports import Query
from tests.simulation.world import World

Documents = list[dict[str, Any]]


@dataclass(slots=True)
class Work:
    """A run under way: which attempt it is at, and where it waits for a verdict."""

    attempt: int = 0
    waits_at: str = ""
    zombie: bool = False


@dataclass(slots=True)
class Floor:
    world: World
    chance: random.Random
    spoil: Callable[[Documents, Order], Documents] = lambda documents, _order: documents
    zombies: float = 0.0
    failures: float = 0.0
    works: dict[str, Work] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    """Runs that neither go on nor end."""

    @property
    def factory(self) -> MemoryFactory:
        assert isinstance(self.world.ports.factory, MemoryFactory)
        return self.world.ports.factory

    @property
    def callbacks(self) -> MemoryCallbacks:
        assert isinstance(self.world.ports.callbacks, MemoryCallbacks)
        return self.world.ports.callbacks

    def step(self) -> None:
        """Move every run on a little, in any order."""
        runs = list(self.factory.told.values())
        self.chance.shuffle(runs)
        for run in (each for each in runs if each.id not in self.stuck):
            work = self.works.setdefault(run.id, Work(zombie=self.chance.random() < self.zombies))
            if run.state is RunState.QUEUED:
                self.factory.begin(run.id)
            elif run.state is RunState.RUNNING:
                self._go_on(run.id, work)
            elif run.state is RunState.CANCELLING:
                if work.zombie:
                    self._copy(run.id, work)  # it writes late, whatever was asked of it
                self.factory.end(run.id, RunState.CANCELLED)

    def _go_on(self, run_id: str, work: Work) -> None:
        order = self.factory.orders[run_id]
        if not work.waits_at:
            if self.chance.random() < self.failures:
                self._attempt_over(run_id, work, order, ok=False)
            else:
                self._copy(run_id, work)
            return
        verdict = self.callbacks.told.get(work.waits_at)
        if verdict is not None:
            self._attempt_over(run_id, work, order, ok=verdict[0])

    def _attempt_over(self, run_id: str, work: Work, order: Order, *, ok: bool) -> None:
        work.waits_at = ""
        work.attempt += 1
        if ok:
            self.factory.end(run_id, RunState.SUCCEEDED)
        elif work.attempt >= order.attempts_max:
            self.factory.end(run_id, RunState.FAILED, "Halted")

    def _copy(self, run_id: str, work: Work) -> None:
        """Copy the window and ask for the verdict; a refusal at the door ends the attempt."""
        order = self.factory.orders[run_id]
        query = Query(extent=order.extent, where=order.where)
        page = self.world.source.documents_page(query, 0, 1_000_000)
        documents = self.spoil(deepcopy(list(page.items)), order)
        name = f"{order.folder}/{run_id}.{work.attempt}.parquet"
        self._write(order, name, documents)
        url = f"https://factory/{run_id}/{work.attempt}"
        body = {
            "migration": order.migration,
            "slice": order.slice_id,
            "fence": order.fence,
            "attempt": work.attempt + 1,
            "path": name,
            "rowsCopied": len(documents),
            "runId": run_id,
            "callBackUri": url,
            "billing": {
                "billableDuration": [
                    {"meterType": "AzureIR", "duration": DIU_HOURS, "unit": "DIUHours"},
                    {"meterType": "AzureIR", "duration": 1.0, "unit": "Hours"},
                ]
            },
        }
        try:
            self.world.calm.receiving.accept(order.slice_id, json.dumps(body))
            work.waits_at = url
        except EbbError:
            if not work.zombie:
                self._attempt_over(run_id, work, order, ok=False)

    def _write(self, order: Order, name: str, documents: Documents) -> None:
        container, _, prefix = order.sink.partition("/")
        sink = io.BytesIO()
        texts = [json.dumps(each) for each in documents]
        pq.write_table(pa.table({"document": pa.array(texts, pa.string())}), sink)
        writer = self.world.ports.archives.open(container, prefix).writer(name)
        writer.write(sink.getvalue())
        writer.commit()
