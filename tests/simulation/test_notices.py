"""Every halt and every completion is told, whatever crashes, fails, is lost or comes twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace

import pytest

from shared.adapters.memory import MemoryWebhooks
from shared.adapters.memory.signals import Letter
from shared.domain.notices import NoticeKind
from shared.domain.slices import Migration, MigrationState
from shared.domain.spec import parse_spec, spec_text
from shared.ports import NOTIFY_QUEUE, IncidentKind
from shared.wiring import App
from tests.simulation.runs import STEPS, Run, begun, calm_down, ranges_of, step, unleash
from tests.simulation.runs import working as at_work
from tests.simulation.world import PROCESSES, World

SEEDS = range(100, 125)
TARGETS = ("ops", "team")
QUEUES = (NOTIFY_QUEUE, f"{NOTIFY_QUEUE}-poison")
NOTICE_SHARE = 0.25  # of the steps, those in which a letter is delivered
AWAY_SHARE = 0.2  # of the deliveries, those before which a receiver goes away or comes back
LETTERS_MAX = 500
HALT_AT = (30, 60, 90, 120, 150)  # steps at which somebody breaks the migration, to have halts


@dataclass(slots=True)
class Truth:
    """What really came to be, seen at the ledger's own writes."""

    happened: Counter[str] = field(default_factory=Counter)

    def attach(self, world: World, patch: pytest.MonkeyPatch) -> None:
        ledger = world.ports.ledger
        write = ledger.put_migration

        def recorded(migration: Migration) -> Migration:
            before = ledger.migration(migration.name).state
            written = write(migration)
            if written.state is not before:
                self.happened[written.state.value] += 1
            return written

        patch.setattr(ledger, "put_migration", recorded)


def receivers(world: World) -> MemoryWebhooks:
    found = world.ports.webhooks
    assert isinstance(found, MemoryWebhooks)
    return found


def notified(run: Run) -> None:
    """The same migration, with two targets in its spec."""
    ledger = run.world.ports.ledger
    receivers(run.world).told.update({name: [] for name in TARGETS})
    migration = ledger.migration("sim")
    spec = parse_spec(migration.spec_text).model_copy(update={"notify": TARGETS})
    ledger.put_migration(replace(migration, spec_text=spec_text(spec)))


def delivered(run: Run, letter: Letter) -> None:
    process = run.rng.randrange(PROCESSES)
    done = False
    with at_work(run, "notify", process):
        handled(run.world.apps[process], letter)
        done = True
    if not done:
        run.world.mail.failed(letter)
        return
    run.world.mail.done(letter)
    if run.rng.random() < 0.1:
        run.world.mail.send(letter.queue, letter.text)


def handled(app: App, letter: Letter) -> None:
    work = app.notifying.bury if letter.queue.endswith("-poison") else app.notifying.run
    work(letter.text.encode())


def disturbed(run: Run) -> None:
    """Steps of everybody, with letters delivered between them and receivers that come and go."""
    away = receivers(run.world).away
    for number in range(STEPS):
        if number in HALT_AT:
            halted_by_force(run.world)
        if run.rng.random() >= NOTICE_SHARE:
            step(run)
            continue
        if run.rng.random() < AWAY_SHARE:
            away ^= {run.rng.choice(TARGETS)}
        letter = run.world.mail.take_any(QUEUES, run.rng)
        if letter is not None:
            delivered(run, letter)


def halted_by_force(world: World) -> None:
    """A foreign file at the end's own name is one of many reasons; resumed, it goes on."""
    migration = world.ports.ledger.migration("sim")
    if migration.state is MigrationState.RUNNING:
        now_s = world.clock.now_s()
        halted = migration.moved(MigrationState.HALTED, reason="saw 'doc-0007'", now_s=now_s)
        world.ports.ledger.put_migration(halted)
    elif migration.state is MigrationState.HALTED:
        world.calm.operating.resume("sim")


def emptied(world: World) -> None:
    """Ticks and deliveries until no letter is left; receivers are back, and nothing fails."""
    receivers(world).away.clear()
    for _ in range(LETTERS_MAX):
        world.clock.advance(600)
        world.calm.controller.tick()
        letters = [letter for queue in QUEUES if (letter := world.mail.take(queue))]
        for letter in letters:
            handled(world.calm, letter)
        if not letters and not world.ports.ledger.migration("sim").untold:
            return
    pytest.fail("letters without end")


def told_ids(world: World, target: str, kind: NoticeKind) -> set[str]:
    return {said.id for said in receivers(world).told[target] if said.kind == kind}


def untold(world: World, target: str, kind: str) -> int:
    """Notices that are kept as incidents, because their worker failed every time."""
    title = "has halted" if kind == NoticeKind.HALTED else "is complete"
    return sum(
        1
        for each in world.ports.incidents.latest(limit=1_000)
        if each.kind == IncidentKind.UNTOLD and f"{target} was not told" in each.text
        if title in each.text
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_every_halt_and_completion_is_told_whatever_happens(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each target hears of each one under an id of its own, or its failure is kept."""
    run = begun(seed, ranges=ranges_of(seed))
    world, truth = run.world, Truth()
    notified(run)
    truth.attach(world, monkeypatch)
    unleash(run)
    disturbed(run)
    run.around.calm()
    calm_down(world, app=world.app)
    emptied(world)
    assert truth.happened["completed"] == 1
    for target in TARGETS:
        for kind in (NoticeKind.HALTED, NoticeKind.COMPLETED):
            told = len(told_ids(world, target, kind))
            assert told <= truth.happened[kind], f"{target} was told of a {kind} that never was"
            assert told + untold(world, target, kind) >= truth.happened[kind], (seed, target, kind)
        said = [str(asdict(each)) for each in receivers(world).told[target]]
        assert not [each for each in said if "doc-" in each]


def test_the_seeds_meet_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several halts, crashes while telling and receivers that were away, or the law says little."""
    met: Counter[str] = Counter()
    for seed in list(SEEDS)[:6]:
        run = begun(seed, ranges=ranges_of(seed))
        notified(run)
        truth = Truth()
        truth.attach(run.world, monkeypatch)
        unleash(run)
        note_calls(run.world, met, monkeypatch)
        disturbed(run)
        met["halted"] += truth.happened["halted"]
        met["crash"] += sum(1 for each in run.world.chaos.killed if is_telling(each))
    assert met["halted"] >= 10
    assert met["crash"] >= 1
    assert met["away"] >= 1


def note_calls(world: World, met: Counter[str], patch: pytest.MonkeyPatch) -> None:
    webhooks = receivers(world)
    send = MemoryWebhooks.send

    def counted(self: MemoryWebhooks, target: str, message: object) -> None:
        met["away"] += self is webhooks and target in self.away
        send(self, target, message)  # type: ignore[arg-type]

    patch.setattr(MemoryWebhooks, "send", counted)


def is_telling(where: str) -> bool:
    return any(word in where for word in ("webhooks.", "tellings.", "mail.send"))
