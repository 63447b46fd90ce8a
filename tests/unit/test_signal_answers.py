"""Answers that no server of ours gives: numbers that are none, partitions amid a split."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from azure.monitor.query import LogsQueryStatus

from shared.adapters.cosmos import CosmosSource
from shared.adapters.history import LogHistory
from shared.adapters.monitor import AzureMonitor
from shared.domain.profile import HourUse
from shared.domain.slices import FeedRange
from shared.errors import TransientError
from shared.ports import MinuteUse, Provision

RESOURCE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DocumentDB/databaseAccounts/a"
WHOLE = FeedRange(id="r000", token=json.dumps({"Range": {"min": "", "max": "FF"}}))
LOW = FeedRange(id="r000", token=json.dumps({"Range": {"min": "", "max": "7F"}}))
HIGH = FeedRange(id="r001", token=json.dumps({"Range": {"min": "7F", "max": "FF"}}))


@dataclass
class Named:
    value: str


@dataclass
class Dimension:
    name: Named
    value: str


@dataclass
class Point:
    time_stamp: dt.datetime
    total: float | None = None
    count: float | None = None
    maximum: float | None = None


@dataclass
class Series:
    metadatavalues: list[Dimension]
    data: list[Point]


@dataclass
class Metric:
    timeseries: list[Series]


@dataclass
class Answer:
    value: list[Metric]


@dataclass
class Metrics:
    """Answers every metric from a table of numbers by minute, split by what stands before them."""

    told: Mapping[str, Mapping[str, list[float | None]]]

    @property
    def metrics(self) -> Metrics:
        return self

    def list(self, _resource: str, *, metricnames: str, aggregation: str, **_: Any) -> Answer:
        split = {"TotalRequests": "statuscode"}.get(metricnames, "partitionkeyrangeid")
        series = [
            Series(
                [Dimension(Named("collectionname"), "c"), Dimension(Named(split), name)],
                [
                    Point(at(index), **{aggregation.lower(): value})
                    for index, value in enumerate(values)
                ],
            )
            for name, values in self.told[metricnames].items()
        ]
        return Answer([Metric(series)])


@dataclass
class Table:
    columns: list[str]
    rows: list[list[Any]]


@dataclass
class Logs:
    tables: list[Table]
    status: LogsQueryStatus = LogsQueryStatus.SUCCESS

    asked: dict[str, Any] = field(default_factory=dict)

    def query_workspace(self, *_args: Any, **options: Any) -> Logs:
        self.asked.update(options)
        return self


@dataclass
class Container:
    """A container whose partition key ranges are these."""

    partitions: list[dict[str, Any]]
    container_link: str = "dbs/db/colls/c"

    @property
    def client_connection(self) -> Container:
        return self

    def _ReadPartitionKeyRanges(self, _link: str) -> Iterator[dict[str, Any]]:  # noqa: N802
        return iter(self.partitions)


def at(index: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(60 * index, dt.UTC)


def monitor_of(told: Mapping[str, Mapping[str, list[float | None]]]) -> AzureMonitor:
    monitor = AzureMonitor(
        resource_id=RESOURCE, management_endpoint="https://management", credential=None
    )
    monitor._client = cast("Any", Metrics(told))  # noqa: SLF001 - the wire goes in here
    return monitor


def history(columns: list[str], *rows: list[Any]) -> LogHistory:
    built = LogHistory(workspace_id="w", endpoint="https://logs", credential=None)
    built._client = cast("Any", Logs([Table(columns, list(rows))]))  # noqa: SLF001
    return built


def source(*partitions: dict[str, Any]) -> CosmosSource:
    return CosmosSource(cast("Any", Container(list(partitions))), "db/c")


def partition(name: str, low: str, high: str, *parents: str) -> dict[str, Any]:
    return {"id": name, "minInclusive": low, "maxExclusive": high, "parents": list(parents)}


def test_a_total_that_is_no_number_was_not_told() -> None:
    """Neither it nor a negative one is a zero, and a real zero is."""
    monitor = monitor_of(
        {
            "TotalRequestUnits": {"": [float("nan"), -1.0, None, 0.0, float("inf"), 60.0]},
            "TotalRequests": {"200": [1, 1, 1, float("nan"), 1, 3], "429": [9, 9, 9, 9, 9, 2]},
            "NormalizedRUConsumption": {"7": [1, 1, 1, -1, 1, 101], "": [1] * 6},
        }
    )
    assert monitor.minutes("db", "c", since_s=0, until_s=600) == {
        180: MinuteUse(total_ru=0.0, requests=9, throttled=9),
        300: MinuteUse(total_ru=60.0, requests=5, throttled=2, heat={"7": 1.0}),
    }


def test_the_newest_size_that_was_told_counts() -> None:
    """Scaled down or split a moment ago, the greatest of the hour is no longer true."""
    monitor = monitor_of(
        {
            "PhysicalPartitionCount": {"": [1.0, 2.0, None]},
            "ProvisionedThroughput": {"": [8_000.0, 4_000.0, None]},
        }
    )
    assert monitor.provision("db", "c", now_s=3_600) == Provision(partitions=2, ru_per_s=4_000.0)
    assert monitor_of({"PhysicalPartitionCount": {"": [0.0]}}).provision("db", "c", now_s=0) is None


@pytest.mark.parametrize("broken", ["NaN", None, float("nan"), float("inf"), -1.0, "5"])
def test_habits_with_a_number_that_is_none_are_not_used(broken: object) -> None:
    """Half an answer would pass for habits."""
    with pytest.raises(TransientError, match="High"):
        history(["Hour", "Typical", "High"], [3, 1.0, 2.0], [4, 1.0, broken]).profile(
            "db", "c", since_s=0, until_s=600
        )
    with pytest.raises(TransientError, match="Ru"):
        history(["PartitionKeyRangeId", "Ru"], ["0", 1.0], ["1", broken]).partition_shares(
            "db", "c", since_s=0, until_s=600
        )


def test_a_long_query_is_ended_by_the_server_first() -> None:
    """Habits are worth no more than twenty seconds, and the server's word on it is awaited."""
    wire = Logs([])
    asking = LogHistory(workspace_id="w", endpoint="https://logs", credential=None)
    asking._client = cast("Any", wire)  # noqa: SLF001
    assert asking.profile("db", "c", since_s=0, until_s=600) is None
    assert 0 < wire.asked["server_timeout"] <= 20
    assert wire.asked["server_timeout"] < wire.asked["read_timeout"] <= 30


