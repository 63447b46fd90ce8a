"""Slices, progress and windows: which state follows which, and what each step keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.domain.slices import (
    ERROR_CHARS_MAX,
    RETRY_MAX_S,
    Cause,
    MigrationState,
    Progress,
    Slice,
    SliceState,
    Window,
)
from shared.errors import WrongState
from tests.unit.samples import (
    JUNE_S,
    MAY_S,
    a_blob,
    a_migration,
    a_plan,
    a_slice,
    a_stage,
    an_extent,
)

S = SliceState


def fail(target: Slice, cause: Cause = Cause.TRANSIENT, *, attempts_max: int = 3) -> Slice:
    return target.failed(cause=cause, error="e", now_s=100.0, attempts_max=attempts_max)


MOVES: dict[str, Callable[[Slice], Slice]] = {
    "claimed": lambda target: target.claimed(),
    "released": lambda target: target.released(),
    "copied": lambda target: target.copied(a_stage()),
    "validating": lambda target: target.validating(),
    "proven": lambda target: target.proven(staged=a_stage(), receipt_sha256="ab"),
    "retried": lambda target: target.retried(),
}
ALLOWED = {
    "claimed": {S.PLANNED, S.FAILED, S.COPYING, S.QUARANTINED},
    "released": {S.COPYING},
    "copied": {S.COPYING},
    "validating": {S.COPIED, S.VALIDATING},
    "proven": {S.VALIDATING},
    "retried": {S.QUARANTINED},
}
LEADS_TO = {
    "claimed": S.COPYING,
    "released": S.PLANNED,
    "copied": S.COPIED,
    "validating": S.VALIDATING,
    "proven": S.PROVEN,
    "retried": S.PLANNED,
}


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("move", MOVES)
def test_a_slice_moves_only_as_the_table_allows(move: str, state: SliceState) -> None:
    """Every state with every move; a refusal names the slice, its state and what would allow it."""
    target = a_slice(state, fence=3, staged=a_stage())
    if state in ALLOWED[move]:
        assert MOVES[move](target).state is LEADS_TO[move]
        return
    with pytest.raises(WrongState) as caught:
        MOVES[move](target)
    assert target.id in str(caught.value)
    assert f"it is {state.value}" in str(caught.value)


def test_a_proven_slice_never_fails_any_more() -> None:
    """Its receipt stands; a late worker's failure must not undo it."""
    with pytest.raises(WrongState):
        fail(a_slice(S.PROVEN, fence=1, staged=a_stage()))


@pytest.mark.parametrize("move", MOVES)
def test_a_fence_never_goes_back(move: str) -> None:
    """Only a claim moves it, and by one."""
    for state in ALLOWED[move]:
        moved = MOVES[move](a_slice(state, fence=7, staged=a_stage()))
        assert moved.fence == (8 if move == "claimed" else 7)
    assert fail(a_slice(S.COPYING, fence=7)).fence == 7


def test_a_claim_forgets_what_another_attempt_staged() -> None:
    """What an old fence wrote can never be promoted."""
    assert a_slice(S.COPYING, fence=1, staged=a_stage()).claimed().staged is None


def test_a_proven_slice_carries_its_receipt_and_no_error() -> None:
    """Earlier failures are over."""
    failed_before = replace(
        a_slice(S.VALIDATING, staged=a_stage()), error="e", cause=Cause.MISMATCH, failures=1
    )
    proven = failed_before.proven(staged=a_stage(blob=a_blob()), receipt_sha256="ab")
    assert (proven.error, proven.cause, proven.receipt_sha256) == ("", None, "ab")
    assert proven.staged == a_stage(blob=a_blob())


def test_failures_add_up_to_quarantine() -> None:
    """The third of three attempts is the last."""
    target, states = a_slice(), []
    for _ in range(3):
        target = fail(target.claimed())
        states.append(target.state)
    assert states == [S.FAILED, S.FAILED, S.QUARANTINED]
    assert (target.failures, target.fence, target.staged) == (3, 3, None)


def test_what_will_fail_alike_again_needs_no_second_try() -> None:
    """A document without a form, and a fault of Ebb's own."""
    states = {cause: fail(a_slice(S.COPYING), cause).state for cause in Cause}
    assert states == {
        Cause.TRANSIENT: S.FAILED,
        Cause.INCOMPLETE: S.FAILED,
        Cause.MISMATCH: S.FAILED,
        Cause.DOCUMENT: S.QUARANTINED,
        Cause.FAULT: S.QUARANTINED,
    }


def test_the_wait_before_a_retry_doubles_up_to_its_limit() -> None:
    """A quarter of a minute, then twice that, and ten minutes at the most."""
    waits = []
    target = a_slice(S.COPYING)
    for _ in range(20):
        target = fail(target, attempts_max=99)
        waits.append(target.retry_at_s - 100.0)
    assert waits[:7] == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 600.0]
    assert set(waits[7:]) == {RETRY_MAX_S}


