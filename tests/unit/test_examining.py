"""The doctor: a sound deployment is called so, and each injected fault is named with its cure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from shared.adapters.frontdoor import NoFrontDoor
from shared.application.alerting import Alerting, Taken
from shared.application.bundle import Ports
from shared.application.examining import QUEUE, Examining, Finding, Verdict
from shared.domain.slices import MigrationState
from shared.errors import NotFound, PermanentError, TransientError
from shared.ports import COPY_QUEUE, RECEIVE_QUEUE, VALIDATE_QUEUE, Incident
from tests.simulation.alerts import message
from tests.simulation.test_any_misfortune import SPEC
from tests.simulation.world import World, make_world

REFUSED = "saying so: refused (403)"


@dataclass(slots=True)
class Broken:
    """A port on which some methods fail, or answer otherwise, and the others work."""

    sound: Any
    faults: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name not in self.faults:
            return getattr(self.sound, name)
        fault = self.faults[name]

        def call(*given: Any, **named: Any) -> Any:
            if isinstance(fault, Exception):
                raise fault
            return fault(*given, **named)

        return call


def refusal() -> PermanentError:
    return PermanentError(REFUSED)


def failing(port: str, method: str, fault: Any = None) -> Callable[[Ports], Ports]:
    def broken(ports: Ports) -> Ports:
        harmed: Any = Broken(getattr(ports, port), {method: fault or refusal()})
        return replace(ports, **{port: harmed})

    return broken


def failing_inside(port: str, method: str, fault: Any = None) -> Callable[[Ports], Ports]:
    """What the port opens is harmed, not the port."""

    def broken(ports: Ports) -> Ports:
        sound = getattr(ports, port)

        def opened(*given: Any, **named: Any) -> Any:
            return Broken(sound.open(*given, **named), {method: fault or refusal()})

        harmed: Any = Broken(sound, {"open": opened})
        return replace(ports, **{port: harmed})

    return broken


@dataclass(slots=True)
class OwnDoor:
    """A front door behind which this very Ebb takes what is posted, or another one."""

    behind: Ports
    taken: list[Taken]
    closed: str = ""
    guarded: bool = False

    def alert(self, text: str) -> None:
        if self.guarded:
            return
        self.taken.append(Alerting(self.behind).take(text))


def with_door(ports: Ports, behind: Ports) -> tuple[Ports, list[Taken]]:
    taken: list[Taken] = []
    return replace(ports, front_door=OwnDoor(behind, taken)), taken


def silent(*_: Any, **__: Any) -> Any:
    return {}


def nothing(*_: Any, **__: Any) -> Any:
    return ()


def otherwise(*_: Any, **__: Any) -> Any:
    return b"something else"


FAULTS = {
    "tables": (failing("ledger", "migrations"), "ledger", "Storage Table Data Contributor"),
    "board": (failing("boards", "read"), "board", "Storage Table Data Contributor"),
    "queues": (failing("mail", "send"), "queue", "Storage Queue Data Contributor"),
    "poison that nobody can read": (
        failing("mail", "count", lambda _queue: 2),
        "poison queues",
        "peek",
    ),
    "blobs": (failing("lease", "acquire"), "lease", "Storage Blob Data Owner"),
    "a controller that is dead": (
        failing("journal", "entries", nothing),
        "controller",
        "EBB_TICK_SCHEDULE",
    ),
    "a full disk": (
        failing("scratch", "open", OSError(28, "No space left on device")),
        "scratch",
        "EBB_SCRATCH_DIR",
    ),
    "no data role": (
        failing_inside("sources", "partition_key_paths"),
        "source db/c",
        "Cosmos DB Built-in Data Reader",
    ),
    "a missing container": (
        failing_inside("sources", "ranges", NotFound("reading db/c: it is not there")),
        "source db/c",
        "the names in the spec",
    ),
    "no role on metrics": (failing("monitor", "minutes"), "metrics db/c", "Monitoring Reader"),
    "silent metrics": (
        failing("monitor", "minutes", silent),
        "metrics db/c",
        "EBB_COSMOS_RESOURCE_ID",
    ),
    "no role on logs": (failing("history", "profile"), "habits db/c", "Log Analytics Reader"),
    "no role on the archive": (
        failing_inside("archives", "put_if_absent"),
        "archive archive",
        "Storage Blob Data Contributor",
    ),
    "an archive that keeps staging": (
        failing_inside("archives", "delete"),
        "archive archive",
        "no policy forbids deleting",
    ),
    "an archive that changes bytes": (
        failing_inside("archives", "read", otherwise),
        "archive archive",
        "EBB_ARCHIVE_STORAGE__accountName",
    ),
}


@pytest.fixture
def world() -> World:
    """A migration that runs, and a controller that has just decided."""
    made = make_world(3)
    made.calm.operating.apply(SPEC)
    made.calm.operating.start("sim")
    made.clock.advance(600)
    made.calm.controller.tick()
    return made


def examined(ports: Ports) -> dict[str, Finding]:
    return {finding.what: finding for finding in Examining(ports).examine()}


def at_fault(found: dict[str, Finding]) -> list[str]:
    return [what for what, finding in found.items() if finding.verdict is Verdict.FAULTY]


def test_a_sound_deployment_is_called_sound(world: World) -> None:
    """Nothing is at fault, and only what is not there is skipped."""
    found = examined(world.ports)
    skipped = {what for what, each in found.items() if each.verdict is Verdict.SKIPPED}
    assert at_fault(found) == []
    assert skipped == {"alerts", "habits db/c"}
    assert set(found) >= {"ledger", "queue", "source db/c", "metrics db/c", "archive archive"}
    assert all(each.advice == "" for each in found.values())


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_injected_fault_is_named_with_its_cure(world: World, fault: str) -> None:
    """It alone is at fault, and the advice says which role or setting to look at."""
    harm, what, cure = FAULTS[fault]
    found = examined(harm(world.ports))
    assert at_fault(found) == [what]
    assert cure in found[what].advice


def test_a_clock_that_is_wrong_is_told(world: World) -> None:
    """By as much as it is, in either direction."""
    for skew_s, told in ((12.0, "-12 s"), (-12.0, "+12 s")):

        def now_s(skew_s: float = skew_s) -> float:
            return world.clock.now_s() + skew_s

        harmed = failing("clock", "now_s", now_s)(world.ports)
        found = examined(harmed)
        assert at_fault(found) == ["clock beside archive"]
        assert told in found["clock beside archive"].seen


def test_metrics_that_come_too_late_are_told(world: World) -> None:
    """From five minutes on, when the governor calls a reading stale."""
    world.monitor.lag_s = 290
    assert at_fault(examined(world.ports)) == []
    world.monitor.lag_s = 420
    found = examined(world.ports)
    assert at_fault(found) == ["metrics db/c"]
    assert "the newest minute ended 4" in found["metrics db/c"].seen


def test_the_factory_is_looked_at_where_a_spec_wants_it(world: World) -> None:
    """An old pipeline is at fault there, and nobody's concern elsewhere."""
    old = PermanentError("looking at the pipeline: version 0, not 1")
    harmed = failing("factory", "check", old)(world.ports)
    assert "factory" not in examined(harmed)
    migration = world.ports.ledger.migration("sim")
    wanting = replace(migration, spec_text=SPEC + "engine: adf\n")
    world.ports.ledger.put_migration(wanting)
    found = examined(harmed)
    assert at_fault(found) == ["factory"]
    assert "ebb adf deploy" in found["factory"].advice
    assert at_fault(examined(world.ports)) == []


