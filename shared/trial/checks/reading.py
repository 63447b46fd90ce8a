"""Cosmos DB: pages, continuations, feed ranges and counts over a container of known documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azure.cosmos import ContainerProxy
from azure.cosmos.exceptions import CosmosHttpResponseError

from shared.adapters.cosmos import CosmosSource
from shared.domain.slices import Extent, FeedRange, Window
from shared.errors import PermanentError
from shared.ports import Query
from shared.trial.checks.asking import every_item, page_of
from shared.trial.findings import Finding, judged

MOST, PARTS = "most", 3
"""The partition key of most documents, and what their number can be divided by."""
PAGES_MAX = 200  # four times what forty documents need, one by one, on many ranges
ALL_IDS = "SELECT VALUE c.id FROM c"
FOREVER = Window(lo_s=0, hi_s=2**33)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A container whose documents are known, as Ebb reads it and as the SDK does."""

    source: CosmosSource
    container: ContainerProxy
    another: Callable[[], ContainerProxy]
    """The same container through a client of its own."""
    ids: tuple[str, ...]


def feed_ranges(reading: Reading) -> Finding:
    """All feed ranges together give each document exactly once."""
    ranges = [dict(each) for each in reading.container.read_feed_ranges()]
    found = [
        each
        for token in ranges
        for each in every_item(reading.container, ALL_IDS, feed_range=token)
    ]
    return judged(
        expected=f"each of {len(reading.ids)} documents once",
        seen=f"{len(found)} documents, {len(set(found))} different, over {len(ranges)} ranges",
        holds=sorted(found) == sorted(reading.ids),
    )


def last_page(reading: Reading) -> Finding:
    """Pages whose size divides the number of documents end, and give each document once."""
    found: list[str] = []
    empty = 0
    for token in _tokens(reading):
        continuation = None
        for _ in range(PAGES_MAX):
            page = page_of(
                reading.container,
                ALL_IDS,
                limit=len(reading.ids) // 4,
                continuation=continuation,
                feed_range=token,
            )
            found += page.items
            empty += not page.items
            continuation = page.continuation
            if continuation is None:
                break
        else:
            return judged(
                expected="the pages end", seen=f"{PAGES_MAX} pages, and no end", holds=False
            )
    return judged(
        expected=f"each of {len(reading.ids)} documents once, and an end; an empty page is allowed",
        seen=f"{len(found)} documents and {empty} empty pages",
        holds=sorted(found) == sorted(reading.ids),
    )


def full_last_page(reading: Reading) -> Finding:
    """Behind a last page that is exactly full there is nothing, or an empty page that ends."""
    ids = every_item(reading.container, ALL_IDS, partition_key=MOST)
    found: list[str] = []
    last, after = 0, None
    for _ in range(PAGES_MAX):
        page = page_of(
            reading.container,
            ALL_IDS,
            limit=len(ids) // PARTS,
            continuation=after,
            partition_key=MOST,
        )
        found, last, after = found + page.items, len(page.items), page.continuation
        if after is None:
            break
    return judged(
        expected=f"{len(ids)} documents, and an end",
        seen=f"{len(found)} documents, "
        + ("no end" if after else "an empty page behind the full one" if not last else "no page"),
        holds=after is None and sorted(found) == sorted(ids) and len(ids) % PARTS == 0,
    )


def continuation(reading: Reading) -> Finding:
    """A continuation goes on in a new client, after the last document given."""
    token, ids = _fullest(reading)
    first = page_of(reading.container, ALL_IDS, limit=3, feed_range=token)
    other, found, after = reading.another(), list(first.items), first.continuation
    for _ in range(PAGES_MAX):
        if after is None:
            break
        page = page_of(other, ALL_IDS, limit=7, continuation=after, feed_range=token)
        found, after = found + page.items, page.continuation
    return judged(
        expected=f"{len(ids)} documents, each once, the first {len(first.items)} not again",
        seen=f"{len(found)} documents, {len(set(found))} different",
        holds=sorted(found) == sorted(ids) and first.continuation is not None,
    )


