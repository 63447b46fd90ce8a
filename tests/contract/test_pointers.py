"""The look-up index's promises: nothing later is ever overwritten, whoever races whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.pointers import Key, Pointer
from shared.errors import EbbError
from tests.contract.rooms import RACERS, Rooms, raced

SOURCE = "appdb/records"
ODD_KEYS: tuple[Key, ...] = (
    ('["a"]', "x"),
    ('["a","x"]', ""),
    ('["a"]', ""),
    ("[null]", "x"),
    ("[{}]", "x"),
    ("[1.5,true]", "x"),
    ('["é☕𝄞"]', "/\\#?%'\"\t\n\x7f"),
    ('["' + "p" * 2_000 + '"]', "i" * 1_000),
    ('["a"]', "X"),
    ('["\\ud800"]', "\ud800"),
)


def a_pointer(ts: int = 1_700_000_000, **more: object) -> Pointer:
    plain = Pointer(
        archive="archive/acme",
        blob="data/r000/1700000000-1700000060.parquet",
        offset=3 << 32,
        length=4_100_000,
        rows=27,
        row=26,
        sha256="0123456789abcdef" * 4,
        ts=ts,
        etag='"0000d826-0000-0700-0000-66f0aabb0000"',
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def keys(number: int) -> list[Key]:
    return [(f'["p{n % 7}"]', f"doc-{n}") for n in range(number)]


def test_a_pointer_is_found_as_it_was_put(rooms: Rooms) -> None:
    """Every field, to the letter; under another source there is nothing."""
    index = rooms.pointers()
    (key,) = keys(1)
    assert index.find(SOURCE, key) is None
    given = a_pointer(blob="data/Größe №/☕.parquet", archive="c/a/b c")
    assert index.put(SOURCE, {key: given}) == {key}
    assert index.find(SOURCE, key) == given
    assert index.find("appdb/record", key) is None


def test_keys_of_any_characters_are_kept_apart(rooms: Rooms) -> None:
    """Slashes, controls, lone surrogates, case, length, and a partition key beside an id."""
    index = rooms.pointers()
    given = {key: a_pointer(row=number) for number, key in enumerate(ODD_KEYS)}
    assert index.put(SOURCE, given) == set(ODD_KEYS)
    assert {key: index.find(SOURCE, key) for key in ODD_KEYS} == given


def test_more_pointers_than_a_transaction_takes_all_stand(rooms: Rooms) -> None:
    """Two thousand in one call, each under its own key; none at all is no call's worth."""
    index = rooms.pointers()
    given = {key: a_pointer(row=number) for number, key in enumerate(keys(2_000))}
    assert index.put(SOURCE, given) == set(given)
    assert all(index.find(SOURCE, key) == given[key] for key in keys(2_000)[::97])
    assert index.put(SOURCE, {}) == frozenset()


def test_putting_again_changes_nothing(rooms: Rooms) -> None:
    """A repeated call is told that the same pointers stand."""
    index = rooms.pointers()
    given = dict.fromkeys(keys(30), a_pointer())
    assert index.put(SOURCE, given) == index.put(SOURCE, given) == set(given)
    assert {index.find(SOURCE, key) for key in given} == {a_pointer()}


@pytest.mark.parametrize(
    ("stands", "given", "allowed"),
    [
        (a_pointer(5), a_pointer(6), True),
        (a_pointer(5), a_pointer(5, row=3), False),
        (a_pointer(5, rows=0), a_pointer(5), True),
        (a_pointer(5), a_pointer(5, rows=0), False),
        (a_pointer(5, rows=0, deleted=True), a_pointer(5), False),
        (a_pointer(5), a_pointer(5, deleted=True), True),
        (a_pointer(5), a_pointer(5, row=3, deleted=True), False),
        (a_pointer(6), a_pointer(5), False),
        (a_pointer(6), a_pointer(5, deleted=True), False),
        (a_pointer(5, deleted=True), a_pointer(5), False),
        (a_pointer(5, deleted=True), a_pointer(6), True),
        (a_pointer(6, deleted=True), a_pointer(5), False),
    ],
    ids=[
        "newer",
        "another's",
        "announced",
        "answers",
        "announced and deleted",
        "its own mark",
        "another's mark",
        "older",
        "an older one's mark",
        "deleted",
        "newer than deleted",
        "older than deleted",
    ],
)
def test_a_pointer_stands_only_where_it_may(
    rooms: Rooms, stands: Pointer, given: Pointer, *, allowed: bool
) -> None:
    """Never over a later version's, another's answer, or one that its owner deleted."""
    index = rooms.pointers()
    (key,) = keys(1)
    index.put(SOURCE, {key: replace(stands, deleted=False)})
    if stands.deleted:
        assert index.delete(SOURCE, key)
    assert index.put(SOURCE, {key: given}) == ({key} if allowed else set())
    assert index.find(SOURCE, key) == (given if allowed else stands)


