"""Whatever is changed in an archive is found and named, however much is rebuilt to hide it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.domain.canonical import canonical_bytes
from tests.audit.archives import audited, kinds, told
from tests.audit.forging import Documents, Forger, flip, sha256, with_body
from tools import audit

Tamper = Callable[[Forger], object]
SECRET = "classified"


def first(forger: Forger) -> str:
    """A slice with several documents."""
    return next(each for each in forger.slices() if forger.receipt(each)["documents"] > 3)


def manifest(forger: Forger) -> str:
    return f"manifests/{first(forger)}.parquet"


def receipt(forger: Forger) -> str:
    return f"receipts/{first(forger)}.json"


def data(forger: Forger) -> str:
    return forger.data(first(forger))


def edited(forger: Forger, **changes: Any) -> None:
    target = first(forger)
    forger.write_receipt(target, forger.receipt(target) | changes)


def row_deleted_and_blob_rehashed(forger: Forger, index: int = 0) -> None:
    target = first(forger)
    before = forger.path(manifest(forger)).read_bytes()
    old = forger.receipt(target)
    found = forger.documents(target)
    del found[index]
    forger.rebuild(target, found)
    forger.path(manifest(forger)).write_bytes(before)
    forger.write_receipt(target, old | {"blob": forger.receipt(target)["blob"]})


def slice_removed(forger: Forger) -> None:
    for name in (data(forger), manifest(forger), receipt(forger)):
        forger.path(name).unlink()


def slice_added(forger: Forger) -> None:
    """A well-formed one without documents, behind the end."""
    last = forger.slices(filled=False)[-1]
    body = forger.receipt(last)
    until_s = json.loads(forger.path("migration.json").read_bytes())["until_s"]
    added = f"{until_s:010d}-{until_s + 9:010d}-r000"
    file = forger.path(f"manifests/{added}.parquet")
    body |= {"slice": added, "window": {"lo": until_s, "hi": until_s + 9}, "documents": 0}
    body |= {"counts": {"before": 0, "read": 0, "after": 0}, "blob": None, "document_bytes": 0}
    body["superseded"] = {"count": 0, "ids": []}
    labels = {"ebb.slice": added, "ebb.fence": str(body["fence"])}
    body["merkle_root"] = labels["ebb.merkle_root"] = sha256(b"")
    schema = pq.read_schema(forger.path(manifest(forger))).with_metadata(labels)
    pq.write_table(schema.empty_table(), file)
    body["manifest"] = {"name": f"manifests/{added}.parquet"}
    body["manifest"] |= {"bytes": file.stat().st_size, "sha256": sha256(file.read_bytes())}
    forger.write_receipt(added, body)


def blobs_swapped(forger: Forger) -> None:
    one, other = (forger.path(forger.data(each)) for each in forger.slices()[:2])
    bytes_of_one = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(bytes_of_one)


def swapped_and_rehashed(forger: Forger) -> None:
    blobs_swapped(forger)
    for each in forger.slices()[:2]:
        forger.rehash(each, "blob")


def placed(name: str) -> Tamper:
    def place(forger: Forger) -> None:
        path = forger.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")

    return place


def copied(source: Callable[[Forger], str], name: str) -> Tamper:
    return lambda forger: forger.path(name).write_bytes(forger.path(source(forger)).read_bytes())


def outside(forger: Forger) -> None:
    """A receipt that points out of the archive, at a file with the right bytes."""
    secret = forger.path("../outside.parquet")
    secret.write_bytes(forger.path(data(forger)).read_bytes())
    forger.path(data(forger)).unlink()
    edited(
        forger, blob=forger.receipt(first(forger))["blob"] | {"name": "data/../../outside.parquet"}
    )


def linked(forger: Forger) -> None:
    path = forger.path(data(forger))
    path.rename(forger.path("../elsewhere.parquet"))
    path.symlink_to(forger.path("../elsewhere.parquet"))


OPEN_TAMPERING: dict[str, tuple[Tamper, set[str]]] = {
    "a flipped bit in a blob": (lambda f: f.change(data(f), flip), {"bytes"}),
    "a flipped bit in a manifest": (lambda f: f.change(manifest(f), flip), {"bytes"}),
    "a flipped bit in a receipt": (lambda f: f.change(receipt(f), flip), {"fingerprint"}),
    "a cut blob": (lambda f: f.change(data(f), lambda d: d[:-1]), {"bytes"}),
    "a longer blob": (lambda f: f.change(data(f), lambda d: d + b"\0"), {"bytes"}),
    "an emptied manifest": (lambda f: f.change(manifest(f), lambda _: b""), {"bytes"}),
    "a blob gone": (lambda f: f.path(data(f)).unlink(), {"missing"}),
    "a manifest gone": (lambda f: f.path(manifest(f)).unlink(), {"missing"}),
    "a receipt gone": (lambda f: f.path(receipt(f)).unlink(), {"stranger", "gap", "fingerprint"}),
    "a row deleted, blob rehashed": (
        row_deleted_and_blob_rehashed,
        {"lost document", "count", "fingerprint"},
    ),
    "the last row deleted, blob rehashed": (
        lambda f: row_deleted_and_blob_rehashed(f, -1),
        {"lost document", "count", "fingerprint"},
    ),
    "a slice removed": (slice_removed, {"gap", "fingerprint", "count"}),
    "a slice added": (slice_added, {"overlap", "fingerprint", "count"}),
    "blobs swapped": (blobs_swapped, {"bytes"}),
    "blobs swapped and rehashed": (
        swapped_and_rehashed,
        {"lost document", "added document", "label", "window", "fingerprint"},
    ),
    "a stranger under data": (placed("data/x/stranger.parquet"), {"stranger"}),
    "a stranger under manifests": (copied(manifest, "manifests/x.parquet"), {"stranger"}),
    "a stranger under receipts": (placed("receipts/x.txt"), {"stranger"}),
    "an empty receipt": (placed("receipts/x.json"), {"receipt", "fingerprint"}),
    "a receipt under another name": (copied(receipt, "receipts/x.json"), {"receipt"}),
    "a receipt that points outside": (outside, {"receipt", "missing"}),
    "a blob that is a link": (linked, {"missing"}),
    "no owner": (lambda f: f.path("owner.json").unlink(), {"missing"}),
    "another owner": (
        lambda f: f.change("owner.json", lambda d: d.replace(b'"uid": "', b'"uid": "x')),
        {"migration"},
    ),
    "an owner that is none": (placed("owner.json"), {"unreadable"}),
    "a summary that is none": (placed("migration.json"), {"unreadable"}),
}


@pytest.mark.parametrize("name", OPEN_TAMPERING)
def test_whatever_is_harmed_is_named(forger: Forger, name: str) -> None:
    """Files changed, lost, added or exchanged, with the digests that a clumsy hand repairs."""
    tamper, expected = OPEN_TAMPERING[name]
    tamper(forger)
    assert kinds(forger.folder) >= expected


def test_a_fault_names_its_blob_and_its_document(forger: Forger) -> None:
    """So that somebody can restore just that."""
    lost = forger.documents(first(forger))[0][0]
    row_deleted_and_blob_rehashed(forger)
    fault = audited(forger.folder)[1]["faults"]["lost document"]["first"][0]
    assert fault["blob"] == data(forger)
    assert (fault["id"], fault["partition_key"]) == (lost.id, lost.partition_key)
    code, out, _ = told(str(forger.folder))
    assert (code, out.startswith("NOT PROVEN\n")) == (audit.FAULTY, True)
    assert f'lost document: 1\n  blob "{data(forger)}"' in out
    assert f'id "{lost.id}"' in out


def test_what_is_rebuilt_whole_only_the_fingerprint_tells(forger: Forger) -> None:
    """A row is gone, and blob, manifest, receipt and count were all written anew."""
    noted = audited(forger.folder)[1]["fingerprint"]
    forger.rebuild(first(forger), forger.documents(first(forger))[1:])
    summary = forger.path("migration.json")
    sealed = json.loads(summary.read_bytes())
    summary.write_text(json.dumps(sealed | {"documents": sealed["documents"] - 1}))
    assert kinds(forger.folder) == {"fingerprint"}
    forger.seal()
    assert kinds(forger.folder) == set()
    assert kinds(forger.folder, "--fingerprint", noted) == {"fingerprint"}
    summary.unlink()
    assert kinds(forger.folder) == set()
    assert kinds(forger.folder, "--fingerprint", noted) == {"fingerprint"}


def forged(forger: Forger, change: Callable[[Documents], Documents]) -> set[str]:
    """The kinds of fault after a slice's documents were changed and everything else rebuilt."""
    target = first(forger)
    forger.rebuild(target, change(forger.documents(target)))
    forger.seal()
    return kinds(forger.folder)


