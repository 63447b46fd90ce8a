"""Spells the key of a document as the index does, from what a caller of azure-cosmos gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from azure.cosmos.partition_key import NonePartitionKeyValue, NullPartitionKeyValue

from shared.domain.canonical import canonical_bytes, partition_key_text, storable
from shared.domain.pointers import MISSING_VALUE, Key, key_values
from shared.errors import Uncanonical


def key_of(item: str, partition_key: Any) -> Key:
    """The partition key as a caller gives it: a value, or a list of them for a hierarchical key."""
    parts = partition_key if _is_many(partition_key) else [partition_key]
    return canonical_bytes([_value(part) for part in parts]).decode(), storable(item)


def key_in(body: Mapping[str, Any], paths: tuple[str, ...]) -> Key:
    """The key that a document's own body tells."""
    return partition_key_text(body, paths), storable(body["id"])


def named_by(body: Any, paths: tuple[str, ...]) -> Key | None:
    """The same where the archive can have it; Cosmos DB alone judges every other body."""
    if not isinstance(body, Mapping) or not isinstance(body.get("id"), str):
        return None
    try:
        return key_in(body, paths)
    except Uncanonical:
        return None


def as_asked(key: Key) -> Any:
    """The partition key as azure-cosmos wants it, which sends a list as it stands."""
    values = key_values(key)
    if len(values) > 1:
        return values
    return NonePartitionKeyValue if values[0] == MISSING_VALUE else values[0]


def id_of(item: str | Mapping[str, Any]) -> str:
    """An archived document has no address of its own, so a document given for its id is its id."""
    return item if isinstance(item, str) else str(item["id"])


def _is_many(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str | bytes)


def _value(part: Any) -> Any:
    """Both spellings of null; whatever else is no scalar stands for a missing one."""
    if part is None or part is NullPartitionKeyValue:
        return None
    if part is NonePartitionKeyValue or not isinstance(part, str | bool | int | float):
        return MISSING_VALUE
    return part


def spelt(key: Key, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What says a hierarchical key with a missing part, of which azure-cosmos would make null.

    It reads a body's key by itself, and null is another key than none.
    """
    values = key_values(key)
    if len(values) == 1 or MISSING_VALUE not in values:
        return {}
    return {"request_options": {**arguments.get("request_options", {}), "partitionKey": values}}
