"""The app's settings: names, meanings and defaults, read from a mapping with all faults at once.

It does not look at the environment itself; wiring and cli hand it over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from shared.domain.notices import LOOPBACK, Webhook, webhook_of
from shared.errors import Fault, Invalid

_INSTRUMENTATION = re.compile(
    r"(^|;)\s*InstrumentationKey\s*=\s*[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\s*(;|$)",
    re.IGNORECASE,
)
_TARGET = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One app setting: `read` turns its text into a value or says what to write instead."""

    name: str
    meaning: str
    default: str | None
    read: Callable[[str], Any]
    is_secret: bool = False
    """Then a fault tells nothing of its text."""


def _text(value: str) -> str:
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("write a whole address, such as https://name.documents.azure.com:443/")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("write https: tokens are never sent over plain http")
    return value


def _optional_url(value: str) -> str:
    return _url(value).rstrip("/") if value else ""


def _hosts(value: str) -> tuple[str, ...]:
    hosts = tuple(each.strip() for each in value.split(",") if each.strip())
    if any("/" in host or " " in host for host in hosts):
        raise ValueError("write names with their ports and commas between, without https://")
    return hosts


def _insights(value: str) -> str:
    if value and not _INSTRUMENTATION.search(value):
        raise ValueError("write the connection string of Application Insights, or nothing")
    return value


def _loopback_hosts(value: str) -> frozenset[str]:
    hosts = frozenset(host.lower() for host in _hosts(value))
    if any(urlsplit(f"//{host}").hostname not in LOOPBACK for host in hosts):
        raise ValueError("write loopback hosts with their ports only, such as 127.0.0.1:8080")
    return hosts


def _addresses(value: str) -> dict[str, str]:
    try:
        found = json.loads(value or "{}")
    except ValueError as error:
        raise ValueError('write JSON, such as {"ops": "teams+https://…"}') from error
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError('write names with one address each: {"ops": "teams+https://…"}')
    odd = [name for name in found if not _TARGET.fullmatch(name)]
    if odd:
        raise ValueError("write names of 1 to 40 characters: a-z, 0-9 and -")
    return found


def _key(value: str) -> str:
    key = value.strip()
    if not key.isascii() or not key.isprintable():
        raise ValueError("write the function key as it is, in plain ASCII on one line")
    return key


def resource_id(value: str) -> str:
    """The id of a Cosmos DB account as Azure writes it; ValueError says what to write."""
    return _azure_id(value, "Microsoft.DocumentDB/databaseAccounts/<account>")


def _factory_id(value: str) -> str:
    return _azure_id(value, "Microsoft.DataFactory/factories/<name>") if value else ""


def _azure_id(value: str, ends: str) -> str:
    parts = value.strip("/").split("/")
    if len(parts) != 8 or parts[0].lower() != "subscriptions":  # noqa: PLR2004 - Azure's own form
        raise ValueError(f"write /subscriptions/<id>/resourceGroups/<group>/providers/{ends}")
    return "/" + "/".join(parts)


def _workspace(value: str) -> str:
    try:
        return str(UUID(value)) if value else ""
    except ValueError as error:
        raise ValueError(
            "write the workspace's id (a GUID, under Properties), or nothing"
        ) from error


