"""The doctor under the real host against the sandbox: sound when it is, and each fault named."""

from __future__ import annotations

import copy
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.cosmos import CosmosClient, PartitionKey

from sandbox.cosmos.account import History
from sandbox.cosmos.faults import Fault
from sandbox.factory.conduct import Conduct
from sandbox.rehearsal import FUNCTION_KEY, FunctionApp, HostOptions, function_app, wait_until
from sandbox.seeding import SeedPlan, seed_container
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from sandbox.storage_gate import Service, StorageGate, storage_gate
from shared.adapters.datafactory import PIPELINE, VERSION
from shared.terminal.remote import Answered
from tests.integration.conftest import DATABASE, RU_PER_S, Place

pytestmark = pytest.mark.node
CONTAINER = "examined"
SOURCE, METRICS = f"source {DATABASE}/{CONTAINER}", f"metrics {DATABASE}/{CONTAINER}"
SINK = f"archive {CONTAINER}"
PLAN = SeedPlan(documents=20, usual_kb=1, burst_documents=2, large_share=0.0)
DECIDES_WITHIN_S = 30.0


@dataclass(slots=True, kw_only=True)
class Deployment:
    """A whole Ebb with a factory, in which each part can be harmed."""

    sandbox: Sandbox
    gate: StorageGate
    app: FunctionApp
    place: Place
    settings: dict[str, str]
    """What is set otherwise; read when the app starts."""
    started_with: dict[str, str] = field(default_factory=dict)

    def findings(self, **settings: str) -> dict[str, dict[str, Any]]:
        """By the running app; started anew where it is to have other settings."""
        if settings != self.started_with:
            self.app.stop()
            self.settings.clear()
            self.settings.update(settings)
            self.started_with = settings
            self.app.start()
        return {each["what"]: each for each in self.app.remote.call("GET", "doctor")}

    def pipeline(self, method: str, body: Any = None) -> Any:
        """The factory's pipeline, past the door that asks for tokens."""
        path = f"{self.sandbox.factory_resource_id}/pipelines/{PIPELINE}?api-version=2018-06-01"
        connection = HTTPConnection(urlsplit(self.sandbox.factory_url).netloc, timeout=10)
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        assert answer.status == 200, told
        return json.loads(told or b"null")


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """The business leaves no slack, so that what is started runs and moves nothing."""
    options = SandboxOptions(ru_per_s=RU_PER_S, lag_s=1, factory=Conduct(time_scale=0.05))
    settings: dict[str, str] = {}
    with start_sandbox(options) as bare:
        assert bare.storage is not None
        with storage_gate(bare.storage) as gate:
            sandbox = replace(bare, storage=gate.azurite)
            seeded = seed_container(
                sandbox.backing, database=DATABASE, container=CONTAINER, plan=PLAN
            )
            sandbox.admin.tell_history(
                History(minutes=30, ru_per_s=RU_PER_S, database=DATABASE, container=CONTAINER)
            )
            place = Place(
                sandbox=sandbox, name="held", container=CONTAINER, sink=CONTAINER, seeded=seeded
            )
            host = HostOptions(tick_schedule="*/2 * * * * *", settings=settings)
            with function_app(sandbox, host) as app:
                yield Deployment(
                    sandbox=sandbox, gate=gate, app=app, place=place, settings=settings
                )


@pytest.fixture(scope="module")
def green(deployment: Deployment) -> list[dict[str, Any]]:
    """What `ebb doctor` finds while one migration holds and a factory waits for another."""
    app, place = deployment.app, deployment.place
    app.at_the_terminal("adf", "deploy")
    by_factory = place.spec(name="copied", sink=f"{{container: {CONTAINER}, prefix: copied}}")
    app.remote.call("PUT", "migrations/copied", f"{by_factory}\nengine: adf")
    app.remote.call("PUT", f"migrations/{place.name}", place.spec())
    app.remote.call("POST", f"migrations/{place.name}/start")
    wait_until(
        "a decision",
        lambda: app.remote.call("GET", f"migrations/{place.name}/decisions"),
        within_s=DECIDES_WITHIN_S,
        of=app,
    )
    found: list[dict[str, Any]] = app.at_the_terminal(
        "doctor", "--url", app.url, "--key", FUNCTION_KEY
    )
    # A tick that met one of the faults below would halt it.
    app.remote.call("POST", f"migrations/{place.name}/pause")
    return found