def test_an_hour_beyond_the_week_is_left_out() -> None:
    """There are 168."""
    profile = history(["Hour", "Typical", "High"], [167, 1.0, 2.0], [168, 1.0, 2.0]).profile(
        "db", "c", since_s=0, until_s=600
    )
    assert profile is not None
    assert profile.hours == {167: HourUse(typical_ru_per_s=1.0, high_ru_per_s=2.0)}


def test_shares_of_nothing_are_none() -> None:
    """A container that was only asked for free has no hot partition."""
    idle = history(["PartitionKeyRangeId", "Ru"], ["0", 0.0], ["1", 0.0])
    assert idle.partition_shares("db", "c", since_s=0, until_s=600) == {}


def test_a_range_lies_on_the_partitions_it_overlaps() -> None:
    """Ends that only touch are not shared."""
    both = (partition("1", "", "7F"), partition("2", "7F", "FF"))
    assert source(*both).partitions_of([LOW, HIGH]) == {"r000": ("1",), "r001": ("2",)}
    assert source(*both).partitions_of([WHOLE]) == {"r000": ("1", "2")}
    assert source(partition("0", "", "FF")).partitions_of([LOW, HIGH]) == {
        "r000": ("0",),
        "r001": ("0",),
    }


def test_a_partition_that_was_split_is_no_longer_one() -> None:
    """Metrics tell of those it was split into, so waiting for its heat would be for ever."""
    split = source(
        partition("0", "", "FF"), partition("1", "", "7F", "0"), partition("2", "7F", "FF", "0")
    )
    assert split.partitions_of([WHOLE]) == {"r000": ("1", "2")}


def test_a_range_on_no_partition_is_asked_for_again() -> None:
    """An answer that is not whole is not taken for one."""
    with pytest.raises(TransientError, match="db/c"):
        source(partition("1", "", "7F")).partitions_of([LOW, HIGH])
