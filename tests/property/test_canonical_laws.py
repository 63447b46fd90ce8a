"""The canonical form's laws, held against a slow implementation that shares no code with it."""

from __future__ import annotations

import ast
import hashlib
import json
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
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
from tests.unit.test_parquet import a_file, rows_of

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


def spelt(value: Any, chance: Random) -> str:
    """One of the many JSON texts that say this value; in an object the last of doubled keys."""
    space = chance.choice(["", "", " ", "\r\n\t"])
    if isinstance(value, str):
        return '"' + "".join(spelt_character(character, chance) for character in value) + '"'
    if isinstance(value, list):
        return f"[{space}{','.join(spelt(member, chance) + space for member in value)}]"
    if isinstance(value, dict):
        members = chance.sample(list(value.items()), len(value))
        if members and chance.random() < 0.2:
            members.insert(0, (members[-1][0], [None]))
        pairs = (f"{spelt(k, chance)}{space}:{spelt(v, chance)}{space}" for k, v in members)
        return f"{{{space}{','.join(pairs)}}}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return chance.choice(number_spellings(value))


def spelt_character(character: str, chance: Random) -> str:
    short = {"/": "\\/", '"': '\\"', "\\": "\\\\", "\b": "\\b", "\n": "\\n"}
    units = character.encode("utf-16-be", "surrogatepass").hex()
    escaped = "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
    if character in short and chance.random() < 0.5:
        return short[character]
    must = character < " " or character in '"\\' or "\ud800" <= character <= "\udfff"
    if must or chance.random() < 0.2:
        return chance.choice([escaped, "\\u".join(p.upper() for p in escaped.split("\\u"))])
    return character


def number_spellings(value: Any) -> list[str]:
    """By value: an integer that is a double may be written as one, and the other way round."""
    if isinstance(value, float) and not value.is_integer():
        return [repr(value), f"{value:.17g}", f"{value:.25E}", format(Decimal(value), "f")]
    whole = int(value)
    if abs(whole) >= 10**308 or int(float(whole)) != whole:
        return [str(whole)]
    if whole == 0:
        return ["0", "-0", "0.0", "-0.0", "0E5", "-0e-7"]
    return [str(whole), f"{whole}.0", f"{whole}e0", f"{whole}0E-1", f"{whole}.00e+0"]


SYSTEM = {
    "_rid": "r==",
    "_self": "dbs/",
    "_attachments": "a/",
    "_etag": '"0"',
    "_ts": 1_700_000_000,
}
some_documents = st.lists(
    st.builds(
        lambda number, body, system: {**body, "v": [SYSTEM], "id": f"d{number}", **system},
        st.integers(0, 99),
        st.dictionaries(keys, trees, max_size=4),
        st.sampled_from([{}, SYSTEM]),
    ),
    min_size=1,
    max_size=3,
)
chances = st.integers(0, 2**32).map(Random)


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


@given(some_documents, chances)
@example([{"v": ALL_EDGES}], Random(1))
def test_what_the_client_returns_has_the_references_form(
    documents: list[dict[str, Any]], chance: Random
) -> None:
    """However the source spells it: the client gives what `json.loads` makes of the body."""
    texts = [spelt(document, chance) for document in documents]
    body = f'{{"_rid":"r","Documents":[{",".join(texts)}],"_count":{len(texts)}}}'.encode()
    for text, returned in zip(texts, json.loads(body)["Documents"], strict=True):
        assert canonical_document(returned).decode() == reference.document_text(text)


@given(some_documents, chances)
@example([{"v": ALL_EDGES}], Random(2))
def test_what_the_archive_holds_has_the_references_form(
    documents: list[dict[str, Any]], chance: Random
) -> None:
    """The bytes read back from a data file are the form itself, and stay it when read again."""
    texts = [spelt(document, chance) for document in documents]
    data, _ = a_file([json.loads(text) for text in texts], keys=("/id", "/nowhere"))
    held = [document for _, document in rows_of(data)]
    assert [document.decode() for document in held] == list(map(reference.document_text, texts))
    assert [canonical_document(json.loads(document)) for document in held] == held


@given(some_documents, chances)
@example([{"v": ALL_EDGES}], Random(3))
def test_what_data_factory_writes_has_the_references_form(
    documents: list[dict[str, Any]], chance: Random
) -> None:
    """`ToString(c)` in a text column of a snappy file: other order, other spelling, same digest."""
    ours = [reference.document_text(spelt(document, chance)) for document in documents]
    theirs = [spelt(document | SYSTEM, chance) for document in documents]
    sink = BytesIO()
    pq.write_table(pa.table({"document": theirs}), sink, compression="snappy")
    held = pq.read_table(BytesIO(sink.getvalue())).column("document").to_pylist()
    for form, text in zip(ours, held, strict=True):
        canonical = canonical_document(json.loads(text))
        assert digest(canonical) == hashlib.sha256(form.encode()).hexdigest()


@given(trees, chances)
@example(ALL_EDGES, Random(4))
def test_the_reference_reads_what_json_loads_reads(value: Any, chance: Random) -> None:
    """Two readers of any spelling agree, so that a law over texts is one over values."""
    text = spelt(value, chance)
    assert same(reference.parse(text), json.loads(text))
    assert same(reference.parse(text), value)


@given(st.floats(allow_nan=False, allow_infinity=False).filter(bool))
@example(623203260495222.75)
@example(5e-324)
@example(1.7976931348623157e308)
def test_the_references_shortest_digits_are_everybodys(value: float) -> None:
    """Found by exact fractions, and the same that Python prints."""
    assert reference.shortest(value) == Decimal(repr(value))


def test_the_reference_shares_nothing_with_the_product() -> None:
    """Neither its code nor the libraries it stands on, nor Python's own text of a float."""
    tree = ast.parse(Path(reference.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else _names(node))
    }
    allowed = {"collections.abc", "decimal", "fractions", "hashlib", "math", "re", "typing"}
    assert imported - {"__future__"} == allowed
    assert "repr" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _names(node: ast.Import) -> list[str]:
    return [each.name for each in node.names]
