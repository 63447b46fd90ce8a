"""A poison message: what is recorded of it, and that burying it again and again changes nothing."""

from __future__ import annotations

import pytest

from shared.domain.slices import Slice, SliceState
from shared.errors import TransientError
from shared.ports import COPY_QUEUE, RECEIVE_QUEUE, Change
from shared.wiring import App
from tests.simulation.runs import SPEC
from tests.simulation.world import START_S, World, make_world

MESSAGE = '{"migration": "sim", "slice": "%s"}'


@pytest.fixture
def abandoned() -> tuple[World, Slice]:
    """A slice in copying whose worker is gone."""
    world = make_world(3)
    world.source.put("doc", ts=START_S - 91 * 86_400, body=1)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    while not world.ports.ledger.open_slices("sim"):
        world.calm.controller.tick()
        world.clock.advance(30)
    (first, *_) = world.ports.ledger.open_slices("sim")
    world.ports.ledger.commit("sim", Change(slices=(first.claimed(),)))
    return world, first


def failures(world: World) -> int:
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    return progress.attempts_failed


def bury(app: App, target: Slice) -> str:
    return app.burying.run(COPY_QUEUE, (MESSAGE % target.id).encode())


def test_burying_a_message_a_hundred_times_counts_one_failure(
    abandoned: tuple[World, Slice],
) -> None:
    """On a poison queue it comes back every ten minutes for as long as its deletion fails."""
    world, target = abandoned
    for _ in range(100):
        bury(world.calm, target)
        world.clock.advance(600)
    assert failures(world) == 1
    settled = world.ports.ledger.slice("sim", target.id)
    assert settled is not None
    assert settled.state is SliceState.QUARANTINED


def test_burying_that_could_not_record_is_right_when_it_comes_back(
    abandoned: tuple[World, Slice], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slice is settled at the first try; three failures later the incident is there, too."""
    world, target = abandoned
    incidents = world.ports.incidents

    def away(_incident: object) -> None:
        raise TransientError("recording an incident: storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(incidents, "record", away)
        for _ in range(3):
            with pytest.raises(TransientError):
                bury(world.calm, target)
            world.clock.advance(600)
            assert failures(world) == 1
    bury(world.calm, target)
    assert failures(world) == 1
    assert target.id in incidents.latest(limit=1)[0].text


def test_a_slice_goes_on_though_its_poison_message_is_never_buried(
    abandoned: tuple[World, Slice],
) -> None:
    """Burying is not what a migration waits for: the tick sends the slice again."""
    world, target = abandoned
    world.clock.advance(60)
    world.calm.controller.tick()
    letter = world.ports.mail.take(COPY_QUEUE)  # type: ignore[attr-defined]  # of the twin
    assert letter is not None
    assert target.id in letter.text


@pytest.mark.parametrize(
    ("queue", "text", "shown"),
    [
        (RECEIVE_QUEUE, '{"callback": "https://adf/?token=secret"', "of 40 characters"),
        (
            RECEIVE_QUEUE,
            '{"migration": "sim", "slice": "s1", "fence": 7, "callback": "https://x?token=secret"}',
            "for slice 's1' of 'sim', attempt 7",
        ),
        (COPY_QUEUE, "not for Ebb", "'not for Ebb'"),
    ],
)
def test_a_poison_message_is_named_without_a_runs_callback(
    abandoned: tuple[World, Slice], queue: str, text: str, shown: str
) -> None:
    """Data Factory's callBackUri is a secret; it goes into no table, log or health report."""
    world, _ = abandoned
    outcome = world.calm.burying.run(queue, text.encode())
    assert f"message {shown} of {queue}" in outcome
    assert "secret" not in outcome
