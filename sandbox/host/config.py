"""Reads host.json and app settings and resolves %SETTING%; it starts nothing."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.azurite import ACCOUNT_NAME, Azurite
from sandbox.host.faults import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Queue storage hands out at most 32 messages a call, and hides one for at most 7 days.
BATCH_SIZE_MAX = 32
VISIBILITY_S_MAX = 7 * 24 * 3600
# Flex Consumption's default.
FUNCTION_TIMEOUT_S = 1800.0
# The real host never polls faster than this (QueuePollingIntervals.Minimum).
POLL_INTERVAL_S_MIN = 0.1

_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d{1,7})?)")
_SETTING = re.compile(r"%([^%]+)%")
_QUEUE_KEYS = {
    *("batchSize", "newBatchThreshold", "maxDequeueCount"),
    *("visibilityTimeout", "maxPollingInterval", "messageEncoding"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """`extensions.queues` of host.json; the defaults are Azure's."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    dequeue_count_max: int = 5
    visibility_timeout_s: float = 0.0
    poll_interval_s_max: float = 60.0
    base64: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """What this host takes from host.json, and what it noticed there."""

    route_prefix: str = "api"
    function_timeout_s: float = FUNCTION_TIMEOUT_S
    queues: QueueOptions = field(default_factory=QueueOptions)
    log_levels: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_json(path: Path, doing: str) -> dict[str, Any]:
    """Read a JSON object or say why not."""
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        message = f"{doing} from {path}: {error}; give a readable JSON file"
        raise HostError(message) from error
    if not isinstance(content, dict):
        message = f"{doing} from {path}: it holds no JSON object; write one"
        raise HostError(message)
    return content


def read_host_config(path: Path) -> HostConfig:
    """Read host.json; a value the real host would refuse is refused here too."""
    content = read_json(path, "reading the host's settings")
    if content.get("version") != "2.0":
        message = (
            f"reading {path}: version is {content.get('version')!r}; "
            'Functions 4 wants the string "2.0"'
        )
        raise HostError(message)
    extensions = content.get("extensions", {})
    queues = extensions.get("queues", {})
    warnings = [
        f"host.json: extensions.queues.{key} is not a setting Azure knows; it is ignored"
        for key in sorted(queues.keys() - _QUEUE_KEYS)
    ]
    return HostConfig(
        route_prefix=extensions.get("http", {}).get("routePrefix", "api"),
        function_timeout_s=_seconds(
            content, "functionTimeout", FUNCTION_TIMEOUT_S, low=1.0, name="functionTimeout"
        ),
        queues=_queue_options(queues),
        log_levels=content.get("logging", {}).get("logLevel", {}),
        warnings=tuple(warnings),
    )


def _queue_options(given: Mapping[str, Any]) -> QueueOptions:
    batch_size = _whole(given, "batchSize", default=16, low=1, high=BATCH_SIZE_MAX)
    encoding = str(given.get("messageEncoding", "base64")).lower()
    if encoding not in {"base64", "none"}:
        message = f"reading host.json: messageEncoding is {encoding!r}; write base64 or none"
        raise HostError(message)
    return QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=_whole(
            given, "newBatchThreshold", default=_threshold(batch_size), low=0
        ),
        dequeue_count_max=_whole(given, "maxDequeueCount", default=5, low=1),
        visibility_timeout_s=_seconds(given, "visibilityTimeout", 0.0, high=VISIBILITY_S_MAX),
        poll_interval_s_max=_seconds(given, "maxPollingInterval", 60.0, low=POLL_INTERVAL_S_MIN),
        base64=encoding == "base64",
    )


def _threshold(batch_size: int) -> int:
    return batch_size // 2 * (os.cpu_count() or 1)


def _whole(
    given: Mapping[str, Any], key: str, *, default: int, low: int, high: int = 2**31 - 1
) -> int:
    value = given.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        message = (
            f"reading host.json: extensions.queues.{key} is {value!r}; "
            f"write a whole number from {low} to {high}"
        )
        raise HostError(message)
    return value


def _seconds(
    given: Mapping[str, Any],
    key: str,
    default: float,
    *,
    low: float = 0.0,
    high: float = 2**31,
    name: str = "",
) -> float:
    if key not in given:
        return default
    found = _TIME_SPAN.fullmatch(str(given[key]))
    if found is not None:
        days, hours, minutes, seconds = found.groups(default="0")
        total = int(days) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        if low <= total <= high:
            return total
    message = (
        f"reading host.json: {name or 'extensions.queues.' + key} is {given[key]!r}; "
        f"write hh:mm:ss worth {low:g} to {high:g} seconds"
    )
    raise HostError(message)


def read_settings(path: Path) -> dict[str, str]:
    """Read app settings in the form of local.settings.json."""
    content = read_json(path, "reading app settings")
    if content.get("IsEncrypted"):
        message = f"reading app settings from {path}: they are encrypted; run func settings decrypt"
        raise HostError(message)
    values = content.get("Values")
    if not isinstance(values, dict):
        message = f'reading app settings from {path}: no object "Values" is there; write one'
        raise HostError(message)
    for name, value in values.items():
        if not isinstance(value, str):
            message = (
                f"reading app settings from {path}: {name} is a {type(value).__name__}; "
                "settings are strings, put it in quotes"
            )
            raise HostError(message)
    return values


def resolve(text: str, settings: Mapping[str, str], where: str) -> str:
    """Replace every %SETTING% by its value, as the host does in binding properties."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if not settings.get(name):
            message = f"resolving {text!r} of {where}: the app setting {name} is not set; set it"
            raise HostError(message)
        return settings[name]

    return _SETTING.sub(value, text)


def connection_string(name: str, settings: Mapping[str, str], where: str) -> str:
    """Find the storage connection string a binding names."""
    found = settings.get("AzureWebJobs" + name) or settings.get(name)
    if found:
        return DEVELOPMENT_STORAGE if found.strip() == "UseDevelopmentStorage=true" else found
    by_identity = sorted(key for key in settings if key.startswith(name + "__"))
    message = f"finding the storage of {where}: the app setting {name} is not set; " + (
        f"{by_identity[0]} is, but this host takes connection strings only"
        if by_identity
        else "set it to a connection string"
    )
    raise HostError(message)


# Azurite on its usual ports, which is what UseDevelopmentStorage=true means.
DEVELOPMENT_STORAGE = Azurite(
    blob_endpoint=f"http://127.0.0.1:10000/{ACCOUNT_NAME}",
    queue_endpoint=f"http://127.0.0.1:10001/{ACCOUNT_NAME}",
    table_endpoint=f"http://127.0.0.1:10002/{ACCOUNT_NAME}",
).connection_string
