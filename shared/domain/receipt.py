"""Rows and receipts: the proof of one slice, and the fingerprint of a migration over them all.

Pure; `tools/audit.py` and people must be able to redo every line of it with SHA-256 alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.merkle import merkle_root
from shared.domain.slices import Extent, FeedRange, Migration, Slice, Stored, Window
from shared.domain.spec import MigrationSpec
from shared.errors import PermanentError

RECEIPT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A manifest row: which document, which version of it, and the digest of its canonical form."""

    id: str
    partition_key: str
    etag: str
    ts: int
    sha256: str
    row_group: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return (self.partition_key, self.id)

    def leaf(self) -> bytes:
        """What the slice's Merkle tree is built over: the row as a JSON list."""
        key, name, etag, sha256 = map(
            encode_basestring_ascii, (self.partition_key, self.id, self.etag, self.sha256)
        )
        return f"[{key},{name},{etag},{self.ts},{sha256}]".encode()


def data_name(spec: MigrationSpec, target: Slice) -> str:
    folder = f"data/{_safe(spec.source.database)}/{_safe(spec.source.container)}"
    return f"{folder}/{target.extent.window.month}/{target.id}.parquet"


def manifest_name(target: Slice) -> str:
    return f"manifests/{target.id}.parquet"


def receipt_name(slice_id: str) -> str:
    return f"receipts/{slice_id}.json"


def staging_name(slice_id: str, fence: int, kind: str) -> str:
    return f"staging/{slice_id}.{fence}.{kind}"


STAGING = "staging/"
INCOMING = "incoming/"
RECEIPTS = "receipts/"
MANIFESTS = "manifests/"
DATA = "data/"
OWNER = "owner.json"
SUMMARY = "migration.json"


def incoming_folder(slice_id: str, fence: int) -> str:
    """Where a run writes; each attempt within it has a file of its own."""
    return f"{INCOMING}{slice_id}.{fence}"


def staged_slice(name: str) -> tuple[str, int] | None:
    """The slice and fence that a staging blob's name tells, or None for a foreign name."""
    parts = name.removeprefix(STAGING).split(".")
    if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit()):  # noqa: PLR2004 - slice, fence, kind
        return None
    return parts[0], int(parts[1])


def incoming_slice(name: str) -> tuple[str, int] | None:
    """The slice and fence of the folder that a run's file lies in, or None for a foreign name."""
    folder, found, _file = name.removeprefix(INCOMING).partition("/")
    slice_id, _, fence = folder.rpartition(".")
    if not (found and slice_id and fence.isascii() and fence.isdigit()):
        return None
    return slice_id, int(fence)


def _safe(name: str) -> str:
    """A database or container name as one path segment."""
    return "".join(c if c.isalnum() or c in "-_." else f"%{ord(c):02X}" for c in name)


def build_receipt(
    spec: MigrationSpec, migration: Migration, target: Slice, *, validated_at_s: float
) -> bytes:
    """The receipt of a slice whose staged blob was just validated; same input, same bytes."""
    staged = target.staged
    if staged is None:
        raise PermanentError(f"cannot write a receipt for slice {target.id}: nothing is staged")
    extent = target.extent
    body = {
        "ebb_receipt": RECEIPT_VERSION,
        "migration": {"name": migration.name, "uid": migration.uid},
        "source": {
            "account": spec.source.account,
            "database": spec.source.database,
            "container": spec.source.container,
            "partition_key": list(spec.source.partition_key),
            "where": spec.cold_where,
        },
        "slice": target.id,
        "window": {"lo": extent.window.lo_s, "hi": extent.window.hi_s},
        "range": {"id": extent.range.id, "token": extent.range.token},
        "ids": {"lo": extent.id_lo, "hi": extent.id_hi},
        "documents": staged.documents,
        "document_bytes": staged.document_bytes,
        "counts": {
            "before": staged.count_before,
            "read": staged.rows_read,
            "after": staged.count_after,
        },
        "superseded": {"count": staged.superseded, "ids": list(staged.superseded_ids)},
        "merkle_root": staged.merkle_root,
        "blob": _named(staged.blob, data_name(spec, target)),
        "manifest": _named(staged.manifest, manifest_name(target)),
        "engine": spec.engine,
        "fence": target.fence,
        "ru_spent": round(staged.ru_spent, 2),
        "validated_at_s": round(validated_at_s, 3),
    }
    return json.dumps(body, indent=1, sort_keys=True).encode()


