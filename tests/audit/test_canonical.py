"""The auditor's own canonical form and tree, held against the product's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.domain.canonical import canonical_bytes, partition_key_text
from shared.errors import Uncanonical
from tests.property import reference
from tests.property.drawing import EDGE_FLOATS, EDGE_INTS, EDGE_KEYS, keys, trees
from tools import audit

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "canonical.json").read_bytes())
ALL_EDGES: list[Any] = [*EDGE_FLOATS, *EDGE_INTS, *EDGE_KEYS, None, True, False, [], {}]
laws = settings(max_examples=150, derandomize=True, database=None, deadline=None)


def written(value: Any) -> bytes:
    return audit.storable(audit.canonical(value))


@laws
@given(trees)
@example(ALL_EDGES)
@example(dict.fromkeys(EDGE_KEYS, 0.5))
def test_both_write_the_same_canonical_form(value: Any) -> None:
    """Two implementations that share no code agree on every JSON value."""
    assert written(value) == canonical_bytes(value)
    assert written(json.loads(canonical_bytes(value))) == canonical_bytes(value)


@laws
@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e-5)
@example(9.999999999999999e-6)
@example(1.0000000000000001e-4)
def test_both_write_the_same_doubles(value: float) -> None:
    """Whole numbers in full, others by the shortest digits, exponents from 1e-6 down."""
    assert written([value]) == canonical_bytes([value])


@laws
@given(trees)
@example([1e23, 0.00001234, -1.0])
def test_other_spellings_are_told_from_the_canonical_one(value: Any) -> None:
    """What json.dumps writes is accepted only where it happens to be canonical."""
    spelled = json.dumps(value).encode()
    assert (written(json.loads(spelled)) == spelled) == (canonical_bytes(value) == spelled)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: each["name"])
def test_every_pinned_vector_holds_here_too(vector: dict[str, Any]) -> None:
    """The vectors that may never change, and the values that have no form."""
    if vector["canonical"] is None:
        with pytest.raises(ValueError, match=r"double|deeper"):
            written(json.loads(vector["json"]))
        return
    assert written(json.loads(vector["json"])).decode() == vector["canonical"]


@pytest.mark.parametrize("levels", [199, 200, 201])
def test_both_allow_the_same_depth(levels: int) -> None:
    """Two hundred levels, and not one more."""
    value: Any = json.loads("[" * levels + "1" + "]" * levels)
    if levels <= 200:
        assert written(value) == canonical_bytes(value)
        return
    with pytest.raises(Uncanonical):
        canonical_bytes(value)
    with pytest.raises(ValueError, match="deeper"):
        audit.canonical(value)


@laws
@given(st.dictionaries(keys, trees, max_size=4), st.lists(keys, min_size=1, max_size=3))
def test_both_read_the_same_partition_key(document: dict[str, Any], names: list[str]) -> None:
    """Nested paths, missing parts and values of any type."""
    paths = tuple(f"/{name.replace('/', '')}/{name.replace('/', '')}" for name in names)
    own = audit.canonical([audit.value_at(document, path) for path in paths])
    assert audit.storable(own).decode() == partition_key_text(document, paths)


@laws
@given(st.lists(st.binary(max_size=4), max_size=70))
def test_the_tree_is_the_one_of_its_definition(leaves: list[bytes]) -> None:
    """Joined as they come, or split by the recursive definition: one root."""
    tree = audit.Tree()
    for leaf in leaves:
        tree.add(leaf)
    assert tree.root() == reference.merkle(leaves).hex()
