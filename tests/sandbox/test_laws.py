"""The pure laws of the sandbox, each with numbers worked out by hand."""

from itertools import pairwise
from pathlib import Path

import pytest

from sandbox.business import Profile, Spike, read_trace
from sandbox.cosmos.account import Account, History, MonitorDelay, backfill
from sandbox.cosmos.authorization import key_signature
from sandbox.cosmos.charges import Tariff, aggregate_ru, point_read_ru, query_page_ru, write_ru
from sandbox.cosmos.faults import FaultBoard, FaultRule, fault_rule
from sandbox.cosmos.operations import operation_of, origin_of
from sandbox.cosmos.partitions import key_ranges, partition_of
from sandbox.cosmos.query_plan import query_plan
from sandbox.cosmos.series import Cell, TrafficSeries
from sandbox.cosmos.windows import RequestUnitWindow
from sandbox.errors import SandboxError
from sandbox.identity import TokenIssuer
from sandbox.monitor import BadQuery, metrics_answer, metrics_query
from sandbox.seeding import SeedPlan, seed_documents

KB = 1024
CELL = Cell("business", 0, "db", "c", "Read", 200)


def account_with(
    series: TrafficSeries, *, lag_s: float = 0, loss_share: float = 0, limit: float = 100
) -> Account:
    """An account of one partition."""
    return Account(
        resource_id="/r",
        windows=[RequestUnitWindow(limit_ru_per_s=limit)],
        tariff=Tariff(),
        delay=MonitorDelay(lag_s=lag_s, loss_share=loss_share),
        series=series,
    )


def test_point_reads_cost_what_microsoft_documents() -> None:
    """1 KB is 1 RU, 100 KB about 10, 300 KB 30, and nothing is cheaper than 1."""
    prices = [point_read_ru(Tariff(), kb * KB) for kb in (0, 1, 100, 300)]
    assert prices == [1.0, 1.0, 10.6, 30.0]


def test_the_seed_price_of_300_ru_can_be_set() -> None:
    """One knob bends the whole line, and 1 KB stays at 1 RU."""
    tariff = Tariff(ru_per_300_kb=300)
    assert point_read_ru(tariff, 300 * KB) == 300.0
    assert point_read_ru(tariff, KB) == 1.0


def test_writes_cost_five_times_their_read() -> None:
    """5 RU for 1 KB."""
    assert write_ru(Tariff(), KB) == 5.0
    assert write_ru(Tariff(), 300 * KB) == 150.0


def test_a_page_costs_its_documents_and_an_aggregate_only_the_index() -> None:
    """13 documents of 300 KB are close to 13 point reads; counting 2,000 costs 3.8 RU."""
    assert query_page_ru(Tariff(), items=13, loaded_bytes=13 * 300 * KB) == pytest.approx(
        381, abs=1
    )
    assert aggregate_ru(Tariff(), matched=2000) == 3.8


def test_a_second_admits_until_its_units_are_used() -> None:
    """A request is admitted with one unit left, and refused with none until the next second."""
    window = RequestUnitWindow(limit_ru_per_s=10)
    window.charge(100.0, 9.99)
    assert window.wait_s(100.1) == 0.0
    window.charge(100.1, 0.01)
    assert window.wait_s(100.25) == pytest.approx(0.75)
    assert window.wait_s(101.0) == 0.0


def test_an_overdraft_is_owed_by_the_seconds_after() -> None:
    """35 RU at 10 RU/s block three whole seconds and leave five used in the fourth."""
    window = RequestUnitWindow(limit_ru_per_s=10)
    window.charge(100.5, 35)
    assert window.wait_s(100.5) == pytest.approx(2.5)
    assert window.wait_s(102.999) > 0
    assert window.wait_s(103.0) == 0.0
    window.charge(103.0, 5)
    assert window.wait_s(103.0) == pytest.approx(1.0)


def test_idle_seconds_save_nothing_up() -> None:
    """An hour of rest allows no more than one second's units."""
    window = RequestUnitWindow(limit_ru_per_s=10)
    window.charge(4000.0, 10)
    assert window.wait_s(4000.0) == pytest.approx(1.0)


