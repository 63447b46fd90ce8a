"""What a schedule does by itself, and what it leaves to people: begin, extend, count, end."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.application.controller import Completion
from shared.application.cycling import begin_cycles
from shared.application.planning import Planning, Plans
from shared.domain.slices import Migration, MigrationState
from shared.domain.spec import parse_spec
from shared.errors import Conflict, TransientError, WrongState
from shared.ports import Change
from shared.terminal.archives import _report_text
from tests.audit.archives import finish, turn
from tests.simulation.cycles import DAY_S, EVERY_S, OLDER_S, SPEC
from tests.simulation.world import START_S, World, make_world

COLD_S = START_S - OLDER_S


def scheduled(*, ranges: int = 1, spec: str = SPEC) -> World:
    """The first cycle is complete: three documents were cold, and three grow cold within a day."""
    world = make_world(1, ranges=ranges)
    for index in range(3):
        world.source.put(f"old-{index}", ts=COLD_S - DAY_S + index, body=index)
        world.source.put(f"young-{index}", ts=COLD_S + 3600 + index, body=index)
    world.calm.operating.apply(spec)
    world.calm.operating.start("sim")
    finish(world)
    return world


def until_due(world: World) -> None:
    world.clock.advance(max(0.0, due_s(world) - world.clock.now_s()))


def due_s(world: World) -> float:
    due = world.calm.operating.status("sim").next_cycle_s
    assert due is not None
    return due


def state(world: World) -> MigrationState:
    return world.ports.ledger.migration("sim").state


def test_a_completed_migration_waits_and_says_until_when() -> None:
    """Its watermark is its boundary; nothing is unhealthy, stalled or spent meanwhile."""
    world = scheduled()
    charged = world.source.ru_charged
    status = world.calm.operating.status("sim").as_dict()
    assert status["watermark_s"] == status["cold_until_s"] == COLD_S
    assert status["next_cycle_s"] == START_S + EVERY_S
    while world.clock.now_s() + 600 < due_s(world):
        world.clock.advance(600)
        world.calm.controller.tick()
        assert world.calm.operating.health()["healthy"]
    assert state(world) is MigrationState.COMPLETED
    assert world.calm.operating.status("sim").stalled_since_s is None
    assert world.source.ru_charged == charged
    assert world.ports.incidents.latest(limit=9) == ()


def test_the_next_cycle_begins_at_the_tick_when_it_is_due() -> None:
    """Its boundary is one interval on, the watermark stays until the new windows are proven."""
    world = scheduled()
    until_due(world)
    (entry,) = world.calm.controller.tick()
    migration = world.ports.ledger.migration("sim")
    assert (migration.state, migration.until_s) == (MigrationState.RUNNING, COLD_S + EVERY_S)
    assert migration.reason == entry.actions["sim.cycle"]
    assert migration.reason == "next cycle: what was last written before 2027-01-14 14:00:00 UTC"
    status = world.calm.operating.status("sim").as_dict()
    assert (status["watermark_s"], status["next_cycle_s"]) == (COLD_S, None)
    assert world.calm.operating.health()["healthy"]
    finish(world)
    assert world.calm.operating.status("sim").watermark_s == COLD_S + EVERY_S
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    assert progress.documents_proven == 6


def test_a_cycle_that_just_began_is_not_unhealthy() -> None:
    """The record moves before that tick has decided; without any tick after it, it is."""
    world = scheduled()
    until_due(world)
    begin_cycles(world.ports, world.ports.ledger.migrations(), {})
    assert state(world) is MigrationState.RUNNING
    assert world.calm.operating.health()["healthy"]
    world.clock.advance(90)
    assert not world.calm.operating.health()["healthy"]


def test_what_is_expected_is_counted_anew_in_each_cycle() -> None:
    """What vanished between count and copy in an earlier cycle is not waited for for ever."""
    world = scheduled(ranges=2)
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    phantom = replace(progress, documents_expected=progress.documents_expected + 50)
    world.ports.ledger.commit("sim", Change(progress=phantom))
    until_due(world)
    begun_s = world.clock.now_s()
    turn(world, deliveries=0)
    after = world.ports.ledger.progress("sim")
    assert after is not None
    assert after.surveyed
    assert after.documents_left == 3
    assert after.documents_expected == 6
    assert after.started_at_s == begun_s
    assert after.documents_before == progress.documents_proven
    assert after.ru_per_document == progress.ru_per_document
    turn(world, deliveries=0)
    forecast = world.ports.ledger.progress("sim")
    assert forecast is not None
    assert forecast.forecast_s is not None
    assert forecast.forecast_ru == after.ru_spent + 3 * after.ru_per_document


def test_a_later_cycle_asks_for_what_became_cold_since_only() -> None:
    """A daily cycle must not count the whole past again."""
    world = scheduled(ranges=2)
    until_due(world)
    asked: list[int] = []
    count, earliest = type(world.source).count, type(world.source).earliest_s

    def noted(ask: Any) -> Any:
        def noting(self: Any, query: Any) -> Any:
            asked.append(query.extent.window.lo_s)
            return ask(self, query)

        return noting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.source), "count", noted(count))
        patch.setattr(type(world.source), "earliest_s", noted(earliest))
        finish(world)
    assert asked
    assert min(asked) == COLD_S


def test_ranges_that_lag_are_brought_up_by_whoever_sees_it() -> None:
    """A crash between the record and the ranges, or between two of them, leaves no gap."""
    world = scheduled(ranges=3)
    until_due(world)
    (migration,) = begin_cycles(world.ports, world.ports.ledger.migrations(), {})
    ledger = world.ports.ledger
    one, *_ = ledger.ranges("sim")
    ledger.commit("sim", Change(ranges=(replace(one, until_s=migration.until_s, surveyed=False),)))
    finish(world)
    assert {plan.until_s for plan in ledger.ranges("sim")} == {COLD_S + EVERY_S}
    assert world.calm.verifying.run("sim").faults == []


def test_ranges_move_together_with_the_need_to_survey_them() -> None:
    """In one transaction, so that nothing can be planned or ended uncounted in between."""
    world = scheduled(ranges=2)
    until_due(world)
    (migration,) = begin_cycles(world.ports, world.ports.ledger.migrations(), {})
    changes: list[Change] = []
    ledger = world.ports.ledger
    commit = type(ledger).commit

    def kept(self: Any, name: str, change: Change) -> None:
        changes.append(change)
        commit(self, name, change)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(ledger), "commit", kept)
        planning = Planning(world.ports)
        extended = planning.extend_ranges(migration, ledger.ranges("sim"))
        assert planning.extend_ranges(migration, extended) == extended
    (change,) = changes
    assert change.progress is not None
    assert not change.progress.surveyed
    assert [plan.frontier_s for plan in extended] == [COLD_S, COLD_S]
    assert not any(plan.surveyed for plan in extended)


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_what_a_person_ended_the_schedule_leaves_alone(verb: str) -> None:
    """In the middle of a cycle, and however many days go by."""
    world = scheduled()
    until_due(world)
    world.calm.controller.tick()
    ended = world.calm.operating.change("sim", verb)
    for _ in range(3):
        world.clock.advance(DAY_S)
        world.calm.controller.tick()
    assert world.ports.ledger.migration("sim") == ended


def test_a_stop_between_cycles_ends_the_schedule_and_start_goes_on() -> None:
    """And people are not told of the same completion again."""
    world = scheduled()
    assert world.calm.operating.stop("sim").state is MigrationState.STOPPED
    world.clock.advance(3 * DAY_S)
    world.calm.controller.tick()
    assert state(world) is MigrationState.STOPPED
    assert world.calm.operating.status("sim").next_cycle_s is None
    world.calm.operating.start("sim")
    for _ in range(2):
        world.calm.controller.tick()
        finish(world)
    migration = world.ports.ledger.migration("sim")
    assert migration.until_s > COLD_S + 2 * DAY_S
    assert len([each for each in migration.notices if each.kind == "completed"]) == 1


def test_only_a_scheduled_migration_can_be_stopped_when_complete() -> None:
    """What has ended for good is not ended again."""
    world = scheduled(spec=SPEC.replace("schedule: {every: 6h}\n", ""))
    with pytest.raises(WrongState, match="cannot stop sim: it is completed"):
        world.calm.operating.stop("sim")
    world.clock.advance(30 * DAY_S)
    world.calm.controller.tick()
    assert state(world) is MigrationState.COMPLETED
    assert world.calm.operating.status("sim").next_cycle_s is None


def test_a_conflict_at_the_beginning_waits_for_the_next_tick() -> None:
    """A person was faster: what he wrote stands."""
    world = scheduled()
    until_due(world)
    known = world.ports.ledger.migrations()
    world.calm.operating.stop("sim")
    actions: dict[str, Any] = {}
    assert begin_cycles(world.ports, known, actions) == known
    assert "changed" in actions["sim.error"]
    assert state(world) is MigrationState.STOPPED


def test_who_comes_after_waits_for_the_first_cycle_only() -> None:
    """A migration that never ends would otherwise hold up its followers each day."""
    world = scheduled()
    second = SPEC.replace("name: sim", "name: second").replace(
        "{container: archive}", "{container: archive, prefix: second}"
    )
    world.calm.operating.apply(second + "after: [sim]\n")
    until_due(world)
    world.calm.controller.tick()
    assert state(world) is MigrationState.RUNNING
    world.calm.operating.start("second")
    assert "waiting" not in world.calm.operating.status("second").pace_reason
    world.calm.controller.tick()
    assert world.ports.ledger.progress("second") is not None


def plans_of(world: World, migration: Migration) -> Plans:
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    return Plans(
        migration=migration,
        spec=parse_spec(SPEC),
        progress=progress,
        ranges=world.ports.ledger.ranges("sim"),
        slices=(),
    )


def test_a_controller_that_slept_ends_no_later_cycle() -> None:
    """It saw everything proven up to an older boundary; the newer one is not its to complete."""
    world = scheduled()
    old = replace(world.ports.ledger.migration("sim"), state=MigrationState.RUNNING)
    stale = plans_of(world, old)
    until_due(world)
    turn(world, deliveries=0)
    before = (world.ports.ledger.migration("sim"), world.ports.ledger.progress("sim"))
    assert not Completion(world.ports, stale).run()
    assert (world.ports.ledger.migration("sim"), world.ports.ledger.progress("sim")) == before


def test_a_summary_counts_what_is_proven_when_it_is_written() -> None:
    """Totals that were read before the last slice ended would contradict the fingerprint."""
    world = scheduled()
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    world.ports.archives.open("archive", "").delete(f"cycles/{COLD_S}.json")
    running = replace(world.ports.ledger.migration("sim"), state=MigrationState.RUNNING)
    migration = world.ports.ledger.put_migration(running)
    early = replace(plans_of(world, migration), progress=replace(progress, slices_proven=0))
    assert Completion(world.ports, early).run()
    assert world.calm.verifying.run("sim").faults == []


@pytest.fixture
def updated() -> World:
    """Two cycles; a document of the first one was updated, and grew cold again in the second."""
    world = scheduled(spec=SPEC.replace("every: 6h", "every: 36h"))
    world.source.put("old-1", ts=int(world.clock.now_s()), body="newer")
    until_due(world)
    world.calm.controller.tick()
    finish(world)
    return world


def key_of(world: World, document_id: str) -> tuple[str]:
    return (world.source.documents[document_id]["pk"],)


def summaries(world: World) -> list[str]:
    return [each.name for each in world.ports.archives.open("archive", "").stored("cycles/")]


def test_an_updated_document_is_archived_again_and_its_newest_version_proven(
    updated: World,
) -> None:
    """The older one stays under its receipt, and can be proven by its slice."""
    key = key_of(updated, "old-1")
    proof = updated.calm.proving.run("sim", "old-1", key)
    assert json.loads(proof.document)["body"] == "newer"
    older = next(
        each.id for each in updated.ports.ledger.done_slices("sim") if each.id < f"{COLD_S}"
    )
    first = updated.calm.proving.run("sim", "old-1", key, slice_id=older)
    assert json.loads(first.document)["body"] == 1
    assert proof.summary == first.summary == summaries(updated)[-1]
    report = updated.calm.verifying.run("sim")
    assert (report.sound, report.complete, report.documents) == (True, True, 7)
    progress = updated.ports.ledger.progress("sim")
    assert progress is not None
    assert proof.fingerprint == report.fingerprint == progress.fingerprint


def test_what_lies_beyond_the_newest_cycle_is_proven_so_far(updated: World) -> None:
    """Its receipts are sound, and the fingerprint stays that of the newest cycle."""
    migration = updated.ports.ledger.migration("sim")
    before = updated.calm.verifying.run("sim")
    updated.source.put("late", ts=migration.until_s + 5, body="late")
    until_due(updated)
    updated.calm.controller.tick()
    finish(updated)
    updated.ports.archives.open("archive", "").delete(summaries(updated)[-1])
    report = updated.calm.verifying.run("sim")
    assert (report.sound, report.complete) == (True, False)
    assert report.watermark_s == migration.until_s
    assert report.fingerprint == before.fingerprint
    assert "complete up to" in _report_text(report)
    proof = updated.calm.proving.run("sim", "late", key_of(updated, "late"))
    assert not proof.complete
    assert proof.fingerprint != before.fingerprint
    assert (
        updated.calm.proving.run("sim", "old-0", key_of(updated, "old-0")).fingerprint
        == before.fingerprint
    )


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("key", "value"), [("documents", 99), ("fingerprint", "00"), ("until_s", 5), ("ranges", [])]
)
def test_a_false_summary_of_any_cycle_is_named(
    updated: World, which: int, key: str, value: object
) -> None:
    """Older cycles' claims are held against the receipts before their boundary."""
    name = summaries(updated)[which]
    archive = updated.ports.archives.open("archive", "")
    body = json.loads(archive.read(name) or b"")
    archive.delete(name)
    archive.put_if_absent(name, json.dumps(body | {key: value}).encode())
    faults = updated.calm.verifying.run("sim").faults
    assert any(fault.startswith(name) for fault in faults)


def test_trouble_at_the_beginning_of_a_cycle_stops_no_tick() -> None:
    """A busy ledger is asked again half a minute later."""
    world = scheduled()
    until_due(world)

    def busy(_migration: Migration) -> Migration:
        raise TransientError("busy")

    actions: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.ports.ledger), "put_migration", lambda _self, each: busy(each))
        begin_cycles(world.ports, world.ports.ledger.migrations(), actions)
    assert actions == {"sim.error": "beginning the next cycle: busy"}
    assert issubclass(Conflict, TransientError)
