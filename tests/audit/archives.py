"""Archives as the product's own application writes them, left as files for the auditor to read."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

from shared.adapters.memory import MemoryArchives
from shared.domain.slices import MigrationState
from shared.ports import Page, Query
from tests.simulation.retirees import archived
from tests.simulation.runs import SMALL
from tests.simulation.world import QUEUES, START_S, World, make_world
from tools import audit

DAY_S = 86_400
COLD_S = START_S - 90 * DAY_S
TICKS_MAX = 400
DELIVERIES_PER_TICK = 20
SPEC = """
name: sim
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 1000, partitions: 1}
slice: {budget_s: 2, in_flight_max: 3, attempts_max: 12}
"""
PATHS = ("/tenant", "/user/id")
ODD_IDS = ["", " ", "é", "e\u0301", "\U0001f600", "\uffff", "\ud800x", "a\x00b", '"\\\n', "<&>'"]
ODD_BODIES: list[Any] = [
    *[2**53 + 1, -(10**30), 1.0, -0.0, 1e22, 1e-7, 0.00001234, 5e-324, 0.1, 1.5e300],
    *[
        {"\U00010000": 1, "\uffff": 2, "": 3, "\ud800": "\udfff"},
        [[[]], {}, None, True],
        "\x7f\u2028",
    ],
]


def audited(folder: object, *options: str) -> tuple[int, dict[str, Any]]:
    """The auditor's exit code and its report."""
    code, out, _ = told(str(folder), "--json", *options)
    return code, json.loads(out) if out else {}


