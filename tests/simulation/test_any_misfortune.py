"""The application's promises under seeded crashes, faults, lost replies and interleavings."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest

from shared.domain.slices import MigrationState
from shared.errors import EbbError
from shared.ports import COPY_QUEUE
from tests.simulation.checkers import check_always, check_end, check_spending
from tests.simulation.world import QUEUES, START_S, Crash, World, make_world

SEEDS = range(40)
STEPS = 150
CALM_TICKS_MAX = 400
DELIVERIES_PER_TICK = 20  # a worker that only holds must not keep the controller from its tick
DAY_S = 86_400
SPEC = """
name: sim
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 1000, partitions: 1}
slice: {budget_s: 2, in_flight_max: 3, attempts_max: 12}
"""


def seed_source(world: World, rng: random.Random) -> dict[str, dict[str, Any]]:
    """Cold documents over months, a burst in one second, and some that are too young."""
    oldest = START_S - 300 * DAY_S
    youngest = START_S - 91 * DAY_S
    burst = rng.randrange(oldest, youngest)
    for index in range(rng.choice([0, 1, 40, 120])):
        ts = burst if rng.random() < 0.3 else rng.randrange(oldest, youngest)
        world.source.put(f"doc-{index:04d}", ts=ts, body={"n": index, "x": [1.0, None, "é"]})
    for index in range(10):
        world.source.put(f"young-{index}", ts=START_S - rng.randrange(80 * DAY_S), body=index)
    return {k: dict(v) for k, v in world.source.documents.items() if v["_ts"] < youngest}


def step(world: World, rng: random.Random, changed: set[str]) -> None:
    """One thing that may happen next, to anyone; whoever does it may be killed doing it."""
    choice = rng.random()
    with suppress(EbbError):
        try:
            if choice < 0.3:
                world.app.controller.tick()
            elif choice < 0.85:
                deliver(world, rng)
            elif choice < 0.88:
                world.app.janitor.sweep()
            elif choice < 0.92:
                disturb(world, rng, changed)
            else:
                world.clock.advance(rng.choice([0.5, 5.0, 50.0, 500.0]))
        except Crash:
            pass
        finally:
            world.chaos.dead = False


def deliver(world: World, rng: random.Random) -> None:
    """Hand a message to a worker; it may come twice, and comes again if the worker fails."""
    queue = rng.choice(QUEUES)
    letter = world.mail.take(queue)
    if letter is None:
        return
    run = world.app.copying.run if queue == COPY_QUEUE else world.app.validating.run
    try:
        run(letter.text)
    except (EbbError, Crash):
        world.mail.send(queue, letter.text, delay_s=30)
        raise
    if rng.random() < 0.1:
        world.mail.send(queue, letter.text)


def disturb(world: World, rng: random.Random, changed: set[str]) -> None:
    """The business updates or deletes an old document."""
    old = [key for key in world.source.documents if key.startswith("doc-")]
    if not old:
        return
    key = rng.choice(old)
    changed.add(key)
    if rng.random() < 0.5:
        del world.source.documents[key]
    else:
        world.source.put(key, ts=int(world.clock.now_s()), body="updated")


def calm_down(world: World) -> None:
    """No more misfortune: it must come to its end, and by itself."""
    for _ in range(CALM_TICKS_MAX):
        world.calm.controller.tick()
        for queue in QUEUES * DELIVERIES_PER_TICK:
            if letter := world.mail.take(queue):
                run = world.calm.copying.run if queue == COPY_QUEUE else world.calm.validating.run
                run(letter.text)
        state = world.ports.ledger.migration("sim").state
        if state is MigrationState.HALTED:
            world.calm.operating.resume("sim")
        if state is MigrationState.COMPLETED:
            return
        world.clock.advance(30)
    status = world.calm.operating.status("sim")
    pytest.fail(f"no end in sight: {status.as_dict()}")


def simulate(seed: int, *, ranges: int) -> World:
    world = make_world(seed, ranges=ranges)
    rng = random.Random(seed + 2)
    cold = seed_source(world, rng)
    changed: set[str] = set()
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    world.chaos.nested = lambda: nested(world, rng, changed)
    world.chaos.crash = rng.choice([0.0, 0.005, 0.03])
    world.chaos.fail = rng.choice([0.0, 0.01, 0.05])
    world.chaos.lose = rng.choice([0.0, 0.01, 0.03])
    world.chaos.throttle = rng.choice([0.0, 0.1])
    world.chaos.interleave = rng.choice([0.0, 0.02])
    for _ in range(STEPS):
        step(world, rng, changed)
        check_always(world)
    calm_down(world)
    check_always(world)
    check_end(world, cold, changed)
    check_spending(world)
    return world


def nested(world: World, rng: random.Random, changed: set[str]) -> None:
    """While one worker stands still, the world goes on, perhaps for longer than its seat lasts."""
    world.clock.advance(rng.choice([0.0, 1.0, 100.0]))
    step(world, rng, changed)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_nothing_is_lost_doubled_or_unreceipted(seed: int) -> None:
    """Replay a failure by its seed: the same misfortune comes again."""
    simulate(seed, ranges=1 + seed % 3)
