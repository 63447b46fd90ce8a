"""Opens the clients of a trial: every request of theirs is counted by the purse."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any

from azure.core.credentials import TokenCredential
from azure.cosmos import CosmosClient
from azure.cosmos._retry_options import RetryOptions
from azure.cosmos.documents import ConnectionPolicy
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from shared.trial.purse import CosmosTransport, Purse, StorageTransport

USER_AGENT = "ebb-trial"
PATIENT_RETRIES = 60
PATIENT_WAIT_S = 240  # 400 RU/s are in debt for a minute after some documents of 1 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The accounts, and how to reach them."""

    cosmos_id: str
    storage: str
    """An account's name, or for Azurite a connection string."""
    management_endpoint: str
    ca_file: str | None
    storage_suffix: str = "core.windows.net"
    log_workspace_id: str = ""
    logs_endpoint: str = "https://api.loganalytics.io"

    @property
    def uses_token(self) -> bool:
        return "=" not in self.storage


def cosmos_client(
    endpoint: str,
    credential: TokenCredential,
    transport: CosmosTransport,
    *,
    ca_file: str | None,
    patient: bool = True,
) -> CosmosClient:
    """A new client: a patient one waits when it is throttled, the other shows each 429 as Ebb's."""
    policy = ConnectionPolicy()
    policy.RetryOptions = RetryOptions(
        max_retry_attempt_count=PATIENT_RETRIES if patient else 0,
        max_wait_time_in_seconds=PATIENT_WAIT_S,
    )
    options: dict[str, Any] = {"connection_verify": ca_file} if ca_file else {}
    return CosmosClient(
        endpoint,
        credential=credential,
        connection_policy=policy,
        user_agent_suffix=USER_AGENT,
        transport=transport,
        **options,
    )


def blob_service(place: Place, credential: TokenCredential, purse: Purse) -> BlobServiceClient:
    options: dict[str, Any] = {"retry_total": 3, "transport": StorageTransport(purse)}
    if not place.uses_token:
        return BlobServiceClient.from_connection_string(place.storage, **options)
    address = f"https://{place.storage}.blob.{place.storage_suffix}"
    return BlobServiceClient(address, credential=credential, **options)


def table_service(place: Place, credential: TokenCredential, purse: Purse) -> TableServiceClient:
    options: dict[str, Any] = {"retry_total": 3, "transport": StorageTransport(purse)}
    if not place.uses_token:
        return TableServiceClient.from_connection_string(place.storage, **options)
    address = f"https://{place.storage}.table.{place.storage_suffix}"
    return TableServiceClient(address, credential=credential, **options)


def principal_of(credential: TokenCredential, management_endpoint: str) -> str:
    """The object id of whoever is signed in, as his own token says it."""
    token = credential.get_token(f"{management_endpoint.rstrip('/')}/.default").token
    claims = token.split(".")[1]
    padded = claims + "=" * (-len(claims) % 4)
    return str(json.loads(urlsafe_b64decode(padded)).get("oid", ""))
