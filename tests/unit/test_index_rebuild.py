"""The look-up index is lost and rebuilt from the archive: reads, restores and an undo are right."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared import cli, wiring
from shared.application.index_rebuild import IndexRebuild, Rebuilt
from shared.application.restoration import Restoration, Wanted
from shared.application.restoring import Outcome
from shared.domain.halts import Halt
from shared.domain.pointers import Key
from shared.domain.removal_record import REMOVED, RETURNED
from shared.domain.retirement import RetirementState
from shared.errors import PermanentError, Refused
from shared.ports import Found
from shared.terminal.console import DONE, PROBLEM
from tests.simulation.people import archives
from tests.simulation.retirees import Retiree, archived, check_restored
from tests.simulation.runs import SMALL
from tests.simulation.world import SOURCE

DOCUMENTS = 12


def out(mode: str = "delete") -> Retiree:
    retiree = archived(1, mode, documents=DOCUMENTS, spec=SMALL)
    retiree.world.calm.retirements.execute("sim", {})
    retiree.finish()
    return retiree


@pytest.fixture
def retiree() -> Retiree:
    """Twelve documents in several slices, all of them removed."""
    return out()


def lose(retiree: Retiree, *names: str) -> None:
    """Some pointers, or with no name the whole table."""
    pointers: Any = retiree.world.ports.pointers
    for name in names:
        del pointers.standing[SOURCE, retiree.owners.keys[name]]
    if not names:
        pointers.standing.clear()
        pointers.begun.clear()


def rebuilt(retiree: Retiree, *, execute: bool = True) -> Rebuilt:
    # Over ports on which the tick goes on while somebody waits for a budget.
    return IndexRebuild(retiree.world.unlucky).run("sim", execute=execute)


def test_a_lost_index_is_rebuilt_and_every_read_is_right(retiree: Retiree) -> None:
    """A dry run changes nothing; what is rebuilt is what was lost; a second time adds nothing."""
    pointers: Any = retiree.world.ports.pointers
    before = dict(pointers.standing)
    lose(retiree)
    seen = rebuilt(retiree, execute=False)
    assert (seen.removed, seen.missing, seen.pointed_at) == (DOCUMENTS, DOCUMENTS, 0)
    assert pointers.standing == {}
    assert pointers.begun_s(SOURCE) is None
    found = rebuilt(retiree)
    assert (found.pointed_at, found.in_source, found.elsewhere, found.unrecorded) == (12, 0, 0, 0)
    assert pointers.standing == before
    assert SOURCE in pointers.begun
    retiree.owners.check()
    again = rebuilt(retiree)
    assert (again.known, again.missing) == (DOCUMENTS, 0)


def test_everything_is_restored_after_a_rebuild(retiree: Retiree) -> None:
    """By name, as if nothing had been lost."""
    lose(retiree)
    rebuilt(retiree)
    report = Restoration(retiree.world.ports).many("sim", Wanted(), execute=True)
    assert (report.outcomes, report.untraced) == ({Outcome.RESTORED: DOCUMENTS}, 0)
    check_restored(retiree)


def test_an_undo_that_halted_goes_on_after_a_rebuild(retiree: Retiree) -> None:
    """What it restored before it halted is not pointed at again."""
    lose(retiree, "doc-003", "doc-007")
    retiree.world.calm.retirements.undo("sim")
    with pytest.raises(Refused, match="pause it first"):
        rebuilt(retiree)
    for _ in range(9):
        retiree.tick()
        for _ in range(9):
            retiree.deliver()
        retiree.world.clock.advance(30)
    halted = retiree.world.ports.ledger.retirement("sim")
    assert halted is not None
    assert halted.halt is Halt.INDEX_INCOMPLETE
    found = rebuilt(retiree)
    assert found.pointed_at == 2
    retiree.owners.check()
    retiree.finish()
    done = retiree.world.ports.ledger.retirement("sim")
    assert done is not None
    assert (done.state, done.documents_restored) == (RetirementState.DONE, DOCUMENTS)
    check_restored(retiree)
    assert rebuilt(retiree).missing == 0


def test_what_stands_in_the_source_is_not_pointed_at(retiree: Retiree) -> None:
    """The source is the second witness: its owner has written the document again."""
    lose(retiree)
    retiree.owners.write("doc-003", {"n": "again"})
    found = rebuilt(retiree)
    assert (found.pointed_at, found.in_source) == (DOCUMENTS - 1, 1)
    assert retiree.world.ports.pointers.find(SOURCE, retiree.owners.keys["doc-003"]) is None
    retiree.owners.check()


def test_an_owners_mark_stays_whatever_is_rebuilt(retiree: Retiree) -> None:
    """Deleted before, or between the source's answer and ours: nobody answers for it."""
    lose(retiree, "doc-003", "doc-004")
    retiree.owners.delete("doc-005")
    find: Callable[[Key], Found] = retiree.world.source.find

    def raced(key: Key) -> Found:
        found = find(key)
        if key[1] == "doc-003":
            retiree.owners.delete("doc-003")
        return found

    source: Any = retiree.world.ports.sources.open("db", "c")
    source.find = raced
    found = rebuilt(retiree)
    assert (found.pointed_at, found.elsewhere) == (1, 1)
    retiree.owners.check()