def told(*arguments: str) -> tuple[int, str, str]:
    """The auditor's exit code and all that it wrote, to either stream."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors:
        try:
            code = audit.main(list(arguments))
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), errors.getvalue()


def kinds(folder: Path, *options: str) -> set[str]:
    """The kinds of fault that the auditor finds."""
    code, report = audited(folder, *options)
    assert code == (1 if report["faults"] else 0)
    return set(report["faults"])


def dump(world: World, folder: Path) -> Path:
    """Every blob of the archive as a file."""
    archives = world.ports.archives
    assert isinstance(archives, MemoryArchives)
    for name in archives.names("archive", ""):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archives.bytes_of("archive", name) or b"")
    return folder


def started(seed: int, spec: str = SPEC, *, ranges: int = 1) -> World:
    world = make_world(seed, ranges=ranges)
    world.calm.operating.apply(spec)
    world.calm.operating.start("sim")
    return world


def finish(world: World) -> None:
    """Until the migration is complete."""
    for _ in range(TICKS_MAX):
        turn(world, deliveries=DELIVERIES_PER_TICK)
        if world.ports.ledger.migration("sim").state is MigrationState.COMPLETED:
            return
    raise AssertionError(f"no end in sight: {world.calm.operating.status('sim').as_dict()}")


def turn(world: World, *, deliveries: int) -> None:
    """A tick, some messages, and half a minute."""
    world.calm.controller.tick()
    for queue in QUEUES * deliveries:
        if letter := world.mail.take(queue):
            work = world.calm.copying if queue == QUEUES[0] else world.calm.validating
            work.run(letter.text)
    world.clock.advance(30)


def plain(folder: Path) -> Path:
    """Some months, several slices, one range."""
    world = started(7)
    for index in range(24):
        ts = COLD_S - 115 * DAY_S + index * 4 * DAY_S
        world.source.put(f"doc-{index:03d}", ts=ts, body={"n": index, "x": [1.0, None, "é"]})
    finish(world)
    return dump(world, folder)


def empty(folder: Path) -> Path:
    """Nothing was cold: receipts and empty manifests only."""
    world = started(3, ranges=2)
    finish(world)
    return dump(world, folder)


def superseded(folder: Path) -> Path:
    """One document was updated while its slice was read."""
    world = started(11)
    for index in range(20):
        world.source.put(f"doc-{index:02d}", ts=COLD_S - 110 * DAY_S + index, body=index)
    page = world.source.documents_page
    moved: list[str] = []

    def moving(query: Query, start: int, limit: int) -> Page:
        found = page(query, start, limit)
        if found.continuation is None and world.ports.ledger.open_slices("sim") and not moved:
            moved.append("doc-00")
            world.source.put("doc-00", ts=int(world.clock.now_s()), body="new")
        return found

    world.source.hook = moving
    finish(world)
    return dump(world, folder)


def rich(folder: Path) -> Path:
    """Three ranges, hierarchical keys, odd ids and numbers, and one second cut by ids."""
    keys = "partition_key: [/tenant, /user/id]"
    spec = SPEC.replace("partition_key: /pk", keys).replace("budget_s: 2", "documents_max: 2")
    with hierarchical():
        world = started(5, spec, ranges=3)
        for index, odd in enumerate([*ODD_IDS, *[f"id-{n:02d}" for n in range(20)]]):
            user: Any = [{"id": odd}, {"id": index * 0.5}, {}, "text", None][index % 5]
            body = ODD_BODIES[index % len(ODD_BODIES)]
            ts = COLD_S - 40 * DAY_S + (index if index % 3 else 0)
            put(world, f"{odd}#{index}", tenant="größe", user=user, body=body, ts=ts)
        for tenant in ("b", "a"):  # one id in two partitions is two documents
            put(world, "same", tenant=tenant, user={"id": None}, body=tenant, ts=COLD_S - 9)
        finish(world)
    return dump(world, folder)


def put(world: World, document_id: str, *, ts: int, tenant: str, user: Any, body: Any) -> None:
    world.source.put(document_id, ts=ts, body=body)
    document = world.source.documents.pop(document_id)
    document |= {"tenant": tenant, "user": user, "pk": document_id[-1:]}
    world.source.documents[document_id if tenant != "b" else f"{document_id}\x00"] = document


@contextmanager
def hierarchical() -> Iterator[None]:
    with patch.object(type(make_world(0).source), "partition_key_paths", lambda _: PATHS):
        yield


def halfway(folder: Path) -> Path:
    """Paused in the middle: some slices proven, no migration.json."""
    world = started(7)
    for index in range(90):
        world.source.put(f"doc-{index:03d}", ts=COLD_S - 120 * DAY_S + index * DAY_S, body=index)
    archives = world.ports.archives
    assert isinstance(archives, MemoryArchives)
    while len(archives.names("archive", "data/")) < 3:
        turn(world, deliveries=3)
    return dump(world, folder)


def cycles(folder: Path) -> Path:
    """Two cycles; a document of the first was updated, and grew cold again in the second."""
    return dump(two_cycles(), folder)


def two_cycles() -> World:
    daily = SPEC.replace("older_than: 90d", "older_than: 24h") + "schedule: {every: 36h}\n"
    world = started(7, daily, ranges=2)
    for index in range(12):
        ts = START_S - 10 * DAY_S + index * DAY_S - 1
        world.source.put(f"doc-{index:03d}", ts=ts, body=index)
    finish(world)
    world.source.put("doc-002", ts=int(world.clock.now_s()), body="newer")
    next_cycle(world)
    finish(world)
    return world


def next_cycle(world: World) -> None:
    """Half a day later it is due, and the tick begins it."""
    while world.ports.ledger.migration("sim").state is MigrationState.COMPLETED:
        world.clock.advance(DAY_S / 2)
        turn(world, deliveries=0)


def under_way(folder: Path) -> Path:
    """Two cycles, and some slices of a third."""
    world = two_cycles()
    for index in range(40):
        boundary_s = world.ports.ledger.migration("sim").until_s
        world.source.put(f"late-{index:03d}", ts=boundary_s + index * 3000, body=index)
    next_cycle(world)
    archives = world.ports.archives
    assert isinstance(archives, MemoryArchives)
    before = len(archives.names("archive", "receipts/"))
    while len(archives.names("archive", "receipts/")) == before:
        turn(world, deliveries=1)
    return dump(world, folder)


def retired(folder: Path) -> Path:
    """Removed from its source, and brought back: both leave their records."""
    retiree = archived(7, "delete", documents=12, spec=SMALL, odd=True)
    retiree.world.calm.retirements.execute("sim", {})
    retiree.finish()
    retiree.world.calm.retirements.undo("sim")
    retiree.finish()
    return dump(retiree.world, folder)


SHAPES: dict[str, Callable[[Path], Path]] = {
    each.__name__: each
    for each in (plain, empty, superseded, rich, halfway, cycles, under_way, retired)
}
