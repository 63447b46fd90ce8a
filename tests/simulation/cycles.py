"""A scheduled migration over days: cycles under misfortune while documents change and grow cold.

It remembers every version that the business ever wrote, and judges the archive by those.
"""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow.parquet as pq

from shared.domain.notices import NoticeKind
from shared.domain.slices import MigrationState
from tests.simulation.checkers import SINK, SYSTEM, check_spending, check_tiling, receipts
from tests.simulation.people import Surroundings
from tests.simulation.runs import WORKERS, Run, calm_down, ranges_of, step, unleash
from tests.simulation.spending import Spending
from tests.simulation.watch import Watch
from tests.simulation.world import START_S, World, make_world

HOUR_S = 3_600
DAY_S = 86_400
EVERY_S = 6 * HOUR_S
OLDER_S = DAY_S
PHASES = 6
STEPS_PER_PHASE = 45
JUMPS_S = (2 * HOUR_S, 7 * HOUR_S, 13 * HOUR_S, 30 * HOUR_S)
CALM_BETWEEN = 0.6  # of the phases: the others meet a cycle that is not over
CHANGES_PER_PHASE = 6  # so that some documents grow cold a second and a third time
DOCUMENTS = (0, 5, 40, 80)
SPEC = """
name: sim
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 24h}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 1000, partitions: 1}
slice: {budget_s: 2, in_flight_max: 3, attempts_max: 12}
schedule: {every: 6h}
"""
SMALL = SPEC.replace("budget_s: 2", "budget_s: 2, documents_max: 7")
REREAD = SPEC + "validation: reread\n"
Version = tuple[str, str]
"""A document's id and etag."""


@dataclass(slots=True)
class Days:
    """A scheduled migration under way, and every version that its source ever held."""

    run: Run
    versions: dict[Version, dict[str, Any]] = field(default_factory=dict)
    boundaries: list[int] = field(default_factory=list)
    watermark_s: int = 0

    @property
    def world(self) -> World:
        return self.run.world

    def look(self) -> None:
        """What may only grow: receipts, totals, the boundary, the watermark."""
        self.run.watch.look()
        for key, document in self.world.source.documents.items():
            self.versions.setdefault((key, document["_etag"]), dict(document))
        until_s = self.world.ports.ledger.migration("sim").until_s
        assert not self.boundaries or until_s >= self.boundaries[-1], "the boundary moved back"
        if until_s not in self.boundaries:
            self.boundaries.append(until_s)
        told_s = self.world.calm.operating.status("sim").watermark_s or 0
        assert self.watermark_s <= told_s <= until_s, "the watermark moved back, or too far"
        self.watermark_s = told_s


def begun(seed: int) -> Days:
    """The world of a seed, with documents from ten days ago until now."""
    world = make_world(seed, ranges=ranges_of(seed))
    rng = random.Random(seed + 2)
    run = Run(
        seed=seed,
        world=world,
        rng=rng,
        around=Surroundings(world=world, rng=rng),
        watch=Watch(world=world),
        spending=Spending(world=world, workers=WORKERS),
    )
    for index in range(rng.choice(DOCUMENTS)):
        ts = START_S - rng.randrange(10 * DAY_S)
        world.source.put(f"doc-{index:04d}", ts=ts, body={"n": index})
    world.calm.operating.apply(rng.choice([SPEC, SPEC, SMALL, REREAD]))
    world.calm.operating.start("sim")
    run.watch.attach()
    run.spending.attach()
    return Days(run=run)


def lived(seed: int) -> Days:
    """The days of a seed, whole, and what must hold at their end."""
    days = begun(seed)
    try:
        for _ in range(PHASES):
            _phase(days)
        _settle(days)
        check_days(days)
    except BaseException as error:
        calls = "\n".join(days.world.chaos.trace)
        error.add_note(f"seed {seed}, step {days.run.steps}; the last calls:\n{calls}")
        raise
    return days


