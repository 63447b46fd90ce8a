"""The business's word at work: the board shrinks at once, workers obey, and it grows again."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from shared.adapters.records import packed
from shared.application.pacer import Pacer
from shared.domain.board import BOARD_READ_EVERY_S, SOURCES_MAX, Activity, Grant, Seat
from shared.domain.governor import TICK_S, Reason
from shared.domain.pacing import BURST_S
from shared.errors import Invalid, NotFound, Refused
from shared.ports import Entry
from tests.simulation.test_any_misfortune import SPEC
from tests.simulation.world import (
    BUSINESS_RU_PER_S,
    CAPACITY_RU_PER_S,
    SOURCE,
    START_S,
    World,
    make_world,
)

OTHER = "db/d"
SLACK_RU_PER_S = 0.8 * CAPACITY_RU_PER_S - BUSINESS_RU_PER_S
RAMP_TICKS = 8  # four minutes: two readings at the latest that each prove a quarter of capacity
REQUEST_S = 0.01  # so short that only the budget holds a worker back
READ_RU = 8.0


@dataclass(frozen=True, slots=True)
class Answer:
    ru: float


@pytest.fixture
def world() -> World:
    """Two containers with a migration each, at full pace."""
    world = make_world(1, ranges=2)
    world.monitor.charged_ru = lambda source, minute_s: sum(
        world.ports.metering.by_minute(source, since_s=minute_s).get(minute_s, {}).values()
    )
    for index in range(40):
        world.source.put(f"doc-{index}", ts=START_S - 200 * 86_400 + index, body=index)
    second = SPEC.replace("name: sim", "name: other").replace("container: c,", "container: d,")
    for text in (SPEC, second.replace("{container: archive}", "{container: archive, prefix: d}")):
        world.calm.operating.start(world.calm.operating.apply(text).name)
    for _ in range(RAMP_TICKS):
        ticked(world)
    assert grants(world)[SOURCE].budget_ru_per_s == pytest.approx(SLACK_RU_PER_S)
    assert grants(world)[OTHER].budget_ru_per_s == pytest.approx(SLACK_RU_PER_S)
    return world


def grants(world: World) -> dict[str, Grant]:
    return world.ports.boards.read().grants


def push(world: World, **body: Any) -> None:
    world.calm.pressing.push(json.dumps(body))


def ticked(world: World) -> Entry:
    """Half a minute, then a tick's entry about the first container."""
    world.clock.advance(TICK_S)
    return next(each for each in world.calm.controller.tick() if each.source == SOURCE)


def is_no_more(after: Grant, before: Grant) -> bool:
    pairs = [(after.budget_ru_per_s, before.budget_ru_per_s)]
    pairs += [(after.shares_ru_per_s[n], ru) for n, ru in before.shares_ru_per_s.items()]
    pairs += [(after.range_limit(n), ru) for n, ru in before.range_ru_per_s.items()]
    pairs += [(after.other_ranges_ru_per_s, before.other_ranges_ru_per_s)]
    return all(lower <= higher for lower, higher in pairs)


def test_a_push_shrinks_shares_and_ranges_of_its_source_at_once(world: World) -> None:
    """The business needs 200 RU/s more: half of the 400 stay, everywhere alike."""
    before = world.ports.boards.read()
    push(world, source=SOURCE, business_ru_per_s=BUSINESS_RU_PER_S + 200.0, for_s=60)
    after = world.ports.boards.read()
    was, now = before.grants[SOURCE], after.grants[SOURCE]
    assert now.budget_ru_per_s == pytest.approx(SLACK_RU_PER_S / 2)
    for name, ru_per_s in was.shares_ru_per_s.items():
        assert now.shares_ru_per_s[name] == pytest.approx(ru_per_s / 2)
    assert was.range_ru_per_s != {}
    for name, ru_per_s in was.range_ru_per_s.items():
        assert now.range_ru_per_s[name] == pytest.approx(ru_per_s / 2)
    assert after.grants[OTHER] == before.grants[OTHER]
    assert (after.decided_at_s, after.valid_until_s) == (before.decided_at_s, before.valid_until_s)


