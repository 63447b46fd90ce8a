"""Restoring by name: one document, those of a time or a partition, or all that Ebb removed.

It sits at the board like everybody who spends request units. Whatever stops it, doing it again
goes on where it stopped, because what is back is no longer pointed at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from shared.application.bundle import Ports
from shared.application.consulting import Consulted, Consulting, Standing, keys_meant
from shared.application.ownership import check_account
from shared.application.pacer import Charged
from shared.application.restoring import Outcome, Restoring
from shared.application.shelf import Item, opened, receipts, rows_promised
from shared.application.visiting import Visitor
from shared.domain.addresses import why_unaddressable
from shared.domain.pointers import Pointer, is_trace, pointer_in
from shared.domain.receipt import Promise, Row, read_receipt, receipt_name
from shared.domain.retirement import Direction, removal_id
from shared.domain.slices import Extent
from shared.domain.spec import MigrationSpec, parse_spec
from shared.errors import Refused
from shared.ports import Archive

C = TypeVar("C", bound=Charged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which of a migration's documents: last written in [since, until), of one partition key."""

    since_s: int = 0
    until_s: int | None = None
    partition_key: tuple[str, ...] = ()

    def may_be_in(self, extent: Extent) -> bool:
        below = self.until_s is None or extent.window.lo_s < self.until_s
        return below and extent.window.hi_s > self.since_s

    def rows(self, rows: list[Row]) -> Iterator[Row]:
        keys = frozenset(keys_meant(self.partition_key)) if self.partition_key else None
        for row in rows:
            in_time = self.since_s <= row.ts and (self.until_s is None or row.ts < self.until_s)
            if in_time and (keys is None or row.partition_key in keys):
                yield row


@dataclass(slots=True)
class Restored:
    """What a restore did, or would do."""

    name: str
    execute: bool
    slices: int = 0
    meant: int = 0
    """Documents of the archive that were asked for."""
    removed: int = 0
    """Of those, the ones that the index says Ebb removed; with stubs, the source decides."""
    elsewhere: int = 0
    """Those for which the index names another migration's archive."""
    untraced: int = 0
    """Removed, and neither the index nor the source knows anything of them."""
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    def add(self, outcome: Outcome | None) -> None:
        """None: another archive answers."""
        if outcome is None:
            self.elsewhere += 1
        else:
            self.outcomes[outcome] += 1

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "executed": self.execute,
            "slices": self.slices,
            "meant": self.meant,
            "removed": self.removed,
            "restored": self.outcomes[Outcome.RESTORED],
            "left_alone_standing": self.outcomes[Outcome.STANDS],
            "left_alone_deleted": self.outcomes[Outcome.DELETED],
            "left_alone_elsewhere": self.elsewhere,
            "lost_from_index": self.untraced,
        }


class Restoration:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def many(
        self,
        name: str,
        wanted: Wanted,
        *,
        execute: bool,
        on_slice: Callable[[Restored], None] = lambda _: None,
    ) -> Restored:
        report = Restored(name=name, execute=execute)
        with _Errand(self._ports, name) as errand:
            for promise in errand.promises():
                if promise.documents and wanted.may_be_in(promise.extent):
                    errand.slice(promise, wanted, report)
                    on_slice(report)
        return report

    def one(
        self,
        name: str,
        document_id: str,
        partition_key: tuple[str, ...],
        *,
        deleted: bool,
        execute: bool,
    ) -> Restored:
        """`deleted`: also where its owner deleted it, as nothing else ever brings back."""
        found = Consulting(self._ports).run(name, document_id, partition_key)
        if found.standing is Standing.ELSEWHERE:
            raise Refused(
                f"restoring {document_id!r}: the archive {found.answering} answers for it; restore "
                "it by the name of the migration that writes there"
            )
        report = Restored(name=name, execute=execute, slices=1, meant=1)
        report.removed = int(found.standing is Standing.REMOVED)
        if execute:
            with _Errand(self._ports, name) as errand:
                report.outcomes[errand.one(found, deleted=deleted)] += 1
        return report


