"""Counting a source in parts: each bounded in its price, all of them remembered."""

from __future__ import annotations

from typing import Any

import pytest

from shared.application.census import counted
from shared.application.planning import Allowance, AllowanceSpent, Planning, Plans
from shared.application.surveying import Surveying
from shared.domain.slices import Census, Progress, Window
from shared.domain.spec import parse_spec
from shared.errors import CostLimitReached, Throttled, TransientError
from shared.ports import Measured, Query
from tests.simulation.sources import NUMBER_PAGE_DOCUMENTS, RU_PER_COUNT
from tests.simulation.world import SOURCE, START_S, World, make_world

DAY_S = 86_400
RATE_RU_PER_S = 2.0
ANSWER_RU_MAX = 10.0  # five seconds of it
COLD_S = START_S - 90 * DAY_S
TICKS_MAX = 200
SPEC = """
name: sim
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 1000, partitions: 1}
"""


def a_world(documents: int) -> World:
    """One small document an hour, all cold; counting all of them takes many pages."""
    world = make_world(1)
    for index in range(documents):
        world.source.put(f"doc-{index:04d}", ts=COLD_S - 3600 * (index + 1), body=index)
    return world


def registered(documents: int) -> World:
    world = a_world(documents)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    Planning(world.ports).register_ranges(world.ports.ledger.migration("sim"), parse_spec(SPEC))
    return world


def survey_tick(world: World, rate_ru_per_s: float = RATE_RU_PER_S) -> Allowance:
    """One tick's survey by a controller that remembers nothing but what is stored."""
    ledger = world.ports.ledger
    plans = Plans(
        migration=ledger.migration("sim"),
        spec=parse_spec(SPEC),
        progress=ledger.progress("sim") or Progress(migration="sim"),
        ranges=ledger.ranges("sim"),
        slices=(),
    )
    until_s = world.clock.now_s() + 15.0
    allowance = Allowance(world.ports, source=SOURCE, rate_ru_per_s=rate_ru_per_s, until_s=until_s)
    try:
        Planning(world.ports).survey(plans, allowance)
    finally:
        allowance.meter.flush()
    return allowance


def charges_of(world: World) -> list[float]:
    """What each call that counts cost, also those that failed."""
    charges: list[float] = []
    source: Any = world.ports.sources.open("db", "c")
    count = source.count

    def told(query: Query) -> Measured:
        before = world.source.ru_charged
        try:
            answer: Measured = count(query)
            return answer
        finally:
            charges.append(world.source.ru_charged - before)

    source.count = told
    return charges


def metered(world: World) -> float:
    minutes = world.ports.metering.by_minute(SOURCE, since_s=0)
    return sum(sum(ranges.values()) for ranges in minutes.values())


def all_counted(world: World) -> int:
    """The ticks it takes until the survey is done."""
    for tick in range(1, TICKS_MAX):
        world.clock.advance(30)
        try:
            survey_tick(world)
        except AllowanceSpent:
            continue
        return tick
    raise AssertionError(f"{TICKS_MAX} ticks and no end")


def test_a_wide_range_is_counted_over_several_ticks() -> None:
    """No call goes on for long, what was counted is remembered, and all of it is metered."""
    world = registered(900)
    charges = charges_of(world)
    assert all_counted(world) > 3
    (plan,) = world.ports.ledger.ranges("sim")
    assert (plan.surveyed, plan.documents_expected, plan.census) == (True, 900, None)
    assert max(charges) <= ANSWER_RU_MAX + RU_PER_COUNT
    assert sum(charges) < 4 * RU_PER_COUNT * 900 / NUMBER_PAGE_DOCUMENTS
    assert metered(world) == pytest.approx(world.source.ru_charged)


def test_a_range_that_one_answer_counts_is_asked_for_once() -> None:
    """One count and one earliest, as cheap as can be."""
    world = registered(NUMBER_PAGE_DOCUMENTS)
    charges = charges_of(world)
    all_counted(world)
    (plan,) = world.ports.ledger.ranges("sim")
    assert charges == [RU_PER_COUNT]
    assert plan.documents_expected == NUMBER_PAGE_DOCUMENTS
    assert plan.earliest_s == COLD_S - 3600 * NUMBER_PAGE_DOCUMENTS


def test_what_a_survey_paid_before_a_429_is_metered_as_its_own() -> None:
    """It is not taken for the business's; the tick asks nothing more."""
    world = registered(60)

    def full() -> None:
        raise Throttled("429", retry_after_s=1.0)

    world.source.between_pages = full
    with pytest.raises(AllowanceSpent):
        survey_tick(world, 100.0)
    assert world.source.ru_charged == RU_PER_COUNT
    assert metered(world) == RU_PER_COUNT


def test_a_forecast_of_many_documents_is_counted_in_parts() -> None:
    """Before anything is registered, too: no answer takes more than its part of the allowance."""
    world = a_world(900)
    charges = charges_of(world)
    found = Surveying(world.ports, metric_settle_s=60.0).run(SPEC, allowance_ru=300.0)
    assert found.ranges[0].documents == 900
    assert max(charges) <= 30.0 + RU_PER_COUNT
    assert found.spent_ru == pytest.approx(world.source.ru_charged)


def test_a_second_is_counted_whatever_it_costs() -> None:
    """It cannot be cut; all else is."""
    asked: list[tuple[int, float | None]] = []

    def count(part: Window, ru_max: float | None) -> Measured:
        asked.append((part.hi_s - part.lo_s, ru_max))
        if ru_max is not None:
            raise CostLimitReached("too much")
        return Measured(value=1000, ru=500.0)

    parts = list(counted(Census(to_s=0, width_s=64), 2, count, ru_max=8.0))
    assert asked == [(2, 1.0), (1, None), (1, None)]
    assert parts[-1] == Census(to_s=2, width_s=1, documents=2000, found=Window(lo_s=0, hi_s=1))


def test_an_answer_without_a_number_is_no_count() -> None:
    """It is not taken for none."""
    census = Census(to_s=0, width_s=64)
    with pytest.raises(TransientError, match="no count"):
        list(counted(census, 9, lambda *_: Measured(value=None, ru=1.0), ru_max=9.0))
