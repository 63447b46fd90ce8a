"""The ledger's promises: conditional, all or nothing, each slice done once."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest

from shared.domain.retirement import Direction, RemovalState, planned_for
from shared.domain.slices import MigrationState, Progress, Slice, SliceState
from shared.errors import Conflict, NotFound, PermanentError
from shared.ports import Change, Ledger
from tests.contract.records import (
    NAME,
    NOON_S,
    a_full_removal,
    a_full_retirement,
    a_full_slice,
    a_migration,
    a_range,
    a_slice,
    a_stage,
    begin,
    proof_of,
    proved,
)
from tests.contract.rooms import RACERS, Rooms, raced

Record = TypeVar("Record", Slice, Progress)


def without_version(record: Record) -> Record:
    return replace(record, version="")


def test_an_empty_ledger_knows_nothing(rooms: Rooms) -> None:
    """Reading before anything was written is no error."""
    ledger = rooms.ledger()
    assert ledger.migrations() == ()
    assert ledger.progress(NAME) is None
    assert ledger.ranges(NAME) == ()
    assert ledger.open_slices(NAME) == ()
    assert ledger.slice(NAME, "x") is None
    assert list(ledger.done_slices(NAME)) == []


def test_a_migration_that_is_not_there_is_not_found(rooms: Rooms) -> None:
    """The message names it."""
    with pytest.raises(NotFound, match="no-such"):
        rooms.ledger().migration("no-such")


def test_a_migration_comes_back_as_it_was_put(rooms: Rooms) -> None:
    """Every field, and the version that its next writer needs."""
    ledger = rooms.ledger()
    put = ledger.put_migration(a_migration())
    assert put.version
    assert ledger.migration(NAME) == put
    assert replace(put, version="") == a_migration()


def test_a_migration_cannot_be_made_twice(rooms: Rooms) -> None:
    """Without a version it must not exist yet."""
    ledger = rooms.ledger()
    ledger.put_migration(a_migration())
    with pytest.raises(Conflict, match=NAME):
        ledger.put_migration(a_migration())


def test_a_migration_changed_meanwhile_is_a_conflict(rooms: Rooms) -> None:
    """The first writer wins, the second reads again."""
    ledger = rooms.ledger()
    first = ledger.put_migration(a_migration())
    second = ledger.put_migration(first.moved(MigrationState.PAUSED, reason="r", now_s=NOON_S))
    with pytest.raises(Conflict):
        ledger.put_migration(first.moved(MigrationState.HALTED, reason="r", now_s=NOON_S))
    assert ledger.migration(NAME) == second


def test_migrations_are_listed_in_order_of_name(rooms: Rooms) -> None:
    """All of them, and nothing else from the ledger."""
    ledger = rooms.ledger()
    for name in ("zeta", "alpha", "m-1"):
        ledger.put_migration(a_migration(name))
        begin(ledger, (a_slice(name=name),), name=name)
    assert [one.name for one in ledger.migrations()] == ["alpha", "m-1", "zeta"]


def test_every_kind_of_record_comes_back_whole(rooms: Rooms) -> None:
    """Numbers beyond 32 bits, nested values, nothing-at-all and odd characters included."""
    ledger = rooms.ledger()
    progress = Progress(
        migration=NAME, blob_bytes=2**45, forecast_s=None, ru_per_document=0.1, surveyed=True
    )
    full, plan = a_full_slice(), a_range()
    ledger.commit(NAME, Change(slices=(full,), ranges=(plan,), progress=progress))
    (opened,) = ledger.open_slices(NAME)
    stored = ledger.progress(NAME)
    assert stored is not None
    assert without_version(opened) == full
    assert replace(ledger.ranges(NAME)[0], version="") == plan
    assert without_version(stored) == progress
    assert all((opened.version, stored.version, ledger.ranges(NAME)[0].version))


def test_an_endless_forecast_comes_back_endless(rooms: Rooms) -> None:
    """Infinity is a number that a forecast may hold."""
    ledger = rooms.ledger()
    ledger.commit(NAME, Change(progress=Progress(migration=NAME, forecast_s=float("inf"))))
    stored = ledger.progress(NAME)
    assert stored is not None
    assert stored.forecast_s == float("inf")


def test_a_slice_moves_from_open_to_done_with_its_progress(rooms: Rooms) -> None:
    """One commit does both, and the slice is still found by its id."""
    ledger = rooms.ledger()
    begin(ledger, (a_slice(0), a_slice(1)))
    ledger.commit(NAME, proof_of(ledger, a_slice(0).id))
    assert [one.id for one in ledger.open_slices(NAME)] == [a_slice(1).id]
    assert [one.id for one in ledger.done_slices(NAME)] == [a_slice(0).id]
    found = ledger.slice(NAME, a_slice(0).id)
    progress = ledger.progress(NAME)
    assert found is not None
    assert progress is not None
    assert (found.state, found.staged) == (SliceState.PROVEN, a_stage(a_slice(0)))
    assert (progress.slices_proven, progress.documents_proven) == (1, 10)


def test_a_commit_repeated_after_a_lost_reply_counts_once(rooms: Rooms) -> None:
    """The same transaction again is a conflict and changes nothing."""
    ledger = rooms.ledger()
    begin(ledger, (a_slice(),))
    change = proof_of(ledger, a_slice().id)
    ledger.commit(NAME, change)
    for _ in range(2):
        with pytest.raises(Conflict):
            ledger.commit(NAME, change)
    progress = ledger.progress(NAME)
    assert progress is not None
    assert progress.slices_proven == 1


def test_a_slice_cannot_be_made_twice(rooms: Rooms) -> None:
    """Neither while it is open nor after it was proven."""
    ledger = rooms.ledger()
    begin(ledger, (a_slice(),))
    with pytest.raises(Conflict, match=a_slice().id):
        ledger.commit(NAME, Change(slices=(a_slice(),)))
    ledger.commit(NAME, proof_of(ledger, a_slice().id))
    with pytest.raises(Conflict, match=a_slice().id):
        ledger.commit(NAME, Change(slices=(a_slice(),)))
    assert ledger.open_slices(NAME) == ()


def test_a_done_slice_changes_no_more(rooms: Rooms) -> None:
    """What is proven stays as it was proven, whatever version a writer holds."""
    ledger = rooms.ledger()
    begin(ledger, (a_slice(),))
    ledger.commit(NAME, proof_of(ledger, a_slice().id))
    done = ledger.slice(NAME, a_slice().id)
    assert done is not None
    for changed in (replace(done, fence=9), replace(done, state=SliceState.FAILED)):
        with pytest.raises(Conflict):
            ledger.commit(NAME, Change(slices=(changed,)))
    assert ledger.slice(NAME, a_slice().id) == done


def test_a_proof_of_what_changed_meanwhile_is_refused(rooms: Rooms) -> None:
    """A late worker cannot close a slice that another took over, even on its own."""
    ledger = rooms.ledger()
    begin(ledger, (a_slice(),))
    (late,) = ledger.open_slices(NAME)
    ledger.commit(NAME, Change(slices=(late.claimed(),)))
    with pytest.raises(Conflict, match=a_slice().id):
        ledger.commit(NAME, Change(slices=(proved(late),)))
    assert [one.fence for one in ledger.open_slices(NAME)] == [1]
    assert list(ledger.done_slices(NAME)) == []


def test_one_stale_record_stops_the_whole_commit(rooms: Rooms) -> None:
    """All or nothing, wherever in the change the conflict is."""
    ledger = rooms.ledger()
    ledger.commit(
        NAME,
        Change(
            slices=(a_slice(0), a_slice(1)), ranges=(a_range(),), progress=Progress(migration=NAME)
        ),
    )
    stale_slice, other = ledger.open_slices(NAME)
    (stale_range,), stale_progress = ledger.ranges(NAME), ledger.progress(NAME)
    assert stale_progress is not None
    ledger.commit(
        NAME, Change(slices=(stale_slice,), ranges=(stale_range,), progress=stale_progress)
    )
    before = (ledger.open_slices(NAME), ledger.ranges(NAME), ledger.progress(NAME))
    fresh_range, fresh_progress = before[1][0], before[2]
    proven = proved(other)
    for change in (
        Change(slices=(proven, stale_slice), ranges=(fresh_range,), progress=fresh_progress),
        Change(slices=(proven, a_slice(5)), ranges=(stale_range,), progress=fresh_progress),
        Change(slices=(proven,), ranges=(fresh_range,), progress=stale_progress),
        Change(slices=(a_slice(6), a_slice(0)), progress=fresh_progress),
        Change(slices=(replace(a_slice(7), version=other.version),), progress=fresh_progress),
        Change(ranges=(a_range(range_id="new"), a_range()), progress=fresh_progress),
    ):
        with pytest.raises(Conflict, match=NAME):
            ledger.commit(NAME, change)
    assert (ledger.open_slices(NAME), ledger.ranges(NAME), ledger.progress(NAME)) == before
    assert list(ledger.done_slices(NAME)) == []


def test_of_racing_proofs_exactly_one_wins(rooms: Rooms) -> None:
    """Sixteen threads prove the same slice; it is done once and counted once."""
    ledger = rooms.ledger()
    begin(ledger, (a_slice(),))
    change = proof_of(ledger, a_slice().id)
    outcomes = raced(lambda _: ledger.commit(NAME, change))
    assert outcomes.count(None) == 1
    assert sum(isinstance(one, Conflict) for one in outcomes) == RACERS - 1
    progress = ledger.progress(NAME)
    assert progress is not None
    assert progress.slices_proven == len(list(ledger.done_slices(NAME))) == 1
    assert ledger.open_slices(NAME) == ()


def test_racing_proofs_of_different_slices_all_count(rooms: Rooms) -> None:
    """Each tries again on a conflict, and no addition to the progress is lost."""
    ledger = rooms.ledger()
    begin(ledger, tuple(a_slice(number) for number in range(RACERS)))

    def prove(number: int) -> None:
        for _ in range(40 * RACERS):
            try:
                return ledger.commit(NAME, proof_of(ledger, a_slice(number).id))
            except Conflict:
                continue
        raise PermanentError("never won")

    assert raced(prove) == [None] * RACERS
    progress = ledger.progress(NAME)
    assert progress is not None
    assert (progress.slices_proven, progress.documents_proven) == (RACERS, 10 * RACERS)
    assert len(list(ledger.done_slices(NAME))) == RACERS


def test_a_hundred_operations_pass_and_one_more_is_refused(rooms: Rooms) -> None:
    """A proof counts twice: out of the open ones and into the done ones."""
    ledger = rooms.ledger()
    slices = tuple(a_slice(number) for number in range(101))
    with pytest.raises(PermanentError, match="101 operations"):
        ledger.commit(NAME, Change(slices=slices))
    assert ledger.open_slices(NAME) == ()
    ledger.commit(NAME, Change(slices=slices[:100]))
    assert len(ledger.open_slices(NAME)) == 100
    proofs = tuple(proved(one) for one in ledger.open_slices(NAME))
    with pytest.raises(PermanentError, match="101 operations"):
        ledger.commit(NAME, Change(slices=proofs[:50], progress=Progress(migration=NAME)))
    ledger.commit(NAME, Change(slices=proofs[:50]))
    assert len(list(ledger.done_slices(NAME))) == 50


def test_a_change_of_nothing_does_nothing(rooms: Rooms) -> None:
    """An empty commit is no error."""
    ledger = rooms.ledger()
    ledger.commit(NAME, Change())
    assert ledger.progress(NAME) is None


def test_the_same_record_twice_in_a_change_is_refused(rooms: Rooms) -> None:
    """Nobody could say which of the two should stand."""
    ledger = rooms.ledger()
    with pytest.raises(PermanentError):
        ledger.commit(NAME, Change(slices=(a_slice(), a_slice())))
    assert ledger.open_slices(NAME) == ()


def test_a_proof_of_a_slice_never_read_is_refused(rooms: Rooms) -> None:
    """Without a version nothing says that the slice was open."""
    ledger = rooms.ledger()
    with pytest.raises(PermanentError, match="never read"):
        ledger.commit(NAME, Change(slices=(proved(a_slice()),)))


def test_a_record_of_another_migration_is_refused(rooms: Rooms) -> None:
    """A transaction cannot span two migrations, and must not seem to."""
    ledger = rooms.ledger()
    with pytest.raises(PermanentError, match="other"):
        ledger.commit(NAME, Change(ranges=(a_range(name="other"),)))
    assert ledger.ranges("other") == ()


@pytest.mark.parametrize(
    "range_id", ["r/0", "a\\b", "#?%25'", "naïve-№-☕", "𝄞", "a|b", "}", "tab\there", " "]
)
def test_odd_range_ids_name_slices_as_well(rooms: Rooms, range_id: str) -> None:
    """A range's id comes from the source; no character of it may lose a slice."""
    ledger = rooms.ledger()
    target = a_slice(range_id=range_id)
    begin(ledger, (target, a_slice(range_id="plain")))
    ledger.commit(NAME, Change(ranges=(a_range(range_id=range_id),)))
    assert {one.id for one in ledger.open_slices(NAME)} == {target.id, a_slice(range_id="plain").id}
    ledger.commit(NAME, proof_of(ledger, target.id))
    assert [one.id for one in ledger.done_slices(NAME)] == [target.id]
    assert [one.range.id for one in ledger.ranges(NAME)] == [range_id]


