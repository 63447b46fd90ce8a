"""One document brought back: exactly, once, never over another and never after its deletion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from shared.application.restoring import Differs, Outcome, Restoring
from shared.application.retrieving import Retrieving
from shared.domain.canonical import canonical_document
from shared.domain.guards import guard_for, is_guard
from shared.domain.pointers import Key, Pointer
from shared.errors import Unreadable
from shared.ports import Fate, Written
from tests.simulation.world import SOURCE, World
from tests.tiered.removal import pointers_of, removed, stubbed

ID = "doc-07"


@dataclass(slots=True)
class Scene:
    """One archived document, the source that held it, and whoever brings it back."""

    world: World
    key: Key
    pointer: Pointer
    data: bytes
    original: dict[str, Any]
    restoring: Restoring

    @property
    def stands(self) -> dict[str, Any] | None:
        return self.world.source.documents.get(ID)

    @property
    def points(self) -> Pointer | None:
        return self.world.ports.pointers.find(SOURCE, self.key)

    def back(self) -> Outcome:
        return self.restoring.removed(self.key, self.pointer, self.data)

    def remove(self) -> None:
        assert removed(self.world.ports, "sim", {self.key: self.pointer}) == [self.key]


def ask_at_once(question: Callable[[], Any]) -> Any:
    return question()


@pytest.fixture
def scene(archived: World) -> Scene:
    original = dict(archived.source.documents[ID])
    key = (f'["{original["pk"]}"]', ID)
    pointer = pointers_of(archived.ports, "sim")[key]
    ports = archived.ports
    return Scene(
        world=archived,
        key=key,
        pointer=pointer,
        data=Retrieving(ports.archives, ports.table_format).document(pointer),
        original=original,
        restoring=Restoring(
            ports.sources.open("db", "c"),
            ports.pointers,
            name=SOURCE,
            paths=("/pk",),
            ask=ask_at_once,
        ),
    )


def same_content(one: dict[str, Any] | None, other: dict[str, Any]) -> bool:
    return one is not None and canonical_document(one) == canonical_document(other)


def test_a_removed_document_comes_back_as_it_was(scene: Scene) -> None:
    """Equal to the byte of its canonical form; its pointer stays as a trace and answers no more."""
    scene.remove()
    assert scene.stands is None
    assert scene.back() is Outcome.RESTORED
    assert same_content(scene.stands, scene.original)
    assert scene.points == scene.pointer.past()


def test_what_stands_in_the_source_is_never_overwritten(scene: Scene) -> None:
    """A version written since stays, and the old one's pointer answers no more."""
    scene.remove()
    scene.world.source.put(ID, ts=scene.pointer.ts + 1, body="newer")
    assert scene.back() is Outcome.STANDS
    assert (scene.stands or {})["body"] == "newer"
    assert scene.points == scene.pointer.past()


def test_a_document_not_yet_removed_keeps_its_pointer(scene: Scene) -> None:
    """A retirement is just at it: without the pointer the document would be nowhere."""
    scene.world.ports.pointers.put(SOURCE, {scene.key: scene.pointer})
    assert scene.back() is Outcome.STANDS
    assert scene.points == scene.pointer


def test_a_deleted_document_does_not_come_back(scene: Scene) -> None:
    """Nor one whose pointer was withdrawn; unless a person asks for it by its key."""
    scene.remove()
    scene.world.ports.pointers.delete(SOURCE, scene.key)
    assert scene.back() is Outcome.DELETED
    assert scene.stands is None
    asked = scene.restoring.asked_for(scene.key, scene.data, sha256=scene.pointer.sha256)
    assert asked is Outcome.RESTORED
    assert same_content(scene.stands, scene.original)
    again = scene.restoring.asked_for(scene.key, scene.data, sha256=scene.pointer.sha256)
    assert again is Outcome.STANDS


def test_a_deletion_between_the_two_writes_wins(scene: Scene) -> None:
    """The guard is taken away again, and nothing of the document was ever there."""
    scene.remove()
    source, bodies = scene.world.source, []
    create = source.create

    def deleted_meanwhile(key: Key, document: Any) -> Written:
        written = create(key, document)
        bodies.append(is_guard(document))
        scene.world.ports.pointers.delete(SOURCE, scene.key)
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(source), "create", lambda _, *given: deleted_meanwhile(*given))
        assert scene.back() is Outcome.DELETED
    assert bodies == [True]
    assert scene.stands is None


