"""Letters: written with what they tell of, sent once, tried again, and kept when nobody hears."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.memory import MemoryWebhooks
from shared.application.notifying import SENDS_MAX, TOLD_KEPT, Delivery, note
from shared.application.settling import halt
from shared.domain.governor import TICK_S
from shared.domain.halts import Halt, Halting
from shared.domain.notices import Message, NoticeKind
from shared.domain.slices import Cause, MigrationState, SliceState
from shared.errors import PermanentError, TransientError
from shared.ports import NOTIFY_QUEUE, Change, IncidentKind
from tests.simulation.test_any_misfortune import SPEC, calm_down
from tests.simulation.world import SOURCE, START_S, World, make_world

NOTIFIED = SPEC + "notify: [ops, team]\n"
DAY_S = 86_400


@pytest.fixture
def world() -> World:
    """A migration with two targets, planned and under way."""
    world = make_world(3)
    receivers(world).told["team"] = []
    for index in range(30):
        world.source.put(f"doc-{index:02d}", ts=START_S - 100 * DAY_S - index, body=index)
    world.calm.operating.apply(NOTIFIED)
    world.calm.operating.start("sim")
    for _ in range(4):
        tick(world)
    return world


def receivers(world: World) -> MemoryWebhooks:
    found = world.ports.webhooks
    assert isinstance(found, MemoryWebhooks)
    return found


def tick(world: World) -> None:
    world.clock.advance(TICK_S)
    world.calm.controller.tick()


def halted(world: World) -> None:
    halt(world.ports, "sim", Halting(Halt.SLICE_MISMATCH, "1 changed: 'doc-07'"))


def deliver(world: World) -> list[Delivery]:
    """Everything that can be seen now."""
    found = []
    while letter := world.mail.take(NOTIFY_QUEUE):
        found.append(world.calm.notifying.run(letter.text.encode()))
    return found


def said(world: World, target: str) -> list[str]:
    return [f"{each.kind} {each.topic}" for each in receivers(world).told[target]]


def incidents(world: World) -> list[str]:
    latest = world.ports.incidents.latest(limit=100)
    return [each.text for each in latest if each.kind == IncidentKind.UNTOLD]


def status(world: World) -> dict[str, Any]:
    return world.calm.operating.status("sim").as_dict()


def test_a_halt_is_told_to_every_target_within_a_tick(world: World) -> None:
    """Once each, without the document that the reason names; the record says which halt it is."""
    halted(world)
    assert status(world)["halt"] == "slice_mismatch"
    assert "doc-07" in status(world)["reason"]
    tick(world)
    (delivery,) = deliver(world)
    assert delivery.told == ["ops", "team"]
    assert said(world, "ops") == said(world, "team") == ["halted slice_mismatch"]
    assert "doc-07" not in json.dumps(delivery.as_dict())
    assert delivery.as_dict()["facts"]["documents expected"] == 30
    for _ in range(3):
        tick(world)
    assert deliver(world) == []


def test_a_completion_is_told_when_it_is_recorded(world: World) -> None:
    """With the counts at the end; the tick after it tells, though nothing runs any more."""
    calm_down(world)
    tick(world)
    deliver(world)
    assert said(world, "ops") == ["completed completed"]
    assert receivers(world).told["ops"][0].facts["documents proven"] == 30
    assert world.ports.ledger.migration("sim").state is MigrationState.COMPLETED


def test_a_letter_that_comes_twice_is_told_once(world: World) -> None:
    """Queues deliver at least once; a target remembers what it heard."""
    halted(world)
    tick(world)
    letter = world.mail.take(NOTIFY_QUEUE)
    assert letter is not None
    for _ in range(3):
        assert world.calm.notifying.run(letter.text.encode()).told == ["ops", "team"]
    assert said(world, "ops") == said(world, "team") == ["halted slice_mismatch"]


def test_a_target_that_is_away_is_tried_again_and_only_that_one(world: World) -> None:
    """Later and later; the others are not told twice."""
    receivers(world).away.add("team")
    halted(world)
    tick(world)
    (first,) = deliver(world)
    assert (first.told, first.waiting, first.failed) == (["ops"], ["team"], {})
    (waiting,) = [each for each in world.mail.letters if each.queue == NOTIFY_QUEUE]
    assert waiting.visible_at_s == world.clock.now_s() + 30
    world.clock.advance(30)
    assert [each.waiting for each in deliver(world)] == [["team"]]
    assert deliver(world) == []
    receivers(world).away.clear()
    world.clock.advance(60)
    assert [each.told for each in deliver(world)] == [["team"]]
    assert [len(said(world, name)) for name in ("ops", "team")] == [1, 1]
    assert (incidents(world), status(world)["notifications_failed"]) == ([], {})


def test_what_nobody_hears_is_kept_as_an_incident_and_in_the_status(world: World) -> None:
    """After half an hour of tries; the next notice that arrives takes the flag away."""
    receivers(world).away |= {"ops", "team"}
    halted(world)
    tick(world)
    began_s, tried = world.clock.now_s(), 0
    while letters := [each for each in world.mail.letters if each.queue == NOTIFY_QUEUE]:
        world.clock.advance(max(0.0, letters[0].visible_at_s - world.clock.now_s()))
        (last,) = deliver(world)
        tried += 1
    assert tried == SENDS_MAX
    assert 1_800 <= world.clock.now_s() - began_s <= 3_600
    assert sorted(last.failed) == ["ops", "team"]
    assert len(incidents(world)) == 2
    assert "was not told: Ebb: sim has halted; telling " in incidents(world)[0]
    failed = status(world)["notifications_failed"]
    assert failed["ops"] == "telling ops: answered 503; will be tried again"
    receivers(world).away.clear()
    world.calm.operating.resume("sim")
    halted(world)
    tick(world)
    deliver(world)
    assert status(world)["notifications_failed"] == {}


def test_an_address_that_is_gone_is_given_up_at_once(world: World) -> None:
    """Trying again would not help; the others hear of it."""
    receivers(world).gone.add("ops")
    halted(world)
    tick(world)
    (delivery,) = deliver(world)
    assert delivery.failed == {"ops": "telling ops: answered 404; correct its address"}
    assert delivery.told == ["team"]
    assert list(status(world)["notifications_failed"]) == ["ops"]
    assert [each for each in world.mail.letters if each.queue == NOTIFY_QUEUE] == []


def test_a_notice_that_was_given_up_does_not_count_as_told(world: World) -> None:
    """When its letter comes once more and the receiver is back, it arrives."""
    receivers(world).gone.add("ops")
    halted(world)
    tick(world)
    letter = world.mail.take(NOTIFY_QUEUE)
    assert letter is not None
    assert list(world.calm.notifying.run(letter.text.encode()).failed) == ["ops"]
    receivers(world).gone.clear()
    assert world.calm.notifying.run(letter.text.encode()).failed == {}
    assert [len(said(world, name)) for name in ("ops", "team")] == [1, 1]


def test_a_target_whose_address_was_removed_is_given_up(world: World) -> None:
    """A setting may change while a migration runs; the message says what to add."""
    del receivers(world).told["team"]
    halted(world)
    tick(world)
    (delivery,) = deliver(world)
    assert "EBB_WEBHOOKS names no such target" in delivery.failed["team"]


def test_a_letter_that_failed_every_time_is_kept(world: World) -> None:
    """Its worker was killed each time, so what its targets know is not known either."""
    halted(world)
    tick(world)
    letter = world.mail.take(NOTIFY_QUEUE)
    assert letter is not None
    buried = world.calm.notifying.bury(letter.text.encode())
    assert sorted(buried.failed) == ["ops", "team"]
    assert len(incidents(world)) == 2
    assert sorted(status(world)["notifications_failed"]) == ["ops", "team"]


def test_who_was_told_before_the_letter_failed_stays_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another target's failure killed its worker each time."""
    halted(world)
    tick(world)
    letter = world.mail.take(NOTIFY_QUEUE)
    assert letter is not None
    sound = MemoryWebhooks.send

    def send(self: MemoryWebhooks, target: str, message: Message) -> None:
        if target == "team":
            raise RuntimeError(target)
        sound(self, target, message)

    monkeypatch.setattr(MemoryWebhooks, "send", send)
    with pytest.raises(RuntimeError, match="team"):
        world.calm.notifying.run(letter.text.encode())
    buried = world.calm.notifying.bury(letter.text.encode())
    assert (buried.told, list(buried.failed)) == (["ops"], ["team"])
    assert [each.split()[0] for each in incidents(world)] == ["team"]
    assert list(status(world)["notifications_failed"]) == ["team"]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'{"targets": 1}', b"\xff", b"\0" * 9])
