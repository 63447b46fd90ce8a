"""Temporary storage as small as a Flex instance's: slices wait for room, or are cut to fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from shared.adapters.memory import MemoryScratch
from shared.adapters.scratch import SCRATCH_BYTES_MAX, TempScratch
from shared.application.dispatching import work_message
from shared.domain.slices import MigrationState, Slice, SliceState
from shared.errors import Invalid, ScratchFull
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE
from tests.simulation.checkers import check_always, check_end
from tests.simulation.runs import DAY_S, SPEC
from tests.simulation.world import START_S, World, make_world

DOCUMENTS = 60
BODY = "x" * 1_000


@pytest.fixture
def world() -> World:
    world = make_world(5)
    for index in range(DOCUMENTS):
        world.source.put(f"doc-{index:03d}", ts=START_S - (100 + index) * DAY_S, body=BODY)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    return world


def disk_of(world: World) -> MemoryScratch:
    scratch = world.ports.scratch
    assert isinstance(scratch, MemoryScratch)
    return scratch


def deliver(world: World) -> Iterator[str]:
    for queue, run in (
        (COPY_QUEUE, world.calm.copying.run),
        (VALIDATE_QUEUE, world.calm.validating.run),
    ):
        for _ in range(20):
            letter = world.mail.take(queue)
            if letter is None:
                break
            yield run(letter.text)
            world.mail.done(letter)


def finished(world: World, rounds: int = 400) -> list[str]:
    outcomes: list[str] = []
    for _ in range(rounds):
        world.calm.controller.tick()
        outcomes += deliver(world)
        if world.ports.ledger.migration("sim").state is MigrationState.COMPLETED:
            return outcomes
        world.clock.advance(30)
    pytest.fail(f"no end in sight: {world.calm.operating.status('sim').as_dict()}")


def first_slice(world: World) -> Slice:
    for _ in range(20):
        if slices := world.ports.ledger.open_slices("sim"):
            return slices[0]
        world.calm.controller.tick()
        world.clock.advance(30)
    raise AssertionError("nothing was planned")


def test_a_slice_that_fills_the_disk_is_cut_until_it_fits(world: World) -> None:
    """It is no failed attempt, nothing is quarantined, and everything is archived and proven."""
    expected = {key: dict(each) for key, each in world.source.documents.items()}
    disk_of(world).bytes_max = 12_000
    outcomes = finished(world)
    assert any("is cut into" in each for each in outcomes)
    check_always(world)
    check_end(world, expected, set())
    assert disk_of(world).used_bytes == 0


def test_a_slice_waits_while_others_need_the_disk(world: World) -> None:
    """It is given back with the reason, counts as no failure, and is copied once there is room."""
    waiting = first_slice(world)
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    assert progress.bytes_per_document > 0
    with disk_of(world).reserved(SCRATCH_BYTES_MAX):
        outcome = world.calm.copying.run(work_message(waiting))
    assert "temporary storage has 0 bytes left" in outcome
    left = world.ports.ledger.slice("sim", waiting.id)
    assert left is not None
    assert (left.state, left.failures) == (SliceState.PLANNED, 0)
    finished(world)


def test_a_spec_whose_slices_cannot_fit_is_refused(world: World) -> None:
    """A slice and the blob of its earlier attempt are on the disk together."""
    spec = SPEC.replace("name: sim", "name: large").replace("slice: {", "slice: {bytes_max: 1GiB, ")
    with pytest.raises(Invalid, match=r"slice.bytes_max.*at most 381MiB"):
        world.calm.operating.apply(spec)


def test_a_full_disk_is_named_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own refusal becomes Ebb's, with what to do, also when it comes at the end."""

    def full(**_where: object) -> BinaryIO:
        return Path("/dev/full").open("w+b")

    monkeypatch.setattr("shared.adapters.scratch.tempfile.TemporaryFile", full)
    with (
        pytest.raises(ScratchFull, match=r"disk is full.*slice.bytes_max") as met,
        TempScratch(tmp_path).open() as file,
    ):
        file.write(b"x" * 10)
    assert isinstance(met.value.__cause__, OSError)


def test_what_workers_reserve_is_never_more_than_the_instance_has(tmp_path: Path) -> None:
    """Two of 0.5 GB do not fit into 0.8 GB; when the first has left, the second does."""
    for scratch in (TempScratch(tmp_path, bytes_max=1_000), MemoryScratch(1_000)):
        with scratch.reserved(500):
            with pytest.raises(ScratchFull), scratch.reserved(501):
                pass
            with scratch.reserved(500):
                pass
        with scratch.reserved(1_000):
            pass


def test_the_memory_disk_counts_what_its_files_hold() -> None:
    """What is written over, cut off or closed takes no more room."""
    disk = MemoryScratch(100)
    with disk.open() as one, disk.open() as other:
        one.write(b"x" * 60)
        one.seek(0)
        one.write(b"y" * 60)
        with pytest.raises(ScratchFull):
            other.write(b"z" * 41)
        one.seek(0)
        one.truncate()
        other.write(b"z" * 100)
    assert disk.used_bytes == 0