@pytest.mark.parametrize("need", [None, 0.8 * CAPACITY_RU_PER_S, 10.0 * CAPACITY_RU_PER_S, 1e9])
def test_a_push_for_all_there_is_leaves_nothing(world: World, need: float | None) -> None:
    """Asked for everything, or for as much as the ceiling and more."""
    push(world, source=SOURCE, business_ru_per_s=need)
    now = grants(world)[SOURCE]
    assert now.budget_ru_per_s == 0.0
    assert set(now.shares_ru_per_s.values()) == set(now.range_ru_per_s.values()) == {0.0}
    assert grants(world)[OTHER].budget_ru_per_s > 0.0


@pytest.mark.parametrize("need", [0.0, 1.0, BUSINESS_RU_PER_S])
def test_a_push_never_raises_anything(world: World, need: float) -> None:
    """A business that needs less than it is seen to use gives nothing away by saying so."""
    before = grants(world)[SOURCE]
    push(world, source=SOURCE, business_ru_per_s=need)
    after = grants(world)[SOURCE]
    assert replace(after, pressure=None) == before
    push(world, source=SOURCE, business_ru_per_s=BUSINESS_RU_PER_S + 300.0)
    lower = grants(world)[SOURCE]
    push(world, source=SOURCE, business_ru_per_s=need)
    assert is_no_more(grants(world)[SOURCE], lower)


def test_a_push_answers_what_is_left_and_until_when(world: World) -> None:
    """The sum over the sources it concerns."""
    body = '{"business_ru_per_s": 700, "for_s": 90}'
    pressed = world.calm.pressing.push(body)
    assert pressed.sources == (SOURCE, OTHER)
    assert pressed.until_s == world.clock.now_s() + 90
    assert pressed.budget_ru_per_s == pytest.approx(2 * 100.0)


def test_a_push_without_a_source_concerns_all_that_are_known(world: World) -> None:
    """Also a container whose migration has not started: the word is there when it does."""
    third = SPEC.replace("name: sim", "name: third").replace("container: c,", "container: e,")
    world.calm.operating.apply(third)
    push(world, why="sale")
    assert {each.budget_ru_per_s for each in grants(world).values()} == {0.0}
    board, now_s = world.ports.boards.read(), world.clock.now_s()
    for source in (SOURCE, OTHER, "db/e"):
        pressure = board.told_of(source, now_s).pressure
        assert pressure is not None
        assert pressure.told == "sale"


def test_a_word_for_all_is_taken_back_for_all(world: World) -> None:
    """With what was said of single sources; a word for one source takes back only its own."""
    push(world, source=SOURCE, business_ru_per_s=10.0, for_s=3_600)
    push(world, for_s=3_600)
    push(world, source=SOURCE, for_s=0)
    assert ticked(world).decision.reason is Reason.PRESSURE
    push(world, source=SOURCE, business_ru_per_s=600.0, for_s=3_600)
    push(world, for_s=0)
    budgets = [ticked(world).decision.budget_ru_per_s for _ in range(RAMP_TICKS)]
    assert budgets[-1] == pytest.approx(SLACK_RU_PER_S)


def test_of_two_words_the_one_that_asks_for_more_counts(world: World) -> None:
    """Said of all sources or of one, in whichever order."""
    push(world, source=SOURCE, business_ru_per_s=600.0)
    push(world, business_ru_per_s=500.0)
    assert ticked(world).decision.budget_ru_per_s <= 200.0
    assert grants(world)[OTHER].budget_ru_per_s <= 300.0
    push(world)
    ticked(world)
    assert {each.budget_ru_per_s for each in grants(world).values()} == {0.0}


