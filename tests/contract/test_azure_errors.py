"""How Azure's failures become Ebb's: which may be tried again, and what a message may say."""

from __future__ import annotations

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceExistsError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)

from shared.adapters.azure_errors import translated, unless_there
from shared.errors import Conflict, EbbError, NotFound, PermanentError, TransientError


def coded(error: HttpResponseError, code: str) -> HttpResponseError:
    """As the storage clients do it: the class declares no such attribute."""
    vars(error)["error_code"] = code or None
    return error


def answered(status: int, code: str = "") -> HttpResponseError:
    error = HttpResponseError("https://x.blob.core.windows.net/?sig=SECRET the body")
    error.status_code = status
    return coded(error, code)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered(404, "BlobNotFound"), NotFound),
        (answered(409, "BlobAlreadyExists"), Conflict),
        (answered(412, "ConditionNotMet"), Conflict),
        (answered(409, "ContainerBeingDeleted"), TransientError),
        (answered(409, "BlobImmutableDueToPolicy"), PermanentError),
        (answered(408), TransientError),
        (answered(429), TransientError),
        (answered(500, "InternalError"), TransientError),
        (answered(503, "ServerBusy"), TransientError),
        (answered(400, "InvalidInput"), PermanentError),
        (answered(403, "AuthorizationFailure"), PermanentError),
        (ClientAuthenticationError("no token"), PermanentError),
        (ServiceRequestError("refused"), TransientError),
        (ServiceResponseTimeoutError("late"), TransientError),
        (IncompleteReadError("cut"), TransientError),
        (HttpResponseError("cut while reading"), TransientError),
        (AzureError("unknown"), PermanentError),
    ],
)
def test_every_failure_has_one_kind(error: AzureError, kind: type[EbbError]) -> None:
    """The message says doing what, to what and what was seen, and keeps URL and body out."""
    with pytest.raises(kind) as caught, translated("reading", "blob a/b"):
        raise error
    assert type(caught.value) is kind
    text = str(caught.value)
    assert text.startswith("reading blob a/b: ")
    assert ";" in text
    assert "SECRET" not in text
    assert "the body" not in text
    assert caught.value.__cause__ is error


def test_our_own_errors_pass_untouched() -> None:
    """What an adapter found out itself is not translated again."""
    own = Conflict("mine")
    with pytest.raises(Conflict) as caught, translated("reading", "x"):
        raise own
    assert caught.value is own


def test_what_is_being_deleted_is_not_there() -> None:
    """Only an existing thing makes its making needless."""

    def make(code: str) -> None:
        with unless_there():
            raise coded(ResourceExistsError("no"), code)

    make("ContainerAlreadyExists")
    with pytest.raises(ResourceExistsError):
        make("ContainerBeingDeleted")
