"""Slow, independent statements of what the product computes fast; they share no code with it.

Nor with what it is built on: JSON is read here character by character, and the shortest digits of
a double are found by exact fractions.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
_SHORT_READ = {escape[1]: character for character, escape in _SHORT.items()} | {"/": "/"}
_FIXED_FROM = Decimal("0.00001")  # smaller fractions are written with an exponent
_SYSTEM = ("_rid", "_self", "_attachments", "_etag", "_ts")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_HIGH, _LOW, _END = 0xD800, 0xDC00, 0xE000  # where the surrogates begin, turn and end
_LEVELS_MAX = 200
_DIGITS_MAX = 17  # no two doubles share their first seventeen


class NoForm(ValueError):
    """The text is no JSON, is nested too deeply, or holds a number that no double comes near."""


def text(source: str) -> str:
    """The canonical text of what a source text says."""
    return canonical(parse(source))


def document_text(source: str) -> str:
    """The same of a document, whose own system properties are left out."""
    return canonical({key: value for key, value in parse(source).items() if key not in _SYSTEM})


def canonical(value: Any, *, level: int = 0) -> str:
    """The canonical text by the letter of the design, digit by digit."""
    if level == _LEVELS_MAX and isinstance(value, list | dict):
        raise NoForm(f"nested deeper than {_LEVELS_MAX} levels")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return format(Decimal(value), "f")
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return "[" + ",".join(canonical(member, level=level + 1) for member in value) + "]"
    members = sorted(value.items(), key=lambda item: [ord(c) for c in item[0]])
    written = (f"{_text(key)}:{canonical(member, level=level + 1)}" for key, member in members)
    return "{" + ",".join(written) + "}"


def _text(text: str) -> str:
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    point = ord(character)
    if point < 0x20 or character in '"\\':
        return _SHORT.get(character, f"\\u{point:04x}")
    return f"\\u{point:04x}" if 0xD800 <= point <= 0xDFFF else character


def _number(value: float) -> str:
    exact = Decimal(value)
    if exact == exact.to_integral_value():
        return format(abs(exact) if exact == 0 else exact.to_integral_value(), "f")
    written = shortest(value)
    if abs(written) >= _FIXED_FROM:
        return format(written, "f")
    sign, digits, exponent = written.normalize().as_tuple()
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    power = int(exponent) + len(digits) - 1
    return f"{'-' if sign else ''}{first}{'.' if rest else ''}{rest}e{power}"


def shortest(value: float) -> Decimal:
    """The fewest digits that no other double is as near to; of those the nearest, or the even.

    Of a double that is not zero.
    """
    exact, unit_in_last_place = Fraction(abs(value)), Fraction(math.ulp(value))
    below = Fraction(math.nextafter(abs(value), 0.0))
    low, high = (below + exact) / 2, exact + unit_in_last_place / 2
    is_even = exact / unit_in_last_place % 2 == 0
    power = _digits_before_the_point(exact)
    for digits in range(1, _DIGITS_MAX + 1):
        step = Fraction(10) ** (power - digits)
        around = (exact // step, exact // step + 1)
        for count in sorted(around, key=lambda n: (abs(n * step - exact), n % 2)):
            if low < count * step < high or (is_even and count * step in {low, high}):
                return Decimal(f"{'-' if value < 0 else ''}{count}e{power - digits}")
    raise AssertionError(f"{value!r} has no {_DIGITS_MAX} digits of its own")


def _digits_before_the_point(value: Fraction) -> int:
    """Zero or less counts the zeros behind it."""
    power = 0
    while value >= Fraction(10) ** power:
        power += 1
    while value < Fraction(10) ** (power - 1):
        power -= 1
    return power


def parse(text: str) -> Any:
    """A JSON text's value; of doubled keys the last one counts, as in every reader met so far."""
    value, at = _value(text, _past_space(text, 0))
    if _past_space(text, at) != len(text):
        raise NoForm(f"something follows at {at}")
    return value


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _value(text: str, at: int) -> tuple[Any, int]:
    for word, value in (("null", None), ("true", True), ("false", False)):
        if text.startswith(word, at):
            return value, at + len(word)
    opening = text[at : at + 1]
    if opening == '"':
        return _read_text(text, at + 1)
    if opening == "[":
        return _read_list(text, at + 1)
    if opening == "{":
        return _read_object(text, at + 1)
    found = _NUMBER.match(text, at)
    if found is None:
        raise NoForm(f"no value at {at}")
    return _read_number(found), found.end()


def _read_number(found: re.Match[str]) -> int | float:
    """An integer is exact; everything else is the double nearest to it."""
    if found[1] is None and found[2] is None:
        return int(found[0])
    exact = Fraction(found[0])
    try:
        return exact.numerator / exact.denominator
    except OverflowError as error:
        raise NoForm(f"no double is near {found[0]}") from error


def _read_list(text: str, at: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    at = _past_space(text, at)
    while text[at] != "]":
        member, at = _value(text, at)
        found.append(member)
        at = _past_comma(text, at, "]")
    return found, at + 1


def _read_object(text: str, at: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _past_space(text, at)
    while text[at] != "}":
        if text[at] != '"':
            raise NoForm(f"no key at {at}")
        key, at = _read_text(text, at + 1)
        at = _past_space(text, at)
        if text[at] != ":":
            raise NoForm(f"no colon at {at}")
        found[key], at = _value(text, _past_space(text, at + 1))
        at = _past_comma(text, at, "}")
    return found, at + 1


def _past_comma(text: str, at: int, closing: str) -> int:
    at = _past_space(text, at)
    if text[at] == closing:
        return at
    after = _past_space(text, at + 1)
    if text[at] != "," or text[after] == closing:
        raise NoForm(f"neither a comma and more nor an end at {at}")
    return after


def _read_text(text: str, at: int) -> tuple[str, int]:
    points: list[int] = []
    while text[at] != '"':
        point, at = _read_point(text, at)
        if points and _HIGH <= points[-1] < _LOW <= point < _END:
            point = 0x10000 + (points.pop() - _HIGH) * 0x400 + (point - _LOW)
        points.append(point)
    return "".join(map(chr, points)), at + 1


def _read_point(text: str, at: int) -> tuple[int, int]:
    r"""One code point, or half of one: `\ud83d\ude00` is read as two."""
    if text[at] < " ":
        raise NoForm(f"a control character at {at}")
    if text[at] != "\\":
        return ord(text[at]), at + 1
    escape = text[at + 1]
    if escape in _SHORT_READ:
        return ord(_SHORT_READ[escape]), at + 2
    digits = _HEX.match(text, at + 2)
    if escape != "u" or digits is None:
        raise NoForm(f"no escape at {at}")
    return int(digits[0], 16), digits.end()


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
