"""Comparing proven slices with their source once more, at the pace that the budget leaves.

It runs where an operator runs it, and sits at the same board as every worker: the controller
grants a share while somebody compares, whatever state the migration is in.
"""

from __future__ import annotations

from shared.application.bundle import Ports
from shared.application.pacer import GivenBack, NoRoom, Pacer, SeatLost
from shared.application.paging import documents_of, rows_of
from shared.domain.board import Activity, Seat
from shared.domain.receipt import Row
from shared.domain.slices import Extent, Migration, Progress
from shared.domain.spec import MigrationSpec
from shared.domain.verdict import Verdict, compare_with_source
from shared.errors import EbbError, NotFound, TransientError
from shared.ports import Query

PATIENCE_S = 900.0  # without a budget for so long an operator had better come back later
RETRY_S = 10.0


class NoBudget(TransientError):
    """The budget left nothing for comparing, for longer than anybody should wait."""


class Comparing:
    """One seat for one archive, moved from slice to slice."""

    def __init__(self, ports: Ports, migration: Migration, spec: MigrationSpec) -> None:
        progress = ports.ledger.progress(migration.name)
        if progress is None:
            raise NotFound(f"comparing {migration.name} with its source: nothing was archived yet")
        self._ports = ports
        self._migration = migration
        self._spec = spec
        self._progress: Progress = progress
        self._source = ports.sources.open(spec.source.database, spec.source.container)
        self._pacer: Pacer | None = None

    def compare(self, extent: Extent, rows: list[Row]) -> Verdict:
        """The archive's rows beside the source's; read afresh before anything is called wrong."""
        verdict = self._compared(extent, rows)
        return verdict if verdict.sound else self._compared(extent, rows)

    def keep(self) -> None:
        if self._pacer is not None:
            try:
                self._pacer.keep()
            except SeatLost:
                self.leave()

    def leave(self) -> None:
        if self._pacer is not None:
            self._pacer.leave()
            self._pacer = None

    def _compared(self, extent: Extent, rows: list[Row]) -> Verdict:
        query = Query(extent=extent, where=self._spec.cold_where)
        since_s = self._ports.clock.now_s()
        while True:
            try:
                pacer = self._seated(extent)
                documents = documents_of(self._source, query, pacer, self._progress)
                return compare_with_source(
                    rows, rows_of(documents, self._spec.source.partition_key)
                )
            except (GivenBack, NoRoom, SeatLost) as error:
                self._wait_or_give_up(extent, since_s, error)

    def _seated(self, extent: Extent) -> Pacer:
        if self._pacer is not None and self._pacer.move_to(extent.slice_id, extent.range.id, 0):
            return self._pacer
        self.leave()
        pacer = Pacer.seated(self._ports, self._seat(extent))
        if pacer is None:
            raise NoRoom(f"slice {extent.slice_id} is in other hands")
        self._pacer = pacer
        return pacer

    def _seat(self, extent: Extent) -> Seat:
        return Seat(
            migration=self._migration.name,
            source=self._spec.source.name,
            range_id=extent.range.id,
            slice_id=extent.slice_id,
            fence=0,
            activity=Activity.COMPARE,
            until_s=0.0,
        )

    def _wait_or_give_up(self, extent: Extent, since_s: float, error: EbbError) -> None:
        waited_s = self._ports.clock.now_s() - since_s
        if waited_s > PATIENCE_S:
            raise NoBudget(
                f"comparing slice {extent.slice_id} with its source: no budget for "
                f"{waited_s:.0f} s ({error}); see 'ebb explain', and go on later with --resume"
            ) from error
        self._ports.clock.wait(RETRY_S)
