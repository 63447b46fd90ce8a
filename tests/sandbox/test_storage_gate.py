"""The gate before Azurite: bytes pass unchanged, and only what it was told is refused."""

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from sandbox.stage import Sandbox
from sandbox.storage_gate import StorageGate, storage_gate
from shared.adapters.azure_errors import code_of

pytestmark = pytest.mark.node
BODY = os.urandom(300_000)


@pytest.fixture
def gate(sandbox: Sandbox) -> Iterator[StorageGate]:
    """An open gate before the sandbox's Azurite."""
    assert sandbox.storage is not None
    with storage_gate(sandbox.storage) as opened:
        yield opened


@pytest.fixture
def blobs(gate: StorageGate) -> Iterator[BlobServiceClient]:
    """A client before the gate."""
    text = gate.azurite.connection_string
    with BlobServiceClient.from_connection_string(text, retry_total=0) as client:
        yield client


def test_blobs_pass_the_gate_unchanged(blobs: BlobServiceClient) -> None:
    """Written, measured, read by parts, copied on the server and deleted."""
    container = blobs.create_container("gate-bytes")
    blob = container.upload_blob("a", BODY)
    assert blob.get_blob_properties().size == len(BODY)
    assert blob.download_blob(offset=7, length=100).readall() == BODY[7:107]
    copy = container.get_blob_client("b")
    copy.start_copy_from_url(blob.url)
    assert copy.download_blob().readall() == BODY
    copy.delete_blob()
    assert [each.name for each in container.list_blobs()] == ["a"]


def test_queues_and_tables_pass_the_gate(gate: StorageGate) -> None:
    """A message and a transaction, which carries addresses in its body."""
    text = gate.azurite.connection_string
    with ExitStack() as stack:
        queues = stack.enter_context(QueueServiceClient.from_connection_string(text))
        queue = queues.create_queue("gate-queue")
        queue.send_message("hello")
        assert [each.content for each in queue.receive_messages()] == ["hello"]
        tables = stack.enter_context(TableServiceClient.from_connection_string(text))
        table = tables.create_table("gatetable")
        table.submit_transaction([("create", {"PartitionKey": "p", "RowKey": "r", "n": 1})])
        assert table.get_entity("p", "r")["n"] == 1


def test_only_what_it_was_told_is_refused(gate: StorageGate, blobs: BlobServiceClient) -> None:
    """As a missing role would refuse it, until the gate is opened."""
    shut, free = blobs.create_container("gate-shut"), blobs.create_container("gate-free")
    gate.refuse("blob", "/gate-shut")
    gate.refuse("queue", "/gate-free")
    with pytest.raises(HttpResponseError) as refused:
        shut.upload_blob("a", b"")
    assert refused.value.status_code == 403
    assert code_of(refused.value) == "AuthorizationPermissionMismatch"
    free.upload_blob("a", b"")
    gate.open()
    shut.upload_blob("a", b"")


def test_its_clock_can_be_another(gate: StorageGate, blobs: BlobServiceClient) -> None:
    """By as much as it is told, in what it lists."""
    container = blobs.create_container("gate-clock")
    container.upload_blob("a", b"")
    (right,) = [each.last_modified for each in container.list_blobs()]
    gate.skew_s = -90.0
    (wrong,) = [each.last_modified for each in container.list_blobs()]
    assert wrong - right == dt.timedelta(seconds=-90)
