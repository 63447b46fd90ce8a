"""What Monitor and Log Analytics tell of a container, over real HTTPS with the real clients."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.cosmos.exceptions import CosmosHttpResponseError
from azure.identity import DefaultAzureCredential

from sandbox.cosmos.account import History
from sandbox.logs import WORKSPACE_ID, BadQuery, log_query
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from shared.adapters.cosmos import CosmosSources
from shared.adapters.history import LogHistory, NoHistory
from shared.adapters.monitor import AzureMonitor
from shared.domain.profile import HOUR_S, HourUse
from shared.errors import PermanentError, TransientError
from tests.sandbox.clients import container_of

pytestmark = pytest.mark.node

WEEK_S = 7 * 24 * HOUR_S
MONDAY_S = 4 * 24 * HOUR_S + 2_000 * WEEK_S
SERVERLESS = SandboxOptions(
    partitions=12,
    ru_per_s=5_000,
    with_storage=False,
    lag_s=0,
    logs_lag_s=0,
    history=History(minutes=20, ru_per_s=1_200, database="appdb", container="o'brien"),
)
METRICS = ("TotalRequestUnits", "PhysicalPartitionCount")
ALL = sorted(str(number) for number in range(12))
PROVISIONED = SandboxOptions(
    partitions=2,
    ru_per_s=4_000,
    with_storage=False,
    with_logs=False,
    provisioned=True,
    history=History(minutes=2, ru_per_s=100),
)


@pytest.fixture(scope="module")
def serverless() -> Iterator[Sandbox]:
    """More partitions than Azure tells of unasked, twenty minutes of even life, and logs."""
    with start_sandbox(SERVERLESS) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(serverless: Sandbox) -> Iterator[None]:
    """Whatever a test did to limits, delays and the past is over after it."""
    yield
    serverless.admin.set_limit(5_000)
    serverless.admin.set_monitor(
        lag_s=0, loss_share=0.0, refusals={}, idle_minutes_have_points=False
    )
    serverless.admin.set_logs(lag_s=0, is_partial=False)
    serverless.admin.tell_history(SERVERLESS.history)


@pytest.fixture(scope="module")
def provisioned() -> Iterator[Sandbox]:
    """Two partitions of bought throughput, and no diagnostic settings."""
    with start_sandbox(PROVISIONED) as running:
        yield running


def identity(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> DefaultAzureCredential:
    """The credential that production code makes."""
    for name, value in sandbox.identity_settings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
    return DefaultAzureCredential()


def monitor(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AzureMonitor:
    """Production's adapter over the sandbox's metrics route."""
    return AzureMonitor(
        resource_id=sandbox.resource_id,
        management_endpoint=sandbox.management_endpoint,
        credential=identity(sandbox, monkeypatch),
        ca_file=str(sandbox.ca_file),
    )


def logs(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, **changes: str) -> LogHistory:
    """Production's adapter over the sandbox's logs route."""
    options: dict[str, Any] = {
        "workspace_id": WORKSPACE_ID,
        "endpoint": sandbox.management_endpoint,
        "credential": identity(sandbox, monkeypatch),
        "ca_file": str(sandbox.ca_file),
        **changes,
    }
    return LogHistory(**options)


def whole_minutes() -> tuple[int, int]:
    """The last ten minutes that have ended."""
    until_s = int(time.time()) // 60 * 60
    return until_s - 600, until_s


def test_minutes_have_totals_answers_and_heat(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one container, whatever its name; heat as a share of each partition's capacity."""
    since_s, until_s = whole_minutes()
    told = monitor(serverless, monkeypatch).minutes(
        "appdb", "o'brien", since_s=since_s, until_s=until_s
    )
    assert sorted(told) == list(range(since_s, until_s, 60))
    minute = told[since_s]
    assert minute.total_ru == pytest.approx(1_200 * 60)
    assert (minute.requests, minute.throttled) == (12 * 3 * 60, 0)
    assert minute.heat == pytest.approx(dict.fromkeys(ALL, 0.02))


