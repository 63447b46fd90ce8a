"""Every kind of corruption: what is harmed, how it is hidden, and who must find it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from random import Random
from typing import Any

import pyarrow.parquet as pq

from shared.application.dispatching import work_message
from shared.domain.merkle import merkle_root
from shared.domain.receipt import SUMMARY, Row
from tests.campaign.edits import (
    DATA_EDITS,
    MANIFEST_EDITS,
    NOBODY,
    Edit,
    Ids,
    column,
    longer,
    manifest_altered,
    member_dropped,
    one_document,
    row_missing,
)
from tests.campaign.samples import (
    SINK,
    Draft,
    Judge,
    Pool,
    Sample,
    compared,
    resumed,
    validated,
    verified,
)
from tests.campaign.sheets import FIXED, MANIFEST, Sheet, contradicting_ids

ADDED_MAX = 64
FITTING_TRIES_MAX = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One corruption in the making: the copy to harm, and another sample to take things from."""

    rng: Random
    draft: Draft
    other: Sample

    @property
    def sample(self) -> Sample:
        return self.draft.sample


Harm = Callable[[Case], Ids | None]
"""Harms the draft; the ids a verdict must name, or None where this sample does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    place: str
    what: str
    harm: Harm
    judge: Judge
    mode: str | None = None
    """Where only one way of validating can find it."""

    def make(self, pool: Pool, rng: Random) -> tuple[Draft, Ids]:
        """A harmed copy of some sample that offers what this kind harms."""
        samples = pool.staged if self.place.startswith("staged") else pool.archived
        fitting = [sample for sample in samples if self.mode in {None, sample.mode}]
        for _ in range(FITTING_TRIES_MAX):
            draft = Draft.of(rng.choice(fitting))
            ids = self.harm(Case(rng=rng, draft=draft, other=rng.choice(samples)))
            if ids is not None:
                return draft, ids
        raise LookupError(f"no sample fits: {self.place}, {self.what}")


# Rows edited and the file written again.


def data_edited(edit: Edit, *, restated: bool) -> Harm:
    def harm(case: Case) -> Ids | None:
        sheet = case.sample.data.copy()
        ids = edit(sheet, case.rng)
        if ids is not None:
            case.draft.put_blob(sheet.written(), restated=restated)
        return ids

    return harm


def manifest_edited(edit: Edit, *, restated: bool) -> Harm:
    def harm(case: Case) -> Ids | None:
        sheet = case.sample.manifest.copy()
        ids = edit(sheet, case.rng)
        if ids is not None:
            case.draft.put_manifest(sheet.written(), restated=restated)
        return ids

    return harm


def group_spliced(*, restated: bool) -> Harm:
    """A row group of another file takes the place of one here."""

    def harm(case: Case) -> Ids | None:
        sheet = case.sample.data.copy()
        at = case.rng.randrange(len(sheet.groups))
        foreign = case.rng.choice(case.other.data.groups)
        taken = [{name: row.get(name) for name in sheet.schema.names} for row in foreign]
        gone = [row for row in sheet.groups[at] if row not in taken]
        if not gone:
            return None
        sheet.groups[at] = taken
        case.draft.put_blob(sheet.written(), restated=restated)
        return frozenset(row["id"] for row in gone)

    return harm


def forged_throughout(edit: Edit) -> Harm:
    """Document, digest, manifest, root and all that is recorded agree: only the source does not."""

    def harm(case: Case) -> Ids | None:
        sheet, draft = case.sample.data.copy(), case.draft
        ids = edit(sheet, case.rng)
        if ids is None or not sheet.rows:
            return None
        sheet.groups = [group for group in sheet.groups if group]
        listed = [
            {
                "partition_key": row["_partition_key"],
                "id": row["id"],
                "etag": row["_etag"],
                "ts": row["_ts"],
                "sha256": row["sha256"],
                "row_group": number,
            }
            for number, group in enumerate(sheet.groups)
            for row in group
        ]
        manifest = Sheet(schema=case.sample.manifest.schema, groups=[listed])
        draft.put_blob(sheet.written(), restated=True)
        draft.put_manifest(manifest.written(), restated=True)
        root = merkle_root(Row(**row).leaf() for row in listed)
        draft.restate(merkle_root=root, documents=len(listed))
        return ids

    return harm


# Bytes harmed as they lie.


def flipped(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def truncated(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data))]


def lengthened(data: bytes, rng: Random) -> bytes:
    return data + rng.randbytes(rng.randint(1, ADDED_MAX))


BYTES: dict[str, Callable[[bytes, Random], bytes]] = {
    "a bit is flipped": flipped,
    "the end is cut off": truncated,
    "bytes are appended": lengthened,
}


def blob_bytes(change: Callable[[bytes, Random], bytes]) -> Harm:
    def harm(case: Case) -> Ids:
        data = change(case.draft.blobs[case.sample.blob_name], case.rng)
        case.draft.put_blob(data, restated=False)
        return contradicting_ids(case.sample.data, data, FIXED)

    return harm


def manifest_bytes(change: Callable[[bytes, Random], bytes]) -> Harm:
    def harm(case: Case) -> Ids:
        data = change(case.draft.blobs[case.sample.manifest_name], case.rng)
        case.draft.put_manifest(data, restated=False)
        return contradicting_ids(case.sample.manifest, data, MANIFEST)

    return harm


def page_spliced(case: Case) -> Ids | None:
    """A column's pages in one row group are overwritten with those of another file."""
    mine = case.draft.blobs[case.sample.blob_name]
    theirs = case.other.blobs[case.other.blob_name]
    start, size = _chunk(mine, case.rng)
    from_, taken = _chunk(theirs, case.rng)
    pages = theirs[from_ : from_ + min(size, taken)]
    data = mine[:start] + pages + mine[start + len(pages) :]
    if data == mine:
        return None
    case.draft.put_blob(data, restated=False)
    return contradicting_ids(case.sample.data, data, FIXED)


