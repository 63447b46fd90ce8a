"""The canonical form: the pinned vectors and the spellings verified by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from shared.domain.canonical import (
    canonical_bytes,
    canonical_document,
    digest,
    partition_key_text,
    value_at,
)
from shared.errors import Uncanonical
from tests.property import reference

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "canonical.json").read_text(encoding="utf-8")
)


every_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


def sources_of(vector: dict[str, Any]) -> list[str]:
    """Every text that says this value; of a document, also with its system properties inside."""
    return [vector["json"], *vector["also"]]


@every_vector
def test_every_pinned_vector_holds(vector: dict[str, Any]) -> None:
    """These bytes and digests stand in archives, and every source text of a value shares them."""
    write = canonical_document if vector.get("document") else canonical_bytes
    for source in sources_of(vector):
        value = json.loads(source)
        if vector["canonical"] is None:
            with pytest.raises(Uncanonical):
                write(value)
            continue
        canonical = write(value)
        assert canonical.decode() == vector["canonical"]
        assert digest(canonical) == vector["sha256"]
        assert write(json.loads(canonical)) == canonical


@every_vector
def test_every_pinned_vector_is_what_the_design_says(vector: dict[str, Any]) -> None:
    """An implementation that shares nothing with the product reads and writes the same."""
    write = reference.document_text if vector.get("document") else reference.text
    for source in sources_of(vector):
        if vector["canonical"] is None:
            with pytest.raises(reference.NoForm):
                write(source)
            continue
        assert write(source) == vector["canonical"]
        assert hashlib.sha256(write(source).encode()).hexdigest() == vector["sha256"]


def test_the_vectors_cover_what_they_promise() -> None:
    """A shortened file would pin nothing and still pass."""
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS) >= 152
    assert sum(len(sources_of(vector)) for vector in VECTORS) >= 326
    assert sum(vector["canonical"] is None for vector in VECTORS) >= 10
    assert sum(vector.get("document", False) for vector in VECTORS) >= 7


def test_no_two_vectors_share_a_form() -> None:
    """What is listed apart is told apart, and no source text is listed under two values."""
    for as_document in (False, True):
        chosen = [v for v in VECTORS if v.get("document", False) == as_document and v["canonical"]]
        forms = [vector["canonical"] for vector in chosen]
        sources = [source for vector in chosen for source in sources_of(vector)]
        assert len(forms) == len(set(forms)) == len({vector["sha256"] for vector in chosen})
        assert len(sources) == len(set(sources))


@pytest.mark.parametrize("spelling", ["1", "1.0", "1e0", "10e-1", "0.1e1", "1.000"])
def test_one_number_has_one_canonical_form(spelling: str) -> None:
    """Numbers count by value, not by spelling."""
    assert canonical_bytes(json.loads(spelling)) == b"1"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1e22", str(10**22)),
        ("-0", "0"),
        ("-0.0", "0"),
        ("-0e5", "0.0"),
        ("9007199254740992.0", "9007199254740992"),
        ("1E2", "100"),
        ("0.5", "5e-1"),
    ],
)
def test_equal_numbers_share_a_digest(left: str, right: str) -> None:
    """Both engines may spell a number differently and still agree."""
    assert canonical_bytes([json.loads(left)]) == canonical_bytes([json.loads(right)])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("9007199254740992", "9007199254740993"),
        ("9223372036854775807", "9223372036854775808"),
        ("18446744073709551615", "18446744073709551616"),
        ("1" + "0" * 400, "1" + "0" * 399 + "1"),
        ('"\\u00e9"', '"e\\u0301"'),
        ('{"a":null}', "{}"),
        ("[]", "{}"),
        ('"\\ud800"', '"\\ud801"'),
        ('"\\ud800"', '"\\\\ud800"'),
        ('"\\ud83d\\ude00"', '"\\ude00\\ud83d"'),
        ("1", '"1"'),
        ("true", "1"),
        ("false", "0"),
        ("null", '"null"'),
    ],
)
def test_different_values_never_share_a_digest(left: str, right: str) -> None:
    """Nothing is rounded, normalised or taken for something else."""
    assert canonical_bytes(json.loads(left)) != canonical_bytes(json.loads(right))


@pytest.mark.parametrize("spelling", ["1e400", "-1e400", "NaN", "Infinity", '{"a":[1e999]}'])
def test_a_number_beyond_doubles_is_refused(spelling: str) -> None:
    """It became infinite on reading; its digest would mean nothing."""
    with pytest.raises(Uncanonical):
        canonical_bytes(json.loads(spelling))


@pytest.mark.parametrize(
    "value", [(1, 2), {1, 2}, b"x", object(), 1j], ids=lambda value: type(value).__name__
)
def test_what_json_does_not_know_is_refused(value: object) -> None:
    """The message names the type."""
    with pytest.raises(Uncanonical, match=type(value).__name__):
        canonical_bytes([value])


def test_keys_sort_by_code_point_beyond_the_basic_plane() -> None:
    """UTF-16 order would put the emoji before U+FFFF."""
    assert canonical_bytes({"\U0001f600": 1, "\uffff": 2, "z": 3}).decode() == (
        '{"z":3,"\uffff":2,"\U0001f600":1}'
    )
    assert canonical_bytes({"\U0001f600": 1.0, "\ud800": 2, "z": 3}).decode() == (
        '{"z":3,"\\ud800":2,"\U0001f600":1}'
    )


def test_a_document_loses_exactly_its_system_properties() -> None:
    """The etag and the timestamp stand beside it as columns; the same names inside are data."""
    document = {
        "id": "a", "_rid": "r", "_self": "s", "_attachments": "x", "_etag": "e", "_ts": 1,
        "_lsn": 5, "inner": {"_ts": 2},
    }  # fmt: skip
    assert canonical_document(document) == b'{"_lsn":5,"id":"a","inner":{"_ts":2}}'


def test_a_partition_key_is_written_part_by_part() -> None:
    """A missing part is told from a null one."""
    document = {"tenant": "t", "user": {"id": None}, "n": 1.0}
    paths = ("/tenant", "/user/id", "/user/name", "/n", "/tenant/x")
    assert partition_key_text(document, paths) == '["t",null,{},1,{}]'


def test_a_promoted_value_is_found_or_is_none() -> None:
    """A path that leads nowhere is an empty cell."""
    document = {"a": {"b": [1]}, "e": {}}
    assert value_at(document, "/a/b") == [1]
    assert value_at(document, "/a/c") is None
    assert value_at(document, "/a/b/c") is None
    assert value_at(document, "/e") is None
