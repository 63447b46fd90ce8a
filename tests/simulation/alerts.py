"""Messages in Azure Monitor's common alert schema, built as the sandbox's Monitor builds them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sandbox.alerts import AlertRule, Standing, common_alert

ACCOUNT_ID = (
    "/subscriptions/0/resourcegroups/rg/providers/microsoft.documentdb/databaseaccounts/acct"
)
THRESHOLD_RU, MEASURED_RU = 240_000.0, 250_000.0


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
    watched = AlertRule(name=rule, url="", threshold=THRESHOLD_RU, dimensions=dimensions or {})
    body = common_alert(
        watched,
        Standing(alert=alert, fired_at_s=fired_at_s),
        "Fired" if resolved_at_s is None else "Resolved",
        ACCOUNT_ID,
        (MEASURED_RU, fired_at_s if resolved_at_s is None else resolved_at_s),
    )
    body["data"]["essentials"]["alertTargetIDs"] = list(targets)
    return json.dumps(body)
