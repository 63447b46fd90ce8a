"""Answers Log Analytics' query route from the meter's minutes, for the queries that Ebb sends.

It runs no KQL: it knows two texts by heart, works out what they would give, and refuses any other
text as Log Analytics refuses what it cannot parse.
"""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

from aiohttp import web

from sandbox.cosmos.account import Account
from sandbox.cosmos.series import MINUTE_S
from sandbox.identity import TokenIssuer

WORKSPACE_ID = "00000000-0000-0000-0000-00000000ebb1"
LOGS_AUDIENCE = "https://api.loganalytics.io"
TABLE = "CDBPartitionKeyRUConsumption"
_NAME = r'("(?:[^"\\\n\r]|\\.)*")'
_OF_CONTAINER = (
    rf"{TABLE}\n\| where DatabaseName == {_NAME} and CollectionName == {_NAME}\n\| summarize "
)
_PROFILE = re.compile(
    _OF_CONTAINER
    + re.escape(
        "Ru = sum(RequestCharge) by Minute = bin(TimeGenerated, 1m)\n"
        "| extend Hour = (toint(dayofweek(Minute) / 1d) + 6) % 7 * 24 + hourofday(Minute)\n"
        "| summarize Typical = percentile(Ru / 60.0, 50), High = max(Ru / 60.0) by Hour"
    )
)
_SHARES = re.compile(_OF_CONTAINER + re.escape("Ru = sum(RequestCharge) by PartitionKeyRangeId"))

Rows = list[list[Any]]


@dataclass(frozen=True, slots=True)
class LogQuery:
    """One of Ebb's queries, understood."""

    is_profile: bool
    database: str
    container: str
    start_s: float
    end_s: float


class BadQuery(ValueError):
    """A query that Log Analytics would not parse, or that the sandbox does not know."""


def log_query(body: dict[str, Any]) -> LogQuery:
    """Read a request's body."""
    text = str(body.get("query", ""))
    start, _, end = str(body.get("timespan") or "").partition("/")
    for pattern, is_profile in ((_PROFILE, True), (_SHARES, False)):
        match = pattern.fullmatch(text)
        if match and end:
            database, container = json.loads(match[1]), json.loads(match[2])
            return LogQuery(is_profile, database, container, _epoch(start), _epoch(end))
    raise BadQuery(f"the sandbox knows only Ebb's own queries, and a timespan; saw {text[:80]!r}")


def logs_route(account: Account, issuer: TokenIssuer) -> web.RouteDef:
    """Serve the query route of the one workspace."""

    async def query(request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        audiences = frozenset(
            {LOGS_AUDIENCE, f"https://{request.host}", f"https://{request.url.host}"}
        )
        check = issuer.check(token, audiences=audiences, now_s=time.time())
        if scheme.lower() != "bearer" or not check.accepted:
            return _error(403, "InsufficientAccessError", check.reason)
        if request.match_info["workspace"] != WORKSPACE_ID:
            return _error(404, "WorkspaceNotFoundError", "there is no such workspace")
        try:
            asked = log_query(await request.json())
        except ValueError as error:
            return _bad_argument("SyntaxError", "SYN0002", str(error))
        if not account.logs.exists:
            message = (
                f"'where' operator: Failed to resolve table or column expression named '{TABLE}'"
            )
            return _bad_argument("SemanticError", "SEM0100", message)
        return web.json_response(_answer(account, asked, now_s=time.time()))

    return web.post("/v1/{scope:workspaces}/{workspace}/query", query)


def _answer(account: Account, asked: LogQuery, *, now_s: float) -> dict[str, Any]:
    columns, rows = (
        _profile(account, asked, now_s) if asked.is_profile else _shares(account, asked, now_s)
    )
    types = {"Hour": "long", "PartitionKeyRangeId": "string"}
    table = {
        "name": "PrimaryResult",
        "columns": [{"name": n, "type": types.get(n, "real")} for n in columns],
        "rows": rows,
    }
    if not account.logs.is_partial:
        return {"tables": [table]}
    message = "There were some errors when processing your query."
    partial = {"code": "PartialError", "message": message, "details": []}
    return {"tables": [{**table, "rows": rows[: len(rows) // 2]}], "error": partial}


def _profile(account: Account, asked: LogQuery, now_s: float) -> tuple[tuple[str, ...], Rows]:
    hours: dict[int, dict[int, float]] = {}
    for minute_s, _, ru in _used(account, asked, now_s):
        at = datetime.fromtimestamp(minute_s, UTC)
        minutes = hours.setdefault(at.weekday() * 24 + at.hour, {})
        minutes[minute_s] = minutes.get(minute_s, 0.0) + ru / MINUTE_S
    rows: Rows = [
        [hour, median(minutes.values()), max(minutes.values())] for hour, minutes in hours.items()
    ]
    return ("Hour", "Typical", "High"), rows


def _shares(account: Account, asked: LogQuery, now_s: float) -> tuple[tuple[str, ...], Rows]:
    totals: dict[str, float] = {}
    for _, partition, ru in _used(account, asked, now_s):
        totals[str(partition)] = totals.get(str(partition), 0.0) + ru
    return ("PartitionKeyRangeId", "Ru"), [[name, ru] for name, ru in totals.items()]


def _used(account: Account, asked: LogQuery, now_s: float) -> Iterator[tuple[int, int, float]]:
    """Minute, partition and RU of one container, of what the logs have taken in by now."""
    end_s = min(asked.end_s, now_s - account.logs.lag_s)
    first_s = int(asked.start_s) // MINUTE_S * MINUTE_S
    for minute_s in account.series.minutes_between(first_s, end_s):
        for cell, tally in account.series.minute(minute_s, until_s=end_s).items():
            if (cell.database, cell.container) == (asked.database, asked.container):
                yield minute_s, cell.partition, tally.ru


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _bad_argument(kind: str, code: str, message: str) -> web.Response:
    cause = {"code": code, "message": message}
    inner = {"code": kind, "message": f"A {kind} occurred.", "innererror": cause}
    return _error(
        400, "BadArgumentError", "The request had some invalid properties", innererror=inner
    )


def _error(status: int, code: str, message: str, **more: Any) -> web.Response:
    body = {"error": {"message": message, "code": code, "correlationId": "ebb", **more}}
    return web.json_response(body, status=status)