def _named(stored: Stored | None, name: str) -> dict[str, Any] | None:
    if stored is None:
        return None
    return {"name": name, "bytes": stored.size_bytes, "sha256": stored.sha256}


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a receipt says must stand in the archive."""

    slice_id: str
    extent: Extent
    fence: int
    migration_uid: str
    receipt_sha256: str
    documents: int
    document_bytes: int
    superseded: int
    merkle_root: str
    blob: Stored | None
    manifest: Stored
    validated_at_s: float


class _Form(BaseModel):
    """What a receipt must look like; facts beyond these are for people."""

    model_config = ConfigDict(strict=True, frozen=True)


class _NamedBlob(_Form):
    name: str
    bytes: int = Field(ge=0)
    sha256: str


class _Owner(_Form):
    uid: str


class _Window(_Form):
    lo: int
    hi: int


class _Range(_Form):
    id: str
    token: str


class _Ids(_Form):
    lo: str | None
    hi: str | None


class _Superseded(_Form):
    count: int = Field(ge=0)


class _Receipt(_Form):
    ebb_receipt: Literal[1]
    migration: _Owner
    slice: str
    window: _Window
    range: _Range
    ids: _Ids
    fence: int = Field(ge=0)
    documents: int = Field(ge=0)
    document_bytes: int = Field(ge=0)
    superseded: _Superseded
    merkle_root: str
    blob: _NamedBlob | None
    manifest: _NamedBlob
    validated_at_s: float


def read_receipt(name: str, data: bytes) -> Promise:
    """Parse a receipt; a malformed or misplaced one is a PermanentError that names it."""
    try:
        form = _Receipt.model_validate(json.loads(data))
        extent = _extent(form)
    except (ValueError, RecursionError) as error:
        raise _altered(name, type(error).__name__) from error
    if (extent.slice_id, receipt_name(form.slice)) != (form.slice, name):
        raise _altered(name, f"it speaks of slice {form.slice!r}, and name or extent of another")
    return Promise(
        slice_id=form.slice,
        extent=extent,
        fence=form.fence,
        migration_uid=form.migration.uid,
        receipt_sha256=hashlib.sha256(data).hexdigest(),
        documents=form.documents,
        document_bytes=form.document_bytes,
        superseded=form.superseded.count,
        merkle_root=form.merkle_root,
        blob=None if form.blob is None else _stored(form.blob),
        manifest=_stored(form.manifest),
        validated_at_s=form.validated_at_s,
    )


def _altered(name: str, seen: str) -> PermanentError:
    return PermanentError(
        f"cannot read receipt {name}: {seen}; it was altered or is not Ebb's — restore it from "
        "the blob's versions"
    )


def _extent(form: _Receipt) -> Extent:
    base, mark, part = form.slice.rpartition("-p")
    return Extent(
        window=Window(lo_s=form.window.lo, hi_s=form.window.hi),
        range=FeedRange(id=form.range.id, token=form.range.token),
        id_lo=form.ids.lo,
        id_hi=form.ids.hi,
        part=int(part) if base and mark and part.isdigit() and part.isascii() else None,
    )


def _stored(blob: _NamedBlob) -> Stored:
    return Stored(name=blob.name, size_bytes=blob.bytes, sha256=blob.sha256)


def fingerprint(receipts: Iterable[tuple[str, str]]) -> str:
    """The Merkle root over slice ids and their receipts' SHA-256: 32 bytes for a migration."""
    return merkle_root(fingerprint_leaves(receipts))


def fingerprint_leaves(receipts: Iterable[tuple[str, str]]) -> list[bytes]:
    return [f"{slice_id}:{sha256}".encode() for slice_id, sha256 in sorted(receipts)]
