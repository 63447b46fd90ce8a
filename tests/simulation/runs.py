"""One simulated migration from its seed: drawn, disturbed step by step, calmed, and judged."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from shared.domain.slices import MigrationState
from shared.errors import EbbError
from shared.ports import COPY_QUEUE
from shared.wiring import App
from tests.simulation.checkers import check_end, check_spending
from tests.simulation.faults import DEPTH_MAX, Crash
from tests.simulation.people import Surroundings
from tests.simulation.post import POISON
from tests.simulation.spending import Spending
from tests.simulation.watch import Watch
from tests.simulation.world import PROCESSES, QUEUES, START_S, World, make_world

STEPS = 200
CALM_TICKS_MAX = 400
TICK_S = 30.0
TIMER_MISSES = 0.2  # of the ticks that are due while somebody waits
DELIVERIES_PER_TICK = 20  # a worker that only holds must not keep the controller from its tick
DAY_S = 86_400
WORKERS = 3
DOCUMENTS = (0, 1, 40, 40, 120, 120, 120, 300)
BURST_MAX = 20  # of one second, where it is cut by ids: a longer listing halts, as it says
SPEC = """
name: sim
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 1000, partitions: 1}
slice: {budget_s: 2, in_flight_max: 3, attempts_max: 12}
"""
REREAD = SPEC + "validation: reread\n"
SMALL = SPEC.replace("budget_s: 2", "budget_s: 2, documents_max: 7")
LARGE = SPEC.replace("budget_s: 2", "budget_s: 30")


@dataclass(slots=True)
class Run:
    """A migration under way, with everybody who may do something to it."""

    seed: int
    world: World
    rng: random.Random
    around: Surroundings
    watch: Watch
    spending: Spending
    cold: dict[str, dict[str, Any]] = field(default_factory=dict)
    stalls_s: tuple[float, ...] = (0.0,)
    next_tick_s: float = START_S + TICK_S
    steps: int = 0
    calm_ticks: int = 0

    @property
    def met(self) -> set[str]:
        return self.watch.met

    @property
    def happened(self) -> Counter[str]:
        return self.world.chaos.happened


def begun(seed: int, *, ranges: int) -> Run:
    """The world of a seed, and a migration that has just started in it."""
    world = make_world(seed, ranges=ranges)
    rng = random.Random(seed + 2)
    run = Run(
        seed=seed,
        world=world,
        rng=rng,
        around=Surroundings(world=world, rng=rng),
        watch=Watch(world=world),
        spending=Spending(world=world, workers=WORKERS),
        stalls_s=rng.choice([(0.0,), (0.0, 1.0), (0.0, 1.0, 100.0)]),
    )
    spec = rng.choice([SPEC, SPEC, REREAD, SMALL, LARGE])
    _fill(run, burst_max=BURST_MAX if spec is SMALL else DOCUMENTS[-1])
    world.calm.operating.apply(spec)
    world.calm.operating.start("sim")
    run.watch.attach()
    run.spending.attach()
    return run


def _fill(run: Run, *, burst_max: int) -> None:
    """Cold documents over months, a burst in one second, and some that are too young."""
    rng, source = run.rng, run.world.source
    oldest = START_S - 300 * DAY_S
    youngest = START_S - 91 * DAY_S
    burst = rng.randrange(oldest, youngest)
    for index in range(rng.choice(DOCUMENTS)):
        bursts = index < 3 * burst_max and rng.random() < 0.3
        ts = burst if bursts else rng.randrange(oldest, youngest)
        key = f"doc-{index:04d}"
        source.put(key, ts=ts, body={"n": index, "x": [1.0, None, "é"]})
        if rng.random() < 0.002:
            source.documents[key]["body"] = float("inf")
            run.around.uncanonical.add(key)
    for index in range(10):
        source.put(f"young-{index}", ts=START_S - rng.randrange(80 * DAY_S), body=index)
    run.cold = {k: dict(v) for k, v in source.documents.items() if v["_ts"] < youngest}


def unleash(run: Run) -> None:
    """How unlucky this run is, in each way on its own."""
    chaos, rng = run.world.chaos, run.rng
    chaos.nested = lambda: nested(run)
    run.world.host_clock.waited = lambda: timer(run)
    chaos.crash = rng.choice([0.0, 0.005, 0.03])
    chaos.fail = rng.choice([0.0, 0.01, 0.05])
    chaos.lose = rng.choice([0.0, 0.01, 0.03])
    chaos.throttle = rng.choice([0.0, 0.1])
    chaos.interleave = rng.choice([0.0, 0.02, 0.1])
    chaos.conflict = rng.choice([0.0, 0.02, 0.1])
    chaos.pages = rng.choice([0.0, 0.03, 0.2])
    chaos.harm = rng.choice([0.0, 0.05, 0.3])
    run.around.steps_clock = rng.random() < 0.4
    run.around.spoils = rng.random() < 0.5


def step(run: Run) -> None:
    """One thing that may happen next, to anyone; whoever does it may be killed doing it."""
    choice = run.rng.random()
    run.steps += 1
    if choice < 0.3:
        tick(run, run.rng.randrange(PROCESSES))
    elif choice < 0.85:
        deliver(run, run.rng.randrange(PROCESSES))
    elif choice < 0.88:
        with working(run, "janitor", 0):
            run.world.app.janitor.sweep()
    elif choice < 0.93:
        run.around.disturb()
    else:
        run.world.clock.advance(run.rng.choice([0.5, 5.0, 50.0, 500.0]))


def nested(run: Run) -> None:
    """While one stands still the world goes on, perhaps for longer than its seat or lease lasts."""
    run.world.clock.advance(run.rng.choice(run.stalls_s))
    step(run)


def timer(run: Run) -> None:
    """The host's own tick, which comes also while workers wait."""
    chaos, now_s = run.world.chaos, run.world.clock.now_s()
    if now_s < run.next_tick_s or chaos.depth >= DEPTH_MAX:
        return
    run.next_tick_s = now_s + TICK_S
    if run.rng.random() < TIMER_MISSES:
        return
    chaos.depth += 1
    try:
        tick(run, run.rng.randrange(PROCESSES))
    finally:
        chaos.depth -= 1


