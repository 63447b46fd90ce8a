"""Messages in Azure Monitor's common alert schema, as its documentation shows them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence

ACCOUNT_ID = (
    "/subscriptions/0/resourcegroups/rg/providers/microsoft.documentdb/databaseaccounts/acct"
)


def message(
    *,
    fired_at_s: float,
    resolved_at_s: float | None = None,
    alert: str = "one",
    rule: str = "ru-high",
    targets: Sequence[str] = (ACCOUNT_ID,),
    dimensions: Mapping[str, str] | None = None,
) -> str:
    """Fired, or resolved where a time of that is given."""
    essentials = {
        "alertId": f"/subscriptions/0/providers/Microsoft.AlertsManagement/alerts/{alert}",
        "alertRule": rule,
        "severity": "Sev2",
        "signalType": "Metric",
        "monitorCondition": "Fired" if resolved_at_s is None else "Resolved",
        "monitoringService": "Platform",
        "alertTargetIDs": list(targets),
        "configurationItems": ["acct"],
        "originAlertId": alert,
        "firedDateTime": _stamp(fired_at_s),
        "description": "",
        "essentialsVersion": "1.0",
        "alertContextVersion": "1.0",
    }
    if resolved_at_s is not None:
        essentials["resolvedDateTime"] = _stamp(resolved_at_s)
    criterion = {
        "metricName": "TotalRequestUnits",
        "metricNamespace": "Microsoft.DocumentDB/databaseAccounts",
        "operator": "GreaterThan",
        "threshold": "240000",
        "timeAggregation": "Total",
        "dimensions": [{"name": n, "value": v} for n, v in (dimensions or {}).items()],
        "metricValue": 250_000.0,
    }
    context = {
        "properties": None,
        "conditionType": "SingleResourceMultipleMetricCriteria",
        "condition": {
            "windowSize": "PT5M",
            "allOf": [criterion],
            "windowStartTime": _stamp(fired_at_s - 300),
            "windowEndTime": _stamp(fired_at_s),
        },
    }
    data = {"essentials": essentials, "alertContext": context, "customProperties": None}
    return json.dumps({"schemaId": "azureMonitorCommonAlertSchema", "data": data})


def _stamp(at_s: float) -> str:
    return dt.datetime.fromtimestamp(at_s, dt.UTC).isoformat().replace("+00:00", "Z")