def bodies(change: Callable[[bytes], bytes]) -> Callable[[Documents], Documents]:
    return lambda found: [with_body(found[0], change(found[0][1])), *found[1:]]


def member(text: str) -> Callable[[bytes], bytes]:
    """One more member, first in order, written as it is given."""
    return lambda body: b'{"!":' + text.encode("utf-8", "surrogatepass") + b"," + body[1:]


@pytest.mark.parametrize(
    "text", ["1", '"é"', "0.000012", "1e-6", "[9007199254740993]", '"\\ud800"']
)
def test_another_canonical_body_is_no_fault_of_its_own(forger: Forger, text: str) -> None:
    """The next test would prove nothing if any change of a body were a fault."""
    assert forged(forger, bodies(member(text))) == set()


UNCANONICAL: dict[str, Callable[[bytes], bytes]] = {
    **{
        text: member(text)
        for text in (
            *(" 1", "1 ", "1.0", "1e0", "-0", "-0.0", "1E-7", "1e-07", "0.10", "0.00000120"),
            *("1.2e-5", "100e-1", "1e400", "NaN", "-Infinity", "12345678901234567890.0"),
            *('"\\u00e9"', '"\\/"', '"\\u0041"', '"\\u000a"', '"\\uD800"', '"\\ud83d\\ude00"'),
            *('{"b":1,"a":2}', '{"a":1,"a":1}', '{"\U00010000":1,"\uffff":2}', "[1,]", "1" * 5000),
        )
    },
    "too deep": member("[" * 200 + "]" * 200),
    "much too deep": member("[" * 100_000 + "]" * 100_000),
    "a line end": lambda body: body + b"\n",
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "UTF-16": lambda body: body.decode().encode("utf-16-le"),
    "no UTF-8": lambda body: body.replace(b'"n"', b'"\xff"'),
    "a surrogate in UTF-8": member('"\ud800"'),
    "no JSON": lambda body: body[:-1],
    "nothing": lambda _: b"",
    "a system property": lambda body: body.replace(b'{"body"', b'{"_ts":1,"body"'),
}


