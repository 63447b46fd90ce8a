"""Surveying a source before anything is registered: what is seen, what it costs, who gives way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from shared.application.purse import (
    CAPACITY_SHARE,
    NoBudget,
    SeatedPurse,
    SlowPurse,
    Spent,
    purse_for,
)
from shared.application.surveying import (
    MONTHS_MAX,
    Survey,
    Surveying,
    month_windows,
)
from shared.domain.alerts import ALERT_HOLD_S
from shared.domain.board import BOARD_READ_EVERY_S, Board, Grant
from shared.domain.governor import Pressure
from shared.domain.oddities import Oddity
from shared.errors import Invalid, Throttled
from shared.ports import Measured, Place
from tests.simulation.alerts import message
from tests.simulation.world import CAPACITY_RU_PER_S, SOURCE, START_S, World, make_world

DAY_S = 86_400
SPEC = """
name: sim
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 1000, partitions: 2}
"""


def a_world(*, documents: int = 60, ranges: int = 2) -> World:
    """Documents of four hundred days, two thirds of them cold; a business nobody tells about."""
    world = make_world(3, ranges=ranges)
    world.monitor.silent_from_s = 0.0
    for index in range(documents):
        world.source.put(f"doc-{index:03d}", ts=START_S - index * 5 * DAY_S, body={"n": index})
    return world


def surveyed(world: World, *, allowance_ru: float = 2_000.0) -> Survey:
    return Surveying(world.ports, metric_settle_s=60.0).run(SPEC, allowance_ru=allowance_ru)


def cold_documents(world: World) -> int:
    return sum(d["_ts"] < START_S - 90 * DAY_S for d in world.source.documents.values())


def running_board(world: World, *, budget: float = 100.0) -> None:
    """A controller has just granted `other` something on the same source."""
    grant = Grant(
        budget_ru_per_s=budget,
        shares_ru_per_s={"other": budget},
        in_flight={"other": 2},
        other_ranges_ru_per_s=budget,
    )
    board = world.ports.boards.read()
    decided = board.decided({SOURCE: grant}, now_s=world.clock.now_s(), controller_token=1)
    world.ports.boards.write(decided)


def test_a_survey_counts_what_is_cold_by_range_and_month() -> None:
    """All three agree with what lies there, and the youngest documents are nobody's business."""
    world = a_world()
    found = surveyed(world)
    assert found.documents == cold_documents(world) == 41
    assert [each.counted for each in found.ranges] == [True, True]
    assert sum(count for _, count in found.months) == 41
    months = [month for month, _ in found.months]
    assert months == sorted(months)
    assert found.cut_short == ""


def test_what_is_weighed_costs_what_the_source_charged() -> None:
    """Request units as measured, not as a rule of thumb has them."""
    world = a_world()
    world.source.ru_per_read = 70.0
    found = surveyed(world, allowance_ru=10_000.0)
    assert 70.0 < found.ru_per_document < 75.0
    assert 0 < found.bytes_per_document < 100
    assert found.blob_share is not None
    assert found.spent_ru == pytest.approx(world.source.ru_charged)


def test_a_survey_ends_with_its_allowance_and_says_so() -> None:
    """One answer more than the allowance at most; what was not counted is not told."""
    world = a_world()
    found = surveyed(world, allowance_ru=60.0)
    assert found.spent_ru <= 60.0 + 53.0
    assert found.spent_ru == pytest.approx(world.source.ru_charged)
    assert "allowance" in found.cut_short
    assert sum(count for _, count in found.months) < 41


def test_large_documents_do_not_eat_the_allowance_at_one_bite() -> None:
    """The first place is asked for one, the next for what is left."""
    world = a_world(documents=400)
    world.source.ru_per_read = 300.0
    assert surveyed(world, allowance_ru=400.0).spent_ru < 800.0
    found = surveyed(world, allowance_ru=2_000.0)
    assert len(found.sample) >= 3
    assert found.spent_ru < 2_400.0


