"""The metered account, through the real Azure Cosmos SDK."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import AzureError
from azure.cosmos import CosmosClient
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceNotFoundError,
)

from sandbox.business import BusinessOptions, start_business
from sandbox.cosmos.faults import Fault
from sandbox.seeding import SeedPlan, seed_container
from sandbox.stage import Sandbox
from tests.sandbox.clients import container_of

pytestmark = pytest.mark.node

IDS = "SELECT c.id FROM c"
COUNT = "SELECT VALUE COUNT(1) FROM c"


def fresh() -> str:
    """A container name that no other test uses."""
    return f"c{uuid.uuid4().hex[:8]}"


def ids(pages: object) -> list[list[str]]:
    """The ids of each page."""
    return [[item["id"] for item in page] for page in pages]  # type: ignore[attr-defined]


def test_documents_are_created_read_replaced_and_deleted(sandbox: Sandbox) -> None:
    """And an old `_ts` can be given."""
    container = container_of(sandbox, fresh())
    made = container.create_item({"id": "a é", "pk": "p", "__sandbox_ts": 1000})
    assert (made["_ts"], "__sandbox_ts" in made) == (1000, False)
    assert container.read_item("a é", "p")["_ts"] == 1000
    assert container.replace_item("a é", {"id": "a é", "pk": "p", "n": 2})["_ts"] > 1000
    container.delete_item("a é", "p")
    with pytest.raises(CosmosResourceNotFoundError):
        container.read_item("a é", "p")


def test_a_delete_with_an_old_etag_is_refused(sandbox: Sandbox) -> None:
    """And one with the etag of now succeeds."""
    container = container_of(sandbox, fresh())
    old = container.create_item({"id": "a", "pk": "p"})
    new = container.upsert_item({"id": "a", "pk": "p", "n": 1})
    with pytest.raises(CosmosAccessConditionFailedError):
        container.delete_item(
            "a", "p", etag=old["_etag"], match_condition=MatchConditions.IfNotModified
        )
    container.delete_item(
        "a", "p", etag=new["_etag"], match_condition=MatchConditions.IfNotModified
    )


def test_reading_and_deleting_300_kb_cost_30_and_150(sandbox: Sandbox) -> None:
    """The charge header carries the price by size."""
    container = container_of(sandbox, fresh())
    container.create_item({"id": "a", "pk": "p", "pad": "x" * 306_900})
    charges: list[float] = []
    container.read_item(
        "a", "p", response_hook=lambda h, _: charges.append(float(h["x-ms-request-charge"]))
    )
    container.delete_item(
        "a", "p", response_hook=lambda h, _: charges.append(float(h["x-ms-request-charge"]))
    )
    assert charges == pytest.approx([30, 150], rel=0.01)


def test_writes_cost_five_reads_and_a_refused_one_costs_one_unit(sandbox: Sandbox) -> None:
    """Creating and replacing by the document's size, conditions that do not hold by none."""
    container = container_of(sandbox, fresh())
    charges: list[float] = []
    told: dict[str, Any] = {
        "response_hook": lambda h, _: charges.append(float(h["x-ms-request-charge"]))
    }
    container.create_item({"id": "a", "pk": "p", "pad": "x" * 306_900}, **told)
    container.replace_item("a", {"id": "a", "pk": "p"}, **told)
    container.read_item("a", "p", **told)
    assert charges == pytest.approx([150, 5, 1], rel=0.01)
    never: dict[str, Any] = {"etag": "never", "match_condition": MatchConditions.IfNotModified}
    refused: list[Callable[[], object]] = [
        lambda: container.create_item({"id": "a", "pk": "p"}),
        lambda: container.replace_item("a", {"id": "a", "pk": "p"}, **never),
        lambda: container.delete_item("a", "p", **never),
        lambda: container.read_item("b", "p"),
        lambda: container.delete_item("b", "p"),
    ]
    for ask in refused:
        with pytest.raises(CosmosHttpResponseError) as error:
            ask()
        assert error.value.headers["x-ms-request-charge"] == "1.00"


def test_a_document_of_no_container_is_told_from_a_missing_one(sandbox: Sandbox) -> None:
    """By the substatus of the 404, also for a client that knew the container."""
    container = container_of(sandbox, fresh())
    container.create_item({"id": "a", "pk": "p"})
    with pytest.raises(CosmosResourceNotFoundError) as missing:
        container.read_item("b", "p")
    container.client_connection.DeleteContainer(container.container_link)
    with pytest.raises(CosmosResourceNotFoundError) as gone:
        container.read_item("a", "p")
    assert (missing.value.sub_status, gone.value.sub_status) == (None, 1003)