def _chunk(data: bytes, rng: Random) -> tuple[int, int]:
    metadata = pq.ParquetFile(BytesIO(data)).metadata
    group = metadata.row_group(rng.randrange(metadata.num_row_groups))
    column = group.column(rng.randrange(group.num_columns))
    return column.dictionary_page_offset or column.data_page_offset, column.total_compressed_size


# Whole files lost, exchanged or added.


def _differ(case: Case) -> bool:
    return case.other.slice.id != case.sample.slice.id or case.other.data != case.sample.data


def foreign_blob(*, restated: bool) -> Harm:
    """Another slice's file, sound in itself: this one's documents are not in it."""

    def harm(case: Case) -> Ids | None:
        data = case.other.blobs[case.other.blob_name]
        if not _differ(case) or data == case.draft.blobs[case.sample.blob_name]:
            return None
        case.draft.put_blob(data, restated=restated)
        return contradicting_ids(case.sample.data, data, FIXED)

    return harm


def foreign_manifest(*, restated: bool) -> Harm:
    def harm(case: Case) -> Ids | None:
        data = case.other.blobs[case.other.manifest_name]
        if not _differ(case) or data == case.draft.blobs[case.sample.manifest_name]:
            return None
        case.draft.put_manifest(data, restated=restated)
        return contradicting_ids(case.sample.manifest, data, MANIFEST)

    return harm


def blob_lost(case: Case) -> Ids:
    del case.draft.blobs[case.sample.blob_name]
    return NOBODY


def manifest_lost(case: Case) -> Ids:
    del case.draft.blobs[case.sample.manifest_name]
    return NOBODY


def receipt_lost(case: Case) -> Ids:
    del case.draft.blobs[case.sample.receipt_name]
    return NOBODY


def slice_lost(case: Case) -> Ids:
    """Receipt, manifest and blob together: only the coverage tells."""
    for name in (case.sample.receipt_name, case.sample.manifest_name, case.sample.blob_name):
        del case.draft.blobs[name]
    case.draft.seal()
    return NOBODY


def stranger_added(case: Case) -> Ids:
    name = case.rng.choice([case.sample.blob_name, case.sample.manifest_name])
    case.draft.blobs[name.replace(".parquet", "x.parquet")] = case.draft.blobs[name]
    return NOBODY


def receipt_bytes(change: Callable[[bytes, Random], bytes]) -> Harm:
    def harm(case: Case) -> Ids:
        name = case.sample.receipt_name
        case.draft.blobs[name] = change(case.draft.blobs[name], case.rng)
        return NOBODY

    return harm


def foreign_receipt(case: Case) -> Ids | None:
    """Of another slice here, or of the same slice in another archive."""
    theirs = case.other.blobs[case.other.receipt_name]
    if theirs == case.draft.blobs[case.sample.receipt_name]:
        return None
    case.draft.blobs[case.sample.receipt_name] = theirs
    return NOBODY


def receipt_field(case: Case) -> Ids:
    return _field(case, case.sample.receipt_name)


