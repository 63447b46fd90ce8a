"""Refusals as azure-cosmos raises them, for what the archive's side decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

E = TypeVar("E", bound=CosmosHttpResponseError)


def refusal(kind: Callable[..., E], status: int, text: str) -> E:
    """The SDK's errors have no types of their own."""
    return kind(status, text)


def not_found() -> CosmosResourceNotFoundError:
    """As Cosmos DB says it, where a guard without a pointer is all that stands there."""
    text = "Entity with the specified id does not exist in the system."
    return refusal(CosmosResourceNotFoundError, 404, text)


def exists() -> CosmosResourceExistsError:
    text = "Entity with the specified id already exists in the system."
    return refusal(CosmosResourceExistsError, 409, text)


def condition_failed() -> CosmosAccessConditionFailedError:
    text = "Operation cannot be performed because one of the specified precondition is not met."
    return refusal(CosmosAccessConditionFailedError, 412, text)


def contended(item: str, tries: int) -> CosmosHttpResponseError:
    text = f"writing {item!r}: others wrote it {tries} times meanwhile; try again"
    return refusal(CosmosHttpResponseError, 449, text)


def unavailable(text: str) -> CosmosHttpResponseError:
    """A client that retries a 503 of Cosmos DB will retry this."""
    return refusal(CosmosHttpResponseError, 503, f"{text}; try again")


def broken(text: str) -> CosmosHttpResponseError:
    """Never a 404: the document was there, and the archive does not give it as it was."""
    advice = "nothing was changed; run 'ebb verify' and see the runbook"
    return refusal(CosmosHttpResponseError, 500, f"{text}. {advice}")
