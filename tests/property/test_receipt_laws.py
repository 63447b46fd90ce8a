"""The proofs' laws: every bit counts, and nothing malformed passes or surprises."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.merkle import GrowingTree, Step, climbed, inclusion, merkle_root
from shared.domain.receipt import Promise, Row, fingerprint, read_receipt, receipt_name
from shared.errors import PermanentError
from tests.property import reference
from tests.property.drawing import any_text
from tests.unit.samples import a_receipt, an_extent

RECEIPT = a_receipt()
RECEIPT_NAME = receipt_name(an_extent().slice_id)
leaves = st.lists(st.binary(max_size=8), max_size=40)
rows = st.builds(
    Row,
    id=any_text,
    partition_key=any_text,
    etag=any_text,
    ts=st.integers(0, 2**40),
    sha256=st.text("0123456789abcdef", max_size=8),
    row_group=st.integers(0, 9),
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([float("inf"), float("nan"), -1, "", 1e308, 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip


@given(leaves)
@example([b"x"] * 33)
def test_a_root_is_that_of_the_recursive_definition(data: list[bytes]) -> None:
    """RFC 6962's tree, for every number of leaves."""
    assert merkle_root(data) == reference.merkle(data).hex()


@given(leaves)
def test_a_growing_tree_has_each_prefixs_root(data: list[bytes]) -> None:
    """So that every cycle's fingerprint is known after one walk over the receipts."""
    tree = GrowingTree()
    assert tree.root() == merkle_root([])
    for size, leaf in enumerate(data, start=1):
        tree.add(leaf)
        assert tree.root() == reference.merkle(data[:size]).hex()


