"""A container's habits from Log Analytics, through azure-monitor-query; none without a workspace.

It reads the table CDBPartitionKeyRUConsumption, which exists where the Cosmos account's diagnostic
settings send it to the workspace in resource-specific mode.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import threading
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import AzureError
from azure.monitor.query import LogsQueryClient, LogsQueryStatus

from shared.domain.profile import HOURS, HourUse, Profile
from shared.errors import EbbError, PermanentError, TransientError

TIMEOUT_S = 20  # as for metrics: a tick waits for both
ANSWER_S = 5  # after the server has given up, for its answer to arrive
TABLE = "CDBPartitionKeyRUConsumption"
UNKNOWN_TABLE = "Failed to resolve table"

# Hour 0 is Monday's first, in UTC; dayofweek() gives Sunday as 0 days.
PROFILE_QUERY = """CDBPartitionKeyRUConsumption
| where DatabaseName == {database} and CollectionName == {container}
| summarize Ru = sum(RequestCharge) by Minute = bin(TimeGenerated, 1m)
| extend Hour = (toint(dayofweek(Minute) / 1d) + 6) % 7 * 24 + hourofday(Minute)
| summarize Typical = percentile(Ru / 60.0, 50), High = max(Ru / 60.0) by Hour"""

SHARES_QUERY = """CDBPartitionKeyRUConsumption
| where DatabaseName == {database} and CollectionName == {container}
| summarize Ru = sum(RequestCharge) by PartitionKeyRangeId"""


class NoHistory:
    """For an app without a workspace: nothing is known of habits."""

    def profile(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Profile | None:
        del database, container, since_s, until_s
        return None

    def partition_shares(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[str, float]:
        del database, container, since_s, until_s
        return {}


class LogHistory:
    """Needs Log Analytics Reader on the workspace."""

    def __init__(
        self, *, workspace_id: str, endpoint: str, credential: Any, ca_file: str | None = None
    ) -> None:
        self._workspace_id = workspace_id
        self._endpoint = endpoint.rstrip("/")
        self._credential = credential
        self._ca_file = ca_file
        self._client: LogsQueryClient | None = None
        self._lock = threading.Lock()

    def profile(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Profile | None:
        rows = self._rows(PROFILE_QUERY, database, container, since_s, until_s)
        hours = {
            int(_number(row, "Hour")): HourUse(
                typical_ru_per_s=_number(row, "Typical"), high_ru_per_s=_number(row, "High")
            )
            for row in rows
            if _number(row, "Hour") < HOURS
        }
        return Profile(hours=hours) if hours else None

    def partition_shares(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[str, float]:
        rows = self._rows(SHARES_QUERY, database, container, since_s, until_s)
        used = {str(row.get("PartitionKeyRangeId")): _number(row, "Ru") for row in rows}
        whole = sum(used.values())
        return {name: ru / whole for name, ru in used.items()} if whole > 0 else {}

    def _rows(
        self, query: str, database: str, container: str, since_s: int, until_s: int
    ) -> list[dict[str, Any]]:
        text = query.format(database=_literal(database), container=_literal(container))
        span = (
            dt.datetime.fromtimestamp(since_s, dt.UTC),
            dt.datetime.fromtimestamp(until_s, dt.UTC),
        )
        try:
            answer = self._connected().query_workspace(
                self._workspace_id,
                text,
                timespan=span,
                server_timeout=TIMEOUT_S,
                connection_timeout=TIMEOUT_S,
                read_timeout=TIMEOUT_S + ANSWER_S,
            )
            if answer.status is not LogsQueryStatus.SUCCESS:
                raise TransientError(
                    "asking Log Analytics: the answer was partial and is not used; "
                    "Ebb goes on without habits"
                )
            return [
                dict(zip(table.columns, row, strict=True))
                for table in answer.tables
                for row in table.rows
            ]
        except (AzureError, ValueError, KeyError, TypeError, AttributeError) as error:
            if UNKNOWN_TABLE in str(error) and TABLE in str(error):
                return []
            raise _translated(error) from error

    def _connected(self) -> LogsQueryClient:
        with self._lock:
            if self._client is None:
                options = {"connection_verify": self._ca_file} if self._ca_file else {}
                self._client = LogsQueryClient(
                    self._credential, endpoint=self._endpoint, retry_total=0, **options
                )
            return self._client


def _literal(name: str) -> str:
    """A KQL string that is nothing but this text; KQL reads all of JSON's escapes."""
    return json.dumps(name)


def _number(row: Mapping[str, Any], column: str) -> float:
    """What a cell holds; Log Analytics writes NaN as text."""
    value = row.get(column)
    if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        return float(value)
    raise TransientError(
        f"asking Log Analytics: {column} was {str(value)[:20]!r} and no number; "
        "Ebb goes on without habits"
    )


def _translated(error: Exception) -> EbbError:
    status = getattr(error, "status_code", None)
    if status in {401, 403}:
        return PermanentError(
            f"asking Log Analytics: refused ({status}); give this app's identity the role "
            "'Log Analytics Reader' on the workspace, or leave EBB_LOG_WORKSPACE_ID empty"
        )
    return TransientError(
        f"asking Log Analytics: {type(error).__name__} ({status or 'no answer'}); "
        "Ebb goes on without habits"
    )
