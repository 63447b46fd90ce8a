"""What a person may ask of a migration, and what is refused with nothing changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.board import BOARD_VALID_S, Grant
from shared.domain.forecast import USED_SHARE
from shared.domain.pulse import STALLED_AFTER_S, Pulse
from shared.domain.slices import MigrationState
from shared.domain.spec import NO_STUB
from shared.errors import Invalid, NotFound, Refused, WrongState
from shared.ports import Change, Remembered
from tests.simulation.test_any_misfortune import SPEC
from tests.simulation.world import START_S, World, make_world


@pytest.fixture
def world() -> World:
    return make_world(1)


def test_a_spec_is_registered_and_started_once(world: World) -> None:
    """A second start is refused and says what state it is in."""
    operating = world.calm.operating
    assert operating.apply(SPEC).state is MigrationState.REGISTERED
    assert operating.start("sim").state is MigrationState.RUNNING
    with pytest.raises(WrongState, match="cannot start sim: it is running"):
        operating.start("sim")


def test_what_is_not_running_cannot_be_stopped_or_paused(world: World) -> None:
    """Stop and pause need something to stop."""
    operating = world.calm.operating
    operating.apply(SPEC)
    for verb in ("stop", "pause", "resume"):
        with pytest.raises(WrongState, match=f"cannot {verb} sim: it is registered"):
            operating.change("sim", verb)


def test_pause_resume_stop_and_start_follow_each_other(world: World) -> None:
    """Every move is remembered with its reason."""
    operating = world.calm.operating
    operating.apply(SPEC)
    for verb, state in (
        ("start", MigrationState.RUNNING),
        ("pause", MigrationState.PAUSED),
        ("resume", MigrationState.RUNNING),
        ("stop", MigrationState.STOPPED),
        ("start", MigrationState.RUNNING),
    ):
        assert operating.change("sim", verb).state is state
    assert "by hand" in world.ports.ledger.migration("sim").reason


STUBS = SPEC + "retire: stub\n"
OTHER = SPEC.replace("name: sim", "name: other").replace(
    "{container: archive}", "{container: archive, prefix: other}"
)
DAILY = OTHER + "schedule: {every: 24h}\n"
BLIND = OTHER.replace("older_than: 90d", f"older_than: 90d, where: '{NO_STUB}'")


def test_stubs_are_no_documents_to_any_other_migration(world: World) -> None:
    """Of the same container; to pass them by, it leaves stubs itself or says so in its where."""
    operating = world.calm.operating
    operating.apply(STUBS)
    with pytest.raises(Invalid, match="migration sim leaves stubs in this container") as caught:
        operating.apply(OTHER)
    assert NO_STUB in str(caught.value)
    assert operating.apply(BLIND).name == "other"
    assert operating.apply(OTHER + "retire: stub\n").name == "other"
    elsewhere = OTHER.replace("database: db", "database: another")
    assert operating.apply(elsewhere).name == "other"


def test_no_stubs_are_left_for_a_schedule_to_archive(world: World) -> None:
    """What goes on by itself would come to them in time; one that is stopped must not start."""
    operating = world.calm.operating
    operating.apply(DAILY)
    operating.start("other")
    with pytest.raises(Invalid, match="other goes on by its schedule"):
        operating.apply(STUBS)
    operating.stop("other")
    operating.apply(STUBS)
    with pytest.raises(Invalid, match="migration sim leaves stubs"):
        operating.start("other")
    assert world.ports.ledger.migration("other").state is MigrationState.STOPPED


def test_a_range_that_is_fixed_never_comes_to_stubs(world: World) -> None:
    """A migration without a schedule ends where it began; stubs are younger than that."""
    operating = world.calm.operating
    operating.apply(OTHER)
    operating.start("other")
    assert operating.apply(STUBS).name == "sim"


def test_the_cold_boundary_is_fixed_at_the_first_start(world: World) -> None:
    """Starting again after a stop goes on over the same range."""
    operating = world.calm.operating
    operating.apply(SPEC)
    first = operating.start("sim").until_s
    operating.stop("sim")
    world.clock.advance(86_400 * 10)
    assert operating.start("sim").until_s == first


def test_an_unknown_verb_or_name_is_not_found(world: World) -> None:
    """The answer names what there is."""
    with pytest.raises(NotFound, match="start, pause, resume, stop"):
        world.calm.operating.change("sim", "explode")
    with pytest.raises(NotFound):
        world.calm.operating.start("nobody")


@pytest.mark.parametrize("retire", ["delete", "stub"])
@pytest.mark.parametrize("young", ["older_than: 0s", "older_than: 23h"])
def test_removing_what_was_written_today_must_be_meant(
    world: World, retire: str, young: str
) -> None:
    """Whoever holds the key for applying could otherwise take live data away by one spec."""
    text = SPEC.replace("older_than: 90d", young) + f"retire: {retire}\n"
    with pytest.raises(Invalid, match="retire_young: true where this is meant"):
        world.calm.operating.apply(text)
    assert world.calm.operating.apply(text + "retire_young: true\n").name == "sim"


@pytest.mark.parametrize("age", ["older_than: 0s", "older_than: 1d"])
def test_archiving_today_or_retiring_tomorrow_is_nobodys_harm(world: World, age: str) -> None:
    """The word is asked for only where both come together."""
    retire = "keep" if age == "older_than: 0s" else "delete"
    text = SPEC.replace("older_than: 90d", age) + f"retire: {retire}\n"
    assert world.calm.operating.apply(text).name == "sim"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (("account: acct", "account: other"), "$.source.account"),
        (("partition_key: /pk", "partition_key: /other"), "$.source.partition_key"),
        (("older_than: 90d", "before: 2099-01-01T00:00:00Z"), "$.cold.before"),
        (("slice:", "notify: [https://example.org]\nslice:"), "$.notify"),
    ],
)
def test_a_spec_that_cannot_run_is_refused_and_changes_nothing(
    world: World, change: tuple[str, str], path: str
) -> None:
    """Wrong account, key, boundary, or a capability this version does not have."""
    text = SPEC.replace(*change)
    assert text != SPEC
    with pytest.raises(Invalid) as caught:
        world.calm.operating.apply(text)
    assert [fault.path for fault in caught.value.faults] == [path]
    assert world.ports.ledger.migrations() == ()


def test_a_missing_container_is_named(world: World) -> None:
    """The source's own answer comes through, and nothing is registered."""
    world.source.missing = True
    with pytest.raises(NotFound, match="db/c"):
        world.calm.operating.apply(SPEC)
    assert world.ports.ledger.migrations() == ()


