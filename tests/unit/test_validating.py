"""Validation sees what is really there: whatever is harmed between copy and proof is found."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from shared.adapters.memory import MemoryArchives
from shared.domain.slices import Cause, MigrationState, SliceState
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE, Page, Query
from tests.simulation.checkers import check_always, check_end
from tests.simulation.test_any_misfortune import SPEC, calm_down
from tests.simulation.world import START_S, World, make_world

DAY_S = 86_400


@pytest.fixture
def world() -> World:
    """Twenty cold documents, copied and staged, not yet validated."""
    world = make_world(7)
    for index in range(20):
        ts = START_S - 90 * DAY_S - 20 + index  # to the end of the range: one slice holds them all
        world.source.put(f"doc-{index:02d}", ts=ts, body={"n": index})
    world.calm.operating.apply(SPEC.replace("budget_s: 2", "budget_s: 8"))
    world.calm.operating.start("sim")
    for _ in range(4):
        world.calm.controller.tick()
        while letter := world.mail.take(COPY_QUEUE):
            world.calm.copying.run(letter.text)
        world.clock.advance(30)
    assert [s.state for s in world.ports.ledger.open_slices("sim")] == [SliceState.COPIED]
    return world


def blobs(world: World) -> MemoryArchives:
    archives = world.ports.archives
    assert isinstance(archives, MemoryArchives)
    return archives


def staged_name(world: World, kind: str) -> str:
    (target,) = world.ports.ledger.open_slices("sim")
    return f"staging/{target.id}.{target.fence}.{kind}"


def rewrite(world: World, kind: str, change: Callable[[bytes], bytes]) -> None:
    name = staged_name(world, kind)
    data = blobs(world).bytes_of("archive", name)
    assert data is not None
    blobs(world).put("archive", name, change(data), missing=False)


def validate(world: World) -> str:
    letter = world.mail.take(VALIDATE_QUEUE)
    assert letter is not None
    return world.calm.validating.run(letter.text)


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("kind", ["parquet", "manifest"])
@pytest.mark.parametrize(
    "change", [flip, lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""]
)
def test_harmed_staging_is_refused_and_copied_again(
    world: World, kind: str, change: Callable[[bytes], bytes]
) -> None:
    """A flipped bit, a cut or an added byte, an empty blob: a new attempt, then proof."""
    rewrite(world, kind, change)
    outcome = validate(world)
    assert "failed (mismatch)" in outcome
    (target,) = world.ports.ledger.open_slices("sim")
    assert (target.state, target.cause) == (SliceState.FAILED, Cause.MISMATCH)
    assert blobs(world).names("archive", "receipts/") == []
    assert blobs(world).names("archive", "data/") == []
    cold = {k: dict(v) for k, v in world.source.documents.items()}
    calm_down(world)
    check_always(world)
    check_end(world, cold, set())
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    assert progress.attempts_failed == 1
    assert progress.mismatches >= 1


def test_a_vanished_staging_blob_is_a_mismatch_too(world: World) -> None:
    """Somebody deleted it: copied again."""
    blobs(world).drop("archive", staged_name(world, "parquet"))
    assert "is not there" in validate(world)


def test_persistent_corruption_halts_the_migration(world: World) -> None:
    """After the spec's attempts a person must look, and is told which slice and why."""
    for _ in range(12):
        rewrite(world, "parquet", flip)
        assert "mismatch" in validate(world)
        copy_again(world)
    migration = world.ports.ledger.migration("sim")
    assert migration.state is MigrationState.HALTED
    assert "failed 12 times" in migration.reason
    status = world.calm.operating.status("sim").as_dict()
    assert len(status["quarantined"]) == 1