def test_a_foreign_message_is_recorded_and_harms_nothing(world: World, body: bytes) -> None:
    """Whoever writes into the queue gets an incident, and no more of its text than shows it."""
    for work in (world.calm.notifying.run, world.calm.notifying.bury):
        delivery = work(body)
        assert "is not Ebb's" in delivery.failed[""]
        assert delivery.as_dict()["told"] == []
    kinds = {each.kind for each in world.ports.incidents.latest(limit=10)}
    assert kinds == {IncidentKind.POISON}


def test_a_queue_that_is_away_stops_no_tick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notice waits in the migration's record, and the decision says so."""

    def away(queue: str, text: str, *, delay_s: int = 0) -> None:
        raise TransientError("sending: answered 503")

    note(world.ports, world.ports.ledger.migration("sim"), NoticeKind.COSTLY, "")
    monkeypatch.setattr(world.mail, "send", away)
    world.clock.advance(TICK_S)
    (entry,) = world.calm.controller.tick()
    assert entry.actions["sim.notices"] == "1 wait: sending: answered 503"
    assert len(world.ports.ledger.migration("sim").untold) == 1
    monkeypatch.undo()
    tick(world)
    assert [each.told for each in deliver(world)] == [["ops", "team"]]


def test_a_migration_without_targets_still_writes_its_event(world: World) -> None:
    """The log's event is what an alert rule watches for."""
    migration = world.ports.ledger.migration("sim")
    spec = migration.spec_text.replace('["ops","team"]', "[]")
    world.ports.ledger.put_migration(replace(migration, spec_text=spec))
    halted(world)
    tick(world)
    (delivery,) = deliver(world)
    shown = delivery.as_dict()
    assert (shown["kind"], shown["topic"]) == ("halted", "slice_mismatch")
    assert shown["told"] == shown["waiting"] == []
    assert shown["failed"] == {}


