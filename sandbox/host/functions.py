"""A typed view of the triggers that the runtime indexed; it refuses what it cannot run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.host.faults import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.host.messages import RpcFunctionMetadata

AUTH_LEVELS = ("anonymous", "function", "admin")
DEFAULT_CONNECTION = "AzureWebJobsStorage"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTrigger:
    """Runs on a request; an empty `methods` means every method."""

    argument: str
    route: str
    methods: tuple[str, ...]
    auth_level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerTrigger:
    """Runs on a schedule, given as written in the app."""

    argument: str
    schedule: str
    run_on_startup: bool
    use_monitor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueTrigger:
    """Runs on a message of a queue, named as written in the app."""

    argument: str
    queue: str
    connection: str


Trigger = HttpTrigger | TimerTrigger | QueueTrigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function of the app."""

    name: str
    function_id: str
    trigger: Trigger
    retry: str | None

    @property
    def kind(self) -> str:
        """The trigger's name in Azure."""
        return _KIND[type(self.trigger)]


_KIND: Mapping[type, str] = {
    HttpTrigger: "httpTrigger",
    TimerTrigger: "timerTrigger",
    QueueTrigger: "queueTrigger",
}


def read_function(metadata: RpcFunctionMetadata) -> Function:
    """Read one function's bindings; a binding this host lacks is refused, never skipped."""
    name = metadata.name
    triggers: list[Trigger] = []
    for raw in metadata.raw_bindings:
        binding: dict[str, Any] = json.loads(raw)
        kind = str(binding["type"]).lower()
        if kind.endswith("trigger"):
            triggers.append(_trigger(kind, binding, name))
        elif kind != "http":
            raise HostError(_unknown(binding, name))
    if len(triggers) != 1:
        message = f"reading {name}: it has {len(triggers)} triggers; a function has one"
        raise HostError(message)
    retry = metadata.retry_options
    return Function(
        name=name,
        function_id=metadata.function_id,
        trigger=triggers[0],
        retry=None if retry is None else str(retry.retry_strategy),
    )


def _trigger(kind: str, binding: Mapping[str, Any], name: str) -> Trigger:
    if kind == "httptrigger":
        level = str(binding.get("authLevel") or "function").lower()
        if level not in AUTH_LEVELS:
            message = f"reading {name}: authLevel is {level!r}; use {', '.join(AUTH_LEVELS)}"
            raise HostError(message)
        return HttpTrigger(
            argument=binding["name"],
            route=binding.get("route") or name,
            methods=tuple(str(method).upper() for method in binding.get("methods") or ()),
            auth_level=level,
        )
    if kind == "timertrigger":
        monitored = binding.get("useMonitor")
        return TimerTrigger(
            argument=binding["name"],
            schedule=binding["schedule"],
            run_on_startup=bool(binding.get("runOnStartup")),
            use_monitor=True if monitored is None else bool(monitored),
        )
    if kind == "queuetrigger":
        return QueueTrigger(
            argument=binding["name"],
            queue=binding["queueName"],
            connection=binding.get("connection") or DEFAULT_CONNECTION,
        )
    raise HostError(_unknown(binding, name))


def _unknown(binding: Mapping[str, Any], name: str) -> str:
    return (
        f"reading {name}: the binding {binding.get('name')!r} is of type {binding['type']!r} "
        f"({binding.get('direction')}); this host has httpTrigger, timerTrigger and "
        "queueTrigger: run the app with func start"
    )


def warnings_of(function: Function) -> list[str]:
    """Name what this function asks for and will not get."""
    if function.retry is None:
        return []
    if isinstance(function.trigger, TimerTrigger):
        return [f"{function.name}: its retry policy works in Azure but is not run by this host"]
    advice = "use host.json's maxDequeueCount" if function.kind == "queueTrigger" else "remove it"
    return [f"{function.name}: Azure ignores a retry policy on a {function.kind}; {advice}"]


def describe(function: Function, route_prefix: str) -> dict[str, Any]:
    """Return one function's facts as --list shows them."""
    trigger = function.trigger
    facts: dict[str, Any] = {"name": function.name, "trigger": function.kind}
    if isinstance(trigger, HttpTrigger):
        pieces = (route_prefix.strip("/"), trigger.route.strip("/"))
        facts["route"] = "/" + "/".join(piece for piece in pieces if piece)
        facts["methods"] = list(trigger.methods)
        facts["authLevel"] = trigger.auth_level
    elif isinstance(trigger, TimerTrigger):
        facts["schedule"] = trigger.schedule
        facts["runOnStartup"] = trigger.run_on_startup
        facts["useMonitor"] = trigger.use_monitor
    else:
        facts["queue"] = trigger.queue
        facts["connection"] = trigger.connection
    facts["retry"] = function.retry
    return facts
