"""One batch leaving the source or coming back, step by step, beside owners and sleepers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest

from shared.adapters.memory.archive import MemoryArchive
from shared.application.removing import stub_of
from shared.application.restoration import Restoration, Wanted
from shared.application.restoring import Differs, Outcome
from shared.application.shelf import Item
from shared.domain.pointers import BEGUN_WAIT_S, Key, Pointer
from shared.domain.retirement import RetirementState
from shared.domain.slices import Stored
from shared.domain.spec import parse_spec
from shared.errors import PermanentError, TransientError
from shared.ports import RETIRE_QUEUE, Fate, Measured, Query, Written
from tests.simulation.faults import Crash
from tests.simulation.retirees import ODD_ID, Retiree, archived, check_restored
from tests.simulation.world import SOURCE
from tests.unit.samples import a_row

SPEC = """
name: m-1
source: {account: acct, database: db, container: c, partition_key: [/tenant, /at/zone]}
cold: {older_than: 90d}
sink: {container: archive}
retire: stub
stub_keep: [/status, /at/city, /absent/too, /status/below]
"""


@pytest.fixture
def retiree() -> Retiree:
    return archived(1, "delete", documents=6)


def source_of(retiree: Retiree) -> Any:
    return retiree.world.ports.sources.open("db", "c")


def instead(retiree: Retiree, name: str, act: Callable[..., object]) -> None:
    """From now on that request to the source goes through `act`."""
    setattr(source_of(retiree), name, act)


def meddled_with(retiree: Retiree) -> Callable[..., Written]:
    """Something in the container changes what is written; returns what would undo that."""
    replace = retiree.world.source.replace

    def meddling(key: Key, document: Any, *, etag: str) -> Written:
        return replace(key, {**document, "meddled": True}, etag=etag)

    instead(retiree, "replace", meddling)
    return replace


def out(retiree: Retiree) -> None:
    retiree.world.calm.retirements.execute("sim", {})
    retiree.finish()


def totals(retiree: Retiree) -> tuple[int, int, int]:
    found = retiree.world.ports.ledger.retirement("sim")
    assert found is not None
    return found.documents_removed, found.spared_changed, found.spared_gone


def answers(retiree: Retiree, name: str) -> bool:
    found = retiree.world.ports.pointers.find(SOURCE, retiree.owners.keys[name])
    return found is not None and found.answers


@pytest.mark.parametrize("mode", ["delete", "stub"])
def test_what_no_request_can_name_is_left_and_holds_nothing_up(mode: str) -> None:
    """Its id has a slash: counted, in its place on the way out, back, and when all is restored."""
    retiree = archived(1, mode, documents=6, odd=True)
    out(retiree)
    ledger = retiree.world.ports.ledger
    found = ledger.retirement("sim")
    assert found is not None
    assert (found.documents_removed, found.spared_unaddressable, found.halt) == (5, 1, None)
    assert "ebb_stub" not in retiree.world.source.documents[ODD_ID]
    retiree.owners.check()
    restored = Restoration(retiree.world.ports).many("sim", Wanted(), execute=True)
    assert restored.outcomes[Outcome.RESTORED] == 5
    check_restored(retiree)
    retiree.world.calm.retirements.undo("sim")
    retiree.finish()
    check_restored(retiree)


def test_a_pointer_answers_before_its_document_goes(retiree: Retiree) -> None:
    """At each removal, the one that is about to go can be read from the archive."""
    remove = retiree.world.source.remove
    seen: list[bool] = []

    def watched(key: Key, *, etag: str) -> Written:
        seen.append(answers(retiree, key[1]))
        return remove(key, etag=etag)

    instead(retiree, "remove", watched)
    out(retiree)
    assert seen == [True] * 6


def test_a_removal_whose_reply_was_lost_is_ours(retiree: Retiree) -> None:
    """Asked again it is absent, and the archive goes on answering."""
    remove = retiree.world.source.remove
    lost: list[Key] = []

    def losing(key: Key, *, etag: str) -> Written:
        written = remove(key, etag=etag)
        if key not in lost:
            lost.append(key)
            raise TransientError("the reply was lost")
        return written

    instead(retiree, "remove", losing)
    out(retiree)
    assert len(lost) == 6
    assert totals(retiree) == (6, 0, 0)
    retiree.owners.check()


def test_a_stub_whose_reply_was_lost_is_ours() -> None:
    """What stands there tells so itself: our pointer, in our stub."""
    retiree = archived(1, "stub", documents=4)
    replace = retiree.world.source.replace
    lost: list[Key] = []

    def losing(key: Key, document: Any, *, etag: str) -> Written:
        written = replace(key, document, etag=etag)
        if key not in lost:
            lost.append(key)
            raise TransientError("the reply was lost")
        return written

    instead(retiree, "replace", losing)
    out(retiree)
    assert totals(retiree) == (4, 0, 0)
    retiree.owners.check()


def test_what_its_owner_removed_directly_stays_removed(retiree: Retiree) -> None:
    """Between our look and our removal, past the tiered container: its pointer is withdrawn."""
    remove = retiree.world.source.remove

    def raced(key: Key, *, etag: str) -> Written:
        if key[1] == "doc-003":
            retiree.owners.delete_directly("doc-003")
        return remove(key, etag=etag)

    instead(retiree, "remove", raced)
    out(retiree)
    assert totals(retiree) == (5, 0, 1)
    assert not answers(retiree, "doc-003")
    retiree.owners.check()


def test_an_owners_deletion_between_look_and_answer_counts(retiree: Retiree) -> None:
    """It found an announcement to mark, so no pointer ever answers for that document."""
    count, remove = retiree.world.source.count, retiree.world.source.remove
    deleted = iter(["doc-003"])

    def looked(query: Query) -> Measured:
        found = count(query)
        for name in deleted:
            retiree.owners.delete(name)
        return found

    def watched(key: Key, *, etag: str) -> Written:
        retiree.owners.check()
        return remove(key, etag=etag)

    instead(retiree, "count", looked)
    instead(retiree, "remove", watched)
    out(retiree)
    assert totals(retiree)[0] == 5
    assert next(deleted, None) is None
    retiree.owners.check()


def test_a_batch_begun_before_is_counted_as_removed(retiree: Retiree) -> None:
    """A worker dies before it notes its removals; the next one knows whose doing they were."""
    world = retiree.world
    remove = world.source.remove
    dead: list[Key] = []

    def dying(key: Key, *, etag: str) -> Written:
        written = remove(key, etag=etag)
        if not dead:
            dead.append(key)
            raise Crash("after a removal")
        return written

    instead(retiree, "remove", dying)
    world.calm.retirements.execute("sim", {})
    world.clock.advance(BEGUN_WAIT_S)
    retiree.tick()
    letter = world.mail.take(RETIRE_QUEUE)
    assert letter is not None
    with pytest.raises(Crash):
        world.calm.retiring.run(letter.text)
    retiree.owners.check()
    world.clock.advance(100)
    retiree.finish()
    retiree.owners.check()
    assert totals(retiree) == (6, 0, 0)


def test_a_sleeper_never_withdraws_what_another_removed(retiree: Retiree) -> None:
    """It wakes up to a document that is gone by its successor's doing, and must not touch it."""
    remove = retiree.world.source.remove
    slept: list[Key] = []

    def sleeping(key: Key, *, etag: str) -> Written:
        if not slept:
            slept.append(key)
            retiree.world.clock.advance(100)
            retiree.finish()
        return remove(key, etag=etag)

    instead(retiree, "remove", sleeping)
    retiree.world.calm.retirements.execute("sim", {})
    retiree.world.clock.advance(BEGUN_WAIT_S)
    retiree.tick()
    letter = retiree.world.mail.take(RETIRE_QUEUE)
    assert letter is not None
    retiree.world.calm.retiring.run(letter.text)
    retiree.owners.check()
    assert answers(retiree, slept[0][1])
    assert totals(retiree) == (6, 0, 0)


