"""One batch of documents on its way out of the source, or back: what is written, in which order.

Each step may be the last one before a crash, and the batch is then repeated from its beginning.
So nothing is removed before a pointer answers for it, no pointer answers for what its owner
removed, and a document is told apart from its own later versions by conditions alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.application.bundle import Ports
from shared.application.pacer import Pacer
from shared.application.shelf import Item
from shared.domain.canonical import canonical_document, digest
from shared.domain.guards import guard_for, is_guard
from shared.domain.halts import Halt, Halting
from shared.domain.pointers import Key, Pointer, is_trace, pointer_in, with_pointer
from shared.domain.retirement import Outcome
from shared.domain.slices import Extent
from shared.domain.spec import MigrationSpec
from shared.errors import Throttled, TransientError
from shared.ports import Fate, Found, Query, Source, Written

TTL = "/ttl"

Outcomes = dict[Key, Outcome]
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What one slice's documents are removed from, by whom, and at whose pace."""

    ports: Ports
    spec: MigrationSpec
    source: Source
    extent: Extent
    pacer: Pacer
    still_mine: Callable[[], object]
    """Raises when another worker has the slice: then what is gone may be that one's doing."""
    repeats: frozenset[str] = frozenset()
    noted: int = 0
    """Rows that a removing worker noted as done, where they are being restored."""

    @property
    def name(self) -> str:
        return self.spec.source.name

    def find(self, key: Key) -> Document | None:
        found: Found = self.pacer.call(lambda: self.source.find(key))
        return found.document

    def write(self, ask: Callable[[], Written]) -> tuple[Written, bool]:
        """The answer, and whether an earlier try may have been carried out unheard."""
        unheard = False

        def once() -> Written:
            nonlocal unheard
            try:
                return ask()
            except Throttled:
                raise
            except TransientError:
                unheard = True
                raise

        return self.pacer.call(once), unheard


class Batch(Protocol):
    """What is done with a batch."""

    def run(self, items: Sequence[Item]) -> Outcomes: ...


class Deleting:
    """Announce, look, point, remove: pointers answer from before a document goes."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._pointers = field.ports.pointers

    def run(self, items: Sequence[Item]) -> Outcomes:
        meant = {item.row.key: item for item in items}
        announced = self._announced(meant)
        begun = self._begun(_without(meant, announced))
        outcomes = self._looked_for(_only(meant, announced))
        missing = _only(meant, outcomes)
        self._withdraw(missing.values(), announced=True)
        answering = self._answering(_without(_only(meant, announced), outcomes))
        for key, item in meant.items():
            if key in answering or key in begun:
                outcomes[key] = self._remove(item, begun=key in begun)
            else:
                outcomes.setdefault(key, Outcome.GONE)
        return outcomes

    def _announced(self, meant: Mapping[Key, Item]) -> frozenset[Key]:
        """From now on an owner's deletion finds a pointer and marks it; no reader goes by it."""
        pointers = {key: item.pointer.announced() for key, item in meant.items()}
        return self._pointers.put(self._field.name, pointers)

    def _begun(self, meant: Mapping[Key, Item]) -> frozenset[Key]:
        """Those of which our pointer answers already, by an attempt that was cut off."""
        name = self._field.name
        return frozenset(
            key for key, item in meant.items() if self._pointers.find(name, key) == item.pointer
        )

    def _answering(self, present: Mapping[Key, Item]) -> frozenset[Key]:
        if not present:
            return frozenset()
        pointers = {key: item.pointer for key, item in present.items()}
        return self._pointers.put_answering(self._field.name, pointers)

    def _looked_for(self, meant: Mapping[Key, Item]) -> Outcomes:
        """What is not there any more as it was archived.

        A past window only shrinks, so as many as are meant are all of them; the count reads the
        index alone. Ids that are given twice cannot be counted by id.
        """
        ids = tuple(sorted({item.row.id for item in meant.values()}))
        if not ids:
            return {}
        field = self._field
        if not field.repeats.intersection(ids):
            query = Query(extent=field.extent, where=field.spec.cold_where, ids=ids)
            if field.pacer.call(lambda: field.source.count(query)).value == len(meant):
                return {}
        found = {key: self._state_of(item) for key, item in meant.items()}
        return {key: outcome for key, outcome in found.items() if outcome is not Outcome.MOVED}

    def _state_of(self, item: Item) -> Outcome:
        stands = self._field.find(item.row.key)
        if stands is None:
            return Outcome.GONE
        return Outcome.MOVED if stands["_etag"] == item.row.etag else Outcome.CHANGED

    def _remove(self, item: Item, *, begun: bool) -> Outcome:
        """A document that is not there is our doing if nobody else's pointer or mark says no."""
        field, row = self._field, item.row
        written, unheard = field.write(lambda: field.source.remove(row.key, etag=row.etag))
        absent = written.fate is Fate.ABSENT
        if written.fate is Fate.DONE or (absent and (begun or unheard)):
            return Outcome.MOVED
        field.still_mine()
        if not absent and self._is_guarded(item):
            return Outcome.MOVED
        self._withdraw([item])
        return Outcome.GONE if absent else Outcome.CHANGED

    def _is_guarded(self, item: Item) -> bool:
        """Removed by an earlier attempt, and somebody is bringing it back: the pointer answers."""
        stands = self._field.find(item.row.key)
        return stands is not None and pointer_in(stands) == item.pointer

    def _withdraw(self, items: Iterable[Item], *, announced: bool = False) -> None:
        pointers = {
            item.row.key: item.pointer.announced() if announced else item.pointer for item in items
        }
        if pointers:
            self._pointers.withdraw(self._field.name, pointers)