def test_few_documents_come_from_places_far_apart() -> None:
    """Sizes drift with age; the oldest alone would tell nothing of the others."""
    world = a_world(documents=200)
    found = surveyed(world, allowance_ru=350.0)
    numbers = sorted(int(each.id.removeprefix("doc-")) for each in found.sample)
    assert len(numbers) < 20
    assert numbers[-1] - numbers[0] > 80


def test_a_survey_alone_spends_two_percent_of_capacity_a_second() -> None:
    """It takes as long as its request units need at that rate, and meters them as Ebb's own."""
    world = a_world()
    before_s = world.clock.now_s()
    found = surveyed(world)
    took_s = world.clock.now_s() - before_s
    rate = CAPACITY_SHARE * 2 * CAPACITY_RU_PER_S
    assert found.spent_ru <= rate * (took_s + 0.5) + 55.0
    assert "nobody decides a budget" in found.paced
    metered = world.ports.metering.by_minute(SOURCE, since_s=0)
    assert sum(ru for minute in metered.values() for ru in minute.values()) == pytest.approx(
        found.spent_ru
    )


def test_the_first_429_ends_a_survey_that_has_no_board() -> None:
    """Nobody else would tell the business's neighbours to stop."""
    purse = SlowPurse(a_world().ports, source=SOURCE, allowance_ru=100.0, capacity_ru_per_s=1_000.0)
    asked: list[str] = []

    def full() -> Measured:
        asked.append("once")
        raise Throttled("429", retry_after_s=0.1)

    with pytest.raises(Spent, match="429"):
        purse.ask("r000", full)
    with pytest.raises(Spent):
        purse.ask("r000", full)
    assert asked == ["once"]


def test_a_survey_alone_waits_for_room_below_the_ceiling() -> None:
    """Where the newest minute stands at the ceiling nothing is asked at all."""
    world = a_world()
    world.monitor.silent_from_s = float("inf")
    world.monitor.business_ru_per_s = lambda _: 0.79 * 2 * CAPACITY_RU_PER_S
    with pytest.raises(NoBudget, match="try again when there is room"):
        surveyed(world)
    assert world.source.ru_charged == 0


def test_beside_a_running_migration_the_survey_takes_a_seat_of_its_own() -> None:
    """It spends a part of that migration's share, under the board, and gets up again."""
    world = a_world(documents=20)
    running_board(world)
    seats: list[int] = []
    world.boards.told.append(lambda board: seats.append(len(board.seats)))
    purse = purse_for(
        world.ports, source=SOURCE, allowance_ru=100.0, capacity_ru_per_s=CAPACITY_RU_PER_S
    )
    assert isinstance(purse, SeatedPurse)
    assert purse.ask("r000", lambda: Measured(value=1, ru=30.0)).value == 1
    assert purse.ask("r001", lambda: Measured(value=2, ru=30.0)).value == 2
    (seat,) = world.ports.boards.read().seats
    assert (seat.migration, seat.range_id) == ("other", "r001")
    purse.close()
    assert max(seats) == 1
    assert world.ports.boards.read().seats == ()
    spent = world.ports.metering.by_minute(SOURCE, since_s=0)
    assert sum(minute.get("r001", 0.0) for minute in spent.values()) == 30.0


def test_a_seated_survey_keeps_to_its_allowance_too() -> None:
    """A budget is no reason to spend more than was asked for."""
    world = a_world()
    running_board(world)
    purse = SeatedPurse(world.ports, source=SOURCE, migration="other", allowance_ru=50.0)
    purse.ask("r000", lambda: Measured(value=1, ru=50.0))
    with pytest.raises(Spent, match="allowance"):
        purse.ask("r000", lambda: Measured(value=1, ru=1.0))
    purse.close()


def test_a_survey_without_budget_gives_back_and_asks_nothing() -> None:
    """The controller grants nothing: the survey says where to look and ends."""
    world = a_world()
    running_board(world, budget=0.0)
    with pytest.raises(NoBudget, match="ebb explain other"):
        surveyed(world)
    assert world.source.ru_charged == 0
    assert world.ports.boards.read().seats == ()