def _phase(days: Days) -> None:
    run = days.run
    unleash(run)
    for _ in range(run.rng.randrange(CHANGES_PER_PHASE)):
        run.around.change_document()
        run.around.create_document()
    for _ in range(STEPS_PER_PHASE):
        step(run)
        days.look()
    if run.rng.random() < CALM_BETWEEN:
        _calm(days)
        check_watermark(days)
    run.world.clock.advance(run.rng.choice(JUMPS_S))
    days.look()


def _calm(days: Days) -> None:
    days.run.around.calm()
    days.run.calm_ticks += calm_down(days.world, app=days.run.world.app, after_tick=days.look)


def _settle(days: Days) -> None:
    """Until nothing more is due: every cycle that began is complete."""
    _calm(days)
    while _is_due(days.world):
        _calm(days)


def _is_due(world: World) -> bool:
    due_s = world.calm.operating.status("sim").next_cycle_s
    return due_s is not None and due_s <= world.clock.now_s()


def check_days(days: Days) -> None:
    world = days.world
    migration = world.ports.ledger.migration("sim")
    assert migration.state is MigrationState.COMPLETED, migration.reason
    assert migration.until_s > world.clock.now_s() - OLDER_S - EVERY_S, "a cycle is missing"
    assert all((after - before) % EVERY_S == 0 for before, after in pairwise(days.boundaries))
    assert days.watermark_s == migration.until_s
    check_watermark(days)
    check_tiling(world)
    check_spending(world)
    check_cycles(world)
    told = [each for each in migration.notices if each.kind is NoticeKind.COMPLETED]
    assert len(told) == 1, "completion is told once, not at each cycle"
    report = world.calm.verifying.run("sim")
    assert (report.faults, report.complete) == ([], True)


def check_watermark(days: Days) -> None:
    """What was last written before it is archived so, once, and nothing newer of it is."""
    rows = archived(days.world)
    edges = ends(days.world)
    for document_id, found in rows.items():
        for row in found:
            version = days.versions[document_id, row["_etag"]]
            assert row["_ts"] == version["_ts"]
            assert row["body"] == {k: v for k, v in version.items() if k not in SYSTEM}
        for older, newer in pairwise(found):
            between = [end for end in edges if older["_ts"] < end <= newer["_ts"]]
            assert between, f"two versions of {document_id} within one cycle"
    for document_id, document in days.world.source.documents.items():
        if document["_ts"] < days.watermark_s:
            assert document_id in rows, f"{document_id} was lost"
            newest = rows[document_id][-1]
            assert newest["_etag"] == document["_etag"], f"{document_id} is older than its source"


def archived(world: World) -> dict[str, list[dict[str, Any]]]:
    """Every archived version by id, oldest first."""
    archive = world.ports.archives.open(SINK, "")
    found: dict[str, list[dict[str, Any]]] = {}
    for receipt in receipts(world).values():
        if receipt["blob"] is None:
            continue
        data = archive.read(receipt["blob"]["name"])
        if data is None:
            continue  # its receipt stands, and it is about to be published
        for row in pq.read_table(io.BytesIO(data)).to_pylist():
            kept = {"_ts": row["_ts"], "_etag": row["_etag"], "body": json.loads(row["document"])}
            found.setdefault(row["id"], []).append(kept)
    return {key: sorted(rows, key=lambda row: row["_ts"]) for key, rows in found.items()}


def ends(world: World) -> list[int]:
    """The boundaries of completed cycles, by their summaries' names."""
    archive = world.ports.archives.open(SINK, "")
    return [int(each.name[len("cycles/") : -len(".json")]) for each in archive.stored("cycles/")]


def check_cycles(world: World) -> None:
    """Each summary counts what the receipts before its boundary say."""
    archive = world.ports.archives.open(SINK, "")
    assert archive.read("migration.json") is None
    for end in ends(world):
        body = json.loads(archive.read(f"cycles/{end:010d}.json") or b"")
        mine = [each for each in receipts(world).values() if each["window"]["hi"] <= end]
        assert (body["until_s"], body["receipts"]) == (end, len(mine))
        assert body["documents"] == sum(each["documents"] for each in mine)
