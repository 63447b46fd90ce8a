"""Receipts, Merkle roots and names: the proof of a slice, redone by hand."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from shared.domain.merkle import EMPTY_ROOT, merkle_root
from shared.domain.receipt import (
    Row,
    build_receipt,
    data_name,
    fingerprint,
    manifest_name,
    read_receipt,
    receipt_name,
    staged_slice,
    staging_name,
)
from shared.domain.slices import SliceState
from shared.errors import PermanentError
from tests.unit.samples import (
    MAY_S,
    a_blob,
    a_migration,
    a_receipt,
    a_slice,
    a_spec,
    a_stage,
)

SLICE_ID = f"{MAY_S}-{MAY_S + 60}-r000"
NAME = receipt_name(SLICE_ID)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def changed(**fields: Any) -> bytes:
    body: dict[str, Any] = json.loads(a_receipt())
    return json.dumps(body | fields).encode()


def without(*path: str) -> bytes:
    body: dict[str, Any] = json.loads(a_receipt())
    holder = body
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return json.dumps(body).encode()


def test_a_tree_of_three_leaves_is_built_by_hand() -> None:
    """Leaf and node have their own prefix; the odd leaf moves up unhashed."""
    a, b, c = (sha(b"\x00" + leaf) for leaf in (b"a", b"b", b"c"))
    assert merkle_root([b"a"]) == a.hex()
    assert merkle_root([b"a", b"b"]) == sha(b"\x01" + a + b).hex()
    assert merkle_root([b"a", b"b", b"c"]) == sha(b"\x01" + sha(b"\x01" + a + b) + c).hex()
    assert merkle_root([]) == EMPTY_ROOT == sha(b"").hex()


def test_a_leaf_is_the_row_as_a_json_list() -> None:
    """Anyone can redo it with a JSON library; the row group is no part of the proof."""
    row = Row(id="é", partition_key='["a"]', etag='"e"', ts=5, sha256="00", row_group=9)
    assert row.leaf() == b'["[\\"a\\"]","\\u00e9","\\"e\\"",5,"00"]'
    assert row.key == ('["a"]', "é")


def test_a_receipt_reads_back_as_what_was_proved() -> None:
    """Promise and stage agree in every number and name."""
    data = a_receipt(staged=a_stage(blob=a_blob(), superseded_ids=("x", "é")))
    promise = read_receipt(NAME, data)
    assert promise.slice_id == SLICE_ID
    assert (promise.fence, promise.migration_uid) == (4, "uid-1")
    assert (promise.documents, promise.document_bytes, promise.superseded) == (10, 3_000, 2)
    assert promise.merkle_root == "ef" * 32
    assert promise.receipt_sha256 == hashlib.sha256(data).hexdigest()
    assert promise.blob is not None
    assert promise.blob.name == f"data/sales/orders/year=2025/month=05/{SLICE_ID}.parquet"
    assert (promise.blob.size_bytes, promise.blob.sha256) == (4_096, "12" * 32)
    assert promise.manifest.name == f"manifests/{SLICE_ID}.parquet"
    assert (promise.manifest.size_bytes, promise.manifest.sha256) == (77, "cd" * 32)


@pytest.mark.parametrize(
    "change",
    [
        {"slice": f"{MAY_S}-{MAY_S + 60}-r001"},
        {"window": {"lo": MAY_S, "hi": MAY_S + 61}},
        {"range": {"id": "r001", "token": "t"}},
        {"window": {"lo": MAY_S + 60, "hi": MAY_S}},
        {"ids": {"lo": 5, "hi": None}},
    ],
)
def test_a_receipt_that_speaks_of_another_slice_is_refused(change: dict[str, Any]) -> None:
    """A blob moved to another's name could otherwise be published as the other."""
    with pytest.raises(PermanentError, match="altered or is not Ebb's"):
        read_receipt(NAME, changed(**change))
    with pytest.raises(PermanentError, match="name or extent of another"):
        read_receipt("receipts/other.json", a_receipt())


def test_a_receipt_tells_all_that_the_design_asks_for() -> None:
    """Window, counts, digests, engine, fence and what it cost."""
    body = json.loads(a_receipt())
    assert body["window"] == {"lo": MAY_S, "hi": MAY_S + 60}
    assert body["counts"] == {"before": 12, "read": 11, "after": 10}
    assert body["ids"] == {"lo": None, "hi": None}
    assert body["range"] == {"id": "r000", "token": '{"Range": {}}'}
    assert (body["engine"], body["fence"], body["ru_spent"]) == ("embedded", 4, 300.46)
    assert body["source"]["partition_key"] == ["/customer"]
    assert (body["ebb_receipt"], body["validated_at_s"]) == (1, 1_800_000_000.123)


def test_an_empty_slice_has_a_receipt_without_a_blob() -> None:
    """Nothing lies there, and that is proved too."""
    assert read_receipt(NAME, a_receipt(staged=a_stage(blob=None))).blob is None


def test_the_same_slice_gives_the_same_receipt() -> None:
    """Writing it twice is harmless."""
    assert a_receipt() == a_receipt()


