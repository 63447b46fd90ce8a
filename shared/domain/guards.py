"""Guards: the small document that holds a place in the source while a document is brought back.

A document comes back in two writes. First a guard is created where nothing may stand; then, if the
pointer still stands, the guard's very version is replaced by the document. Whoever deletes the
document in between deletes the guard as well, so the second write cannot bring back what is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.domain.pointers import (
    MISSING_VALUE,
    RETURNING,
    Key,
    Pointer,
    key_values,
    with_pointer,
)


def guard_for(key: Key, *, paths: tuple[str, ...], pointer: Pointer) -> dict[str, Any]:
    """A stub with id, partition key and pointer, marked as one that will not stay."""
    kept: dict[str, Any] = {"id": key[1]}
    for path, value in zip(paths, key_values(key), strict=True):
        if value == MISSING_VALUE:
            continue
        *folders, last = path.strip("/").split("/")
        place = kept
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
    return with_pointer(kept, pointer) | {RETURNING: True}


def is_guard(document: Mapping[str, Any]) -> bool:
    return document.get(RETURNING) is True
