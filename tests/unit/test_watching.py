"""A stall is found within five minutes and told once; who waits or works is never stalled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.application.pacer import change_board
from shared.domain.board import SEAT_TTL_S, Activity, Seat
from shared.domain.governor import TICK_S
from shared.domain.notices import NoticeKind
from shared.domain.pulse import STALLED_AFTER_S, Pulse, beat
from shared.domain.slices import Cause, SliceState
from shared.ports import COPY_QUEUE, RETIRE_QUEUE, VALIDATE_QUEUE, Change, Incident
from shared.wiring import assemble
from tests.simulation.retirees import archived
from tests.simulation.test_any_misfortune import SPEC
from tests.simulation.world import CAPACITY_RU_PER_S, SOURCE, START_S, World, make_world

FOUND_WITHIN_S = 300.0
HOUR_TICKS = 120
PLANNED_TICKS = 4  # surveyed at the first, all planned by the fourth
# Few enough documents that all is planned at once: what moves afterwards is workers' doing.
DOCUMENTS = 30


@pytest.fixture
def world() -> World:
    """Everything is planned and its messages are sent, but no worker ever takes one."""
    world = make_world(3)
    for index in range(DOCUMENTS):
        ts = START_S - 91 * 86_400 - DOCUMENTS + index
        world.source.put(f"doc-{index:02d}", ts=ts, body=index)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    tick(world, PLANNED_TICKS)
    assert all(plan.finished for plan in world.ports.ledger.ranges("sim"))
    return world


def tick(world: World, times: int, before: Callable[[], None] = lambda: None) -> None:
    for _ in range(times):
        world.clock.advance(TICK_S)
        before()
        world.calm.controller.tick()


def stalls(world: World) -> list[Incident]:
    return [i for i in world.ports.incidents.latest(limit=100) if i.kind == "stalled"]


def stalled_since_s(world: World) -> float | None:
    return world.calm.operating.status("sim").stalled_since_s


def deliver(world: World) -> None:
    """Workers come back and do whatever lies in the queues."""
    for queue, run in (
        (COPY_QUEUE, world.calm.copying.run),
        (VALIDATE_QUEUE, world.calm.validating.run),
    ):
        while letter := world.mail.take(queue):
            run(letter.text)


def prove_one(world: World) -> None:
    """As far as totals tell, another slice is proven."""
    sim = world.ports.ledger.progress("sim")
    assert sim is not None
    moved = replace(sim, slices_proven=sim.slices_proven + 1)
    world.ports.ledger.commit("sim", Change(progress=moved))


def press(world: World) -> None:
    world.calm.pressing.push("")


def sit(world: World, activity: Activity = Activity.COPY) -> None:
    now_s = world.clock.now_s()
    seat = Seat(
        migration="sim",
        source=SOURCE,
        range_id="r000",
        slice_id="elsewhere",
        fence=1,
        activity=activity,
        until_s=now_s + SEAT_TTL_S,
    )
    change_board(world.ports, lambda board: board.seated(seat, now_s))


def test_a_migration_that_gets_nowhere_is_told_once_within_five_minutes(world: World) -> None:
    """It may spend and nobody does: an incident that says what to look at, and no second one."""
    prove_one(world)
    began_s = world.clock.now_s()
    while not stalls(world):
        tick(world, 1)
        assert world.clock.now_s() <= began_s + FOUND_WITHIN_S
    (told,) = stalls(world)
    assert told.at_s >= began_s + STALLED_AFTER_S
    assert told.text.startswith("sim is stalled: it may spend ")
    assert "queue triggers" in told.text
    tick(world, HOUR_TICKS)
    assert stalls(world) == [told]


def test_another_controller_does_not_tell_it_again(world: World) -> None:
    """What was told is remembered with the source, not in a process."""
    tick(world, 12)
    assert len(stalls(world)) == 1
    successor = assemble(world.ports, 60.0)
    for _ in range(12):
        world.clock.advance(TICK_S)
        successor.controller.tick()
    assert len(stalls(world)) == 1


def test_the_status_shows_since_when_it_is_stalled(world: World) -> None:
    """From the last sign of life on, and not before it is a stall."""
    tick(world, 1)
    remembered = world.ports.memories.recall(SOURCE).pulses["sim"]
    assert stalled_since_s(world) is None
    tick(world, 10)
    assert stalled_since_s(world) == remembered.since_s
    assert world.calm.operating.status("sim").as_dict()["stalled_since_s"] == remembered.since_s


def test_progress_ends_a_stall_and_the_next_is_told_anew(world: World) -> None:
    """A slice proven is a sign of life; an alarm of yesterday silences none of today."""
    tick(world, 12)
    assert stalled_since_s(world) is not None
    prove_one(world)
    tick(world, 1)
    assert stalled_since_s(world) is None
    assert len(stalls(world)) == 1
    tick(world, 12)
    assert stalled_since_s(world) is not None
    assert len(stalls(world)) == 2


def test_workers_that_come_back_end_a_stall(world: World) -> None:
    """And bring the migration to its end, with nothing more told."""
    tick(world, 12)
    for _ in range(10):
        deliver(world)
        tick(world, 1)
    assert world.calm.operating.status("sim").as_dict()["state"] == "completed"
    assert stalled_since_s(world) is None
    assert len(stalls(world)) == 1


def test_copies_that_nobody_validates_are_a_stall(world: World) -> None:
    """The other queue's trigger alone may be broken."""
    while letter := world.mail.take(COPY_QUEUE):
        world.calm.copying.run(letter.text)
    states = {each.state for each in world.ports.ledger.open_slices("sim")}
    assert states == {SliceState.COPIED}
    tick(world, 12)
    assert len(stalls(world)) == 1


