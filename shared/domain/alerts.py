"""What Azure Monitor says in an alert, read strictly where Ebb acts on it and freely elsewhere.

It knows the common alert schema of metric alerts. What follows from an alert is the board's matter.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.errors import Fault, Invalid

ALERT_HOLD_S = 600.0  # two of the usual windows; a lost "Resolved" must not stop a migration longer
FUTURE_MAX_S = 300.0  # clocks differ by less; what fires later is not to be believed
PAST_MAX_S = 30 * 86_400.0  # Azure itself keeps an alert's history so long; older is a replay
CONDITIONS_MAX = 50
TARGETS_MAX = 1_000
SEEN_CHARS_MAX = 60
_FAULTS_MAX = 10
_ACCOUNT = re.compile(r"^/subscriptions/.+/microsoft\.documentdb/databaseaccounts/([^/]+)(/|$)")
_ADVICE = {
    ("schemaId",): "switch the common alert schema on for the action that calls this address",
    ("data", "essentials", "signalType"): "send metric alerts only; other signals are not read",
    ("data", "essentials", "monitorCondition"): "only Fired and Resolved are known",
}


class Condition(StrEnum):
    FIRED = "Fired"
    RESOLVED = "Resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message of one alert."""

    key: str
    """Stands for the alert's id, which is long."""
    rule: str
    severity: str
    condition: Condition
    fired_at_s: float
    at_s: float
    """When it fired or was resolved, as it says itself."""
    accounts: frozenset[str]
    """Names of the Cosmos DB accounts among its targets, in lower case."""
    sources: frozenset[str] | None
    """Database/container of every condition; None where one of them speaks of the whole account."""
    measured: tuple[str, ...]

    @property
    def until_s(self) -> float:
        fired = self.condition is Condition.FIRED
        return self.fired_at_s + ALERT_HOLD_S if fired else self.fired_at_s

    def sentence(self) -> str:
        what = "; ".join(self.measured) or "no condition is given"
        return f"alert {self.rule!r} ({self.severity}) {self.condition.value.lower()}: {what}"


def _aware(at: dt.datetime) -> dt.datetime:
    if at.tzinfo is None:
        raise ValueError("it names no time zone")
    return at


_Time = Annotated[dt.datetime, AfterValidator(_aware)]
_Line = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Dimension(BaseModel):
    name: str
    value: str


class _Criterion(BaseModel):
    metric: _Line = Field(alias="metricName")
    operator: str | None = Field(default=None, max_length=60)
    threshold: str | float | None = None
    value: float | None = Field(default=None, alias="metricValue")
    dimensions: list[_Dimension] | None = Field(default=None, max_length=CONDITIONS_MAX)

    def source(self) -> str | None:
        named = {each.name.lower(): each.value for each in self.dimensions or ()}
        database, container = named.get("databasename"), named.get("collectionname")
        return f"{database}/{container}" if database and container else None

    def words(self) -> str:
        limit = "" if self.threshold is None else f" {self.operator or '?'} {self.threshold}"
        value = "" if self.value is None else f", measured {self.value:g}"
        return f"{self.metric}{limit}{value}"[:200]


class _Conditions(BaseModel):
    all_of: list[_Criterion] = Field(alias="allOf", max_length=CONDITIONS_MAX)


class _Context(BaseModel):
    condition: _Conditions


class _Essentials(BaseModel):
    alert_id: _Line = Field(alias="alertId")
    rule: _Line = Field(alias="alertRule")
    severity: str = Field(default="", max_length=20, pattern=r"^\w*$")
    signal: Literal["Metric"] = Field(alias="signalType")
    condition: Literal["Fired", "Resolved"] = Field(alias="monitorCondition")
    targets: list[_Line] = Field(alias="alertTargetIDs", min_length=1, max_length=TARGETS_MAX)
    fired_at: _Time = Field(alias="firedDateTime")
    resolved_at: _Time | None = Field(default=None, alias="resolvedDateTime")


class _Data(BaseModel):
    essentials: _Essentials
    context: _Context = Field(alias="alertContext")


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True)

    schema_id: Literal["azureMonitorCommonAlertSchema"] = Field(alias="schemaId")
    data: _Data


def parse_alert(text: str, *, now_s: float) -> Alert:
    """One message in the common alert schema; Invalid with every fault otherwise."""
    try:
        told = _Body.model_validate_json(text).data
    except (ValidationError, RecursionError) as error:
        found = error.errors()[:_FAULTS_MAX] if isinstance(error, ValidationError) else []
        faults = tuple(_fault(each["loc"], each["msg"], each["input"]) for each in found)
        raise Invalid("the alert", faults or (_fault((), "nested too deeply", ""),)) from error
    essentials = told.essentials
    fired_at_s = essentials.fired_at.timestamp()
    at_s = (essentials.resolved_at or essentials.fired_at).timestamp()
    if not now_s - PAST_MAX_S <= fired_at_s <= at_s <= now_s + FUTURE_MAX_S:
        message = "its times are out of order, in the future, or over 30 days ago"
        seen = f"{essentials.fired_at} to {essentials.resolved_at}"
        raise Invalid("the alert", (_fault(("data", "essentials"), message, seen),))
    criteria = told.context.condition.all_of
    return Alert(
        key=hashlib.sha256(essentials.alert_id.lower().encode(errors="replace")).hexdigest()[:16],
        rule=essentials.rule,
        severity=essentials.severity,
        condition=Condition(essentials.condition),
        fired_at_s=fired_at_s,
        at_s=at_s,
        accounts=_accounts(essentials.targets),
        sources=_sources(criteria),
        measured=tuple(each.words() for each in criteria),
    )


def harmless_message(name: str, account: str, *, now_s: float) -> str:
    """An alert as Azure Monitor sends it, which by the ordinary rules can hold nothing.

    It is new, resolved as it fired, and about a container that no migration can read: nothing
    looks at its name, so nobody gains by writing a message that looks like it.
    """
    at = dt.datetime.fromtimestamp(now_s, dt.UTC).isoformat()
    target = f"/subscriptions/{name}/providers/microsoft.documentdb/databaseaccounts/{account}"
    essentials = {
        "alertId": f"/subscriptions/{name}/providers/Microsoft.AlertsManagement/alerts/{name}",
        "alertRule": name,
        "severity": "Sev4",
        "signalType": "Metric",
        "monitorCondition": Condition.RESOLVED,
        "alertTargetIDs": [target],
        "firedDateTime": at,
        "resolvedDateTime": at,
    }
    dimensions = {"DatabaseName": name, "CollectionName": name}
    criterion = {
        "metricName": "TotalRequestUnits",
        "dimensions": [{"name": key, "value": value} for key, value in dimensions.items()],
    }
    context = {"condition": {"allOf": [criterion]}}
    data = {"essentials": essentials, "alertContext": context}
    return json.dumps({"schemaId": "azureMonitorCommonAlertSchema", "data": data})


def _accounts(targets: Iterable[str]) -> frozenset[str]:
    found = (_ACCOUNT.match(target.lower()) for target in targets)
    return frozenset(match.group(1) for match in found if match)


def _sources(criteria: Iterable[_Criterion]) -> frozenset[str] | None:
    named = [each.source() for each in criteria]
    known = frozenset(source for source in named if source is not None)
    return known if known and None not in named else None


def _fault(location: tuple[int | str, ...], message: str, seen: Any) -> Fault:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    advice = _ADVICE.get(tuple(map(str, location)), "send what Azure Monitor sends, unchanged")
    return Fault(path=f"${path}", seen=f"{message}: {str(seen)[:SEEN_CHARS_MAX]!r}", advice=advice)
