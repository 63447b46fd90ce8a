"""Storage: conditional writes, copies, ranges, leases and what a blob container promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobServiceClient, ContainerClient

from shared.trial.findings import Finding, judged, skipped

RACERS = 16
LEASE_S = 15
EXISTS, DENIED, CONFLICT, CHANGED, BEYOND = 409, 403, 409, 412, 416


@dataclass(frozen=True, slots=True, kw_only=True)
class Blobs:
    """A blob container of the trial."""

    service: BlobServiceClient
    container: ContainerClient
    uses_token: bool


def one_writer(blobs: Blobs) -> Finding:
    """Of sixteen writers with `If-None-Match: *` exactly one wins."""

    def write(number: int) -> bool:
        try:
            blobs.container.upload_blob("raced", str(number).encode(), overwrite=False)
        except ResourceExistsError:
            return False
        return True

    with ThreadPoolExecutor(RACERS) as pool:
        won = sum(pool.map(write, range(RACERS)))
    return judged(expected="1 winner", seen=f"{won} winners of {RACERS}", holds=won == 1)


def conditional_copy(blobs: Blobs) -> Finding:
    """A copy obeys the source's etag, and `If-None-Match: *` on its target."""
    etag = blobs.container.upload_blob("source", b"first", overwrite=True).get_blob_properties()
    blobs.container.upload_blob("source", b"second", overwrite=True)
    changed = _copied(blobs, "target", source_etag=etag.etag)
    done = _copied(blobs, "target", source_etag=_etag_of(blobs, "source"))
    again = _copied(blobs, "target", source_etag=_etag_of(blobs, "source"))
    return judged(
        expected="412 from a changed source, success, then 409 or 412 onto the target",
        seen=f"{changed or 'success'}, {done or 'success'}, {again or 'success'}",
        holds=changed == CHANGED and done == 0 and again in {EXISTS, CHANGED},
    )


def copy_with_token(blobs: Blobs) -> Finding:
    """A copy within the account needs no key and no signature for its source."""
    if not blobs.uses_token:
        return skipped("storage was opened by a connection string; give --storage ACCOUNT")
    blobs.container.upload_blob("token-source", b"bytes", overwrite=True)
    status = _copied(blobs, "token-target", source_etag=_etag_of(blobs, "token-source"))
    return judged(expected="success", seen=str(status or "success"), holds=status == 0)


def ranged_read(blobs: Blobs) -> Finding:
    """A range gives its bytes, fewer at the end, and 416 beyond it."""
    blob = blobs.container.get_blob_client("ranged")
    blob.upload_blob(b"0123456789", overwrite=True)
    middle = blob.download_blob(offset=2, length=3).readall()
    end = blob.download_blob(offset=8, length=100).readall()
    beyond = _status(lambda: blob.download_blob(offset=100, length=1).readall())
    return judged(
        expected="b'234', b'89' and 416",
        seen=f"{middle!r}, {end!r} and {beyond}",
        holds=(middle, end, beyond) == (b"234", b"89", BEYOND),
    )


def ranges_with_etag(blobs: Blobs) -> Finding:
    """A range with the etag of an overwritten blob is refused."""
    blob = blobs.container.get_blob_client("overwritten")
    etag = blob.upload_blob(b"first", overwrite=True)["etag"]
    blob.upload_blob(b"other", overwrite=True)
    status = _status(
        lambda: blob.download_blob(
            offset=0, length=2, etag=etag, match_condition=MatchConditions.IfNotModified
        ).readall()
    )
    return judged(expected="412", seen=str(status or "success"), holds=status == CHANGED)


def lease(blobs: Blobs) -> Finding:
    """A lease has one holder, and a second one may have it once it is given back."""
    blob = blobs.container.get_blob_client("leased")
    blob.upload_blob(b"", overwrite=True)
    held = blob.acquire_lease(LEASE_S)
    second = _status(lambda: blob.acquire_lease(LEASE_S))
    shorter = _status(lambda: blob.acquire_lease(LEASE_S - 1))
    held.release()
    after = _status(lambda: blob.acquire_lease(LEASE_S).release())
    return judged(
        expected="409 for a second holder, 400 or 409 for 14 s, success after the release",
        seen=f"{second or 'success'}, {shorter or 'success'}, {after or 'success'}",
        holds=second == CONFLICT and shorter != 0 and after == 0,
    )


def version_id(blobs: Blobs) -> Finding:
    """A write's answer has `x-ms-version-id` where versions are kept."""
    answer = blobs.container.get_blob_client("versioned").upload_blob(b"", overwrite=True)
    found = answer.get("version_id")
    if not found:
        return skipped("the answer has no version; turn versioning on for the account to see one")
    return judged(expected="a version id", seen=str(found), holds=True)


def soft_delete(blobs: Blobs) -> Finding:
    """The service's properties say for how long deleted blobs are kept."""
    try:
        policy = blobs.service.get_service_properties()["delete_retention_policy"]
    except HttpResponseError as error:
        if error.status_code == DENIED:
            return skipped("refused (403): this identity may not read blobServices/read")
        raise
    days = f"{policy.days} days" if policy.enabled else "not kept"
    return judged(
        expected="a number of days, or that nothing is kept",
        seen=days,
        holds=bool(policy.days) == bool(policy.enabled),
    )


def _copied(blobs: Blobs, name: str, *, source_etag: str) -> int:
    target = blobs.container.get_blob_client(name)
    source = "token-source" if name == "token-target" else "source"
    return _status(
        lambda: target.start_copy_from_url(
            blobs.container.get_blob_client(source).url,
            source_etag=source_etag,
            source_match_condition=MatchConditions.IfNotModified,
            match_condition=MatchConditions.IfMissing,
        )
    )


def _etag_of(blobs: Blobs, name: str) -> str:
    return str(blobs.container.get_blob_client(name).get_blob_properties().etag)


def _status(call: Callable[[], object]) -> int:
    """0, or the status of the refusal."""
    try:
        call()
    except HttpResponseError as error:
        return int(error.status_code or -1)
    return 0


CHECKS: Mapping[str, Callable[[Blobs], Finding]] = {
    "storage.one-writer": one_writer,
    "storage.conditional-copy": conditional_copy,
    "storage.copy-with-token": copy_with_token,
    "storage.ranged-read": ranged_read,
    "storage.ranges-with-etag": ranges_with_etag,
    "storage.lease": lease,
    "storage.version-id": version_id,
    "storage.soft-delete": soft_delete,
}
