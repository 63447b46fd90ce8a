"""Taking over what an earlier attempt staged soundly, so that only what was harmed is read again.

It holds only while the window is as it was: a past window can only shrink, so an equal count is
an equal set. Wherever anything else differs, it gives up, and the whole window is read.
"""

from __future__ import annotations

from shared.application.bundle import Ports
from shared.application.dispatching import Work
from shared.application.pacer import Pacer
from shared.application.reading import Read, WindowReading
from shared.application.spooling import Spool, in_file_order
from shared.domain.canonical import digest
from shared.domain.merkle import merkle_root
from shared.domain.receipt import Row
from shared.domain.slices import Staged, Stored
from shared.errors import NotFound, Unreadable
from shared.ports import Archive, Query

READ_AGAIN_MAX = 100  # ids in one question; with more harmed, reading the window is as good
READ_AGAIN_SHARE = 0.5

Wanted = dict[tuple[str, str], Row]


class Salvage:
    def __init__(
        self, ports: Ports, archive: Archive, work: Work, pacer: Pacer, reading: WindowReading
    ) -> None:
        self._ports = ports
        self._archive = archive
        self._work = work
        self._pacer = pacer
        self._reading = reading

    def run(self, earlier: Staged, spool: Spool) -> Read | None:
        """The window from what is sound and what was read again; None where that cannot be."""
        promised = self._promised(earlier)
        if promised is None or earlier.blob is None:
            return None
        before = self._reading.count()
        if before != len(promised):
            return None
        harmed = self._taken_over(earlier.blob, promised, spool)
        taken_over = len(spool.rows)
        if len(harmed) > min(READ_AGAIN_MAX, len(promised) * READ_AGAIN_SHARE):
            return None
        if harmed and not self._read_again(harmed, spool):
            return None
        after = self._reading.count()
        if after != before:
            return None
        return Read(
            rows=in_file_order(spool.rows),
            count_before=before,
            rows_read=len(spool.rows),
            count_after=after,
            taken_over=taken_over,
        )

    def _promised(self, earlier: Staged) -> Wanted | None:
        """The manifest's rows, if they are those that were staged."""
        with self._ports.scratch.open() as file:
            try:
                self._archive.download(earlier.manifest.name, file)
                file.seek(0)
                rows = list(self._ports.table_format.manifest_rows(file))
            except (NotFound, Unreadable):
                return None
        if merkle_root(row.leaf() for row in rows) != earlier.merkle_root:
            return None
        return {row.key: row for row in rows}

    def _taken_over(self, blob: Stored, promised: Wanted, spool: Spool) -> Wanted:
        """Spools every document whose bytes bear out its promise; returns those that do not."""
        left = dict(promised)
        with self._ports.scratch.open() as file:
            try:
                self._archive.download(blob.name, file)
                file.seek(0)
                for group in self._ports.table_format.data_groups(file):
                    for row, document in group.rows or ():
                        self._pacer.keep()
                        if left.get(row.key) == row and digest(document) == row.sha256:
                            del left[row.key]
                            spool.add(row, document)
            except (NotFound, Unreadable):
                return left
        return left

    def _read_again(self, harmed: Wanted, spool: Spool) -> bool:
        """Whether the source still gives exactly these documents, in these versions."""
        ids = tuple(sorted({row.id for row in harmed.values()}))
        query = Query(extent=self._work.slice.extent, where=self._work.spec.cold_where, ids=ids)
        known = len(spool.rows)
        self._reading.spool_documents(query, spool)
        again = [each.row for each in spool.rows[known:] if each.row.key in harmed]
        spool.rows[known:] = [each for each in spool.rows[known:] if each.row.key in harmed]
        wanted = sorted(row.leaf() for row in harmed.values())
        return sorted(row.leaf() for row in again) == wanted
