"""What is noted of each target: comes back equal, is never written over, and stays its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import Conflict
from shared.ports import Telling
from tests.contract.rooms import Rooms, raced

FULL = Telling(
    migration="orders-2025",
    target="ops",
    told=tuple(f"{number:024x}" for number in range(50)),
    trouble="telling ops: answered 404; correct its address in EBB_WEBHOOKS" + "é☕" * 100,
)


def test_a_target_that_was_told_nothing_has_an_empty_record(rooms: Rooms) -> None:
    """Reading before anything was written is no error."""
    tellings = rooms.tellings()
    assert tellings.recall("m", "ops") == Telling(migration="m", target="ops")
    assert tellings.of("m") == ()


def test_a_full_record_comes_back_as_it_was_kept(rooms: Rooms) -> None:
    """As many ids as are kept, and a trouble in any letters."""
    tellings = rooms.tellings()
    tellings.keep(FULL)
    found = tellings.recall(FULL.migration, FULL.target)
    assert replace(found, version="") == FULL
    assert found.version


def test_each_migration_lists_its_own_targets(rooms: Rooms) -> None:
    """In order of name; a neighbour's are not among them."""
    tellings = rooms.tellings()
    for migration, target in (("m", "team"), ("m", "ops"), ("m2", "ops"), ("m-", "x")):
        tellings.keep(Telling(migration=migration, target=target))
    assert [each.target for each in tellings.of("m")] == ["ops", "team"]
    assert [each.target for each in tellings.of("m2")] == ["ops"]


def test_of_two_who_write_one_record_the_second_must_read_again(rooms: Rooms) -> None:
    """Or an id would be forgotten, and its notice told twice."""
    tellings = rooms.tellings()
    tellings.keep(FULL)
    known = tellings.recall(FULL.migration, FULL.target)
    tellings.keep(replace(known, trouble=""))
    with pytest.raises(Conflict):
        tellings.keep(replace(known, told=()))
    with pytest.raises(Conflict):
        tellings.keep(FULL)
    assert tellings.recall(FULL.migration, FULL.target).told == FULL.told


def test_of_racing_first_records_exactly_one_is_kept(rooms: Rooms) -> None:
    """The others learn of it."""
    tellings = rooms.tellings()
    tellings.keep(Telling(migration="else", target="ops"))  # the table is there
    outcomes = raced(
        lambda number: tellings.keep(Telling(migration="m", target="ops", told=(f"n{number}",)))
    )
    assert sum(1 for each in outcomes if each is None) == 1
    assert all(each is None or isinstance(each, Conflict) for each in outcomes)