def foreign_continuation(reading: Reading) -> Finding:
    """A continuation that is none is refused, or starts the query again; it skips nothing."""
    token, _ = _fullest(reading)
    first = page_of(reading.container, ALL_IDS, limit=3, feed_range=token)
    try:
        page = page_of(reading.container, ALL_IDS, limit=3, continuation="none", feed_range=token)
        seen = "the first page again" if page.items == first.items else "another page"
    except CosmosHttpResponseError as error:
        seen = str(error.status_code)
    return judged(
        expected="400, or the first page again",
        seen=seen,
        holds=seen in {"400", "the first page again"},
    )


def count(reading: Reading) -> Finding:
    """COUNT by feed range gives the number of documents, and says what it cost."""
    counted = [reading.source.count(_query(each)) for each in reading.source.ranges()]
    total, ru = sum(each.value or 0 for each in counted), sum(each.ru for each in counted)
    return judged(
        expected=f"{len(reading.ids)}, with a charge above 0",
        seen=f"{total} for {ru:.2f} RU",
        holds=total == len(reading.ids) and ru > 0,
    )


def no_value(reading: Reading) -> Finding:
    """Of no documents COUNT says 0, and MIN says nothing."""
    empty = _query(reading.source.ranges()[0], window=Window(lo_s=1, hi_s=2))
    counted, earliest = reading.source.count(empty), reading.source.earliest_s(empty)
    return judged(
        expected="a count of 0 and no earliest",
        seen=f"a count of {counted.value} and {earliest.value or 'no'} earliest",
        holds=counted.value == 0 and earliest.value is None,
    )


def ids_in(reading: Reading) -> Finding:
    """`c.id IN (…)` beside a window gives exactly those documents."""
    wanted = (*reading.ids[:5], "nobody")
    found = [
        document["id"]
        for each in reading.source.ranges()
        for document in reading.source.documents(
            _query(each, ids=wanted), continuation=None, limit=100
        ).items
    ]
    return judged(
        expected="5 documents",
        seen=f"{len(found)} documents",
        holds=sorted(found) == sorted(wanted[:5]),
    )


def partition_ids(reading: Reading) -> Finding:
    """The private call lists partitions with ids and bounds, and each range lies on one."""
    found = reading.source.partitions_of(reading.source.ranges())
    named = {name for names in found.values() for name in names}
    return judged(
        expected="one partition for each range, each with an id",
        seen=f"{len(found)} ranges on partitions {', '.join(sorted(named))}",
        holds=len(named) == len(found) and all(len(names) == 1 for names in found.values()),
    )


def _tokens(reading: Reading) -> list[dict[str, Any]]:
    return [dict(each) for each in reading.container.read_feed_ranges()]


def _fullest(reading: Reading) -> tuple[dict[str, Any], list[str]]:
    """The feed range with the most documents, and their ids."""
    held = [
        (token, every_item(reading.container, ALL_IDS, feed_range=token))
        for token in _tokens(reading)
    ]
    token, ids = max(held, key=lambda each: len(each[1]))
    if len(ids) < 8:  # noqa: PLR2004 - two pages of three, and some
        raise PermanentError(
            f"reading a continuation: no range holds more than {len(ids)} documents; "
            "use an account whose containers have fewer partitions"
        )
    return token, ids


def _query(
    feed_range: FeedRange, *, window: Window = FOREVER, ids: tuple[str, ...] | None = None
) -> Query:
    return Query(extent=Extent(window=window, range=feed_range), ids=ids)


CHECKS: Mapping[str, Callable[[Reading], Finding]] = {
    "cosmos.feed-ranges": feed_ranges,
    "cosmos.empty-page": last_page,
    "cosmos.full-last-page": full_last_page,
    "cosmos.continuation": continuation,
    "cosmos.foreign-continuation": foreign_continuation,
    "cosmos.count": count,
    "cosmos.no-value": no_value,
    "cosmos.ids-in": ids_in,
    "cosmos.partition-ids": partition_ids,
}
