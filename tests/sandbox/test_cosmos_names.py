"""The Cosmos DB stand-in with names and clients that the real service takes."""

from __future__ import annotations

import pytest
from azure.cosmos import CosmosClient, PartitionKey

from sandbox.stage import SandboxOptions, start_sandbox


@pytest.mark.node
def test_names_with_spaces_and_a_client_without_answers_to_writes() -> None:
    """Documents are found over several partitions, and queries keep their bodies."""
    with start_sandbox(SandboxOptions(partitions=2, with_storage=False)) as sandbox:
        client = CosmosClient(
            sandbox.cosmos_endpoint, sandbox.cosmos_key, no_response_on_write=True
        )
        database = client.create_database_if_not_exists("appdb")
        container = database.create_container("Aufträge 2025", PartitionKey("/pk"))
        for number in range(4):
            assert container.create_item({"id": f"i{number}", "pk": f"p{number}"}) == {}
        read = [container.read_item(f"i{number}", f"p{number}")["id"] for number in range(4)]
        assert read == ["i0", "i1", "i2", "i3"]
        found = container.query_items("SELECT * FROM c", enable_cross_partition_query=True)
        assert len(list(found)) == 4