class _Errand:
    """One way through one migration's archive, with a seat for what is asked of the source."""

    def __init__(self, ports: Ports, name: str) -> None:
        spec: MigrationSpec = parse_spec(ports.ledger.migration(name).spec_text)
        check_account(ports, spec)
        self._ports = ports
        self._name = name
        self._spec = spec
        self._archive: Archive = ports.archives.open(spec.sink.container, spec.sink.prefix)
        self._source = ports.sources.open(spec.source.database, spec.source.container)
        self._extent: Extent | None = None
        self._visitor = Visitor(
            ports,
            migration=name,
            source=spec.source.name,
            doing="restoring documents of",
            later="restore again later: it goes on where it stopped",
        )
        self._restoring = Restoring(
            self._source,
            ports.pointers,
            name=spec.source.name,
            paths=spec.source.partition_key,
            ask=self._ask,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._visitor.leave()

    def promises(self) -> Iterator[Promise]:
        return receipts(self._archive)

    def slice(self, promise: Promise, wanted: Wanted, report: Restored) -> None:
        self._extent = promise.extent
        rows = list(wanted.rows(rows_promised(self._ports, self._archive, promise)))
        report.slices += 1
        report.meant += len(rows)
        keys = {row.key for row in rows}
        if not self._stubs:
            points = {row: self._pointer(row) for row in rows}
            if report.execute and len(rows) == promise.documents:
                report.untraced += self._untraced(promise.extent.slice_id, points)
            points = {row: _answering(pointer) for row, pointer in points.items()}
            keys = {row.key for row, pointer in points.items() if self._is_own(row, pointer)}
            report.removed += len(keys)
            report.elsewhere += sum(map(self._is_anothers, points.values()))
        if not (keys and report.execute):
            return
        with opened(self._ports, self._archive, self._spec.sink, promise) as shelf:
            for item in shelf.items(0, len(shelf.rows), with_documents=True):
                if item.row.key in keys:
                    report.add(self._item(item))

    def one(self, found: Consulted, *, deleted: bool) -> Outcome:
        name = receipt_name(found.slice_id)
        self._extent = read_receipt(name, self._archive.read(name) or b"").extent
        if found.pointer is not None and found.standing is Standing.REMOVED:
            return self._restoring.removed(found.key, found.pointer, found.document)
        stands = self._ask(lambda: self._source.find(found.key)).document
        if stands is not None:
            return self._instead_of(stands, found)
        if not deleted:
            return Outcome.DELETED
        return self._restoring.asked_for(found.key, found.document, sha256=found.sha256)

    def _instead_of(self, stands: Mapping[str, Any], found: Consulted) -> Outcome:
        pointer = pointer_in(stands)
        if pointer is None or pointer.sha256 != found.sha256:
            return Outcome.STANDS
        return self._restoring.stubbed(found.key, stands, found.document)

    def _item(self, item: Item) -> Outcome | None:
        """None where another archive answers."""
        self._visitor.keep()
        if why_unaddressable(item.row.key):
            return Outcome.STANDS
        if not self._stubs:
            return self._restoring.removed(item.row.key, item.pointer, item.document)
        stands = self._ask(lambda: self._source.find(item.row.key)).document
        if stands is None:
            others = self._is_anothers(_answering(self._pointer(item.row)))
            return None if others else Outcome.DELETED
        if pointer_in(stands) != item.pointer:
            return Outcome.STANDS
        return self._restoring.stubbed(item.row.key, stands, item.document)

    @property
    def _stubs(self) -> bool:
        return self._spec.retire == "stub"

    def _pointer(self, row: Row) -> Pointer | None:
        return self._ports.pointers.find(self._spec.source.name, row.key)

    def _untraced(self, slice_id: str, points: Mapping[Row, Pointer | None]) -> int:
        """How many more than an undo may miss have left no trace; see `Removal.untraced_max`."""
        removing = removal_id(Direction.REMOVE, slice_id)
        removed = self._ports.ledger.removal(self._name, removing)
        blank = [row for row, found in points.items() if found is None or not is_trace(found)]
        if removed is None or len(points) - len(blank) >= removed.moved:
            return 0
        named = (row for row in blank if not why_unaddressable(row.key))
        unknown = sum(1 for row in named if self._find(row) is None)
        return max(0, unknown - (len(points) - removed.moved - removed.unaddressable))

    def _find(self, row: Row) -> Mapping[str, Any] | None:
        return self._ask(lambda: self._source.find(row.key)).document

    def _is_own(self, row: Row, points: Pointer | None) -> bool:
        if points is None or self._is_anothers(points):
            return False
        return points.sha256 == row.sha256

    def _is_anothers(self, points: Pointer | None) -> bool:
        return points is not None and points.archive != self._spec.sink.place

    def _ask(self, question: Callable[[], C]) -> C:
        extent = self._extent
        if extent is None:
            raise ValueError("asking the source before a slice is known")
        return self._visitor.at(extent, lambda pacer: pacer.call(question))


def _answering(pointer: Pointer | None) -> Pointer | None:
    return pointer if pointer is not None and pointer.answers else None
