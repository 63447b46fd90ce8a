"""Puts the host together: settings, the app, its listeners; it starts none of them."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from random import random
from typing import TYPE_CHECKING, Any

from sandbox.host.config import connection_string, read_host_config, read_settings, resolve
from sandbox.host.faults import HostError
from sandbox.host.functions import (
    HttpTrigger,
    QueueTrigger,
    TimerTrigger,
    describe,
    warnings_of,
)
from sandbox.host.invoker import Invoker
from sandbox.host.logs import AppLog, event
from sandbox.host.queues import POISON_SUFFIX, QueueListener
from sandbox.host.routes import parse_route, route_table
from sandbox.host.schedule import parse_schedule
from sandbox.host.server import BODY_BYTES_MAX, HttpFace, Instances, Keys
from sandbox.host.storage import Storage
from sandbox.host.timers import LockFile, StatusFile, TimerListener
from sandbox.host.worker import Worker

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from sandbox.host.config import HostConfig
    from sandbox.host.functions import Function
    from sandbox.host.storage import Queue

# The real host's lease, whatever host.json says; it is renewed at half.
QUEUE_LEASE_S = 600
# Python with pyarrow and telemetry on Flex Consumption; public reports say several seconds.
COLD_START_S = 5.0
# After so long without a call the HTTP group is scaled to zero; Azure does not say when.
IDLE_S = 120.0
BODY_LIMIT_SETTING = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"
_TRUE = {"1", "true"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line decides."""

    app_dir: Path
    settings: Path | None
    port: int
    ready_file: Path | None
    state_dir: Path
    keys: Keys
    time_scale: float
    http_concurrency: int
    drain_s: float
    response_s_max: float
    strict: bool
    die_with_stdin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One app, indexed: what there is to serve."""

    config: HostConfig
    functions: tuple[Function, ...]
    worker: Worker

    def describe(self) -> list[dict[str, Any]]:
        """Return every function's facts, as the app wrote them."""
        return [describe(function, self.config.route_prefix) for function in self.functions]


async def index_app(options: Options, environment: MutableMapping[str, str]) -> App:
    """Load the settings, then the app; what Azure would ignore in it is warned of or refused."""
    if not options.app_dir.is_dir():
        message = f"opening {options.app_dir}: no such folder; name the app's folder"
        raise HostError(message)
    config = read_host_config(options.app_dir / "host.json")
    _load_settings(options, environment)
    worker = Worker(options.app_dir)
    app_log = AppLog(
        levels=config.log_levels, current=worker.current, host_thread=threading.get_ident()
    )
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(app_log)
    functions = await worker.index()
    warnings = [*config.warnings]
    for function in functions:
        warnings += warnings_of(function)
    if warnings and options.strict:
        message = "starting under --strict: " + "; ".join(warnings)
        raise HostError(message)
    if options.time_scale != 1:
        event("time_scaled", level="warning", factor=options.time_scale)
    for warning in warnings:
        event("warning", level="warning", message=warning)
    return App(config=config, functions=tuple(functions), worker=worker)


def _load_settings(options: Options, environment: MutableMapping[str, str]) -> None:
    given = {} if options.settings is None else read_settings(options.settings)
    for name, value in given.items():
        if environment.get(name, value) != value:
            # As Core Tools does: what is set outside wins over the file.
            message = f"the settings file's {name} is ignored: the environment has another"
            event("warning", level="warning", message=message)
        environment.setdefault(name, value)
    environment["AzureWebJobsScriptRoot"] = str(options.app_dir)
    environment.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
    environment.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")


class Wiring:
    """Makes the parts that serve an app; names with %SETTING% are resolved here."""

    def __init__(self, app: App, options: Options, settings: MutableMapping[str, str]) -> None:
        self._app = app
        self._options = options
        self._settings = settings
        self.storage = Storage(options.time_scale)
        self._enabled = [f for f in app.functions if not self._is_disabled(f)]
        self.invoker = Invoker(worker=app.worker, timeout_s=app.config.function_timeout_s)

    def face(self) -> HttpFace:
        """Make what answers HTTP."""
        functions = {f.name: f for f in self._enabled if isinstance(f.trigger, HttpTrigger)}
        routes = [
            parse_route(
                function=name,
                template=function.trigger.route,
                prefix=self._app.config.route_prefix,
                methods=function.trigger.methods,
            )
            for name, function in functions.items()
            if isinstance(function.trigger, HttpTrigger)
        ]
        return HttpFace(
            functions=functions,
            table=route_table(routes),
            keys=self._options.keys,
            invoker=self.invoker,
            body_bytes_max=self._body_bytes_max(),
            response_s_max=self._options.response_s_max,
            instances=Instances(
                calls_each=self._options.http_concurrency,
                cold_start_s=COLD_START_S * self._options.time_scale,
                idle_s=IDLE_S * self._options.time_scale,
            ),
        )

    def timers(self) -> list[TimerListener]:
        """Make one listener for every timer."""
        listeners = []
        for function in self._enabled:
            trigger = function.trigger
            if not isinstance(trigger, TimerTrigger):
                continue
            text = resolve(trigger.schedule, self._settings, f"{function.name}'s schedule")
            listeners.append(
                TimerListener(
                    function=function,
                    schedule=parse_schedule(text),
                    run_on_startup=trigger.run_on_startup,
                    use_monitor=trigger.use_monitor,
                    memory=StatusFile(self._options.state_dir, function.name),
                    lock=LockFile(self._options.state_dir, function.name, self._options.time_scale),
                    invoker=self.invoker,
                    now=lambda: datetime.now(UTC),
                    random=random,
                )
            )
        return listeners

    def queues(self) -> list[QueueListener]:
        """Make one listener for every queue trigger; a poisoned message wakes its own."""
        listeners: list[QueueListener] = []

        def wake(queue_name: str) -> None:
            for listener in listeners:
                if listener.queue_name == queue_name:
                    listener.wake()

        for function in self._enabled:
            trigger = function.trigger
            if not isinstance(trigger, QueueTrigger):
                continue
            queue = self._queue(function, trigger.queue, trigger.connection)
            poison = self._queue(function, trigger.queue, trigger.connection, POISON_SUFFIX)
            listeners.append(
                QueueListener(
                    function=function,
                    queue=queue,
                    poison=poison,
                    options=self._app.config.queues,
                    lease_s=max(1, round(QUEUE_LEASE_S * self._options.time_scale)),
                    invoker=self.invoker,
                    random=random,
                    moved=wake,
                )
            )

        return listeners

    def _queue(self, function: Function, name: str, connection: str, suffix: str = "") -> Queue:
        where = f"{function.name}'s queue {name}"
        account = connection_string(
            resolve(connection, self._settings, where), self._settings, where
        )
        return self.storage.queue(account, resolve(name, self._settings, where).lower() + suffix)

    def _is_disabled(self, function: Function) -> bool:
        names = (
            f"AzureWebJobs.{function.name}.Disabled",
            f"AzureWebJobs__{function.name}__Disabled",
        )
        disabled = any(self._settings.get(name, "").lower() in _TRUE for name in names)
        if disabled:
            event("function_disabled", function=function.name)
        return disabled

    def _body_bytes_max(self) -> int:
        text = self._settings.get(BODY_LIMIT_SETTING, str(BODY_BYTES_MAX))
        if not text.isdecimal():
            message = f"reading the app setting {BODY_LIMIT_SETTING}: it is {text!r}; write bytes"
            raise HostError(message)
        return int(text)
