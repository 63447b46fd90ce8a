"""What a person asks of a retirement: every gate, the dry run, and each verb in each state."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.application import retirements, retiring
from shared.application.shelf import promised
from shared.domain.halts import Halt
from shared.domain.notices import NoticeKind
from shared.domain.pointers import BEGUN_WAIT_S
from shared.domain.receipt import Promise
from shared.domain.retirement import Retirement, RetirementState
from shared.domain.slices import MigrationState, Slice
from shared.errors import Invalid, NotFound, Refused, WrongState
from shared.ports import RETIRE_QUEUE, Protection
from tests.simulation.people import archives
from tests.simulation.retirees import Retiree, archived
from tests.simulation.runs import SMALL, SPEC
from tests.simulation.world import START_S, World

SINK = "archive"
UNPROTECTED = Protection(soft_delete_days=0, versioned=False)


@pytest.fixture
def retiree() -> Retiree:
    return archived(1, "delete", documents=12)


def refused(world: World, reasons: dict[str, str] | None = None) -> str:
    before = (dict(world.source.documents), world.ports.ledger.retirement("sim"))
    with pytest.raises(Refused) as caught:
        world.calm.retirements.execute("sim", reasons or {})
    assert (dict(world.source.documents), world.ports.ledger.retirement("sim")) == before
    return str(caught.value)


def closed(world: World) -> list[str]:
    return [gate.name for gate in world.calm.retirements.assess("sim").closed]


def test_a_dry_run_changes_nothing_and_spends_nothing(retiree: Retiree) -> None:
    """It tells documents, bytes, an assumed cost and a time, and that nothing stands against it."""
    world = retiree.world
    before = (world.source.ru_charged, dict(world.source.documents))
    found = world.calm.retirements.assess("sim").as_dict()
    assert (world.source.ru_charged, dict(world.source.documents)) == before
    assert world.ports.ledger.retirement("sim") is None
    assert found["possible"]
    assert found["retirement"] is None
    forecast = found["forecast"]
    assert (forecast["documents"], forecast["measured"]) == (12, False)
    assert forecast["ru"] == 12 * forecast["ru_per_document"] > 0
    assert forecast["seconds"] > 0
    assert json.dumps(found)


def test_a_forecast_goes_by_what_was_measured(retiree: Retiree) -> None:
    """After the first slices, and only for what is left."""
    world = retiree.world
    world.calm.retirements.execute("sim", {})
    retiree.finish()
    forecast = world.calm.retirements.assess("sim").forecast
    assert forecast.measured
    assert forecast.ru_per_document >= 20.0
    assert forecast.documents == 0


def test_a_spec_that_keeps_is_never_retired() -> None:
    """It says so, and what to do instead."""
    world = archived(1, "keep", documents=3).world
    assert "a new migration that says delete or stub" in refused(world)


def test_an_unfinished_migration_is_refused(retiree: Retiree) -> None:
    """Also one that was complete and whose fingerprint is not noted."""
    ledger = retiree.world.ports.ledger
    running = replace(ledger.migration("sim"), state=MigrationState.RUNNING)
    ledger.put_migration(running)
    assert "the migration is running; wait" in refused(retiree.world)


def after_a_round(retiree: Retiree) -> Retirement:
    """One tick, and as many workers as it may have called, once readers have seen the mark."""
    retiree.world.clock.advance(BEGUN_WAIT_S)
    retiree.tick()
    for _ in range(9):
        retiree.deliver()
    retirement = retiree.world.ports.ledger.retirement("sim")
    assert retirement is not None
    return retirement


def harm(world: World, name: str, data: bytes | None) -> None:
    if data is None:
        archives(world).drop(SINK, name)
    else:
        archives(world).put(SINK, name, data, missing=False)


def test_a_missing_or_altered_receipt_closes_the_gate(retiree: Retiree) -> None:
    """Named, in either case."""
    name = archives(retiree.world).names(SINK, "receipts/")[0]
    data = archives(retiree.world).bytes_of(SINK, name) or b""
    harm(retiree.world, name, None)
    assert f"{name} is not there" in refused(retiree.world)
    harm(retiree.world, name, data.replace(b'"ru_spent": ', b'"ru_spent": 1'))
    assert closed(retiree.world) == ["receipts"]
    harm(retiree.world, name, data)
    assert closed(retiree.world) == []


def test_of_very_many_receipts_some_are_read_and_all_must_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A dry run's time has an end; what it did not read halts before its own slice goes."""
    monkeypatch.setattr(retirements, "RECEIPTS_READ_MAX", 2)
    retiree = archived(1, "delete", documents=40, spec=SMALL)
    world = retiree.world
    names = archives(world).names(SINK, "receipts/")
    assert len(names) > 4
    gates = {gate.name: gate for gate in world.calm.retirements.assess("sim").gates}
    assert f"all {len(names)} receipts stand; 2 of them were read" in gates["receipts"].text
    for name in names[1:]:
        data = archives(world).bytes_of(SINK, name) or b""
        harm(world, name, None)
        assert closed(world) == ["receipts"]
        harm(world, name, data)
    data = archives(world).bytes_of(SINK, names[1]) or b""
    harm(world, names[1], data.replace(b'"ru_spent": ', b'"ru_spent": 1'))
    assert closed(world) == []
    world.calm.retirements.execute("sim", {})
    halted = after_a_round(retiree)
    assert halted.halt is Halt.ARCHIVE_HARMED
    assert names[1] in halted.reason


