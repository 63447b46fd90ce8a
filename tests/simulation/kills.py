"""Kills a migration at a random call, again and again, and tells what each kill cost.

`python -m tests.simulation.kills --kills 500 --json`. Each kill takes a process with the slice it
has in hand: its memory is gone, and its seat and its lease run out by themselves. Redone is what
was spent on reading a slice's documents beyond its first complete reading.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import pyarrow.parquet as pq

from shared.domain.slices import MigrationState
from shared.ports import Page, Query
from tests.simulation.checkers import SINK, check_end, check_spending
from tests.simulation.faults import Crash
from tests.simulation.people import archives
from tests.simulation.runs import DAY_S, DELIVERIES_PER_TICK, TICK_S, actor_of, handle
from tests.simulation.world import QUEUES, START_S, World, make_world

SLICES = 100
DOCUMENTS_PER_SLICE = 10
LAYOUTS = 10  # different migrations; each is killed at many different calls
TICKS_MAX = 2_000
SPEC = f"""
name: sim
source: {{account: acct, database: db, container: c, partition_key: /pk}}
cold: {{older_than: 90d}}
sink: {{container: archive}}
capacity: {{ru_per_s_per_partition: 1000, partitions: 1}}
slice: {{budget_s: 2, in_flight_max: 3, documents_max: {DOCUMENTS_PER_SLICE}}}
"""

Extent = tuple[int, int, str]


@dataclass(slots=True)
class Readings:
    """Every reading of every slice by a copying worker: what it cost, and whether it ended."""

    world: World
    costs: dict[Extent, list[float]] = field(default_factory=dict)
    complete: dict[Extent, float] = field(default_factory=dict)

    def page(self, query: Query, start: int, limit: int) -> Page:
        found = self.world.source.documents_page(query, start, limit)
        window, range_id = query.extent.window, query.extent.range.id
        extent = (window.lo_s, window.hi_s, range_id)
        if self.world.chaos.is_acting("copy"):
            readings = self.costs.setdefault(extent, [])
            if start == 0:
                readings.append(0.0)
            readings[-1] += found.ru
            if found.continuation is None:
                self.complete.setdefault(extent, readings[-1])
        return found

    def redone(self) -> dict[Extent, float]:
        """Slices of which more was read than one whole reading, with what that cost."""
        over = {each: sum(costs) - self.complete[each] for each, costs in self.costs.items()}
        return {each: ru for each, ru in over.items() if ru > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """One migration, killed once or never, at its end."""

    calls: int
    slices: int
    lost: int
    duplicated: int
    slices_redone: int
    ru_redone: float
    ru_all: float
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    kills: int
    slices: int
    lost: int
    duplicated: int
    slices_redone_max: int
    slices_redone: int
    ru_redone_share: float
    ru_redone_share_max: float
    where: dict[str, int]


def migrated(layout: int, slices: int, *, kill_at: int | None = None) -> Killed:
    """A whole migration, whose process is killed at one of its calls."""
    world = make_world(layout, ranges=1 + layout % 2)
    rng = random.Random(layout)
    for index in range(slices * DOCUMENTS_PER_SLICE):
        ts = START_S - 91 * DAY_S - rng.randrange(60 * DAY_S)
        world.source.put(f"doc-{index:05d}", ts=ts, body={"n": index})
    cold = {key: dict(each) for key, each in world.source.documents.items()}
    readings = Readings(world=world)
    world.source.hook = readings.page
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    world.chaos.kill_at = kill_at
    _drive(world)
    check_end(world, cold, set())
    check_spending(world)
    redone = readings.redone()
    found = _archived_ids(world)
    return Killed(
        calls=world.chaos.calls,
        slices=len(archives(world).names(SINK, "receipts/")),
        lost=len(set(cold) - set(found)),
        duplicated=sum(number - 1 for number in found.values()),
        slices_redone=len(redone),
        ru_redone=sum(redone.values()),
        ru_all=world.source.ru_charged,
        where=world.chaos.killed[0].split()[-1] if world.chaos.killed else "",
    )


def _drive(world: World) -> None:
    for _ in range(TICKS_MAX):
        _working(world, "tick", world.app.controller.tick)
        for queue in QUEUES * DELIVERIES_PER_TICK:
            letter = world.mail.take(queue)
            if letter is None:
                continue
            text = letter.text
            if not _working(world, actor_of(queue), partial(_handled, world, queue, text)):
                world.mail.failed(letter)
        if world.ports.ledger.migration("sim").state is MigrationState.COMPLETED:
            return
        world.clock.advance(TICK_S)
    raise AssertionError(f"after {TICKS_MAX} ticks it is not done")


def _handled(world: World, queue: str, text: str) -> object:
    return handle(world.app, queue, text)


def _working(world: World, name: str, work: Callable[[], object]) -> bool:
    """False where the process was killed; another one is started in its place."""
    try:
        with world.chaos.acting(name):
            work()
    except Crash:
        world.restart(0)
        world.chaos.dead = False
        return False
    return True


def _archived_ids(world: World) -> Counter[str]:
    found: Counter[str] = Counter()
    for name in archives(world).names(SINK, "data/"):
        data = archives(world).bytes_of(SINK, name) or b""
        found.update(pq.read_table(io.BytesIO(data), columns=["id"]).column("id").to_pylist())
    return found


def killed_often(
    kills: int, *, slices: int, seed: int, layouts: int = LAYOUTS, tell: Callable[[str], object]
) -> Report:
    """As many migrations as kills, each killed once, at a call drawn from all of its calls."""
    rng = random.Random(seed)
    calls = [migrated(layout, slices).calls for layout in range(min(layouts, kills))]
    outcomes: list[Killed] = []
    for number in range(kills):
        layout = number % len(calls)
        kill_at = rng.randint(1, calls[layout])
        outcomes.append(migrated(layout, slices, kill_at=kill_at))
        tell(f"kill {number + 1}: layout {layout}, call {kill_at}, {outcomes[-1].where}\n")
    return Report(
        kills=sum(1 for each in outcomes if each.where),
        slices=min(each.slices for each in outcomes),
        lost=sum(each.lost for each in outcomes),
        duplicated=sum(each.duplicated for each in outcomes),
        slices_redone_max=max(each.slices_redone for each in outcomes),
        slices_redone=sum(each.slices_redone for each in outcomes),
        ru_redone_share=sum(e.ru_redone for e in outcomes) / sum(e.ru_all for e in outcomes),
        ru_redone_share_max=max(each.ru_redone / each.ru_all for each in outcomes),
        where=dict(sorted(Counter(each.where for each in outcomes).items())),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--slices", type=int, default=SLICES, help="about so many per migration")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="only the numbers, as JSON")
    given = parser.parse_args(arguments)
    tell = (lambda _: None) if given.json else sys.stderr.write
    report = killed_often(given.kills, slices=given.slices, seed=given.seed, tell=tell)
    shown = asdict(report)
    lines = "".join(f"{name}: {value}\n" for name, value in shown.items())
    sys.stdout.write(json.dumps(shown, indent=1) + "\n" if given.json else lines)
    return 1 if report.lost or report.duplicated else 0


if __name__ == "__main__":
    sys.exit(main())
