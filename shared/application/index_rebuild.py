"""Rebuilding the look-up index of one migration from its archive.

The archive's records name the documents that Ebb removed, and the source must answer that each is
missing. It adds what the index lost, changes nothing that is there, and works under the budget.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from shared.application.bundle import Ports
from shared.application.ownership import check_account
from shared.application.shelf import Item, opened, receipts, rows_promised
from shared.application.visiting import Visitor
from shared.domain.guards import is_guard
from shared.domain.pointers import Key, is_trace, pointer_in
from shared.domain.receipt import Promise, Row
from shared.domain.removal_record import (
    REMOVED,
    RETURNED,
    RemovalRecord,
    read_removal_record,
    rows_removed,
    rows_returned,
    slice_of,
)
from shared.domain.retirement import BATCH_DOCUMENTS, Direction, removal_id
from shared.domain.slices import Extent
from shared.domain.spec import MigrationSpec, parse_spec
from shared.errors import Refused
from shared.ports import Archive


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild did, or would do."""

    name: str
    execute: bool
    slices: int = 0
    removed: int = 0
    """Documents that the archive's records say were removed and not brought back by an undo."""
    known: int = 0
    """Of those, the ones that the index knows."""
    missing: int = 0
    """Of those, the ones that it does not."""
    pointed_at: int = 0
    """Missing, and the index points at them again."""
    in_source: int = 0
    """Missing, and the source holds a document under their key."""
    elsewhere: int = 0
    """Missing, and something else came to stand in the index meanwhile."""
    unrecorded: int = 0
    """Removed by the ledger's count, and no record names them."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "executed": self.execute,
            "slices": self.slices,
            "removed": self.removed,
            "known": self.known,
            "missing": self.missing,
            "pointed_at": self.pointed_at,
            "in_source": self.in_source,
            "elsewhere": self.elsewhere,
            "unrecorded": self.unrecorded,
        }


class IndexRebuild:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def run(
        self, name: str, *, execute: bool, on_slice: Callable[[Rebuilt], None] = lambda _: None
    ) -> Rebuilt:
        """Refused unless something was removed by `delete`, and nobody is at work on it."""
        spec = parse_spec(self._ports.ledger.migration(name).spec_text)
        check_account(self._ports, spec)
        self._check(name)
        report = Rebuilt(name=name, execute=execute)
        if execute:
            self._ports.pointers.begin(spec.source.name, self._ports.clock.now_s())
        visitor = Visitor(
            self._ports,
            migration=name,
            source=spec.source.name,
            doing="looking for removed documents of",
            later="rebuild again later: it goes on where it stopped",
        )
        try:
            rebuild = _Rebuild(self._ports, name, spec, visitor, report)
            for promise in receipts(rebuild.archive):
                rebuild.slice(promise)
                on_slice(report)
        finally:
            visitor.leave()
        return report

    def _check(self, name: str) -> None:
        retirement = self._ports.ledger.retirement(name)
        if retirement is None:
            raise Refused(f"rebuilding the index of {name}: nothing of it was ever removed")
        if retirement.mode != "delete":
            raise Refused(
                f"rebuilding the index of {name}: it was retired with stubs, which hold their "
                "pointers themselves; nothing of it is in the index"
            )
        if retirement.running:
            raise Refused(
                f"rebuilding the index of {name}: its retirement is running; pause it first: "
                f"ebb retire {name} --pause"
            )


class _Rebuild:
    """One way through one migration's archive."""

    def __init__(
        self, ports: Ports, name: str, spec: MigrationSpec, visitor: Visitor, report: Rebuilt
    ) -> None:
        self._ports = ports
        self._name = name
        self._spec = spec
        self._visitor = visitor
        self._report = report
        self.archive: Archive = ports.archives.open(spec.sink.container, spec.sink.prefix)
        self._source = ports.sources.open(spec.source.database, spec.source.container)
        self._blobs = _by_slice(self.archive)

    def slice(self, promise: Promise) -> None:
        slice_id, report = promise.extent.slice_id, self._report
        records = list(self._records(slice_id))
        removed = rows_removed(records)
        report.unrecorded += max(0, self._noted(slice_id) - len(removed))
        meant = removed - rows_returned(records)
        if not meant:
            return
        rows = rows_promised(self._ports, self.archive, promise)
        lost = {at for at in meant if not self._is_known(rows[at])}
        report.slices += 1
        report.removed += len(meant)
        report.known += len(meant) - len(lost)
        report.missing += len(lost)
        if lost and report.execute:
            self._point(promise, lost, len(rows))

    def _records(self, slice_id: str) -> Iterator[RemovalRecord]:
        for blob in self._blobs.get(slice_id, ()):
            yield read_removal_record(blob, self.archive.read(blob) or b"")

    def _noted(self, slice_id: str) -> int:
        removed = self._ports.ledger.removal(self._name, removal_id(Direction.REMOVE, slice_id))
        return removed.moved if removed else 0

    def _is_known(self, row: Row) -> bool:
        found = self._ports.pointers.find(self._spec.source.name, row.key)
        return found is not None and is_trace(found)

    def _point(self, promise: Promise, lost: set[int], rows: int) -> None:
        keep = self._visitor.keep
        with opened(self._ports, self.archive, self._spec.sink, promise, keep=keep) as shelf:
            items = (i for i in shelf.items(0, rows, with_documents=False) if i.index in lost)
            while batch := list(islice(items, BATCH_DOCUMENTS)):
                keep()
                self._batch(promise.extent, {each.row.key: each for each in batch})

    def _batch(self, extent: Extent, items: Mapping[Key, Item]) -> None:
        """Announce, look, answer: as for a removal, so an owner who acts meanwhile is heard."""
        pointers, name, report = self._ports.pointers, self._spec.source.name, self._report
        announced = {key: item.pointer.announced() for key, item in items.items()}
        placed = pointers.put(name, announced)
        stands = {key for key in placed if self._holds(extent, items[key])}
        pointers.withdraw(name, {key: announced[key] for key in stands})
        absent = {key: items[key].pointer for key in placed - stands}
        answering = pointers.put_answering(name, absent)
        report.in_source += len(stands)
        report.pointed_at += len(answering)
        report.elsewhere += len(items) - len(stands) - len(answering)

    def _holds(self, extent: Extent, item: Item) -> bool:
        """Whether the source has it; what only keeps its place for an undo is not it."""
        key = item.row.key
        found = self._visitor.at(
            extent, lambda pacer: pacer.call(lambda: self._source.find(key))
        ).document
        if found is None:
            return False
        return not (is_guard(found) and pointer_in(found) == item.pointer)


def _by_slice(archive: Archive) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for folder in (REMOVED, RETURNED):
        for stored in archive.stored(folder):
            found[slice_of(stored.name)].append(stored.name)
    return found
