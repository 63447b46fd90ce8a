"""The stage as a function app meets it, and an end for every process."""

import datetime as dt
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.cosmos import CosmosClient
from azure.identity import DefaultAzureCredential
from azure.mgmt.datafactory import DataFactoryManagementClient
from azure.mgmt.monitor import MonitorManagementClient
from azure.storage.blob import BlobServiceClient

from sandbox.cosmos.account import History
from sandbox.errors import SandboxError
from sandbox.processes import REPOSITORY, Processes
from sandbox.stage import Sandbox, SandboxOptions, default_ru_per_s, write_local_settings
from shared.settings import read_settings
from shared.wiring import azure_ports
from tests.sandbox.clients import container_of

pytestmark = pytest.mark.node

SUBSCRIPTION = "00000000-0000-0000-0000-0000000000eb"


@pytest.fixture
def credential(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> DefaultAzureCredential:
    """The credential that production code makes, in the environment that the sandbox gives."""
    for name, value in sandbox.settings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
    return DefaultAzureCredential()


def monitor_client(sandbox: Sandbox, credential: DefaultAzureCredential) -> MonitorManagementClient:
    """The real management client."""
    return MonitorManagementClient(
        credential,
        SUBSCRIPTION,
        base_url=sandbox.management_endpoint,
        credential_scopes=["https://management.azure.com/.default"],
        connection_verify=str(sandbox.ca_file),
    )


def points(
    sandbox: Sandbox,
    credential: DefaultAzureCredential,
    metric: str,
    *,
    aggregation: str,
    **options: Any,
) -> list[list[object]]:
    """Each series' values of the last ten minutes."""
    now = dt.datetime.now(dt.UTC)
    with monitor_client(sandbox, credential) as client:
        answer = client.metrics.list(
            sandbox.resource_id,
            timespan=f"{(now - dt.timedelta(minutes=10)).isoformat()}/{now.isoformat()}",
            interval="PT1M",
            metricnames=metric,
            metricnamespace="Microsoft.DocumentDB/databaseAccounts",
            aggregation=aggregation,
            **options,
        )
    kind = aggregation.lower()
    return [
        [getattr(point, kind) for point in series.data or []]
        for series in answer.value[0].timeseries or []
    ]


def test_the_default_credential_opens_cosmos(
    sandbox: Sandbox, credential: DefaultAzureCredential
) -> None:
    """Through the managed identity endpoint, with no bypass."""
    name = container_of(sandbox, "identity").id
    client = CosmosClient(
        sandbox.cosmos_endpoint,
        credential=credential,
        connection_verify=str(sandbox.ca_file),
        enable_endpoint_discovery=False,
    )
    assert name in [item["id"] for item in client.get_database_client("appdb").list_containers()]


def test_the_identity_endpoint_wants_its_secret(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another header gets no token."""
    for name, value in sandbox.identity_settings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IDENTITY_HEADER", "wrong")
    with pytest.raises(ClientAuthenticationError):
        DefaultAzureCredential().get_token("https://management.azure.com/.default")


def test_metrics_show_the_history_and_what_was_just_done(
    sandbox: Sandbox, credential: DefaultAzureCredential
) -> None:
    """A write of 5 RU is in the current minute once its second is over."""
    sandbox.admin.reset()
    container = container_of(sandbox, "metrics")
    container.upsert_item({"id": "a", "pk": "p"})
    time.sleep(1.1)
    (total,) = points(sandbox, credential, "TotalRequestUnits", aggregation="Total")
    assert sum(value or 0.0 for value in total[-2:]) == 5.0  # type: ignore[misc]
    (count,) = points(
        sandbox,
        credential,
        "TotalRequests",
        aggregation="Count",
        filter="StatusCode eq '201' and CollectionName eq '*'",
    )
    assert sum(value or 0.0 for value in count) == 1.0  # type: ignore[misc]
    assert (
        points(
            sandbox, credential, "TotalRequests", aggregation="Count", filter="StatusCode eq '429'"
        )
        == []
    )


def test_metrics_are_late_by_the_lag(sandbox: Sandbox, credential: DefaultAzureCredential) -> None:
    """With ten minutes of lag nothing of the last minutes is known."""
    container_of(sandbox, "metrics").upsert_item({"id": "a", "pk": "p"})
    sandbox.admin.set_monitor(lag_s=600)
    try:
        (total,) = points(sandbox, credential, "TotalRequestUnits", aggregation="Total")
    finally:
        sandbox.admin.set_monitor(lag_s=0)
    assert total[1:] == [None] * (len(total) - 1)


@pytest.mark.usefixtures("credential")
def test_the_settings_open_every_signal(sandbox: Sandbox) -> None:
    """The app's own wiring finds metrics and logs; without a workspace it has no habits."""
    until_s = int(time.time()) // 60 * 60
    span = {"since_s": until_s - 240, "until_s": until_s}
    sandbox.admin.tell_history(History(minutes=10, ru_per_s=1_000))
    sandbox.admin.set_logs(lag_s=0)
    ports = azure_ports(read_settings(sandbox.settings()))
    assert len(ports.monitor.minutes("appdb", "records", **span)) == 4
    assert ports.history.partition_shares("appdb", "records", **span) == {"0": 1.0}
    without = read_settings(sandbox.settings() | {"EBB_LOG_WORKSPACE_ID": ""})
    assert azure_ports(without).history.profile("appdb", "records", **span) is None


def test_metrics_want_a_token_for_management(sandbox: Sandbox) -> None:
    """Without one the answer is 401."""
    route = "/providers/Microsoft.Insights/metrics?metricnames=TotalRequests"
    url = f"{sandbox.management_endpoint}{sandbox.resource_id}{route}"
    trusted = ssl.create_default_context(cafile=str(sandbox.ca_file))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, context=trusted)  # noqa: S310 - loopback
    assert refused.value.code == 401
    refused.value.close()


def test_metrics_of_another_resource_are_not_found(
    sandbox: Sandbox, credential: DefaultAzureCredential
) -> None:
    """The id must be the account's."""
    with monitor_client(sandbox, credential) as client, pytest.raises(HttpResponseError) as refused:
        client.metrics.list(sandbox.resource_id + "x", metricnames="TotalRequests")
    assert refused.value.status_code == 404


def test_storage_answers_to_the_connection_string(sandbox: Sandbox) -> None:
    """A blob goes in and comes out."""
    with BlobServiceClient.from_connection_string(
        sandbox.settings()["AzureWebJobsStorage"]
    ) as client:
        container = client.get_container_client("probe")
        container.create_container()
        container.upload_blob("a", b"hello")
        assert container.download_blob("a").readall() == b"hello"


def test_without_a_factory_its_routes_are_not_found(
    sandbox: Sandbox, credential: DefaultAzureCredential
) -> None:
    """Which is the default, and named in no setting."""
    assert sandbox.settings()["EBB_FACTORY_RESOURCE_ID"] == ""
    with pytest.raises(SandboxError, match="started without"):
        sandbox.factory.runs()
    with (
        DataFactoryManagementClient(
            credential,
            SUBSCRIPTION,
            base_url=sandbox.management_endpoint,
            credential_scopes=["https://management.azure.com/.default"],
            connection_verify=str(sandbox.ca_file),
        ) as client,
        pytest.raises(HttpResponseError, match="without a factory"),
    ):
        client.factories.get("rg-sandbox", "adf-sandbox")


def test_local_settings_of_somebody_else_are_not_overwritten(tmp_path: Path) -> None:
    """Our own are."""
    path = tmp_path / "local.settings.json"
    write_local_settings(path, {"A": "1"})
    write_local_settings(path, {"A": "2"})
    assert json.loads(path.read_text())["Values"]["A"] == "2"
    path.write_text('{"Values": {}}')
    with pytest.raises(SandboxError, match="did not write it"):
        write_local_settings(path, {"A": "3"})
    assert path.read_text() == '{"Values": {}}'


def test_a_child_that_ends_early_says_why(tmp_path: Path) -> None:
    """With its name, its code and the end of its log."""
    with Processes(tmp_path) as processes:
        child = processes.start("broken", [sys.executable, "-c", "raise SystemExit('no luck')"])
        with pytest.raises(SandboxError, match=r"broken .* code 1; its log ends with: no luck"):
            child.wait_for("ready")


def test_a_stubborn_child_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that ignores SIGTERM is killed."""
    monkeypatch.setattr("sandbox.processes.STOP_WITHIN_S", 0.3)
    code = (
        "import signal, time; signal.signal(15, lambda *_: None); "
        "print('up', flush=True); time.sleep(60)"
    )
    with Processes(tmp_path) as processes:
        child = processes.start("stubborn", [sys.executable, "-c", code])
        child.wait_for("up")
    assert child.process.returncode == -signal.SIGKILL


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    """Kill -9 of the stage ends node, Azurite, the meter and the data factory within seconds."""
    code = (
        "import time\n"
        "from sandbox.factory.conduct import Conduct\n"
        "from sandbox.stage import SandboxOptions, start_sandbox\n"
        "from pathlib import Path\n"
        f"options = SandboxOptions(scratch_dir=Path({str(tmp_path)!r}), factory=Conduct())\n"
        "with start_sandbox(options) as s:\n"
        "    print(*[c.pid for c in s.processes._children], flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
    ) as parent:
        assert parent.stdout is not None
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(children) == 4
        parent.kill()
    deadline_s = time.monotonic() + 10
    while any(_is_running(pid) for pid in children) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert [pid for pid in children if _is_running(pid)] == []


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # An orphan that nobody reaps stays as a zombie; it runs no more.
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return not state.strip().startswith("Z") and state.strip() != ""


@pytest.mark.parametrize(
    ("partitions", "each"), [(1, 5000.0), (2, 2500.0), (4, 1250.0), (5, 1000.0), (12, 1000.0)]
)
def test_a_serverless_partition_does_what_the_lower_table_says(
    partitions: int, each: float
) -> None:
    """Unless somebody says otherwise; bought throughput is 5,000 for each."""
    assert default_ru_per_s(SandboxOptions(partitions=partitions)) == each
    assert default_ru_per_s(SandboxOptions(partitions=partitions, provisioned=True)) == 5000.0