def test_ranges_cover_all_keys_and_keys_spread_over_them() -> None:
    """Bounds join without a gap, and 400 keys fall on all four partitions fairly."""
    ranges = key_ranges(4)
    assert (ranges[0].min_inclusive, ranges[-1].max_exclusive) == ("", "FF")
    assert all(a.max_exclusive == b.min_inclusive for a, b in pairwise(ranges))
    where = [partition_of(f'["k{i}"]', kind="Hash", version=2, count=4) for i in range(400)]
    assert all(70 < where.count(p) < 130 for p in range(4))


def test_keys_of_every_type_have_a_partition() -> None:
    """Null, missing, numbers, booleans and hierarchical keys all hash."""
    for key in ("[null]", "[{}]", "[]", "[1.5]", "[true]"):
        assert 0 <= partition_of(key, kind="Hash", version=2, count=4) < 4
    assert 0 <= partition_of('["a","b"]', kind="MultiHash", version=2, count=4) < 4


def test_a_fault_waits_its_turn_and_ends() -> None:
    """After one, twice: the second and third match are hit, no others."""
    board = FaultBoard()
    board.add(FaultRule(fault="status_503", origin="ebb", kind="read", after=1, times=2))
    assert board.meet(origin="business", kind="read", first_page=True) is None
    met = [board.meet(origin="ebb", kind="read", first_page=True) is not None for _ in range(4)]
    assert met == [False, True, True, False]


def test_a_first_page_fault_leaves_other_pages_and_point_reads_alone() -> None:
    """Only a query without a continuation is on its first page."""
    board = FaultBoard()
    board.add(FaultRule(fault="throttle_first_page", times=None))
    assert board.meet(origin="ebb", kind="read", first_page=True) is None
    assert board.meet(origin="ebb", kind="query", first_page=False) is None
    assert board.meet(origin="ebb", kind="query", first_page=True) is not None


def test_an_unknown_fault_is_refused_with_the_list() -> None:
    """The message says what there is."""
    with pytest.raises(SandboxError, match="truncated_body"):
        fault_rule({"fault": "explode"})


def test_requests_are_understood_from_their_headers() -> None:
    """A COUNT is a count, a plain query a query, an upsert a write."""
    docs = "/dbs/d/colls/c/docs/"
    query = {"x-ms-documentdb-isquery": "True"}
    assert (
        operation_of("POST", docs, query, b'{"query": "SELECT VALUE COUNT(1) FROM c"}').kind
        == "count"
    )
    assert operation_of("POST", docs, query, b'{"query":"SELECT * FROM c"}').kind == "query"
    assert operation_of("POST", docs, {"x-ms-documentdb-is-upsert": "true"}, b"{}").name == "Upsert"
    assert operation_of("GET", docs + "a%2Fb", {}, b"").segments[-1] == "a/b"
    assert operation_of("GET", "/dbs/d/colls/c/pkranges/", {}, b"").kind == "pkranges"


def test_the_origin_is_in_the_user_agent() -> None:
    """Ebb and the business name themselves; all else is other."""
    agents = ("azsdk-python-cosmos/4 Ebb/1", "azsdk business", "curl")
    assert [origin_of(agent) for agent in agents] == ["ebb", "business", "other"]


def test_a_plan_that_cannot_be_merged_is_refused() -> None:
    """GROUP BY over partitions would be silently wrong."""
    assert query_plan("SELECT TOP 5 * FROM c ORDER BY c._ts DESC")["queryInfo"]["orderBy"] == [
        "Descending"
    ]
    with pytest.raises(SandboxError, match="feed_range"):
        query_plan("SELECT c.a, COUNT(1) FROM c GROUP BY c.a")


def test_keys_sign_as_documented() -> None:
    """The value comes from Microsoft's page on access control, computed by hand from its parts."""
    key = "dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw=="
    signed = key_signature(key, "GET", "/dbs/ToDoList", "Thu, 27 Apr 2017 00:51:12 GMT")
    assert signed == "c09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu+c+c="


def test_a_minute_is_unknown_until_the_lag_has_passed() -> None:
    """60 s late at 2:02:30, the minute of 2:00 is whole, 2:01 partial and 2:02 unknown."""
    series = TrafficSeries()
    for second in range(7200, 7350):
        series.record(second, CELL, 10)
    query = metrics_query(
        {
            "metricnames": "TotalRequestUnits",
            "timespan": "1970-01-01T02:00:00Z/1970-01-01T02:03:00Z",
            "aggregation": "total",
        },
        now_s=7350,
    )
    answer = metrics_answer(account_with(series, lag_s=60), query, resource_id="/r", now_s=7350)
    points = answer["value"][0]["timeseries"][0]["data"]
    assert [point.get("total") for point in points] == [600.0, 300.0, None]