def test_a_board_that_has_run_out_decides_nothing() -> None:
    """A controller that died is no controller."""
    world = a_world()
    running_board(world)
    world.clock.wait(120.0)
    purse = purse_for(world.ports, source=SOURCE, allowance_ru=1.0, capacity_ru_per_s=1_000.0)
    assert isinstance(purse, SlowPurse)
    other = purse_for(world.ports, source="db/else", allowance_ru=1.0, capacity_ru_per_s=1_000.0)
    assert isinstance(other, SlowPurse)


def test_a_business_that_asked_for_everything_is_not_surveyed() -> None:
    """Its own word counts, whether or not a migration is running."""
    world = a_world()
    pressure = Pressure(until_s=world.clock.now_s() + 60, business_ru_per_s=None)
    board = Board(grants={SOURCE: Grant(pressure=pressure)})
    world.ports.boards.write(board)
    with pytest.raises(NoBudget, match="needs the room for another 60 s"):
        surveyed(world)
    world.clock.wait(61.0)
    assert surveyed(world).documents >= 41


def push(world: World) -> None:
    world.calm.pressing.push('{"for_s": 300}')


def fire(world: World) -> None:
    world.calm.alerting.take(message(fired_at_s=world.clock.now_s()))


@pytest.mark.parametrize("say", [push, fire])
@pytest.mark.parametrize("registered", [True, False])
def test_nothing_is_spent_while_a_word_for_all_holds(
    say: Callable[[World], None], *, registered: bool
) -> None:
    """An alert or a push, also before anything is registered; afterwards it goes on."""
    world = a_world()
    if registered:
        world.calm.operating.apply(SPEC)
    say(world)
    with pytest.raises(NoBudget, match="try again then"):
        surveyed(world)
    assert world.source.ru_charged == 0
    world.clock.wait(ALERT_HOLD_S)
    assert surveyed(world).documents >= 41


@pytest.mark.parametrize("say", [push, fire])
def test_a_word_that_comes_meanwhile_ends_the_survey(say: Callable[[World], None]) -> None:
    """Within two seconds, as workers obey; what was seen until then is told."""
    world = a_world()
    purse = purse_for(world.ports, source=SOURCE, allowance_ru=1e6, capacity_ru_per_s=1_000.0)
    purse.ask("r000", lambda: Measured(value=1, ru=1.0))
    say(world)
    said_at_s = world.clock.now_s()

    def ask_on() -> None:
        for _ in range(1_000):
            purse.ask("r000", lambda: Measured(value=1, ru=1.0))

    with pytest.raises(Spent, match=r"another \d+ s"):
        ask_on()
    assert world.clock.now_s() - said_at_s <= BOARD_READ_EVERY_S + 0.1
    with pytest.raises(Spent):
        purse.ask("r000", lambda: Measured(value=1, ru=1.0))


def test_a_minute_half_told_hides_no_business_at_the_ceiling() -> None:
    """The newest one that is settled counts, as for the controller."""
    world = a_world()
    world.monitor.silent_from_s = float("inf")
    world.monitor.business_ru_per_s = lambda _: 0.85 * 2 * CAPACITY_RU_PER_S
    world.monitor.settles_after_s, world.monitor.first_share = 60.0, 0.5
    with pytest.raises(NoBudget, match="try again when there is room"):
        surveyed(world)
    assert world.source.ru_charged == 0


def test_a_survey_changes_nothing_that_anybody_keeps() -> None:
    """No migration, no progress, no message, no board, no decision."""
    world = a_world()
    surveyed(world)
    assert world.ports.ledger.migrations() == ()
    assert world.ports.ledger.progress("sim") is None
    assert world.ports.boards.read() == Board()
    assert world.mail.letters == ()
    assert world.ports.journal.entries(since_s=0, limit=1) == ()