@pytest.mark.parametrize("fault", ["late_503", "lost_reply"])
def test_a_write_can_be_carried_out_and_its_answer_lost(sandbox: Sandbox, fault: Fault) -> None:
    """Charged once; whoever asks again finds it done."""
    container = container_of(sandbox, fresh())
    container.create_item({"id": "a", "pk": "p"})
    sandbox.admin.reset()
    sandbox.admin.add_fault(fault, kind="write")
    with pytest.raises(AzureError):
        container.delete_item("a", "p")
    assert sandbox.admin.total("ebb").ru == 5.0
    with pytest.raises(CosmosResourceNotFoundError):
        container.read_item("a", "p")


@pytest.mark.parametrize("which", ["one_partition", "four_partitions"])
def test_feed_ranges_together_give_each_document_once(
    which: str, sandbox: Sandbox, wide: Sandbox
) -> None:
    """Page by page with continuation, with parameters, and their counts add up."""
    container = container_of(sandbox if which == "one_partition" else wide, fresh())
    for i in range(60):
        container.create_item({"id": f"d{i}", "pk": f"k{i}", "__sandbox_ts": 1000 + i})
    for i in range(0, 60, 7):
        container.upsert_item({"id": f"d{i}", "pk": f"k{i}", "__sandbox_ts": 1000 + i})
    seen: list[str] = []
    counted: list[Any] = []
    ranges = list(container.read_feed_ranges())
    bounds = [{"name": "@lo", "value": 1010}, {"name": "@hi", "value": 1050}]
    where = "WHERE c._ts >= @lo AND c._ts < @hi"
    for feed_range in ranges:
        query = container.query_items(
            f"{IDS} {where}",
            parameters=bounds,
            feed_range=feed_range,
            max_item_count=3,
        )
        seen += [document for page in ids(query.by_page()) for document in page]
        count = container.query_items(f"{COUNT} {where}", parameters=bounds, feed_range=feed_range)
        counted += list(count)
    assert len(ranges) == (1 if which == "one_partition" else 4)
    assert sorted(seen) == sorted(f"d{i}" for i in range(10, 50))
    assert sum(counted) == 40


def test_a_continuation_survives_a_new_client(sandbox: Sandbox) -> None:
    """The token resumes after the last document given, even when documents before it went away."""
    name = fresh()
    container = container_of(sandbox, name)
    for i in range(6):
        container.create_item({"id": f"d{i}", "pk": "p"})
    feed_range = next(iter(container.read_feed_ranges()))
    pages = container.query_items(
        "SELECT * FROM c", feed_range=feed_range, max_item_count=2
    ).by_page()
    assert [d["id"] for d in next(pages)] == ["d0", "d1"]
    token = pages.continuation_token  # type: ignore[attr-defined]
    container.delete_item("d0", "p")
    container.delete_item("d2", "p")
    again = container_of(sandbox, name).query_items(
        "SELECT * FROM c", feed_range=feed_range, max_item_count=2
    )
    assert ids(again.by_page(token)) == [["d3", "d4"], ["d5"]]


def test_aggregates_projections_top_and_text_work_on_a_feed_range(sandbox: Sandbox) -> None:
    """MIN, TOP with ORDER BY, a projection and ToString."""
    container = container_of(sandbox, fresh())
    for i in range(5):
        container.create_item({"id": f"d{i}", "pk": "p", "__sandbox_ts": 1005 - i})
    feed_range = next(iter(container.read_feed_ranges()))

    def ask(query: str) -> list[object]:
        return list(container.query_items(query, feed_range=feed_range))

    assert ask("SELECT VALUE MIN(c._ts) FROM c") == [1001]
    assert ask("SELECT TOP 2 c.id FROM c ORDER BY c._ts") == [{"id": "d4"}, {"id": "d3"}]
    (row,) = ask("SELECT c.id, c.absent, ToString(c) AS document FROM c WHERE c.id = 'd1'")
    assert isinstance(row, dict)
    assert set(row) == {"id", "document"}
    assert '"_ts":1004' in row["document"]


def test_queries_without_a_feed_range_are_merged_over_partitions(wide: Sandbox) -> None:
    """Plain, counted, sorted and cut."""
    container = container_of(wide, fresh())
    for i in range(30):
        container.create_item({"id": f"d{i}", "pk": f"k{i}", "n": i})

    def ask(query: str) -> list[object]:
        return list(
            container.query_items(query, enable_cross_partition_query=True, max_item_count=4)
        )

    assert len(ask("SELECT * FROM c")) == 30
    assert ask(COUNT) == [30]
    assert ask("SELECT VALUE c.n FROM c ORDER BY c.n DESC")[:3] == [29, 28, 27]
    assert len(ask("SELECT TOP 7 * FROM c")) == 7