def test_an_undo_leaves_its_own_records(retiree: Retiree) -> None:
    """So documents that came back, and were deleted since, are never pointed at again."""
    retiree.world.calm.retirements.undo("sim")
    retiree.finish()
    blobs = archives(retiree.world)
    assert blobs.names("archive", REMOVED)
    assert blobs.names("archive", RETURNED)
    retiree.owners.delete_directly("doc-003")
    lose(retiree)
    found = rebuilt(retiree)
    assert (found.removed, found.pointed_at) == (0, 0)
    retiree.owners.check()


def test_only_what_was_deleted_and_stopped_can_be_rebuilt(retiree: Retiree) -> None:
    """Stubs hold their pointers themselves; nothing was removed of what was never retired."""
    with pytest.raises(Refused, match="with stubs"):
        rebuilt(out("stub"))
    with pytest.raises(Refused, match="nothing of it was ever removed"):
        rebuilt(archived(1, "delete", documents=3))
    retiree.world.calm.retirements.undo("sim")
    with pytest.raises(Refused, match="pause it first"):
        rebuilt(retiree)


def test_a_harmed_record_is_named(retiree: Retiree) -> None:
    """Another form, or another batch's name: nothing is rebuilt on its word."""
    blobs = archives(retiree.world)
    name = blobs.names("archive", REMOVED)[0]
    data = blobs.bytes_of("archive", name) or b""
    lose(retiree)
    for harmed in (b"{}", data[:-1], data.replace(b'"first": 0', b'"first": 1')):
        blobs.put("archive", name, harmed, missing=False)
        with pytest.raises(PermanentError, match=name):
            rebuilt(retiree)


def test_a_missing_record_is_counted_at_the_terminal(
    retiree: Retiree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ledger knows how many were removed; exit code 1 until each has a record."""
    monkeypatch.setattr(wiring, "build", lambda _environment: retiree.world.calm)
    lose(retiree)
    assert cli.main(["reindex", "sim"]) == DONE
    assert "12 are missing; nothing was changed" in capsys.readouterr().out
    blobs = archives(retiree.world)
    name = blobs.names("archive", REMOVED)[0]
    count = len(json.loads(blobs.bytes_of("archive", name) or b"")["outcomes"])
    blobs.drop("archive", name)
    assert cli.main(["reindex", "sim", "--execute", "--json"]) == PROBLEM
    report = json.loads(capsys.readouterr().out)
    assert (report["unrecorded"], report["pointed_at"]) == (count, DOCUMENTS - count)