def copy_again(world: World) -> None:
    """Until the failed slice is staged anew, or given up; messages sent twice are dropped."""
    for _ in range(60):
        world.clock.advance(30)
        world.calm.controller.tick()
        while letter := world.mail.take(COPY_QUEUE):
            world.calm.copying.run(letter.text)
        (target,) = world.ports.ledger.open_slices("sim")
        if target.state in {SliceState.COPIED, SliceState.QUARANTINED}:
            return
    pytest.fail("the slice was never copied again")


def test_a_receipt_is_written_once_and_decides(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash between receipt and promotion, whoever comes next publishes those bytes."""
    world.chaos.crash = 0.0
    letter = world.mail.take(VALIDATE_QUEUE)
    assert letter is not None
    original = blobs(world).copy
    monkeypatch.setattr(blobs(world), "copy", killed)
    with pytest.raises(KeyboardInterrupt):
        world.calm.validating.run(letter.text)
    monkeypatch.setattr(blobs(world), "copy", original)
    (receipt,) = blobs(world).names("archive", "receipts/")
    before = blobs(world).bytes_of("archive", receipt)
    check_always(world)
    cold = {k: dict(v) for k, v in world.source.documents.items()}
    calm_down(world)
    assert blobs(world).bytes_of("archive", receipt) == before
    check_end(world, cold, set())


def killed(*_: object) -> bool:
    raise KeyboardInterrupt


def test_a_document_updated_while_copied_is_left_out_and_named() -> None:
    """Superseded is no corruption: the receipt names it, and a later window has it."""
    world = make_world(11)
    for index in range(20):
        world.source.put(f"doc-{index:02d}", ts=START_S - 200 * DAY_S + index, body=index)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    page = world.source.documents_page
    moved: list[str] = []

    def moving(query: Query, start: int, limit: int) -> Page:
        found = page(query, start, limit)
        if found.continuation is None and world.ports.ledger.open_slices("sim") and not moved:
            moved.append("doc-00")
            world.source.put("doc-00", ts=int(world.clock.now_s()), body="new")
        return found

    world.source.hook = moving
    calm_down(world)
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    assert (progress.superseded, progress.documents_proven) == (1, 19)
    (name,) = [
        n
        for n in blobs(world).names("archive", "receipts/")
        if json.loads(blobs(world).bytes_of("archive", n) or b"")["superseded"]["count"]
    ]
    receipt = json.loads(blobs(world).bytes_of("archive", name) or b"")
    assert receipt["superseded"]["ids"] == ["doc-00"]


def test_verify_names_whatever_was_harmed_afterwards(world: World) -> None:
    """A flipped byte, a lost blob, a stranger, an edited receipt, a removed slice."""
    calm_down(world)
    assert world.calm.verifying.run("sim").faults == []
    (data_name,) = blobs(world).names("archive", "data/")
    (receipt_name,) = blobs(world).names("archive", "receipts/")[-1:]
    data = blobs(world).bytes_of("archive", data_name) or b""
    receipt = blobs(world).bytes_of("archive", receipt_name) or b""

    def faults() -> str:
        return "\n".join(world.calm.verifying.run("sim").faults)

    blobs(world).put("archive", data_name, flip(data), missing=False)
    assert "that were recorded; " in faults()
    blobs(world).drop("archive", data_name)
    assert data_name in faults()
    blobs(world).put("archive", data_name, data, missing=False)
    blobs(world).put("archive", "data/stranger.parquet", data, missing=False)
    assert "data/stranger.parquet: it stands there without a receipt" in faults()
    blobs(world).drop("archive", "data/stranger.parquet")
    edited = receipt.replace(b'"documents": 20', b'"documents": 19')
    blobs(world).put("archive", receipt_name, edited, missing=False)
    assert "migration.json: its fingerprint is " in faults()
    blobs(world).put("archive", receipt_name, b"{", missing=False)
    assert "cannot read receipt" in faults()
    blobs(world).drop("archive", receipt_name)
    assert "no slice covers" in faults()
    blobs(world).put("archive", receipt_name, receipt, missing=False)
    assert faults() == ""
