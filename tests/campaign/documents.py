"""Documents of every shape from a seed, as a Cosmos DB container would give them.

Nothing is drawn that JSON text could not say.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from tests.property.drawing import EDGE_FLOATS, EDGE_INTS, EDGE_KEYS

Body = dict[str, Any]

WORDS = (
    "order", "", "é", "e\u0301", "\x00", "\x1f\x7f", "\u2028\u2029", "\ufeff", "\U0001f600",
    "\ud800", "a\udfffb", "\\ud800", '"', "\\", "a/b",
    "2024-01-01T00:00:00Z", "null", "1", "\uff26",
)  # fmt: skip
DATES = ("2024-01-01T00:00:00Z", "2024-02-29T23:59:59.9999999Z", "2024-12-31T00:00:00.000Z")
LEVELS_MAX = 198  # the document itself and an empty innermost one make it 200, the limit
LARGE_CHARS = (20_000, 300_000)
WIDE_MEMBERS = 400
ID_CHARS_MAX = 255


def body_of(rng: Random, shape: str) -> Body:
    """What the business stored, once through JSON text as the network would have it."""
    parsed: Body = json.loads(json.dumps(SHAPES[shape](rng)))
    return parsed


def identifier(rng: Random, number: int) -> str:
    """Unique by its number; Cosmos DB forbids a few characters in ids and no others."""
    drawn = rng.random()
    if drawn < 0.8:
        return f"doc-{number:06d}"
    if drawn < 0.83:
        return f"{number:06d}-" + "x" * (ID_CHARS_MAX - 7)
    decoration = rng.choice(["é", "e\u0301", "\U0001f600", "\ud800", "'", '"', " ", "%41", "\x00"])
    return f"{decoration}{number:06d}"


def key_part(rng: Random) -> Any:
    """A partition key's value of any type Cosmos DB takes."""
    if rng.random() < 0.7:
        return f"c{rng.randrange(9)}"
    return rng.choice(["", "é", "\ud800", "5", 5, 5.5, -0.0, 2**53, True, False, None])


def number(rng: Random) -> Any:
    drawn = rng.random()
    if drawn < 0.4:
        return rng.choice(EDGE_FLOATS)
    if drawn < 0.8:
        return rng.choice(EDGE_INTS)
    return rng.choice([rng.random(), rng.getrandbits(70), rng.uniform(-1e12, 1e12)])


def scalar(rng: Random) -> Any:
    drawn = rng.random()
    if drawn < 0.4:
        return number(rng)
    if drawn < 0.8:
        return rng.choice(WORDS)
    return rng.choice([None, True, False, {}, []])


def tree(rng: Random, levels: int) -> Any:
    if levels == 0 or rng.random() < 0.4:
        return scalar(rng)
    if rng.random() < 0.5:
        return [tree(rng, levels - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(EDGE_KEYS): tree(rng, levels - 1) for _ in range(rng.randrange(4))}


def order(rng: Random) -> Body:
    """Something of everything that a careless engine rewrites."""
    body: Body = {
        "created": rng.choice(DATES),
        "total": rng.choice([1, 1.0, 9.9, rng.random()]),
        "big": rng.choice([2**53 + 1, 9007199254740993, 2**63 + 1, 7]),
        "note": rng.choice([None, "", "é", "plain"]),
        "more": rng.choice([{}, [], None, {"a": None}]),
        "lines": [{"n": n, "sku": f"s{rng.randrange(99)}"} for n in range(rng.randrange(4))],
    }
    if rng.random() < 0.3:
        body[f"late{rng.randrange(3)}"] = rng.randrange(10)
    return body


def mixed(rng: Random) -> Body:
    return {rng.choice(EDGE_KEYS): tree(rng, 3) for _ in range(rng.randrange(6))}


def numbers(rng: Random) -> Body:
    return {"n": [number(rng) for _ in range(12)], "total": number(rng)}


def text(rng: Random) -> Body:
    return {rng.choice(EDGE_KEYS): "".join(rng.choices(WORDS, k=4)) for _ in range(6)}


def deep(rng: Random) -> Body:
    """Down to the last level that has a canonical form, of lists, objects or both."""
    inner = scalar(rng)
    levels = rng.choice([LEVELS_MAX, rng.randrange(1, LEVELS_MAX), 126])
    kinds = rng.choice(["l", "o", "lo"])
    for level in range(levels):
        inner = [inner] if kinds[level % len(kinds)] == "l" else {"k": inner}
    return {"v": [inner]} if levels < LEVELS_MAX else {"v": inner}


def wide(rng: Random) -> Body:
    return {f"{rng.choice(EDGE_KEYS)}{n}": scalar(rng) for n in range(WIDE_MEMBERS)}


def large(rng: Random) -> Body:
    filling = rng.randbytes(rng.choice(LARGE_CHARS) // 2).hex()
    return {"filling": filling, "created": rng.choice(DATES)}


def bare(rng: Random) -> Body:
    return {}


SHAPES: dict[str, Callable[[Random], Body]] = {
    "order": order,
    "mixed": mixed,
    "numbers": numbers,
    "text": text,
    "deep": deep,
    "wide": wide,
    "large": large,
    "bare": bare,
}
