"""Turns what Azure Storage clients raise into Ebb's own errors; it retries and logs nothing.

A message repeats no answer's body and no URL: they may carry documents, keys or signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceExistsError,
    ServiceRequestError,
    ServiceResponseError,
)

from shared.errors import Conflict, EbbError, NotFound, PermanentError, TransientError

_BAD_REQUEST = 400
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_TIMEOUT = 408
_CONFLICT = 409
_PRECONDITION = 412
_TOO_MANY = 429
_SERVER_ERROR = 500

# A 409 that only says "not yet": the name is free again in some seconds.
_BUSY_CODES = frozenset(
    {"ContainerBeingDeleted", "QueueBeingDeleted", "TableBeingDeleted", "AccountBeingCreated"}
)
# A 409 that reading again will not change.
_FIXED_CODES = frozenset(
    {
        "BlobImmutableDueToPolicy",
        "BlobArchived",
        "BlobBeingRehydrated",
        "InvalidBlobType",
        "ResourceTypeMismatch",
        "SnapshotsPresent",
    }
)


@contextmanager
def translated(doing: str, thing: str) -> Iterator[None]:
    """What Azure raises inside comes out as an EbbError that says doing what, to which thing."""
    try:
        yield
    except AzureError as error:
        raise translation(doing, thing, error) from error


def translation(doing: str, thing: str, error: AzureError) -> EbbError:
    kind, advice = _kind(error)
    return kind(f"{doing} {thing}: {seen(error)}; {advice}")


@contextmanager
def unless_there() -> Iterator[None]:
    """Making what somebody made first is no error; what is just being deleted is."""
    try:
        yield
    except ResourceExistsError as error:
        if not code_of(error).endswith("AlreadyExists"):
            raise


def status_of(error: AzureError) -> int | None:
    return error.status_code if isinstance(error, HttpResponseError) else None


def code_of(error: AzureError) -> str:
    """The service's own word for what went wrong, or nothing."""
    code = getattr(error, "error_code", None)
    if code is None and isinstance(error, HttpResponseError):
        headers: Mapping[str, str] = getattr(error.response, "headers", {})
        code = headers.get("x-ms-error-code")
    return str(getattr(code, "value", code) or "")


def seen(error: AzureError) -> str:
    status = status_of(error)
    if status is not None:
        return f"answered {status} {code_of(error)}".rstrip()
    inner = getattr(error, "inner_exception", None)
    cause = f" ({type(inner).__name__})" if inner is not None else ""
    return f"no answer: {type(error).__name__}{cause}"


def _kind(error: AzureError) -> tuple[type[EbbError], str]:
    if isinstance(error, ServiceRequestError | ServiceResponseError | IncompleteReadError):
        return TransientError, "check that the storage account can be reached, then try again"
    status = status_of(error)
    if isinstance(error, ClientAuthenticationError) or status in {_UNAUTHORIZED, _FORBIDDEN}:
        advice = "give the app's identity the roles that the README lists, or open the network"
        return PermanentError, advice
    if status is None:
        return _without_status(error)
    return _by_status(status, code_of(error))


def _without_status(error: AzureError) -> tuple[type[EbbError], str]:
    if isinstance(error, HttpResponseError):  # an answer that broke off while it was being read
        return TransientError, "try again"
    return PermanentError, "see the cause below this error"


def _by_status(status: int, code: str) -> tuple[type[EbbError], str]:
    if status in {_TIMEOUT, _TOO_MANY} or status >= _SERVER_ERROR or code in _BUSY_CODES:
        return TransientError, "storage is busy; try again later"
    if status == _NOT_FOUND:
        return NotFound, "check the name, and that nobody deleted it"
    if status in {_CONFLICT, _PRECONDITION} and code not in _FIXED_CODES:
        return Conflict, "someone wrote first; read again and decide anew"
    if status == _BAD_REQUEST:
        return PermanentError, "the request itself is wrong; this is a fault of Ebb to report"
    return PermanentError, "trying again will not help; look at the storage account"
