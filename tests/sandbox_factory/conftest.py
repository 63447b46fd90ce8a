"""One sandbox with a data factory for the whole session, deployed with what infra/adf ships."""

import warnings
from collections.abc import Iterator
from contextlib import suppress

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.identity import ManagedIdentityCredential
from azure.mgmt.datafactory import DataFactoryManagementClient
from azure.storage.blob import BlobServiceClient

from sandbox.factory.conduct import Conduct
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from tests.sandbox.clients import container_of
from tests.sandbox_factory.bench import (
    COLLECTION,
    CONTAINER,
    Bench,
    infra,
)
from tests.sandbox_factory.ebb_stub import EbbStub, listening

SUBSCRIPTION = "00000000-0000-0000-0000-0000000000eb"
DOCUMENTS = 12
# Azure's minute for the first answer is 0.6 s here, its queue of 2 s is 20 ms.
CONDUCT = Conduct(time_scale=0.01, copy_queue_s=1.0, cancel_s=10.0)


@pytest.fixture(scope="session")
def with_factory() -> Iterator[Sandbox]:
    """A sandbox with a factory, and twelve documents."""
    with warnings.catch_warnings():
        # The SDK never verifies a certificate on 127.0.0.1 and urllib3 says so at each request.
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        options = SandboxOptions(lag_s=0, factory=CONDUCT, ru_per_s=1_000_000)
        with start_sandbox(options) as running:
            container = container_of(running, COLLECTION)
            for number in range(DOCUMENTS):
                container.upsert_item(
                    {"id": f"d{number:02}", "pk": f"p{number % 3}", "text": "é" * 50, "n": number}
                )
            yield running


@pytest.fixture(scope="module")
def deployed(with_factory: Sandbox) -> Iterator[Bench]:
    """The factory with infra/adf in it, and the real clients; no other file meets its identity."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in with_factory.identity_settings().items():
            environment.setenv(name, value)
        credential = ManagedIdentityCredential()
        with (
            DataFactoryManagementClient(
                credential,
                SUBSCRIPTION,
                base_url=with_factory.management_endpoint,
                credential_scopes=["https://management.azure.com/.default"],
                connection_verify=str(with_factory.ca_file),
            ) as client,
            BlobServiceClient.from_connection_string(
                with_factory.storage_connection_string
            ) as blobs,
        ):
            with suppress(ResourceExistsError):
                blobs.create_container(CONTAINER)
            bench = Bench(sandbox=with_factory, client=client, blobs=blobs)
            _deploy_everything(bench)
            yield bench


@pytest.fixture
def bench(deployed: Bench) -> Iterator[Bench]:
    """The factory without faults, its conduct as it began, and an empty archive."""
    yield deployed
    deployed.sandbox.factory.clear_faults()
    deployed.sandbox.factory.set_conduct(
        **{name: getattr(CONDUCT, name) for name in CONDUCT.__dataclass_fields__}
    )
    deployed.sandbox.admin.clear_faults()
    for run in deployed.sandbox.factory.runs():
        if run["status"] not in ("Succeeded", "Failed", "Cancelled"):
            deployed.ended(run["runId"])
    container = deployed.blobs.get_container_client(CONTAINER)
    for name in deployed.files():
        container.delete_blob(name)


@pytest.fixture
def ebb(with_factory: Sandbox) -> Iterator[EbbStub]:
    """A function that says proven to everything until it is told otherwise."""
    with listening(with_factory.ca_file) as stub:
        yield stub


def _deploy_everything(bench: Bench) -> None:
    cosmos, blob = infra("linkedService", "ebb_cosmos"), infra("linkedService", "ebb_blob")
    storage = bench.sandbox.storage
    assert storage is not None
    for service, name, value in (
        (cosmos, "accountEndpoint", bench.sandbox.cosmos_endpoint),
        (blob, "serviceEndpoint", storage.blob_endpoint),
    ):
        service["properties"]["parameters"][name]["defaultValue"] = value
        bench.deploy_service(service["name"], service)
    for name in ("ebb_documents", "ebb_parquet"):
        bench.deploy_dataset(name, infra("dataset", name))
    bench.deploy("ebb_copy_slice", infra("pipeline", "ebb_copy_slice"))
