"""Reads a query's pages as a Copy does: one after the other, unpaced, over the whole container.

A throttled page is asked for again nine times, after the time that the account says, and nobody is
told. azure-cosmos could do that too, but nests two such loops: a hundred tries instead of ten.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError
from azure.cosmos import ContainerProxy, CosmosClient
from azure.cosmos._retry_options import RetryOptions
from azure.cosmos.documents import ConnectionPolicy
from azure.cosmos.exceptions import CosmosHttpResponseError
from azure.identity import DefaultAzureCredential

from sandbox.factory.failures import copy_failed

# What the account's traffic series calls a Copy, by what its client calls itself.
ORIGIN = "adf"
# "Typically up to nine times", says the page on 429s of Data Factory.
THROTTLE_RETRIES = 9
# What a page size of -1 comes to: "up to 1000".
PAGE_ROWS_MAX = 1000
_TOO_MANY = 429

Data = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One query of one container, and how many documents a page may have."""

    account_endpoint: str
    database: str
    collection: str
    query: str
    page_rows: int


class Stopped(Exception):
    """The Copy was cancelled."""


class Reader:
    """Accounts, opened once each with the factory's own identity."""

    def __init__(self, *, ca_file: str) -> None:
        """Open none yet."""
        self._ca_file = ca_file
        self._accounts: dict[str, CosmosClient] = {}
        self._lock = threading.Lock()

    def pages(self, wanted: Wanted, stop: threading.Event) -> Iterator[list[Data]]:
        """Yield the documents of a query page by page, or fail as the connector does."""
        client = self._account(wanted.account_endpoint)
        database = client.get_database_client(wanted.database)
        container = database.get_container_client(wanted.collection)
        try:
            for feed_range in container.read_feed_ranges():
                page, token = _page(container, wanted, feed_range, None, stop)
                yield page
                while token is not None:
                    page, token = _page(container, wanted, feed_range, token, stop)
                    yield page
        except AzureError as error:
            raise copy_failed(
                "CosmosDbSqlApiOperationFailed",
                f"CosmosDbSqlApi operation Failed. ErrorMessage: {error.message}.",
            ) from error

    def _account(self, endpoint: str) -> CosmosClient:
        with self._lock:
            if endpoint not in self._accounts:
                policy = ConnectionPolicy()
                policy.RetryOptions = RetryOptions(max_retry_attempt_count=0)
                self._accounts[endpoint] = CosmosClient(
                    endpoint,
                    credential=DefaultAzureCredential(),
                    connection_policy=policy,
                    connection_verify=self._ca_file,
                    enable_endpoint_discovery=False,
                    user_agent_suffix=ORIGIN,
                )
            return self._accounts[endpoint]


def _page(
    container: ContainerProxy,
    wanted: Wanted,
    feed_range: Data,
    token: str | None,
    stop: threading.Event,
) -> tuple[list[Data], str | None]:
    rows = wanted.page_rows if 0 < wanted.page_rows <= PAGE_ROWS_MAX else PAGE_ROWS_MAX
    throttled = 0
    while True:
        pages = container.query_items(
            wanted.query, feed_range=feed_range, max_item_count=rows
        ).by_page(token)
        try:
            return list(next(pages, ())), getattr(pages, "continuation_token", None)
        except CosmosHttpResponseError as error:
            throttled += 1
            if error.status_code != _TOO_MANY or throttled > THROTTLE_RETRIES:
                raise
            headers = error.headers or {}
            if stop.wait(float(headers.get("x-ms-retry-after-ms", 1000)) / 1000):
                raise Stopped from error
