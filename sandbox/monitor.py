"""Answers Azure Monitor's metrics route from the meter's minutes, late and with holes."""

import datetime as dt
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from sandbox.cosmos.account import Account
from sandbox.cosmos.resources import ResourceDoor
from sandbox.cosmos.series import MINUTE_S, Cell, Tally
from sandbox.factory.door import AUDIENCES as MANAGEMENT_AUDIENCES
from sandbox.factory.door import REQUEST_BYTES_MAX, FactoryDoor
from sandbox.identity import TokenIssuer
from sandbox.logs import logs_route

NAMESPACE = "Microsoft.DocumentDB/databaseAccounts"
REGION = "westeurope"
# Azure Monitor answers at most 1,440 points a series at the grains supported here.
POINTS_MAX = 1440
# Azure's own default: of a metric split by a dimension, ten series and no word of the others.
SERIES_DEFAULT = 10
RETRY_AFTER_S = 30
_GRAINS_S = {"PT1M": 60, "PT5M": 300, "PT15M": 900, "PT30M": 1800, "PT1H": 3600}
_UNITS = {
    "TotalRequestUnits": "Count",
    "TotalRequests": "Count",
    "NormalizedRUConsumption": "Percent",
    "PhysicalPartitionCount": "Count",
    "ProvisionedThroughput": "Count",
}
_BY_PARTITION = frozenset(_UNITS) - {"TotalRequestUnits", "TotalRequests"}
_CONDITION = re.compile(r"(\w+)\s+eq\s+'((?:[^']|'')*)'", re.IGNORECASE)
_THROTTLED, _CLIENT_ERROR, _FORBIDDEN, _SERVER_ERROR = 429, 400, 403, 500

Data = dict[str, Any]
T = TypeVar("T")


class BadQuery(ValueError):
    """A metrics query that Azure Monitor would refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsQuery:
    """One metrics query, understood."""

    metrics: tuple[str, ...]
    start_s: int
    end_s: int
    grain_s: int
    interval: str
    aggregations: tuple[str, ...]
    # Dimension name in lower case -> accepted values; '*' accepts and splits by every value.
    wanted: Mapping[str, frozenset[str]]
    series_max: int = SERIES_DEFAULT


def metrics_query(parameters: Mapping[str, str], *, now_s: float) -> MetricsQuery:
    """Read a query string; the defaults are Azure Monitor's: the last hour, by minute, averaged."""
    names = tuple(name for name in parameters.get("metricnames", "").split(",") if name)
    if not names or any(name not in _UNITS for name in names):
        raise BadQuery(
            f"metricnames {names} are not supported; the sandbox has {', '.join(_UNITS)}"
        )
    interval = parameters.get("interval", "PT1M")
    if interval not in _GRAINS_S:
        raise BadQuery(f"interval {interval!r} is not one of {', '.join(_GRAINS_S)}")
    grain_s = _GRAINS_S[interval]
    start, _, end = parameters.get("timespan", "").partition("/")
    end_s = _epoch_s(end) if end else now_s
    start_s = _epoch_s(start) if start else end_s - 3600
    start_s -= start_s % grain_s
    if not start_s < end_s or (end_s - start_s) / grain_s > POINTS_MAX:
        raise BadQuery(
            f"timespan {parameters.get('timespan')!r} must hold 1 to {POINTS_MAX} "
            f"intervals of {interval}"
        )
    namespace = parameters.get("metricnamespace", NAMESPACE)
    if namespace.lower() != NAMESPACE.lower():
        raise BadQuery(f"metricnamespace {namespace!r} is not {NAMESPACE}")
    return MetricsQuery(
        metrics=names,
        start_s=int(start_s),
        end_s=int(end_s),
        grain_s=grain_s,
        interval=interval,
        aggregations=tuple(
            part.strip().lower() for part in parameters.get("aggregation", "average").split(",")
        ),
        wanted=_wanted(parameters.get("$filter", "")),
        series_max=int(parameters.get("top", SERIES_DEFAULT)),
    )


def metrics_answer(
    account: Account, query: MetricsQuery, *, resource_id: str, now_s: float
) -> Data:
    """Return what Azure Monitor would know by now.

    Everything newer than `lag_s` is unknown: a minute that the horizon cuts shows only its part
    before it, which looks exactly like a complete value, as in Azure.
    """
    return {
        "cost": 0,
        "timespan": f"{_stamp(query.start_s)}/{_stamp(query.end_s)}",
        "interval": query.interval,
        "value": [
            _metric(account, query, name, resource_id, now_s - account.delay.lag_s)
            for name in query.metrics
        ],
        "namespace": NAMESPACE,
        "resourceregion": REGION,
    }


