"""Documents of every kind of hierarchical key, reached by a tiered container over the sandbox."""

from __future__ import annotations

from typing import Any

import pytest
from azure.cosmos import CosmosClient, PartitionKey
from azure.cosmos.exceptions import CosmosResourceNotFoundError

from sandbox.stage import SandboxOptions, start_sandbox
from shared.adapters.memory import MemoryPointers
from shared.domain.canonical import canonical_document, digest
from shared.domain.pointers import Pointer, with_pointer
from shared.tiered import TieredContainer
from tests.tiered.twins import ColdTwin

BODIES: tuple[dict[str, Any], ...] = (
    {"id": "whole", "a": "x", "c": 1},
    {"id": "null", "a": "y", "c": None},
    {"id": "half", "a": "z"},
    {"id": "none"},
)


@pytest.mark.node
def test_stubs_of_hierarchical_keys_are_read_and_deleted() -> None:
    """A missing part goes over the wire as the SDK sends one."""
    with start_sandbox(SandboxOptions(partitions=1, with_storage=False)) as sandbox:
        client = CosmosClient(
            sandbox.cosmos_endpoint, sandbox.cosmos_key, connection_verify=str(sandbox.ca_file)
        )
        database = client.create_database_if_not_exists("appdb")
        plain = database.create_container("nested", PartitionKey(["/a", "/c"], kind="MultiHash"))
        cold = ColdTwin(MemoryPointers(), "appdb/nested")
        for body in BODIES:
            plain.create_item(with_pointer(body, archived(cold, body | {"n": 7})))
        tiered = TieredContainer(plain, cold)
        query = {"query": "SELECT * FROM c", "enable_cross_partition_query": True}
        found = {each["id"]: each["n"] for each in tiered.query_items(**query)}
        assert found == {body["id"]: 7 for body in BODIES}
        for body in BODIES:
            key = [body.get("a", {}), body.get("c", {})]
            assert tiered.patch_item(body["id"], key, [{"op": "set", "path": "/n", "value": 8}])
            tiered.delete_item(body["id"], key)
            with pytest.raises(CosmosResourceNotFoundError):
                tiered.read_item(body["id"], key)


def archived(cold: ColdTwin, body: dict[str, Any]) -> Pointer:
    data = canonical_document(body)
    sha256 = digest(data)
    cold.archived[sha256] = data
    return Pointer(
        archive="a/", blob="b", offset=4, length=9, rows=1, row=0, sha256=sha256, ts=10, etag="e1"
    )
