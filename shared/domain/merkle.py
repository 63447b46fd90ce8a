"""The hash tree behind every proof: its root, and the few hashes that tie one leaf to it.

Pure; anyone can redo every line with SHA-256 alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

EMPTY_ROOT = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One level on the way up: the other node, and on which side it stands."""

    other: str
    on_left: bool


def merkle_root(leaves: Iterable[bytes]) -> str:
    """SHA-256 tree: leaf = H(0x00 + data), node = H(0x01 + left + right), an odd one moves up."""
    level = [leaf_hash(leaf) for leaf in leaves]
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        level = _level_above(level)
    return level[0].hex()


class GrowingTree:
    """The same root at any size while leaves are added; it keeps one node for each level.

    Joining two neighbouring subtrees of one size as soon as both are whole pairs the same nodes.
    """

    def __init__(self) -> None:
        self._subtrees: list[tuple[int, bytes]] = []

    def add(self, leaf: bytes) -> None:
        size, node = 1, leaf_hash(leaf)
        while self._subtrees and self._subtrees[-1][0] == size:
            node = node_hash(self._subtrees.pop()[1], node)
            size *= 2
        self._subtrees.append((size, node))

    def root(self) -> str:
        if not self._subtrees:
            return EMPTY_ROOT
        _, root = self._subtrees[-1]
        for _, node in reversed(self._subtrees[:-1]):
            root = node_hash(node, root)
        return root.hex()


def inclusion(leaves: Iterable[bytes], index: int) -> tuple[Step, ...]:
    """The steps from the leaf at `index` up to the root."""
    level = [leaf_hash(leaf) for leaf in leaves]
    if not 0 <= index < len(level):
        raise IndexError(f"leaf {index} of a tree of {len(level)}")
    steps = []
    while len(level) > 1:
        other = index ^ 1
        if other < len(level):
            steps.append(Step(other=level[other].hex(), on_left=other < index))
        level = _level_above(level)
        index //= 2
    return tuple(steps)


def climbed(leaf: bytes, steps: Iterable[Step]) -> str:
    """The root that a leaf and its steps lead to."""
    node = leaf_hash(leaf)
    for step in steps:
        other = bytes.fromhex(step.other)
        node = node_hash(other, node) if step.on_left else node_hash(node, other)
    return node.hex()


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _level_above(level: list[bytes]) -> list[bytes]:
    above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        above.append(level[-1])
    return above