def test_one_refused_pointer_holds_up_no_other(rooms: Rooms) -> None:
    """Of three hundred, those that may stand do; the keys of the rest are not returned."""
    index = rooms.pointers()
    given = dict.fromkeys(keys(300), a_pointer(5))
    later = set(keys(300)[::10])
    deleted = set(keys(300)[5::50])
    index.put(SOURCE, dict.fromkeys(later, a_pointer(9)))
    index.put(SOURCE, dict.fromkeys(deleted, a_pointer(5)))
    for key in deleted:
        index.delete(SOURCE, key)
    assert index.put(SOURCE, given) == set(given) - later - deleted
    assert {index.find(SOURCE, key) for key in later} == {a_pointer(9)}
    assert {index.find(SOURCE, key) for key in deleted} == {a_pointer(5, deleted=True)}
    assert index.find(SOURCE, keys(300)[1]) == a_pointer(5)


def test_only_the_very_pointer_is_withdrawn(rooms: Rooms) -> None:
    """Not another's, not one marked as deleted since, and not what is not there."""
    index = rooms.pointers()
    same, other, deleted, nobody = keys(4)
    index.put(SOURCE, {same: a_pointer(5), other: a_pointer(6), deleted: a_pointer(5)})
    index.delete(SOURCE, deleted)
    index.withdraw(SOURCE, dict.fromkeys((same, other, deleted, nobody), a_pointer(5)))
    assert index.find(SOURCE, same) is None
    assert index.find(SOURCE, other) == a_pointer(6)
    assert index.find(SOURCE, deleted) == a_pointer(5, deleted=True)


def test_many_pointers_are_withdrawn_at_once(rooms: Rooms) -> None:
    """More than a transaction takes; a second time is harmless."""
    index = rooms.pointers()
    given = dict.fromkeys(keys(250), a_pointer())
    index.put(SOURCE, given)
    index.withdraw(SOURCE, given)
    index.withdraw(SOURCE, given)
    assert {index.find(SOURCE, key) for key in given} == {None}


def test_a_deletion_is_a_mark_that_stays(rooms: Rooms) -> None:
    """What stood stays readable; where nothing stood nothing is marked."""
    index = rooms.pointers()
    key, nobody = keys(2)
    index.put(SOURCE, {key: a_pointer()})
    assert index.delete(SOURCE, key)
    assert index.delete(SOURCE, key)
    assert index.find(SOURCE, key) == a_pointer(deleted=True)
    assert not index.delete(SOURCE, nobody)
    assert index.find(SOURCE, nobody) is None


def test_of_racing_puts_the_latest_version_stands(rooms: Rooms) -> None:
    """Sixteen versions of the same forty documents at once, in any order."""
    index = rooms.pointers()
    outcomes = raced(lambda n: index.put(SOURCE, dict.fromkeys(keys(40), a_pointer(n))))
    assert not [each for each in outcomes if isinstance(each, EbbError)]
    assert outcomes[RACERS - 1] == frozenset(keys(40))
    assert {index.find(SOURCE, key) for key in keys(40)} == {a_pointer(RACERS - 1)}