def test_a_sink_with_another_migrations_receipts_is_refused(world: World) -> None:
    """Two migrations never share a prefix: one could pass for the other's proof."""
    operating = world.calm.operating
    operating.apply(SPEC)
    operating.start("sim")
    operating.apply(SPEC.replace("name: sim", "name: other"))
    with pytest.raises(Refused, match="belongs to migration 'sim'"):
        operating.start("other")
    archive = world.ports.archives.open("archive", "elsewhere")
    archive.put_if_absent("receipts/x.json", b"{}")
    third = SPEC.replace("name: sim", "name: third").replace(
        "{container: archive}", "{container: archive, prefix: elsewhere}"
    )
    operating.apply(third)
    with pytest.raises(Refused, match="receipts without an owner"):
        operating.start("third")
    assert world.ports.ledger.migration("third").state is MigrationState.REGISTERED


def test_a_started_migrations_spec_cannot_change(world: World) -> None:
    """Its slices follow the spec it started with; applying the same again is harmless."""
    operating = world.calm.operating
    operating.apply(SPEC)
    operating.apply(SPEC.replace("budget_s: 2", "budget_s: 3"))
    operating.start("sim")
    with pytest.raises(WrongState, match="give the changed spec a new name"):
        operating.apply(SPEC)
    assert operating.apply(SPEC.replace("budget_s: 2", "budget_s: 3")).name == "sim"


def test_a_migration_waits_for_those_it_comes_after(world: World) -> None:
    """after: holds it back until they are complete."""
    world.source.put("doc-1", ts=START_S - 200 * 86_400, body=1)
    operating = world.calm.operating
    operating.apply(SPEC)
    second = SPEC.replace("name: sim", "name: second").replace(
        "{container: archive}", "{container: archive, prefix: second}"
    )
    operating.apply(second + "after: [sim]\npriority: 10\n")
    operating.start("second")
    world.calm.controller.tick()
    assert world.ports.ledger.progress("second") is None
    operating.start("sim")
    world.calm.controller.tick()
    assert world.ports.ledger.progress("sim") is not None
    assert world.ports.ledger.progress("second") is None


