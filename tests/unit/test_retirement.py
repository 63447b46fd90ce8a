"""Retirement's own records: what is counted, what moves on, and what never changes again."""

from __future__ import annotations

import pytest

from shared.domain.pointers import Pointer, pointer_in, with_pointer
from shared.domain.retirement import (
    BATCH_DOCUMENTS,
    SPARED_NAMED_MAX,
    Direction,
    Outcome,
    Removal,
    RemovalState,
    Retirement,
    RetirementState,
)
from shared.domain.slices import RETRY_BASE_S, RETRY_MAX_S
from shared.errors import Unreadable, WrongState


def a_removal(*, documents: int = 300, direction: Direction = Direction.REMOVE) -> Removal:
    return Removal(
        migration="m", direction=direction, slice_id="s", range_id="r", documents=documents
    )


def a_pointer(*, ts: int = 5, rows: int = 3, deleted: bool = False, row: int = 1) -> Pointer:
    return Pointer(
        archive="a/p",
        blob="b",
        offset=4,
        length=9,
        rows=rows,
        row=row,
        sha256="ab",
        ts=ts,
        etag="e",
        deleted=deleted,
    )


def test_a_batch_is_counted_by_what_became_of_it() -> None:
    """Each document once; ids of those left alone are kept, up to a few."""
    outcomes = [("a", Outcome.MOVED), ("b", Outcome.CHANGED), ("c", Outcome.GONE)]
    noted = a_removal().claimed().noted(outcomes, ru=7.0).noted(outcomes * 9, ru=1.0)
    assert (noted.moved, noted.changed, noted.gone) == (10, 10, 10)
    assert (noted.offset, noted.ru_spent) == (30, 8.0)
    assert len(noted.spared_ids) == SPARED_NAMED_MAX
    assert noted.spared_ids[:2] == ("b", "c")


def test_progress_forgives_claims_and_failures() -> None:
    """What moves on stops nobody, however often it was claimed."""
    tried = a_removal().claimed().failed("x", ru=1.0, now_s=0.0).claimed()
    assert (tried.idle_claims, tried.failures, tried.fence) == (2, 1, 2)
    noted = tried.noted([("a", Outcome.MOVED)], ru=1.0)
    assert (noted.idle_claims, noted.failures, noted.fence) == (0, 0, 2)


def test_a_failure_waits_longer_each_time() -> None:
    """Fifteen seconds, twice as long each time, ten minutes at most."""
    waits = []
    removal = a_removal()
    for _ in range(8):
        removal = removal.claimed().failed("x", ru=0.0, now_s=100.0)
        waits.append(removal.retry_at_s - 100.0)
    assert waits[:3] == [RETRY_BASE_S, 2 * RETRY_BASE_S, 4 * RETRY_BASE_S]
    assert waits[-1] == RETRY_MAX_S
    assert removal.forgiven().retry_at_s == 0.0


def test_what_is_done_can_be_asked_nothing_more() -> None:
    """Done removals never change."""
    done = a_removal(documents=1).claimed().noted([("a", Outcome.MOVED)], ru=1.0).ended()
    assert done.state is RemovalState.DONE
    for doing in (done.claimed, done.ended, lambda: done.released(ru=0.0)):
        with pytest.raises(WrongState, match="it is done"):
            doing()


def test_undoing_reaches_what_a_worker_may_have_begun() -> None:
    """The batch it was at, too; nothing where nobody ever began, and never beyond the end."""
    assert a_removal().reach == 0
    begun = a_removal().claimed()
    assert begun.reach == BATCH_DOCUMENTS
    assert begun.noted([("a", Outcome.MOVED)] * 250, ru=1.0).reach == 300


def test_a_done_removal_is_counted_in_its_own_direction() -> None:
    """Restored is not removed; what was spent is spent in either."""
    retirement = Retirement(migration="m", mode="delete", cursor="s9")
    outcomes = [("a", Outcome.MOVED), ("b", Outcome.CHANGED)]
    removed = a_removal(documents=2).claimed().noted(outcomes, ru=40.0).ended()
    forth = retirement.with_done(removed)
    assert (forth.documents_removed, forth.spared_changed, forth.slices_done) == (1, 1, 1)
    assert forth.ru_per_document == 40.0
    back = forth.undone(9.0)
    assert (back.cursor, back.reach, back.ru_per_document) == ("", "s9", 0.0)
    restored = a_removal(documents=2, direction=Direction.RESTORE).claimed()
    after = back.with_done(restored.noted(outcomes, ru=10.0).ended())
    assert (after.documents_removed, after.documents_restored) == (1, 1)
    assert (after.spared_changed, after.ru_spent, after.ru_per_document) == (1, 50.0, 10.0)


def test_the_cost_of_a_document_follows_what_was_measured() -> None:
    """The newest slice counts as much as all before it."""
    retirement = Retirement(migration="m", mode="delete")
    for ru in (10.0, 30.0):
        noted = a_removal(documents=1).claimed().noted([("a", Outcome.MOVED)], ru=ru)
        retirement = retirement.with_done(noted.ended())
    assert retirement.ru_per_document == 20.0


def test_a_retirement_is_undone_once() -> None:
    """Whatever state it is in; the second time there is nothing to turn round."""
    paused = Retirement(migration="m", mode="stub", state=RetirementState.PAUSED).undone(1.0)
    assert (paused.running, paused.direction) == (True, Direction.RESTORE)
    with pytest.raises(WrongState, match="being undone"):
        paused.undone(2.0)


def test_an_announcement_makes_room_and_an_answer_does_not() -> None:
    """Of one version: whoever removed it, or deleted it, is not written over."""
    mine, other = a_pointer(), a_pointer(row=2)
    assert mine.announced().yields_to(mine)
    assert mine.announced().yields_to(other.announced())
    assert mine.yields_to(mine)
    assert not mine.yields_to(mine.announced())
    assert not mine.yields_to(other)
    for deleted in (a_pointer(deleted=True), a_pointer(rows=0, deleted=True)):
        assert not deleted.yields_to(mine)
    assert a_pointer(deleted=True).yields_to(a_pointer(ts=6))
    assert not mine.yields_to(a_pointer(ts=4))


def test_only_a_pointer_with_rows_and_without_mark_answers() -> None:
    """An announcement and a deletion send nobody to the archive."""
    assert a_pointer().answers
    assert not a_pointer().announced().answers
    assert not a_pointer(deleted=True).answers


def test_a_stub_tells_its_pointer_and_an_ordinary_document_none() -> None:
    """Also where someone else's property has that name."""
    stub = with_pointer({"id": "x"}, a_pointer())
    assert pointer_in(stub) == a_pointer()
    assert pointer_in({"id": "x"}) is None
    with pytest.raises(Unreadable, match="no pointer of this version"):
        pointer_in({"id": "x", "ebb_stub": {"blob": "b"}})
    assert pointer_in({"id": "x", "ebb_stub": "mine"}) is None
