"""What a later Ebb wrote: it is not read by halves, not written over, and nobody halts for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.records import packed, unpacked
from shared.application.dispatching import message_of, named_in
from shared.domain.board import Activity, Board, Seat
from shared.domain.retirement import Retirement
from shared.domain.slices import MigrationState, SliceState
from shared.domain.version import STATE_VERSION, check_version
from shared.errors import OtherVersion, PermanentError
from shared.ports import (
    COPY_QUEUE,
    NOTIFY_QUEUE,
    RECEIVE_QUEUE,
    RETIRE_QUEUE,
    VALIDATE_QUEUE,
    IncidentKind,
)
from shared.wiring import App, assemble
from tests.simulation.runs import SPEC
from tests.simulation.world import SETTLE_S, World, make_world

LATER = STATE_VERSION + 1
SAID = "another version is at work"


@pytest.fixture
def world() -> World:
    """A migration with slices that wait for a worker."""
    world = make_world(3)
    for index in range(20):
        world.source.put(f"doc-{index}", ts=1_700_000_000 + index, body=1)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    while not world.ports.ledger.open_slices("sim"):
        world.calm.controller.tick()
        world.clock.advance(30)
    return world


class Later:
    """A store whose rows a later Ebb wrote from the n-th call of a method on."""

    def __init__(self, store: Any, method: str, *, after: int = 0) -> None:
        self._store, self._method, self._after = store, method, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name != self._method:
            return real

        def read(*given: Any) -> Any:
            self._after -= 1
            if self._after < 0:
                check_version(LATER, thing="a row")
            return real(*given)

        return read


def later(world: World, store: str, method: str, *, after: int = 0) -> App:
    given = Later(getattr(world.ports, store), method, after=after)
    return assemble(replace(world.ports, **{store: given}), SETTLE_S)


def seat() -> Seat:
    return Seat(
        migration="m",
        source="db/c",
        range_id="r",
        slice_id="x",
        fence=1,
        activity=Activity.RETIRE,
        until_s=1.0,
    )


def test_a_field_that_this_ebb_does_not_know_is_refused_and_not_lost() -> None:
    """Read without a word, it would be gone at the next write."""
    row = packed(Retirement(migration="m", mode="delete"), thing="t")
    assert unpacked(Retirement, row, version="v", thing="t").mode == "delete"
    with pytest.raises(OtherVersion, match=f"{SAID}: it holds verified_until_s"):
        unpacked(Retirement, row | {"verified_until_s": 1.0}, version="v", thing="t")


def test_an_unknown_field_deep_in_a_row_is_refused_as_well() -> None:
    """Half of a record is JSON in one property, at any depth."""
    row = packed(Board(seats=(seat(),)), thing="t")
    told = json.loads(row["seats_json"])
    told[0]["lane"] = 3
    with pytest.raises(OtherVersion, match=r"seats\.lane|lane"):
        unpacked(Board, row | {"seats_json": json.dumps(told)}, version="v", thing="t")


def test_a_field_at_its_default_is_not_written() -> None:
    """So a field may be known one release before any Ebb writes it."""
    row = packed(Retirement(migration="m", mode="delete"), thing="t")
    assert set(row) == {"migration", "mode"}
    assert packed(Board(), thing="t").keys() <= {"grants_json", "alarms_json"}


def test_a_row_that_is_of_no_version_is_still_a_harmed_one() -> None:
    """A word that no Ebb of this version writes is no sign of a later one."""
    row = packed(Board(seats=(seat(),)), thing="t")
    harmed = row["seats_json"].replace('"retire"', '"scrub"')
    with pytest.raises(PermanentError, match="not one of Ebb's"):
        unpacked(Board, row | {"seats_json": harmed}, version="v", thing="t")


@pytest.mark.parametrize("found", [None, 0, 1, STATE_VERSION])
def test_versions_up_to_the_present_one_are_read(found: int | None) -> None:
    """Without one it was written by the release before versions."""
    check_version(found, thing="a row")


@pytest.mark.parametrize("found", [LATER, 99, "2", 1.5])
def test_a_later_or_odd_version_is_not_read(found: object) -> None:
    """The message names what was found, what is known, and what to do."""
    with pytest.raises(OtherVersion, match=rf"{SAID}.*knows {STATE_VERSION} at most.*deploy"):
        check_version(found, thing="a row")


@pytest.mark.parametrize("queue", [COPY_QUEUE, VALIDATE_QUEUE, RETIRE_QUEUE, RECEIVE_QUEUE])
def test_a_later_message_is_left_to_the_later_ebb(world: World, queue: str) -> None:
    """Neither poison nor worked on; what no tick sends again is put back."""
    (first, *_) = world.ports.ledger.open_slices("sim")
    body = json.loads(message_of("sim", first.id)) | {"v": LATER}
    text = json.dumps(body)
    while world.mail.take(queue):
        pass

    def work(message: str) -> str:
        named_in(message)
        raise AssertionError("it was worked on")

    said = world.calm.burying.guarded(queue, text.encode(), work)
    assert SAID in said
    assert world.mail.take(f"{queue}-poison") is None
    world.clock.advance(3_600)
    put_back = world.mail.take(queue)
    assert (put_back.text if put_back else None) == (text if queue == RECEIVE_QUEUE else None)
    assert world.ports.ledger.open_slices("sim")[0] == first


def test_a_later_letter_is_put_back_and_told_to_nobody(world: World) -> None:
    """Also when the host took it for poison."""
    body = json.dumps({"v": LATER, "recipients": ["ops"]}).encode()
    for handled in (world.calm.notifying.run, world.calm.notifying.bury):
        delivery = handled(body)
        assert delivery.told == []
        assert delivery.failed == {}
        assert SAID in delivery.waiting[0]
        world.clock.advance(3_600)
        letter = world.mail.take(NOTIFY_QUEUE)
        assert letter is not None
        assert letter.text.encode() == body
    assert world.ports.incidents.latest(limit=10) == ()


def test_messages_carry_the_version(world: World) -> None:
    """All but those of which the release before versions would make poison."""
    assert json.loads(message_of("sim", "s"))["v"] == STATE_VERSION
    assert named_in(message_of("sim", "s")) == ("sim", "s")
    assert named_in('{"migration": "sim", "slice": "s"}') == ("sim", "s")


@pytest.mark.parametrize(
    ("store", "method"), [("boards", "read"), ("ledger", "migrations"), ("memories", "recall")]
)
def test_a_tick_over_later_state_holds_and_says_so(world: World, store: str, method: str) -> None:
    """One incident an hour under its own word; nothing is halted, and no budget is published."""
    before = world.ports.ledger.migration("sim")
    app = later(world, store, method)
    for _ in range(3):
        with contextmanager(_maybe)():
            app.controller.tick()
    assert world.ports.ledger.migration("sim") == before
    kinds = {each.kind for each in world.ports.incidents.latest(limit=10)}
    assert kinds == {IncidentKind.VERSION}
    assert len(world.ports.incidents.latest(limit=10)) == 1


def _maybe() -> Iterator[None]:
    with pytest.raises(OtherVersion):
        yield


@pytest.mark.parametrize("after", range(12))
def test_a_worker_that_meets_a_later_board_gives_its_slice_back(world: World, after: int) -> None:
    """In mid-deployment, at whichever look: no failure is counted, nothing is quarantined."""
    (first, *_) = world.ports.ledger.open_slices("sim")
    app = later(world, "boards", "read", after=after)
    text = message_of("sim", first.id).encode()
    app.burying.guarded(COPY_QUEUE, text, app.copying.run)
    for each in world.ports.ledger.open_slices("sim"):
        assert each.failures == 0
        assert each.state is not SliceState.QUARANTINED
    assert world.ports.ledger.migration("sim").state is MigrationState.RUNNING
    assert world.mail.take(f"{COPY_QUEUE}-poison") is None