def test_an_error_is_kept_short() -> None:
    """A table row is small."""
    failed = a_slice(S.COPYING).failed(
        cause=Cause.FAULT, error="x" * 9_999, now_s=0.0, attempts_max=3
    )
    assert len(failed.error) == ERROR_CHARS_MAX
    assert failed.cause is Cause.FAULT


def test_a_person_resuming_gives_all_attempts_again() -> None:
    """The fence goes on, the count of failures does not."""
    stuck = replace(a_slice(S.QUARANTINED, fence=3), failures=3, retry_at_s=9.0, sent_at_s=8.0)
    again = stuck.retried()
    assert (again.failures, again.retry_at_s, again.sent_at_s, again.fence) == (0, 0.0, 0.0, 3)


def test_when_a_slice_was_sent_is_forgotten_once_it_is_done_with() -> None:
    """The controller sends it again for its next step."""
    sent = a_slice(S.COPYING).sent(50.0)
    assert sent.sent_at_s == 50.0
    for done in (sent.released(), sent.copied(a_stage()), fail(sent)):
        assert done.sent_at_s == 0.0


@pytest.mark.parametrize(("lo_s", "hi_s"), [(-1, 5), (5, 5), (6, 5)])
def test_a_window_has_a_beginning_before_its_end(lo_s: int, hi_s: int) -> None:
    """Half-open and never empty."""
    with pytest.raises(ValueError, match="0 <= lo < hi"):
        Window(lo_s=lo_s, hi_s=hi_s)


def test_a_window_lies_in_the_month_of_its_last_second() -> None:
    """Its end is open, so a window up to June is May's."""
    assert Window(lo_s=0, hi_s=JUNE_S).month == "year=2025/month=05"
    assert Window(lo_s=MAY_S, hi_s=JUNE_S + 1).month == "year=2025/month=06"


def test_slice_ids_sort_as_their_windows_do() -> None:
    """Padded numbers, and parts in their order."""
    extents = [
        an_extent(5, 6),
        an_extent(70, 80, part=0),
        an_extent(70, 80, part=2),
        an_extent(70, 80, part=10),
        an_extent(MAY_S, JUNE_S),
    ]
    ids = [extent.slice_id for extent in extents]
    assert ids == sorted(ids)
    assert ids[0] == "0000000005-0000000006-r000"
    assert ids[3] == "0000000070-0000000080-r000-p010"


def test_a_range_is_finished_when_its_frontier_reaches_the_end() -> None:
    """Not a second sooner."""
    assert not a_plan(frontier_s=9, until_s=10).finished
    assert a_plan(frontier_s=10, until_s=10).finished


def test_progress_counts_a_proven_slice_once_in_every_total() -> None:
    """Documents, bytes, what was superseded, and the slice itself."""
    stage = a_stage(blob=a_blob(), superseded_ids=("x",))
    counted = Progress(migration="m", slices_proven=1, documents_proven=5).with_proven(
        a_slice(S.PROVEN, staged=stage)
    )
    assert (counted.slices_proven, counted.documents_proven) == (2, 15)
    assert (counted.document_bytes, counted.blob_bytes, counted.superseded) == (3_000, 4_096, 1)
    empty = Progress(migration="m").with_proven(a_slice(S.PROVEN, staged=a_stage()))
    assert empty.blob_bytes == 0


def test_progress_refuses_a_slice_that_holds_nothing() -> None:
    """It could not say how many documents were proven."""
    with pytest.raises(WrongState):
        Progress(migration="m").with_proven(a_slice(S.PROVEN))


def test_cost_and_size_are_learned_half_from_the_newest_slice() -> None:
    """The first slice teaches all, an empty one nothing."""
    first = Progress(migration="m").learned(a_stage())
    assert first.ru_per_document == pytest.approx(300.456 / 11)
    assert first.bytes_per_document == 300.0
    dearer = replace(a_stage(), ru_spent=1_100.0, rows_read=10, document_bytes=5_000)
    second = replace(first, ru_per_document=10.0).learned(dearer)
    assert second.ru_per_document == pytest.approx(60.0)
    assert second.bytes_per_document == pytest.approx(400.0)
    assert first.learned(replace(a_stage(), documents=0)) == first
    assert first.learned(replace(a_stage(), rows_read=0)) == first


def test_a_migration_moves_with_its_reason_and_time() -> None:
    """Nothing else of it changes."""
    moved = a_migration().moved(MigrationState.PAUSED, reason="r" * 9_999, now_s=77.0)
    assert moved.reason == "r" * ERROR_CHARS_MAX
    assert replace(moved, state=MigrationState.RUNNING, reason="started", changed_at_s=2.0) == (
        a_migration()
    )
