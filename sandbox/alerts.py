"""Watches metric alert rules as Azure Monitor does, and posts the common alert schema.

A rule fires once when its condition is met, and is resolved after three checks without it. A post
that fails is tried again, at the pauses that Azure documents for action groups.
"""

import asyncio
import datetime as dt
import operator
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from sandbox.cosmos.account import Account
from sandbox.monitor import NAMESPACE, dimensions_of

CHECKS_TO_RESOLVE = 3
RETRY_PAUSES_S = (5.0, 20.0, 5.0, 40.0, 5.0)
RETRIED = frozenset({408, 429, 503, 504})
POST_WITHIN_S = 10.0
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThan": operator.gt,
    "GreaterThanOrEqual": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqual": operator.le,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """A static rule on one metric of the account, and whom it calls."""

    name: str
    url: str
    threshold: float
    metric: str = "TotalRequestUnits"
    operator: str = "GreaterThan"
    dimensions: Mapping[str, str] = field(default_factory=dict)
    window_s: int = 300
    every_s: float = 60.0
    severity: int = 2


@dataclass(slots=True, kw_only=True)
class Standing:
    """Whether a rule's alert is on, and since when."""

    alert: str = ""
    fired_at_s: float = 0.0
    checks_without: int = 0


@dataclass(slots=True)
class AlertWatch:
    """Checks every rule at its own pace, and remembers each post and how it was answered."""

    account: Account
    posts: list[dict[str, Any]] = field(default_factory=list)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def watch(self, rule: AlertRule) -> None:
        """Begin with a rule, or replace the one of its name."""
        if rule.operator not in _OPERATORS:
            message = f"operator {rule.operator!r} is not one of {', '.join(_OPERATORS)}"
            raise ValueError(message)
        self.forget(rule.name)
        self._tasks[rule.name] = asyncio.create_task(self._run(rule))

    def forget(self, name: str) -> None:
        """End a rule; what it posted stays known."""
        if task := self._tasks.pop(name, None):
            task.cancel()

    async def _run(self, rule: AlertRule) -> None:
        standing = Standing()
        posting: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession() as session:
            while True:
                now_s = time.time()
                value = measured(self.account, rule, now_s=now_s)
                if turn := turned(standing, rule, value, now_s=now_s):
                    condition, stood = turn
                    body = common_alert(
                        rule, stood, condition, self.account.resource_id, (value, now_s)
                    )
                    task = asyncio.create_task(self._post(session, rule, body))
                    posting.add(task)
                    task.add_done_callback(posting.discard)
                await asyncio.sleep(rule.every_s)

    async def _post(
        self, session: aiohttp.ClientSession, rule: AlertRule, body: Mapping[str, Any]
    ) -> None:
        answers: list[int | None] = []
        told = {"at_s": time.time(), "rule": rule.name, "body": body, "answers": answers}
        self.posts.append(told)
        for pause_s in (*RETRY_PAUSES_S, None):
            status = await _status(session, rule.url, body)
            answers.append(status)
            if pause_s is None or (status is not None and status not in RETRIED):
                return
            await asyncio.sleep(pause_s)


async def _status(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> int | None:
    """The answer's status; None where there was none."""
    limit = aiohttp.ClientTimeout(total=POST_WITHIN_S)
    try:
        async with session.post(url, json=body, timeout=limit) as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError):
        return None


def measured(account: Account, rule: AlertRule, *, now_s: float) -> float:
    """The metric's total over the rule's window, as late as metrics are."""
    end_s = int(now_s - account.delay.lag_s)
    wanted = {name.lower(): value.lower() for name, value in rule.dimensions.items()}
    total = 0.0
    for cell, tally in account.series.between(end_s - rule.window_s, end_s).items():
        known = dimensions_of(cell)
        if all(known[name].lower() == value for name, value in wanted.items()):
            total += tally.ru if rule.metric == "TotalRequestUnits" else tally.requests
    return total


def turned(
    standing: Standing, rule: AlertRule, value: float, *, now_s: float
) -> tuple[str, Standing] | None:
    """Fired or Resolved where this check turns the alert, and as it stood then; None otherwise."""
    if _OPERATORS[rule.operator](value, rule.threshold):
        standing.checks_without = 0
        if standing.alert:
            return None
        standing.alert, standing.fired_at_s = str(uuid.uuid4()), now_s
        return "Fired", replace(standing)
    standing.checks_without += 1
    if not standing.alert or standing.checks_without < CHECKS_TO_RESOLVE:
        return None
    ended = replace(standing)
    standing.alert = ""
    return "Resolved", ended


def common_alert(
    rule: AlertRule,
    standing: Standing,
    condition: str,
    resource_id: str,
    seen: tuple[float, float],
) -> dict[str, Any]:
    """The message of a standing alert."""
    value, now_s = seen
    essentials = {
        "alertId": f"{_subscription(resource_id)}/providers/Microsoft.AlertsManagement/alerts/"
        f"{standing.alert}",
        "alertRule": rule.name,
        "severity": f"Sev{rule.severity}",
        "signalType": "Metric",
        "monitorCondition": condition,
        "monitoringService": "Platform",
        "alertTargetIDs": [resource_id.lower()],
        "configurationItems": [resource_id.rsplit("/", maxsplit=1)[-1]],
        "originAlertId": standing.alert,
        "firedDateTime": _stamp(standing.fired_at_s),
        "description": "",
        "essentialsVersion": "1.0",
        "alertContextVersion": "1.0",
    }
    if condition == "Resolved":
        essentials["resolvedDateTime"] = _stamp(now_s)
    criterion = {
        "metricName": rule.metric,
        "metricNamespace": NAMESPACE,
        "operator": rule.operator,
        "threshold": f"{rule.threshold:g}",
        "timeAggregation": "Total",
        "dimensions": [{"name": n, "value": v} for n, v in rule.dimensions.items()],
        "metricValue": value,
    }
    context = {
        "properties": None,
        "conditionType": "SingleResourceMultipleMetricCriteria",
        "condition": {
            "windowSize": f"PT{rule.window_s}S",
            "allOf": [criterion],
            "windowStartTime": _stamp(now_s - rule.window_s),
            "windowEndTime": _stamp(now_s),
        },
    }
    data = {"essentials": essentials, "alertContext": context, "customProperties": None}
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": data}


def _subscription(resource_id: str) -> str:
    return "/".join(resource_id.split("/")[:3])


def _stamp(at_s: float) -> str:
    """Seven decimals, as Azure writes its times."""
    moment = dt.datetime.fromtimestamp(at_s, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}0Z"
