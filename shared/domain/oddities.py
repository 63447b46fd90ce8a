"""What is unusual about a document: its size, its id, its numbers, its depth, its form.

Most of it harms nothing and is worth knowing before a migration; what has no canonical form stops
its slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.domain.addresses import why_unaddressable
from shared.domain.canonical import canonical_document
from shared.errors import Uncanonical

LARGE_BYTES = 1_000_000  # half of what Cosmos DB accepts
DEEP = 32  # levels; a quarter of what Cosmos DB accepts
EXACT_MAX = 2**53  # beyond it a double, and so most readers of JSON, is no longer exact
ODD_IN_IDS = frozenset('"\x7f') | frozenset(map(chr, range(32)))


class Oddity(StrEnum):
    LARGE = "larger than 1 MB"
    UNADDRESSABLE = "an id that no request can name"
    ODD_ID = "an id with characters that addresses and paths trip over"
    GREAT_NUMBER = "a number beyond 2^53"
    DEEP = "nested deeper than 32 levels"
    UNCANONICAL = "no canonical form"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """One document of a sample."""

    id: str
    size_bytes: int
    canonical: bytes
    oddities: frozenset[Oddity]


def weigh(document: Mapping[str, Any]) -> Weighed:
    name = str(document.get("id"))
    oddities = set(_of_values(document))
    if why_unaddressable(("[]", name)):
        oddities.add(Oddity.UNADDRESSABLE)
    elif not name.isascii() or ODD_IN_IDS & set(name) or name != name.strip():
        oddities.add(Oddity.ODD_ID)
    try:
        canonical = canonical_document(document)
    except Uncanonical:
        canonical = b""
        oddities.add(Oddity.UNCANONICAL)
    if len(canonical) > LARGE_BYTES:
        oddities.add(Oddity.LARGE)
    return Weighed(
        id=name, size_bytes=len(canonical), canonical=canonical, oddities=frozenset(oddities)
    )


def _of_values(document: Mapping[str, Any]) -> Iterator[Oddity]:
    """Level by level, so that no depth is too deep to be looked at."""
    level: list[Any] = [document]
    depth = 0
    while level:
        if any(_is_great(value) for value in level):
            yield Oddity.GREAT_NUMBER
        level = [member for value in level for member in _members(value)]
        depth += any(isinstance(each, Mapping | list) for each in level)
        if depth >= DEEP:
            yield Oddity.DEEP


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _is_great(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) > EXACT_MAX
