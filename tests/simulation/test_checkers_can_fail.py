"""Each promise broken on purpose, in the code or in what is stored, and the simulation finds it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.memory import MemoryArchives, MemoryLedger
from shared.application.reading import WindowReading
from shared.domain.board import Board, Grant
from shared.domain.slices import Slice, SliceState
from shared.errors import EbbError
from shared.ports import Change, Place
from tests.simulation.checkers import SINK, check_end, check_spending, check_tiling
from tests.simulation.people import archives
from tests.simulation.runs import Run, begun, judged, simulated
from tests.simulation.world import SOURCE

SEEDS_MAX = 200  # a break that so many seeds do not show is one that the simulation cannot see
SOUND_SEED = 22
Patch = pytest.MonkeyPatch


def whatever_was_read_is_taken(patch: Patch) -> None:
    patch.setattr(WindowReading, "_reconcile", lambda _self, rows, **_: (rows, (), len(rows)))


def what_came_twice_is_kept_twice(patch: Patch) -> None:
    whatever_was_read_is_taken(patch)
    patch.setattr("shared.application.reading._refuse_duplicates", lambda *_: None)


def nothing_is_looked_at_before_its_receipt(patch: Patch) -> None:
    patch.setattr("shared.application.validating.Validation._prove", lambda _self: None)


def staging_is_published(patch: Patch) -> None:
    put = MemoryArchives.put

    def early(self: MemoryArchives, place: str, name: str, data: bytes, *, missing: bool) -> Any:
        if name.endswith(".manifest"):
            target = f"manifests/{name.split('/')[1].split('.', maxsplit=1)[0]}.parquet"
            put(self, place, target, data, missing=True)
        return put(self, place, name, data, missing=missing)

    patch.setattr(MemoryArchives, "put", early)


def versions_do_not_matter(patch: Patch) -> None:
    patch.setattr("shared.adapters.memory.ledger._check", lambda *_: None)
    patch.setattr("shared.adapters.memory.ledger._check_slice", lambda *_: None)


def the_fence_falls(patch: Patch) -> None:
    claimed = Slice.claimed
    patch.setattr(
        Slice, "claimed", lambda self: replace(claimed(self), fence=max(0, 2 - self.fence))
    )


def a_board_is_valid_for_ever(patch: Patch) -> None:
    decided = Board.decided

    def lasting(self: Board, *args: Any, **kwargs: Any) -> Board:
        board = decided(self, *args, **kwargs)
        return replace(board, valid_until_s=board.decided_at_s)

    rate_for = Board.rate_for
    patch.setattr(Board, "decided", lasting)
    patch.setattr(
        Board,
        "rate_for",
        lambda self, seat, now_s: rate_for(replace(self, valid_until_s=now_s + 1), seat, now_s),
    )


def a_429_stops_nobody(patch: Patch) -> None:
    patch.setattr(Grant, "is_held", lambda *_, **__: False)
    patch.setattr("shared.domain.pacing.DebtBucket.throttled", lambda *_, **__: None)


def everybody_takes_everything(patch: Patch) -> None:
    rate_for = Board.rate_for
    patch.setattr(Board, "rate_for", lambda self, seat, now_s: 30 * rate_for(self, seat, now_s))


def nobody_pays(patch: Patch) -> None:
    patch.setattr("shared.domain.pacing.DebtBucket.charge", lambda *_, **__: None)


def controllers_are_not_told_apart(patch: Patch) -> None:
    decided = Board.decided

    def unfenced(self: Board, *args: Any, controller_token: int, **kwargs: Any) -> Board:
        return decided(self, *args, controller_token=controller_token % 3, **kwargs)

    patch.setattr(Board, "decided", unfenced)


def proofs_count_twice(patch: Patch) -> None:
    patch.setattr(
        "shared.domain.slices.Progress.with_proven",
        lambda self, proven: replace(
            self,
            slices_proven=self.slices_proven + 1,
            documents_proven=self.documents_proven + 2 * proven.staged.documents,
        ),
    )


def messages_are_never_sent_again(patch: Patch) -> None:
    patch.setattr("shared.application.dispatching.RESEND_AFTER_S", 1e9)


FIRST_FOUND_BY: dict[Callable[[Patch], None], tuple[int, ...]] = {
    whatever_was_read_is_taken: (73,),
    what_came_twice_is_kept_twice: (73,),
    nothing_is_looked_at_before_its_receipt: (43,),
    versions_do_not_matter: (27,),
}
BREAKS: tuple[Callable[[Patch], None], ...] = (
    whatever_was_read_is_taken,
    what_came_twice_is_kept_twice,
    nothing_is_looked_at_before_its_receipt,
    staging_is_published,
    versions_do_not_matter,
    the_fence_falls,
    a_board_is_valid_for_ever,
    a_429_stops_nobody,
    everybody_takes_everything,
    nobody_pays,
    controllers_are_not_told_apart,
    proofs_count_twice,
    messages_are_never_sent_again,
)


@pytest.mark.timeout(300)  # where a change of the code moved all seeds, the search is long
@pytest.mark.parametrize("broken", BREAKS, ids=lambda each: each.__name__)
def test_a_broken_promise_is_found_by_some_seed(
    monkeypatch: Patch, broken: Callable[[Patch], None]
) -> None:
    """The code is broken, the same misfortune comes, and some checker speaks."""
    broken(monkeypatch)
    seeds = [*FIRST_FOUND_BY.get(broken, ()), *range(SEEDS_MAX)]
    with pytest.raises((AssertionError, EbbError)) as found:
        deque(map(simulated, seeds), maxlen=0)
    assert "the last calls" in found.value.__notes__[0]


@pytest.fixture
def run() -> Run:
    """A finished run in which everything held; of its own for each test, since each harms it."""
    return judged(begun(SOUND_SEED, ranges=2))


def names(run: Run, folder: str) -> list[str]:
    return archives(run.world).names(SINK, folder)


def rewrite(run: Run, name: str, change: Callable[[bytes], bytes]) -> None:
    blobs = archives(run.world)
    blobs.put(SINK, name, change(blobs.bytes_of(SINK, name) or b""), missing=False)


def book(run: Run) -> Any:
    ledger = run.world.ports.ledger
    assert isinstance(ledger, MemoryLedger)
    return ledger._books["sim"]  # noqa: SLF001 - no door leads to what no code may do


def a_receipt_changes(run: Run) -> None:
    rewrite(run, names(run, "receipts/")[0], lambda data: data + b" ")


def a_receipt_vanishes(run: Run) -> None:
    archives(run.world).drop(SINK, names(run, "receipts/")[0])


def a_stranger_is_published(run: Run) -> None:
    archives(run.world).put(SINK, "data/stranger.parquet", b"", missing=True)


def a_manifest_differs(run: Run) -> None:
    rewrite(run, names(run, "manifests/")[0], lambda data: data[:-1])


def a_done_slice_changes(run: Run) -> None:
    slice_id, done = next(iter(book(run).done.items()))
    book(run).done[slice_id] = replace(done, failures=done.failures + 1)


def a_done_slice_opens_again(run: Run) -> None:
    slice_id, done = book(run).done.popitem()
    book(run).open[slice_id] = replace(done, state=SliceState.VALIDATING)


def a_fence_falls(run: Run) -> None:
    run.watch.fences[next(iter(book(run).done))] += 1


def a_total_is_off(run: Run) -> None:
    progress = run.world.ports.ledger.progress("sim")
    assert progress is not None
    moved = replace(progress, superseded=progress.superseded + 1)
    run.world.ports.ledger.commit("sim", Change(progress=moved))


def an_old_controller_writes(run: Run) -> None:
    board = run.world.boards.read()
    run.world.boards.write(replace(board, controller_token=board.controller_token - 1))


HARMS = (
    a_receipt_changes,
    a_receipt_vanishes,
    a_stranger_is_published,
    a_manifest_differs,
    a_done_slice_changes,
    a_done_slice_opens_again,
    a_fence_falls,
    a_total_is_off,
    an_old_controller_writes,
)


@pytest.mark.parametrize("harm", HARMS, ids=lambda each: each.__name__)
def test_whatever_may_only_be_added_to_is_watched(run: Run, harm: Callable[[Run], None]) -> None:
    """Between two steps something stored moves that must not."""
    run.watch.look()
    with pytest.raises(AssertionError):
        _harmed_and_seen(run, harm)


def _harmed_and_seen(run: Run, harm: Callable[[Run], None]) -> None:
    harm(run)
    run.watch.look()


def test_what_was_lost_changed_or_made_up_is_named(run: Run) -> None:
    """A document that is not there, one that differs, one that was never cold."""
    cold, changed = run.cold, run.around.changed
    check_end(run.world, cold, changed)
    kept = next(key for key in cold if key not in changed)
    with pytest.raises(AssertionError, match="was lost"):
        check_end(run.world, {**cold, "another": cold[kept]}, changed)
    with pytest.raises(AssertionError, match="differs from the source"):
        check_end(run.world, {**cold, kept: {**cold[kept], "body": 0}}, changed)
    with pytest.raises(AssertionError, match="that was not cold"):
        check_end(run.world, {key: cold[key] for key in cold if key != kept}, changed)


@pytest.mark.parametrize("edge", ["lo", "hi"])
def test_a_gap_or_an_overlap_of_windows_is_found(run: Run, edge: str) -> None:
    """Each range's receipts must meet, from the beginning of time to the end of the cold."""
    check_tiling(run.world)
    name = names(run, "receipts/")[-1]

    def moved(data: bytes) -> bytes:
        receipt = json.loads(data)
        receipt["window"][edge] += 1
        return json.dumps(receipt).encode()

    rewrite(run, name, moved)
    with pytest.raises(AssertionError, match="one window ends at"):
        check_tiling(run.world)


def test_ids_that_do_not_meet_within_a_second_are_found(run: Run) -> None:
    """The first part is open below, the last one above, and none reaches into another."""
    name = names(run, "receipts/")[0]
    for ids, words in (
        ({"lo": "a", "hi": None}, "ids after None go on at 'a'"),
        ({"lo": None, "hi": "a"}, "ids after 'a' go on at None"),
    ):
        rewrite(run, name, lambda data, ids=ids: _with_ids(data, ids))  # type: ignore[misc]
        with pytest.raises(AssertionError, match=words):
            check_tiling(run.world)


def _with_ids(data: bytes, ids: dict[str, str | None]) -> bytes:
    return json.dumps(json.loads(data) | {"ids": ids}).encode()


def test_more_metered_or_told_than_charged_is_found(run: Run) -> None:
    """Ebb cannot have spent what the source never charged."""
    check_spending(run.world)
    place = Place(source=SOURCE, range_id="r000")
    run.world.ports.metering.add("stranger", {(0, place): 1e6})
    with pytest.raises(AssertionError):
        check_spending(run.world)
