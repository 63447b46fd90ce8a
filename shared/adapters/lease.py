"""The controller's lease on a small blob, with a number that grows at every holder."""

from __future__ import annotations

import time
from contextlib import suppress

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobLeaseClient, BlobServiceClient

from shared.adapters.azure_errors import code_of, translated, unless_there
from shared.adapters.keys import key
from shared.errors import PermanentError
from shared.ports import Held

LEASE_S_MIN = 15  # the service's own bounds
LEASE_S_MAX = 60
_TOKEN = "token"  # noqa: S105 - the name of a number, not a secret
_TAKEN = frozenset({"LeaseAlreadyPresent", "LeaseIsBreakingAndCannotBeAcquired"})
_LOST = frozenset(
    {
        "BlobNotFound",
        "ContainerNotFound",
        "LeaseIdMismatchWithLeaseOperation",
        "LeaseIsBrokenAndCannotBeRenewed",
        "LeaseLost",
        "LeaseNotPresentWithLeaseOperation",
    }
)


class BlobLease:
    def __init__(
        self,
        service: BlobServiceClient,
        *,
        account: str,
        container: str = "ebb-control",
        duration_s: int = LEASE_S_MAX,
    ) -> None:
        if not LEASE_S_MIN <= duration_s <= LEASE_S_MAX:
            raise ValueError(
                f"a lease lasts {LEASE_S_MIN} to {LEASE_S_MAX} s, saw {duration_s}; choose within"
            )
        self._container = service.get_container_client(container)
        self._blob = self._container.get_blob_client(f"controller-{key(account)}")
        self._thing = f"the controller's lease of {account}"
        self._duration_s = duration_s

    def acquire(self) -> Held | None:
        with translated("acquiring", self._thing):
            try:
                lease = self._taken()
            except ResourceNotFoundError:
                self._create()
                lease = self._taken()
            if lease is None:
                return None
            try:
                token = self._next_token(lease)
            except (AzureError, PermanentError):
                with suppress(AzureError):  # it runs out by itself; the first failure matters
                    lease.release()
                raise
            return Held(token=token, lease_id=lease.id)

    def renew(self, held: Held) -> bool:
        """A lease that ran out and that nobody took since can be renewed, and is still ours."""
        with translated("renewing", self._thing):
            try:
                BlobLeaseClient(self._blob, lease_id=held.lease_id).renew()
            except HttpResponseError as error:
                if code_of(error) not in _LOST:
                    raise
                return False
            return True

    def release(self, held: Held) -> None:
        """Give it back; a lease that ran out or went to somebody else is no longer ours to give."""
        with translated("releasing", self._thing):
            try:
                BlobLeaseClient(self._blob, lease_id=held.lease_id).release()
            except HttpResponseError as error:
                if code_of(error) not in _LOST:
                    raise

    def _taken(self) -> BlobLeaseClient | None:
        lease = BlobLeaseClient(self._blob)
        try:
            lease.acquire(lease_duration=self._duration_s)
        except ResourceExistsError as error:
            if code_of(error) not in _TAKEN:
                raise
            return None
        return lease

    def _next_token(self, lease: BlobLeaseClient) -> int:
        """Counted under the lease and only if unchanged, so no two holders share a number."""
        properties = self._blob.get_blob_properties()
        text = properties.metadata.get(_TOKEN, "")
        if not text.isdecimal():
            raise PermanentError(
                f"acquiring {self._thing}: its blob {self._blob.blob_name} holds no number; "
                "it was overwritten — delete it while no controller runs"
            )
        token = int(text) + 1
        self._blob.set_blob_metadata(
            {_TOKEN: str(token)},
            lease=lease,
            etag=properties.etag,
            match_condition=MatchConditions.IfNotModified,
        )
        return token

    def _create(self) -> None:
        with unless_there():
            self._container.create_container()
        with unless_there():
            # Seconds, which no count of ticks ever reaches: a lost blob begins above its numbers.
            begun = {_TOKEN: str(int(time.time()))}
            self._blob.upload_blob(b"", overwrite=False, metadata=begun)