class Stubbing:
    """Each document makes room for a small one that says where it lies."""

    def __init__(self, field: Field) -> None:
        self._field = field

    def run(self, items: Sequence[Item]) -> Outcomes:
        return {item.row.key: self._replace(item) for item in items}

    def _replace(self, item: Item) -> Outcome:
        field, row = self._field, item.row
        stub = stub_of(item, field.spec)
        written, _ = field.write(lambda: field.source.replace(row.key, stub, etag=row.etag))
        if written.fate is Fate.DONE:
            return Outcome.MOVED
        if written.fate is Fate.ABSENT:
            return Outcome.GONE
        stands = field.find(row.key)
        if stands is None:
            return Outcome.GONE
        return Outcome.MOVED if pointer_in(stands) == item.pointer else Outcome.CHANGED


class Undoing:
    """Each document that we removed stands in the source again, exact, or is left alone.

    After a deletion a stub comes first: if the owner deletes the document in that moment, the stub
    can be told from what the owner wrote, and goes.
    """

    def __init__(self, field: Field, *, deleted: bool) -> None:
        self._field = field
        self._deleted = deleted

    def run(self, items: Sequence[Item]) -> Outcomes:
        return {item.row.key: self._one(item) for item in items}

    def _one(self, item: Item) -> Outcome:
        if not self._deleted:
            return self._by_what_stands(item, self._field.find(item.row.key))
        pointer = self._pointer(item)
        if pointer != item.pointer:
            return self._not_ours(item, pointer)
        field, key = self._field, item.row.key
        guard = self._guard(item)
        written, _ = field.write(lambda: field.source.create(key, guard))
        stands = written.document if written.fate is Fate.DONE else field.find(key)
        if stands is None:
            raise TransientError(
                f"restoring {item.row.id!r}: it cannot be created though nothing stands under its "
                "key; if that goes on, another document has a value that must be unique"
            )
        return self._by_what_stands(item, stands)

    def _not_ours(self, item: Item, pointer: Pointer | None) -> Outcome:
        """Never removed, brought back before, or deleted by its owner since.

        Each of these leaves a trace, in the index or in the source. A document without any was
        never there, or the index has lost it: the count of such documents shows which.
        """
        field, key = self._field, item.row.key
        self._withdraw(item.pointer.announced(), key)
        begun = item.index >= field.noted
        traced = pointer is not None and is_trace(pointer)
        if traced and not begun and not (pointer and pointer.deleted):
            return Outcome.GONE
        stands = field.find(key)
        if stands is None:
            return Outcome.GONE if traced else Outcome.UNTRACED
        if is_guard(stands) and pointer_in(stands) == item.pointer:
            field.write(lambda: field.source.remove(key, etag=stands["_etag"]))
            return Outcome.GONE
        if begun:
            self._rewritten_if_untouched(item, stands)
        if not begun and _digest(stands) == item.row.sha256:
            return Outcome.MOVED
        return Outcome.CHANGED

    def _by_what_stands(self, item: Item, stands: Document | None) -> Outcome:
        if stands is not None and pointer_in(stands) == item.pointer:
            return self._filled(item, stands)
        if stands is None or _digest(stands) != item.row.sha256:
            return self._ended(item, stands)
        return self._rewritten_if_untouched(item, stands)

    def _filled(self, item: Item, stub: Document) -> Outcome:
        """The document in the stub's place, unless its owner did something to it meanwhile."""
        field, key = self._field, item.row.key
        ours = stub_of(item, field.spec)
        if not is_guard(stub) and _digest(stub) != digest(canonical_document(ours)):
            return Outcome.CHANGED  # its pointer stays: what stands there is still a stub
        if self._deleted and self._pointer(item) != item.pointer:
            field.write(lambda: field.source.remove(key, etag=stub["_etag"]))
            return Outcome.GONE
        return self._written(item, stub["_etag"])

    def _rewritten_if_untouched(self, item: Item, stands: Document) -> Outcome:
        """A version that a worker cut off may still remove: written anew, it is another one."""
        if stands["_etag"] == item.row.etag:
            return self._written(item, item.row.etag)
        return self._ended(item, stands)

    def _written(self, item: Item, etag: str) -> Outcome:
        field, key = self._field, item.row.key
        document = json.loads(item.document)
        written, _ = field.write(lambda: field.source.replace(key, document, etag=etag))
        told = written.document if written.fate is Fate.DONE else None
        if told is not None and _digest(told) != item.row.sha256:
            place = self._guard(item) if self._deleted else stub_of(item, field.spec)
            field.write(lambda: field.source.replace(key, place, etag=told["_etag"]))
            raise Halting(
                Halt.RESTORED_OTHERWISE,
                f"restoring {item.row.id!r} of slice {field.extent.slice_id}: the source answers "
                "with another document than was written, so its place was kept instead; its "
                "archived version still stands and is read",
            )
        return self._ended(item, told or field.find(key))

    def _ended(self, item: Item, stands: Document | None) -> Outcome:
        """Nobody need go by the pointer any more: a document stands, or its owner removed it."""
        if stands is not None and pointer_in(stands) == item.pointer:
            raise TransientError(
                f"restoring {item.row.id!r}: a stub stands there that was just replaced; try again"
            )
        if self._deleted:  # marked, not withdrawn: the trace stays when its owner deletes it later
            self._field.ports.pointers.put(self._field.name, {item.row.key: item.pointer.past()})
        if stands is None:
            return Outcome.GONE
        return Outcome.MOVED if _digest(stands) == item.row.sha256 else Outcome.CHANGED

    def _guard(self, item: Item) -> Document:
        paths = self._field.spec.source.partition_key
        return guard_for(item.row.key, paths=paths, pointer=item.pointer)

    def _pointer(self, item: Item) -> Pointer | None:
        return self._field.ports.pointers.find(self._field.name, item.row.key)

    def _withdraw(self, pointer: Pointer, key: Key) -> None:
        self._field.ports.pointers.withdraw(self._field.name, {key: pointer})