def monitor_app(
    account: Account, issuer: TokenIssuer, *doors: FactoryDoor | ResourceDoor
) -> web.Application:
    """Serve `GET {resource}/providers/Microsoft.Insights/metrics`, the logs and the doors."""
    suffix = "/providers/microsoft.insights/metrics"

    async def metrics(request: web.Request) -> web.Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        audiences = MANAGEMENT_AUDIENCES | {
            f"https://{request.host}",
            f"https://{request.url.host}",
        }
        check = issuer.check(token, audiences=audiences, now_s=time.time())
        if scheme.lower() != "bearer" or not check.accepted:
            return _error(401, "AuthenticationFailed", f"Authentication failed: {check.reason}")
        resource_id = "/" + request.path.strip("/")[: -len(suffix) + 1].strip("/")
        if (
            not request.path.lower().endswith(suffix)
            or resource_id.lower() != account.resource_id.lower()
        ):
            return _error(
                404, "ResourceNotFound", f"{request.path} is not a metric of {account.resource_id}"
            )
        try:
            query = metrics_query(request.query, now_s=time.time())
        except BadQuery as error:
            return _error(400, "BadRequest", str(error))
        for name in query.metrics:
            if name in account.delay.refusals:
                return _refusal(name, account.delay.refusals[name])
        return web.json_response(
            metrics_answer(account, query, resource_id=account.resource_id, now_s=time.time())
        )

    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    for door in doors:
        door.add_to(app)
    app.router.add_get("/{tail:.*}", metrics)
    app.router.add_routes([logs_route(account, issuer)])
    return app


def _metric(
    account: Account, query: MetricsQuery, name: str, resource_id: str, horizon_s: float
) -> Data:
    if name == "ProvisionedThroughput" and not account.is_provisioned:
        series = []
    elif name in _BY_PARTITION:
        series = _by_partition(account, query, name, horizon_s)
    else:
        series = _by_cell(account, query, horizon_s, name)
    return {
        "id": f"{resource_id}/providers/Microsoft.Insights/metrics/{name}",
        "type": "Microsoft.Insights/metrics",
        "name": {"value": name, "localizedValue": name},
        "displayDescription": name,
        "unit": _UNITS[name],
        "timeseries": series[: query.series_max] if query.wanted else series,
        "errorCode": "Success",
    }


def _by_cell(account: Account, query: MetricsQuery, horizon_s: float, name: str) -> list[Data]:
    groups: dict[tuple[str, ...], dict[int, Tally]] = {}
    for minute_s in _known_minutes(account, query, horizon_s):
        for cell, tally in account.series.minute(minute_s, until_s=horizon_s).items():
            dimensions = dimensions_of(cell)
            if _accepts(query.wanted, dimensions):
                group = groups.setdefault(tuple(dimensions[d] for d in query.wanted), {})
                start_s = minute_s - minute_s % query.grain_s
                group.setdefault(start_s, Tally()).add(tally.requests, tally.ru, tally.ru_max)
    if not groups and not query.wanted:
        groups[()] = {}

    def value(tallies: dict[int, Tally], start_s: int) -> Data:
        if start_s not in tallies and not account.delay.idle_minutes_have_points:
            return {}
        tally = tallies.get(start_s, Tally())
        return _tally_values(
            tally, by_ru=name == "TotalRequestUnits", aggregations=query.aggregations
        )

    return [
        _series(query, account, horizon_s, key=key, group=tallies, value=value)
        for key, tallies in sorted(groups.items())
    ]


def _by_partition(account: Account, query: MetricsQuery, name: str, horizon_s: float) -> list[Data]:
    split = next(
        (d for d in query.wanted if d in ("partitionkeyrangeid", "physicalpartitionid")), None
    )
    shown = [
        p for p in range(account.partitions) if split is None or query.wanted[split] & {"*", str(p)}
    ]

    def value(partitions: list[int], start_s: int) -> Data:
        if name == "PhysicalPartitionCount":
            return dict.fromkeys(query.aggregations, float(account.partitions))
        if name == "ProvisionedThroughput":
            bought = sum(window.limit_ru_per_s for window in account.windows)
            return dict.fromkeys(query.aggregations, bought)
        minutes = range(start_s, start_s + query.grain_s, MINUTE_S)
        percents = [_percent(account, minute_s, p) for p in partitions for minute_s in minutes]
        known = {
            "maximum": max(percents),
            "average": sum(percents) / len(percents),
            "minimum": min(percents),
        }
        return {a: round(known[a], 2) for a in query.aggregations if a in known}

    groups: list[tuple[tuple[str, ...], list[int]]] = (
        [((str(p),), [p]) for p in shown] if split else [((), shown)]
    )
    one = MetricsQuery(
        metrics=query.metrics,
        start_s=query.start_s,
        end_s=query.end_s,
        grain_s=query.grain_s,
        interval=query.interval,
        aggregations=query.aggregations,
        wanted={split: query.wanted[split]} if split else {},
    )
    return [
        _series(one, account, horizon_s, key=key, group=partitions, value=value)
        for key, partitions in groups
    ]


