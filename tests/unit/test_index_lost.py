"""The look-up index is lost, or an account takes writes in several regions: nothing goes silently.

The index alone knows that Ebb, and not its owner, removed a document.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared import cli, wiring
from shared.application.index_rebuild import IndexRebuild
from shared.application.restoration import Restoration, Wanted
from shared.application.restoring import Outcome as Restored
from shared.domain.halts import Halt
from shared.domain.pointers import BEGUN_WAIT_S, Key
from shared.domain.retirement import Retirement, RetirementState
from shared.errors import Refused
from shared.ports import Written
from shared.terminal.console import PROBLEM
from tests.simulation.retirees import Retiree, archived, check_restored
from tests.simulation.runs import SMALL
from tests.simulation.world import SOURCE

ROUNDS_MAX = 60


@pytest.fixture
def retiree() -> Retiree:
    """Twelve documents, all of them removed."""
    made = archived(1, "delete", documents=12)
    made.world.calm.retirements.execute("sim", {})
    made.finish()
    assert made.world.source.documents == {}
    return made


def standing(retiree: Retiree) -> dict[tuple[str, Key], Any]:
    found: dict[tuple[str, Key], Any] = retiree.world.ports.pointers.standing  # type: ignore[attr-defined]
    return found


def lost(retiree: Retiree) -> None:
    """The table is gone, with its mark."""
    standing(retiree).clear()
    retiree.world.ports.pointers.begun.clear()  # type: ignore[attr-defined]


def course(retiree: Retiree) -> Retirement:
    """Until it stops, of its own accord or at the end."""
    for _ in range(ROUNDS_MAX):
        retiree.tick()
        for _ in range(9):
            retiree.deliver()
        found = retiree.world.ports.ledger.retirement("sim")
        assert found is not None
        if not found.running:
            return found
        retiree.world.clock.advance(30)
    raise AssertionError(found)


def undone(retiree: Retiree) -> Retirement:
    retiree.world.calm.retirements.undo("sim")
    return course(retiree)


def test_an_undo_without_an_index_halts_instead_of_ending(retiree: Retiree) -> None:
    """Nothing was restored, and nobody is told that everything was."""
    lost(retiree)
    found = undone(retiree)
    assert (found.state, found.halt) == (RetirementState.HALTED, Halt.INDEX_INCOMPLETE)
    assert "ebb reindex sim" in found.reason
    kinds = [each.kind.value for each in retiree.world.ports.ledger.migration("sim").notices]
    assert "restored" not in kinds
    retiree.world.calm.retirements.resume("sim")
    assert course(retiree).halt is Halt.INDEX_INCOMPLETE


def test_one_lost_pointer_is_enough_to_halt_an_undo(retiree: Retiree) -> None:
    """The last minutes of a failover: most of the index stands, and one document is not in it."""
    key = retiree.owners.keys["doc-003"]
    pointer = standing(retiree).pop((SOURCE, key))
    found = undone(retiree)
    assert found.halt is Halt.INDEX_INCOMPLETE
    assert "doc-003" in found.reason
    standing(retiree)[SOURCE, key] = pointer
    retiree.world.calm.retirements.resume("sim")
    found = course(retiree)
    assert (found.state, found.documents_restored) == (RetirementState.DONE, 12)
    retiree.owners.check()
    check_restored(retiree)


def test_an_index_as_it_was_before_the_pointers_answered_halts_an_undo(retiree: Retiree) -> None:
    """A failover to the moment of the announcements: they are no trace of a removal."""
    found = standing(retiree)
    found.update({place: pointer.announced() for place, pointer in found.items()})
    assert undone(retiree).halt is Halt.INDEX_INCOMPLETE


def test_a_person_may_leave_what_the_index_lost(retiree: Retiree) -> None:
    """With a reason, which is kept; what is pointed at comes back."""
    standing(retiree).pop((SOURCE, retiree.owners.keys["doc-003"]))
    assert undone(retiree).halt is Halt.INDEX_INCOMPLETE
    retiree.world.calm.retirements.resume("sim", {"index": "doc-003 was a test"})
    found = course(retiree)
    assert (found.state, found.documents_restored) == (RetirementState.DONE, 11)
    assert [each.reason for each in found.overrides] == ["doc-003 was a test"]
    assert "doc-003" not in retiree.world.source.documents


def test_restoring_all_without_an_index_counts_what_is_lost(
    retiree: Retiree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It restores what is pointed at, names the rest, and exits with 1."""
    standing(retiree).pop((SOURCE, retiree.owners.keys["doc-003"]))
    restoration = Restoration(retiree.world.ports)
    report = restoration.many("sim", Wanted(), execute=True)
    assert (report.outcomes[Restored.RESTORED], report.untraced) == (11, 1)
    monkeypatch.setattr(wiring, "build", lambda _environment: retiree.world.calm)
    assert cli.main(["restore", "sim", "--all", "--execute"]) == PROBLEM
    assert "ebb reindex sim" in capsys.readouterr().out


def test_what_owners_deleted_changed_or_restored_leaves_a_trace(retiree: Retiree) -> None:
    """None of these is a lost pointer, so an undo after them comes to its end."""
    retiree.owners.delete("doc-001")
    retiree.owners.write("doc-002", {"n": "written again"})
    found = undone(retiree)
    assert (found.state, found.halt) == (RetirementState.DONE, None)
    retiree.owners.check()