def test_a_slice_with_nothing_staged_gets_no_receipt() -> None:
    """A receipt without a blob's digest would prove nothing."""
    target = a_slice(SliceState.VALIDATING, fence=1)
    with pytest.raises(PermanentError, match=target.id):
        build_receipt(a_spec(), a_migration(), target, validated_at_s=0.0)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"5", b'"x"', b"{}", b"\xff", b"{", a_receipt()[:-1],
        a_receipt()[1:], without("slice"), without("fence"), without("migration", "uid"),
        without("documents"), without("document_bytes"), without("superseded", "count"),
        without("merkle_root"), without("blob"), without("blob", "sha256"),
        without("manifest"), without("manifest", "name"), without("manifest", "bytes"),
        changed(fence="four"), changed(documents=None), changed(documents=[]),
        changed(manifest=None), changed(blob=[]), changed(migration="x"), changed(superseded=3),
    ],
    ids=range(29),
)  # fmt: skip
def test_a_malformed_receipt_is_refused_by_name(data: bytes) -> None:
    """The operator learns which file to restore."""
    with pytest.raises(PermanentError, match=re.escape(NAME)):
        read_receipt(NAME, data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        changed(fence=float("inf")),
        changed(documents=float("inf")),
        changed(document_bytes=float("-inf")),
    ],
    ids=["nested without end", "fence", "documents", "bytes"],
)
def test_a_hostile_receipt_is_refused_by_name(data: bytes) -> None:
    """Neither depth nor infinity may end in an error that Ebb does not know."""
    with pytest.raises(PermanentError, match=re.escape(NAME)):
        read_receipt(NAME, data)


@pytest.mark.parametrize(
    "data",
    [
        changed(slice=5),
        changed(slice=None),
        changed(merkle_root=5),
        changed(fence=1.5),
        changed(documents=True),
        changed(documents=-1),
        changed(migration={"uid": None}),
        changed(manifest={"name": 5, "bytes": 1, "sha256": "x"}),
        changed(blob={"name": "x", "bytes": 1, "sha256": None}),
    ],
    ids=["slice", "no slice", "root", "fence", "bool", "negative", "uid", "name", "sha256"],
)
def test_a_receipt_with_values_of_the_wrong_kind_is_refused(data: bytes) -> None:
    """A number for a name would fail later, far from the file that is at fault."""
    with pytest.raises(PermanentError, match=re.escape(NAME)):
        read_receipt(NAME, data)


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_receipt_of_another_version_is_refused(version: object) -> None:
    """What a later version means by the same names is not known here."""
    with pytest.raises(PermanentError, match=re.escape(NAME)):
        read_receipt(NAME, changed(ebb_receipt=version))


def test_a_lone_surrogate_in_an_id_does_not_stop_the_receipt() -> None:
    """Canonical form keeps such ids, so a receipt must be able to name them."""
    data = a_receipt(staged=a_stage(blob=a_blob(), superseded_ids=("\ud800",)))
    assert read_receipt(NAME, data).superseded == 1


def test_names_in_the_archive_follow_the_layout() -> None:
    """The month's folder, and one name per slice everywhere."""
    target = a_slice()
    assert (
        data_name(a_spec(), target) == f"data/sales/orders/year=2025/month=05/{target.id}.parquet"
    )
    assert manifest_name(target) == f"manifests/{target.id}.parquet"
    assert receipt_name(target.id) == f"receipts/{target.id}.json"


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("50%", "50%25"),
        ("é-_.", "é-_."),
        ("a?b#c", "a%3Fb%23c"),
    ],
)
def test_a_container_name_stays_one_path_segment(name: str, segment: str) -> None:
    """A slash in a name must open no folder."""
    spec = a_spec()
    odd = spec.model_copy(update={"source": spec.source.model_copy(update={"container": name})})
    assert data_name(odd, a_slice()).split("/")[2] == segment


def test_a_staging_name_tells_slice_and_fence() -> None:
    """The janitor decides by them."""
    target = replace(a_slice(fence=12), extent=replace(a_slice().extent, part=3))
    for kind in ("parquet", "manifest"):
        assert staged_slice(staging_name(target.id, 12, kind)) == (target.id, 12)


@pytest.mark.parametrize(
    "name",
    ["staging/x", "staging/x.parquet", "staging/x.y.parquet", "staging/x.1.2.parquet", "",
     "staging/x.-1.parquet", "staging/x.\u00b2.parquet", "staging/x..parquet"],
)  # fmt: skip
def test_a_foreign_staging_name_tells_nothing(name: str) -> None:
    """What Ebb did not write it does not delete."""
    assert staged_slice(name) is None


def test_a_fingerprint_does_not_depend_on_the_order_of_receipts() -> None:
    """It is a migration's, not a listing's."""
    receipts = [("b", "2"), ("a", "1"), ("c", "3")]
    assert fingerprint(receipts) == fingerprint(sorted(receipts))
    assert fingerprint(receipts) == merkle_root([b"a:1", b"b:2", b"c:3"])
    assert fingerprint([]) == EMPTY_ROOT
    assert fingerprint(receipts) != fingerprint(receipts[:2])