@pytest.mark.parametrize("spelling", UNCANONICAL, ids=lambda each: each[:20])
def test_a_body_that_is_not_canonical_is_found(forger: Forger, spelling: str) -> None:
    """Though every digest of it was computed anew."""
    assert forged(forger, bodies(UNCANONICAL[spelling])) == {"canonical"}


def rows(**changes: Any) -> Callable[[Documents], Documents]:
    return lambda found: [(replace(found[0][0], **changes), found[0][1]), *found[1:]]


def doubled(found: Documents) -> Documents:
    return [found[0], *found]


def renamed(found: Documents) -> Documents:
    document = json.loads(found[0][1])
    return [with_body(found[0], canonical_bytes(document | {"id": "!"})), *found[1:]]


def moved(found: Documents) -> Documents:
    document = json.loads(found[0][1])
    return [with_body(found[0], canonical_bytes(document | {"pk": "!"})), *found[1:]]


FORGED: dict[str, tuple[Callable[[Documents], Documents], set[str]]] = {
    "another id in the body": (renamed, {"identity"}),
    "another partition key in the body": (moved, {"identity"}),
    "another id in the row": (rows(id=""), {"identity"}),
    "another partition key in the row": (rows(partition_key='["!"]'), {"identity"}),
    "a body without id": (bodies(lambda _: b"{}"), {"identity"}),
    "a body that is a list": (bodies(lambda _: b"[]"), {"identity"}),
    "a digest of something else": (rows(sha256="0" * 64), {"digest"}),
    "before its window": (rows(ts=0), {"window"}),
    "beyond its window": (rows(ts=2_000_000_000), {"window"}),
    "long before 1970": (rows(ts=-(2**63)), {"window"}),
    "out of order": (lambda found: found[::-1], {"order"}),
    "twice in its slice": (doubled, {"order", "duplicate"}),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_document_is_found_though_all_digests_fit(forger: Forger, name: str) -> None:
    """Blob, manifest, receipt and summary were rebuilt around it."""
    change, expected = FORGED[name]
    assert forged(forger, change) == expected


def test_a_document_in_another_months_folder_is_found(forger: Forger) -> None:
    """A window may begin long before its month; its documents may not."""
    target = forger.slices()[0]
    assert forger.receipt(target)["window"]["lo"] == 0
    (row, body), *others = forger.documents(target)
    forger.rebuild(target, [(replace(row, ts=row.ts - 40 * 86_400), body), *others])
    forger.seal()
    assert kinds(forger.folder) == {"window"}


@pytest.mark.parametrize("edge", ["lo", "hi"])
def test_a_window_holds_its_first_second_and_not_its_end(rich: Path, edge: str) -> None:
    """Half-open, also where the month goes on."""
    forger = Forger(rich)
    target = next(each for each in forger.slices() if "-p" not in each)
    (row, body), *others = forger.documents(target)
    at_edge = replace(row, ts=forger.receipt(target)["window"][edge])
    forger.rebuild(target, [(at_edge, body), *others])
    forger.seal()
    assert kinds(rich) == ({"window"} if edge == "hi" else set())


def test_a_document_in_two_slices_is_found_and_named(forger: Forger) -> None:
    """Each slice alone is sound; together they hold one document twice."""
    one, other = forger.slices()[:2]
    row, body = forger.documents(one)[0]
    inside = replace(row, ts=forger.receipt(other)["window"]["hi"] - 1)
    together = sorted([*forger.documents(other), (inside, body)], key=lambda e: e[0].key)
    forger.rebuild(other, together)
    forger.seal()
    faults = audited(forger.folder)[1]["faults"]
    assert set(faults) == {"duplicate"}
    (fault,) = faults["duplicate"]["first"]
    assert (fault["id"], fault["partition_key"]) == (row.id, row.partition_key)
    assert other in fault["blob"]
    assert one in fault["seen"]


def test_many_keys_in_many_files_are_told_apart(tmp_path: Path) -> None:
    """Far more than wait in memory, and only what was given twice comes back."""
    keys = audit.Keys(tmp_path)
    for number in range(audit.BUCKET_BYTES // 20 * 256 * 2 // 100):
        keys.add(audit.Key("[1]", str(number)), number)
    audit.BUCKET_BYTES, before = 40, audit.BUCKET_BYTES
    keys.add(audit.Key("[1]", "77"), 5)
    keys.add(audit.Key("[2]", "78"), 6)
    audit.BUCKET_BYTES = before
    digest = audit.key_digest(audit.Key("[1]", "77"))
    assert list(keys.doubled()) == [(digest, 5, 77)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"row_group": 1}, {"changed document"}),
        ({"etag": "x"}, {"changed document"}),
        ({"ts": 1}, {"changed document"}),
        ({"sha256": "0" * 64}, {"changed document"}),
        ({"id": ""}, {"lost document", "added document"}),
        ({"partition_key": '["!"]'}, {"lost document", "added document"}),
    ],
    ids=lambda each: "".join(sorted(each)),
)
def test_a_manifest_that_differs_from_its_file_is_found(
    forger: Forger, change: dict[str, Any], expected: set[str]
) -> None:
    """Row by row, whatever Merkle root was computed over it."""
    target = first(forger)
    found = forger.documents(target)
    promised = [row for row, _ in found]
    forger.rebuild(target, found, [replace(promised[0], **change), *promised[1:]])
    forger.seal()
    assert kinds(forger.folder) == expected


