"""The journal's and the metering's promises: newest first, bounded, harmless when repeated."""

from __future__ import annotations

import pytest

from shared.ports import Place
from tests.contract.records import NOON_S, an_entry
from tests.contract.rooms import RACERS, Rooms, raced

ORDERS = Place(source="db/orders", range_id="r0")
WIDER = Place(source="db/orders", range_id="räñge/1 #?")
LINES = Place(source="db/örder lines", range_id="r0")


def test_an_empty_journal_has_no_entries(rooms: Rooms) -> None:
    """Reading and forgetting before anything was recorded is no error."""
    journal = rooms.journal()
    assert journal.entries(since_s=0.0, limit=10) == ()
    assert journal.forget(before_s=NOON_S, limit=10) == 0


def test_an_entry_comes_back_whole(rooms: Rooms) -> None:
    """What was decided, why, and what followed."""
    journal = rooms.journal()
    journal.record(an_entry(NOON_S + 0.123456))
    assert journal.entries(since_s=0.0, limit=10) == (an_entry(NOON_S + 0.123456),)


def test_entries_come_newest_first_and_no_more_than_asked(rooms: Rooms) -> None:
    """Since an instant that itself belongs to them."""
    journal = rooms.journal()
    for second in (3, 0, 4, 1, 2):
        journal.record(an_entry(NOON_S + second))
    newest = journal.entries(since_s=NOON_S + 1, limit=3)
    assert [one.decision.at_s - NOON_S for one in newest] == [4, 3, 2]
    since = journal.entries(since_s=NOON_S + 3, limit=100)
    assert [one.decision.at_s - NOON_S for one in since] == [4, 3]
    assert journal.entries(since_s=0.0, limit=0) == ()


def test_entries_of_one_instant_are_all_kept_and_repeats_are_not(rooms: Rooms) -> None:
    """Recording again after a lost reply leaves one."""
    journal = rooms.journal()
    for sentence in ("a", "b", "a"):
        journal.record(an_entry(NOON_S, sentence=sentence))
    found = journal.entries(since_s=NOON_S, limit=10)
    assert sorted(one.decision.sentence for one in found) == ["a", "b"]


def test_one_instants_entries_of_two_sources_are_both_kept(rooms: Rooms) -> None:
    """A tick decides for every source at the same time."""
    journal = rooms.journal()
    for source in ("db/orders", "db/örder lines", "db/orders"):
        journal.record(an_entry(NOON_S, source=source))
    found = journal.entries(since_s=NOON_S, limit=10)
    assert sorted(one.source for one in found) == ["db/orders", "db/örder lines"]


def test_forgetting_takes_only_what_is_older(rooms: Rooms) -> None:
    """At most as many as asked, and the instant itself stays."""
    journal = rooms.journal()
    for second in range(5):
        journal.record(an_entry(NOON_S + second))
    assert journal.forget(before_s=NOON_S + 3, limit=2) == 2
    assert len(journal.entries(since_s=0.0, limit=10)) == 3
    assert journal.forget(before_s=NOON_S + 3, limit=10) == 1
    left = journal.entries(since_s=0.0, limit=10)
    assert [one.decision.at_s - NOON_S for one in left] == [4, 3]
    assert journal.forget(before_s=NOON_S + 3, limit=10) == 0


def test_an_unmetered_account_used_nothing(rooms: Rooms) -> None:
    """Reading before anything was added is no error."""
    metering = rooms.metering()
    assert metering.by_minute("db/orders", since_s=0) == {}
    assert metering.forget(before_s=NOON_S, limit=10) == 0


def test_metering_sets_a_workers_minute_and_adds_workers_up(rooms: Rooms) -> None:
    """Telling the same total twice changes nothing; a new total takes the old one's place."""
    metering = rooms.metering()
    for _ in range(2):
        metering.add("w/1", {(NOON_S, ORDERS): 10.5, (NOON_S + 60, ORDERS): 1.0})
    metering.add("w/1", {(NOON_S, ORDERS): 11.5})
    metering.add("wörker 2", {(NOON_S, ORDERS): 2.0})
    metering.add("idle", {})
    used = {NOON_S: {"r0": 13.5}, NOON_S + 60: {"r0": 1.0}}
    assert metering.by_minute("db/orders", since_s=0) == used