def waiting(name: str, *after: str) -> str:
    spec = SPEC.replace("name: sim", f"name: {name}")
    spec = spec.replace("{container: archive}", f"{{container: archive, prefix: {name}}}")
    return spec + f"after: [{', '.join(after)}]\n"


def test_migrations_in_a_circle_are_not_started(world: World) -> None:
    """Each would wait for the other for ever; several ways to one are no circle."""
    operating = world.calm.operating
    for name, after in (("one", "two"), ("two", "six"), ("six", "one")):
        operating.apply(waiting(name, after))
    for name, circle in (
        ("one", "one, after two, after six, after one"),
        ("six", "six, after one"),
    ):
        with pytest.raises(Invalid, match=f"circle that never begins: {circle}"):
            operating.start(name)
    operating.apply(waiting("six"))
    operating.apply(waiting("one", "two", "six"))
    assert operating.start("one").state is MigrationState.RUNNING


def test_what_has_completed_closes_no_circle(world: World) -> None:
    """Nobody waits for it any more."""
    operating, ledger = world.calm.operating, world.ports.ledger
    operating.apply(waiting("one"))
    operating.apply(waiting("two", "one"))
    operating.apply(waiting("one", "two"))
    done = ledger.put_migration(replace(ledger.migration("one"), completed_until_s=9))
    assert done.has_completed
    assert operating.start("two").state is MigrationState.RUNNING


def test_what_runs_of_a_factory_have_left_is_told_by_their_own_pace(world: World) -> None:
    """Not by a share, of which they use a part; of a schedule, by this cycle's documents alone."""
    operating, ledger = world.calm.operating, world.ports.ledger
    world.source.put("doc", ts=START_S - 200 * 86_400, body=1)
    operating.apply(SPEC)
    operating.start("sim")
    world.calm.controller.tick()
    progress = ledger.progress("sim")
    assert progress is not None
    begun_s = world.clock.now_s() - 100.0
    done = replace(
        progress,
        documents_expected=130,
        documents_before=90,
        documents_proven=100,
        ru_per_document=5.0,
        started_at_s=begun_s,
    )
    ledger.commit("sim", Change(progress=done))
    embedded = operating.status("sim")
    assert embedded.eta_s == pytest.approx(150 / (embedded.share_ru_per_s * USED_SHARE))
    by_factory = replace(ledger.migration("sim"), spec_text=SPEC + "engine: adf\n")
    ledger.put_migration(by_factory)
    assert operating.status("sim").eta_s == pytest.approx(300.0)
    progress = ledger.progress("sim")
    assert progress is not None
    ledger.commit("sim", Change(progress=replace(progress, documents_before=100)))
    assert operating.status("sim").eta_s is None


def test_health_says_when_nobody_decides(world: World) -> None:
    """A running migration without a fresh decision is not healthy."""
    operating = world.calm.operating
    assert operating.health()["healthy"]
    operating.apply(SPEC)
    operating.start("sim")
    assert not operating.health()["healthy"]
    world.calm.controller.tick()
    assert operating.health()["healthy"]
    world.clock.advance(100)
    assert not operating.health()["healthy"]


def test_a_retirement_needs_decisions_as_well(world: World) -> None:
    """Its migration is completed, and nothing of it goes on while nobody decides."""
    operating, ledger = world.calm.operating, world.ports.ledger
    operating.apply(SPEC)
    completed = replace(ledger.migration("sim"), state=MigrationState.COMPLETED)
    ledger.put_migration(completed)
    assert operating.health()["healthy"]
    ledger.put_migration(replace(ledger.migration("sim"), retiring=True))
    assert operating.health()["running"] == ["sim"]
    assert not operating.health()["healthy"]


def test_health_tells_every_sources_reason(world: World) -> None:
    """The sum of the budgets, and for each source why it is what it is."""
    operating = world.calm.operating
    assert operating.health()["reason"] == "no migration is running"
    grants = {
        "db/c": Grant(budget_ru_per_s=100.04, reason="spending"),
        "db/a": Grant(reason="holding"),
    }
    now_s = world.clock.now_s()
    board = world.ports.boards.read().decided(grants, now_s=now_s, controller_token=1)
    world.ports.boards.write(board)
    found = operating.health()
    assert found["reason"] == "db/a: holding; db/c: spending"
    assert found["budget_ru_per_s"] == 100.0