def test_words_for_very_many_sources_stay_within_a_row(world: World) -> None:
    """Each by its name; the one there is no room for is refused, with what to say instead."""
    names = [f"db/another-container-{number}" for number in range(SOURCES_MAX)]
    for name in names:
        text = SPEC.replace("container: c,", f"container: {name[3:]},")
        text = text.replace("name: sim", f"name: m-{name[-2:].strip('-')}")
        prefix = f"{{container: archive, prefix: {name[3:]}}}"
        world.calm.operating.apply(text.replace("{container: archive}", prefix))
    for name in names[: SOURCES_MAX - 2]:
        push(world, source=name, why="大" * 200)
    assert packed(world.ports.boards.read(), thing="the board")
    with pytest.raises(Refused, match="leave the source out"):
        push(world, source=names[-1])
    push(world, source=names[-1], for_s=0)
    push(world, why="大" * 200)
    assert packed(world.ports.boards.read(), thing="the board")
    world.clock.advance(3_600)
    push(world, source=names[-1])


def test_a_push_for_an_unknown_source_is_not_found(world: World) -> None:
    """It names those there are, and changes nothing; nor does a faulty one."""
    before = world.ports.boards.read()
    with pytest.raises(
        NotFound, match=f"no migration reads 'db/nowhere'; known: {SOURCE}, {OTHER}"
    ):
        push(world, source="db/nowhere")
    with pytest.raises(Invalid):
        push(world, business_ru_per_s=-1)
    assert world.ports.boards.read() == before
    with pytest.raises(NotFound, match="known: none"):
        push(make_world(1), source=SOURCE)


def test_the_next_ticks_keep_to_it_while_it_lasts(world: World) -> None:
    """Monitor still tells of less, yet the word counts; the pace says whose it is."""
    push(world, source=SOURCE, business_ru_per_s=600.0, for_s=3 * TICK_S + 1, why="a sale")
    for _ in range(3):
        entry = ticked(world)
        assert entry.decision.reason is Reason.PRESSURE
        assert "600 RU/s as it says itself" in entry.decision.sentence
        assert "a sale" in entry.decision.sentence
        assert grants(world)[SOURCE].budget_ru_per_s <= 200.0
        assert sum(entry.decision.range_ru_per_s.values()) <= 200.0 + 1e-6
    assert grants(world)[OTHER].budget_ru_per_s == pytest.approx(SLACK_RU_PER_S)


@pytest.mark.parametrize("need", [None, 600.0])
def test_it_grows_again_afterwards_unaided(world: World, need: float | None) -> None:
    """Not before its time, not without a tick, and by fresh readings as ever."""
    push(world, source=SOURCE, business_ru_per_s=need, for_s=TICK_S + 1)
    pressed = ticked(world).decision.budget_ru_per_s
    assert pressed <= 200.0
    world.clock.advance(2.0)
    assert grants(world)[SOURCE].budget_ru_per_s <= pressed
    decisions = [ticked(world).decision for _ in range(RAMP_TICKS)]
    assert Reason.PRESSURE not in {each.reason for each in decisions}
    budgets = [each.budget_ru_per_s for each in decisions]
    assert budgets == sorted(budgets)
    assert budgets[-1] == pytest.approx(SLACK_RU_PER_S)
    steps = [after - before for before, after in zip([pressed, *budgets], budgets, strict=False)]
    assert max(steps) <= 0.25 * CAPACITY_RU_PER_S + 1e-6
    assert grants(world)[SOURCE].pressure is None


def test_a_word_taken_back_lets_it_grow_before_its_time(world: World) -> None:
    """For no seconds from now: the next ticks go by the readings again."""
    push(world, source=SOURCE, for_s=3_600)
    assert ticked(world).decision.reason is Reason.PRESSURE
    push(world, source=SOURCE, for_s=0)
    budgets = [ticked(world).decision.budget_ru_per_s for _ in range(RAMP_TICKS)]
    assert budgets[-1] == pytest.approx(SLACK_RU_PER_S)


