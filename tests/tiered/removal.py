"""The steps of a retirement over any ports, for tests of what reads and writes afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from shared.application.bundle import Ports
from shared.domain.pointers import Key, Pointer, pointer_to, with_pointer
from shared.domain.receipt import RECEIPTS, Promise, Row, read_receipt
from shared.domain.spec import MigrationSpec, parse_spec
from shared.ports import Archive, Fate


def pointers_of(ports: Ports, name: str) -> dict[Key, Pointer]:
    """Where each document of a migration's archive lies, by its key."""
    spec = parse_spec(ports.ledger.migration(name).spec_text)
    archive = ports.archives.open(spec.sink.container, spec.sink.prefix)
    promises = [
        read_receipt(each.name, archive.read(each.name) or b"") for each in archive.stored(RECEIPTS)
    ]
    found: dict[Key, Pointer] = {}
    for promise in promises:
        found.update(_pointers_in(ports, archive, promise, spec))
    return found


def removed(ports: Ports, name: str, keys: Mapping[Key, Pointer]) -> list[Key]:
    """Remove as a retirement does: the pointer first, then the very version, else withdrawn."""
    spec = parse_spec(ports.ledger.migration(name).spec_text)
    source = ports.sources.open(spec.source.database, spec.source.container)
    ports.pointers.begin(spec.source.name, 0.0)
    stand = ports.pointers.put(spec.source.name, keys)
    gone = []
    for key in sorted(stand):
        written = source.remove(key, etag=keys[key].etag)
        if written.fate is Fate.DONE:
            gone.append(key)
        else:
            ports.pointers.withdraw(spec.source.name, {key: keys[key]})
    return gone


def stubbed(ports: Ports, name: str, key: Key, pointer: Pointer) -> dict[str, Any]:
    """Put a stub in a document's place; the stub as it then stands."""
    spec = parse_spec(ports.ledger.migration(name).spec_text)
    source = ports.sources.open(spec.source.database, spec.source.container)
    stands = source.find(key).document or {}
    kept = {field: stands[field] for field in ("id", *_fields(spec)) if field in stands}
    source.replace(key, with_pointer(kept, pointer), etag=pointer.etag)
    return dict(source.find(key).document or {})


def _fields(spec: MigrationSpec) -> list[str]:
    return [path.strip("/").split("/")[0] for path in spec.source.partition_key]


def _pointers_in(
    ports: Ports, archive: Archive, promise: Promise, spec: MigrationSpec
) -> Iterator[tuple[Key, Pointer]]:
    if promise.blob is None:
        return
    lies_in = f"{spec.sink.container}/{spec.sink.prefix}".rstrip("/")
    with ports.scratch.open() as file:
        archive.download(promise.blob.name, file)
        file.seek(0)
        spans = ports.table_format.spans(file)
    for group, rows in groupby(_rows(ports, archive, promise), lambda row: row.row_group):
        for place, row in enumerate(rows):
            yield (
                row.key,
                pointer_to(row, spans[group], archive=lies_in, blob=promise.blob.name, place=place),
            )


def _rows(ports: Ports, archive: Archive, promise: Promise) -> list[Row]:
    with ports.scratch.open() as file:
        archive.download(promise.manifest.name, file)
        file.seek(0)
        return list(ports.table_format.manifest_rows(file))