def test_another_account_or_partition_key_is_refused_before_anything_is_asked() -> None:
    """As apply would, in the same shape."""
    world = a_world()
    for old, new, path in (
        ("account: acct", "account: other", r"\$\.source\.account"),
        ("/pk", "/other", r"\$\.source\.partition_key"),
    ):
        with pytest.raises(Invalid, match=path):
            Surveying(world.ports, metric_settle_s=60.0).run(SPEC.replace(old, new))
    assert world.source.ru_charged == 0


def test_the_business_is_known_only_before_ebb_first_ran_there() -> None:
    """Afterwards what was used is mixed with what Ebb did."""
    world = a_world()
    world.monitor.silent_from_s = float("inf")
    whole = surveyed(world).business
    newest_s = whole.first_s + len(whole.minutes) * 60
    assert newest_s >= START_S - 60
    assert {round(each or 0.0) for each in whole.minutes[:-2]} == {400}
    world.calm.operating.apply(SPEC)
    world.clock.wait(3_600.0)
    world.calm.operating.start("sim")
    later = surveyed(world).business
    assert later.first_s + len(later.minutes) * 60 <= START_S + 120


def test_what_a_silent_monitor_said_is_part_of_the_survey() -> None:
    """The trouble is told, and the rest of the survey stands."""
    world = a_world()
    world.monitor.refuses = True
    found = surveyed(world)
    assert "does not answer" in found.business.trouble
    assert found.documents == 41


def test_each_ranges_part_of_the_business_comes_from_the_logs() -> None:
    """Added up over the partitions a range lies on."""
    world = a_world()
    world.ports.history.shares = {"0": 0.9, "1": 0.1}  # type: ignore[attr-defined]
    shares = [each.business_share for each in surveyed(world).ranges]
    assert shares == [0.9, 0.1]


def test_unusual_documents_are_named_by_kind() -> None:
    """An id with a slash, and a number that doubles cannot hold."""
    world = a_world(documents=30)
    for name, body in (("a/b", 1), ("plain", 2**53 + 1)):
        world.source.put(name, ts=START_S - 100 * DAY_S, body=body)
    kinds = {each.id: each.oddities for each in surveyed(world).sample}
    assert kinds["a/b"] == {Oddity.UNADDRESSABLE}
    assert kinds["plain"] == {Oddity.GREAT_NUMBER}
    usual = [odd for name, odd in kinds.items() if name.startswith("doc-")]
    assert usual
    assert not any(usual)


def test_months_tile_what_is_cold_and_old_ones_are_counted_together() -> None:
    """No second is left out or counted twice, however long ago it began."""
    windows = month_windows(START_S - 3_000 * DAY_S, START_S)
    assert len(windows) == MONTHS_MAX
    assert (windows[0][0], windows[-1][1]) == (START_S - 3_000 * DAY_S, START_S)
    assert all(one[1] == two[0] for one, two in pairwise(windows))
    assert windows[0][1] - windows[0][0] > 365 * DAY_S
    assert month_windows(START_S - 5, START_S) == [(START_S - 5, START_S)]


def test_an_empty_source_is_surveyed_without_a_sample() -> None:
    """Nothing cold: zero documents, no months, no guess about their size."""
    found = surveyed(a_world(documents=0))
    assert (found.documents, found.months, found.sample) == (0, (), ())
    assert found.blob_share is None
    assert found.bytes_per_document == 0.0


def test_own_use_is_metered_on_the_range_it_was_spent_on() -> None:
    """A controller that starts a minute later must not take it for the business's."""
    world = a_world()
    purse = SlowPurse(world.ports, source=SOURCE, allowance_ru=9.0, capacity_ru_per_s=1_000.0)
    purse.ask("r001", lambda: Measured(value=1, ru=4.0))
    purse.close()
    place = Place(source=SOURCE, range_id="r001")
    (minute,) = world.ports.metering.by_minute(place.source, since_s=0).values()
    assert minute == {place.range_id: 4.0}
