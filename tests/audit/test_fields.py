"""Every field of every JSON file of an archive, changed one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.audit.archives import audited, kinds
from tests.audit.forging import Forger
from tools import audit

Place = tuple[Any, ...]
# What a receipt says and nothing else in the archive repeats: only its fingerprint can tell.
ONLY_THE_FINGERPRINT = {("ru_spent",), ("validated_at_s",), ("counts", "before")}
PLACES: list[Place] = [
    *[("ebb_receipt",), ("migration", "name"), ("migration", "uid"), ("source", "account")],
    *[("source", "database"), ("source", "container"), ("source", "partition_key", 0)],
    *[("source", "where"), ("slice",), ("window", "lo"), ("window", "hi"), ("range", "id")],
    *[("range", "token"), ("ids", "lo"), ("ids", "hi"), ("documents",), ("document_bytes",)],
    *[("counts", "before"), ("counts", "read"), ("counts", "after"), ("superseded", "count")],
    *[("merkle_root",), ("blob", "name"), ("blob", "bytes"), ("blob", "sha256")],
    *[("manifest", "name"), ("manifest", "bytes"), ("manifest", "sha256"), ("engine",)],
    *[("fence",), ("ru_spent",), ("validated_at_s",)],
]
HOSTILE: list[Any] = [None, True, -1, 2**63, 10**300, 1e308, "", "../../x", [], {}, [[]], "\ud800"]


def leaves(value: Any, at: Place = ()) -> Iterator[Place]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*at, index))
    else:
        yield at


def value_at(body: Any, place: Place) -> Any:
    for step in place:
        body = body[step]
    return body


def put(body: Any, place: Place, value: Any) -> None:
    value_at(body, place[:-1])[place[-1]] = value


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, int | float):
        return value + 1
    return "x" if value is None else f"{value[:-1]}{'0' if value[-1:] != '0' else '1'}"


@pytest.fixture
def target(forger: Forger) -> str:
    """A slice with documents, not the first: the others have said who they are."""
    return forger.slices()[2]


def test_every_field_of_a_receipt_is_edited_here(forger: Forger, target: str) -> None:
    """A field that a later version adds must be added to the list."""
    assert set(leaves(forger.receipt(target))) == set(PLACES)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_an_edited_receipt_is_found(forger: Forger, target: str, place: Place) -> None:
    """By the fingerprint always, and by what the field means where it means something."""
    noted = audited(forger.folder)[1]["fingerprint"]
    receipt = forger.receipt(target)
    put(receipt, place, other(value_at(receipt, place)))
    forger.write_receipt(target, receipt)
    assert "fingerprint" in kinds(forger.folder)
    forger.path("migration.json").unlink()
    assert (kinds(forger.folder) == set()) == (place in ONLY_THE_FINGERPRINT)
    assert "fingerprint" in kinds(forger.folder, "--fingerprint", noted)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_receipt_with_a_hostile_value_breaks_nothing(
    forger: Forger, target: str, place: Place
) -> None:
    """Wrong types, numbers without measure, names that lead elsewhere: at least a fingerprint."""
    original = forger.receipt(target)
    for value in HOSTILE:
        receipt = json.loads(json.dumps(original))
        if value_at(receipt, place) is not value:
            put(receipt, place, value)
            forger.write_receipt(target, receipt)
            assert "fingerprint" in kinds(forger.folder)


@pytest.mark.parametrize("place", [("ids",), ("blob",), ("superseded", "ids"), ("fence",)], ids=str)
def test_a_receipt_without_a_field_is_none(forger: Forger, target: str, place: Place) -> None:
    """Nor is one with a field too many."""
    receipt = forger.receipt(target)
    del value_at(receipt, place[:-1])[place[-1]]
    forger.write_receipt(target, receipt)
    assert "receipt" in kinds(forger.folder)


def test_counts_that_cannot_be_are_found(forger: Forger, target: str) -> None:
    """A window only shrinks, and what was read and not archived must have been superseded."""
    receipt = forger.receipt(target)
    count = receipt["documents"]
    for counts in ((count - 1, count, count), (count + 1, count + 1, count), (count, count, 0)):
        changed = dict(zip(("before", "read", "after"), counts, strict=True))
        forger.write_receipt(target, receipt | {"counts": changed})
        forger.seal()
        assert kinds(forger.folder) == {"receipt"}


def test_superseded_documents_are_named_up_to_ten(forger: Forger, target: str) -> None:
    """Three gone and none named is a fault; three gone and three named is not."""
    receipt = forger.receipt(target)
    count = receipt["documents"]
    receipt["counts"] = {"before": count + 3, "read": count + 3, "after": count}
    for named, expected in ((["a", "b", "c"], set()), ([], {"receipt"}), (["a"] * 4, {"receipt"})):
        receipt["superseded"] = {"count": 3, "ids": named}
        forger.write_receipt(target, receipt)
        forger.seal()
        assert kinds(forger.folder) == expected


def test_a_slice_validated_before_its_end_is_found(forger: Forger, target: str) -> None:
    """Nobody can have proven a window that could still change."""
    receipt = forger.receipt(target)
    forger.write_receipt(target, receipt | {"validated_at_s": receipt["window"]["hi"] - 0.5})
    forger.seal()
    assert kinds(forger.folder) == {"receipt"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"engine": "adf"}, {"migration"}),
        ({"ru_spent": True}, {"receipt"}),
        ({"more": 1}, {"receipt"}),
        ({"range": {"id": "r00", "token": "0"}}, {"receipt"}),
        ({"ids": {"lo": None, "hi": "x"}}, {"receipt"}),
    ],
    ids=lambda each: "".join(sorted(each)),
)
def test_what_only_looks_well_formed_is_found(
    forger: Forger, target: str, changes: dict[str, Any], expected: set[str]
) -> None:
    """Another engine, a truth for a number, a field too many, half a range, bounds without part."""
    forger.write_receipt(target, forger.receipt(target) | changes)
    assert kinds(forger.folder) & {"migration", "receipt"} == expected


SUMMARY_KINDS = {
    "ebb_migration": {"unreadable"},
    "name": {"migration"},
    "uid": {"migration"},
    "until_s": {"gap"},
    "receipts": {"count"},
    "documents": {"count"},
    "fingerprint": {"fingerprint"},
    "ranges": {"migration"},
}


@pytest.mark.parametrize("field", SUMMARY_KINDS)
def test_an_edited_summary_is_found(folder: Path, field: str) -> None:
    """Each of its claims is held against the receipts."""
    path = folder / "migration.json"
    body = json.loads(path.read_bytes())
    assert set(body) == set(SUMMARY_KINDS)
    place = ("ranges", 0, "token") if field == "ranges" else (field,)
    put(body, place, other(value_at(body, place)))
    path.write_text(json.dumps(body))
    assert kinds(folder) == SUMMARY_KINDS[field]


def test_a_summary_with_other_ranges_or_an_earlier_end_is_found(folder: Path) -> None:
    """Slices beyond what the migration had, and ranges that nothing covers."""
    path = folder / "migration.json"
    body = json.loads(path.read_bytes())
    path.write_text(json.dumps(body | {"until_s": body["until_s"] - 1}))
    assert kinds(folder) == {"overlap"}
    path.write_text(json.dumps(body | {"ranges": [*body["ranges"], {"id": "r9", "token": "9"}]}))
    assert kinds(folder) == {"gap"}
    path.write_text(json.dumps(body | {"ranges": []}))
    assert kinds(folder) == {"overlap"}


def test_an_edited_owner_is_found(folder: Path) -> None:
    """The migration's name and uid stand in every file."""
    path = folder / "owner.json"
    body = json.loads(path.read_bytes())
    for field in ("name", "uid"):
        path.write_text(json.dumps(body | {field: "x"}))
        assert kinds(folder) == {"migration"}
    path.write_text(json.dumps(body | {"more": 1}))
    assert kinds(folder) == {"unreadable"}
    assert audit.NAMED_MAX == 20
