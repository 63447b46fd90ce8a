"""Retiring and undoing under seeded kills, faults and owners: every read is right at every step."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from shared.application import retiring
from shared.domain import retirement as domain
from shared.domain.pointers import BEGUN_WAIT_S, Key
from shared.domain.retirement import Direction, RetirementState
from shared.domain.slices import MigrationState
from shared.ports import Written
from tests.simulation.people import archives
from tests.simulation.retirees import FROZEN_S, MODES, Retiree, archived, check_restored, simulated
from tests.simulation.runs import DAY_S, SPEC, TICK_S

SEAT_S = 50.0  # longer than a dead worker's seat
KILLS_MAX = 400


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(12))
def test_every_read_is_right_while_documents_leave_and_return(seed: int, mode: str) -> None:
    """Replay a failure by its seed and mode."""
    simulated(seed, mode)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five documents a batch, so that a few documents are several batches."""
    monkeypatch.setattr(retiring, "BATCH_DOCUMENTS", 5)
    monkeypatch.setattr(domain, "BATCH_DOCUMENTS", 5)


def killed_at_each_call(retiree: Retiree) -> int:
    """Worker after worker is killed one call later than the one before, until all is done."""
    chaos = retiree.world.chaos
    for at in range(KILLS_MAX):
        retiree.tick()
        state = retiree.world.ports.ledger.retirement("sim")
        if state is not None and state.state is RetirementState.DONE:
            return at
        if state is not None and not state.running:
            retiree.world.calm.retirements.resume("sim")
        chaos.kill_at = chaos.calls + at + 1
        retiree.deliver()
        chaos.kill_at = None
        retiree.owners.check()
        if at % 7 == 0:
            retiree.owners.act()
            retiree.owners.finish()
            retiree.owners.check()
        retiree.world.clock.advance(max(SEAT_S, TICK_S))
    raise AssertionError(f"{KILLS_MAX} kills and no end")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("small_batches")
def test_a_worker_killed_at_every_single_call_loses_nothing(mode: str) -> None:
    """Out and back; each call of a batch is the last one of some worker."""
    retiree = archived(3, mode, documents=14)
    retiree.world.calm.retirements.execute("sim", {})
    out = killed_at_each_call(retiree)
    retiree.world.calm.retirements.undo("sim")
    back = killed_at_each_call(retiree)
    check_restored(retiree)
    assert min(out, back) > 30
    assert retiree.kills > 60


def test_the_same_seed_brings_the_same_retirement() -> None:
    """A failure that cannot be replayed is worth little."""
    first, second = simulated(5, "delete"), simulated(5, "delete")
    assert first.world.chaos.happened == second.world.chaos.happened
    assert first.world.clock.now_s() == second.world.clock.now_s()


def test_no_changed_document_goes_and_each_is_archived_again() -> None:
    """1 % updated after they were archived, 0.1 % while they are removed: all of them stay."""
    retiree = archived(4, "delete", documents=1_000)
    owners, world = retiree.owners, retiree.world
    names = sorted(owners.truth)
    changed = retiree.rng.sample(names, 10)
    for name in changed:
        owners.write(name, {"n": -1})
    late = retiree.rng.choice([name for name in names if name not in changed])
    _just_before_removal_of(retiree, late)
    world.calm.retirements.execute("sim", {})
    retiree.finish()
    kept = set(changed) | {late}
    assert set(world.source.documents) == kept
    retirement = world.ports.ledger.retirement("sim")
    assert retirement is not None
    assert (retirement.documents_removed, retirement.spared_changed) == (989, 11)
    live = [k[1][1] for k, p in world.ports.pointers.standing.items() if p.answers]  # type: ignore[attr-defined]
    assert set(live) == set(names) - kept
    world.clock.advance(100 * DAY_S)
    again = SPEC.replace("name: sim", "name: sim-2").replace(
        "container: archive", "container: archive, prefix: again"
    )
    world.calm.operating.apply(again)
    world.calm.operating.start("sim-2")
    _completed(retiree, "sim-2")
    found = _archived_in(retiree, "again/data/")
    assert found == kept


def _just_before_removal_of(retiree: Retiree, late: str) -> None:
    """Its owner writes it between our look and our removal."""
    remove: Callable[..., Written] = retiree.world.source.remove

    def raced(key: Key, *, etag: str) -> Written:
        if key[1] == late:
            retiree.owners.write(late, {"n": -2})
            object.__delattr__(paged, "remove")
        return remove(key, etag=etag)

    paged: Any = retiree.world.ports.sources.open("db", "c")
    paged.remove = raced


def _completed(retiree: Retiree, name: str) -> None:
    world = retiree.world
    for _ in range(200):
        world.calm.controller.tick()
        for _ in range(20):
            for queue, work in (
                ("ebb-copy", world.calm.copying.run),
                ("ebb-validate", world.calm.validating.run),
            ):
                if letter := world.mail.take(queue):
                    work(letter.text)
        if world.ports.ledger.migration(name).state is MigrationState.COMPLETED:
            return
        world.clock.advance(30)
    raise AssertionError(world.ports.ledger.migration(name))


def _archived_in(retiree: Retiree, folder: str) -> set[str]:
    blobs = archives(retiree.world)
    names = blobs.names("archive", folder)
    return {
        name
        for blob in names
        for name in pq.read_table(
            io.BytesIO(blobs.bytes_of("archive", blob) or b""), columns=["id"]
        )
        .column("id")
        .to_pylist()
    }


def frozen_at(call: int) -> Retiree | None:
    """A worker sleeps at this call of its removal; all is removed, undone, and then it wakes."""
    retiree = archived(2, "delete", documents=4)
    world = retiree.world
    world.calm.retirements.execute("sim", {})
    world.clock.advance(BEGUN_WAIT_S)
    retiree.tick()

    slept: list[float] = []

    def others() -> None:
        slept.append(FROZEN_S)
        world.clock.advance(FROZEN_S)
        retiree.finish()
        world.calm.retirements.undo("sim")
        retiree.finish()
        check_restored(retiree)

    world.chaos.frozen = others
    world.chaos.freeze_at = world.chaos.calls + call
    retiree.deliver()
    return retiree if slept else None


def test_a_worker_frozen_at_every_single_call_wakes_to_no_harm() -> None:
    """It slept while others removed and a person undid: afterwards no pointer answers."""
    for call in range(1, KILLS_MAX, 2):  # every other count is an answer
        retiree = frozen_at(call)
        if retiree is None:
            break
        assert retiree.world.ports.ledger.retirement("sim").direction is Direction.RESTORE  # type: ignore[union-attr]
        retiree.finish()
        retiree.owners.check()
        check_restored(retiree)
    assert call > 20