def test_a_sleeper_removes_nothing_that_an_undo_looked_at(retiree: Retiree) -> None:
    """Its condition fails: what the undo found standing was written anew."""
    remove = retiree.world.source.remove
    slept: list[Key] = []

    def sleeping(key: Key, *, etag: str) -> Written:
        if not slept:
            slept.append(key)
            retiree.world.clock.advance(100)
            retiree.world.calm.retirements.undo("sim")
            retiree.finish()
            check_restored(retiree)
        written = remove(key, etag=etag)
        assert written.fate is not Fate.DONE
        return written

    instead(retiree, "remove", sleeping)
    retiree.world.calm.retirements.execute("sim", {})
    retiree.world.clock.advance(BEGUN_WAIT_S)
    retiree.tick()
    letter = retiree.world.mail.take(RETIRE_QUEUE)
    assert letter is not None
    retiree.world.calm.retiring.run(letter.text)
    retiree.owners.check()
    check_restored(retiree)


def test_another_archives_answer_is_left_standing(retiree: Retiree) -> None:
    """The same version, removed by another migration: its pointer is the only way to it."""
    pointers, key = retiree.world.ports.pointers, retiree.owners.keys["doc-002"]
    document = retiree.world.source.documents["doc-002"]
    theirs = Pointer(
        archive="other/place",
        blob="b",
        offset=1,
        length=1,
        rows=1,
        row=0,
        sha256="ab",
        ts=document["_ts"],
        etag=document["_etag"],
    )
    pointers.put(SOURCE, {key: theirs})
    out(retiree)
    assert pointers.find(SOURCE, key) == theirs
    assert totals(retiree) == (5, 0, 1)


