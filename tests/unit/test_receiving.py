"""What a run says it wrote: checked at the door, compared with the source, and answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.adapters.memory import MemoryCallbacks
from shared.domain.slices import Slice, SliceState
from shared.errors import Invalid, NotFound, PermanentError, Refused, WrongState
from shared.ports import RECEIVE_QUEUE
from tests.simulation.factory_floor import Floor
from tests.simulation.test_runs import begin, round_, under_way

CALLBACK = "https://factory/run/1"


@pytest.fixture
def floor() -> Floor:
    """A migration with a run under way that has not delivered."""
    found = begin(20)
    under_way(found)
    return found


def target(floor: Floor) -> Slice:
    slices = floor.world.ports.ledger.open_slices("sim")
    return next(s for s in slices if s.state is SliceState.COPYING)


def said(floor: Floor, **changes: Any) -> tuple[str, str]:
    """A slice, and what a run of it says."""
    each = target(floor)
    body = {
        "migration": "sim",
        "slice": each.id,
        "fence": each.fence,
        "attempt": 1,
        "path": f"incoming/{each.id}.{each.fence}/file.parquet",
        "rowsCopied": 5,
        "runId": "run-1",
        "callBackUri": CALLBACK,
    }
    return each.id, json.dumps(body | changes)


def test_a_delivery_is_taken_at_once_and_judged_later(floor: Floor) -> None:
    """202 within the minute that Data Factory waits; the work lies on a queue."""
    accepted = floor.world.calm.receiving.accept(*said(floor))
    assert accepted.rows == 5
    letter = floor.world.mail.take(RECEIVE_QUEUE)
    assert letter is not None
    assert json.loads(letter.text)["callback"] == CALLBACK


@pytest.mark.parametrize("fence", [0, 99])
def test_another_fence_is_refused(floor: Floor, fence: int) -> None:
    """A late run, or one that was never begun."""
    slice_id, text = said(floor, fence=fence, path=f"incoming/{target(floor).id}.{fence}/f")
    with pytest.raises(WrongState, match="its file is not used"):
        floor.world.calm.receiving.accept(slice_id, text)
    assert floor.world.mail.take(RECEIVE_QUEUE) is None


@pytest.mark.parametrize("path", ["", "data/x.parquet", "incoming/other.1/f", "../f"])
def test_a_file_outside_the_runs_own_folder_is_refused(floor: Floor, path: str) -> None:
    """Nobody gets Ebb to read, or to believe, another file."""
    with pytest.raises(WrongState, match="is not in the folder"):
        floor.world.calm.receiving.accept(*said(floor, path=path))
    inside = f"incoming/{target(floor).id}.{target(floor).fence}/deeper/f"
    with pytest.raises(WrongState, match="is not in the folder"):
        floor.world.calm.receiving.accept(*said(floor, path=inside))


def test_a_callback_elsewhere_is_refused(floor: Floor) -> None:
    """Ebb calls nobody but Data Factory."""
    with pytest.raises(Refused, match="EBB_CALLBACK_HOSTS"):
        floor.world.calm.receiving.accept(*said(floor, callBackUri="https://elsewhere/x"))


@pytest.mark.parametrize(
    "changes",
    [
        {"fence": "1"},
        {"fence": True},
        {"rowsCopied": None},
        {"migration": 5},
        {"slice": "another"},
        {"callBackUri": ["x"]},
    ],
)
def test_a_malformed_delivery_is_refused_with_its_faults(
    floor: Floor, changes: dict[str, Any]
) -> None:
    """Only Ebb's own pipeline calls this."""
    with pytest.raises(Invalid):
        floor.world.calm.receiving.accept(*said(floor, **changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"migration": "sim"}', "[" * 100_000])
def test_what_is_no_delivery_at_all_is_refused(floor: Floor, text: str) -> None:
    """Cut off, foreign, or hostile."""
    with pytest.raises(Invalid, match="ebb adf deploy"):
        floor.world.calm.receiving.accept("s", text)


def test_an_unknown_slice_or_migration_is_not_found(floor: Floor) -> None:
    """With the name that was asked for."""
    slice_id, text = said(floor, migration="other")
    with pytest.raises(NotFound):
        floor.world.calm.receiving.accept(slice_id, text)
    body = json.loads(said(floor)[1]) | {"slice": "none"}
    with pytest.raises(NotFound, match="none"):
        floor.world.calm.receiving.accept("none", json.dumps(body))


def test_a_delivery_that_was_overtaken_is_told_so(floor: Floor) -> None:
    """Between the door and the worker the slice may have gone on."""
    floor.world.calm.receiving.accept(*said(floor))
    letter = floor.world.mail.take(RECEIVE_QUEUE)
    assert letter is not None
    floor.world.calm.operating.pause("sim")
    floor.world.calm.receiving.run(letter.text)
    callbacks = floor.world.ports.callbacks
    assert isinstance(callbacks, MemoryCallbacks)
    assert callbacks.told[CALLBACK][:2] == (False, "Refused")


def test_a_file_that_is_not_there_names_every_document(floor: Floor) -> None:
    """All of them are missing, and the run is told."""
    floor.world.calm.receiving.accept(*said(floor))
    letter = floor.world.mail.take(RECEIVE_QUEUE)
    assert letter is not None
    outcome = floor.world.calm.receiving.run(letter.text)
    assert "file.parquet" in outcome
    assert " missing: 'doc-" in outcome
    assert target(floor).error == outcome


def test_no_room_at_the_board_only_delays_the_verdict(floor: Floor) -> None:
    """The delivery comes again, and is judged then."""
    floor.step()
    letter = floor.world.mail.take(RECEIVE_QUEUE)
    assert letter is not None
    board = floor.world.ports.boards.read()
    floor.world.ports.boards.write(board.decided({}, now_s=board.decided_at_s, controller_token=99))
    assert "waits" in floor.world.calm.receiving.run(letter.text)
    assert floor.world.mail.take(RECEIVE_QUEUE) is None
    floor.world.clock.advance(11)
    assert floor.world.mail.take(RECEIVE_QUEUE) is not None


def test_a_foreign_message_on_the_queue_is_permanent(floor: Floor) -> None:
    """It goes to poison, and nothing waits for it."""
    with pytest.raises(PermanentError):
        floor.world.calm.receiving.run('{"migration": "sim", "slice": "s"}')
    buried = floor.world.calm.burying.run(RECEIVE_QUEUE, said(floor)[1].encode())
    assert "ends by its own limit" in buried
    assert "attempt 1" in buried
    (incident,) = floor.world.ports.incidents.latest(limit=1)
    assert "callback" not in incident.text
    assert "http" not in incident.text
    assert target(floor).state is SliceState.COPYING
    round_(floor)
