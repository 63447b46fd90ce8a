"""Decides which physical partition a key lives in, by Cosmos DB's own hash; holds no documents."""

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from azure.cosmos.partition_key import PartitionKey

# The V2 hash has its two top bits cleared, so all keys lie below 0x40: bounds over 00..FF would
# leave three quarters of the partitions empty.
_HASH_SPAN = 0x40 << 56
_BOUND_DIGITS = 16
_SEPARATOR = "~p"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRange:
    """The effective partition keys of one physical partition: min included, max not."""

    id: str
    min_inclusive: str
    max_exclusive: str


def key_ranges(count: int) -> list[KeyRange]:
    """Split the effective partition keys evenly into so many ranges."""
    bounds = ["", *(f"{_HASH_SPAN * i // count:0{_BOUND_DIGITS}X}" for i in range(1, count)), "FF"]
    return [
        KeyRange(id=str(i), min_inclusive=low, max_exclusive=high)
        for i, (low, high) in enumerate(pairwise(bounds))
    ]


def partition_of(key_json: str, *, kind: str, version: int, count: int) -> int:
    """Return the index of the partition of a key, given as the header has it: '["a"]'."""
    return 0 if count == 1 else _partition_of(key_json, kind, version, count)


# The SDK's hash is pure Python, about 0.2 ms a key.
@lru_cache(maxsize=100_000)
def _partition_of(key_json: str, kind: str, version: int, count: int) -> int:
    components = json.loads(key_json)
    hashed = PartitionKey._get_hashed_partition_key_string(components, kind, version)  # noqa: SLF001
    effective = str(hashed).upper() if components else ""
    for index, bounds in enumerate(key_ranges(count)):
        if effective < bounds.max_exclusive:
            return index
    return count - 1


def backing_name(container: str, partition: int) -> str:
    """Return the name of the collection that holds one physical partition of a container."""
    return container if partition == 0 else f"{container}{_SEPARATOR}{partition}"


def is_backing_only(name: str) -> bool:
    """Whether a collection exists only behind the meter and no client may see it."""
    return _SEPARATOR in name
