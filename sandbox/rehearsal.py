"""A function app running on the sandbox: started, killed, restarted, operated.

It brings parts together for the demo and the integration tests; it judges nothing.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from azure.storage.blob import BlobServiceClient

from sandbox.errors import SandboxError
from sandbox.processes import REPOSITORY, Child
from sandbox.stage import Sandbox
from shared.terminal.remote import Remote

FUNCTION_KEY = "sandbox-function-key"
# As Azure has them: each opens one function, and the factory and the action group get no other.
SINGLE_KEYS = {
    "alerts": "sandbox-key-of-alerts",
    "retirement_change": "sandbox-key-of-the-operator",
    "slice_validate": "sandbox-key-of-validating",
}
OPERATOR_KEY = SINGLE_KEYS["retirement_change"]
READY_WITHIN_S = 60.0
COMMAND_WITHIN_S = 100.0
POLL_S = 0.1
_STARTS = count(1)  # of all apps of this process, so that no host takes another's files for its own

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """How the function app is run here, faster than in production where time is short."""

    tick_schedule: str = "*/5 * * * * *"
    janitor_schedule: str = "0 */10 * * * *"
    metric_settle_s: float = 5.0
    time_scale: float = 0.025  # a killed host's message is back after 15 s, not 600
    threads: int = 8
    app_dir: Path = REPOSITORY
    settings: Mapping[str, str] = field(default_factory=dict)


class FunctionApp:
    """The function app under the sandbox's host, in a process of its own."""

    def __init__(self, sandbox: Sandbox, options: HostOptions) -> None:
        self._sandbox = sandbox
        self._options = options
        # Runs of the factory call the app, so its address must be known before it starts.
        self._port = _free_port() if sandbox.factory_url else 0
        self._child: Child | None = None
        # Each app has timers of its own, whose locks outlive a killed host.
        self.timers_dir = sandbox.processes.scratch_dir / f"timers-{next(_STARTS)}"
        self.remote = Remote("", "")
        self.url = ""

    def start(self) -> None:
        """Start it and wait until it answers."""
        number = next(_STARTS)
        folder = self._sandbox.processes.scratch_dir
        ready = folder / f"host-{number}.ready"
        settings = folder / "host-settings.json"
        settings.write_text(json.dumps({"Values": self.settings()}))
        self._child = self._sandbox.processes.start(
            f"host-{number}",
            [
                *(sys.executable, "-m", "sandbox.host", "--app", str(self._options.app_dir)),
                *("--settings", str(settings), "--ready-file", str(ready)),
                *("--function-key", FUNCTION_KEY, "--die-with-stdin"),
                *(word for each in SINGLE_KEYS.items() for word in ("--single-key", *each)),
                *("--time-scale", str(self._options.time_scale)),
                *("--state-dir", str(self.timers_dir)),
                *("--port", str(self._port)),
            ],
        )
        wait_until("the function app is ready", ready.exists, within_s=READY_WITHIN_S, of=self)
        self.url = json.loads(ready.read_text())["url"]
        self.remote = Remote(self.url, FUNCTION_KEY, operator_key=OPERATOR_KEY)

    def settings(self) -> dict[str, str]:
        """The app settings in force."""
        options = self._options
        return {
            **self._sandbox.settings(),
            "EBB_TICK_SCHEDULE": options.tick_schedule,
            "EBB_JANITOR_SCHEDULE": options.janitor_schedule,
            "EBB_METRIC_SETTLE_S": str(options.metric_settle_s),
            "EBB_SCRATCH_DIR": str(self._sandbox.processes.scratch_dir),
            "PYTHON_THREADPOOL_THREAD_COUNT": str(options.threads),
            "EBB_OPERATOR_KEY": OPERATOR_KEY,
            **self._factory_settings(),
            **options.settings,
        }

    def _factory_settings(self) -> dict[str, str]:
        if not self._sandbox.factory_url:
            return {}
        return {
            "EBB_CALLBACK_URL": f"http://127.0.0.1:{self._port}",
            "EBB_CALLBACK_KEY": SINGLE_KEYS["slice_validate"],
            "EBB_ALERT_KEY": SINGLE_KEYS["alerts"],
            "EBB_CALLBACK_HOSTS": urlsplit(self._sandbox.management_endpoint).netloc,
        }

    def at_the_terminal(self, *arguments: str) -> Any:
        """What a command prints as JSON, run with the app's settings as an operator would."""
        ran = subprocess.run(
            [sys.executable, "-m", "shared.cli", *arguments, "--json"],
            cwd=REPOSITORY,
            env={**os.environ, **self.settings()},
            capture_output=True,
            text=True,
            timeout=COMMAND_WITHIN_S,
            check=False,
        )
        if ran.returncode != 0:
            raise SandboxError(f"running ebb {' '.join(arguments)}: {ran.stdout}{ran.stderr}")
        return json.loads(ran.stdout)

    @property
    def pid(self) -> int:
        return self._running().pid

    def kill(self) -> None:
        """End it as a crash would, with no chance to tidy up."""
        child = self._running()
        os.kill(child.pid, signal.SIGKILL)
        child.process.wait()

    def stop(self) -> None:
        self._running().stop()

    def log_text(self) -> str:
        return self._running().log_text()

    def check_alive(self) -> None:
        """Raise with the end of its log if it has ended."""
        child = self._running()
        if child.process.poll() is not None:
            tail = child.log_text()[-3000:]
            raise SandboxError(f"the function app ended with {child.process.returncode}: {tail}")

    def _running(self) -> Child:
        if self._child is None:
            raise SandboxError("the function app was never started; call start() first")
        return self._child


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    what: str, holds: Callable[[], T | None], *, within_s: float, of: FunctionApp | None = None
) -> T:
    """Poll until something holds and return it; an error says what never came."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        if found := holds():
            return found
        if of is not None:
            of.check_alive()
        time.sleep(POLL_S)
    log = "" if of is None else f"; the log ends with: {of.log_text()[-3000:]}"
    raise SandboxError(f"waiting for: {what}; it did not come within {within_s:.0f} s{log}")


@contextmanager
def function_app(sandbox: Sandbox, options: HostOptions | None = None) -> Iterator[FunctionApp]:
    """A started function app that is stopped at the end, whatever happens."""
    running = FunctionApp(sandbox, options or HostOptions())
    running.start()
    try:
        yield running
    finally:
        running.stop()


def keep_archive(sandbox: Sandbox, container: str, folder: Path) -> int:
    """Leave a blob container as plain files; returns how many."""
    client = BlobServiceClient.from_connection_string(sandbox.storage_connection_string)
    blobs = client.get_container_client(container)
    count = 0
    for blob in blobs.list_blobs():
        path = folder / blob.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            blobs.download_blob(blob.name).readinto(file)
        count += 1
    return count


def status_of(app: FunctionApp, name: str) -> dict[str, Any]:
    """A migration's status over HTTP."""
    return dict(app.remote.call("GET", f"migrations/{name}"))