def test_a_missing_blob_or_manifest_closes_the_gate(retiree: Retiree) -> None:
    """By name and size."""
    for folder in ("data/", "manifests/"):
        name = archives(retiree.world).names(SINK, folder)[0]
        data = archives(retiree.world).bytes_of(SINK, name) or b""
        harm(retiree.world, name, None)
        assert f"{name} is not there" in refused(retiree.world)
        harm(retiree.world, name, data[:-1])
        assert closed(retiree.world) == ["blobs"]
        harm(retiree.world, name, data)


def test_a_wrong_summary_closes_the_gate(retiree: Retiree) -> None:
    """Missing, unreadable, or with another fingerprint."""
    for data in (None, b"{", b'{"fingerprint": "00"}'):
        harm(retiree.world, "migration.json", data)
        assert "summary" in closed(retiree.world)


def test_receipts_that_do_not_tile_close_the_gate(retiree: Retiree) -> None:
    """The cold range of the record is wider than what was proven."""
    ledger = retiree.world.ports.ledger
    wider = replace(ledger.migration("sim"), until_s=ledger.migration("sim").until_s + 5)
    ledger.put_migration(wider)
    assert closed(retiree.world) == ["coverage"]


@pytest.mark.parametrize(
    "protection",
    [
        UNPROTECTED,
        Protection(soft_delete_days=None, versioned=None),
        Protection(soft_delete_days=None, versioned=False),
    ],
)
def test_an_unprotected_archive_is_refused_without_a_reason(
    retiree: Retiree, protection: Protection
) -> None:
    """What nobody may ask counts as missing; a reason opens the gate and is kept."""
    archives(retiree.world).protection = protection
    assert "soft delete" in refused(retiree.world)
    with pytest.raises(Invalid, match="say why"):
        retiree.world.calm.retirements.execute("sim", {"protection": " "})
    begun = retiree.world.calm.retirements.execute("sim", {"protection": "copied to tape"})
    (override,) = begun.overrides
    assert (override.gate, override.reason) == ("protection", "copied to tape")
    retiree.finish()
    assert retiree.world.source.documents == {}


@pytest.mark.parametrize(
    "protection",
    [
        Protection(soft_delete_days=7, versioned=None),
        Protection(soft_delete_days=None, versioned=True),
    ],
)
def test_either_soft_delete_or_versioning_is_enough(
    retiree: Retiree, protection: Protection
) -> None:
    """Either brings a lost blob back."""
    archives(retiree.world).protection = protection
    assert closed(retiree.world) == []


def test_consumers_of_the_change_feed_are_asked_about() -> None:
    """A reason opens the gate and is kept; one that was not needed is not."""
    spec = SPEC.replace("container: c,", "container: c, change_feed_consumers: true,", 1)
    world = archived(1, "delete", documents=3, spec=spec).world
    assert "--accept-change-feed" in refused(world)
    reasons = {"change_feed": "a cache only", "protection": "not needed"}
    begun = world.calm.retirements.execute("sim", reasons)
    assert [(each.gate, each.reason) for each in begun.overrides] == [
        ("change_feed", "a cache only")
    ]


