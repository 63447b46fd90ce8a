"""Reading one window of the source whole: count, read in turn, count again, and account for all.

What it gives is complete by three equal numbers, or by comparison with a list of ids that is
itself held against a count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.application.dispatching import Work
from shared.application.pacer import Pacer
from shared.application.paging import documents_of, items, page_documents, row_of
from shared.application.spooling import Spool, Spooled, in_file_order
from shared.domain.canonical import canonical_document, partition_key_text, storable
from shared.domain.slices import Slice
from shared.errors import TransientError, Uncanonical
from shared.ports import Page, Query, Source

LISTINGS_MAX = 3  # a document superseded while its ids are listed makes one listing useless


class Incomplete(TransientError):
    """The source holds documents of the window that the read did not give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A window as it was read, in file order."""

    rows: list[Spooled]
    count_before: int
    rows_read: int
    count_after: int
    superseded: tuple[str, ...] = ()
    taken_over: int = 0
    """Of the rows, those that an earlier attempt had staged soundly."""


class WindowReading:
    def __init__(self, work: Work, source: Source, pacer: Pacer) -> None:
        self._work = work
        self._slice: Slice = work.slice
        self._source = source
        self._pacer = pacer
        self._paths = work.spec.source.partition_key
        self._query = Query(extent=work.slice.extent, where=work.spec.cold_where)

    def run(self, spool: Spool) -> Read:
        before = self.count()
        self.spool_documents(self._query, spool)
        after = self.count()
        rows = spool.rows
        _refuse_duplicates(self._slice, rows)
        superseded: tuple[str, ...] = ()
        kept = rows
        if not before == len(rows) == after:
            kept, superseded, after = self._reconcile(rows, counted=after)
        return Read(
            rows=in_file_order(kept),
            count_before=before,
            rows_read=len(rows),
            count_after=after,
            superseded=superseded,
        )

    def count(self) -> int:
        measured = self._pacer.call(lambda: self._source.count(self._query))
        if measured.value is None:
            raise TransientError(f"counting slice {self._slice.id}: the source gave no number")
        return measured.value

    def spool_documents(self, query: Query, spool: Spool) -> None:
        """Everything the query means, each document in its canonical form."""
        for document in documents_of(self._source, query, self._pacer, self._work.progress):
            data = _canonical(document)
            spool.add(row_of(document, self._paths, data), data)

    def _reconcile(
        self, rows: list[Spooled], *, counted: int
    ) -> tuple[list[Spooled], tuple[str, ...], int]:
        """Counts differ: hold what was read against what lies in the window now, id by id.

        A past window only shrinks. What was read and is gone now was superseded and is left out:
        archived again by a later window if it still exists. What is there and was not read means
        that the read was not complete.
        """
        present = self._all_identities(counted)
        read = {each.row.key: each.row.etag for each in rows}
        unread = [key[1] for key, etag in present.items() if read.get(key) != etag]
        if unread:
            raise Incomplete(
                f"reading slice {self._slice.id}: {len(unread)} of {len(present)} documents were "
                f"not given, such as {unread[0]!r}; it will be read again"
            )
        kept = [each for each in rows if each.row.key in present]
        gone = tuple(each.row.id for each in rows if each.row.key not in present)
        return kept, gone, len(present)

    def _all_identities(self, counted: int) -> dict[tuple[str, str], str]:
        """As many as were counted just before: since the window only shrinks, these are all."""
        for _ in range(LISTINGS_MAX):
            present = self._identities()
            if len(present) >= counted:
                return present
            listed_before, counted = counted, self.count()
        raise Incomplete(
            f"reading slice {self._slice.id}: {listed_before} documents were counted and the ids "
            f"of {len(present)} were given; it will be read again"
        )

    def _identities(self) -> dict[tuple[str, str], str]:
        def ask(continuation: str | None) -> Page:
            return self._pacer.call(
                lambda: self._source.identities(
                    self._query,
                    continuation=continuation,
                    limit=page_documents(self._work.progress, self._pacer.rate_ru_per_s()),
                    paths=self._paths,
                )
            )

        return {
            (partition_key_text(item, self._paths), storable(item["id"])): item["_etag"]
            for item in items(ask)
        }


def _canonical(document: Mapping[str, Any]) -> bytes:
    try:
        return canonical_document(document)
    except Uncanonical as error:
        raise Uncanonical(
            f"document {document['id']!r} has no canonical form: {error}; correct it in the "
            "source (or leave it out with cold.where), then resume the migration"
        ) from error


def _refuse_duplicates(target: Slice, rows: list[Spooled]) -> None:
    seen: set[tuple[str, str]] = set()
    for each in rows:
        if each.row.key in seen:
            raise Incomplete(
                f"reading slice {target.id}: the source gave {each.row.id!r} twice; "
                "it will be read again"
            )
        seen.add(each.row.key)