def test_an_idle_minute_is_not_told_at_all(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor taken for one in which nothing was used; an account that tells 0 is believed."""
    _, now_s = whole_minutes()
    before_s = now_s - 3_600  # the container's life began twenty minutes ago
    asked = monitor(serverless, monkeypatch)

    def told() -> list[float]:
        minutes = asked.minutes("appdb", "o'brien", since_s=before_s, until_s=now_s - 600)
        return [minutes[at].total_ru for at in sorted(minutes) if at < before_s + 1_200]

    assert told() == []
    serverless.admin.set_monitor(idle_minutes_have_points=True)
    assert told() == [0.0] * 20


def test_another_container_is_not_counted(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute that Monitor says nothing about is absent, or a zero that it does say."""
    since_s, until_s = whole_minutes()
    told = monitor(serverless, monkeypatch).minutes(
        "appdb", "other", since_s=since_s, until_s=until_s
    )
    assert [use.total_ru for use in told.values() if use.total_ru] == []


def test_details_are_asked_only_of_the_last_quarter_hour(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The totals of a whole day come in one answer, and the rest stays small."""
    _, until_s = whole_minutes()
    told = monitor(serverless, monkeypatch).minutes(
        "appdb", "o'brien", since_s=until_s - 1_440 * 60, until_s=until_s
    )
    detailed = [minute for minute, use in told.items() if use.heat]
    assert detailed == list(range(until_s - 900, until_s, 60))
    assert [minute for minute, use in told.items() if use.requests] == detailed
    assert len([use for use in told.values() if use.total_ru]) > len(detailed)


@pytest.mark.parametrize("metric", ["NormalizedRUConsumption", "TotalRequests"])
def test_a_metric_the_account_does_not_have_costs_only_itself(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    """Serverless may keep no heat; the totals are worth as much without."""
    serverless.admin.set_monitor(refusals={metric: 400})
    since_s, until_s = whole_minutes()
    told = monitor(serverless, monkeypatch).minutes(
        "appdb", "o'brien", since_s=since_s, until_s=until_s
    )
    assert [use.total_ru for use in told.values()] == pytest.approx([72_000] * 10)
    assert {bool(use.heat) for use in told.values()} == {metric == "TotalRequests"}
    assert {use.requests > 0 for use in told.values()} == {metric != "TotalRequests"}


def test_totals_that_are_refused_are_never_taken_for_none(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a busy Monitor is not waited for: the next tick asks again."""
    ask = monitor(serverless, monkeypatch)
    began_s = time.monotonic()
    for status, kind in ((400, PermanentError), (429, TransientError), (503, TransientError)):
        serverless.admin.set_monitor(refusals={"TotalRequestUnits": status})
        with pytest.raises(kind, match=str(status)):
            ask.minutes("appdb", "o'brien", since_s=0, until_s=600)
    assert time.monotonic() - began_s < 10


def test_details_that_may_come_are_waited_for(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Throttling that was not told today is not the same as none."""
    since_s, until_s = whole_minutes()
    serverless.admin.set_monitor(refusals={"TotalRequests": 503})
    with pytest.raises(TransientError, match="503"):
        monitor(serverless, monkeypatch).minutes(
            "appdb", "o'brien", since_s=since_s, until_s=until_s
        )


def test_a_throttled_request_is_counted_as_such(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own minute, beside those that were answered."""
    container = container_of(serverless, "busy")
    container.upsert_item({"id": "a", "pk": "p"})
    serverless.admin.set_limit(1)
    with pytest.raises(CosmosHttpResponseError, match="429"):
        container.upsert_item({"id": "c", "pk": "p"})
    time.sleep(1.1)
    now_s = int(time.time())
    told = monitor(serverless, monkeypatch).minutes(
        "appdb", "busy", since_s=(now_s - 120) // 60 * 60, until_s=now_s
    )
    assert sum(use.throttled for use in told.values()) >= 1
    assert sum(use.requests for use in told.values()) >= 2


def test_the_hot_partition_of_several_is_named(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the id that the source gives for the range it lies on."""
    container = container_of(serverless, "hot")
    serverless.admin.tell_history(History())
    for index in range(8):
        container.upsert_item({"id": f"d{index}", "pk": "one", "body": "x" * 300_000})
    time.sleep(1.1)
    now_s = int(time.time())
    use = monitor(serverless, monkeypatch).minutes(
        "appdb", "hot", since_s=(now_s - 120) // 60 * 60, until_s=now_s + 1
    )
    heat = {name: max(each.heat.get(name, 0) for each in use.values()) for name in ALL}
    assert {name for each in use.values() for name in each.heat} == set(ALL)
    sources = CosmosSources(
        account="cosmos-sandbox",
        endpoint=serverless.cosmos_endpoint,
        credential=serverless.cosmos_key,
        user_agent="ebb/test",
        ca_file=str(serverless.ca_file),
    )
    source = sources.open("appdb", "hot")
    ranges = source.ranges()
    partitions = source.partitions_of(ranges)
    assert sorted(partitions) == [each.id for each in ranges]
    assert sorted(sum(partitions.values(), ())) == ALL
    assert max(heat.values()) > 2 * sorted(heat.values())[-2]


def test_minutes_come_late_and_some_never(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not known yet is absent and no zero."""
    since_s, until_s = whole_minutes()
    ask = monitor(serverless, monkeypatch)
    serverless.admin.set_monitor(lag_s=300)
    late = ask.minutes("appdb", "o'brien", since_s=since_s, until_s=until_s)
    serverless.admin.set_monitor(lag_s=0, loss_share=0.5)
    holed = ask.minutes("appdb", "o'brien", since_s=since_s, until_s=until_s)
    assert max(late) < until_s - 240
    assert 0 < len(holed) < 10


def test_a_serverless_account_has_partitions_and_no_throughput(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its capacity is so many partitions times what one gives."""
    found = monitor(serverless, monkeypatch).provision("appdb", "o'brien", now_s=int(time.time()))
    assert found is not None
    assert (found.partitions, found.ru_per_s) == (12, None)
    for metric, left in (("ProvisionedThroughput", 12), ("PhysicalPartitionCount", None)):
        serverless.admin.set_monitor(refusals={metric: 400})
        found = monitor(serverless, monkeypatch).provision(
            "appdb", "o'brien", now_s=int(time.time())
        )
        assert (found and found.partitions) == left


def test_a_provisioned_account_tells_its_throughput(
    provisioned: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All partitions together."""
    ask = monitor(provisioned, monkeypatch)
    provisioned.admin.set_monitor(lag_s=0)
    found = ask.provision("appdb", "records", now_s=int(time.time()))
    assert found is not None
    assert (found.partitions, found.ru_per_s) == (2, 8_000.0)


def test_a_refused_identity_is_told_which_role_it_lacks(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Monitor's and Log Analytics' are different ones."""

    class Stranger:
        def get_token(self, *_scopes: str, **_options: Any) -> Any:
            return AccessToken("a.b.c", int(time.time()) + 3_600)

    metrics = AzureMonitor(
        resource_id=serverless.resource_id,
        management_endpoint=serverless.management_endpoint,
        credential=Stranger(),
        ca_file=str(serverless.ca_file),
    )
    with pytest.raises(PermanentError, match="Monitoring Reader"):
        metrics.minutes("appdb", "records", since_s=0, until_s=600)
    known = monitor(serverless, monkeypatch)
    serverless.admin.set_monitor(refusals=dict.fromkeys(METRICS, 403))
    with pytest.raises(PermanentError, match="Monitoring Reader"):
        known.minutes("appdb", "records", since_s=0, until_s=600)
    with pytest.raises(PermanentError, match="Monitoring Reader"):
        known.provision("appdb", "records", now_s=int(time.time()))
    with pytest.raises(PermanentError, match="Log Analytics Reader"):
        logs(serverless, monkeypatch, credential=Stranger()).profile(  # type: ignore[arg-type]
            "appdb", "records", since_s=0, until_s=600
        )


def test_habits_are_read_from_the_logs(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The typical and the highest minute of each hour of the week, and each partition's share."""
    history = logs(serverless, monkeypatch)
    since_s, until_s = whole_minutes()
    profile = history.profile("appdb", "o'brien", since_s=since_s, until_s=until_s)
    assert profile is not None
    assert profile.at(since_s) == HourUse(typical_ru_per_s=1_200.0, high_ru_per_s=1_200.0)
    assert profile.at(since_s + WEEK_S // 2) is None
    shares = history.partition_shares("appdb", "o'brien", since_s=since_s, until_s=until_s)
    assert shares == pytest.approx(dict.fromkeys(ALL, 1 / 12))
    assert sum(shares.values()) == pytest.approx(1.0)
    assert history.profile("appdb", "unknown", since_s=since_s, until_s=until_s) is None


def test_without_diagnostic_settings_there_are_no_habits(
    provisioned: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table does not exist then; that is an answer and no failure."""
    history = logs(provisioned, monkeypatch)
    since_s, until_s = whole_minutes()
    span = {"since_s": since_s, "until_s": until_s}
    assert history.profile("appdb", "records", **span) is None
    assert history.partition_shares("appdb", "records", **span) == {}
    assert NoHistory().profile("a", "b", **span) is None
    assert NoHistory().partition_shares("a", "b", **span) == {}


def test_logs_that_do_not_answer_are_a_passing_trouble(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown workspace, or nobody at the other end."""
    for changes in (
        {"workspace_id": "00000000-0000-0000-0000-000000000000"},
        {"endpoint": "https://127.0.0.1:9"},
    ):
        with pytest.raises(TransientError, match="Log Analytics"):
            logs(serverless, monkeypatch, **changes).profile("a", "b", since_s=0, until_s=600)


def test_a_partial_answer_is_not_used(serverless: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the hours would look like habits."""
    history = logs(serverless, monkeypatch)
    since_s, until_s = whole_minutes()
    serverless.admin.set_logs(is_partial=True)
    for ask in (history.profile, history.partition_shares):
        with pytest.raises(TransientError, match="partial"):
            ask("appdb", "o'brien", since_s=since_s, until_s=until_s)


def test_logs_tell_nothing_of_what_has_not_arrived(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come minutes after the metrics."""
    history = logs(serverless, monkeypatch)
    since_s, until_s = whole_minutes()
    serverless.admin.set_logs(lag_s=900)
    assert history.profile("appdb", "o'brien", since_s=since_s, until_s=until_s) is None


def test_the_week_begins_on_monday_at_midnight_utc(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sunday's last hour is 167, and the next minute is hour 0."""
    past = History(minutes=20, ru_per_s=600, container="weekly", until_s=MONDAY_S + 600)
    serverless.admin.tell_history(past)
    profile = logs(serverless, monkeypatch).profile(
        "appdb", "weekly", since_s=MONDAY_S - HOUR_S, until_s=MONDAY_S + HOUR_S
    )
    assert profile is not None
    assert sorted(profile.hours) == [0, 167]
    assert profile.at(MONDAY_S - 1) == profile.hours[167] == profile.hours[0]
    assert profile.at(MONDAY_S + HOUR_S) is None


def test_names_cannot_leave_their_quotes(
    serverless: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's name is text in the query and nothing else."""
    odd = 'a" or 1 == 1 or "\\\n| take 1 // é\u2028'
    serverless.admin.tell_history(History(minutes=20, ru_per_s=600, container=odd))
    history = logs(serverless, monkeypatch)
    since_s, until_s = whole_minutes()
    told = history.partition_shares("appdb", odd, since_s=since_s, until_s=until_s)
    assert sum(told.values()) == pytest.approx(1.0)
    assert history.partition_shares("appdb", 'b" or "', since_s=since_s, until_s=until_s) == {}
    unknown = {"query": "union *", "timespan": f"{_iso(0)}/{_iso(600)}"}
    with pytest.raises(BadQuery):
        log_query(unknown)


def _iso(at_s: float) -> str:
    return dt.datetime.fromtimestamp(at_s, dt.UTC).isoformat()
