"""Migrations that a factory copies: one run a slice, nothing unproven, nothing left behind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from shared.domain.runs import Order, RunState
from shared.domain.slices import MigrationState, SliceState
from shared.errors import EbbError, Invalid
from shared.ports import RECEIVE_QUEUE, VALIDATE_QUEUE
from tests.simulation.checkers import check_always, check_end
from tests.simulation.factory_floor import Documents, Floor
from tests.simulation.sources import RU_PER_READ
from tests.simulation.test_any_misfortune import DAY_S
from tests.simulation.world import START_S, Crash, World, make_world

SPEC = """
name: sim
engine: adf
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 1000, partitions: 1}
slice: {budget_s: 10, in_flight_max: 3, attempts_max: 3}
"""
TICK_S = 30


def begin(seed: int, *, documents: int = 150, ranges: int = 2) -> Floor:
    world = make_world(seed, ranges=ranges)
    chance = random.Random(seed)
    for index in range(documents):
        ts = START_S - chance.randrange(91 * DAY_S, 300 * DAY_S)
        world.source.put(f"doc-{index:03d}", ts=ts, body={"n": index, "at": "2024-01-01T00:00:00Z"})
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    return Floor(world=world, chance=chance)


def cold(world: World) -> dict[str, dict[str, object]]:
    return {key: dict(each) for key, each in world.source.documents.items()}


def round_(floor: Floor) -> None:
    """A tick, a step of every run, and the messages that came of it."""
    world = floor.world
    world.calm.controller.tick()
    floor.step()
    for queue in (RECEIVE_QUEUE, VALIDATE_QUEUE):
        for _ in range(20):
            letter = world.mail.take(queue)
            if letter is None:
                break
            run = world.calm.receiving.run if queue == RECEIVE_QUEUE else world.calm.validating.run
            run(letter.text)
    world.clock.advance(TICK_S)


def finish(floor: Floor, rounds: int = 400) -> MigrationState:
    for _ in range(rounds):
        round_(floor)
        state = floor.world.ports.ledger.migration("sim").state
        if state is not MigrationState.RUNNING:
            return state
    pytest.fail(f"no end in sight: {floor.world.calm.operating.status('sim').as_dict()}")


def test_a_factory_copies_everything_and_ebb_proves_it() -> None:
    """The same archive as the embedded engine's, checked by the same eyes; its cost is told."""
    floor = begin(1)
    expected = cold(floor.world)
    assert finish(floor) is MigrationState.COMPLETED
    check_always(floor.world)
    check_end(floor.world, expected, set())
    assert {run.state for run in floor.factory.told.values()} == {RunState.SUCCEEDED}
    status = floor.world.calm.operating.status("sim").as_dict()
    runs = len(floor.factory.told)
    assert status["factory"]["activity_runs"] == 8 * runs
    assert status["factory"]["diu_hours"] == pytest.approx(runs * 2 / 60, rel=0.01)
    assert status["ru"]["per_document"] < 2 * RU_PER_READ
    assert status["ru"]["spent"] >= 2 * RU_PER_READ * len(expected)


def rewritten_dates(documents: Documents, _order: Order) -> Documents:
    """As a factory does that takes texts for dates."""
    for each in documents:
        if each["id"] == "doc-007":
            each["body"]["at"] = "2024-01-01T00:00:00.0000000Z"
    return documents


def test_a_document_the_factory_changed_is_named_and_halts() -> None:
    """Its slice is tried again, by the run and by Ebb, and then a person is told which document."""
    floor = begin(2)
    floor.spoil = rewritten_dates
    assert finish(floor) is MigrationState.HALTED
    migration = floor.world.ports.ledger.migration("sim")
    assert "1 changed: 'doc-007'" in migration.reason
    (stuck,) = [s for s in floor.world.ports.ledger.open_slices("sim") if s.failures >= 3]
    assert stuck.state is SliceState.QUARANTINED
    asked = [run for run in floor.factory.told.values() if run.slice_id == stuck.id]
    assert len(asked) == 3
    assert all(run.message == "Halted" for run in asked)
    check_always(floor.world)


def missing_row(documents: Documents, _order: Order) -> Documents:
    return [each for each in documents if each["id"] != "doc-007"]


def doubled_row(documents: Documents, _order: Order) -> Documents:
    return documents + [each for each in documents if each["id"] == "doc-007"]


@pytest.mark.parametrize(
    ("spoil", "seen"), [(missing_row, "1 missing: 'doc-007'"), (doubled_row, "1 duplicated: ")]
)
def test_a_file_with_other_documents_is_never_proven(
    spoil: Callable[[Documents, Order], Documents], seen: str
) -> None:
    """Row counts that agree with themselves prove nothing."""
    floor = begin(3)
    floor.spoil = spoil
    assert finish(floor) is MigrationState.HALTED
    assert seen in floor.world.ports.ledger.migration("sim").reason


def test_a_document_updated_during_the_run_is_left_out_and_named() -> None:
    """The factory read it and the source has it no longer: superseded, and nothing is wrong."""
    floor = begin(4)
    expected = cold(floor.world)
    moved: list[str] = []

    def moving(documents: Documents, _order: Order) -> Documents:
        if documents and not moved:
            moved.append(documents[0]["id"])
            now_s = int(floor.world.clock.now_s())
            floor.world.source.put(moved[0], ts=now_s, body="updated")
        return documents

    floor.spoil = moving
    assert finish(floor) is MigrationState.COMPLETED
    check_end(floor.world, expected, set(moved))
    progress = floor.world.ports.ledger.progress("sim")
    assert progress is not None
    assert progress.superseded == 1