def test_a_lost_minute_never_appears() -> None:
    """Whatever its age, and the other way round with no loss."""
    series = TrafficSeries()
    series.record(60, CELL, 10)
    query = metrics_query(
        {
            "metricnames": "TotalRequestUnits",
            "timespan": "1970-01-01T00:01:00Z/1970-01-01T00:02:00Z",
            "aggregation": "total",
        },
        now_s=9999,
    )
    for loss_share, seen in ((1.0, None), (0.0, 10.0)):
        account = account_with(series, loss_share=loss_share)
        answer = metrics_answer(account, query, resource_id="/r", now_s=9999)
        assert answer["value"][0]["timeseries"][0]["data"][0].get("total") == seen


def test_normalized_consumption_is_the_busiest_second() -> None:
    """50 RU in one second of an idle minute at 100 RU/s is 50 %."""
    series = TrafficSeries()
    series.record(60.2, CELL, 20)
    series.record(60.9, CELL, 30)
    query = metrics_query(
        {
            "metricnames": "NormalizedRUConsumption",
            "timespan": "1970-01-01T00:01:00Z/1970-01-01T00:02:00Z",
            "aggregation": "maximum",
        },
        now_s=9999,
    )
    answer = metrics_answer(account_with(series), query, resource_id="/r", now_s=9999)
    assert answer["value"][0]["timeseries"][0]["data"][0]["maximum"] == 50.0


def test_history_fills_whole_minutes_and_the_begun_one() -> None:
    """At 12:02:30 two minutes of 60 s and 30 s of the third are there, over both partitions."""
    series = TrafficSeries()
    backfill(series, History(minutes=2, ru_per_s=100), partitions=2, now_s=7350)
    totals = [sum(t.ru for t in series.minute(m).values()) for m in (7140, 7200, 7260, 7320)]
    assert totals == [0, 6000, 6000, 3000]


@pytest.mark.parametrize(
    "parameters",
    [{}, {"metricnames": "Nope"}, {"metricnames": "TotalRequests", "$filter": "Colour eq 'red'"}],
)
def test_a_metrics_query_that_azure_would_refuse_is_refused(parameters: dict[str, str]) -> None:
    """No metric, an unknown one, an unknown dimension."""
    with pytest.raises(BadQuery):
        metrics_query(parameters, now_s=9999)


def test_a_token_opens_only_what_it_was_issued_for() -> None:
    """Another audience, another issuer, an end in the past: all refused."""
    issuer = TokenIssuer(lifetime_s=60)
    token, _ = issuer.issue("https://a/", now_s=1000)
    assert issuer.check(token, audiences=frozenset({"https://a"}), now_s=1001).accepted
    assert not issuer.check(token, audiences=frozenset({"https://b"}), now_s=1001).accepted
    assert not issuer.check(token, audiences=frozenset({"https://a"}), now_s=1060).accepted
    assert not TokenIssuer().check(token, audiences=frozenset({"https://a"}), now_s=1001).accepted


def test_seeding_repeats_itself() -> None:
    """The same seed gives the same bytes, another seed others."""
    plan = SeedPlan(documents=20, usual_kb=3, large_share=0, burst_documents=4)
    first, again = (list(seed_documents(plan, now_s=10**9)) for _ in range(2))
    assert first == again
    assert len({d.ts for d in first[:4]}) == 1
    other = SeedPlan(documents=20, usual_kb=3, large_share=0, seed=2)
    assert list(seed_documents(other, now_s=10**9)) != first


def test_a_spike_overrides_the_steady_rate_and_a_trace_replaces_it(tmp_path: Path) -> None:
    """The trace's highest value is the whole target."""
    profile = Profile(steady=0.5, spikes=(Spike(start_s=10, seconds=5, fraction=1.2),))
    assert [profile.fraction(t) for t in (0, 10, 14.9, 15)] == [0.5, 1.2, 1.2, 0.5]
    file = tmp_path / "t.csv"
    file.write_text("timestamp,value\n2024-01-01 00:00:00,50\n2024-01-01 00:01:00,200\n")
    trace = read_trace(file)
    assert trace == ((0.0, 0.25), (60.0, 1.0))
    assert Profile(trace=trace).fraction(59) == 0.25
