"""Starts Azurite once and a host per test, each with notes and queues of its own."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from sandbox.azurite import start_azurite
from sandbox.errors import SandboxError
from sandbox.processes import Processes, find_node_modules

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SAMPLE_APP = HERE / "sample_app"
# Generous: a wait ends as soon as what it waits for is there.
PATIENCE_S = 20.0
# A lease of 2 s, a timer's lock of 0.2 s, a cold start of 17 ms.
TIME_SCALE = "0.0034"
YEARLY = "0 0 0 1 1 *"


def wait_until(holds: Callable[[], Any], what: str) -> Any:
    """Return the first truthy answer, or fail telling what never came."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        found = holds()
        if found:
            return found
        time.sleep(0.02)
    return pytest.fail(f"{what} did not come within {PATIENCE_S:g} s")


@pytest.fixture(scope="session")
def storage() -> Iterator[str]:
    """The connection string of an Azurite in memory."""
    try:
        node_modules = find_node_modules()
    except SandboxError as error:
        pytest.skip(str(error))
    with Processes() as processes:
        yield start_azurite(processes, node_modules).connection_string


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningHost:
    """A host under test, and what can be seen of it from outside."""

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    notes_path: Path
    log_path: Path
    storage: str
    queue_name: str
    asked: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request."""
        return self.asked.request(method, self.ready["url"] + path, timeout=PATIENCE_S, **options)

    def notes(self, name: str) -> list[dict[str, Any]]:
        """What the app noted under this name."""
        if not self.notes_path.exists():
            return []
        lines = self.notes_path.read_text("utf-8").splitlines()
        return [note for note in map(json.loads, lines) if note["name"] == name]

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the host logged under this name."""
        return [line for line in map(json.loads, self._lines()) if line["event"] == name]

    def _lines(self) -> list[str]:
        return self.log_path.read_text("utf-8").splitlines()

    def queue(self, name: str = "") -> QueueClient:
        """A client of a queue, the trigger's own unless named."""
        return queue_client(self.storage, name or self.queue_name)

    def texts(self, name: str) -> list[str]:
        """The messages that wait in a queue."""
        with self.queue(name) as client:
            return [message.content for message in client.peek_messages(32)]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def queue_client(storage: str, name: str) -> QueueClient:
    """A client that encodes as Azure's extension does."""
    return QueueClient.from_connection_string(
        storage,
        name,
        message_encode_policy=TextBase64EncodePolicy(),
        message_decode_policy=TextBase64DecodePolicy(),
    )


Start = Callable[..., RunningHost]


def host_command(*options: str, app: Path = SAMPLE_APP) -> list[str]:
    """The command line of a host."""
    return [sys.executable, "-m", "sandbox.host", "--app", str(app), *options]


def host_environment(**extra: str) -> dict[str, str]:
    """The environment of a host: this one's, without what would change the app."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAMPLE_")}
    return kept | extra


def write_settings(folder: Path, values: dict[str, str]) -> Path:
    """Write app settings as local.settings.json has them."""
    path = folder / f"settings-{uuid.uuid4().hex}.json"
    path.write_text(json.dumps({"IsEncrypted": False, "Values": values}), "utf-8")
    return path


class Hosts:
    """Starts hosts that share one queue and one file of notes, and ends them."""

    def __init__(self, storage: str, folder: Path) -> None:
        """Nothing runs yet."""
        self._storage = storage
        self._folder = folder
        self._queue_name = f"work-{uuid.uuid4().hex[:12]}"
        self._hosts: list[RunningHost] = []

    def start(
        self, *options: str, app: Path = SAMPLE_APP, stdin: int = subprocess.DEVNULL, **values: str
    ) -> RunningHost:
        """Start a host with these options and app settings, and wait until it is ready."""
        notes_path = self._folder / "notes.jsonl"
        settings = {
            "SampleStorage": self._storage,
            "SAMPLE_QUEUE": self._queue_name,
            "SAMPLE_SCHEDULE": YEARLY,
            "SAMPLE_NOTES": str(notes_path),
            "AzureWebJobs.tick.Disabled": "true",
            **values,
        }
        ready_path = self._folder / f"ready-{len(self._hosts)}.json"
        log_path = self._folder / f"log-{len(self._hosts)}.jsonl"
        files = (
            *("--settings", str(write_settings(self._folder, settings))),
            *("--state-dir", str(self._folder / "state"), "--time-scale", TIME_SCALE),
        )
        for queue in (self._queue_name, f"{self._queue_name}-poison"):
            with queue_client(self._storage, queue) as client, suppress(ResourceExistsError):
                client.create_queue()
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                host_command(*files, "--ready-file", str(ready_path), *options, app=app),
                stdin=stdin,
                stderr=log,
                cwd=REPOSITORY,
                env=host_environment(),
            )
        wait_until(lambda: ready_path.exists() or process.poll() is not None, "the host")
        assert ready_path.exists(), log_path.read_text("utf-8")
        host = RunningHost(
            process=process,
            ready=json.loads(ready_path.read_text("utf-8")),
            notes_path=notes_path,
            log_path=log_path,
            storage=self._storage,
            queue_name=self._queue_name,
        )
        self._hosts.append(host)
        return host

    def end(self) -> None:
        """Kill what still runs."""
        for host in self._hosts:
            host.asked.close()
            if host.process.stdin is not None:
                host.process.stdin.close()
            if host.process.poll() is None:
                host.process.kill()
                host.process.wait(PATIENCE_S)


@pytest.fixture
def start(storage: str, tmp_path: Path) -> Iterator[Start]:
    """Start hosts of the sample app for one test."""
    hosts = Hosts(storage, tmp_path)
    yield hosts.start
    hosts.end()


@pytest.fixture(scope="session")
def shared_host(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """One host for all the tests that leave nothing behind."""
    hosts = Hosts(storage, tmp_path_factory.mktemp("host"))
    yield hosts.start("--function-key", "the-key", "--master-key", "the-master-key")
    hosts.end()