def stub_of(item: Item, spec: MigrationSpec) -> dict[str, Any]:
    """What stays of a document where it was: its key, what queries need, and the pointer."""
    document = json.loads(item.document)
    kept: dict[str, Any] = {"id": document["id"]}
    # Without its own `ttl` a stub would live as long as the container's default says, and a
    # document that was to stay for good would be gone for its readers.
    for path in (*spec.source.partition_key, *spec.stub_keep, TTL):
        _keep(document, kept, path.strip("/").split("/"))
    return with_pointer(kept, item.pointer)


def _keep(document: Document, kept: dict[str, Any], path: list[str]) -> None:
    """The value at a path, nested as the document has it; what it does not have stays away."""
    head, *rest = path
    if head not in document:
        return
    if not rest:
        kept[head] = document[head]
    elif isinstance(document[head], dict) and isinstance(kept.setdefault(head, {}), dict):
        _keep(document[head], kept[head], rest)


def _digest(document: Document) -> str:
    return digest(canonical_document(document))


def _only(meant: Mapping[Key, Item], keys: Iterable[Key]) -> dict[Key, Item]:
    return {key: meant[key] for key in keys}


def _without(meant: Mapping[Key, Item], keys: Iterable[Key]) -> dict[Key, Item]:
    left = set(keys)
    return {key: item for key, item in meant.items() if key not in left}