def test_one_worker_on_two_ranges_is_metered_on_each(rooms: Rooms) -> None:
    """A seat moves from range to range within a minute, and each has its own limit."""
    metering = rooms.metering()
    metering.add("w", {(NOON_S, ORDERS): 3.0, (NOON_S, WIDER): 4.0})
    metering.add("v", {(NOON_S, WIDER): 0.5})
    metering.add("w", {(NOON_S, ORDERS): 5.0})
    used = {NOON_S: {ORDERS.range_id: 5.0, WIDER.range_id: 4.5}}
    assert metering.by_minute("db/orders", since_s=0) == used


def test_another_sources_use_is_never_mixed_in(rooms: Rooms) -> None:
    """The same worker, minute and range id; only the container is another."""
    metering = rooms.metering()
    metering.add("w", {(NOON_S, ORDERS): 3.0, (NOON_S, LINES): 4.0})
    assert metering.by_minute("db/orders", since_s=0) == {NOON_S: {"r0": 3.0}}
    assert metering.by_minute("db/örder lines", since_s=0) == {NOON_S: {"r0": 4.0}}
    assert metering.by_minute("db/order", since_s=0) == {}
    assert metering.by_minute("db", since_s=0) == {}


def test_metering_is_read_from_an_instant_that_belongs_to_it(rooms: Rooms) -> None:
    """A minute that began before it is left out, whoever used it."""
    metering = rooms.metering()
    metering.add("w", {(NOON_S + 60 * n, ORDERS): n + 1.0 for n in range(3)})
    assert set(metering.by_minute("db/orders", since_s=NOON_S)) == {
        NOON_S + 60 * n for n in range(3)
    }
    assert set(metering.by_minute("db/orders", since_s=NOON_S + 1)) == {NOON_S + 60, NOON_S + 120}
    assert metering.by_minute("db/orders", since_s=NOON_S + 121) == {}
    assert len(metering.by_minute("db/orders", since_s=-1)) == 3


def test_more_minutes_than_one_transaction_takes_are_all_metered(rooms: Rooms) -> None:
    """A worker that could not report for two hours catches up."""
    metering = rooms.metering()
    minutes = {NOON_S + 60 * n: float(n) for n in range(1, 121)}
    metering.add("w", {(minute, ORDERS): ru for minute, ru in minutes.items()})
    found = metering.by_minute("db/orders", since_s=0)
    assert found == {minute: {"r0": ru} for minute, ru in minutes.items()}


def test_racing_workers_lose_nothing(rooms: Rooms) -> None:
    """Sixteen workers meter the same minute and range, the first to do so among them."""
    metering = rooms.metering()
    outcomes = raced(lambda n: metering.add(f"w{n}", {(NOON_S, ORDERS): 1.0}))
    assert outcomes == [None] * RACERS
    found = metering.by_minute("db/orders", since_s=0)
    assert found == {NOON_S: {"r0": pytest.approx(RACERS)}}


def test_forgetting_metering_takes_only_what_is_older(rooms: Rooms) -> None:
    """At most as many rows as asked, of all sources alike."""
    metering = rooms.metering()
    metering.add("w", {(NOON_S + 60 * n, ORDERS): 1.0 for n in range(5)})
    metering.add("w", {(NOON_S, LINES): 1.0})
    assert metering.forget(before_s=NOON_S + 180, limit=2) == 2
    assert metering.forget(before_s=NOON_S + 180, limit=0) == 0
    assert metering.forget(before_s=NOON_S + 180, limit=9) == 2
    left = {NOON_S + 180: {"r0": 1.0}, NOON_S + 240: {"r0": 1.0}}
    assert metering.by_minute("db/orders", since_s=0) == left
    assert metering.by_minute("db/örder lines", since_s=0) == {}
