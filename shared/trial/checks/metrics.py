"""Azure Monitor: what it says of the containers of this trial, and after how long."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from azure.core.exceptions import HttpResponseError
from azure.mgmt.monitor import MonitorManagementClient

from shared.trial.findings import Finding, judged, skipped

NAMESPACE = "Microsoft.DocumentDB/databaseAccounts"
POLL_S = 5.0
SINCE_S = 3600
MINUTE_S = 60
SETTLE_S = 60.0  # EBB_METRIC_SETTLE_S, as shipped
WATCH_S_MAX = 240.0
SERIES_MAX = 1000
NEAR_SHARE, NEAR_RU = 0.05, 20.0
UNKNOWN = 400

Series = Mapping[str, Mapping[int, float]]
"""Values by the value of the dimension that they are split by, and by the second they begin at."""
T = TypeVar("T")


class Metrics:
    """Asks for one metric of the account at a time."""

    def __init__(self, client: MonitorManagementClient, resource_id: str) -> None:
        self._client = client
        self._resource_id = resource_id

    def series(
        self, metric: str, kind: str, where: str, *, interval: str = "PT1M", top: int = SERIES_MAX
    ) -> Series:
        now = dt.datetime.now(dt.UTC).replace(microsecond=0, tzinfo=None)
        since = now - dt.timedelta(seconds=SINCE_S)
        answer = self._client.metrics.list(
            self._resource_id,
            timespan=f"{since.isoformat()}Z/{now.isoformat()}Z",
            interval=interval,
            metricnames=metric,
            metricnamespace=NAMESPACE,
            aggregation=kind,
            filter=where,
            top=top,
        )
        return {
            _split_of(series): _points(series, kind.lower())
            for metric_found in answer.value
            for series in metric_found.timeseries or ()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the trial did, and where Monitor can be asked about it."""

    metrics: Metrics
    database: str
    used: str
    """A container that was used."""
    quoted: str | None
    """A container whose name has a quote, used as well; None where it could not be made."""
    flooded: str
    """A container that answered 429."""
    idle: str
    """A container that was made and never used."""
    spent: Callable[[str], Mapping[int, float]]
    """What the trial was charged for a container, by minute."""
    partitions: Callable[[], frozenset[str]]
    """The ids of the used container's partitions, as the private call says them."""
    is_serverless: bool
    patience_s: float
    ended: Callable[[float], bool]
    """Waits; true when the trial is to end."""

    def where(self, container: str, rest: str = "") -> str:
        names = [each.replace("'", "''") for each in (self.database, container)]
        return f"DatabaseName eq '{names[0]}' and CollectionName eq '{names[1]}'{rest}"

    def until(self, look: Callable[[], T | None]) -> T | None:
        """What there is to see, as soon as there is; None when patience runs out."""
        until_s = time.monotonic() + self.patience_s
        while True:
            found = look()
            if found is not None or time.monotonic() >= until_s or self.ended(POLL_S):
                return found

    def late(self) -> Finding:
        return skipped(f"no such point within {self.patience_s / 60:.0f} min; give more --minutes")


def totals(watched: Watched) -> Finding:
    """The minutes of the used container add up to what its answers charged."""
    own = sum(watched.spent(watched.used).values())

    def look() -> float | None:
        total = _sum(_asked(watched, "TotalRequestUnits", "Total", watched.where(watched.used)))
        return total if total and total >= own * (1 - NEAR_SHARE) - NEAR_RU else None

    total = watched.until(look)
    if total is None:
        total = _sum(_asked(watched, "TotalRequestUnits", "Total", watched.where(watched.used)))
    if not total:
        return watched.late()
    return judged(
        expected=f"{own:,.0f} RU, as the answers said, within {NEAR_SHARE:.0%}",
        seen=f"{total:,.0f} RU",
        holds=abs(total - own) <= own * NEAR_SHARE + NEAR_RU,
    )