def test_a_deletion_that_races_with_puts_is_not_lost(rooms: Rooms) -> None:
    """Once it was told that something stood there, no pointer of that version answers again."""
    index = rooms.pointers()
    (key,) = keys(1)
    index.put(SOURCE, {key: a_pointer(5)})

    def act(number: int) -> bool:
        if number == 3:
            return index.delete(SOURCE, key)
        return key in index.put(SOURCE, {key: a_pointer(5, row=number)})

    outcomes = raced(act)
    assert outcomes[3] is True
    found = index.find(SOURCE, key)
    assert found is not None
    assert found.deleted


def test_a_withdrawal_that_races_with_puts_takes_only_its_own(rooms: Rooms) -> None:
    """A later version's pointer is there in the end, whatever came first."""
    index = rooms.pointers()
    given = dict.fromkeys(keys(20), a_pointer(5))
    index.put(SOURCE, given)

    def act(number: int) -> None:
        if number % 2:
            index.withdraw(SOURCE, given)
        else:
            index.put(SOURCE, dict.fromkeys(keys(20), a_pointer(6)))

    assert not [each for each in raced(act) if each is not None]
    assert {index.find(SOURCE, key) for key in keys(20)} == {a_pointer(6)}


def test_a_pointer_answers_only_in_its_announcements_place(rooms: Rooms) -> None:
    """Never where nothing stands: a worker that slept would bring back what was withdrawn."""
    index = rooms.pointers()
    announced, nobody, marked, later, standing = keys(5)
    mine = a_pointer(5)
    index.put(SOURCE, dict.fromkeys((announced, marked), mine.announced()))
    index.delete(SOURCE, marked)
    index.put(SOURCE, {later: a_pointer(6), standing: mine})
    asked = dict.fromkeys((announced, nobody, marked, later, standing), mine)
    assert index.put_answering(SOURCE, asked) == {announced, standing}
    assert index.put_answering(SOURCE, asked) == {announced, standing}
    assert index.find(SOURCE, announced) == mine
    assert index.find(SOURCE, nobody) is None
    assert index.find(SOURCE, marked) == replace(mine.announced(), deleted=True)
    assert index.find(SOURCE, later) == a_pointer(6)
    assert index.put_answering(SOURCE, {}) == frozenset()


def test_many_announcements_are_replaced_at_once(rooms: Rooms) -> None:
    """More than a transaction takes."""
    index = rooms.pointers()
    given = dict.fromkeys(keys(250), a_pointer())
    index.put(SOURCE, {key: each.announced() for key, each in given.items()})
    assert index.put_answering(SOURCE, given) == set(given)
    assert {index.find(SOURCE, key) for key in given} == {a_pointer()}


def test_a_source_is_marked_once_before_anything_is_removed(rooms: Rooms) -> None:
    """The first time counts, of each source its own, and withdrawing takes no mark away."""
    index = rooms.pointers()
    (key,) = keys(1)
    assert index.begun_s(SOURCE) is None
    assert index.begin(SOURCE, 1_700_000_000.5) == 1_700_000_000.5
    assert index.begin(SOURCE, 1_800_000_000.0) == 1_700_000_000.5
    index.put(SOURCE, {key: a_pointer()})
    index.withdraw(SOURCE, {key: a_pointer()})
    assert index.begun_s(SOURCE) == 1_700_000_000.5
    assert index.begun_s("appdb/record") is None
    assert index.begun_s("appdb/records2") is None


def test_pointers_without_a_mark_count_as_begun(rooms: Rooms) -> None:
    """An older Ebb marked nothing: its readers must not be answered that nothing was removed."""
    index = rooms.pointers()
    (key,) = keys(1)
    index.put(SOURCE, {key: a_pointer()})
    assert index.begun_s(SOURCE) == 0.0
    assert index.begun_s("appdb/record") is None
    assert index.begin(SOURCE, 5.0) == 5.0


def test_of_racing_marks_one_stands(rooms: Rooms) -> None:
    """Everybody is told the same moment."""
    index = rooms.pointers()
    outcomes = raced(lambda n: index.begin(SOURCE, 1_000.0 + n))
    assert set(outcomes) == {index.begun_s(SOURCE)}
