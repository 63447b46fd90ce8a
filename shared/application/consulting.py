"""Consulting the archive about one document: where it lies, how it stands, and its checked bytes.

The index is asked first; where nothing points to the document, the manifests are searched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

from shared.application.bundle import Ports
from shared.application.ownership import check_account
from shared.application.proving import Proving
from shared.application.retrieving import Retrieving
from shared.domain.canonical import canonical_bytes, storable
from shared.domain.pointers import Key, Pointer
from shared.domain.spec import MigrationSpec, parse_spec
from shared.errors import Refused


class Standing(StrEnum):
    """Who answers for an archived document."""

    REMOVED = "removed"
    """Ebb removed it: the archive answers."""
    DELETED = "deleted"
    """Its owner deleted or replaced it since, or it was restored: nobody answers for it."""
    ARCHIVED = "archived"
    """Nothing points to it: the source answers, by the document itself or a stub."""
    ELSEWHERE = "elsewhere"
    """Ebb removed it for another migration: that one's archive answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consulted:
    """One archived version; its bytes have the digest that the index or the manifest names."""

    key: Key
    sha256: str
    etag: str
    ts: int
    blob: str
    standing: Standing
    document: bytes
    pointer: Pointer | None = None
    """As it stands in the index; None where the manifests told."""
    answering: str = ""
    """Another archive that answers for the document, as container/prefix."""

    @property
    def slice_id(self) -> str:
        return self.blob.rpartition("/")[2].removesuffix(".parquet")

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": self.key[1],
            "partition_key": json.loads(self.key[0]),
            "sha256": self.sha256,
            "digest_checked": True,
            "etag": self.etag,
            "ts": self.ts,
            "standing": self.standing.value,
            "answering": self.answering,
            "found_by": "manifest" if self.pointer is None else "index",
            "blob": self.blob,
            "slice": self.slice_id,
            "document": json.loads(self.document),
        }


class Consulting:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def run(self, name: str, document_id: str, partition_key: tuple[str, ...]) -> Consulted:
        spec = parse_spec(self._ports.ledger.migration(name).spec_text)
        check_account(self._ports, spec)
        pointed = self._pointed(spec, document_id, partition_key)
        if len(pointed) > 1:
            raise Refused(
                f"looking up {document_id!r}: {len(pointed)} documents are meant, whose keys "
                "differ only in type; write the key as JSON, such as --pk '\"5\"' for text"
            )
        for key, pointer in pointed.items():
            return self._by_pointer(key, pointer)
        return self._by_manifest(name, spec, document_id, partition_key)

    def _pointed(
        self, spec: MigrationSpec, document_id: str, partition_key: tuple[str, ...]
    ) -> dict[Key, Pointer]:
        keys = [(text, storable(document_id)) for text in keys_meant(partition_key)]
        found = {key: self._ports.pointers.find(spec.source.name, key) for key in keys}
        return {
            key: pointer
            for key, pointer in found.items()
            if pointer is not None and pointer.archive == spec.sink.place and pointer.leads
        }

    def _by_pointer(self, key: Key, pointer: Pointer) -> Consulted:
        retrieving = Retrieving(self._ports.archives, self._ports.table_format)
        return Consulted(
            key=key,
            sha256=pointer.sha256,
            etag=pointer.etag,
            ts=pointer.ts,
            blob=pointer.blob,
            standing=Standing.DELETED if pointer.deleted else Standing.REMOVED,
            document=retrieving.document(pointer),
            pointer=pointer,
        )

    def _by_manifest(
        self, name: str, spec: MigrationSpec, document_id: str, partition_key: tuple[str, ...]
    ) -> Consulted:
        proof = Proving(self._ports).run(name, document_id, partition_key)
        points = self._ports.pointers.find(spec.source.name, proof.row.key)
        answering = points.archive if points is not None and points.answers else ""
        return Consulted(
            key=proof.row.key,
            sha256=proof.row.sha256,
            etag=proof.row.etag,
            ts=proof.row.ts,
            blob=proof.blob_name,
            standing=Standing.ELSEWHERE if answering else Standing.ARCHIVED,
            document=proof.document,
            answering=answering,
        )


def keys_meant(words: tuple[str, ...]) -> Iterator[str]:
    """Every partition key a person may mean: each word as text, and as JSON where it is some."""
    for values in product(*(_meant(word) for word in words)):
        yield canonical_bytes(list(values)).decode()


def _meant(word: str) -> list[Any]:
    try:
        value = json.loads(word)
    except ValueError:
        return [word]
    if isinstance(value, list) or (isinstance(value, dict) and value):
        return [word]
    return [value] if isinstance(value, str) else [word, value]
