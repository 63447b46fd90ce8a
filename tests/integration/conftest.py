"""A sandbox per session for the tests that run the whole function app, and specs to give it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest

from sandbox.cosmos.account import History
from sandbox.rehearsal import FunctionApp, HostOptions, function_app
from sandbox.seeding import SeedPlan, SeedReport, seed_container
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from sandbox.storage_gate import StorageGate, storage_gate

RU_PER_S = 4_000
DATABASE = "appdb"


@dataclass(slots=True)
class Place:
    """A seeded container and the spec that archives it."""

    sandbox: Sandbox
    name: str
    container: str
    sink: str
    seeded: SeedReport
    extra: dict[str, str] = field(default_factory=dict)

    def business(self, *, minutes: int, until_s: int | None = None) -> History:
        """What others use of the container, half of what it can give."""
        return History(
            minutes=minutes,
            ru_per_s=RU_PER_S / 2,
            database=DATABASE,
            container=self.container,
            until_s=until_s,
        )

    def spec(self, **changes: str) -> str:
        parts = {
            "name": self.name,
            "source": f"{{account: cosmos-sandbox, database: {DATABASE}, "
            f"container: {self.container}, partition_key: /customerId}}",
            "cold": "{older_than: 90d}",
            "sink": f"{{container: {self.sink}}}",
            "capacity": f"{{ru_per_s_per_partition: {RU_PER_S}}}",
            "slice": "{budget_s: 1}",
            **changes,
        }
        return "\n".join(f"{key}: {value}" for key, value in parts.items())


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with start_sandbox(SandboxOptions(ru_per_s=RU_PER_S, lag_s=1)) as running:
        yield running


@pytest.fixture(scope="session")
def app(sandbox: Sandbox) -> Iterator[FunctionApp]:
    with function_app(sandbox, HostOptions(tick_schedule="*/2 * * * * *")) as running:
        yield running


_numbers = count(1)


@pytest.fixture
def new_place(sandbox: Sandbox) -> Callable[[SeedPlan], Place]:
    def make(plan: SeedPlan) -> Place:
        number = next(_numbers)
        container = f"records{number}"
        seeded = seed_container(sandbox.backing, database=DATABASE, container=container, plan=plan)
        place = Place(
            sandbox=sandbox,
            name=f"migration-{number}",
            container=container,
            sink=f"archive-{number}",
            seeded=seeded,
        )
        sandbox.admin.tell_history(place.business(minutes=30))
        return place

    return make


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A sandbox of its own, whose app may be killed and whose storage may refuse."""

    sandbox: Sandbox
    gate: StorageGate
    place: Place


@contextmanager
def gated_site(plan: SeedPlan) -> Iterator[Site]:
    with start_sandbox(SandboxOptions(ru_per_s=RU_PER_S, lag_s=1)) as bare:
        assert bare.storage is not None
        with storage_gate(bare.storage) as gate:
            sandbox = replace(bare, storage=gate.azurite)
            seeded = seed_container(
                sandbox.backing, database=DATABASE, container="records", plan=plan
            )
            place = Place(
                sandbox=sandbox, name="moved", container="records", sink="archive", seeded=seeded
            )
            going_on = place.business(minutes=60, until_s=int(time.time()) + 1_800)
            sandbox.admin.tell_history(going_on)
            yield Site(sandbox=sandbox, gate=gate, place=place)


def runs_of(app: FunctionApp, function: str) -> list[dict[str, Any]]:
    """How each invocation of a function ended in the host that is running now."""
    lines = [json.loads(line) for line in app.log_text().splitlines() if line.startswith("{")]
    return [e for e in lines if e["event"] == "invocation" and e["function"] == function]
