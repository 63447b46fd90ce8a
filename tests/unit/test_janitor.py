"""What the janitor deletes, and what it must leave: blobs by their slice, rows by their age."""

from __future__ import annotations

import pytest

from shared.application.janitor import (
    DECISIONS_KEPT_S,
    METERING_KEPT_S,
    POISON_NOTED_AGAIN_S,
    YOUNG_S,
)
from shared.domain.receipt import incoming_folder, staging_name
from shared.domain.slices import Slice
from shared.domain.spec import parse_spec
from shared.ports import Archive, Change, Place
from tests.simulation.runs import SPEC
from tests.simulation.world import SOURCE, START_S, World, make_world

OLD_S = YOUNG_S + 60.0


def sink(world: World) -> Archive:
    place = parse_spec(world.ports.ledger.migration("sim").spec_text).sink
    return world.ports.archives.open(place.container, place.prefix)


def left(world: World, name: str) -> bool:
    return sink(world).read(name) is not None


def put(world: World, *names: str) -> None:
    for name in names:
        assert sink(world).put_if_absent(name, b"staged")


@pytest.fixture
def working() -> tuple[World, Slice]:
    """A migration under way whose one open slice is at its second attempt."""
    world = make_world(3)
    world.source.put("doc", ts=START_S - 91 * 86_400, body=1)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    while not world.ports.ledger.open_slices("sim"):
        world.calm.controller.tick()
        world.clock.advance(30)
    for _ in range(2):
        (first, *_) = world.ports.ledger.open_slices("sim")
        world.ports.ledger.commit("sim", Change(slices=(first.claimed(),)))
    (second, *_) = world.ports.ledger.open_slices("sim")
    assert second.fence == 2
    return world, second


def test_what_a_proven_slice_left_in_staging_is_deleted(archived: World) -> None:
    """Of every attempt, and what a run of the factory delivered; the proven blobs stay."""
    done = next(iter(archived.ports.ledger.done_slices("sim")))
    names = [
        staging_name(done.id, done.fence, "parquet"),
        staging_name(done.id, 99, "manifest"),
        f"{incoming_folder(done.id, 1)}/data.parquet",
    ]
    put(archived, *names)
    assert done.staged is not None
    assert done.staged.blob is not None
    assert archived.calm.janitor.sweep().blobs == len(names)
    assert not any(left(archived, name) for name in names)
    assert left(archived, done.staged.blob.name)
    assert archived.calm.janitor.sweep().blobs == 0


def test_a_past_attempt_goes_once_no_worker_can_write_it_any_more(
    working: tuple[World, Slice],
) -> None:
    """Young it stays; old it goes; the present attempt and foreign names stay at any age."""
    world, target = working
    past = staging_name(target.id, target.fence - 1, "parquet")
    present = staging_name(target.id, target.fence, "parquet")
    foreign = "staging/of somebody else"
    unknown = staging_name("0-1-none", 1, "parquet")
    put(world, past, present, foreign, unknown)
    assert world.calm.janitor.sweep().blobs == 0
    world.clock.advance(OLD_S)
    assert world.calm.janitor.sweep().blobs == 1
    stays = {name: left(world, name) for name in (past, present, foreign, unknown)}
    assert stays == {past: False, present: True, foreign: True, unknown: True}


def test_old_decisions_and_old_metering_are_forgotten(working: tuple[World, Slice]) -> None:
    """Young ones stay; what is dropped is counted."""
    world, _ = working
    now_s = world.clock.now_s()
    world.ports.metering.add("w", {(int(now_s) // 60 * 60, Place(source=SOURCE, range_id="r")): 5})
    newest = world.ports.journal.entries(since_s=0.0, limit=1)[0]
    assert world.calm.janitor.sweep().decisions == 0
    world.clock.advance(METERING_KEPT_S + 120.0)
    assert world.calm.janitor.sweep().metering >= 1
    assert world.ports.metering.by_minute(SOURCE, since_s=0) == {}
    assert newest in world.ports.journal.entries(since_s=0.0, limit=10)
    world.clock.advance(DECISIONS_KEPT_S)
    assert world.calm.janitor.sweep().decisions >= 1
    assert world.ports.journal.entries(since_s=0.0, limit=10) == ()


def test_poison_that_nobody_can_read_is_recorded_once_a_day(archived: World) -> None:
    """A message that is not base64 reaches no function; the queue's count shows it."""
    archived.ports.mail.send("ebb-copy-poison", "unreadable")

    def noted() -> list[str]:
        latest = archived.ports.incidents.latest(limit=50)
        return [each.text for each in latest if "ebb-copy-poison" in each.text]

    assert archived.calm.janitor.sweep().poison == 1
    archived.calm.janitor.sweep()
    assert len(noted()) == 1
    archived.clock.advance(POISON_NOTED_AGAIN_S + 1.0)
    archived.calm.janitor.sweep()
    assert len(noted()) == 2


def test_empty_poison_queues_are_no_incident(archived: World) -> None:
    """A queue that was never made counts as empty."""
    assert archived.calm.janitor.sweep().poison == 0
    assert archived.ports.incidents.latest(limit=50) == ()
