"""The canonical form's laws, held against a slow implementation that shares no code with it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.canonical import (
    DEPTH_MAX,
    canonical_bytes,
    canonical_document,
    digest,
    partition_key_text,
)
from shared.errors import Uncanonical
from tests.property import reference
from tests.property.drawing import EDGE_FLOATS, EDGE_INTS, EDGE_KEYS, keys, numbers, scalars, trees

ALL_EDGES: list[Any] = [*EDGE_FLOATS, *EDGE_INTS, *EDGE_KEYS, None, True, False, [], {}]


def same(left: Any, right: Any) -> bool:
    """Equal by value, where a bool is no number and -0 is 0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return bool(left == right)


def shuffled(value: Any, seed: int) -> Any:
    """The same value with its keys in another order at every level."""
    if isinstance(value, list):
        return [shuffled(member, seed) for member in value]
    if isinstance(value, dict):
        order = sorted(value, key=lambda k: hashlib.sha256(f"{seed}{k!r}".encode()).digest())
        return {key: shuffled(value[key], seed) for key in order}
    return value


def nested(levels: int, leaf: Any, *, mapping: bool) -> Any:
    for _ in range(levels):
        leaf = {"k": leaf} if mapping else [leaf]
    return leaf


@given(trees)
@example(ALL_EDGES)
@example(dict.fromkeys(EDGE_KEYS, 1))
@example(dict.fromkeys(EDGE_KEYS, 0.5))
def test_the_canonical_text_is_what_the_slow_reference_writes(value: Any) -> None:
    """Both paths write what a digit by digit implementation writes."""
    assert canonical_bytes(value).decode() == reference.canonical(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_written_as_the_reference_does(value: float) -> None:
    """Shortest digits that read back, and whole numbers in full."""
    assert canonical_bytes([value]).decode() == f"[{reference.canonical(value)}]"
    assert float(canonical_bytes(value)) == value


@given(trees)
@example(ALL_EDGES)
def test_canonical_bytes_read_back_to_the_same_value(value: Any) -> None:
    """Nothing is lost, neither a digit nor a lone surrogate."""
    assert same(json.loads(canonical_bytes(value)), value)


@given(trees)
@example(ALL_EDGES)
@example({"\ud800": ["\udfff\ud800"]})
def test_canonicalising_canonical_bytes_changes_nothing(value: Any) -> None:
    """One value has one sequence of bytes, however often it passes through."""
    once = canonical_bytes(value)
    assert canonical_bytes(json.loads(once)) == once


@given(st.dictionaries(keys, trees, max_size=6), st.integers(0, 1000))
def test_the_order_of_keys_never_matters(value: dict[str, Any], seed: int) -> None:
    """Two writers of one object agree."""
    assert canonical_bytes(shuffled(value, seed)) == canonical_bytes(value)


@given(trees, trees)
def test_only_equal_values_share_their_bytes(left: Any, right: Any) -> None:
    """A digest that matches means a document that matches."""
    assert (canonical_bytes(left) == canonical_bytes(right)) == same(left, right)


@given(st.dictionaries(keys, trees, max_size=4), keys, scalars)
def test_a_scalar_that_changes_changes_the_digest(
    value: dict[str, Any], key: str, scalar: Any
) -> None:
    """Missing, null and every other value are told apart."""
    parsed = json.loads(json.dumps({"key": key, "scalar": scalar}))
    without = {k: v for k, v in value.items() if k != parsed["key"]}
    changed = {**without, parsed["key"]: [parsed["scalar"]]}
    assert digest(canonical_bytes(without)) != digest(canonical_bytes(changed))
    assert digest(canonical_bytes({**without, parsed["key"]: None})) != digest(
        canonical_bytes(without)
    )


@given(
    st.dictionaries(st.sampled_from(["_rid", "_self", "_attachments", "_etag", "_ts"]), trees),
    trees,
)
def test_system_properties_of_a_document_never_matter(system: dict[str, Any], value: Any) -> None:
    """The source rewrites them at will; below the top level they are data."""
    document = {"id": "a", "v": {"_ts": value}}
    assert canonical_document({**system, **document}) == canonical_bytes(document)


@given(numbers, st.sampled_from(["[{}]", "[{}, 1.0]", "[0.5, {}]", "[99999999999999999999, {}]"]))
def test_a_number_is_written_alike_on_both_paths(number: float, around: str) -> None:
    """A neighbour that needs the slow path changes nothing but itself."""
    alone = canonical_bytes(number).decode()
    members = json.loads(around.format(json.dumps(number)))
    assert alone in canonical_bytes(members).decode()[1:-1].split(",")


@pytest.mark.parametrize("mapping", [False, True], ids=["lists", "objects"])
@pytest.mark.parametrize("leaf", ["plain", 0.5, 1.0, 2**63, "\ud800", None], ids=repr)
def test_two_hundred_levels_have_a_canonical_form(leaf: Any, mapping: bool) -> None:  # noqa: FBT001
    """The limit itself is allowed, whatever the innermost value."""
    deep = nested(DEPTH_MAX, leaf, mapping=mapping)
    assert canonical_bytes(deep).decode() == reference.canonical(deep)


@pytest.mark.parametrize("mapping", [False, True], ids=["lists", "objects"])
@pytest.mark.parametrize("leaf", ["plain", 0.5, 1.0, 2**63, "\ud800", None], ids=repr)
@pytest.mark.parametrize("beyond", [1, 54, 5000])
def test_more_than_two_hundred_levels_are_refused(
    leaf: Any,
    mapping: bool,  # noqa: FBT001
    beyond: int,
) -> None:
    """Whether a document is accepted must not depend on which path writes it."""
    with pytest.raises(Uncanonical):
        canonical_bytes(nested(DEPTH_MAX + beyond, leaf, mapping=mapping))


@given(trees, st.sampled_from([float("nan"), float("inf"), float("-inf")]))
def test_a_number_that_is_none_is_refused_wherever_it_stands(value: Any, bad: float) -> None:
    """NaN and infinity are not JSON, and 1e400 becomes one on parsing."""
    for holder in (bad, [value, bad], {"a": {"b": bad}, "c": value}):
        with pytest.raises(Uncanonical):
            canonical_bytes(holder)


@given(st.lists(trees, min_size=1, max_size=3))
def test_a_partition_key_is_its_values_canonical_list(values: list[Any]) -> None:
    """Keys of one value compare equal however the value was spelled."""
    document = {"pk": {str(i): value for i, value in enumerate(values)}}
    paths = tuple(f"/pk/{i}" for i in range(len(values)))
    assert partition_key_text(document, paths) == canonical_bytes(values).decode()
    assert partition_key_text(document, ("/nowhere/at/all",)) == "[{}]"