@pytest.mark.parametrize("mode", ["delete", "stub"])
def test_an_undo_that_restores_something_else_halts(mode: str) -> None:
    """The document is named, its archived version read; with the cause gone it comes back."""
    retiree = archived(1, mode, documents=6)
    out(retiree)
    replace = meddled_with(retiree)
    retiree.world.calm.retirements.undo("sim")
    retiree.tick()
    for _ in range(5):
        retiree.deliver()
    found = retiree.world.ports.ledger.retirement("sim")
    assert found is not None
    assert (found.state, found.halt) == (RetirementState.HALTED, "restored_otherwise")
    assert "doc-" in found.reason
    retiree.owners.check()
    instead(retiree, "replace", replace)
    retiree.finish()
    retiree.owners.check()
    if mode == "delete":
        check_restored(retiree)


@pytest.mark.parametrize("mode", ["delete", "stub"])
def test_a_restore_of_something_else_keeps_the_place(mode: str) -> None:
    """By name as by undo: what stood there is put back, and the next restore is right."""
    retiree = archived(1, mode, documents=6)
    out(retiree)
    replace = meddled_with(retiree)
    with pytest.raises(Differs, match="put back"):
        Restoration(retiree.world.ports).many("sim", Wanted(), execute=True)
    retiree.owners.check()
    instead(retiree, "replace", replace)
    Restoration(retiree.world.ports).many("sim", Wanted(), execute=True)
    retiree.owners.check()


def test_an_undo_never_takes_a_refused_creation_for_an_owners_deletion(retiree: Retiree) -> None:
    """Another document has a value that must be unique: nothing stands there, and it answers."""
    out(retiree)
    create = retiree.world.source.create

    def unique(key: Key, document: Any) -> Written:
        refused = Written(fate=Fate.EXISTS, ru=1.0)
        return refused if key[1] == "doc-003" else create(key, document)

    instead(retiree, "create", unique)
    retiree.world.calm.retirements.undo("sim")
    for _ in range(60):
        retiree.tick()
        retiree.deliver()
        retiree.world.clock.advance(700)
    found = retiree.world.ports.ledger.retirement("sim")
    assert found is not None
    assert (found.state, found.halt) == (RetirementState.HALTED, "removal_failed")
    retiree.owners.check()
    instead(retiree, "create", create)
    retiree.finish()
    check_restored(retiree)


def test_a_batch_that_meets_a_guard_of_what_it_removed_leaves_the_pointer(
    retiree: Retiree,
) -> None:
    """Its worker died, somebody brought the document back and died half way: still it is read."""
    world, died = retiree.world, list[Key]()
    remove, create = world.source.remove, world.source.create

    def dying(key: Key, *, etag: str) -> Written:
        written = remove(key, etag=etag)
        if not died:
            died.append(key)
            raise Crash("after a removal")
        return written

    def begun(key: Key, document: Any) -> Written:
        create(key, document)
        raise Crash("after the guard")

    instead(retiree, "remove", dying)
    world.calm.retirements.execute("sim", {})
    world.clock.advance(BEGUN_WAIT_S)
    retiree.tick()
    letter = world.mail.take(RETIRE_QUEUE)
    assert letter is not None
    with pytest.raises(Crash):
        world.calm.retiring.run(letter.text)
    instead(retiree, "remove", remove)
    instead(retiree, "create", begun)
    world.clock.advance(100)
    retiree.tick()
    (key,) = died
    partition = (json.loads(key[0])[0],)
    with pytest.raises(Crash):
        Restoration(world.ports).one("sim", key[1], partition, deleted=False, execute=True)
    instead(retiree, "create", create)
    retiree.owners.check()
    world.clock.advance(100)
    retiree.finish()
    retiree.owners.check()
    assert totals(retiree) == (6, 0, 0)


