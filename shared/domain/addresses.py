"""Which documents a request can name; the others are reached by queries alone.

An id is a segment of an address there, and a partition key a list of plain values.
"""

from __future__ import annotations

import re
from typing import Any

from shared.domain.pointers import MISSING_VALUE, Key, key_values

_ENDS_OR_LEADS_ELSEWHERE = re.compile(r"[/\\?#\t\r\n]|^\.{0,2}$| $")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def why_unaddressable(key: Key) -> str:
    """Empty where a request can name the document; nothing of the key is told."""
    if _ENDS_OR_LEADS_ELSEWHERE.search(key[1]) or _LONE_SURROGATE.search(key[1]):
        return (
            "its id cannot be part of an address (it has a slash, backslash, question mark, hash, "
            "tab or line break, ends with a blank, is made of dots, or is no valid text)"
        )
    if not all(map(_is_plain, key_values(key))):
        return (
            "its partition key is an object, a list or no valid text, by which no document can be "
            "addressed"
        )
    return ""


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return not _LONE_SURROGATE.search(value)
    return value == MISSING_VALUE or not isinstance(value, dict | list)
