"""Turns what azure-cosmos raises into Ebb's own errors; it retries nothing and tells no content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.cosmos.exceptions import CosmosHttpResponseError

from shared.errors import EbbError, NotFound, PermanentError, Throttled, TransientError

REPLICA_BEHIND = 1002  # substatus of a 404
RETRY_AFTER_DEFAULT_S = 1.0
CHARGE = "x-ms-request-charge"
CONTINUATION = "x-ms-continuation"
PARTITION_FULL = 1014
_TRANSIENT_STATUS = frozenset({408, 410, 449, 500, 502, 503, 504})


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn whatever azure-cosmos raises into Ebb's errors, without any document's content."""
    try:
        yield
    except EbbError:
        raise
    except CosmosHttpResponseError as error:
        raise error_for(doing, error) from error
    except ClientAuthenticationError as error:
        raise TransientError(
            f"{doing}: no token could be had for this identity; in Azure look at the app's managed "
            "identity, at a terminal log in with 'az login'"
        ) from error
    except (AzureError, ConnectionError, TimeoutError, ValueError) as error:
        raise TransientError(
            f"{doing}: the answer was broken or cut off ({type(error).__name__}); "
            "the call will be tried again"
        ) from error


def error_for(doing: str, error: CosmosHttpResponseError) -> EbbError:
    """The failure by its status, with what its own answer was charged."""
    meant = _meaning(doing, error)
    meant.ru = charge_of(error.headers or {})
    return meant


def charge_of(headers: Mapping[str, str]) -> float:
    return float(headers.get(CHARGE, 0.0))


def _meaning(doing: str, error: CosmosHttpResponseError) -> EbbError:
    status = int(error.status_code or 0)
    if status == 429:  # noqa: PLR2004 - HTTP's own number
        headers = error.headers or {}
        after_ms = headers.get("x-ms-retry-after-ms")
        after_s = float(after_ms) / 1000 if after_ms else RETRY_AFTER_DEFAULT_S
        return Throttled(f"{doing}: the partition is full (429)", retry_after_s=after_s)
    if status == 404 and error.sub_status == REPLICA_BEHIND:  # noqa: PLR2004
        return TransientError(
            f"{doing}: a replica is behind the session (404, substatus 1002); nothing is known to "
            "be missing, it will be tried again"
        )
    if status == 404:  # noqa: PLR2004
        return NotFound(
            f"{doing}: not found (404); check the names of account, database and container"
        )
    if status == 403 and error.sub_status == PARTITION_FULL:  # noqa: PLR2004
        return PermanentError(
            f"{doing}: the documents of its partition key take 20 GB, which is all that one value "
            "may hold (403, substatus 1014); nothing was written — make room under that key, or "
            "ask Azure support for a larger limit, then go on"
        )
    if status in {401, 403}:
        return PermanentError(
            f"{doing}: refused ({status}); give this app's identity the role "
            "'Cosmos DB Built-in Data Reader' on the account, and 'Cosmos DB Built-in Data "
            "Contributor' where it retires documents"
        )
    if status in _TRANSIENT_STATUS or status == 0:
        return TransientError(f"{doing}: answered {status or 'nothing'}; will be tried again")
    return PermanentError(f"{doing}: answered {status}, which trying again will not change")