def test_what_the_doctor_leaves_behind_is_harmless(world: World) -> None:
    """No blob, no lease, no word to a queue that anybody reads; the migration is as it was."""
    before = world.ports.ledger.migration("sim")
    names = world.ports.archives.open("archive", "p")
    stood = [each.name for each in names.stored("")]
    read = {letter.queue for letter in world.mail.letters}
    examined(world.ports)
    assert world.ports.ledger.migration("sim") == before
    assert [each.name for each in names.stored("")] == stood
    assert {letter.queue for letter in world.mail.letters} - read == {QUEUE}
    assert QUEUE not in {COPY_QUEUE, RECEIVE_QUEUE, VALIDATE_QUEUE}
    assert world.ports.lease.acquire() is not None


def test_before_any_spec_the_storage_is_still_examined() -> None:
    """A fresh deployment is sound as far as it can be seen, and says what it could not see."""
    found = examined(make_world(4).ports)
    assert at_fault(found) == []
    assert found["migrations"].verdict is Verdict.SKIPPED
    assert found["controller"].verdict is Verdict.SKIPPED


def test_a_controller_that_stopped_deciding_is_told(world: World) -> None:
    """Three ticks are waited for, as the workers wait before they stop."""
    world.clock.advance(60)
    assert at_fault(examined(world.ports)) == []
    world.clock.advance(60)
    assert at_fault(examined(world.ports)) == ["controller"]


def test_a_paused_migration_needs_no_decision(world: World) -> None:
    """Silence of the controller is a fault only while something runs."""
    world.calm.operating.change("sim", "pause")
    assert world.ports.ledger.migration("sim").state is MigrationState.PAUSED
    world.clock.advance(600)
    assert examined(world.ports)["controller"].verdict is Verdict.SKIPPED