def test_no_two_range_ids_share_a_record(rooms: Rooms) -> None:
    """Also where one is spelt as the other is stored."""
    ledger = rooms.ledger()
    ids = ("a/", "a=2F", "a%2F", "A/")
    ledger.commit(NAME, Change(ranges=tuple(a_range(range_id=one) for one in ids)))
    assert {one.range.id for one in ledger.ranges(NAME)} == set(ids)


def test_done_slices_come_in_order_of_id(rooms: Rooms) -> None:
    """Also where their range ids are spelt otherwise as keys."""
    ledger = rooms.ledger()
    ids = ["b", "☕", "~", "A", "/", "é", "0", "𝄞", "￮", "_"]
    slices = [a_slice(number, range_id=one) for number in (1, 0) for one in ids]
    begin(ledger, tuple(slices))
    opened = ledger.open_slices(NAME)
    ledger.commit(NAME, Change(slices=tuple(proved(one) for one in opened)))
    expected = sorted(one.id for one in slices)
    assert [one.id for one in opened] == expected
    assert [one.id for one in ledger.done_slices(NAME)] == expected


def test_half_a_surrogate_in_an_error_does_not_block_the_slice(rooms: Rooms) -> None:
    """The failure is recorded, and what could not be stored is spelt out."""
    ledger = rooms.ledger()
    ledger.commit(NAME, Change(slices=(replace(a_slice(), error="id '\ud800'"),)))
    assert ledger.open_slices(NAME)[0].error.startswith("id '")


