"""The one optimistic loop, and each of the places that write through it, met by conflicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from shared.adapters.memory import MemoryClock, SequentialNames
from shared.application.bundle import Ports
from shared.application.desk import TRIES_MAX, WAIT_BASE_S, WAIT_MAX_S, until_written
from shared.application.dispatching import read_work, work_message
from shared.application.notifying import Notifying, note
from shared.application.pacer import change_board
from shared.application.retirements import halt_retirement
from shared.application.retiring import Retiring
from shared.application.settling import halt, settle_released
from shared.domain.halts import Halt, Halting
from shared.domain.notices import NoticeKind
from shared.domain.retirement import Direction, RetirementState, removal_id
from shared.domain.slices import MigrationState, Slice
from shared.errors import Conflict, TransientError
from shared.ports import NOTIFY_QUEUE, RETIRE_QUEUE, Change, Protection
from tests.simulation.retirees import archived
from tests.simulation.runs import SPEC
from tests.simulation.world import SOURCE, START_S, World, make_world
from tests.unit.contention import ALWAYS, Contended

FAULT = Halting(Halt.SLICE_FAULT, "reading a slice: refused")
OPS = "notify: [ops]\n"


@dataclass(slots=True)
class Place:
    """One place that writes through the loop: what it writes to, and how to see that it did."""

    world: World
    store: str
    method: str
    act: Callable[[Ports], object]
    written: Callable[[Ports], bool]
    meant: Callable[[Any], bool] = lambda _: True

    def contended(self, times: int) -> Ports:
        real = getattr(self.world.ports, self.store)
        store = Contended(real, self.method, times=times, meant=self.meant)
        return replace(self.world.ports, **{self.store: store})


def copied_world() -> World:
    """A migration under way with a slice that waits for a worker."""
    world = make_world(3)
    world.source.put("doc", ts=START_S - 91 * 86_400, body=1)
    world.calm.operating.apply(SPEC + OPS)
    world.calm.operating.start("sim")
    while not world.ports.ledger.open_slices("sim"):
        world.calm.controller.tick()
        world.clock.advance(30)
    return world


def retired_world() -> tuple[World, str]:
    """A retirement under way, and the message of a removal."""
    world = archived(1, "delete", documents=12).world
    world.calm.retirements.execute("sim", {})
    for _ in range(50):
        world.calm.controller.tick()
        world.clock.advance(30)
        if letter := world.mail.take(RETIRE_QUEUE):
            return world, letter.text
    raise AssertionError("no removal was dispatched")


def halting() -> Place:
    return Place(
        world=copied_world(),
        store="ledger",
        method="put_migration",
        act=lambda ports: halt(ports, "sim", FAULT),
        written=lambda ports: ports.ledger.migration("sim").state is MigrationState.HALTED,
    )


def settling() -> Place:
    world = copied_world()
    (first, *_) = world.ports.ledger.open_slices("sim")
    world.ports.ledger.commit("sim", Change(slices=(first.claimed(),)))
    work = read_work(world.ports, work_message(first))
    assert not isinstance(work, str)
    before = work.progress.ru_spent
    return Place(
        world=world,
        store="ledger",
        method="commit",
        act=lambda ports: settle_released(ports, work, 5.0),
        written=lambda ports: _ru_spent(ports) == before + 5.0,
    )


def _ru_spent(ports: Ports) -> float:
    progress = ports.ledger.progress("sim")
    assert progress is not None
    return progress.ru_spent


def noting() -> Place:
    world = copied_world()
    stale = world.ports.ledger.migration("sim")
    return Place(
        world=world,
        store="ledger",
        method="put_migration",
        act=lambda ports: note(ports, stale, NoticeKind.QUARANTINED, "s.1"),
        written=lambda ports: len(ports.ledger.migration("sim").notices) == 1,
    )


def telling() -> Place:
    world = copied_world()
    halt(world.ports, "sim", FAULT)
    world.calm.controller.tick()
    letter = world.mail.take(NOTIFY_QUEUE)
    assert letter is not None
    return Place(
        world=world,
        store="tellings",
        method="keep",
        act=lambda ports: Notifying(ports).run(letter.text.encode()),
        written=lambda ports: len(ports.tellings.recall("sim", "ops").told) == 1,
    )


def boarding() -> Place:
    return Place(
        world=copied_world(),
        store="boards",
        method="write",
        act=lambda ports: change_board(ports, lambda b: b.throttled(SOURCE, "r", now_s=START_S)),
        written=lambda ports: "r" in ports.boards.read().grants[SOURCE].throttles,
    )


def halting_a_retirement() -> Place:
    world, _ = retired_world()
    return Place(
        world=world,
        store="ledger",
        method="commit",
        act=lambda ports: halt_retirement(ports, "sim", FAULT),
        written=lambda ports: _retirement_state(ports) is RetirementState.HALTED,
    )


def _retirement_state(ports: Ports) -> RetirementState:
    retirement = ports.ledger.retirement("sim")
    assert retirement is not None
    return retirement.state


def marking_a_retirement() -> Place:
    world, _ = retired_world()
    return Place(
        world=world,
        store="ledger",
        method="put_migration",
        act=lambda ports: halt_retirement(ports, "sim", FAULT),
        written=lambda ports: not ports.ledger.migration("sim").retiring,
    )


def failing_a_removal() -> Place:
    world, message = retired_world()
    world.ports.archives.protection = Protection(  # type: ignore[attr-defined]
        soft_delete_days=0, versioned=False
    )
    return Place(
        world=world,
        store="ledger",
        method="commit",
        meant=lambda change: any(each.failures for each in change.removals),
        act=lambda ports: Retiring(ports).run(message),
        written=lambda ports: any(each.failures for each in ports.ledger.removals("sim")),
    )


def ending_a_removal() -> Place:
    world, message = retired_world()
    (first, *_) = world.ports.ledger.done_slices("sim")

    def is_done(ports: Ports) -> bool:
        removal = ports.ledger.removal("sim", removal_id(Direction.REMOVE, first.id))
        retirement = ports.ledger.retirement("sim")
        assert removal is not None
        assert retirement is not None
        return removal.offset == removal.documents and retirement.slices_done > 0

    return Place(
        world=world,
        store="ledger",
        method="commit",
        meant=lambda change: bool(change.removals) and change.retirement is not None,
        act=lambda ports: Retiring(ports).run(message),
        written=is_done,
    )


PLACES = (
    halting,
    settling,
    noting,
    telling,
    boarding,
    halting_a_retirement,
    marking_a_retirement,
    failing_a_removal,
    ending_a_removal,
)


def desk_ports() -> Ports:
    return replace(make_world(1).ports, clock=MemoryClock(0.0), names=SequentialNames())


@pytest.mark.parametrize("times", [1, TRIES_MAX - 1])
@pytest.mark.parametrize("place", PLACES)
def test_a_change_that_meets_conflicts_is_written_all_the_same(
    place: Callable[[], Place], times: int
) -> None:
    """One conflict, or as many as the loop bears: what was to be written is written."""
    meets = place()
    assert not meets.written(meets.world.ports)
    ports = meets.contended(times)
    meets.act(ports)
    assert getattr(ports, meets.store).left == 0
    assert meets.written(meets.world.ports)


@pytest.mark.parametrize("place", [each for each in PLACES if each is not ending_a_removal])
def test_a_change_that_never_gets_through_is_an_error(place: Callable[[], Place]) -> None:
    """It raises, so that the queue or the next tick does it again."""
    meets = place()
    with pytest.raises(TransientError, match=f"{TRIES_MAX} conflicts in a row"):
        meets.act(meets.contended(ALWAYS))
    assert not meets.written(meets.world.ports)


def test_a_removal_that_cannot_be_ended_is_a_failed_attempt() -> None:
    """It is recorded with its reason, and the next attempt ends it."""
    meets = ending_a_removal()
    outcome = meets.act(meets.contended(ALWAYS))
    assert f"{TRIES_MAX} conflicts in a row" in str(outcome)
    (removal, *_) = meets.world.ports.ledger.removals("sim")
    assert removal.failures == 1


def test_the_loop_begins_again_with_what_others_wrote() -> None:
    """The attempt reads anew each time, and its answer is the loop's."""
    stands = iter(["theirs", "theirs", "ours"])

    def attempt() -> str:
        found = next(stands)
        if found == "theirs":
            raise Conflict("others wrote first")
        return found

    assert until_written(desk_ports(), attempt, doing="writing") == "ours"