def summary_field(case: Case) -> Ids:
    return _field(case, SUMMARY)


def _field(case: Case, name: str) -> Ids:
    """One fact anywhere in a JSON record says something else."""
    body = json.loads(case.draft.blobs[name])
    holder, key = case.rng.choice(list(_facts(body)))
    holder[key] = _otherwise(holder[key], case.rng)
    case.draft.blobs[name] = json.dumps(body, indent=1, sort_keys=True).encode()
    return NOBODY


def _facts(value: Any) -> list[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[tuple[Any, Any]] = []
    for key, member in pairs:
        inner = _facts(member) if isinstance(member, dict | list) and member else []
        found += inner or [(value, key)]
    return found


def _otherwise(value: Any, rng: Random) -> Any:
    if isinstance(value, int | float):
        return value + rng.choice([-1, 1])
    if isinstance(value, str):
        return rng.choice([f"{value}x", value[:-1] if value else "x", None])
    return "x" if value is None else [*value, "x"]


def after_the_receipt(harm: Harm) -> Harm:
    """A receipt stands and nothing is promoted yet, as after a crash; then something is harmed."""

    def harmed(case: Case) -> Ids | None:
        app = Draft.of(case.sample).assembled()
        archive = app.ports.archives.open(SINK, case.sample.mode)
        app.validating.run(work_message(case.sample.slice))
        receipt = archive.read(case.sample.receipt_name)
        assert receipt is not None
        case.draft.blobs[case.sample.receipt_name] = receipt
        return NOBODY if harm(case) is not None else None

    return harmed


ARCHIVED: dict[str, Harm] = {
    **{f"{what} in a receipt": receipt_bytes(change) for what, change in BYTES.items()},
    "a receipt says something else": receipt_field,
    "the summary says something else": summary_field,
    "a receipt is another slice's": foreign_receipt,
    "a receipt is lost": receipt_lost,
    "a whole slice is lost": slice_lost,
    "a stranger is added": stranger_added,
}
_AFTER: dict[str, Harm] = {
    "a bit is flipped in a blob": blob_bytes(flipped),
    "a blob is lost": blob_lost,
    "a member is dropped": data_edited(one_document(member_dropped), restated=True),
    "the blob is another slice's": foreign_blob(restated=True),
    "a manifest row is altered": manifest_edited(manifest_altered, restated=True),
}
AFTER = {what: after_the_receipt(harm) for what, harm in _AFTER.items()}
FORGED: dict[str, Edit] = {
    "a member is dropped": one_document(member_dropped, restated=True),
    "a row is missing": row_missing,
    "the etag column is altered": column("_etag", longer),
}


def _rewritings(*, restated: bool) -> dict[str, Harm]:
    """Everything that leaves valid Parquet behind."""
    return {
        **{w: data_edited(edit, restated=restated) for w, edit in DATA_EDITS.items()},
        **{w: manifest_edited(edit, restated=restated) for w, edit in MANIFEST_EDITS.items()},
        "a row group of another file is spliced in": group_spliced(restated=restated),
        "the blob is another slice's": foreign_blob(restated=restated),
        "the manifest is another slice's": foreign_manifest(restated=restated),
    }


def _raw() -> dict[str, Harm]:
    """Bytes harmed as they lie, and files lost."""
    return {
        **{f"{what} in a blob": blob_bytes(change) for what, change in BYTES.items()},
        **{f"{what} in a manifest": manifest_bytes(change) for what, change in BYTES.items()},
        "pages of another file are spliced in": page_spliced,
        "a blob is lost": blob_lost,
        "a manifest is lost": manifest_lost,
    }


def _kinds() -> Iterator[Kind]:
    forged = {what: forged_throughout(edit) for what, edit in FORGED.items()}
    places: list[tuple[str, dict[str, Harm], Judge]] = [
        ("staged", _raw() | _rewritings(restated=False), validated),
        ("staged, recorded anew", _rewritings(restated=True), validated),
        ("staged, forged throughout", forged, validated),
        ("staged, after the receipt", AFTER, resumed),
        ("archived", _raw() | _rewritings(restated=False) | ARCHIVED, verified),
        ("archived, recorded anew", _rewritings(restated=True), verified),
        ("archived, forged throughout", forged, compared),
    ]
    for place, harms, judge in places:
        mode = "reread" if place == "staged, forged throughout" else None
        for what, harm in harms.items():
            yield Kind(place=place, what=what, harm=harm, judge=judge, mode=mode)


KINDS = tuple(_kinds())
