"""One simulated retirement from its seed: documents removed and restored under any misfortune.

After every step, whoever did it and whoever was killed doing it, every read must be right.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from shared.application.retirements import GATE_INDEX
from shared.domain.halts import Halt
from shared.domain.retirement import Direction, Retirement, RetirementState
from shared.errors import EbbError
from tests.simulation.faults import DEPTH_MAX, Crash
from tests.simulation.owners import Owners
from tests.simulation.runs import DAY_S, DELIVERIES_PER_TICK, SPEC, TICK_S, calm_down
from tests.simulation.world import PROCESSES, RETIRING, START_S, World, make_world

STEPS = 120
CALM_TICKS_MAX = 300
FROZEN_S = 3_600.0  # a process that the platform put to sleep, or a call that hung that long
FROZEN_STEPS = 12  # enough for others to take over what it had in hand
DOCUMENTS = 40
ODD_ID = "docs/001"
MODES = ("delete", "stub")


@dataclass(slots=True)
class Retiree:
    """A completed migration whose documents are on their way out or back."""

    world: World
    rng: random.Random
    owners: Owners
    mode: str
    kills: int = 0
    next_tick_s: float = 0.0

    def step(self) -> None:
        """One thing that may happen next, to anyone."""
        choice = self.rng.random()
        if choice < 0.3:
            self.tick()
        elif choice < 0.65:
            self.deliver()
        elif choice < 0.85:
            self.owners.act()
        elif choice < 0.9:
            self.press()
        else:
            self.world.clock.advance(self.rng.choice([0.5, 5.0, 50.0, 500.0]))

    def checked_step(self) -> None:
        self.step()
        self.owners.check()

    def tick(self) -> None:
        process = self.rng.randrange(PROCESSES)
        self._working("tick", process, self.world.apps[process].controller.tick)

    def timer(self) -> None:
        """The host's own tick, which comes also while workers wait."""
        chaos, now_s = self.world.chaos, self.world.clock.now_s()
        if now_s < self.next_tick_s or chaos.depth >= DEPTH_MAX:
            return
        self.next_tick_s = now_s + TICK_S
        chaos.depth += 1
        try:
            self.tick()
        finally:
            chaos.depth -= 1

    def deliver(self) -> None:
        process = self.rng.randrange(PROCESSES)
        letter = self.world.mail.take_any(RETIRING, self.rng)
        if letter is None:
            return
        app = self.world.apps[process]
        if self._working("retire", process, lambda: app.retiring.run(letter.text)):
            self.world.mail.done(letter)
        else:
            self.world.mail.send(letter.queue, letter.text, delay_s=30)

    def press(self) -> None:
        verb = self.rng.choice(["pause", "resume", "resume"])
        with suppress(EbbError):
            self.world.calm.retirements.change("sim", verb, {})

    def _working(self, name: str, process: int, work: Callable[[], object]) -> bool:
        """Whether it came to its end; a killed process is started again."""
        try:
            with self.world.chaos.acting(name):
                work()
        except Crash:
            self.kills += 1
            self.world.restart(process)
            return False
        except EbbError:
            return False
        finally:
            self.world.chaos.dead = False
        return True

    def finish(self) -> None:
        """No more misfortune: it comes to its end by itself; reads are right all the while."""
        self.owners.finish()
        quiet(self.world)
        for _ in range(CALM_TICKS_MAX):
            self.tick()
            for _ in range(DELIVERIES_PER_TICK):
                self.deliver()
                self.owners.check()
            retirement = self.world.ports.ledger.retirement("sim")
            assert retirement is not None
            if retirement.state is RetirementState.DONE:
                return
            if not retirement.running:
                self.world.calm.retirements.resume("sim", accepted(retirement))
            self.world.clock.advance(30)
        raise AssertionError(f"no end in sight: {retirement}")


def accepted(retirement: Retirement) -> dict[str, str]:
    """The answer of a person who knows that the index is whole.

    An undo whose worker died in mid-batch cannot know what came back and was then deleted by its
    owner from what the index lost, so it halts and asks. `check_restored` looks at each document.
    """
    missed = retirement.halt is Halt.INDEX_INCOMPLETE
    return {GATE_INDEX: "their owners deleted them after they came back"} if missed else {}


def quiet(world: World) -> None:
    chaos = world.chaos
    chaos.crash = chaos.fail = chaos.lose = chaos.throttle = chaos.interleave = 0.0
    chaos.conflict = chaos.harm = chaos.freeze = 0.0
    chaos.kill_at = None