@contextmanager
def working(run: Run, actor: str, process: int) -> Iterator[None]:
    """Somebody at work in a process, which may be killed and is started again."""
    try:
        with run.world.chaos.acting(actor), suppress(EbbError):
            yield
    except Crash:
        run.world.restart(process)
    finally:
        run.world.chaos.dead = False


def tick(run: Run, process: int) -> None:
    if run.world.chaos.is_acting("tick"):
        run.met.add("tick within a tick")
    run.spending.tick_begins()
    with working(run, "tick", process):
        run.world.apps[process].controller.tick()


def deliver(run: Run, process: int) -> None:
    """Hand a message to a worker; it may come twice, and comes again if the worker fails."""
    world, rng = run.world, run.rng
    letter = world.mail.take_any((*QUEUES, *POISON), rng)
    if letter is None:
        return
    queue = letter.queue
    app = world.apps[process]
    done = False
    with working(run, actor_of(queue), process):
        handle(app, queue, letter.text)
        done = True
    if not done:
        world.mail.failed(letter)
        return
    world.mail.done(letter)
    if rng.random() < 0.1:
        run.happened["message twice"] += 1
        world.mail.send(queue, letter.text)


def actor_of(queue: str) -> str:
    return "bury" if queue in POISON else "copy" if queue == COPY_QUEUE else "validate"


def handle(app: App, queue: str, text: str) -> str:
    """As the function app's triggers do it."""
    body = text.encode("utf-8", errors="replace")
    if queue in POISON:
        return app.burying.run(queue.removesuffix("-poison"), body)
    work = app.copying.run if queue == COPY_QUEUE else app.validating.run
    return app.burying.guarded(queue, body, work)


def calm_down(
    world: World, *, app: App | None = None, after_tick: Callable[[], None] = lambda: None
) -> int:
    """No more misfortune: it must come to its end, and by itself; returns the ticks it took."""
    host = app or world.calm
    for number in range(1, CALM_TICKS_MAX + 1):
        with world.chaos.acting("tick"):
            host.controller.tick()
        for queue in QUEUES * DELIVERIES_PER_TICK:
            if letter := world.mail.take(queue):
                with world.chaos.acting(actor_of(queue)):
                    handle(host, queue, letter.text)
        state = world.ports.ledger.migration("sim").state
        if state is MigrationState.HALTED:
            world.calm.operating.resume("sim")
        after_tick()
        if state is MigrationState.COMPLETED:
            return number
        world.clock.advance(30)
    status = world.calm.operating.status("sim")
    raise AssertionError(f"no end in sight: {status.as_dict()}")


def judged(run: Run) -> Run:
    """The steps, the calm, and what must hold at the end; a failure tells its last calls."""
    try:
        unleash(run)
        for _ in range(STEPS):
            step(run)
            run.watch.look()
        run.around.calm()
        run.calm_ticks = calm_down(run.world, app=run.world.app, after_tick=run.watch.look)
        run.watch.look()
        check_end(run.world, run.cold, run.around.changed)
        check_spending(run.world)
    except BaseException as error:
        calls = "\n".join(run.world.chaos.trace)
        error.add_note(f"seed {run.seed}, step {run.steps}; the last calls:\n{calls}")
        raise
    return run


def ranges_of(seed: int) -> int:
    return 1 + seed % 3


def simulated(seed: int, *, ranges: int | None = None) -> Run:
    """One seed, whole; the same misfortune comes again whenever it is asked for."""
    return judged(begun(seed, ranges=ranges or ranges_of(seed)))


def simulate(seed: int, *, ranges: int | None = None) -> World:
    """The same for whoever wants only what it left."""
    return simulated(seed, ranges=ranges).world