def quoted(watched: Watched) -> Finding:
    """A quote in a container's name is doubled in a filter."""
    if watched.quoted is None:
        return skipped("a container with a quote in its name could not be made")
    where = watched.where(watched.quoted)
    found = watched.until(
        lambda: _sum(_asked(watched, "TotalRequestUnits", "Total", where)) or None
    )
    if found is None:
        return watched.late()
    return judged(expected="some RU", seen=f"{found:,.0f} RU", holds=found > 0)


def status_codes(watched: Watched) -> Finding:
    """Throttled requests are counted under the status code 429."""
    where = watched.where(watched.flooded, " and StatusCode eq '*'")

    def look() -> Series | None:
        found = _asked(watched, "TotalRequests", "Count", where)
        return found if _sum({"": found.get("429", {})}) else None

    found = watched.until(look) or _asked(watched, "TotalRequests", "Count", where)
    if not _sum(found):
        return watched.late()
    return judged(
        expected="429 among the codes",
        seen=", ".join(f"{code}: {sum(points.values()):.0f}" for code, points in found.items()),
        holds=_sum({"": found.get("429", {})}) > 0,
    )


def top(watched: Watched) -> Finding:
    """`top` limits the series of a split metric, and nothing tells of the others."""
    where = watched.where(watched.used, " and StatusCode eq '*'")

    def look() -> int | None:
        count = len(_asked(watched, "TotalRequests", "Count", where))
        return count if count > 1 else None

    count = watched.until(look)
    if count is None:
        return watched.late()
    limited = len(watched.metrics.series("TotalRequests", "Count", where, top=1))
    return judged(expected=f"1 of {count} series", seen=f"{limited} series", holds=limited == 1)


def unknown(watched: Watched) -> Finding:
    """A container that nobody made is answered 400, or without points."""
    where = watched.where("nobody-made-this")
    told = _told(watched, "TotalRequestUnits", "Total", where)
    return judged(expected="400, or no points, or 0", seen=told, holds="RU" not in told)


def idle(watched: Watched) -> Finding:
    """A container that was never used gives no points, points of 0, or 400."""
    told = _told(watched, "TotalRequestUnits", "Total", watched.where(watched.idle))
    return judged(expected="400, or no points, or 0", seen=told, holds="RU" not in told)


def normalized(watched: Watched) -> Finding:
    """The partitions of NormalizedRUConsumption have the ids of the partition key ranges."""
    if watched.is_serverless:
        return skipped("a serverless account has nothing to measure it against")
    where = watched.where(watched.used, " and PartitionKeyRangeId eq '*'")
    found = watched.until(
        lambda: _asked(watched, "NormalizedRUConsumption", "Maximum", where) or None
    )
    if found is None:
        return watched.late()
    ids = watched.partitions()
    highest = {name: max(points.values(), default=0) for name, points in found.items()}
    return judged(
        expected=f"partitions {', '.join(sorted(ids))}, between 0 and 100",
        seen=", ".join(f"{name}: {each:.0f}" for name, each in highest.items()),
        holds=set(found) <= ids and all(0 <= each <= 100 for each in highest.values()),  # noqa: PLR2004
    )


def normalized_serverless(watched: Watched) -> Finding:
    """On a serverless account the metric is not emitted, or stays between 0 and 100."""
    if not watched.is_serverless:
        return skipped("the account is not serverless")
    where = watched.where(watched.used, " and PartitionKeyRangeId eq '*'")
    found = _asked(watched, "NormalizedRUConsumption", "Maximum", where)
    values = [each for points in found.values() for each in points.values()]
    return judged(
        expected="no points, or at most 100",
        seen=f"{len(values)} points, the greatest {max(values, default=0):.0f}",
        holds=all(0 <= each <= 100 for each in values),  # noqa: PLR2004
    )


