"""Builds a look-up index of any size with the real adapter over a table that only counts.

Every entity is spelt as in production; then it is weighed and forgotten, so that millions of
them need neither a service nor its memory. What the SDK and a service add is measured apart.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from azure.data.tables import EntityProperty, TableServiceClient

from bench.children import peak_rss_mb
from shared.adapters.pointers import TablePointers
from shared.adapters.tables import OPERATIONS_MAX
from shared.domain.pointers import Key, Pointer

SOURCE = "appdb/records"
SLICE_DOCUMENTS = 850  # 256 MiB of documents of 300 KB, which is a spec's own limit
ROWS_PER_GROUP = 27
SLICE_S = 3_600
FIRST_S = 1_700_000_000
_KEYS = ("PartitionKey", "RowKey")

# Scalability targets of Table storage, and its list price; docs/benchmarks.md says where from.
ENTITIES_PER_S_MAX = 20_000
USD_PER_GB_MONTH = 0.045
USD_PER_10_000_CALLS = 0.00036

Operation = tuple[str, Mapping[str, Any], Mapping[str, Any]]


class CountingTable:
    """A table client that takes every transaction and keeps only numbers of it."""

    def __init__(self) -> None:
        self.calls = 0
        self.stored_bytes = 0
        self.entities: Counter[str] = Counter()

    def get_table_client(self, _name: str) -> CountingTable:
        return self

    def submit_transaction(self, operations: Sequence[Operation]) -> list[dict[str, str]]:
        self.calls += 1
        for _, entity, _ in operations:
            self.entities[entity["PartitionKey"]] += 1
            self.stored_bytes += stored_bytes(entity)
        return [{"etag": "e"}] * len(operations)


def stored_bytes(entity: Mapping[str, Any]) -> int:
    """What the service bills for an entity, by its own formula: keys, names, types and values."""
    keys = sum(2 * len(entity[key]) for key in _KEYS)
    return (
        4
        + keys
        + sum(
            8 + 2 * len(name) + _value_bytes(value)
            for name, value in entity.items()
            if name not in _KEYS
        )
    )


def _value_bytes(value: Any) -> int:
    match value:
        case bool():
            return 1
        case EntityProperty() | int() | float():
            return 8
        case bytes():
            return 4 + len(value)
        case _:
            return 4 + 2 * len(value)


def slices(entries: int) -> Iterator[dict[Key, Pointer]]:
    """What retirement hands over slice by slice, with names as long as a real archive's."""
    numbers = iter(range(entries))
    for number in range(-(-entries // SLICE_DOCUMENTS)):
        lo_s = FIRST_S + SLICE_S * number
        slice_id = f"{lo_s}-{lo_s + SLICE_S}-r000"
        blob = f"data/appdb/records/year=2025/month=11/{slice_id}.parquet"
        yield {
            (f'["customer-{n % 5_000}"]', f"invoice-{n:010d}"): _pointer(blob, n)
            for n in islice(numbers, SLICE_DOCUMENTS)
        }


def _pointer(blob: str, number: int) -> Pointer:
    group, row = divmod(number % SLICE_DOCUMENTS, ROWS_PER_GROUP)
    return Pointer(
        archive="archive/invoices",
        blob=blob,
        offset=4 + 3_100_000 * group,
        length=3_000_000 + number % 1_000,
        rows=ROWS_PER_GROUP,
        row=row,
        sha256=f"{number:064x}",
        ts=FIRST_S + number,
        etag=f'"{number:08x}-0000-0700-0000-66f0aabb0000"',
    )


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of this process."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    act()
    return time.monotonic() - wall_s, time.process_time() - cpu_s


def at_scale(entries: int) -> dict[str, Any]:
    """An index of so many entries, spelt and weighed."""
    table = CountingTable()
    index = TablePointers(cast("TableServiceClient", table))
    wall_s, cpu_s = timed(lambda: [index.put(SOURCE, each) for each in slices(entries)])
    loads = table.entities.values()
    return {
        "entries": sum(loads),
        "minutes": wall_s / 60,
        "us_per_entry": cpu_s / entries * 1e6,
        "stored_bytes_per_entry": table.stored_bytes / entries,
        "calls": table.calls,
        "calls_to_least": table.calls / -(-entries // OPERATIONS_MAX),
        "partitions": len(loads),
        "fullest_to_mean": max(loads) * len(loads) / sum(loads),
        "rss_mb": peak_rss_mb(),
    }


def over_service(tables: TableServiceClient, entries: int) -> dict[str, Any]:
    """A small index on a real service, beside the SDK alone writing the same in full batches."""
    first = next(iter(slices(min(entries, SLICE_DOCUMENTS))))
    index = TablePointers(tables, "lookedup")
    index.put(SOURCE, {("[0]", "so that the table is there"): next(iter(first.values()))})
    wall_s, cpu_s = timed(lambda: [index.put(SOURCE, each) for each in slices(entries)])
    bare = tables.create_table("bare")
    batches = _full_batches(entries)
    bare_wall_s, bare_cpu_s = timed(lambda: [bare.submit_transaction(each) for each in batches])
    return {
        "entries": entries,
        "entries_per_s": entries / wall_s,
        "entries_per_s_bare": entries / bare_wall_s,
        "ratio_to_bare": bare_wall_s / wall_s,
        "cpu_ratio_to_bare": bare_cpu_s / cpu_s,
        "us_per_entry": cpu_s / entries * 1e6,
    }


def _full_batches(entries: int) -> list[list[Any]]:
    """The same entities as the adapter spells them, gathered partition by partition."""
    gathered: dict[str, list[Any]] = {}

    class Gathering(CountingTable):
        def submit_transaction(self, operations: Sequence[Operation]) -> list[dict[str, str]]:
            partition = operations[0][1]["PartitionKey"]
            gathered.setdefault(partition, []).extend(operations)
            return super().submit_transaction(operations)

    index = TablePointers(cast("TableServiceClient", Gathering()))
    for each in slices(entries):
        index.put(SOURCE, each)
    return [
        members[start : start + OPERATIONS_MAX]
        for members in gathered.values()
        for start in range(0, len(members), OPERATIONS_MAX)
    ]


def plan(entries: int, found: Mapping[str, Any]) -> dict[str, Any]:
    """What an index of so many entries takes of an account, from what was weighed."""
    stored_gb = entries * found["stored_bytes_per_entry"] / 1e9
    calls = entries * found["calls"] / found["entries"]
    return {
        "entries": entries,
        "gb": stored_gb,
        "usd_per_month": stored_gb * USD_PER_GB_MONTH,
        "calls": calls,
        "usd_once": calls / 10_000 * USD_PER_10_000_CALLS,
        "hours_at_least": entries / ENTITIES_PER_S_MAX / 3_600,
        "entries_per_partition": entries / found["partitions"],
    }