def test_migrations_do_not_see_each_other(rooms: Rooms) -> None:
    """One name may begin with another."""
    ledger = rooms.ledger()
    for name in ("abc", "abcd"):
        begin(ledger, (a_slice(name=name),), name=name)
    ledger.commit("abc", proof_of(ledger, a_slice().id, name="abc"))
    assert ledger.open_slices("abc") == ()
    assert len(ledger.open_slices("abcd")) == 1
    assert list(ledger.done_slices("abcd")) == []


def test_a_ledger_without_retirement_knows_none(rooms: Rooms) -> None:
    """Reading before anything was written is no error."""
    ledger = rooms.ledger()
    assert ledger.retirement(NAME) is None
    assert ledger.removals(NAME) == ()
    assert ledger.removal(NAME, "remove|x") is None
    assert ledger.done_after(NAME, "", limit=5) == ()


def test_a_retirement_and_a_removal_come_back_whole(rooms: Rooms) -> None:
    """Every field; half a surrogate pair in an id is spelt out, as in a slice's error."""
    ledger = rooms.ledger()
    ledger.commit(NAME, Change(retirement=a_full_retirement()))
    stored = ledger.retirement(NAME)
    assert stored is not None
    assert replace(stored, version="") == a_full_retirement()
    ledger.commit(NAME, Change(removals=(a_full_removal(),), retirement=stored))
    (opened,) = ledger.removals(NAME)
    assert replace(opened, version="") == a_full_removal()
    odd = replace(opened, spared_ids=("half \ud800",), error="half \ud800")
    ledger.commit(NAME, Change(removals=(odd,)))
    assert ledger.removal(NAME, odd.id) is not None


