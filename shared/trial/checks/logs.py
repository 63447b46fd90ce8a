"""Log Analytics: that the workspace understands Ebb's two queries; there are no rows to expect."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from azure.core.exceptions import HttpResponseError
from azure.monitor.query import LogsQueryClient, LogsQueryStatus

from shared.adapters.history import PROFILE_QUERY, SHARES_QUERY, TABLE, UNKNOWN_TABLE
from shared.trial.findings import Finding, judged, skipped

DAYS = 28
NAME = "a'b\"c\\d\u2028"
COLUMNS = ("Hour", "Typical", "High"), ("PartitionKeyRangeId", "Ru")
NO_WORKSPACE = "no workspace was given; give --logs WORKSPACE_ID"
NO_TABLE = f"the workspace has no table {TABLE}; send the account's logs to it for an hour first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    client: LogsQueryClient
    id: str

    def columns(self, query: str) -> tuple[str, ...] | None:
        """The columns of a query's answer; None when the table is not known."""
        text = query.format(database=json.dumps(NAME), container=json.dumps(NAME))
        now = dt.datetime.now(dt.UTC)
        span = now - dt.timedelta(days=DAYS), now
        try:
            answer = self.client.query_workspace(self.id, text, timespan=span)
        except HttpResponseError as error:
            if UNKNOWN_TABLE in str(error):
                return None
            raise
        if answer.status is not LogsQueryStatus.SUCCESS:
            return ()
        return tuple(answer.tables[0].columns)


def understood(workspace: Workspace | None) -> Finding:
    """Both queries are valid KQL over the four columns, also for a name with quotes."""
    if workspace is None:
        return skipped(NO_WORKSPACE)
    found = [workspace.columns(query) for query in (PROFILE_QUERY, SHARES_QUERY)]
    if None in found:
        return skipped(NO_TABLE)
    wanted = [sorted(each) for each in COLUMNS]
    return judged(
        expected=f"the columns {wanted}",
        seen=f"the columns {found}",
        holds=[sorted(each or ()) for each in found] == wanted,
    )


CHECKS: Mapping[str, Callable[[Workspace | None], Finding]] = {
    "logs.kql": understood,
    "logs.columns": understood,
}