Harm = Callable[[Deployment], Callable[[], object]]
"""Does harm, and returns what undoes it."""


def missing_container(at: Deployment) -> Callable[[], object]:
    client = CosmosClient(
        at.sandbox.cosmos_endpoint,
        at.sandbox.cosmos_key,
        connection_verify=str(at.sandbox.ca_file),
    )
    database = client.get_database_client(DATABASE)
    database.delete_container(CONTAINER)
    return lambda: database.create_container(CONTAINER, PartitionKey("/customerId"))


def cosmos(fault: Fault) -> Harm:
    def harm(at: Deployment) -> Callable[[], object]:
        at.sandbox.admin.add_fault(fault, kind="metadata", times=None)
        return at.sandbox.admin.clear_faults

    return harm


def storage(service: Service, part: str) -> Harm:
    def harm(at: Deployment) -> Callable[[], object]:
        at.gate.refuse(service, part)
        return at.gate.open

    return harm


def skewed_clock(at: Deployment) -> Callable[[], object]:
    at.gate.skew_s = 75.0
    return at.gate.open


def monitor(**harmed: Any) -> Harm:
    def harm(at: Deployment) -> Callable[[], object]:
        at.sandbox.admin.set_monitor(**harmed)
        return lambda: at.sandbox.admin.set_monitor(lag_s=1, loss_share=0, refusals={})

    return harm


def refusing_factory(at: Deployment) -> Callable[[], object]:
    at.sandbox.factory.add_fault("status_403", times=None)
    return at.sandbox.factory.clear_faults


def missing_pipeline(at: Deployment) -> Callable[[], object]:
    standing = at.pipeline("GET")
    at.pipeline("DELETE")
    return lambda: at.pipeline("PUT", standing)


def older_pipeline(at: Deployment) -> Callable[[], object]:
    standing = at.pipeline("GET")
    older = copy.deepcopy(standing)
    marks = older["properties"]["annotations"]
    marks[marks.index(VERSION)] = "ebb-pipeline-0"
    at.pipeline("PUT", older)
    return lambda: at.pipeline("PUT", standing)


# Fault -> how it comes about, what the doctor calls faulty, and what it must say.
FAULTS: dict[str, tuple[Harm, str, tuple[str, ...]]] = {
    "the container is missing": (missing_container, SOURCE, ("404", "the names in the spec")),
    "no data role": (cosmos("status_403"), SOURCE, ("403", "Cosmos DB Built-in Data Reader")),
    "the account cannot be reached": (cosmos("reset"), SOURCE, ("cut off", "firewall")),
    "no role on the archive": (
        storage("blob", f"/{CONTAINER}"),
        SINK,
        ("403", "Storage Blob Data Contributor"),
    ),
    "no role on the state's blobs": (
        storage("blob", "/ebb-control"),
        "lease",
        ("403", "Storage Blob Data Owner"),
    ),
    "no role on queues": (
        storage("queue", "/ebb-doctor"),
        "queue",
        ("403", "Storage Queue Data Contributor"),
    ),
    "no role on tables": (
        storage("table", "/ebbboard"),
        "board",
        ("403", "Storage Table Data Contributor"),
    ),
    "no role on metrics": (
        monitor(refusals={"TotalRequestUnits": 403}),
        METRICS,
        ("403", "Monitoring Reader"),
    ),
    "metrics come too late": (monitor(lag_s=600), METRICS, ("the newest minute ended", "metrics")),
    "metrics tell nothing": (
        monitor(loss_share=1),
        METRICS,
        ("tells nothing", "EBB_COSMOS_RESOURCE_ID"),
    ),
    "a clock is wrong": (
        skewed_clock,
        f"clock beside {CONTAINER}",
        ("clock is +7", "restart the app"),
    ),
    "no role on the factory": (refusing_factory, "factory", ("403", "Data Factory Contributor")),
    "the pipeline is missing": (missing_pipeline, "factory", ("404", "ebb adf deploy")),
    "the pipeline is an older one": (older_pipeline, "factory", ("ebb-pipeline-0", VERSION)),
}


