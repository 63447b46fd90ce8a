"""Azure Monitor's platform metrics of the Cosmos account, through azure-mgmt-monitor.

It reports what Monitor says, minute by minute; judging whether a minute is complete is not its job.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.mgmt.monitor import MonitorManagementClient

from shared.errors import EbbError, PermanentError, TransientError

NAMESPACE = "Microsoft.DocumentDB/databaseAccounts"
TIMEOUT_S = 20  # a tick must not hang on a metric; without it, it holds


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

    def total_ru_by_minute(self, *, since_s: int, until_s: int) -> Mapping[int, float]:
        try:
            answer = self._connected().metrics.list(
                self._resource_id,
                timespan=f"{_iso(since_s)}/{_iso(until_s)}",
                interval="PT1M",
                metricnames="TotalRequestUnits",
                metricnamespace=NAMESPACE,
                aggregation="Total",
                connection_timeout=TIMEOUT_S,
                read_timeout=TIMEOUT_S,
            )
            points = [
                point
                for metric in answer.value
                for series in metric.timeseries or ()
                for point in series.data or ()
            ]
        except (AzureError, ValueError, AttributeError) as error:
            raise _translated(error) from error
        totals: dict[int, float] = {}
        for point in points:
            if point.total is not None:
                minute = int(point.time_stamp.timestamp())
                totals[minute] = totals.get(minute, 0.0) + float(point.total)
        return totals

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
                    **options,
                )
            return self._client


def _iso(at_s: int) -> str:
    return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _translated(error: Exception) -> EbbError:
    status = getattr(error, "status_code", None)
    if isinstance(error, HttpResponseError) and status in {401, 403}:
        return PermanentError(
            f"reading Azure Monitor: refused ({status}); give this app's identity the role "
            "'Monitoring Reader' on the Cosmos account"
        )
    if isinstance(error, HttpResponseError) and status == 404:  # noqa: PLR2004
        return PermanentError(
            "reading Azure Monitor: no such resource (404); check EBB_COSMOS_RESOURCE_ID"
        )
    return TransientError(
        f"reading Azure Monitor: {type(error).__name__} ({status or 'no answer'}); "
        "nothing is spent until it answers"
    )