def _percent(account: Account, minute_s: int, partition: int) -> float:
    limit = account.windows[partition].limit_ru_per_s
    return (
        min(100.0, 100.0 * account.series.peak_ru(minute_s, partition) / limit)
        if limit > 0
        else 100.0
    )


def _series(
    query: MetricsQuery,
    account: Account,
    horizon_s: float,
    *,
    key: tuple[str, ...],
    group: T,
    value: Callable[[T, int], Data],
) -> Data:
    known = {m - m % query.grain_s for m in _known_minutes(account, query, horizon_s)}
    starts = range(query.start_s, query.end_s, query.grain_s)
    return {
        "metadatavalues": [
            {"name": {"value": name, "localizedValue": name}, "value": shown}
            for name, shown in zip(query.wanted, key, strict=True)
        ],
        "data": [
            {"timeStamp": _stamp(s), **(value(group, s) if s in known else {})} for s in starts
        ],
    }


def _known_minutes(account: Account, query: MetricsQuery, horizon_s: float) -> list[int]:
    minutes = range(query.start_s, query.end_s, MINUTE_S)
    return [m for m in minutes if m < horizon_s and not account.delay.is_lost(m)]


def _tally_values(tally: Tally, *, by_ru: bool, aggregations: tuple[str, ...]) -> Data:
    requests = float(tally.requests)
    known = {
        "total": tally.ru if by_ru else requests,
        "count": requests,
        "average": (tally.ru / requests if requests else 0.0) if by_ru else 1.0,
        "maximum": tally.ru_max if by_ru else 1.0,
    }
    return {name: round(known[name], 4) for name in aggregations if name in known}


def dimensions_of(cell: Cell) -> dict[str, str]:
    """The metric dimensions a request is counted under."""
    status = "Success"
    if cell.status == _THROTTLED:
        status = "ClientThrottlingError"
    elif cell.status >= _CLIENT_ERROR:
        status = "ServerError" if cell.status >= _SERVER_ERROR else "ClientOtherError"
    return {
        "databasename": cell.database,
        "collectionname": cell.container,
        "region": REGION,
        "statuscode": str(cell.status),
        "operationtype": cell.operation,
        "status": status,
        "partitionkeyrangeid": str(cell.partition),
        "physicalpartitionid": str(cell.partition),
    }


def _accepts(wanted: Mapping[str, frozenset[str]], dimensions: Mapping[str, str]) -> bool:
    return all(
        "*" in values or dimensions[name].lower() in values for name, values in wanted.items()
    )


def _wanted(text: str) -> dict[str, frozenset[str]]:
    wanted: dict[str, set[str]] = {}
    for name, value in _CONDITION.findall(text):
        wanted.setdefault(name.lower(), set()).add(value.replace("''", "'").lower())
    leftover = re.sub(r"\b(and|or)\b|[()\s]", "", _CONDITION.sub("", text), flags=re.IGNORECASE)
    known = dimensions_of(Cell("", 0, "", "", "", 0))
    if leftover or any(name not in known for name in wanted):
        raise BadQuery(f"$filter {text!r} is not understood; use {' and '.join(known)} with eq")
    return {name: frozenset(values) for name, values in wanted.items()}


def _epoch_s(text: str) -> float:
    moment = dt.datetime.fromisoformat(text.replace(" ", "+"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def _stamp(epoch_s: float) -> str:
    return dt.datetime.fromtimestamp(epoch_s, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refusal(metric: str, status: int) -> web.Response:
    codes = {
        _CLIENT_ERROR: "BadRequest",
        _FORBIDDEN: "AuthorizationFailed",
        _THROTTLED: "TooManyRequests",
    }
    code = codes.get(status, "ServiceUnavailable")
    answer = _error(status, code, f"Failed to find metric configuration for metric: {metric}")
    if status == _THROTTLED:
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
