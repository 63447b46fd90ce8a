"""Staging what was read of a slice: a Parquet file in file order, and the manifest of its rows.

What it leaves is unproven; validating is a separate step by another invocation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shared.application.bundle import Ports
from shared.application.dispatching import Work
from shared.application.reading import Read
from shared.application.spooling import Spool, Spooled
from shared.domain.merkle import merkle_root
from shared.domain.receipt import Row, staging_name
from shared.domain.slices import Slice, Staged, Stored
from shared.domain.spec import MigrationSpec
from shared.ports import Archive

SUPERSEDED_NAMED_MAX = 10  # an id may have 1,023 characters and a table property holds 32 Ki


class Staging:
    def __init__(
        self, ports: Ports, archive: Archive, work: Work, *, keep: Callable[[], None]
    ) -> None:
        self._ports = ports
        self._archive = archive
        self._spec: MigrationSpec = work.spec
        self._slice: Slice = work.slice
        self._keep = keep

    def run(self, spool: Spool, read: Read, *, ru: float) -> Staged:
        blob, rows = self._data(spool, read.rows)
        root = merkle_root(row.leaf() for row in rows)
        return Staged(
            blob=blob,
            manifest=self._manifest(rows, root),
            merkle_root=root,
            documents=len(rows),
            document_bytes=sum(each.size for each in read.rows),
            count_before=read.count_before,
            rows_read=read.rows_read,
            count_after=read.count_after,
            superseded=len(read.superseded),
            superseded_ids=read.superseded[:SUPERSEDED_NAMED_MAX],
            taken_over=read.taken_over,
            ru_spent=ru,
        )

    def _data(self, spool: Spool, rows: list[Spooled]) -> tuple[Stored | None, list[Row]]:
        if not rows:
            return None, []
        name = staging_name(self._slice.id, self._slice.fence, "parquet")
        sink = self._archive.writer(name)
        table = self._ports.table_format.data_writer(
            sink,
            partition_key=self._spec.source.partition_key,
            promote=self._spec.sink.promote,
        )
        staged: list[Row] = []
        try:
            for each in rows:
                group = table.add(each.row, spool.document(each))
                staged.append(replace(each.row, row_group=group))
                self._keep()
            table.close({"slice": self._slice.id, "fence": str(self._slice.fence)})
        except BaseException:
            table.abandon()
            sink.abort()
            raise
        return sink.commit(), staged

    def _manifest(self, rows: list[Row], root: str) -> Stored:
        sink = self._archive.writer(staging_name(self._slice.id, self._slice.fence, "manifest"))
        facts = {"slice": self._slice.id, "fence": str(self._slice.fence), "merkle_root": root}
        try:
            self._ports.table_format.write_manifest(sink, rows, facts)
        except BaseException:
            sink.abort()
            raise
        return sink.commit()
