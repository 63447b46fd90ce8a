"""Real Cosmos clients of a running sandbox."""

from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey
from azure.cosmos._retry_options import RetryOptions
from azure.cosmos.documents import ConnectionPolicy

from sandbox.stage import Sandbox


def client_of(sandbox: Sandbox, *, agent: str = "ebb", retries: int = 0) -> CosmosClient:
    """A client with the account's key, which hides no 429."""
    policy = ConnectionPolicy()
    policy.RetryOptions = RetryOptions(max_retry_attempt_count=retries)
    return CosmosClient(
        sandbox.cosmos_endpoint,
        sandbox.cosmos_key,
        connection_verify=str(sandbox.ca_file),
        connection_policy=policy,
        enable_endpoint_discovery=False,
        user_agent_suffix=agent,
        retry_total=0,
        retry_write=0,
    )


def container_of(
    sandbox: Sandbox, name: str, *, agent: str = "ebb", retries: int = 0
) -> ContainerProxy:
    """A container, made where it is missing."""
    client = client_of(sandbox, agent=agent, retries=retries)
    database = client.create_database_if_not_exists("appdb")
    return database.create_container_if_not_exists(name, PartitionKey("/pk"))