def faulty(found: dict[str, dict[str, Any]]) -> list[str]:
    return [what for what, each in found.items() if each["verdict"] == "faulty"]


def test_a_sound_deployment_is_sound_throughout(green: list[dict[str, Any]]) -> None:
    """Every part is looked at, none is skipped, and `ebb doctor` ends with 0."""
    assert {each["what"] for each in green} == {
        *("ledger", "board", "queue", "poison queues", "lease", "controller", "alerts"),
        *("scratch", "factory"),
        *(SOURCE, METRICS, f"habits {DATABASE}/{CONTAINER}", SINK, f"clock beside {CONTAINER}"),
    }
    assert {each["what"]: each for each in green if each["verdict"] != "sound"} == {}


@pytest.mark.usefixtures("green")
def test_the_test_alert_is_seen_by_nobody_else(deployment: Deployment) -> None:
    """Neither among the incidents that people read, nor as an alarm that holds anything."""
    assert deployment.findings()["alerts"]["verdict"] == "sound"
    assert "ebb-doctor" not in json.dumps(deployment.app.remote.call("GET", "health"))


@pytest.mark.usefixtures("green")
@pytest.mark.parametrize("fault", FAULTS)
def test_each_injected_fault_is_named_with_its_cure(deployment: Deployment, fault: str) -> None:
    """It alone is at fault, and the doctor says what was seen and what to do."""
    harm, what, told = FAULTS[fault]
    undo = harm(deployment)
    try:
        found = deployment.findings()
    finally:
        undo()
    assert faulty(found) == [what]
    said = f"{found[what]['seen']} {found[what]['advice']}"
    assert [each for each in told if each not in said] == []


@pytest.mark.usefixtures("green")
def test_what_was_mended_is_sound_again(deployment: Deployment) -> None:
    """No fault outlasts its cause."""
    assert faulty(deployment.findings()) == []


@pytest.mark.usefixtures("green")
@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("EBB_ALERT_KEY", "answered 401; the key is not, or no longer,"),
        ("EBB_CALLBACK_URL", "no answer (ConnectionRefusedError)"),
    ],
    ids=["a key of yesterday", "an address where nobody answers"],
)
def test_alerts_that_cannot_arrive_are_named_with_their_cure(
    deployment: Deployment, setting: str, told: str
) -> None:
    """The same way and the same key are Azure Monitor's."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        wrong = {
            "EBB_ALERT_KEY": "rotated",
            "EBB_CALLBACK_URL": f"http://127.0.0.1:{deaf.getsockname()[1]}",
        }
        found = deployment.findings(**{setting: wrong[setting]})
    assert faulty(found) == ["alerts"]
    assert told in found["alerts"]["seen"]
    assert "azd provision --no-state" in found["alerts"]["advice"]


@pytest.mark.usefixtures("green")
def test_a_front_door_that_asks_for_a_token_is_seen_to_ask(deployment: Deployment) -> None:
    """The app refuses the test alert by its own 401, and not the host for its key."""
    guard = {"EBB_ALERT_ISSUER": "https://issuer.test", "EBB_ALERT_AUDIENCE": "ebb"}
    found = deployment.findings(**guard)
    assert faulty(found) == []
    assert found["alerts"]["seen"].startswith("not examined: an alert without a token is turned")
    found = deployment.findings(**guard, EBB_ALERT_KEY="rotated")
    assert faulty(found) == ["alerts"]
    assert "key of alerts" in found["alerts"]["seen"]


@pytest.mark.usefixtures("green")
def test_a_bad_setting_is_told_before_anything_is_looked_at(deployment: Deployment) -> None:
    """All at once, each with what to write instead."""
    with pytest.raises(Answered) as caught:
        deployment.findings(EBB_METRIC_SETTLE_S="soon", EBB_COSMOS_ENDPOINT="http://far.test")
    assert caught.value.status == 422
    errors = {each["path"]: each["advice"] for each in caught.value.body["errors"]}
    assert errors == {
        "EBB_METRIC_SETTLE_S": "write a number of seconds",
        "EBB_COSMOS_ENDPOINT": "write https: tokens are never sent over plain http",
    }
