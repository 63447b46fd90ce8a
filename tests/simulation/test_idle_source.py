"""A source that nobody uses: it has no metrics until Ebb asks it something, and then it starts."""

from __future__ import annotations

import pytest

from shared.application.spark import UNSEEN_AFTER_S
from shared.domain.governor import TICK_S, Reason
from shared.domain.slices import MigrationState
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE
from tests.simulation.alerts import message
from tests.simulation.runs import DAY_S, SPEC
from tests.simulation.world import START_S, World, make_world

COUNT_RU_MAX = 10.0  # what one count of nothing may cost
TICKS_MAX = 200


@pytest.fixture
def world() -> World:
    world = make_world(1)
    for index in range(20):
        world.source.put(f"doc-{index}", ts=START_S - 200 * DAY_S + index, body=index)
    world.clock.advance(2 * DAY_S)
    world.monitor.business_ru_per_s = lambda _minute_s: 0.0
    world.monitor.lag_s = 120.0
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    return world


def ticked(world: World, *, seconds: float) -> list[Reason]:
    reasons = []
    for _ in range(int(seconds / TICK_S)):
        world.clock.advance(TICK_S)
        reasons += [entry.decision.reason for entry in world.calm.controller.tick()]
    return reasons


def test_a_source_that_nobody_uses_is_migrated(world: World) -> None:
    """Without a request there are no metrics, and without metrics there would never be one."""
    for _ in range(TICKS_MAX):
        ticked(world, seconds=TICK_S)
        for queue, run in (
            (COPY_QUEUE, world.calm.copying.run),
            (VALIDATE_QUEUE, world.calm.validating.run),
        ):
            while letter := world.mail.take(queue):
                run(letter.text)
        if world.ports.ledger.migration("sim").state is MigrationState.COMPLETED:
            break
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    assert progress.documents_proven == 20


def test_a_question_a_minute_is_all_that_is_spent_meanwhile(world: World) -> None:
    """Each is metered, so that the minute it makes holds no business."""
    charged = world.source.ru_charged
    reasons = ticked(world, seconds=90)
    assert set(reasons) == {Reason.NO_READINGS}
    spent = world.source.ru_charged - charged
    assert 0 < spent <= 4 * COUNT_RU_MAX
    metered = world.ports.metering.by_minute("db/c", since_s=0)
    assert sum(sum(each.values()) for each in metered.values()) == pytest.approx(spent)


def test_what_monitor_never_shows_ends_in_a_hold_that_says_so(world: World) -> None:
    """Another account's metrics, say: asking on would never make a difference."""
    world.monitor.place = ("other", "container")
    charged = world.source.ru_charged
    reasons = ticked(world, seconds=UNSEEN_AFTER_S + 1_800.0)
    assert reasons[0] is Reason.NO_READINGS
    assert reasons[-1] is Reason.UNSEEN
    assert world.source.ru_charged - charged <= 16 * COUNT_RU_MAX
    assert world.ports.ledger.migration("sim").state is MigrationState.RUNNING


def test_a_monitor_that_does_not_answer_is_no_idle_source(world: World) -> None:
    """Nothing is known then, so nothing is asked."""
    world.monitor.refuses = True
    charged = world.source.ru_charged
    ticked(world, seconds=1_200)
    assert world.source.ru_charged == charged


def test_nothing_is_asked_while_somebody_needs_the_source(world: World) -> None:
    """An alert and a push are words of a business, whatever Monitor knows."""
    world.calm.alerting.take(message(fired_at_s=world.clock.now_s()), authorization="")
    charged = world.source.ru_charged
    ticked(world, seconds=300)
    assert world.source.ru_charged == charged
    world.clock.advance(600)
    world.calm.pressing.push('{"for_s": 600}')
    ticked(world, seconds=300)
    assert world.source.ru_charged == charged


def test_a_silence_of_minutes_is_a_late_monitor(world: World) -> None:
    """A business that was there half an hour ago is taken to be there still."""
    world.monitor.business_ru_per_s = lambda _minute_s: 900.0
    ticked(world, seconds=300)
    world.monitor.silent_from_s = world.clock.now_s()
    charged = world.source.ru_charged
    reasons = ticked(world, seconds=1_800)
    assert reasons[-1] is Reason.STALE
    assert world.source.ru_charged == charged
    ticked(world, seconds=2_400)
    assert world.source.ru_charged > charged