def a_begun_removal(rooms: Rooms) -> Ledger:
    ledger = rooms.ledger()
    ledger.commit(NAME, Change(retirement=a_full_retirement()))
    retirement = ledger.retirement(NAME)
    planned = planned_for(a_slice(), Direction.RESTORE, documents=10)
    ledger.commit(NAME, Change(removals=(planned,), retirement=retirement))
    return ledger


def the_end_of(ledger: Ledger) -> Change:
    (opened,) = ledger.removals(NAME)
    totals = ledger.retirement(NAME)
    assert totals is not None
    ended = opened.ended()
    return Change(removals=(ended,), retirement=totals.with_done(ended))


def test_a_removal_moves_from_open_to_done_with_the_totals(rooms: Rooms) -> None:
    """One commit does both, a repeated one nothing, and it is still found by its id."""
    ledger = a_begun_removal(rooms)
    change = the_end_of(ledger)
    before = ledger.retirement(NAME)
    ledger.commit(NAME, change)
    with pytest.raises(Conflict):
        ledger.commit(NAME, change)
    after = ledger.retirement(NAME)
    assert before is not None
    assert after is not None
    assert after.slices_done == before.slices_done + 1
    assert ledger.removals(NAME) == ()
    found = ledger.removal(NAME, change.removals[0].id)
    assert found is not None
    assert found.state is RemovalState.DONE


