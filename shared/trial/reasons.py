"""Why no API of the two accounts can settle a row of docs/fidelity.md."""

from __future__ import annotations

from collections.abc import Mapping

DEPLOYED = "it needs a deployed app; follow docs/deploy.md"
MORE_TIME = "it shows only after days or under hours of load"
SDK = "it is the SDK's own doing, and a test of the project holds it at each upgrade"
DEAR = "it costs more than a trial may"
FACTORY = "it needs a data factory with Ebb's pipeline; follow docs/data-factory.md"
TEMPLATE = "it is a matter of the templates; follow docs/deploy.md"
ONE_ROLE = "a trial also writes; sign in as an identity with this role only and run `ebb plan`"
NO_ORDER = "the service cannot be ordered to behave so"
LOGS = "a workspace answers so by chance or after hours only"

REASONS: Mapping[str, str] = {
    "cosmos.retry-options": SDK,
    "cosmos.range-after-split": f"{DEAR}: a split needs more than 10,000 RU/s for hours",
    "cosmos.reader-role": ONE_ROLE,
    "cosmos.count-pages": f"{DEAR}: a count over a million documents",
    "cosmos.serverless-capacity": f"{DEAR}: a partition under full load for many minutes",
    "cosmos.admission": "it is a model of many clients; compare a migration with `make demo`",
    "cosmos.sent-once": SDK,
    "cosmos.shared-headers": SDK,
    "cosmos.no-key": "a container without a partition key can no longer be made",
    "cosmos.session-across-clients": NO_ORDER,
    "monitor.missing-minute": NO_ORDER,
    "monitor.limits": "reaching them would harm everyone in the subscription",
    "monitor.role": ONE_ROLE,
    "logs.no-row": LOGS,
    "logs.endpoint": SDK,
    "logs.unknown-table": "it needs a workspace without diagnostic settings",
    "logs.partial": LOGS,
    "logs.wait": LOGS,
    "logs.delay": LOGS,
    "logs.role": ONE_ROLE,
    "storage.pending-copy": NO_ORDER,
    "storage.uncommitted-blocks": MORE_TIME,
    "storage.table-throughput": f"{DEAR}: a million rows from several machines",
    "storage.row-price": "the bill of a month says it",
    "storage.roles": "a trial cannot see what else this identity holds; deploy with these alone",
    "storage.immutability": "a locked policy could not be removed after the trial",
    "tables.index-loss": "a failover cannot be ordered for a table alone",
    "functions.poison": DEPLOYED,
    "functions.routes": DEPLOYED,
    "functions.killed-host": DEPLOYED,
    "functions.timer": DEPLOYED,
    "functions.timeout": DEPLOYED,
    "functions.threads": DEPLOYED,
    "functions.230-s": DEPLOYED,
    "functions.identity-storage": DEPLOYED,
    "functions.identity-endpoint": DEPLOYED,
    "alerts.schema": DEPLOYED,
    "alerts.delivery": MORE_TIME,
    "alerts.stateful": DEPLOYED,
    "alerts.retries": NO_ORDER,
    "alerts.key": DEPLOYED,
    **dict.fromkeys(
        (
            "deployment.bicep",
            "deployment.terraform",
            "deployment.secure-object",
            "deployment.azd-hooks",
            "deployment.union",
            "deployment.role-change",
            "deployment.budget-start",
            "deployment.azd-down",
            "deployment.azurerm-storage",
            "deployment.azurerm-data-plane",
            "deployment.list-keys",
        ),
        TEMPLATE,
    ),
    **dict.fromkeys(
        (
            "deployment.no-host-keys",
            "deployment.action-group",
            "deployment.test-alert",
            "deployment.own-address",
            "deployment.one-key",
            "deployment.vault-reference",
            "deployment.poison-queues",
            "deployment.scoped-role",
            "deployment.container-role",
            "deployment.role-delay",
            "deployment.alert-without-metric",
            "deployment.app-requests",
            "deployment.trusted-service",
            "deployment.closed-publishing",
            "deployment.secure-webhook",
            "deployment.client-id",
        ),
        DEPLOYED,
    ),
    **dict.fromkeys(
        (
            "factory.dependencies",
            "factory.three-conditions",
            "factory.until",
            "factory.self-reference",
            "factory.parameter-default",
            "factory.sign-in",
            "factory.times",
            "factory.mapping",
            "factory.column-names",
            "factory.copy-pages",
            "factory.copy-ranges",
            "factory.output",
            "factory.cancelled-copy",
            "factory.cancelled-run",
            "factory.webhook",
            "factory.status-code",
            "factory.secure-input",
            "factory.cancel-ended",
            "factory.parameters",
            "factory.run-filter",
            "factory.create-run-retry",
            "factory.typed-models",
            "factory.limits",
        ),
        FACTORY,
    ),
}