def test_a_migration_with_a_living_worker_is_never_stalled(world: World) -> None:
    """A slice may take long; the seat is renewed all the while."""
    tick(world, HOUR_TICKS, before=lambda: sit(world))
    assert stalls(world) == []
    assert stalled_since_s(world) is None


def test_a_validator_is_a_living_worker_too(world: World) -> None:
    """It spends nothing on the source, and still gets somewhere."""
    tick(world, 12, before=lambda: sit(world, Activity.VALIDATE))
    assert stalls(world) == []
    tick(world, 12)
    assert len(stalls(world)) == 1


def test_a_worker_that_died_is_no_sign_of_life(world: World) -> None:
    """Its seat stands on the board until the next decision; the time counts from its last tick."""
    sit(world)
    tick(world, 1)
    alive_s = world.ports.memories.recall(SOURCE).pulses["sim"].since_s
    tick(world, 2)
    assert world.ports.memories.recall(SOURCE).pulses["sim"].since_s == alive_s


def test_a_migration_that_holds_for_hours_is_never_stalled(world: World) -> None:
    """The business needs everything, then Monitor is silent: no share, no alarm."""
    world.monitor.business_ru_per_s = lambda _minute_s: CAPACITY_RU_PER_S
    tick(world, 2 * HOUR_TICKS)
    world.monitor.silent_from_s, world.monitor.silent_until_s = world.clock.now_s(), float("inf")
    tick(world, 2 * HOUR_TICKS)
    assert stalls(world) == []
    assert stalled_since_s(world) is None


def test_a_migration_pressed_for_hours_is_never_stalled(world: World) -> None:
    """The business said that it needs everything, again and again."""
    press(world)
    tick(world, HOUR_TICKS, before=lambda: press(world))
    assert stalls(world) == []


def test_a_migration_throttled_for_hours_is_never_stalled(world: World) -> None:
    """Every request meets a 429: there is no room, however much the readings promise."""

    def throttled() -> None:
        now_s = world.clock.now_s()
        change_board(world.ports, lambda board: board.throttled(SOURCE, "r000", now_s=now_s))

    tick(world, 2 * HOUR_TICKS, before=throttled)
    assert stalls(world) == []


def test_a_migration_whose_slices_wait_to_be_tried_again_is_never_stalled(world: World) -> None:
    """A slice that failed five times rests for longer than a stall takes to be one."""
    now_s = world.clock.now_s()
    for each in world.ports.ledger.open_slices("sim"):
        failed = replace(each, failures=5).failed(
            cause=Cause.TRANSIENT, error="busy", now_s=now_s, attempts_max=12
        )
        assert failed.retry_at_s - now_s > STALLED_AFTER_S + TICK_S
        world.ports.ledger.commit("sim", Change(slices=(failed,)))
    tick(world, int((failed.retry_at_s - now_s) / TICK_S) - 1)
    assert stalls(world) == []


def test_a_migration_left_with_hot_ranges_only_is_never_stalled() -> None:
    """Its share comes from ranges it has finished; on those it still needs there is no room."""
    world = make_world(3, ranges=2)
    for index in range(DOCUMENTS):
        world.source.put(f"doc-{index:02d}", ts=START_S - 91 * 86_400 - index, body=index)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    tick(world, PLANNED_TICKS)

    def hot() -> None:
        now_s = world.clock.now_s()
        change_board(world.ports, lambda board: board.throttled(SOURCE, "r001", now_s=now_s))

    def hot_at_work() -> None:
        deliver(world)
        hot()

    tick(world, 5, before=hot)
    tick(world, 30, before=hot_at_work)
    open_on = {each.extent.range.id for each in world.ports.ledger.open_slices("sim")}
    grant = world.ports.boards.read().grants[SOURCE]
    assert open_on == {"r001"}
    assert grant.is_paused("r001")
    assert grant.shares_ru_per_s["sim"] > 100.0
    assert stalls(world) == []


def test_of_two_migrations_only_the_idle_one_is_stalled(world: World) -> None:
    """They share a source and its memory, and have a pulse each."""
    second = SPEC.replace("name: sim", "name: other").replace(
        "{container: archive}", "{container: archive, prefix: other}"
    )
    world.calm.operating.apply(second)
    world.calm.operating.start("other")
    tick(world, 14, before=lambda: sit(world))
    assert [each.text.split()[0] for each in stalls(world)] == ["other"]
    assert stalled_since_s(world) is None
    assert world.calm.operating.status("other").stalled_since_s is not None