def test_a_root_that_the_rows_do_not_give_is_found(forger: Forger) -> None:
    """Though receipt, manifest's label and summary agree on it."""
    forged_root = {"merkle_root": "0" * 64}
    target = first(forger)
    edited(forger, **forged_root)
    path = forger.path(manifest(forger))
    table = pq.read_table(path)
    labels = table.schema.metadata | {b"ebb.merkle_root": b"0" * 64}
    pq.write_table(table.replace_schema_metadata(labels), path)
    forger.rehash(target, "manifest")
    forger.seal()
    assert kinds(forger.folder) == {"merkle root"}


def test_a_count_that_the_rows_do_not_give_is_found(forger: Forger) -> None:
    """Though the receipt is consistent in itself and the summary repeats it."""
    more = forger.receipt(first(forger))["documents"] + 1
    edited(forger, documents=more, counts={"before": more, "read": more, "after": more})
    forger.seal()
    faults = audited(forger.folder)[1]["faults"]
    assert set(faults) == {"count"}
    assert {fault["blob"] for fault in faults["count"]["first"]} == {
        manifest(forger),
        "migration.json",
    }


def test_an_id_outside_the_bounds_of_its_part_is_found(rich: Path) -> None:
    """A second is cut by ids, and each part holds its own."""
    forger = Forger(rich)
    target = next(each for each in forger.slices() if each.endswith("-p001"))
    (row, body), *others = forger.documents(target)
    document = json.loads(body) | {"id": "\x01"}
    row, body = with_body((replace(row, id="\x01"), body), canonical_bytes(document))
    entries = sorted([(row, body), *others], key=lambda each: each[0].key)
    forger.rebuild(target, entries)
    forger.seal()
    assert kinds(rich) == {"window"}


