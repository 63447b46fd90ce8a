"""A sandbox per session for trials, and the command line that runs one against it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.identity import DefaultAzureCredential

from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from shared.trial.clients import Place
from shared.trial.management import Management
from shared.trial.trial import Trial

HOUSE = Path(__file__).resolve().parents[2]
RU_PER_S = 2_000  # few enough for the check that fills a partition, also on a slow machine

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with start_sandbox(SandboxOptions(ru_per_s=RU_PER_S, lag_s=1)) as running:
        yield running


@pytest.fixture
def place(sandbox: Sandbox) -> Place:
    return Place(
        cosmos_id=sandbox.resource_id,
        storage=sandbox.storage_connection_string,
        management_endpoint=sandbox.management_endpoint,
        ca_file=str(sandbox.ca_file),
    )


@pytest.fixture
def credential(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> DefaultAzureCredential:
    for name, value in sandbox.identity_settings().items():
        monkeypatch.setenv(name, value)
    return DefaultAzureCredential()


@pytest.fixture
def management(place: Place, credential: DefaultAzureCredential) -> Management:
    return Management(
        resource_id=place.cosmos_id,
        endpoint=place.management_endpoint,
        credential=credential,
        ca_file=place.ca_file,
    )


@pytest.fixture
def trial(place: Place, credential: DefaultAzureCredential) -> Trial:
    return Trial(place, credential, name="0000test")


@pytest.fixture
def begin(sandbox: Sandbox) -> Iterator[Begin]:
    """Start `ebb trial` as people do, in a process of its own, which never outlives the test."""
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            **sandbox.identity_settings(),
            "EBB_MANAGEMENT_ENDPOINT": sandbox.management_endpoint,
            "EBB_LOGS_ENDPOINT": sandbox.management_endpoint,
            "EBB_CA_FILE": str(sandbox.ca_file),
            "EBB_TRIAL_STORAGE": sandbox.storage_connection_string,
            # The SDK verifies nothing on loopback, and urllib3 says so at each request.
            "PYTHONWARNINGS": "ignore",
        }
        command = [sys.executable, "-m", "shared.cli", "trial", "--cosmos", sandbox.resource_id]
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=HOUSE,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        with process:
            process.kill()