def under_way(floor: Floor) -> None:
    """Until something runs in the factory."""
    for _ in range(20):
        round_(floor)
        if any(run.state is RunState.RUNNING for run in floor.factory.living):
            return
    pytest.fail("no run ever began")


def test_a_budget_that_falls_ends_all_runs_within_one_tick() -> None:
    """Cancelled, their slices given back, and all of it done again later."""
    floor = begin(5)
    expected = cold(floor.world)
    under_way(floor)
    floor.world.monitor.business_ru_per_s = lambda _minute: 790.0
    for _ in range(5):  # until the readings tell
        floor.world.clock.advance(TICK_S)
        floor.world.calm.controller.tick()
        if floor.world.ports.boards.read().budget_ru_per_s < 1:
            break
    assert {run.state for run in floor.factory.living} <= {RunState.CANCELLING}
    floor.world.monitor.business_ru_per_s = lambda _minute: 400.0
    assert finish(floor) is MigrationState.COMPLETED
    check_end(floor.world, expected, set())


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_nothing_runs_after_a_pause_or_a_stop(verb: str) -> None:
    """One tick later every run is cancelled, and none of their files is proven."""
    floor = begin(6)
    expected = cold(floor.world)
    under_way(floor)
    floor.world.calm.operating.change("sim", verb)
    floor.world.calm.controller.tick()
    assert {run.state for run in floor.factory.living} <= {RunState.CANCELLING}
    for _ in range(3):
        round_(floor)
    assert floor.factory.living == ()
    floor.world.calm.operating.change("sim", "resume" if verb == "pause" else "start")
    assert finish(floor) is MigrationState.COMPLETED
    check_end(floor.world, expected, set())


def test_a_run_cancelled_in_the_portal_is_noticed_and_done_again() -> None:
    """Recorded with the slice's name, without a failure of its own."""
    floor = begin(7)
    expected = cold(floor.world)
    under_way(floor)
    (run, *_) = floor.factory.living
    floor.factory.end(run.id, RunState.CANCELLED)
    assert finish(floor) is MigrationState.COMPLETED
    check_end(floor.world, expected, set())
    told = [each.text for each in floor.world.ports.incidents.latest(limit=9)]
    assert f"run {run.id} of slice {run.slice_id} was cancelled by someone else" in told
    progress = floor.world.ports.ledger.progress("sim")
    assert progress is not None
    assert progress.attempts_failed == 0


def test_a_run_that_never_ends_is_cancelled_and_its_slice_fenced_anew() -> None:
    """Azure says it is running; what it may write later has an old fence."""
    floor = begin(8)
    expected = cold(floor.world)
    under_way(floor)
    (run, *_) = floor.factory.living
    floor.stuck.add(run.id)
    for _ in range(70):
        round_(floor)
    assert floor.factory.told[run.id].state is RunState.CANCELLING
    again = [each for each in floor.factory.told.values() if each.slice_id == run.slice_id]
    assert max(each.fence for each in again) > run.fence
    floor.stuck.clear()
    assert finish(floor) is MigrationState.COMPLETED
    check_end(floor.world, expected, set())


def test_a_spec_for_a_factory_without_the_pipeline_is_refused() -> None:
    """Named, with the command that mends it; nothing is registered."""
    world = make_world(9)
    Floor(world=world, chance=random.Random(9)).factory.is_deployed = False
    with pytest.raises(Invalid, match=r"\$\.engine"):
        world.calm.operating.apply(SPEC)
    assert world.ports.ledger.migrations() == ()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_factory_does_one_run_counts_and_none_is_left(seed: int) -> None:
    """Zombies, failed attempts, lost replies, crashes and doubled ticks; then it calms down."""
    floor = begin(100 + seed, documents=40)
    world, chance = floor.world, floor.chance
    expected = cold(world)
    floor.zombies, floor.failures = chance.choice([0.0, 0.3]), chance.choice([0.0, 0.2])
    world.chaos.crash = chance.choice([0.0, 0.01])
    world.chaos.fail = chance.choice([0.0, 0.02])
    world.chaos.lose = chance.choice([0.0, 0.02])
    for _ in range(60):
        step(floor)
        check_always(world)
    world.chaos.crash = world.chaos.fail = world.chaos.lose = 0.0
    floor.zombies = floor.failures = 0.0
    for _ in range(20):
        state = finish(floor)
        if state is MigrationState.COMPLETED:
            break
        world.calm.operating.resume("sim")
    check_always(world)
    check_end(world, expected, set())
    for _ in range(5):
        round_(floor)
    assert floor.factory.living == ()


def step(floor: Floor) -> None:
    """One thing that may happen, to anybody."""
    world, draw = floor.world, floor.chance.random()
    try:
        if draw < 0.35:
            world.app.controller.tick()
        elif draw < 0.6:
            floor.step()
        elif draw < 0.9:
            deliver(floor)
        else:
            world.clock.advance(floor.chance.choice([1.0, 30.0, 400.0]))
    except (Crash, EbbError):
        pass
    finally:
        world.chaos.dead = False
    living = Counter((r.slice_id, r.fence) for r in floor.factory.living)
    assert all(number == 1 for number in living.values()), "two runs under one fence"
    if world.ports.ledger.migration("sim").state is MigrationState.HALTED:
        world.calm.operating.resume("sim")


def deliver(floor: Floor) -> None:
    world = floor.world
    queue = floor.chance.choice((RECEIVE_QUEUE, VALIDATE_QUEUE))
    letter = world.mail.take(queue)
    if letter is None:
        return
    run = world.app.receiving.run if queue == RECEIVE_QUEUE else world.app.validating.run
    try:
        run(letter.text)
    except (EbbError, Crash):
        world.mail.send(queue, letter.text, delay_s=30)
        raise
    if floor.chance.random() < 0.1:
        world.mail.send(queue, letter.text)