def test_taking_a_word_back_shrinks_nothing(world: World) -> None:
    """What says that nothing more is needed is no reason to stop for half a minute."""
    before = grants(world)[SOURCE]
    push(world, source=SOURCE, for_s=0)
    assert grants(world)[SOURCE].budget_ru_per_s == before.budget_ru_per_s


def test_a_push_in_the_middle_of_a_tick_is_not_lost(world: World) -> None:
    """The tick has read the board already and decides on more; what it publishes is pressed."""
    pushed: list[int] = []

    def pushed_meanwhile(minute_s: int) -> float:
        if not pushed:
            pushed.append(minute_s)
            push(world, business_ru_per_s=600.0, for_s=300)
        return BUSINESS_RU_PER_S

    world.monitor.business_ru_per_s = pushed_meanwhile
    assert ticked(world).decision.budget_ru_per_s == pytest.approx(SLACK_RU_PER_S)
    for grant in grants(world).values():
        assert grant.budget_ru_per_s == pytest.approx(200.0)
        assert sum(grant.shares_ru_per_s.values()) <= 200.0
    assert ticked(world).decision.reason is Reason.PRESSURE


class Enough(Exception):
    """The span that is looked at has passed."""


def a_worker(world: World) -> Pacer:
    """Alone on the first range, so that it has all that range gives."""
    seat = Seat(
        migration="sim",
        source=SOURCE,
        range_id="r000",
        slice_id="s",
        fence=1,
        activity=Activity.COPY,
        until_s=0.0,
    )
    pacer = Pacer.seated(world.ports, seat)
    assert pacer is not None
    return pacer


def sent_while(world: World, pacer: Pacer, seconds: float) -> list[float]:
    """When each request was sent by a worker that reads as fast as it may."""
    until_s = world.clock.now_s() + seconds
    wait = world.clock.wait
    sent: list[float] = []

    def wait_at_most(span_s: float) -> None:
        wait(span_s)
        if world.clock.now_s() >= until_s:
            raise Enough

    def ask() -> Answer:
        if world.clock.now_s() >= until_s:
            raise Enough
        sent.append(world.clock.now_s())
        world.clock.advance(REQUEST_S)
        return Answer(READ_RU)

    world.clock.wait = wait_at_most  # type: ignore[assignment,method-assign]
    with suppress(Enough):
        while True:
            pacer.call(ask)
    world.clock.wait = wait  # type: ignore[method-assign]
    return sent


@pytest.mark.parametrize("looked_s_ago", [0.0, 0.3, 1.0, 1.9])
@pytest.mark.parametrize("left", [0.0, 0.05 * CAPACITY_RU_PER_S])
def test_a_worker_obeys_a_push_within_two_seconds(
    world: World, left: float, looked_s_ago: float
) -> None:
    """Whenever it looked last; from then on it spends no more than the 5 % that were left."""
    pacer = a_worker(world)
    sent_while(world, pacer, 10.0 + looked_s_ago)
    before = pacer.rate_ru_per_s()
    assert before > 0.15 * CAPACITY_RU_PER_S
    pushed_at_s = world.clock.now_s()
    push(world, source=SOURCE, business_ru_per_s=0.8 * CAPACITY_RU_PER_S - left, for_s=600)
    sent = sent_while(world, pacer, BOARD_READ_EVERY_S + 5.0)
    obeyed_s = pushed_at_s + BOARD_READ_EVERY_S
    early = [READ_RU for at_s in sent if at_s <= obeyed_s]
    late = [READ_RU for at_s in sent if at_s > obeyed_s]
    assert sum(early) <= before * (BOARD_READ_EVERY_S + BURST_S) + READ_RU
    assert sum(late) <= (5.0 + BURST_S) * left + (READ_RU if left else 0.0)
    assert (late != []) == (left > 0)