@given(leaves.filter(bool), st.data())
def test_every_bit_of_every_leaf_counts(data: list[bytes], draw: st.DataObject) -> None:
    """One flipped bit anywhere is another root."""
    index = draw.draw(st.integers(0, len(data) - 1))
    leaf = bytearray(data[index] or b"\x00")
    bit = draw.draw(st.integers(0, len(leaf) * 8 - 1))
    leaf[bit // 8] ^= 1 << (bit % 8)
    changed = [*data[:index], bytes(leaf), *data[index + 1 :]]
    if data[index]:
        assert merkle_root(changed) != merkle_root(data)


@given(leaves.filter(lambda data: len(data) > 1), st.data())
def test_order_and_number_of_leaves_count(data: list[bytes], draw: st.DataObject) -> None:
    """Swapping, doubling and leaving out all change the root."""
    one, other = (draw.draw(st.integers(0, len(data) - 1)) for _ in range(2))
    swapped = list(data)
    swapped[one], swapped[other] = data[other], data[one]
    assert (merkle_root(swapped) == merkle_root(data)) == (data[one] == data[other])
    assert merkle_root([*data, data[-1]]) != merkle_root(data)
    assert merkle_root(data[:-1]) != merkle_root(data)


@given(leaves.filter(bool), st.data())
def test_a_leaf_climbs_to_the_root_and_no_other_does(
    data: list[bytes], draw: st.DataObject
) -> None:
    """A few hashes prove one document; with another document, place or hash they prove nothing."""
    index = draw.draw(st.integers(0, len(data) - 1))
    steps = inclusion(data, index)
    root = merkle_root(data)
    assert climbed(data[index], steps) == root
    assert len(steps) <= (len(data) - 1).bit_length()
    assert climbed(data[index] + b"x", steps) != root
    if steps:
        at = draw.draw(st.integers(0, len(steps) - 1))
        mirrored = Step(other=steps[at].other, on_left=not steps[at].on_left)
        turned = (*steps[:at], mirrored, *steps[at + 1 :])
        twins = len(set(data)) < len(data)
        assert climbed(data[index], turned) != root or twins
        assert climbed(data[index], steps[1:]) != root


def test_a_leaf_that_is_not_there_has_no_proof() -> None:
    """Counting from the end is no place, either."""
    for index in (-1, 2):
        with pytest.raises(IndexError):
            inclusion([b"a", b"b"], index)


@given(rows)
def test_a_leaf_is_a_json_list_as_anyone_would_write_it(row: Row) -> None:
    """ASCII, no spaces: the standard library's own words, though written faster."""
    parts = [row.partition_key, row.id, row.etag, row.ts, row.sha256]
    assert row.leaf() == json.dumps(parts, separators=(",", ":")).encode()


def test_a_pair_cannot_pose_as_a_leaf() -> None:
    """Leaf and node are hashed apart, so no tree is another's subtree in disguise."""
    left, right = (reference.merkle([leaf]) for leaf in (b"a", b"b"))
    assert merkle_root([left + right]) != merkle_root([b"a", b"b"])


@given(rows, rows)
def test_rows_share_a_leaf_only_when_equal(left: Row, right: Row) -> None:
    """No field can flow into its neighbour; where a row stands is no part of what it proves."""
    same = replace(left, row_group=0) == replace(right, row_group=0)
    assert (left.leaf() == right.leaf()) == same
    assert replace(left, row_group=left.row_group + 1).leaf() == left.leaf()


@given(
    st.dictionaries(st.text("abc-09", min_size=1, max_size=5), st.text("0f", max_size=4)), st.data()
)
def test_a_fingerprint_is_of_the_set_of_receipts(
    receipts: dict[str, str], data: st.DataObject
) -> None:
    """Any order of listing, one fingerprint; any other receipt, another."""
    mixed = data.draw(st.permutations(sorted(receipts.items())))
    assert fingerprint(mixed) == fingerprint(receipts.items())
    if mixed:
        (slice_id, sha256), *rest = mixed
        assert fingerprint([(slice_id, sha256 + "0"), *rest]) != fingerprint(mixed)
        assert fingerprint(rest) != fingerprint(mixed)


def paths_of(value: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [prefix]
    return [prefix] * bool(prefix) + [
        path for key, inner in value.items() for path in paths_of(inner, (*prefix, key))
    ]


PATHS = paths_of(json.loads(RECEIPT))


def read_or_refused(data: bytes) -> Promise | None:
    refusal = ""
    try:
        return read_receipt(RECEIPT_NAME, data)
    except PermanentError as error:
        refusal = str(error)
    assert RECEIPT_NAME in refusal
    return None


@given(st.sampled_from(PATHS), st.none() | json_values.map(lambda value: [value]))
@example(("fence",), [float("inf")])
def test_an_altered_receipt_is_read_or_refused(
    path: tuple[str, ...], put: list[Any] | None
) -> None:
    """Any value replaced or removed: never an error Ebb does not know, never the same digest."""
    body: dict[str, Any] = json.loads(RECEIPT)
    holder = body
    for key in path[:-1]:
        holder = holder[key]
    if put is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = put[0]
    data = json.dumps(body).encode()
    promise = read_or_refused(data)
    if promise is not None:
        assert promise.receipt_sha256 != read_receipt(RECEIPT_NAME, RECEIPT).receipt_sha256


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_a_receipt_or_refused(data: bytes) -> None:
    """Foreign bytes under a receipt's name are a fault with that name."""
    read_or_refused(data)


@given(
    st.integers(0, len(RECEIPT) - 1), st.integers(0, 255), st.sampled_from(["put", "cut", "end"])
)
def test_a_damaged_receipt_never_passes_for_the_original(at: int, byte: int, how: str) -> None:
    """Its own digest is the fingerprint's leaf, so a lost or altered byte shows."""
    tail = {"put": bytes([byte]) + RECEIPT[at + 1 :], "cut": RECEIPT[at + 1 :], "end": b""}[how]
    damaged = RECEIPT[:at] + tail
    promise = read_or_refused(damaged)
    if damaged != RECEIPT and promise is not None:
        assert promise.receipt_sha256 != read_receipt(RECEIPT_NAME, RECEIPT).receipt_sha256


@pytest.mark.parametrize("depth", [10, 1_000, 100_000])
def test_a_receipt_nested_without_end_is_refused(depth: int) -> None:
    """Depth is no way to stop the verifier."""
    assert read_or_refused(b'{"a":' * depth) is None