def test_a_query_by_partition_key_sees_only_that_key(sandbox: Sandbox) -> None:
    """The backing server alone would answer from every key."""
    container = container_of(sandbox, fresh())
    for i in range(6):
        container.create_item({"id": f"d{i}", "pk": f"k{i % 2}"})
    assert len(list(container.query_items("SELECT * FROM c", partition_key="k1"))) == 3


def test_a_full_partition_answers_429_and_when_to_come_back(sandbox: Sandbox) -> None:
    """The overdraft of one read holds the partition for its seconds."""
    name = fresh()
    container = container_of(sandbox, name)
    container.create_item({"id": "a", "pk": "p", "pad": "x" * 300_000})
    before = sandbox.admin.total("ebb").throttled
    sandbox.admin.set_limit(20)
    time.sleep(1.0 - time.time() % 1 + 0.05)
    sandbox.admin.reset()
    container.read_item("a", "p")
    with pytest.raises(CosmosHttpResponseError) as refused:
        container.read_item("a", "p")
    headers = refused.value.headers or {}
    assert (refused.value.status_code, refused.value.sub_status) == (429, 3200)
    assert 1 <= int(headers["x-ms-retry-after-ms"]) <= 2000
    assert "x-ms-request-charge" in headers
    time.sleep(int(headers["x-ms-retry-after-ms"]) / 1000 + 0.01)
    container.read_item("a", "p")
    assert before >= 0
    assert sandbox.admin.total("ebb").throttled == 1


def test_partitions_are_throttled_apart(wide: Sandbox) -> None:
    """A partition without units refuses while its neighbour answers."""
    container = container_of(wide, fresh())
    for partition in range(4):
        wide.admin.set_limit(0 if partition == 2 else 1_000_000, partition=partition)
    outcomes: list[list[Any]] = []
    for feed_range in container.read_feed_ranges():
        try:
            outcomes.append(list(container.query_items(COUNT, feed_range=feed_range)))
        except CosmosHttpResponseError as error:
            outcomes.append([error.status_code])
    assert outcomes == [[0], [0], [429], [0]]


def test_pages_stay_below_4_mb(sandbox: Sandbox) -> None:
    """30 documents of 300 KB come 13 at a time, whatever was asked for."""
    container = container_of(sandbox, fresh())
    report = seed_container(
        sandbox.backing,
        database="appdb",
        container=container.id,
        plan=SeedPlan(documents=30, large_share=0, small_share=0, with_edges=False, usual_kb=300),
    )
    feed_range = next(iter(container.read_feed_ranges()))
    pages = ids(
        container.query_items(
            "SELECT * FROM c", feed_range=feed_range, max_item_count=1000
        ).by_page()
    )
    assert report.documents == sum(len(page) for page in pages) == 30
    assert 2 <= len(pages) <= 4
    assert max(len(page) for page in pages) <= 17


def test_seeded_documents_are_where_the_meter_looks_and_as_old_as_planned(wide: Sandbox) -> None:
    """Cold ones before the limit, the burst in its second, and each found by its key."""
    plan = SeedPlan(
        documents=200, usual_kb=2, large_share=0.01, burst_documents=50, now_s=1_700_000_000
    )
    report = seed_container(wide.backing, database="appdb", container="seeded", plan=plan)
    container = container_of(wide, "seeded")

    def count(where: str) -> object:
        query = f"{COUNT} WHERE {where}"
        (answer,) = container.query_items(query, enable_cross_partition_query=True)
        return answer

    assert count(f"c._ts < {1_700_000_000 - 91 * 86_400}") == report.cold_documents
    assert count(f"c._ts = {report.burst_ts}") == 50
    for item, key in report.recent_items[:5]:
        assert container.read_item(item, key)["id"] == item


def test_a_wrong_key_is_refused(sandbox: Sandbox) -> None:
    """With 401, as the real account does."""
    with pytest.raises(CosmosHttpResponseError) as refused:
        CosmosClient(sandbox.cosmos_endpoint, "d3Jvbmc=", connection_verify=str(sandbox.ca_file))
    assert refused.value.status_code == 401