def test_conflicts_are_waited_out_ever_longer_and_not_in_step() -> None:
    """No two who collide wait alike, no wait is longer than its limit, and all end in seconds."""
    waits: list[float] = []

    class Noted(MemoryClock):
        def wait(self, seconds: float) -> None:
            waits.append(seconds)

    def attempt() -> None:
        raise Conflict("others wrote first")

    ports = replace(desk_ports(), clock=Noted())
    for _ in range(200):
        with pytest.raises(TransientError, match=r"^writing a row: 16 conflicts"):
            until_written(ports, attempt, doing="writing a row")
    firsts, lasts = waits[::TRIES_MAX], waits[TRIES_MAX - 1 :: TRIES_MAX]
    assert len(set(firsts)) == len(firsts)
    assert 0 <= min(firsts) < max(firsts) <= WAIT_BASE_S
    assert 10 * WAIT_BASE_S < max(lasts) <= WAIT_MAX_S


def test_another_failure_than_a_conflict_goes_up_at_once() -> None:
    """The attempt is not begun again, and its error stays as it is."""
    tries: list[int] = []

    def attempt() -> Slice:
        tries.append(1)
        raise TransientError("the storage is away")

    with pytest.raises(TransientError, match="away"):
        until_written(desk_ports(), attempt, doing="writing")
    assert len(tries) == 1
