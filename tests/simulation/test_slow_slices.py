"""A slice on a range that gives little: cut smaller before the host kills its worker, and proven.

Without that it is killed at every attempt, at the price of a whole attempt on the hottest range.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.application.dispatching import work_message
from shared.application.janitor import YOUNG_S
from shared.application.pacer import WORK_S_MAX
from shared.domain.board import Grant
from shared.domain.coverage import coverage_faults
from shared.domain.receipt import receipt_name, staging_name
from shared.domain.slices import Extent, Progress, RangePlan, Slice, SliceState, Window
from shared.errors import Conflict
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE, Change
from tests.simulation.faults import FUNCTION_TIMEOUT_S, Crash
from tests.simulation.runs import DAY_S
from tests.simulation.world import START_S, World, make_world

SPEC = """
name: sim
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
capacity: {ru_per_s_per_partition: 5000, partitions: 1}
slice: {budget_s: 60, in_flight_max: 2}
"""
DOCUMENTS = 894  # 26,820 RU: what a minute of 450 RU/s buys
RU_PER_DOCUMENT = 30.0
COLD_S = START_S - 91 * DAY_S
ROUNDS_MAX = 200


def slow_world(*, range_ru_per_s: float, window: Window, dense: bool = False) -> World:
    """One slice that was planned in a good hour, on a range that has become hot since."""
    world = make_world(1)
    world.source.ru_per_read = RU_PER_DOCUMENT
    for number in range(DOCUMENTS):
        ts = window.hi_s - 1 if dense else window.hi_s - 1 - number * 60
        world.source.put(f"doc-{number:05d}", ts=ts, body=number)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    ledger, (only,) = world.ports.ledger, world.source.ranges()
    until_s = ledger.migration("sim").until_s
    plan = RangePlan(
        migration="sim", range=only, frontier_s=until_s, until_s=until_s, earliest_s=window.hi_s
    )
    progress = replace(
        Progress(migration="sim"),
        surveyed=True,
        ru_per_document=RU_PER_DOCUMENT,
        bytes_per_document=300_000.0,
    )
    ledger.commit("sim", Change(ranges=(plan,), progress=progress))
    tiles = [window] if window.lo_s == 0 else [Window(lo_s=0, hi_s=window.lo_s), window]
    tiles += [Window(lo_s=window.hi_s, hi_s=until_s)] if window.hi_s < until_s else []
    for tile in tiles:
        planned = DOCUMENTS if tile == window else 0
        extent = Extent(window=tile, range=only)
        new = Slice(migration="sim", extent=extent, documents_planned=planned)
        ledger.commit("sim", Change(slices=(new,)))
    grant = Grant(
        budget_ru_per_s=1_500.0,
        limit_ru_per_s=4_000.0,
        shares_ru_per_s={"sim": 1_350.0},
        in_flight={"sim": 2},
        range_ru_per_s={only.id: range_ru_per_s},
        reason="the range is hot, not paused",
    )
    now_s = world.clock.now_s()
    board = world.ports.boards.read()
    world.ports.boards.write(
        replace(board, grants={"db/c": grant}, decided_at_s=now_s, valid_until_s=now_s + 1e9)
    )
    return world


def worked_off(world: World) -> int:
    """Hand every open slice to a worker, time and again; returns how many were killed."""
    ledger, killed = world.ports.ledger, 0
    for _ in range(ROUNDS_MAX):
        waiting = ledger.open_slices("sim")
        if not waiting:
            return killed
        for each in waiting:
            copied = each.state in {SliceState.COPIED, SliceState.VALIDATING}
            work = world.app.validating.run if copied else world.app.copying.run
            queue = VALIDATE_QUEUE if copied else COPY_QUEUE
            try:
                with world.chaos.acting(queue):
                    work(work_message(each))
            except Crash:
                killed += 1
                world.chaos.dead = False
                world.restart(0)
            world.clock.advance(60.0)
    raise AssertionError(f"not done after {ROUNDS_MAX} rounds: {ledger.open_slices('sim')}")


@pytest.mark.parametrize("range_ru_per_s", [7.0, 20.0, 60.0])
def test_a_slice_on_a_hot_range_is_cut_smaller_and_gets_through(range_ru_per_s: float) -> None:
    """At 7 RU/s it takes over an hour whole, and the host kills whoever works for half of one."""
    window = Window(lo_s=0, hi_s=COLD_S)
    world = slow_world(range_ru_per_s=range_ru_per_s, window=window)
    charged = world.source.ru_charged
    assert worked_off(world) == 0
    done = list(world.ports.ledger.done_slices("sim"))
    assert sum(each.staged.documents for each in done if each.staged) == DOCUMENTS
    until_s = world.ports.ledger.migration("sim").until_s
    extents, ids = [each.extent for each in done], [world.source.ranges()[0].id]
    assert coverage_faults(extents, range_ids=ids, until_s=until_s) == ()
    spent = world.source.ru_charged - charged
    assert spent < 2.5 * DOCUMENTS * RU_PER_DOCUMENT  # a lost attempt, and then every one once
    total = world.ports.ledger.progress("sim")
    assert total is not None
    assert total.ru_spent == pytest.approx(spent, rel=0.05)


def test_one_second_that_cannot_be_cut_waits_and_kills_nobody() -> None:
    """It is tried again when its range may have cooled, and proven once it has."""
    window = Window(lo_s=COLD_S - 1, hi_s=COLD_S)
    world = slow_world(range_ru_per_s=7.0, window=window, dense=True)
    (target,) = [s for s in world.ports.ledger.open_slices("sim") if s.documents_planned]
    with world.chaos.acting("copy"):
        outcome = world.app.copying.run(work_message(target))
    assert "cannot be cut" in outcome
    after = world.ports.ledger.slice("sim", target.id)
    assert after is not None
    assert (after.state, after.failures) == (SliceState.PLANNED, 0)
    assert after.retry_at_s > world.clock.now_s()


def test_a_message_of_a_slice_that_was_cut_is_no_fault() -> None:
    """Messages come late and twice; one that names no slice at all is still refused."""
    world = slow_world(range_ru_per_s=7.0, window=Window(lo_s=0, hi_s=COLD_S))
    (target,) = [s for s in world.ports.ledger.open_slices("sim") if s.documents_planned]
    with world.chaos.acting("copy"):
        assert "is cut into" in world.app.copying.run(work_message(target))
    assert "cut into smaller ones" in world.calm.copying.run(work_message(target))


def test_what_a_slice_that_was_cut_left_in_staging_is_swept() -> None:
    """No ledger knows it any more; while a worker may still be writing, it stays."""
    world = slow_world(range_ru_per_s=7.0, window=Window(lo_s=0, hi_s=COLD_S))
    (target,) = [s for s in world.ports.ledger.open_slices("sim") if s.documents_planned]
    archive = world.ports.archives.open("archive", "")
    assert archive.put_if_absent(staging_name(target.id, 1, "parquet"), b"staged")
    with world.chaos.acting("copy"):
        assert "is cut into" in world.app.copying.run(work_message(target))
    assert world.calm.janitor.sweep().blobs == 0
    world.clock.advance(YOUNG_S)
    assert world.calm.janitor.sweep().blobs == 1


def test_a_slice_whose_receipt_stands_is_never_cut() -> None:
    """A receipt cannot go, and with those of its pieces the archive would be covered twice."""
    world = slow_world(range_ru_per_s=7.0, window=Window(lo_s=0, hi_s=COLD_S))
    (target,) = [s for s in world.ports.ledger.open_slices("sim") if s.documents_planned]
    archive = world.ports.archives.open("archive", "")
    assert archive.put_if_absent(receipt_name(target.id), b"promised")
    with world.chaos.acting("copy"):
        assert "wrote its receipt; it waits" in world.app.copying.run(work_message(target))
    after = world.ports.ledger.slice("sim", target.id)
    assert after is not None
    assert (after.state, after.failures) == (SliceState.PLANNED, 0)
    assert "wrote its receipt" in after.error


def test_a_lost_reply_to_giving_a_slow_slice_back_is_no_fault() -> None:
    """The slice waits already when its worker looks again."""
    window = Window(lo_s=COLD_S - 1, hi_s=COLD_S)
    world = slow_world(range_ru_per_s=7.0, window=window, dense=True)
    (target,) = [s for s in world.ports.ledger.open_slices("sim") if s.documents_planned]
    ledger: Any = world.ports.ledger
    commit = ledger.commit

    def unheard(name: str, change: Change) -> None:
        commit(name, change)
        if any(each.retry_at_s for each in change.slices):
            raise Conflict("the reply was lost, and the SDK asked again")

    with pytest.MonkeyPatch.context() as patch, world.chaos.acting("copy"):
        patch.setattr(ledger, "commit", unheard)
        assert "had moved on" in world.app.copying.run(work_message(target))


def test_the_simulation_kills_whoever_outlasts_the_host() -> None:
    """Otherwise no seed would ever find a worker that takes too long."""
    world = make_world(1)
    with world.chaos.acting("copy"):
        world.host_clock.wait(WORK_S_MAX)
        with pytest.raises(Crash):
            world.host_clock.wait(FUNCTION_TIMEOUT_S - WORK_S_MAX + 1.0)
    world.chaos.dead = False