def test_a_first_page_can_be_throttled(sandbox: Sandbox) -> None:
    """Once, with the wait that the rule names; the next try passes."""
    container = container_of(sandbox, fresh())
    container.create_item({"id": "a", "pk": "p"})
    sandbox.admin.add_fault("throttle_first_page", origin="ebb", retry_after_ms=70)
    with pytest.raises(CosmosHttpResponseError) as refused:
        list(container.query_items("SELECT * FROM c", partition_key="p"))
    assert (refused.value.headers or {})["x-ms-retry-after-ms"] == "70"
    assert len(list(container.query_items("SELECT * FROM c", partition_key="p"))) == 1


def test_a_page_can_be_empty_and_still_go_on(sandbox: Sandbox) -> None:
    """First or in the middle: the documents all come after it."""
    container = container_of(sandbox, fresh())
    for i in range(4):
        container.create_item({"id": f"d{i}", "pk": "p"})
    feed_range = next(iter(container.read_feed_ranges()))
    sandbox.admin.add_fault("empty_page_with_continuation", kind="query")
    sandbox.admin.add_fault("empty_page_with_continuation", kind="query", after=1)
    query = container.query_items("SELECT * FROM c", feed_range=feed_range, max_item_count=2)
    assert [document for page in ids(query.by_page()) for document in page] == [
        "d0",
        "d1",
        "d2",
        "d3",
    ]
    assert [fault["hit"] for fault in sandbox.admin.faults()] == [1, 1]


def test_an_answer_can_be_503(sandbox: Sandbox) -> None:
    """For the origin that the rule names and no other."""
    name = fresh()
    ours, theirs = container_of(sandbox, name), container_of(sandbox, name, agent="business")
    ours.create_item({"id": "a", "pk": "p"})
    sandbox.admin.add_fault("status_503", origin="ebb", kind="read", times=None)
    assert theirs.read_item("a", "p")["id"] == "a"
    with pytest.raises(CosmosHttpResponseError) as refused:
        ours.read_item("a", "p")
    assert refused.value.status_code == 503


@pytest.mark.parametrize("fault", ["reset", "truncated_body"])
def test_a_connection_can_break(sandbox: Sandbox, fault: str) -> None:
    """Before the answer or in the middle of it; never half a document without an error."""
    container = container_of(sandbox, fresh())
    container.create_item({"id": "a", "pk": "p", "pad": "x" * 200_000})
    sandbox.admin.add_fault(fault, kind="read", times=None)  # type: ignore[arg-type]
    with pytest.raises(AzureError):
        container.read_item("a", "p")


def test_an_answer_can_be_slow(sandbox: Sandbox) -> None:
    """By as much as the rule says."""
    container = container_of(sandbox, fresh())
    container.create_item({"id": "a", "pk": "p"})
    sandbox.admin.add_fault("slow", slow_ms=300)
    started_s = time.monotonic()
    container.read_item("a", "p")
    assert time.monotonic() - started_s >= 0.3


def test_the_series_says_who_used_which_partition_when(sandbox: Sandbox) -> None:
    """By second and by minute the same sum."""
    sandbox.admin.reset()
    container = container_of(sandbox, fresh(), agent="ebb")
    started_s = int(time.time())
    container.create_item({"id": "a", "pk": "p"})
    container.read_item("a", "p")
    by_second = sandbox.admin.series(since_s=started_s)
    by_minute = sandbox.admin.series(grain="minute")
    assert sum(row.ru for row in by_second) == sum(row.ru for row in by_minute) == 6.0
    assert {(row.origin, row.partition) for row in by_second} == {("ebb", 0)}


def test_the_business_reaches_its_rate_and_measures_by_phase(sandbox: Sandbox) -> None:
    """In its own process, with its own 429s in its own tallies."""
    plan = SeedPlan(documents=30, usual_kb=20, large_share=0, cold_share=0.3)
    report = seed_container(sandbox.backing, database="appdb", container="business", plan=plan)
    sandbox.admin.set_limit(5000)
    options = BusinessOptions(
        database="appdb", container="business", target_ru_per_s=300, items=report.recent_items
    )
    with start_business(sandbox, options) as business:
        business.mark("alone")
        time.sleep(2.0)
        business.mark("squeezed")
        time.sleep(0.5)
        sandbox.admin.set_limit(20)
        time.sleep(1.5)
        summary = business.stop()
    alone, squeezed = summary["phases"]["alone"], summary["phases"]["squeezed"]
    assert alone["errors"] == alone["throttled"] == 0
    assert 100 < alone["ru_per_s"] < 600
    assert alone["p50_ms"] > 0
    assert squeezed["throttled"] > 0