@pytest.mark.parametrize("lost", ["create", "replace", "put"])
def test_a_crash_or_a_lost_reply_anywhere_is_made_good_by_repeating(
    scene: Scene, lost: str
) -> None:
    """The write was done, and nobody heard of it."""
    scene.remove()
    target: Any = scene.world.ports.pointers if lost == "put" else scene.world.source
    really = getattr(target, lost)

    def unheard(*given: Any, **named: Any) -> Any:
        if lost != "put":
            really(*given, **named)
        raise ConnectionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(target), lost, lambda _, *given, **named: unheard(*given, **named))
        with pytest.raises(ConnectionError):
            scene.back()
    assert scene.back() is Outcome.RESTORED
    assert same_content(scene.stands, scene.original)
    assert scene.points == scene.pointer.past()


def test_a_stub_gives_way_to_its_document(scene: Scene) -> None:
    """By its very version; a second time there is nothing to do."""
    stub = stubbed(scene.world.ports, "sim", scene.key, scene.pointer)
    assert scene.restoring.stubbed(scene.key, stub, scene.data) is Outcome.RESTORED
    assert same_content(scene.stands, scene.original)
    assert scene.restoring.stubbed(scene.key, stub, scene.data) is Outcome.RESTORED
    scene.world.source.put(ID, ts=scene.pointer.ts + 1, body="newer")
    assert scene.restoring.stubbed(scene.key, stub, scene.data) is Outcome.STANDS
    del scene.world.source.documents[ID]
    assert scene.restoring.stubbed(scene.key, stub, scene.data) is Outcome.DELETED
    assert scene.restoring.stubbed(scene.key, scene.original, scene.data) is Outcome.STANDS


def test_other_bytes_are_refused_before_and_after_writing(scene: Scene) -> None:
    """What was read wrongly is not written; what the source answers otherwise is told."""
    scene.remove()
    with pytest.raises(Differs, match="read it again"):
        scene.restoring.removed(scene.key, scene.pointer, scene.data + b" ")
    assert scene.stands is None
    replace_ = type(scene.world.source).replace

    def altered(source: Any, key: Key, document: Any, *, etag: str) -> Written:
        return replace_(source, key, document | {"body": "altered"}, etag=etag)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(scene.world.source), "replace", altered)
        with pytest.raises(Differs, match="another digest"):
            scene.back()
    assert scene.points == scene.pointer


def test_an_altered_archive_is_never_restored_from(scene: Scene) -> None:
    """The digest of the pointer decides what may leave the archive."""
    ports = scene.world.ports
    retrieving = Retrieving(ports.archives, ports.table_format)
    with pytest.raises(Unreadable, match="run 'ebb verify'"):
        retrieving.document(replace(scene.pointer, sha256="00" * 32))


def test_neighbours_take_one_read_of_the_archive(scene: Scene) -> None:
    """Whoever restores a file reads each of its spans once."""
    ports = scene.world.ports
    pointers = [
        each
        for each in pointers_of(ports, "sim").values()
        if (each.blob, each.offset) == (scene.pointer.blob, scene.pointer.offset)
    ]
    archive = type(ports.archives.open("archive", ""))
    read, spans = archive.read_range, []

    def counted(self: Any, name: str, offset: int, length: int) -> bytes:
        spans.append((name, offset))
        return read(self, name, offset, length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "read_range", counted)
        retrieving = Retrieving(ports.archives, ports.table_format)
        assert len({retrieving.document(each) for each in pointers}) == len(pointers) > 1
    assert len(spans) == 1


def test_a_guard_holds_the_place_of_any_key(scene: Scene) -> None:
    """Nested paths as they are stored; a part that is missing stays missing."""
    guard = guard_for(('["x",{},null]', "i"), paths=("/a/b", "/a/c", "/d"), pointer=scene.pointer)
    assert is_guard(guard)
    assert {key: guard[key] for key in guard if not key.startswith("ebb_")} == {
        "id": "i",
        "a": {"b": "x"},
        "d": None,
    }


def test_a_contended_document_is_given_up_for_now(scene: Scene) -> None:
    """Somebody who writes and deletes it over and over is not fought for ever."""
    scene.remove()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(scene.world.source), "create", lambda *_: Written(fate=Fate.EXISTS, ru=1.0)
        )
        with pytest.raises(Exception, match="try again"):
            scene.back()