def test_a_stall_is_told_once(world: World) -> None:
    """No worker ever comes: within five minutes, and not again."""
    for _ in range(30):
        tick(world)
    deliver(world)
    assert said(world, "ops") == ["stalled stalled"]


def test_quarantined_slices_are_told_when_they_change(world: World) -> None:
    """One notice for each set of them, though every tick sees it."""
    for number in range(2):
        each = next(
            s for s in world.ports.ledger.open_slices("sim") if s.state is SliceState.PLANNED
        )
        quarantined = each.claimed().failed(
            cause=Cause.DOCUMENT, error="doc-07", now_s=0.0, attempts_max=1
        )
        world.ports.ledger.commit("sim", Change(slices=(quarantined,)))
        for _ in range(3):
            tick(world)
        deliver(world)
        told = [each for each in receivers(world).told["ops"] if each.kind == "quarantined"]
        assert [each.facts["slices quarantined"] for each in told] == list(range(1, number + 2))


def test_too_many_minutes_over_the_ceiling_are_told_once_a_day(world: World) -> None:
    """Fifteen of a day's minutes are more than one in a hundred; fourteen are not."""
    now_s = int(world.clock.now_s()) // 60 * 60
    minutes = tuple(now_s - 60 * number for number in range(14, -1, -1))
    for overrun_s, expected in ((minutes[1:], 0), (minutes, 1), (minutes, 1)):
        known = world.ports.memories.recall(SOURCE)
        memory = replace(known.memory, overrun_s=overrun_s)
        world.ports.memories.keep(SOURCE, replace(known, memory=memory))
        tick(world)
        tick(world)
        deliver(world)
        assert said(world, "ops").count("overrun overrun") == expected


def test_a_cost_far_above_the_forecast_is_told_once(world: World) -> None:
    """Half as much again, and some cents; nothing is said below, nor without a forecast."""
    for foretold, spent_ru, expected in (
        (1_000_000.0, 1_500_000.0, 0),
        (0.0, 9_000_000.0, 0),
        (900.0, 100_900.0, 0),
        (900.0, 100_901.0, 1),
        (1_000_000.0, 1_500_001.0, 1),
    ):
        progress = world.ports.ledger.progress("sim")
        assert progress is not None
        assert progress.forecast_s is not None
        spent = replace(progress, forecast_ru=foretold, ru_spent=spent_ru)
        world.ports.ledger.commit("sim", Change(progress=spent))
        tick(world)
        tick(world)
        deliver(world)
        assert said(world, "ops").count("costly costly") == expected


def test_the_forecast_knows_its_request_units(world: World) -> None:
    """Documents expected times what one was measured to cost."""
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    assert progress.forecast_ru == pytest.approx(30 * progress.ru_per_document)


def test_a_target_remembers_as_many_ids_as_a_migration_keeps(world: World) -> None:
    """The newest ones: an old letter may then be told once more, and no record grows."""
    for number in range(TOLD_KEPT + 3):
        note(world.ports, world.ports.ledger.migration("sim"), NoticeKind.STALLED, f"{number}")
        tick(world)
        deliver(world)
    telling = world.ports.tellings.recall("sim", "ops")
    assert len(telling.told) == TOLD_KEPT
    assert telling.told[-1] == receivers(world).told["ops"][-1].id


def test_a_refusal_in_a_tick_halts_under_its_word(world: World) -> None:
    """Whatever the outside refuses is looked up as refused."""
    halt(world.ports, "sim", PermanentError("refused (403)"))
    assert status(world)["halt"] == "refused"
    world.calm.operating.resume("sim")
    assert status(world)["halt"] is None