def test_no_other_gate_can_be_opened_by_a_reason(retiree: Retiree) -> None:
    """Proof is not a matter of opinion."""
    harm(retiree.world, archives(retiree.world).names(SINK, "receipts/")[0], None)
    reasons = {"receipts": "never mind", "protection": "x", "change_feed": "y"}
    assert "receipts" in refused(retiree.world, reasons)


def test_slices_in_their_grace_period_wait(retiree: Retiree) -> None:
    """They are told, planned, and left alone until their proof is old enough."""
    world = archived(2, "delete", documents=5, spec=SPEC + "retire_grace: 30d\n").world
    assert world.calm.retirements.assess("sim").waiting > 0
    assert closed(world) == []
    world.calm.retirements.execute("sim", {})
    for _ in range(4):
        world.calm.controller.tick()
        while letter := world.mail.take(RETIRE_QUEUE):
            world.calm.retiring.run(letter.text)
        world.clock.advance(30)
    assert len(world.source.documents) == 5
    opened = world.ports.ledger.removals("sim")
    assert opened
    assert {each.failures for each in opened} == {0}
    assert min(each.retry_at_s for each in opened) > START_S + 29 * 86_400


def test_executing_again_is_harmless_while_it_runs(retiree: Retiree) -> None:
    """A lost reply costs nothing; a paused one says how it goes on."""
    retirements = retiree.world.calm.retirements
    first = retirements.execute("sim", {})
    again = retirements.execute("sim", {})
    assert (again.started_at_s, again.state) == (first.started_at_s, RetirementState.RUNNING)
    retirements.pause("sim")
    with pytest.raises(WrongState, match="--resume"):
        retirements.execute("sim", {})
    assert retirements.resume("sim").running
    with pytest.raises(WrongState, match="only what is halted or paused"):
        retirements.resume("sim")


def test_a_paused_retirement_removes_nothing(retiree: Retiree) -> None:
    """Neither planned nor dispatched, and old messages find it paused."""
    world = retiree.world
    world.calm.retirements.execute("sim", {})
    world.calm.controller.tick()
    world.calm.retirements.pause("sim")
    assert not world.ports.ledger.migration("sim").retiring
    while letter := world.mail.take(RETIRE_QUEUE):
        assert world.calm.retiring.run(letter.text) == "the retirement of sim is paused"
    assert len(world.source.documents) == 12


def test_what_was_undone_is_not_retired_again(retiree: Retiree) -> None:
    """What came back has new versions, which no receipt covers."""
    retirements = retiree.world.calm.retirements
    retirements.execute("sim", {})
    retirements.undo("sim")
    with pytest.raises(WrongState, match="archive it by a new migration"):
        retirements.execute("sim", {})


def test_verbs_without_a_retirement_say_how_to_begin(retiree: Retiree) -> None:
    """And an unknown verb names those there are."""
    for verb in ("undo", "pause", "resume"):
        with pytest.raises(NotFound, match="--execute"):
            retiree.world.calm.retirements.change("sim", verb, {})
    with pytest.raises(Invalid, match="execute, undo, pause, resume"):
        retiree.world.calm.retirements.change("sim", "erase", {})
    with pytest.raises(NotFound):
        retiree.world.calm.retirements.assess("nobody")


def kinds(world: World) -> list[NoticeKind]:
    return [each.kind for each in world.ports.ledger.migration("sim").notices]


def test_people_are_told_of_the_end_once(retiree: Retiree) -> None:
    """Removed, and restored again."""
    retirements = retiree.world.calm.retirements
    retirements.execute("sim", {})
    retiree.finish()
    retiree.tick()
    assert kinds(retiree.world).count(NoticeKind.RETIRED) == 1
    retirements.undo("sim")
    retiree.finish()
    retiree.tick()
    assert kinds(retiree.world).count(NoticeKind.RESTORED) == 1
    assert not retiree.world.ports.ledger.migration("sim").retiring