def partition_count(watched: Watched) -> Finding:
    """PhysicalPartitionCount is the number of partition key ranges."""
    where = watched.where(watched.used)

    def look() -> float | None:
        found = _asked(watched, "PhysicalPartitionCount", "Maximum", where, interval="PT5M")
        return max((each for points in found.values() for each in points.values()), default=None)

    count = watched.until(look)
    if count is None:
        return watched.late()
    ranges = len(watched.partitions())
    return judged(
        expected=f"{ranges}, as there are ranges", seen=f"{count:.0f}", holds=count == ranges
    )


def provisioned(watched: Watched) -> Finding:
    """ProvisionedThroughput is what was bought; a serverless account has none."""
    where = watched.where(watched.used)

    def look() -> float | None:
        found = _asked(watched, "ProvisionedThroughput", "Maximum", where, interval="PT5M")
        return max((each for points in found.values() for each in points.values()), default=None)

    if watched.is_serverless:
        value = look()
        return judged(expected="no points, or 0", seen=f"{value or 'no points'}", holds=not value)
    value = watched.until(look)
    if value is None:
        return watched.late()
    return judged(expected="above 0", seen=f"{value:.0f} RU/s", holds=value > 0)


def settled(watched: Watched) -> Finding:
    """A minute's value is complete sixty seconds after its end."""
    minutes = watched.spent(watched.used)
    if not minutes:
        return skipped("nothing was charged for the container, so no minute can be watched")
    minute_s, own = max(minutes), minutes[max(minutes)]
    ends_s = minute_s + MINUTE_S
    watch_s = min(WATCH_S_MAX, watched.patience_s)
    value, changed_s = 0.0, 0.0
    while time.time() < ends_s + watch_s and not watched.ended(POLL_S):
        found = _asked(watched, "TotalRequestUnits", "Total", watched.where(watched.used))
        now = sum(points.get(minute_s, 0.0) for points in found.values())
        if now != value:
            value, changed_s = now, time.time() - ends_s
    if not value:
        return watched.late()
    return judged(
        expected=f"no change later than {SETTLE_S:.0f} s after the minute's end",
        seen=f"{value:,.0f} of {own:,.0f} RU, the last change {changed_s:+.0f} s after its end, "
        f"watched for {watch_s:.0f} s",
        holds=changed_s <= SETTLE_S,
    )


def _asked(
    watched: Watched, metric: str, kind: str, where: str, *, interval: str = "PT1M"
) -> Series:
    """A metric, of which nothing may be known yet."""
    try:
        return watched.metrics.series(metric, kind, where, interval=interval)
    except HttpResponseError as error:
        if error.status_code == UNKNOWN:
            return {}
        raise


def _told(watched: Watched, metric: str, kind: str, where: str) -> str:
    try:
        found = watched.metrics.series(metric, kind, where)
    except HttpResponseError as error:
        if error.status_code == UNKNOWN:
            return "400"
        raise
    values = [each for points in found.values() for each in points.values()]
    if not values:
        return "no points"
    return f"{sum(values):,.1f} RU" if any(values) else f"{len(values)} points of 0"


def _sum(series: Series) -> float:
    return sum(value for points in series.values() for value in points.values())


def _split_of(series: Any) -> str:
    names = {each.name.value.lower(): str(each.value) for each in series.metadatavalues or ()}
    split = [names[each] for each in names if each not in {"databasename", "collectionname"}]
    return split[0] if split else ""


def _points(series: Any, kind: str) -> dict[int, float]:
    told = ((int(each.time_stamp.timestamp()), getattr(each, kind)) for each in series.data or ())
    return {at_s: float(value) for at_s, value in told if value is not None}


CHECKS: Mapping[str, Callable[[Watched], Finding]] = {
    "monitor.totals": totals,
    "monitor.all-clients": totals,
    "monitor.quoted-filter": quoted,
    "monitor.status-codes": status_codes,
    "monitor.top": top,
    "monitor.unknown-metric": unknown,
    "monitor.idle": idle,
    "monitor.normalized": normalized,
    "monitor.normalized-serverless": normalized_serverless,
    "monitor.partition-count": partition_count,
    "monitor.provisioned": provisioned,
    "monitor.settle": settled,
}
