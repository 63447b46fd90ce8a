"""Slow, independent statements of what the product computes fast; they share no code with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_FIXED_FROM = Decimal("0.00001")  # smaller fractions are written with an exponent


def canonical(value: Any) -> str:
    """The canonical text by the letter of the design, digit by digit."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return format(Decimal(value), "f")
    if isinstance(value, float):
        return _number(Decimal(repr(value)), exact=Decimal(value))
    if isinstance(value, list):
        return "[" + ",".join(canonical(member) for member in value) + "]"
    members = sorted(value.items(), key=lambda item: [ord(c) for c in item[0]])
    return "{" + ",".join(f"{_text(k)}:{canonical(v)}" for k, v in members) + "}"


def _text(text: str) -> str:
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    point = ord(character)
    if point < 0x20 or character in '"\\':
        return _SHORT.get(character, f"\\u{point:04x}")
    return f"\\u{point:04x}" if 0xD800 <= point <= 0xDFFF else character


def _number(shortest: Decimal, *, exact: Decimal) -> str:
    if exact == exact.to_integral_value():
        return format(abs(exact) if exact == 0 else exact.to_integral_value(), "f")
    if abs(shortest) >= _FIXED_FROM:
        return format(shortest, "f")
    sign, digits, exponent = shortest.normalize().as_tuple()
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    power = int(exponent) + len(digits) - 1
    return f"{'-' if sign else ''}{first}{'.' if rest else ''}{rest}e{power}"


def merkle(leaves: Sequence[bytes]) -> bytes:
    """The tree of RFC 6962, by its recursive definition."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + merkle(leaves[:half]) + merkle(leaves[half:])).digest()