def test_a_status_shows_its_own_sources_budget_only(world: World) -> None:
    """What another container may be asked for is not this migration's pace."""
    operating = world.calm.operating
    operating.apply(SPEC)
    operating.start("sim")
    grants = {
        "db/a": Grant(budget_ru_per_s=900.0, shares_ru_per_s={"other": 900.0}, reason="elsewhere"),
        "db/c": Grant(budget_ru_per_s=100.0, shares_ru_per_s={"sim": 90.0}, reason="here"),
    }
    now_s = world.clock.now_s()
    board = world.ports.boards.read().decided(grants, now_s=now_s, controller_token=1)
    world.ports.boards.write(board)
    found = operating.status("sim").as_dict()
    assert found["pace"] == "here"
    assert (found["ru"]["budget_per_s"], found["ru"]["share_per_s"]) == (100.0, 90.0)
    world.clock.advance(BOARD_VALID_S)
    late = operating.status("sim").as_dict()
    assert late["pace"] == "running: started by hand"
    assert (late["ru"]["budget_per_s"], late["ru"]["share_per_s"]) == (0.0, 0.0)


def test_a_status_tells_a_stall_only_while_it_runs(world: World) -> None:
    """Since when nothing moved; a paused migration is not stalled, whatever is remembered."""
    operating = world.calm.operating
    operating.apply(SPEC)
    operating.start("sim")
    world.calm.controller.tick()
    now_s = world.clock.now_s()
    fresh = Pulse(mark="m", since_s=now_s - STALLED_AFTER_S + 1.0, seen_s=now_s)
    world.ports.memories.keep("db/c", Remembered(pulses={"sim": fresh}))
    assert operating.status("sim").as_dict()["stalled_since_s"] is None
    stuck = Pulse(mark="m", since_s=now_s - STALLED_AFTER_S, seen_s=now_s)
    world.ports.memories.keep("db/c", Remembered(pulses={"sim": stuck, "other": fresh}))
    assert operating.status("sim").as_dict()["stalled_since_s"] == stuck.since_s
    operating.pause("sim")
    assert operating.status("sim").as_dict()["stalled_since_s"] is None


def test_decisions_are_those_that_concern_the_migration(world: World) -> None:
    """Another source's entries are left out, the newest comes first."""
    operating = world.calm.operating
    operating.apply(SPEC)
    operating.start("sim")
    (first,) = world.calm.controller.tick()
    world.clock.advance(30)
    (second,) = world.calm.controller.tick()
    stranger = replace(second, source="db/a", shares=())
    world.ports.journal.record(stranger)
    assert first.source == second.source == "db/c"
    found = operating.decisions("sim", since_s=0.0, limit=9)
    assert (found.entries, found.cut) == ((second, first), False)
    newest = operating.decisions("sim", since_s=0.0, limit=1)
    assert (newest.entries, newest.cut) == ((second,), True)


def test_decisions_of_many_sources_do_not_crowd_out_one(world: World) -> None:
    """As many are read as it takes to find those asked for; what is missing is told."""
    operating = world.calm.operating
    operating.apply(SPEC)
    operating.start("sim")
    (own,) = world.calm.controller.tick()
    stranger = replace(own, source="db/a", shares=())
    for tick in range(1, 5):
        for entry in (own, *(replace(stranger, source=f"db/{n}") for n in range(400))):
            decision = replace(entry.decision, at_s=own.decision.at_s + 30 * tick)
            world.ports.journal.record(replace(entry, decision=decision))
    whole = operating.decisions("sim", since_s=0.0, limit=9)
    assert (len(whole.entries), whole.cut) == (5, False)
    some = operating.decisions("sim", since_s=0.0, limit=2)
    assert (len(some.entries), some.cut) == (2, True)
    assert some.entries == whole.entries[:2]


def test_decisions_are_looked_for_within_a_bound(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal full of others' decisions is not read to its end, and the answer says so."""
    monkeypatch.setattr("shared.application.operating.ENTRIES_READ", (2, 4))
    operating = world.calm.operating
    operating.apply(SPEC)
    operating.start("sim")
    (own,) = world.calm.controller.tick()
    for n in range(9):
        world.ports.journal.record(replace(own, source=f"db/{n}", shares=()))
    found = operating.decisions("sim", since_s=0.0, limit=9)
    assert (len(found.entries) <= 1, found.cut) == (True, True)
