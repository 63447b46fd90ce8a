"""Restoring one document: back into the source, never over another, and never one that is deleted.

The bytes are checked before they are written and in the source's own answer; the pointer is marked
last. Repeating it after a crash or a lost reply anywhere ends the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from shared.application.pacer import Charged
from shared.domain.canonical import canonical_document, digest
from shared.domain.guards import guard_for, is_guard
from shared.domain.pointers import Key, Pointer, pointer_in
from shared.errors import PermanentError, TransientError
from shared.ports import Fate, Pointers, Source, Written

TRIES_MAX = 8  # each lost one means that somebody else wrote this very document meanwhile

C = TypeVar("C", bound=Charged)


class Ask(Protocol):
    """Makes one request of the source in its turn, as `Pacer.call` does."""

    def __call__(self, question: Callable[[], C], /) -> C: ...


class Outcome(StrEnum):
    """What became of a document that was to be restored."""

    RESTORED = "restored"
    STANDS = "stands"
    """Whatever stands in the source under its key was left alone."""
    DELETED = "deleted"
    """Its owner deleted it, or its pointer answers no more: nothing was written."""


class Differs(PermanentError):
    """The source holds something else than what was written to it."""


class Restoring:
    """Brings documents of one source back; `name` is the source's, `paths` its partition key."""

    def __init__(
        self, source: Source, pointers: Pointers, *, name: str, paths: tuple[str, ...], ask: Ask
    ) -> None:
        self._source = source
        self._pointers = pointers
        self._name = name
        self._paths = paths
        self._ask = ask

    def removed(self, key: Key, pointer: Pointer, data: bytes) -> Outcome:
        """A document whose pointer stands in the index; `data` are its checked bytes."""
        body = _body(data, pointer.sha256)
        guard = guard_for(key, paths=self._paths, pointer=pointer)
        for _ in range(TRIES_MAX):
            if not self._may_return(key, pointer):
                return Outcome.DELETED
            stands = self._created(key, guard)
            if stands is None:
                continue
            if not is_guard(stands) or pointer_in(stands) != pointer:
                return self._met(key, pointer, stands)
            if not self._may_return(key, pointer):
                self._taken_away(key, stands)
                return Outcome.DELETED
            if self._replaced(key, stands, body, pointer.sha256):
                self._pass(key, pointer)
                return Outcome.RESTORED
            if self._ask(lambda: self._source.find(key)).document is None:
                self._pass(key, pointer)
                return Outcome.DELETED  # its owner deleted the guard, and meant the document
        raise _contended(key)

    def stubbed(self, key: Key, stub: Mapping[str, Any], data: bytes) -> Outcome:
        """A document in whose place this stub stands, as it was just found."""
        pointer = pointer_in(stub)
        if pointer is None:
            return Outcome.STANDS
        body = _body(data, pointer.sha256)
        if self._replaced(key, stub, body, pointer.sha256):
            return Outcome.RESTORED
        found = self._ask(lambda: self._source.find(key)).document
        return Outcome.DELETED if found is None else _as_archived(found, pointer.sha256)

    def asked_for(self, key: Key, data: bytes, *, sha256: str) -> Outcome:
        """A document that a person wants back by its key, whether or not it was deleted."""
        body = _body(data, sha256)
        written = self._ask(lambda: self._source.create(key, body))
        if written.fate is not Fate.DONE:
            return Outcome.STANDS
        self._check(key, written, sha256, back=lambda etag: self._source.remove(key, etag=etag))
        return Outcome.RESTORED

    def _may_return(self, key: Key, pointer: Pointer) -> bool:
        return pointer.answers and self._pointers.find(self._name, key) == pointer

    def _created(self, key: Key, guard: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The guard as it stands, or what stood there before; None when that has just gone."""
        written = self._ask(lambda: self._source.create(key, guard))
        if written.fate is Fate.DONE and written.document is not None:
            return written.document
        return self._ask(lambda: self._source.find(key)).document

    def _met(self, key: Key, pointer: Pointer, stands: Mapping[str, Any]) -> Outcome:
        """Something stands there: the document not yet removed, an earlier attempt's, or a newer.

        But for the first the pointer leads to what is past, and goes.
        """
        if pointer_in(stands) is not None or stands["_etag"] == pointer.etag:
            return Outcome.STANDS
        self._pass(key, pointer)
        return _as_archived(stands, pointer.sha256)

    def _pass(self, key: Key, pointer: Pointer) -> None:
        """Nobody goes by it any more; it stays as a trace, unless a later version took its place.

        Without one, a document that its owner deletes from now on would look lost from the index.
        """
        self._pointers.put(self._name, {key: pointer.past()})

    def _taken_away(self, key: Key, guard: Mapping[str, Any]) -> None:
        etag = guard["_etag"]
        self._ask(lambda: self._source.remove(key, etag=etag))

    def _replaced(
        self, key: Key, stands: Mapping[str, Any], body: Mapping[str, Any], sha256: str
    ) -> bool:
        etag = stands["_etag"]
        written = self._ask(lambda: self._source.replace(key, body, etag=etag))
        if written.fate is not Fate.DONE:
            return False
        self._check(
            key, written, sha256, back=lambda etag: self._source.replace(key, stands, etag=etag)
        )
        return True

    def _check(
        self, key: Key, written: Written, sha256: str, *, back: Callable[[str], Written]
    ) -> None:
        """Raise Differs where something else stands than was written, once that is taken back."""
        told = written.document or self._ask(lambda: self._source.find(key)).document
        if told is not None and digest(canonical_document(told)) == sha256:
            return
        if told is not None:
            self._ask(lambda: back(told["_etag"]))
        raise Differs(
            f"restoring {key[1]!r} to {self._name}: the source's answer has another digest than "
            "what was written, and what stood there before was put back; the archived version is "
            "read as before — look at what changes documents on their way into the container"
        )


def _body(data: bytes, sha256: str) -> dict[str, Any]:
    if digest(data) != sha256:
        raise Differs("restoring a document: the bytes are not those of its digest; read it again")
    body: dict[str, Any] = json.loads(data)
    return body


def _as_archived(stands: Mapping[str, Any], sha256: str) -> Outcome:
    """A reply that was lost, or an earlier attempt: the document is back all the same."""
    same = digest(canonical_document(stands)) == sha256
    return Outcome.RESTORED if same else Outcome.STANDS


def _contended(key: Key) -> TransientError:
    return TransientError(
        f"restoring {key[1]!r}: others wrote it {TRIES_MAX} times meanwhile; try again"
    )
