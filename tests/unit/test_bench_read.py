"""The bench of look-ups: what is weighed, counted and compared, verified by hand."""

from __future__ import annotations

import pytest
from azure.data.tables import EdmType, EntityProperty

from bench.errors import BenchError
from bench.read import Taken
from bench.read_index import SLICE_DOCUMENTS, at_scale, plan, slices, stored_bytes
from bench.read_rivals import Stocked

DIGEST_OF_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


def test_an_entity_weighs_what_the_formula_says() -> None:
    """Keys and names at two bytes a character, a type's tag, and the value's own size."""
    assert stored_bytes({"PartitionKey": "p", "RowKey": "row"}) == 4 + 2 * 4
    entity = {
        "PartitionKey": "p",
        "RowKey": "row",
        "text": "abc",
        "many": EntityProperty(5, EdmType.INT64),
        "data": bytes(32),
        "mark": True,
    }
    text, many, data, mark = 8 + 8 + 4 + 6, 8 + 8 + 8, 8 + 8 + 4 + 32, 8 + 8 + 1
    assert stored_bytes(entity) == 12 + text + many + data + mark


def test_every_entry_is_put_once_and_spread_over_the_partitions() -> None:
    """Slice by slice, the last one short; the number of calls is the transactions'."""
    entries = 3 * SLICE_DOCUMENTS + 40
    assert [len(each) for each in slices(entries)] == [SLICE_DOCUMENTS] * 3 + [40]
    keys = {key for each in slices(entries) for key in each}
    found = at_scale(entries)
    assert found["entries"] == len(keys) == entries
    assert found["partitions"] == 16
    assert 16 * 3 <= found["calls"] <= 16 * 4
    assert found["calls_to_least"] == found["calls"] / 26
    assert 1.0 <= found["fullest_to_mean"] < 1.3
    assert 400 < found["stored_bytes_per_entry"] < 700


def test_a_plan_is_what_was_weighed_times_its_entries() -> None:
    """Storage, calls, money, and the account's own limit in hours."""
    weighed = {"stored_bytes_per_entry": 500.0, "calls": 20, "entries": 1_000, "partitions": 16}
    assert plan(72_000_000, weighed) == {
        "entries": 72_000_000,
        "gb": 36.0,
        "usd_per_month": pytest.approx(1.62),
        "calls": 1_440_000.0,
        "usd_once": pytest.approx(0.05184),
        "hours_at_least": 1.0,
        "entries_per_partition": 4_500_000.0,
    }


def test_a_way_is_told_by_its_median_its_tail_and_its_bytes() -> None:
    """Per look-up; bytes as a ratio to the least there could be."""
    taken = Taken(ms=[float(n) for n in range(1, 101)], requests=200, received_bytes=300_000)
    row = taken.row("somebody", least_bytes=2_000)
    assert (row["requests"], row["kb"], row["bytes_to_least"]) == (2.0, 3.0, 1.5)
    assert row["ms_p50"] == 50.5
    assert row["ms_p99"] == pytest.approx(99.99)


def test_a_wrong_document_ends_the_bench() -> None:
    """Nobody is measured who finds another one."""
    stocked = Stocked(source="s", name="n", keys=[("[]", "x")], digests=[DIGEST_OF_X])
    assert stocked.checked(0, b"x") == b"x"
    with pytest.raises(BenchError, match="document 0: another one came"):
        stocked.checked(0, b"y")