def test_a_harmed_blob_halts_the_retirement_and_nothing_else(retiree: Retiree) -> None:
    """Same size, other bytes: no gate sees it, the worker does, and nothing of it is removed."""
    world = retiree.world
    name = archives(world).names(SINK, "data/")[0]
    data = archives(world).bytes_of(SINK, name) or b""
    world.calm.retirements.execute("sim", {})
    harm(world, name, data[:50] + bytes([data[50] ^ 1]) + data[51:])
    retirement = after_a_round(retiree)
    assert (retirement.state, retirement.halt) == (RetirementState.HALTED, Halt.ARCHIVE_HARMED)
    assert name in retirement.reason
    assert world.ports.ledger.migration("sim").state is MigrationState.COMPLETED
    assert kinds(world).count(NoticeKind.RETIREMENT_HALTED) == 1
    retiree.owners.check()
    harm(world, name, data)
    world.calm.retirements.resume("sim")
    retiree.finish()
    assert world.source.documents == {}


def test_slices_in_their_grace_period_hold_no_others_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than are planned ahead, and before all others."""
    monkeypatch.setattr(retirements, "OPEN_MAX", 2)
    spec = SMALL.replace("documents_max: 7", "documents_max: 3") + "retire_grace: 30d\n"
    retiree = archived(1, "delete", documents=30, spec=spec)
    done = [each for each in retiree.world.ports.ledger.done_slices("sim") if each.staged]
    full = [each.id for each in done if each.staged and each.staged.documents]
    late = set(full[:3])

    def as_proven(archive: Any, each: Slice) -> Promise:
        found = promised(archive, each)
        old_s = found.validated_at_s - 60 * 86_400
        return found if each.id in late else replace(found, validated_at_s=old_s)

    monkeypatch.setattr(retiring, "promised", as_proven)
    retiree.world.calm.retirements.execute("sim", {})
    for _ in range(2 * len(full)):
        after_a_round(retiree)
        retiree.world.clock.advance(30)
    waiting = {each.slice_id for each in retiree.world.ports.ledger.removals("sim")}
    assert waiting == late


def test_a_message_that_an_undo_overtook_is_no_fault(retiree: Retiree) -> None:
    """It was sent for a removal that is a restoring now."""
    world = retiree.world
    world.calm.retirements.execute("sim", {})
    retiree.tick()
    letter = world.mail.take(RETIRE_QUEUE)
    assert letter is not None
    world.calm.retirements.undo("sim")
    assert "was turned round" in world.calm.retiring.run(letter.text)


def test_a_gate_that_closed_later_is_accepted_on_resuming(retiree: Retiree) -> None:
    """As the halt's own words say; a reason with a pause or an undo is refused."""
    world = retiree.world
    world.calm.retirements.execute("sim", {})
    archives(world).protection = UNPROTECTED
    assert after_a_round(retiree).halt is Halt.GATE_CLOSED
    for action in ("pause", "undo"):
        with pytest.raises(Invalid, match="a reason came with"):
            world.calm.retirements.change("sim", action, {"protection": "copied to tape"})
    resumed = world.calm.retirements.change("sim", "resume", {"protection": "copied to tape"})
    assert [each.reason for each in resumed.overrides] == ["copied to tape"]
    retiree.finish()
    assert world.source.documents == {}


def test_protection_that_went_away_halts_it(retiree: Retiree) -> None:
    """Looked at again by whoever removes a slice."""
    retiree.world.calm.retirements.execute("sim", {})
    archives(retiree.world).protection = UNPROTECTED
    assert after_a_round(retiree).halt is Halt.GATE_CLOSED
    assert len(retiree.world.source.documents) == 12


def test_the_status_shows_how_far_it_is(retiree: Retiree) -> None:
    """Only where a spec removes anything."""
    status: dict[str, Any] = retiree.world.calm.operating.status("sim").as_dict()
    assert status["retirement"] is None
    retiree.world.calm.retirements.execute("sim", {})
    retiree.finish()
    shown = retiree.world.calm.operating.status("sim").as_dict()["retirement"]
    assert shown["state"] == "done"
    assert shown["documents"]["removed"] == shown["documents"]["expected"] == 12
    assert shown["ru"]["spent"] > 0