def test_the_upper_bound_of_a_part_belongs_to_the_next(rich: Path) -> None:
    """Id bounds are half-open, as windows are."""
    forger = Forger(rich)
    target = next(each for each in forger.slices() if each.endswith("-p000"))
    bound = forger.receipt(target)["ids"]["hi"]
    (row, body), *others = forger.documents(target)
    document = json.loads(body) | {"id": bound}
    entry = with_body((replace(row, id=bound), body), canonical_bytes(document))
    forger.rebuild(target, sorted([entry, *others], key=lambda each: each[0].key))
    forger.seal()
    assert kinds(rich) == {"window"}


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0, 10), (10, 20)], []),
        ([(10, 20), (0, 10)], []),
        ([(0, 11), (10, 20)], ["overlap"]),
        ([(0, 9), (10, 20)], ["gap"]),
        ([(0, 20), (5, 6)], ["overlap"]),
        ([(1, 20)], ["gap"]),
        ([(0, 10), (0, 10), (10, 20)], ["overlap"]),
        ([(0, 19)], ["gap"]),
        ([(0, 21)], ["overlap"]),
        ([], ["gap"]),
    ],
    ids=str,
)
def test_windows_must_tile_their_range(spans: list[tuple[int, int]], expected: list[str]) -> None:
    """From zero to the end, each second once."""
    extents = [audit.Extent(*span, "", None, str(span)) for span in spans]
    assert [kind for kind, _ in audit.tiling(extents, 20)] == expected


@pytest.mark.parametrize("part", ["-p000", "-p001"])
def test_a_missing_part_of_a_second_is_a_gap(rich: Path, part: str) -> None:
    """The first ids or the last ones are covered by nothing."""
    forger = Forger(rich)
    target = next(each for each in forger.slices() if each.endswith(part))
    for name in (f"receipts/{target}.json", f"manifests/{target}.parquet", forger.data(target)):
        (rich / name).unlink()
    forger.seal()
    assert kinds(rich) == {"gap"}


def test_parts_that_overlap_are_found(rich: Path) -> None:
    """The second part begins where the first one did."""
    forger = Forger(rich)
    target = next(each for each in forger.slices() if each.endswith("-p001"))
    forger.write_receipt(target, forger.receipt(target) | {"ids": {"lo": None, "hi": None}})
    forger.seal()
    assert kinds(rich) == {"overlap"}


def rewritten(forger: Forger, kind: str, change: Callable[[pa.Table], pa.Table]) -> set[str]:
    """The kinds of fault after a file was written anew by other hands and rehashed."""
    path = forger.path(forger.receipt(first(forger))[kind]["name"])
    pq.write_table(change(pq.read_table(path)), path, row_group_size=32)
    forger.rehash(first(forger), kind)
    forger.seal()
    return kinds(forger.folder)


def recast(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        column = table.schema.get_field_index(name)
        return table.set_column(column, name, table.column(name).cast(kind))

    return change


def emptied(name: str) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        column = table.schema.get_field_index(name)
        nulls = pa.nulls(len(table), table.schema.field(name).type)
        return table.set_column(column, pa.field(name, nulls.type, nullable=True), nulls)

    return change


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("blob", lambda table: table.drop_columns(["document"])),
        ("blob", recast("document", pa.large_string())),
        ("blob", recast("document", pa.binary())),
        ("blob", recast("_ts", pa.float64())),
        ("blob", emptied("document")),
        ("blob", lambda table: table.append_column("id", table.column("id"))),
        ("manifest", lambda table: table.drop_columns(["etag"])),
        ("manifest", recast("row_group", pa.string())),
        ("manifest", emptied("id")),
    ],
)
def test_a_table_of_another_form_is_unreadable(
    forger: Forger, kind: str, change: Callable[[pa.Table], pa.Table]
) -> None:
    """Columns lost, doubled, of another type or without values."""
    assert "unreadable" in rewritten(forger, kind, change)


