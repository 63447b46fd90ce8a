"""The canonical form of a document: one sequence of bytes for all spellings of the same value.

Keys sorted by code point, no insignificant whitespace, numbers by value, strings as they are;
system properties left out. orjson writes it where orjson is exact, a checked slow path elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import orjson

from shared.errors import Uncanonical

SYSTEM_PROPERTIES = frozenset({"_rid", "_self", "_attachments", "_etag", "_ts"})
DEPTH_MAX = 200  # Cosmos accepts 128 levels; orjson's own limit is 254
_ORJSON_INT_MAX = 2**63 - 1
_SURROGATES = frozenset(map(chr, range(0xD800, 0xE000)))
_SCALARS = frozenset({str, bool, type(None), int, float})
_KNOWN = _SCALARS | {dict, list}


def digest(canonical: bytes) -> str:
    return hashlib.sha256(canonical).hexdigest()


def canonical_document(document: Mapping[str, Any]) -> bytes:
    """A source document's canonical bytes, without its system properties."""
    kept = {key: value for key, value in document.items() if key not in SYSTEM_PROPERTIES}
    return canonical_bytes(kept)


def canonical_bytes(value: Any) -> bytes:
    """The canonical bytes of any JSON value; Uncanonical says what has none."""
    care = _care(value)
    if care is not Care.WHOLE:
        plain = value if care is Care.NONE else _with_whole_numbers(value)
        try:
            return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            pass  # a lone surrogate: the slow path escapes it
    return "".join(_written(value, depth=0)).encode()


class Care(Enum):
    """How much of a value orjson would not write as the canonical form has it."""

    NONE = "none"
    FLOATS = "floats"
    WHOLE = "whole"


def partition_key_text(document: Mapping[str, Any], paths: tuple[str, ...]) -> str:
    """The document's partition key as a JSON list; a missing part is written `{}`."""
    return canonical_bytes([_at(document, path) for path in paths]).decode()


def storable(text: str) -> str:
    """The text with lone surrogates escaped: a column of UTF-8 cannot hold them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


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


def _care(root: Any) -> Care:
    """Values are looked at a level of nesting at a time: nearly all of it happens at C speed."""
    level = [root]
    care = Care.NONE
    for depth in range(DEPTH_MAX + 1):
        kinds = set(map(type, level))
        known = _KNOWN if depth < DEPTH_MAX else _SCALARS
        if not kinds <= known or (int in kinds and _great_integers(level)):
            return Care.WHOLE
        if float in kinds:
            floats = [value for value in level if type(value) is float]
            if not all(map(math.isfinite, floats)):
                return Care.WHOLE
            if any(map(float.is_integer, floats)):
                care = Care.FLOATS
        deeper: list[Any] = []
        for value in level if dict in kinds or list in kinds else ():
            if type(value) is dict:
                deeper += value.values()
            elif type(value) is list:
                deeper += value
        if not deeper:
            return care
        level = deeper
    return Care.WHOLE


def _great_integers(level: list[Any]) -> bool:
    integers = [value for value in level if type(value) is int]
    return max(integers) > _ORJSON_INT_MAX or min(integers) < -_ORJSON_INT_MAX


def _with_whole_numbers(value: Any) -> Any:
    """A copy in which each float that is a whole number is an integer, small enough for orjson."""
    if type(value) is dict:
        return {key: _with_whole_numbers(member) for key, member in value.items()}
    if type(value) is list:
        return [_with_whole_numbers(member) for member in value]
    if type(value) is float and value.is_integer():
        whole = int(value)
        small = -_ORJSON_INT_MAX <= whole <= _ORJSON_INT_MAX
        return whole if small else orjson.Fragment(str(whole).encode())
    return value


def _written(value: Any, *, depth: int) -> Iterator[str]:
    if depth >= DEPTH_MAX and isinstance(value, dict | list):
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
