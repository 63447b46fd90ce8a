"""Where retired documents lie, as one small table row each, spread evenly over a few partitions.

A row is found by the hash of the document's key alone, so ids may hold anything.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from azure.data.tables import TableServiceClient

from shared.adapters.keys import key as spelt
from shared.adapters.records import packed, unpacked
from shared.adapters.tables import AFTER_BAR, OPERATIONS_MAX, Row, Table, Write, stored
from shared.domain.pointers import Key, Pointer
from shared.errors import Conflict, TransientError

# A storage account takes 20,000 entities a second and one partition 2,000. The fewest partitions
# that hold nobody up give the fullest transactions: a slice's pointers share sixteen partitions.
PARTITIONS = 16
ROUNDS_MAX = 20  # each lost round is another writer's success; more than a few never happened

BAR = "|"
_MARK = "begun"

T = TypeVar("T")
_MayStand = Callable[[Pointer | None, Pointer], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    partition: str
    row: str


class TablePointers:
    def __init__(self, tables: TableServiceClient, table: str = "ebbpointers") -> None:
        self._table = Table(tables, table)

    def find(self, source: str, key: Key) -> Pointer | None:
        row = self._row(source, _place(source, key))
        return None if row is None else _pointer(row, _thing(source))

    def put(self, source: str, pointers: Mapping[Key, Pointer]) -> frozenset[Key]:
        """New ones are written without looking; only who meets another looks."""
        standing: set[Key] = set()
        for name, batch in _batches(source, pointers):
            standing |= self._put(source, name, batch)
        return frozenset(standing)

    def put_answering(self, source: str, pointers: Mapping[Key, Pointer]) -> frozenset[Key]:
        standing: set[Key] = set()
        for name, batch in _batches(source, pointers):
            standing |= self._settled(
                source, partial(self._put_where, _answering, source, name, batch)
            )
        return frozenset(standing)

    def begin(self, source: str, now_s: float) -> float:
        return self._settled(source, partial(self._begin, source, now_s))

    def begun_s(self, source: str) -> float | None:
        mark = self._mark(source)
        if mark is not None:
            return mark
        partitions = f"{spelt(source)}{BAR}"
        unmarked = self._table.any_in(partitions, spelt(source) + AFTER_BAR, thing=_thing(source))
        return 0.0 if unmarked else None

    def withdraw(self, source: str, pointers: Mapping[Key, Pointer]) -> None:
        for name, batch in _batches(source, pointers):
            self._settled(source, partial(self._withdraw, source, name, batch))

    def delete(self, source: str, key: Key) -> bool:
        return self._settled(source, partial(self._delete, source, _place(source, key)))

    def _put(self, source: str, name: str, batch: Mapping[Key, Pointer]) -> set[Key]:
        thing = _thing(source)
        new = [_write(_place(source, key), given, "", thing) for key, given in batch.items()]
        try:
            self._table.submit(name, new, thing=thing)
        except Conflict:
            return self._settled(source, partial(self._put_where, _beside, source, name, batch))
        return set(batch)

    def _put_where(
        self, may: _MayStand, source: str, name: str, batch: Mapping[Key, Pointer]
    ) -> set[Key]:
        """Write each pointer that may stand beside what is there now, or in its place."""
        thing = _thing(source)
        standing: set[Key] = set()
        writes: list[Write] = []
        for key, pointer in batch.items():
            place = _place(source, key)
            row = self._row(source, place)
            found = None if row is None else _pointer(row, thing)
            if not may(found, pointer):
                continue
            standing.add(key)
            if found != pointer:
                writes.append(_write(place, pointer, row.version if row else "", thing))
        self._table.submit(name, writes, thing=thing)
        return standing

    def _begin(self, source: str, now_s: float) -> float:
        mark, thing = self._mark(source), _thing(source)
        if mark is not None:
            return mark
        new = stored(_MARK, thing, {"since_s": now_s}, "")
        self._table.submit(_marked(source), [new], thing=thing)
        return now_s

    def _mark(self, source: str) -> float | None:
        row = self._table.get(_marked(source), _MARK, thing=_thing(source))
        return None if row is None else float(row.properties["since_s"])

    def _withdraw(self, source: str, name: str, batch: Mapping[Key, Pointer]) -> None:
        thing = _thing(source)
        rows = ((self._row(source, _place(source, key)), given) for key, given in batch.items())
        writes = [
            Write(kind="delete", key=row.key, thing=thing, version=row.version)
            for row, given in rows
            if row is not None and _pointer(row, thing) == given
        ]
        self._table.submit(name, writes, thing=thing)

    def _delete(self, source: str, place: _Place) -> bool:
        thing = _thing(source)
        row = self._row(source, place)
        if row is None:
            return False
        found = _pointer(row, thing)
        if not found.deleted:
            mark = _write(place, replace(found, deleted=True), row.version, thing)
            self._table.submit(place.partition, [mark], thing=thing)
        return True

    def _settled(self, source: str, act: Callable[[], T]) -> T:
        """Act on what stands until nobody else came between the reading and the writing."""
        for _ in range(ROUNDS_MAX):
            try:
                return act()
            except Conflict:
                continue
        raise TransientError(
            f"writing {_thing(source)}: others wrote the same ones {ROUNDS_MAX} times in between; "
            "will be tried again"
        )

    def _row(self, source: str, place: _Place) -> Row | None:
        return self._table.get(place.partition, place.row, thing=_thing(source))


def _marked(source: str) -> str:
    """The partition of a source's mark; no hash leads there."""
    return f"{spelt(source)}{BAR}{_MARK}"


def _beside(found: Pointer | None, pointer: Pointer) -> bool:
    return found is None or found.yields_to(pointer)


def _answering(found: Pointer | None, pointer: Pointer) -> bool:
    return found is not None and pointer.may_answer(found)


def _place(source: str, key: Key) -> _Place:
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return _Place(
        partition=f"{spelt(source)}{BAR}{digest[0] % PARTITIONS:x}",
        row=urlsafe_b64encode(digest).decode().rstrip("="),
    )


def _batches(
    source: str, pointers: Mapping[Key, Pointer]
) -> Iterator[tuple[str, Mapping[Key, Pointer]]]:
    """What one transaction takes, partition by partition."""
    keys: dict[str, list[Key]] = defaultdict(list)
    for key in pointers:
        keys[_place(source, key).partition].append(key)
    for partition, members in keys.items():
        for start in range(0, len(members), OPERATIONS_MAX):
            yield partition, {key: pointers[key] for key in members[start : start + OPERATIONS_MAX]}


def _write(place: _Place, pointer: Pointer, version: str, thing: str) -> Write:
    return stored(place.row, thing, _properties(pointer, thing), version)


def _properties(pointer: Pointer, thing: str) -> dict[str, Any]:
    """The digest as bytes, a quarter of its text."""
    properties = packed(pointer, thing=thing)
    properties["sha256"] = bytes.fromhex(pointer.sha256)
    return properties


def _pointer(row: Row, thing: str) -> Pointer:
    properties: dict[str, Any] = dict(row.properties)
    if isinstance(properties.get("sha256"), bytes):
        properties["sha256"] = properties["sha256"].hex()
    return unpacked(Pointer, properties, version="", thing=thing)


def _thing(source: str) -> str:
    return f"the pointers of {source}"