def test_who_only_waits_for_another_needs_no_decision() -> None:
    """As health sees it, too."""
    world = make_world(4)
    first, second = (SPEC.replace("name: sim", f"name: {name}") for name in ("first", "second"))
    second = second.replace("container: c,", "container: d,")
    second = second.replace("{container: archive}", "{container: archive, prefix: d}")
    world.calm.operating.apply(first)
    world.calm.operating.start(world.calm.operating.apply(f"{second}after: [first]\n").name)
    world.clock.advance(600)
    assert examined(world.ports)["controller"].verdict is Verdict.SKIPPED
    assert world.calm.operating.health()["healthy"]


def test_what_nobody_thought_of_is_a_finding_and_hides_nothing(world: World) -> None:
    """By its type's name only: its text may hold a secret."""
    found = examined(failing("boards", "read", KeyError("se-cret"))(world.ports))
    assert at_fault(found) == ["board"]
    assert "KeyError" in found["board"].seen
    assert "se-cret" not in found["board"].seen
    assert found["archive archive"].verdict is Verdict.SOUND


def test_a_passing_failure_is_a_finding_too(world: World) -> None:
    """A store that is busy is told like any other; the rest is examined all the same."""
    busy = TransientError("reading the board: 503")
    found = examined(failing("boards", "read", busy)(world.ports))
    assert at_fault(found) == ["board"]
    assert found["board"].seen == "reading the board: 503"
    assert found["archive archive"].verdict is Verdict.SOUND


def test_a_test_alert_is_followed_from_the_front_door_to_its_record(world: World) -> None:
    """It was taken as any alert is, and could hold nothing."""
    ports, taken = with_door(world.ports, world.ports)
    found = examined(ports)
    assert found["alerts"].verdict is Verdict.SOUND
    (alert,) = taken
    assert alert.rule.startswith("ebb-doctor-")
    assert (alert.sources, alert.held_until_s) == ((), None)


def test_a_test_alert_changes_nothing_that_others_see(world: World) -> None:
    """Not the board, not an alarm that holds, not the incidents of the health page."""
    Alerting(world.ports).take(message(fired_at_s=world.clock.now_s()))
    incidents = [Incident(at_s=world.clock.now_s() - n, kind="run", text=str(n)) for n in range(30)]
    for each in incidents:
        world.ports.incidents.record(each)
    board = world.ports.boards.read()
    before = world.ports.incidents.latest(limit=100)
    ports, taken = with_door(world.ports, world.ports)
    assert examined(ports)["alerts"].verdict is Verdict.SOUND
    assert len(taken) == 1
    assert world.ports.boards.read() == board
    assert world.ports.incidents.latest(limit=100) == before


def test_two_test_alerts_are_never_the_same(world: World) -> None:
    """What one examination left behind cannot make the next one believe anything."""
    ports, taken = with_door(world.ports, world.ports)
    examined(ports)
    examined(ports)
    assert len({each.rule for each in taken}) == 2


def test_a_message_that_looks_like_the_doctors_is_read_as_any_other(world: World) -> None:
    """A name opens nothing and closes nothing: what fires on the account holds."""
    looks_like_it = message(fired_at_s=world.clock.now_s(), rule="ebb-doctor-1")
    taken = Alerting(world.ports).take(looks_like_it)
    assert taken.sources == ("db/c",)
    assert taken.held_until_s is not None


def test_an_alert_that_another_ebb_took_is_a_fault(world: World) -> None:
    """The address answers, but what it takes does not arrive here."""
    other = make_world(5)
    other.clock.advance(600)
    ports, taken = with_door(world.ports, other.ports)
    found = examined(ports)
    assert len(taken) == 1
    assert at_fault(found) == ["alerts"]
    assert "not among this Ebb's incidents" in found["alerts"].seen
    assert "EBB_CALLBACK_URL" in found["alerts"].advice


def test_a_front_door_that_refuses_is_a_fault(world: World) -> None:
    """Whatever refuses the doctor refuses Azure Monitor, too."""
    ports, _ = with_door(world.ports, world.ports)
    found = examined(failing("front_door", "alert")(ports))
    assert at_fault(found) == ["alerts"]
    assert found["alerts"].seen == REFUSED


def test_a_front_door_that_asks_for_a_token_is_not_called_sound(
    world: World,
) -> None:
    """It turned the test alert away, so nothing of it can be recorded."""
    door = OwnDoor(world.ports, [], guarded=True)
    found = examined(replace(world.ports, front_door=door))["alerts"]
    assert found.verdict is Verdict.SKIPPED
    assert found.seen.startswith("not examined")


def test_why_alerts_are_not_examined_is_told(world: World) -> None:
    """Silence would be taken for soundness."""
    closed = replace(world.ports, front_door=NoFrontDoor("EBB_ALERT_KEY is not set"))
    found = examined(closed)["alerts"]
    assert found.verdict is Verdict.SKIPPED
    assert found.seen == "not examined: EBB_ALERT_KEY is not set"