def test_a_download_that_outlasts_a_seat_keeps_it(
    retiree: Retiree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Piece by piece; otherwise a large slice would never be removed."""
    download = MemoryArchive.download

    def slow(archive: MemoryArchive, name: str, into: BinaryIO) -> Stored:
        for _ in range(7 if name.startswith("data/") else 0):
            retiree.world.clock.advance(10.0)
            into.write(b"")
        return download(archive, name, into)

    monkeypatch.setattr(MemoryArchive, "download", slow)
    retiree.world.calm.retirements.execute("sim", {})
    retiree.world.clock.advance(BEGUN_WAIT_S)
    retiree.tick()
    for _ in range(3):
        retiree.deliver()
    assert totals(retiree) == (6, 0, 0)


def test_an_archive_that_cannot_be_opened_halts_the_retirement(retiree: Retiree) -> None:
    """The app's identity lost its role: said once, not tried for ever."""

    def refused(container: str, prefix: str) -> Any:
        raise PermanentError(f"opening {container}/{prefix}: answered 403")

    retiree.world.calm.retirements.execute("sim", {})
    retiree.world.clock.advance(BEGUN_WAIT_S)
    retiree.tick()
    retiree.world.ports.archives.open = refused  # type: ignore[method-assign]
    letter = retiree.world.mail.take(RETIRE_QUEUE)
    assert letter is not None
    retiree.world.calm.retiring.run(letter.text)
    found = retiree.world.ports.ledger.retirement("sim")
    assert found is not None
    assert found.state is RetirementState.HALTED
    assert "answered 403" in found.reason


def test_an_undo_writes_over_nobody(retiree: Retiree) -> None:
    """What an owner created again stays, and so does a deletion."""
    out(retiree)
    retiree.owners.write("doc-001", {"mine": True})
    retiree.owners.delete("doc-002")
    retiree.world.calm.retirements.undo("sim")
    retiree.finish()
    check_restored(retiree)
    retiree.owners.check()


def test_an_owners_deletion_in_the_midst_of_an_undo_counts(retiree: Retiree) -> None:
    """Deleted after we saw its pointer answer: the stub that we just left goes again."""
    out(retiree)
    create = retiree.world.source.create
    deleted = iter(["doc-003"])

    def raced(key: Key, document: Any) -> Written:
        if key[1] == "doc-003":
            for name in deleted:
                retiree.owners.delete(name)
        written = create(key, document)
        retiree.owners.check()
        return written

    instead(retiree, "create", raced)
    retiree.world.calm.retirements.undo("sim")
    retiree.finish()
    assert "doc-003" not in retiree.world.source.documents
    retiree.owners.check()
    check_restored(retiree)


def test_an_edited_stub_is_left_alone_by_an_undo() -> None:
    """Its owner wrote to it as if it were the document: what they wrote is not lost."""
    retiree = archived(1, "stub", documents=4)
    out(retiree)
    stub = retiree.world.source.documents["doc-001"]
    stub["status"] = "edited"
    retiree.world.calm.retirements.undo("sim")
    retiree.finish()
    assert retiree.world.source.documents["doc-001"]["status"] == "edited"
    assert sum("ebb_stub" in each for each in retiree.world.source.documents.values()) == 1


def test_a_stub_keeps_what_the_spec_names_where_it_was() -> None:
    """Nested as the document has it; what it does not have stays away, and nothing else comes."""
    document = {
        "id": "x",
        "tenant": "t",
        "at": {"zone": 5, "city": "Ghent", "street": "s"},
        "status": "paid",
        "body": "large",
    }
    pointer = Pointer(
        archive="a", blob="b", offset=1, length=2, rows=3, row=0, sha256="s", ts=4, etag="e"
    )
    data = json.dumps(document).encode()
    item = Item(index=0, row=a_row(), pointer=pointer, document=data)
    stub = stub_of(item, parse_spec(SPEC))
    assert stub.pop("ebb_stub")["row"] == 0
    assert stub == {
        "id": "x",
        "tenant": "t",
        "at": {"zone": 5, "city": "Ghent"},
        "status": "paid",
    }
