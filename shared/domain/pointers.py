"""Pointers: where the archived version of a document lies, once the source no longer holds it.

A pointer leads to one row by one ranged read, and carries the digest that what is read must have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.errors import Unreadable

if TYPE_CHECKING:
    from shared.domain.receipt import Row

STUB = "ebb_stub"
"""The property that makes a document a stub, and holds the pointer."""

RETURNING = "ebb_returning"
"""The property of a stub that an undo leaves for a moment: it counts while its pointer answers."""

MISSING_VALUE: dict[str, Any] = {}
"""What stands in a partition key for a value that the document does not have."""

UNBEGUN_KNOWN_S = 5.0
"""How long a reader may go on believing that nothing of a source was ever removed."""

BEGUN_WAIT_S = 15.0
"""From the mark to the first removal: every reader has asked again by then, with slow clocks."""

Key = tuple[str, str]
"""A document's partition key as a JSON list, and its id: what names it within its source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The bytes of a data file that hold the documents of one row group, and how many."""

    offset: int
    length: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Which row of which span of which blob, and what it must hash to."""

    archive: str
    """The blob container and prefix, as `container/prefix`."""
    blob: str
    offset: int
    length: int
    rows: int
    row: int
    sha256: str
    ts: int
    etag: str
    deleted: bool = False
    """Its owner deleted the document, or it came back: nobody answers for it any more."""

    @property
    def span(self) -> Span:
        return Span(offset=self.offset, length=self.length, rows=self.rows)

    @property
    def answers(self) -> bool:
        """Whether a reader may go by it once the source says that the document is not there."""
        return self.leads and not self.deleted

    @property
    def leads(self) -> bool:
        """Whether it is more than announced."""
        return self.rows > 0

    def announced(self) -> Pointer:
        """The same before anybody may go by it: an owner's deletion finds it and marks it."""
        return replace(self, rows=0)

    def past(self) -> Pointer:
        """The same once nobody is to go by it any more; it stays as a trace."""
        return replace(self, deleted=True)

    def may_answer(self, stands: Pointer | None) -> bool:
        """Whether it may stand in the place of what stands: its own announcement, or itself."""
        return stands is not None and stands in {self, self.announced()}

    def yields_to(self, other: Pointer) -> bool:
        """Whether another may stand in its place.

        A later version's may. Of the same version an announcement makes room, and any makes room
        for its own mark: whoever removed the document goes by this one, and whoever deleted it is
        not to be undone.
        """
        if other.ts != self.ts:
            return other.ts > self.ts
        return other in {self, self.past()} or not (self.deleted or self.answers)


def pointer_to(row: Row, span: Span, *, archive: str, blob: str, place: int) -> Pointer:
    return Pointer(
        archive=archive,
        blob=blob,
        offset=span.offset,
        length=span.length,
        rows=span.rows,
        row=place,
        sha256=row.sha256,
        ts=row.ts,
        etag=row.etag,
    )


def with_pointer(kept: Mapping[str, Any], pointer: Pointer) -> dict[str, Any]:
    """A stub: what is kept of a document, and where the rest of it is."""
    told = {name: value for name, value in asdict(pointer).items() if name != "deleted"}
    return {**kept, STUB: told}


def pointer_in(document: Mapping[str, Any]) -> Pointer | None:
    """The pointer of a stub; None for a document that is none.

    A stub that this version cannot read is an error: nobody may take it for the document.
    """
    told = document.get(STUB)
    if not isinstance(told, dict):
        return None
    try:
        return Pointer(**told)
    except TypeError as error:
        raise Unreadable(
            f"reading the stub {document.get('id')!r}: its {STUB} has {sorted(map(str, told))}, "
            "which is no pointer of this version; install the version of Ebb that wrote it"
        ) from error


def is_trace(pointer: Pointer) -> bool:
    """Whether it shows what became of a document: an announcement alone shows nothing."""
    return pointer.deleted or pointer.leads


def key_values(key: Key) -> list[Any]:
    """The values of a partition key; a part that the document does not have is `{}`."""
    values: list[Any] = json.loads(key[0])
    return values