def archived(
    seed: int,
    mode: str,
    *,
    documents: int = DOCUMENTS,
    spec: str = SPEC,
    odd: bool = False,
    default_ttl_s: int | None = None,
) -> Retiree:
    """A migration that is complete, and whose grace period is over; `odd`: one id is no address.

    Where documents expire by default, these say of themselves that they do not.
    """
    world = make_world(seed)
    world.source.ttl_s = default_ttl_s
    for index in range(documents):
        name = ODD_ID if odd and index == 1 else f"doc-{index:03d}"
        world.source.put(name, ts=START_S - (91 + index) * DAY_S, body={"n": index})
        if default_ttl_s is not None:
            world.source.documents[name]["ttl"] = -1
    kept = "stub_keep: /body/n\n" if mode == "stub" else ""
    world.calm.operating.apply(f"{spec}retire: {mode}\n{kept}")
    world.calm.operating.start("sim")
    calm_down(world)
    world.clock.advance(8 * DAY_S)
    rng = random.Random(seed + 3)
    retiree = Retiree(world=world, rng=rng, owners=Owners(world=world, rng=rng), mode=mode)
    retiree.owners.know()
    world.host_clock.waited = retiree.timer
    return retiree


def unleash(retiree: Retiree) -> None:
    chaos, rng = retiree.world.chaos, retiree.rng
    stalls_s = rng.choice([(0.0,), (0.0, 1.0), (0.0, 1.0, 100.0)])

    def nested() -> None:
        retiree.world.clock.advance(rng.choice(stalls_s))
        retiree.checked_step()

    def frozen() -> None:
        """An hour of everybody else."""
        for _ in range(FROZEN_STEPS):
            retiree.world.clock.advance(FROZEN_S / FROZEN_STEPS)
            retiree.checked_step()

    chaos.nested = nested
    chaos.frozen = frozen
    chaos.freeze = rng.choice([0.0, 0.002, 0.01])
    chaos.crash = rng.choice([0.002, 0.01, 0.03])
    chaos.fail = rng.choice([0.0, 0.01, 0.05])
    chaos.lose = rng.choice([0.0, 0.01, 0.05])
    chaos.throttle = rng.choice([0.0, 0.1])
    chaos.interleave = rng.choice([0.0, 0.02, 0.1])
    chaos.conflict = rng.choice([0.0, 0.02, 0.1])
    chaos.harm = rng.choice([0.0, 0.05])


def disturbed(retiree: Retiree) -> None:
    """Steps under misfortune, then the rest of the way in peace."""
    unleash(retiree)
    for _ in range(STEPS):
        retiree.checked_step()
    retiree.finish()
    retiree.owners.check()


def simulated(seed: int, mode: str) -> Retiree:
    """Out and back, with owners at work all the time."""
    retiree = archived(seed, mode, odd=True)
    names = sorted(retiree.owners.truth)
    for name in retiree.rng.sample(names, 3):
        retiree.owners.delete_directly(name)
    try:
        retiree.world.calm.retirements.execute("sim", {})
        disturbed(retiree)
        check_totals(retiree)
        retiree.world.calm.retirements.undo("sim")
        disturbed(retiree)
        check_restored(retiree)
    except BaseException as error:
        calls = "\n".join(retiree.world.chaos.trace)
        error.add_note(f"seed {seed}, {mode}; the last calls:\n{calls}")
        raise
    return retiree


def check_totals(retiree: Retiree) -> None:
    """Each document that a receipt covers was counted once, and no removal is left open."""
    ledger = retiree.world.ports.ledger
    retirement, progress = ledger.retirement("sim"), ledger.progress("sim")
    assert retirement is not None
    assert progress is not None
    assert ledger.removals("sim") == ()
    if retirement.direction is Direction.REMOVE:
        assert retirement.behind == progress.documents_proven
        assert retirement.spared_unaddressable == 1
    assert retirement.ru_spent <= retiree.world.source.ru_charged


def check_restored(retiree: Retiree) -> None:
    """What nobody deleted stands in the source as itself, and no pointer answers.

    An announcement may be left by a worker that woke too late; nobody goes by it.
    """
    stands = retiree.world.source.documents
    assert set(stands) == {name for name, now in retiree.owners.truth.items() if now is not None}
    assert not [name for name, document in stands.items() if "ebb_stub" in document]
    standing = retiree.world.ports.pointers.standing.values()  # type: ignore[attr-defined]
    assert not [pointer for pointer in standing if pointer.answers]
