"""Azure Monitor's platform metrics of the Cosmos account, through azure-mgmt-monitor.

It reports what Monitor says, minute by minute; judging whether a minute is complete is not its job.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.mgmt.monitor import MonitorManagementClient

from shared.errors import EbbError, PermanentError, TransientError
from shared.ports import MinuteUse, Provision

NAMESPACE = "Microsoft.DocumentDB/databaseAccounts"
TIMEOUT_S = 8  # three questions, each tried twice, end within the controller's lease
DETAILS_SPAN_S = 900  # 429s and heat matter only where they are recent
PROVISION_SPAN_S = 3_600
SERIES_MAX = 1_000  # without a number Azure answers ten series and says nothing of the others
THROTTLED = "429"


@dataclass(frozen=True, slots=True)
class _Question:
    """A metric, how it is added up, of what, and in which steps."""

    metric: str
    kind: str
    where: str
    interval: str = "PT1M"


@dataclass(frozen=True, slots=True)
class _Series:
    """One line of a metric: the value of the dimension it is split by, and its points."""

    split: str
    points: Mapping[int, float]


class _NotKept(PermanentError):
    """Monitor keeps no such metric of this account, or nothing of this container under it."""


class AzureMonitor:
    """One account's metrics; needs only Monitoring Reader on that account."""

    def __init__(
        self,
        *,
        resource_id: str,
        management_endpoint: str,
        credential: Any,
        ca_file: str | None = None,
    ) -> None:
        self._resource_id = resource_id
        self._endpoint = management_endpoint.rstrip("/")
        self._credential = credential
        self._ca_file = ca_file
        self._client: MonitorManagementClient | None = None
        self._lock = threading.Lock()

    def minutes(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[int, MinuteUse]:
        """Three requests: what was used, how it was answered, and how hot the partitions were."""
        where = _where(database, container)
        recent_s = max(since_s, until_s - DETAILS_SPAN_S)
        used = _Question("TotalRequestUnits", "Total", where)
        by_status = _Question("TotalRequests", "Count", f"{where} and StatusCode eq '*'")
        hot = _Question(
            "NormalizedRUConsumption", "Maximum", f"{where} and PartitionKeyRangeId eq '*'"
        )
        with ThreadPoolExecutor(max_workers=3) as pool:  # a slow Monitor must not add up
            asked = pool.submit(self._series, used, since_s, until_s)
            answered = pool.submit(self._details, by_status, recent_s, until_s)
            heated = pool.submit(self._details, hot, recent_s, until_s)
        totals, answers, heat = asked.result(), answered.result(), heated.result()
        return {
            minute: MinuteUse(
                total_ru=total,
                requests=round(sum(each.points.get(minute, 0.0) for each in answers)),
                throttled=round(
                    sum(each.points.get(minute, 0.0) for each in answers if each.split == THROTTLED)
                ),
                heat={
                    each.split: min(1.0, each.points[minute] / 100.0)
                    for each in heat
                    if each.split and minute in each.points
                },
            )
            for minute, total in _added_up(totals).items()
        }

    def provision(self, database: str, container: str, *, now_s: int) -> Provision | None:
        where, since_s = _where(database, container), now_s - PROVISION_SPAN_S
        counted = _Question("PhysicalPartitionCount", "Maximum", where, interval="PT5M")
        bought = _Question("ProvisionedThroughput", "Maximum", where, interval="PT5M")
        with ThreadPoolExecutor(max_workers=2) as pool:
            partitions = pool.submit(self._series, counted, since_s, now_s)
            throughput = pool.submit(self._details, bought, since_s, now_s)
        try:
            count = _newest(partitions.result())
        except _NotKept:
            return None
        if count is None or count < 1:
            return None
        ru_per_s = _newest(throughput.result())
        return Provision(partitions=round(count), ru_per_s=ru_per_s or None)

    def _details(self, question: _Question, since_s: int, until_s: int) -> list[_Series]:
        """A metric that an account may not have: refused is the same as never told."""
        try:
            return self._series(question, since_s, until_s)
        except PermanentError:
            return []

    def _series(self, question: _Question, since_s: int, until_s: int) -> list[_Series]:
        try:
            answer = self._connected().metrics.list(
                self._resource_id,
                timespan=f"{_iso(since_s)}/{_iso(until_s)}",
                interval=question.interval,
                metricnames=question.metric,
                metricnamespace=NAMESPACE,
                aggregation=question.kind,
                filter=question.where,
                top=SERIES_MAX,
                connection_timeout=TIMEOUT_S,
                read_timeout=TIMEOUT_S,
            )
            return [
                _Series(_split_of(series), _points(series.data or (), question.kind.lower()))
                for metric in answer.value
                for series in metric.timeseries or ()
            ]
        except (AzureError, ValueError, AttributeError, TypeError) as error:
            raise _translated(error) from error

    def _connected(self) -> MonitorManagementClient:
        with self._lock:
            if self._client is None:
                options = {"connection_verify": self._ca_file} if self._ca_file else {}
                self._client = MonitorManagementClient(
                    self._credential,
                    self._resource_id.split("/")[2],
                    base_url=self._endpoint,
                    credential_scopes=[f"{self._endpoint}/.default"],
                    retry_total=1,
                    retry_status=0,  # a 429 may ask for a wait that no tick has time for
                    **options,
                )
            return self._client


def _where(database: str, container: str) -> str:
    quoted = [name.replace("'", "''") for name in (database, container)]
    return f"DatabaseName eq '{quoted[0]}' and CollectionName eq '{quoted[1]}'"


def _split_of(series: Any) -> str:
    """The value of the one dimension beside database and container, if there is one."""
    names = {each.name.value.lower(): each.value for each in series.metadatavalues or ()}
    split = [
        value for name, value in names.items() if name not in {"databasename", "collectionname"}
    ]
    return split[0] if split else ""


def _points(data: Iterable[Any], kind: str) -> dict[int, float]:
    """What was told: no value, a negative one or none at all are the same."""
    told = ((int(p.time_stamp.timestamp()), getattr(p, kind)) for p in data)
    return {
        at_s: float(value)
        for at_s, value in told
        if value is not None and math.isfinite(value) and value >= 0
    }


def _added_up(series: Iterable[_Series]) -> dict[int, float]:
    totals: dict[int, float] = {}
    for each in series:
        for minute, value in each.points.items():
            totals[minute] = totals.get(minute, 0.0) + value
    return totals


def _newest(series: Iterable[_Series]) -> float | None:
    known: dict[int, float] = {}
    for each in series:
        for at_s, value in each.points.items():
            known[at_s] = max(value, known.get(at_s, 0.0))
    return known[max(known)] if known else None


def _iso(at_s: int) -> str:
    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _translated(error: Exception) -> EbbError:
    status = getattr(error, "status_code", None)
    if isinstance(error, HttpResponseError) and status in {401, 403}:
        return PermanentError(
            f"reading Azure Monitor: refused ({status}); give this app's identity the role "
            "'Monitoring Reader' on the Cosmos account"
        )
    if isinstance(error, HttpResponseError) and status == 400:  # noqa: PLR2004 - HTTP's own
        return _NotKept(
            "reading Azure Monitor: not understood (400); check the names of database and "
            "container, and whether anything was ever asked of it"
        )
    if isinstance(error, HttpResponseError) and status == 404:  # noqa: PLR2004
        return PermanentError(
            "reading Azure Monitor: no such resource (404); check EBB_COSMOS_RESOURCE_ID"
        )
    return TransientError(
        f"reading Azure Monitor: {type(error).__name__} ({status or 'no answer'}); "
        "nothing is spent until it answers"
    )