def test_an_undo_of_what_was_left_alone_comes_to_its_end() -> None:
    """Spared because they were gone or changed, and deleted since: they were never pointed at."""
    retiree = archived(1, "delete", documents=12)
    retiree.owners.delete_directly("doc-001")
    retiree.owners.write("doc-002", {"n": "changed"})
    retiree.world.calm.retirements.execute("sim", {})
    retiree.finish()
    retiree.owners.delete_directly("doc-002")
    found = undone(retiree)
    assert (found.state, found.halt) == (RetirementState.DONE, None)
    retiree.owners.check()


def test_what_came_back_by_name_and_was_deleted_since_is_not_lost(retiree: Retiree) -> None:
    """Restored, and deleted by its owner: nothing is missing, and no rebuild brings it back."""
    restoration = Restoration(retiree.world.ports)
    assert restoration.many("sim", Wanted(), execute=True).outcomes[Restored.RESTORED] == 12
    retiree.owners.delete_directly("doc-003")
    assert restoration.many("sim", Wanted(), execute=True).untraced == 0
    assert IndexRebuild(retiree.world.unlucky).run("sim", execute=True).pointed_at == 0
    found = undone(retiree)
    assert (found.state, found.halt) == (RetirementState.DONE, None)
    retiree.owners.check()
    assert "doc-003" not in retiree.world.source.documents


def test_what_an_undo_brought_back_and_was_deleted_since_is_not_lost(retiree: Retiree) -> None:
    """Whoever looks again, after an undo or in the middle of one, finds its trace."""
    assert undone(retiree).state is RetirementState.DONE
    retiree.owners.delete_directly("doc-003")
    report = Restoration(retiree.world.ports).many("sim", Wanted(), execute=True)
    assert (report.untraced, report.outcomes.total()) == (0, 0)
    retiree.owners.check()


def test_a_removal_halts_when_the_index_is_gone() -> None:
    """A part of it was removed: the rest stays until a person has looked."""
    retiree = archived(1, "delete", documents=40, spec=SMALL)
    world = retiree.world
    remove: Callable[..., Written] = world.source.remove
    gone: list[Key] = []

    def watched(key: Key, *, etag: str) -> Written:
        gone.append(key)
        if len(gone) == 9:  # in the second slice of seven
            lost(retiree)
        return remove(key, etag=etag)

    source: Any = world.ports.sources.open("db", "c")
    source.remove = watched
    world.calm.retirements.execute("sim", {})
    found = course(retiree)
    assert found.halt is Halt.INDEX_INCOMPLETE
    assert world.source.documents
    closed = [gate.name for gate in world.calm.retirements.assess("sim").closed]
    assert closed == ["index"]


def test_nothing_goes_before_readers_have_seen_the_mark() -> None:
    """They may go by an unmarked index for a while; the removal waits longer than that."""
    retiree = archived(1, "delete", documents=3)
    world = retiree.world
    assert world.ports.pointers.begun_s(SOURCE) is None
    world.calm.retirements.execute("sim", {})
    since_s = world.ports.pointers.begun_s(SOURCE)
    assert since_s == world.clock.now_s()
    remove: Callable[..., Written] = world.source.remove
    removed_s: list[float] = []

    def watched(key: Key, *, etag: str) -> Written:
        removed_s.append(world.clock.now_s())
        return remove(key, etag=etag)

    source: Any = world.ports.sources.open("db", "c")
    source.remove = watched
    retiree.finish()
    assert len(removed_s) == 3
    assert min(removed_s) >= since_s + BEGUN_WAIT_S


def test_stubs_need_no_mark() -> None:
    """Their pointers are in the source; readers need not ask the index for them."""
    retiree = archived(1, "stub", documents=3)
    retiree.world.calm.retirements.execute("sim", {})
    retiree.finish()
    assert retiree.world.ports.pointers.begun_s(SOURCE) is None


def regions(retiree: Retiree, *names: str) -> None:
    retiree.world.ports.sources.regions = names  # type: ignore[attr-defined]


def test_an_account_with_several_write_regions_is_not_retired() -> None:
    """An update answered elsewhere would lose to a removal here, in every region."""
    retiree = archived(1, "delete", documents=3)
    regions(retiree, "East", "West")
    with pytest.raises(Refused, match="East, West"):
        retiree.world.calm.retirements.execute("sim", {})
    reasons = {"write_regions": "the business writes in West only"}
    begun = retiree.world.calm.retirements.execute("sim", reasons)
    assert [each.gate for each in begun.overrides] == ["write_regions"]
    retiree.finish()
    assert retiree.world.source.documents == {}


@pytest.mark.parametrize("mode", ["delete", "stub"])
def test_a_write_region_added_meanwhile_halts_a_removal(mode: str) -> None:
    """Asked again for each slice; an update in the other region is not lost."""
    retiree = archived(1, mode, documents=3)
    retiree.world.calm.retirements.execute("sim", {})
    regions(retiree, "East", "West")
    before = dict(retiree.world.source.documents)
    found = course(retiree)
    assert (found.state, found.halt) == (RetirementState.HALTED, Halt.GATE_CLOSED)
    assert "--accept-write-regions" in found.reason
    assert retiree.world.source.documents == before