@pytest.mark.parametrize("kind", ["blob", "manifest"])
def test_a_file_with_another_slices_labels_is_found(forger: Forger, kind: str) -> None:
    """Its own metadata says whose it is."""
    assert rewritten(forger, kind, lambda table: table.replace_schema_metadata({})) == {"label"}


@pytest.mark.parametrize("kind", ["blob", "manifest"])
@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" * 9, b"{}", b"PAR1" + b"\xff" * 99 + b"\x40\0\0\0PAR1"]
)
def test_a_foreign_file_is_named_and_breaks_nothing(
    forger: Forger, kind: str, content: bytes
) -> None:
    """Rehashed bytes that are no Parquet at all."""
    forger.path(forger.receipt(first(forger))[kind]["name"]).write_bytes(content)
    forger.rehash(first(forger), kind)
    forger.seal()
    assert "unreadable" in kinds(forger.folder)


def test_a_table_that_would_fill_the_memory_is_refused(forger: Forger) -> None:
    """A few KiB on disk, and gigabytes once a dictionary's one entry stands in every row."""
    rows = 20_000
    entry = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 100_000])

    def bomb(table: pa.Table) -> pa.Table:
        columns = {name: pa.array(["x"] * rows) for name in table.column_names}
        return pa.table(columns | {"id": entry, "_ts": pa.array([1] * rows)})

    path = forger.path(data(forger))
    pq.write_table(bomb(pq.read_table(path)), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 100_000
    forger.rehash(first(forger), "blob")
    forger.seal()
    faults = audited(forger.folder)[1]["faults"]
    assert "bytes of memory" in faults["unreadable"]["first"][0]["seen"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"ebb_receipt":' + b"9" * 5_000 + b"}",
        b'{"ebb_receipt":NaN}',
    ],
    ids=range(8),
)
def test_a_receipt_that_is_no_receipt_is_named(forger: Forger, content: bytes) -> None:
    """Whatever stands there, it is a fault and no traceback."""
    forger.path(receipt(forger)).write_bytes(content)
    assert kinds(forger.folder) >= {"receipt", "fingerprint", "gap"}


def test_a_key_that_stands_twice_in_a_receipt_is_found(forger: Forger) -> None:
    """Two readers could understand it differently."""
    forger.change(receipt(forger), lambda text: text.replace(b'"fence"', b'"fence": 1, "fence"', 1))
    assert kinds(forger.folder) >= {"receipt"}


def test_many_faults_are_counted_and_the_first_are_named(forger: Forger) -> None:
    """Twenty of each kind, and how many there are."""
    for number in range(33):
        placed(f"data/{number:02d}.parquet")(forger)
    faults = audited(forger.folder)[1]["faults"]["stranger"]
    assert (faults["count"], len(faults["first"])) == (33, 20)
    assert faults["first"][0]["blob"] == "data/00.parquet"
    assert "and 13 more" in told(str(forger.folder))[1]


def test_no_report_shows_a_documents_body(forger: Forger) -> None:
    """Faults name ids and keys; what a record says is nobody's business here."""
    hidden = json.dumps(SECRET)
    forged(
        forger,
        bodies(lambda body: body.replace(b'{"body"', b'{ "a":' + hidden.encode() + b',"body"')),
    )
    for options in ((), ("--json",)):
        code, out, errors = told(str(forger.folder), *options)
        assert code == audit.FAULTY
        assert SECRET not in out + errors


def test_names_from_an_archive_cannot_steer_a_terminal(forger: Forger) -> None:
    """An escape sequence in a blob's name is shown as text, and endless names are cut."""
    placed("data/\x1b[2Jgone")(forger)
    placed("/".join(["data", "x" * 200, "y" * 200, "z" * 200]))(forger)
    _, out, _ = told(str(forger.folder))
    assert "\x1b" not in out
    assert "\\u001b[2Jgone" in out
    assert all(len(line) < 500 for line in out.splitlines())