METRIC_SETTLE_S_MAX = 180  # a reading is stale five minutes after its minute began, and is late


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError as error:
        raise ValueError("write a number of seconds") from error
    if not 0 <= seconds <= METRIC_SETTLE_S_MAX:
        raise ValueError(f"write between 0 and {METRIC_SETTLE_S_MAX} seconds")
    return seconds


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="AzureWebJobsStorage",
        meaning="Storage of queues, ledger and lease: a connection string (Azurite, tests).",
        default="",
        read=_text,
    ),
    Setting(
        name="AzureWebJobsStorage__accountName",
        meaning="The same storage by account name, reached with the app's identity (Azure).",
        default="",
        read=_text,
    ),
    Setting(
        name="EBB_ARCHIVE_STORAGE",
        meaning="Connection string of the archive's storage; empty: AzureWebJobsStorage.",
        default="",
        read=_text,
    ),
    Setting(
        name="EBB_ARCHIVE_STORAGE__accountName",
        meaning="The archive's storage account by name, reached with the app's identity.",
        default="",
        read=_text,
    ),
    Setting(
        name="EBB_STORAGE_SUFFIX",
        meaning="End of the storage accounts' addresses; another one in national clouds.",
        default="core.windows.net",
        read=_text,
    ),
    Setting(
        name="EBB_COSMOS_ENDPOINT",
        meaning="Address of the Cosmos DB account this Ebb serves.",
        default=None,
        read=_url,
    ),
    Setting(
        name="EBB_COSMOS_RESOURCE_ID",
        meaning="Its Azure resource id, under which Azure Monitor keeps its metrics.",
        default=None,
        read=resource_id,
    ),
    Setting(
        name="EBB_MANAGEMENT_ENDPOINT",
        meaning="Azure Resource Manager, for metrics; another one in national clouds.",
        default="https://management.azure.com",
        read=_url,
    ),
    Setting(
        name="EBB_LOG_WORKSPACE_ID",
        meaning="Log Analytics workspace with the account's resource logs; empty: no habits known.",
        default="",
        read=_workspace,
    ),
    Setting(
        name="EBB_LOGS_ENDPOINT",
        meaning="Log Analytics' query address; another one in national clouds.",
        default="https://api.loganalytics.io",
        read=_url,
    ),
    Setting(
        name="EBB_CA_FILE",
        meaning="An authority to trust for the three endpoints above; empty: the system's.",
        default="",
        read=_text,
    ),
    Setting(
        name="EBB_FACTORY_RESOURCE_ID",
        meaning="The Data Factory that copies for engine: adf; empty: there is none.",
        default="",
        read=_factory_id,
    ),
    Setting(
        name="EBB_CALLBACK_URL",
        meaning="This app's own address, as Data Factory's runs and Azure's alerts reach it.",
        default="",
        read=_optional_url,
    ),
    Setting(
        name="EBB_CALLBACK_KEY",
        meaning="The key of slice_validate, with which runs call this app.",
        default="",
        read=_key,
        is_secret=True,
    ),
    Setting(
        name="EBB_ALERT_KEY",
        meaning="The key of alerts, which Azure's action group has, too.",
        default="",
        read=_key,
        is_secret=True,
    ),
    Setting(
        name="EBB_CALLBACK_HOSTS",
        meaning="Hosts beside Data Factory's own that a run may wait at, with commas between.",
        default="",
        read=_hosts,
    ),
    Setting(
        name="EBB_OPERATOR_KEY",
        meaning="Asked for beside a function key by applying and retiring; empty: nothing more is.",
        default="",
        read=_key,
        is_secret=True,
    ),
    Setting(
        name="EBB_ALERT_ISSUER",
        meaning="Issuer of the Entra tokens that alerts must bring; empty: a function key is all.",
        default="",
        read=_optional_url,
    ),
    Setting(
        name="EBB_ALERT_AUDIENCE",
        meaning="Audience of those tokens: the application id of the secure webhook.",
        default="",
        read=_text,
    ),
    Setting(
        name="EBB_ALERT_ROLE",
        meaning="App role that those tokens must name.",
        default="ActionGroupsSecureWebhook",
        read=_text,
    ),
    Setting(
        name="EBB_METRIC_SETTLE_S",
        meaning="How long after its end a minute of Azure Monitor is taken as complete.",
        default="60",
        read=_seconds,
    ),
    Setting(
        name="EBB_SCRATCH_DIR",
        meaning="Folder for temporary files, one slice each per worker; empty: the system's.",
        default="",
        read=_text,
    ),
    Setting(
        name="EBB_WEBHOOKS",
        meaning="Where messages go: JSON, from names that specs use to addresses (a secret).",
        default="",
        read=_addresses,
        is_secret=True,
    ),
    Setting(
        name="EBB_WEBHOOK_HOSTS",
        meaning="Loopback hosts with ports that may be told over plain http; for the sandbox.",
        default="",
        read=_loopback_hosts,
    ),
    Setting(
        name="EBB_RUNBOOK_URL",
        meaning="Where people read docs/runbook.md; messages link to its sections.",
        default="docs/runbook.md",
        read=_text,
    ),
    Setting(
        name="APPLICATIONINSIGHTS_CONNECTION_STRING",
        meaning="Application Insights, for numbers, spans and logs; empty: none are sent.",
        default="",
        read=_insights,
        is_secret=True,
    ),
    Setting(
        name="EBB_TICK_SCHEDULE",
        meaning="When the controller decides (NCRONTAB with seconds).",
        default="*/30 * * * * *",
        read=_text,
    ),
    Setting(
        name="EBB_JANITOR_SCHEDULE",
        meaning="When staging leftovers are swept up (NCRONTAB with seconds).",
        default="0 */10 * * * *",
        read=_text,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """One storage account: by connection string, or by name with the app's identity."""

    connection_string: str
    account_name: str
    suffix: str

    def endpoint(self, service: str) -> str:
        return f"https://{self.account_name}.{service}.{self.suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    state_storage: Storage
    archive_storage: Storage
    cosmos_endpoint: str
    cosmos_resource_id: str
    management_endpoint: str
    log_workspace_id: str
    logs_endpoint: str
    factory_resource_id: str
    callback_url: str
    callback_key: str
    alert_key: str
    operator_key: str
    callback_hosts: tuple[str, ...]
    alert_issuer: str
    alert_audience: str
    alert_role: str
    ca_file: str | None
    metric_settle_s: float
    scratch_dir: Path | None
    webhooks: Mapping[str, Webhook]
    runbook_url: str
    insights: str

    @property
    def cosmos_account(self) -> str:
        return self.cosmos_resource_id.rsplit("/", maxsplit=1)[-1].lower()


def read_settings(values: Mapping[str, str]) -> Settings:
    """Typed settings, or Invalid with every fault."""
    faults: list[Fault] = []
    found = {setting.name: _read(setting, values, faults) for setting in SETTINGS}
    state = Storage(
        connection_string=found["AzureWebJobsStorage"] or "",
        account_name=found["AzureWebJobsStorage__accountName"] or "",
        suffix=found["EBB_STORAGE_SUFFIX"],
    )
    archive = Storage(
        connection_string=found["EBB_ARCHIVE_STORAGE"] or "",
        account_name=found["EBB_ARCHIVE_STORAGE__accountName"] or "",
        suffix=found["EBB_STORAGE_SUFFIX"],
    )
    if not (state.connection_string or state.account_name):
        advice = "set a connection string, or AzureWebJobsStorage__accountName"
        faults.append(Fault(path="AzureWebJobsStorage", seen="it is missing", advice=advice))
    if found["EBB_ALERT_ISSUER"] and not found["EBB_ALERT_AUDIENCE"]:
        advice = "set the application id that the secure webhook asks tokens for"
        faults.append(Fault(path="EBB_ALERT_AUDIENCE", seen="it is missing", advice=advice))
    _check_one_account(found["EBB_COSMOS_ENDPOINT"], found["EBB_COSMOS_RESOURCE_ID"], faults)
    webhooks = _webhooks(found, faults)
    if faults:
        raise Invalid("the app's settings", tuple(faults))
    return Settings(
        state_storage=state,
        archive_storage=archive if archive.connection_string or archive.account_name else state,
        cosmos_endpoint=found["EBB_COSMOS_ENDPOINT"],
        cosmos_resource_id=found["EBB_COSMOS_RESOURCE_ID"],
        management_endpoint=found["EBB_MANAGEMENT_ENDPOINT"],
        log_workspace_id=found["EBB_LOG_WORKSPACE_ID"],
        logs_endpoint=found["EBB_LOGS_ENDPOINT"],
        factory_resource_id=found["EBB_FACTORY_RESOURCE_ID"],
        callback_url=found["EBB_CALLBACK_URL"],
        callback_key=found["EBB_CALLBACK_KEY"],
        alert_key=found["EBB_ALERT_KEY"],
        operator_key=found["EBB_OPERATOR_KEY"],
        callback_hosts=found["EBB_CALLBACK_HOSTS"],
        alert_issuer=found["EBB_ALERT_ISSUER"],
        alert_audience=found["EBB_ALERT_AUDIENCE"],
        alert_role=found["EBB_ALERT_ROLE"],
        ca_file=found["EBB_CA_FILE"] or None,
        metric_settle_s=found["EBB_METRIC_SETTLE_S"],
        scratch_dir=Path(found["EBB_SCRATCH_DIR"]) if found["EBB_SCRATCH_DIR"] else None,
        webhooks=webhooks,
        runbook_url=found["EBB_RUNBOOK_URL"],
        insights=found["APPLICATIONINSIGHTS_CONNECTION_STRING"],
    )


def _check_one_account(endpoint: str | None, resource_id: str | None, faults: list[Fault]) -> None:
    """Else the governor would read one account's use, and spend another's."""
    host = urlsplit(endpoint or "").hostname or ""
    label, account = host.split(".")[0], (resource_id or "").rsplit("/", maxsplit=1)[-1].lower()
    if host and account and host not in LOOPBACK and label != account:
        advice = f"the resource id is that of {account!r}; write the endpoint of the same account"
        seen = f"it is of the account {label!r}"
        faults.append(Fault(path="EBB_COSMOS_ENDPOINT", seen=seen, advice=advice))


def _webhooks(found: Mapping[str, Any], faults: list[Fault]) -> dict[str, Webhook]:
    """The addresses of EBB_WEBHOOKS; a fault names the target and never the address."""
    plain_hosts = found["EBB_WEBHOOK_HOSTS"] or frozenset()
    webhooks = {}
    for name, address in (found["EBB_WEBHOOKS"] or {}).items():
        try:
            webhooks[name] = webhook_of(address, plain_hosts=plain_hosts)
        except ValueError as error:
            path = f"EBB_WEBHOOKS.{name}"
            faults.append(Fault(path=path, seen="not such an address", advice=str(error)))
    return webhooks


def _read(setting: Setting, values: Mapping[str, str], faults: list[Fault]) -> Any:
    text = values.get(setting.name, "") or setting.default
    if text is None:
        faults.append(Fault(path=setting.name, seen="it is missing", advice=setting.meaning))
        return None
    try:
        return setting.read(text)
    except ValueError as error:
        seen = f"{len(text)} characters" if setting.is_secret else f"saw {text[:80]!r}"
        faults.append(Fault(path=setting.name, seen=seen, advice=str(error)))
        return None
