"""Comparing proven slices with their source once more, at the pace that the budget leaves.

It runs where an operator runs it, and sits at the same board as every worker: the controller
grants a share while somebody compares, whatever state the migration is in.
"""

from __future__ import annotations

from shared.application.bundle import Ports
from shared.application.pacer import Pacer
from shared.application.paging import documents_of, rows_of
from shared.application.visiting import Visitor
from shared.domain.receipt import Row
from shared.domain.slices import Extent, Migration, Progress
from shared.domain.spec import MigrationSpec
from shared.domain.verdict import Verdict, compare_with_source
from shared.errors import NotFound
from shared.ports import Query


class Comparing:
    """One seat for one archive, moved from slice to slice."""

    def __init__(self, ports: Ports, migration: Migration, spec: MigrationSpec) -> None:
        progress = ports.ledger.progress(migration.name)
        if progress is None:
            raise NotFound(f"comparing {migration.name} with its source: nothing was archived yet")
        self._spec = spec
        self._progress: Progress = progress
        self._source = ports.sources.open(spec.source.database, spec.source.container)
        self._visitor = Visitor(
            ports,
            migration=migration.name,
            source=spec.source.name,
            doing="comparing with its source",
            later="go on later with --resume",
        )
        self.keep = self._visitor.keep
        self.leave = self._visitor.leave

    def compare(self, extent: Extent, rows: list[Row]) -> Verdict:
        """The archive's rows beside the source's; read afresh before anything is called wrong."""
        verdict = self._compared(extent, rows)
        return verdict if verdict.sound else self._compared(extent, rows)

    def _compared(self, extent: Extent, rows: list[Row]) -> Verdict:
        query = Query(extent=extent, where=self._spec.cold_where)

        def compared(pacer: Pacer) -> Verdict:
            documents = documents_of(self._source, query, pacer, self._progress)
            return compare_with_source(rows, rows_of(documents, self._spec.source.partition_key))

        return self._visitor.at(extent, compared)