def test_of_racing_ends_of_a_removal_exactly_one_wins(rooms: Rooms) -> None:
    """Its documents are counted once."""
    ledger = a_begun_removal(rooms)
    changes = [the_end_of(ledger)] * RACERS

    def end(number: int) -> bool:
        try:
            ledger.commit(NAME, changes[number])
        except Conflict:
            return False
        return True

    assert raced(end).count(True) == 1


def test_a_removal_changed_meanwhile_is_a_conflict(rooms: Rooms) -> None:
    """A worker that was replaced can note nothing."""
    ledger = a_begun_removal(rooms)
    (opened,) = ledger.removals(NAME)
    ledger.commit(NAME, Change(removals=(opened.claimed(),)))
    with pytest.raises(Conflict):
        ledger.commit(NAME, Change(removals=(opened.claimed(),)))


def test_a_new_removal_needs_the_retirement_that_plans_it(rooms: Rooms) -> None:
    """Planned twice, the second is a conflict; alone it is refused."""
    ledger = rooms.ledger()
    ledger.commit(NAME, Change(retirement=a_full_retirement()))
    planned = planned_for(a_slice(), Direction.REMOVE, documents=10)
    with pytest.raises(PermanentError, match="plan it with its retirement"):
        ledger.commit(NAME, Change(removals=(planned,)))
    change = Change(removals=(planned,), retirement=ledger.retirement(NAME))
    ledger.commit(NAME, change)
    ledger.commit(NAME, the_end_of(ledger))
    with pytest.raises(Conflict):
        ledger.commit(NAME, change)


def test_done_slices_are_given_behind_a_cursor(rooms: Rooms) -> None:
    """A few at a time, each once, in one and the same order, odd range ids included."""
    ledger = rooms.ledger()
    several = tuple(a_slice(n // 2, range_id=("r0", "r~1")[n % 2]) for n in range(6))
    begin(ledger, several)
    for each in several:
        ledger.commit(NAME, proof_of(ledger, each.id))
    found: list[str] = []
    while page := ledger.done_after(NAME, found[-1] if found else "", limit=4):
        found += [one.id for one in page]
        assert len(page) <= 4
    assert sorted(found) == sorted(one.id for one in several)
    assert found == [one.id for one in ledger.done_after(NAME, "", limit=10)]
