"""The canonical form of a document: one sequence of bytes for all spellings of the same value.

Keys sorted by code point, no insignificant whitespace, numbers by value, strings as they are;
system properties left out. orjson writes it where orjson is exact, a checked slow path elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from shared.errors import Uncanonical

SYSTEM_PROPERTIES = frozenset({"_rid", "_self", "_attachments", "_etag", "_ts"})
DEPTH_MAX = 200  # Cosmos accepts 128 levels; orjson's own limit is 254
EXACT_INT_MAX = 2**53
_ORJSON_INT_MAX = 2**63 - 1
_SURROGATES = frozenset(map(chr, range(0xD800, 0xE000)))
_PLAIN = frozenset({str, bool, type(None)})


def digest(canonical: bytes) -> str:
    return hashlib.sha256(canonical).hexdigest()


def canonical_document(document: Mapping[str, Any]) -> bytes:
    """A source document's canonical bytes, without its system properties."""
    kept = {key: value for key, value in document.items() if key not in SYSTEM_PROPERTIES}
    return canonical_bytes(kept)


def canonical_bytes(value: Any) -> bytes:
    """The canonical bytes of any JSON value; Uncanonical says what has none."""
    if not _needs_care(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            pass  # a lone surrogate or great depth: the slow path handles or names it
    return "".join(_written(value, depth=0)).encode()


def partition_key_text(document: Mapping[str, Any], paths: tuple[str, ...]) -> str:
    """The document's partition key as a JSON list; a missing part is written `{}`."""
    return canonical_bytes([_at(document, path) for path in paths]).decode()


def _at(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for part in path.strip("/").split("/"):
        if not isinstance(value, Mapping) or part not in value:
            return {}
        value = value[part]
    return value


def value_at(document: Mapping[str, Any], path: str) -> Any:
    """The value a path leads to, or None; for promoted columns."""
    found = _at(document, path)
    return None if found == {} else found


def _needs_care(root: Any) -> bool:
    """Whether orjson would not write the value as the canonical form has it.

    That is so for whole floats, great integers, and what is nested too deep to be accepted.

    The types of a container's members are gathered in one C-speed pass, so that text-heavy
    documents cost almost nothing.
    """
    waiting = [(root, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict):
            members: Any = value.values()
        elif isinstance(value, list):
            members = value
        elif _odd_number(value):
            return True
        else:
            continue
        if depth > DEPTH_MAX:
            return True
        kinds = set(map(type, members))
        if kinds <= _PLAIN:
            continue
        for member in members:
            kind = type(member)
            if kind is dict or kind is list:
                waiting.append((member, depth + 1))
            elif kind not in _PLAIN and _odd_number(member):
                return True
    return False


def _odd_number(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value) or value.is_integer()
    if isinstance(value, int):
        return not -_ORJSON_INT_MAX <= value <= _ORJSON_INT_MAX
    return not isinstance(value, str | None)


def _written(value: Any, *, depth: int) -> Iterator[str]:
    if depth > DEPTH_MAX:
        raise Uncanonical(f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, dict):
        yield "{"
        for index, key in enumerate(sorted(value)):
            yield f"{',' if index else ''}{_string(key)}:"
            yield from _written(value[key], depth=depth + 1)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for index, member in enumerate(value):
            if index:
                yield ","
            yield from _written(member, depth=depth + 1)
        yield "]"
    else:
        yield _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    raise Uncanonical(f"a value of type {type(value).__name__} is not JSON")


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise Uncanonical(f"a number that became {value}: it is outside the range of a double")
    if value.is_integer():
        return str(int(value))
    return orjson.dumps(value).decode()


def _string(text: str) -> str:
    try:
        return orjson.dumps(text).decode()
    except orjson.JSONEncodeError:  # lone surrogates: escaped, as UTF-8 cannot hold them
        parts = (
            json.dumps(c) if c in _SURROGATES else '"' + orjson.dumps(c).decode()[1:] for c in text
        )
        return '"' + "".join(part[1:-1] for part in parts) + '"'