def test_a_pause_is_no_part_of_a_stall(world: World) -> None:
    """Time in which it was not to run does not count against it."""
    tick(world, 5)
    world.calm.operating.pause("sim")
    tick(world, 20)
    world.calm.operating.resume("sim")
    tick(world, 5)
    assert stalls(world) == []


def test_a_controller_that_was_away_finds_no_stall_at_once(world: World) -> None:
    """While nobody looked, nobody could have seen it move; from then on the time counts."""
    tick(world, 5)
    world.clock.advance(3_600.0)
    tick(world, 3)
    assert stalls(world) == []
    tick(world, 8)
    assert len(stalls(world)) == 1


@pytest.fixture
def retiring() -> World:
    """Removals are planned and their messages are sent, but no worker ever takes one."""
    world = archived(1, "delete", documents=DOCUMENTS).world
    world.calm.retirements.execute("sim", {})
    tick(world, PLANNED_TICKS)
    assert world.ports.ledger.removals("sim")
    return world


def test_a_retirement_that_gets_nowhere_is_told_once(retiring: World) -> None:
    """Its workers are others than those who copy, and their trigger alone may be broken."""
    tick(retiring, 12)
    (told,) = stalls(retiring)
    assert told.text.startswith("retiring sim is stalled: it may spend ")
    assert "removed or restored" in told.text
    assert stalled_since_s(retiring) is not None
    notices = retiring.ports.ledger.migration("sim").notices
    assert [each.kind for each in notices].count(NoticeKind.STALLED) == 1
    tick(retiring, HOUR_TICKS)
    assert stalls(retiring) == [told]


def test_a_retirement_that_is_worked_on_is_never_stalled(retiring: World) -> None:
    """A seat of its own worker, and no other's, is its sign of life."""
    tick(retiring, 12, before=lambda: sit(retiring, Activity.RETIRE))
    assert stalls(retiring) == []
    tick(retiring, 12, before=lambda: sit(retiring, Activity.COPY))
    assert [each.text.split()[0] for each in stalls(retiring)] == ["retiring"]


def test_workers_that_remove_again_end_a_stall(retiring: World) -> None:
    """Everything is removed, and nothing more is told."""
    tick(retiring, 12)
    while letter := retiring.mail.take(RETIRE_QUEUE):
        retiring.calm.retiring.run(letter.text)
    tick(retiring, 12)
    assert retiring.source.documents == {}
    assert stalled_since_s(retiring) is None
    assert len(stalls(retiring)) == 1


def test_a_retirement_whose_slices_wait_is_never_stalled(retiring: World) -> None:
    """For their grace period, or to be tried again."""
    later_s = retiring.clock.now_s() + 86_400
    for each in retiring.ports.ledger.removals("sim"):
        waiting = each.released(ru=0.0, retry_at_s=later_s)
        retiring.ports.ledger.commit("sim", Change(removals=(waiting,)))
    tick(retiring, HOUR_TICKS)
    assert stalls(retiring) == []


def test_who_removes_is_no_sign_of_life_of_a_copy(world: World) -> None:
    """With a schedule both go on at once, and either may come to a stand."""
    tick(world, 12, before=lambda: sit(world, Activity.RETIRE))
    assert [each.text.split()[0] for each in stalls(world)] == ["sim"]


def a_pulse(since_s: float = 100.0, *, seen_s: float = 490.0, told: bool = False) -> Pulse:
    return Pulse(mark="m", since_s=since_s, seen_s=seen_s, told=told)


def beaten(before: Pulse | None, **changes: bool | str | float) -> Pulse:
    usual = {"mark": "m", "may_work": True, "is_worked_on": False, "now_s": 500.0}
    return beat(before, **{**usual, **changes})  # type: ignore[arg-type]


def test_a_pulse_goes_on_only_while_nothing_happens() -> None:
    """Progress, a worker and want of work each begin it anew, and what was told is forgotten."""
    still = a_pulse(told=True)
    anew = Pulse(mark="m", since_s=500.0, seen_s=500.0)
    assert beaten(still) == replace(still, seen_s=500.0)
    assert beaten(None) == anew
    assert beaten(still, mark="n") == replace(anew, mark="n")
    assert beaten(still, may_work=False) == anew
    assert beaten(still, is_worked_on=True) == anew


def test_a_pulse_nobody_looked_at_begins_anew() -> None:
    """For over 90 seconds, or because a clock was set back."""
    assert beaten(a_pulse(seen_s=410.0)).since_s == 100.0
    assert beaten(a_pulse(seen_s=409.9)).since_s == 500.0
    assert beaten(a_pulse(seen_s=500.0)).since_s == 100.0
    assert beaten(a_pulse(seen_s=500.1)).since_s == 500.0


def test_a_pulse_is_a_stall_from_its_limit_on() -> None:
    """At that very second, and not before."""
    assert a_pulse(100.0).is_stalled(100.0 + STALLED_AFTER_S)
    assert not a_pulse(100.0).is_stalled(99.9 + STALLED_AFTER_S)
