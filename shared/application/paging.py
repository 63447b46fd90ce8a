"""Reading a source page by page: how much to ask for, how to go on, and what a row is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from shared.application.pacer import Pacer
from shared.domain.canonical import canonical_document, digest, partition_key_text, storable
from shared.domain.receipt import Row
from shared.domain.slices import Progress
from shared.errors import PermanentError, TransientError
from shared.ports import Page, Query, Source

PAGE_DOCUMENTS_MAX = 100  # small documents gain nothing beyond
PAGE_DOCUMENTS_FIRST = 10  # before anything is measured
PAGE_BYTES = 4 << 20  # what Cosmos ends a page at; asking for more would change nothing
PAGE_SPAN_S = 0.25  # a page costs about this much of the budget: a second's use stays even


def items(ask: Callable[[str | None], Page]) -> Iterator[Any]:
    """Everything on all pages; `ask` fetches the one that a continuation leads to.

    A page that holds nothing and leads to itself would be asked for ever: that is refused.
    """
    continuation: str | None = None
    while True:
        page = ask(continuation)
        yield from page.items
        if page.continuation is None:
            return
        if page.continuation == continuation and not page.items:
            raise TransientError(
                "reading page by page: an empty page came with the continuation that had asked "
                "for it; the read will be tried again from its beginning"
            )
        continuation = page.continuation


def documents_of(
    source: Source, query: Query, pacer: Pacer, progress: Progress
) -> Iterator[Mapping[str, Any]]:
    """Every document the query means, page by page at the seat's pace."""

    def ask(continuation: str | None) -> Page:
        return pacer.call(
            lambda: source.documents(
                query,
                continuation=continuation,
                limit=page_documents(progress, pacer.rate_ru_per_s()),
            )
        )

    for document in items(ask):
        _refuse_outside(query, document)
        yield document


def _refuse_outside(query: Query, document: Mapping[str, Any]) -> None:
    """A document of another window would be archived where nobody counts or looks for it."""
    window = query.extent.window
    ts = document.get("_ts")
    if not isinstance(ts, int) or not window.lo_s <= ts < window.hi_s:
        raise PermanentError(
            f"reading the window [{window.lo_s}, {window.hi_s}): the source gave a document of "
            f"{ts!r}; look at cold.where, and write a new migration if it is wrong"
        )


def page_documents(progress: Progress, rate_ru_per_s: float) -> int:
    """Documents to ask for at once, by what they cost and weigh as measured."""
    if progress.ru_per_document <= 0 or progress.bytes_per_document <= 0:
        return PAGE_DOCUMENTS_FIRST
    affordable = int(rate_ru_per_s * PAGE_SPAN_S / progress.ru_per_document)
    fitting = int(PAGE_BYTES / progress.bytes_per_document)
    return max(1, min(PAGE_DOCUMENTS_MAX, affordable, fitting))


def row_of(document: Mapping[str, Any], paths: tuple[str, ...], canonical: bytes) -> Row:
    """A source document's manifest row."""
    return Row(
        id=storable(document["id"]),
        partition_key=partition_key_text(document, paths),
        etag=document["_etag"],
        ts=document["_ts"],
        sha256=digest(canonical),
    )


def rows_of(documents: Iterable[Mapping[str, Any]], paths: tuple[str, ...]) -> Iterator[Row]:
    """The manifest rows that source documents would have."""
    return (row_of(each, paths, canonical_document(each)) for each in documents)
