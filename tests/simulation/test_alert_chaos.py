"""Alerts lost, delivered a hundred times, swapped or an hour late: the same end, one controller."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from shared.domain.governor import TICK_S, Reason
from shared.domain.slices import MigrationState
from tests.simulation.alerts import message
from tests.simulation.checkers import check_end
from tests.simulation.runs import DAY_S, DELIVERIES_PER_TICK, LARGE, handle
from tests.simulation.world import QUEUES, SOURCE, START_S, World, make_world

Posts = list[tuple[float, str]]
"""When each message comes, and what it says."""
FIRED_S, RESOLVED_S = START_S + 300.0, START_S + 480.0
HOUR_S = 3_600.0
TICKS_MAX = 400
DOCUMENTS = 100
DEAR_RU = 1_500.0  # so that it lasts from before the alert until after it


def fired() -> str:
    return message(fired_at_s=FIRED_S)


def resolved() -> str:
    return message(fired_at_s=FIRED_S, resolved_at_s=RESOLVED_S)


def in_order() -> Posts:
    return [(FIRED_S, fired()), (RESOLVED_S, resolved())]


def fired_is_lost() -> Posts:
    return in_order()[1:]


def resolved_is_lost() -> Posts:
    return in_order()[:1]


def both_are_lost() -> Posts:
    return []


def a_hundred_times() -> Posts:
    chance = random.Random(1)
    return [(at_s + chance.randrange(900), text) for at_s, text in in_order() for _ in range(100)]


def swapped() -> Posts:
    return [(RESOLVED_S, resolved()), (RESOLVED_S + 30, fired())]


def an_hour_late() -> Posts:
    return [(at_s + HOUR_S, text) for at_s, text in in_order()]


def fired_again_and_again() -> Posts:
    """A rule without state says it every minute, and never that it is over."""
    times = [FIRED_S + 60 * number for number in range(10)]
    return [(at_s, message(fired_at_s=at_s, alert=str(at_s))) for at_s in times]


CHAOS: dict[Callable[[], Posts], bool] = {
    in_order: True,
    fired_is_lost: False,
    resolved_is_lost: True,
    both_are_lost: False,
    a_hundred_times: True,
    swapped: False,
    an_hour_late: False,
    fired_again_and_again: True,
}
"""And whether anything may be held by it."""


@pytest.mark.parametrize("posts", CHAOS, ids=lambda each: each.__name__)
def test_whatever_becomes_of_alerts_the_end_is_the_same(posts: Callable[[], Posts]) -> None:
    """Everything is archived once, one controller decided all, and no hold outlasts its time."""
    world = make_world(5)
    world.source.ru_per_read = DEAR_RU
    for index in range(DOCUMENTS):
        world.source.put(f"doc-{index:03d}", ts=START_S - 300 * DAY_S + index, body=index)
    cold = {key: dict(each) for key, each in world.source.documents.items()}
    world.calm.operating.apply(LARGE)
    world.calm.operating.start("sim")
    tokens, held = run(world, sorted(posts()))
    assert world.ports.ledger.migration("sim").state is MigrationState.COMPLETED
    check_end(world, cold, set())
    assert tokens == sorted(tokens)
    assert held == CHAOS[posts]


def run(world: World, posts: Posts) -> tuple[list[int], bool]:
    """Ticks and workers until it is done; who decided last at each, and whether it was held."""
    tokens: list[int] = []
    held = False
    for _ in range(TICKS_MAX):
        while posts and posts[0][0] <= world.clock.now_s():
            world.calm.alerting.take(posts.pop(0)[1])
        entries = world.calm.controller.tick()
        held |= any(entry.decision.reason is Reason.ALERT for entry in entries)
        board = world.ports.boards.read()
        tokens.append(board.controller_token)
        if grant := board.grants.get(SOURCE):
            assert grant.alarm(world.clock.now_s()) is None or grant.budget_ru_per_s == 0
        for queue in QUEUES * DELIVERIES_PER_TICK:
            if letter := world.mail.take(queue):
                handle(world.calm, queue, letter.text)
        done = world.ports.ledger.migration("sim").state is MigrationState.COMPLETED
        if done and not posts:
            break
        world.clock.advance(TICK_S)
    return tokens, held
