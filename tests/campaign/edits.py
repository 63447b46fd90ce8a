"""Edits of a Parquet file's rows, as careless engines, wrong merges and forgers make them.

An edit changes the rows in place and says which ids a verdict must name, or None where the file
offers nothing to edit so. None of them asks the product what is equal.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from shared.domain.canonical import canonical_bytes
from tests.campaign.sheets import Cells, Sheet, sha256
from tests.property import reference

Ids = frozenset[str]
Edit = Callable[[Sheet, Random], Ids | None]
Change = Callable[[Any, Random], bool]
"""Of a parsed document, in place; False where it holds nothing to change so."""

DATE = re.compile(r"^(\d{4})-(\d\d)-(\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z$")
EXACT_MAX = 2**53
FLOAT_MAX = 10**308
NOBODY: Ids = frozenset()


def _date(text: str, rng: Random) -> str:
    found = DATE.match(text)
    assert found is not None
    year, month, day, clock = found.groups()
    return rng.choice(
        [
            f"{year}-{month}-{day}T{clock}.0000000",
            f"{year}-{month}-{day} {clock}",
            f"{month}/{day}/{year} {clock}",
            f"{year}-{month}-{day}T{clock}+00:00",
        ]
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_rounded_by_a_float(value: Any) -> bool:
    return type(value) is int and EXACT_MAX < abs(value) < FLOAT_MAX and int(float(value)) != value


def _is_fraction(value: Any) -> bool:
    return isinstance(value, float) and not value.is_integer()


def _has_forms(value: Any) -> bool:
    return isinstance(value, str) and _other_form(value) != value


def _other_form(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)
    return composed if composed != text else unicodedata.normalize("NFD", text)


def _has_lone_surrogate(value: Any) -> bool:
    return isinstance(value, str) and any(0xD800 <= ord(c) <= 0xDFFF for c in value)


def _without_surrogates(text: str) -> str:
    return "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text)


def _has_an_order(value: Any) -> bool:
    return isinstance(value, list) and reference.canonical(value) != reference.canonical(
        value[::-1]
    )


REWRITES: dict[str, tuple[Callable[[Any], bool], Callable[[Any, Random], Any]]] = {
    "a datetime is rewritten": (lambda v: isinstance(v, str) and bool(DATE.match(v)), _date),
    "an integer beyond 2^53 becomes a float": (_is_rounded_by_a_float, lambda v, _: float(v)),
    "a fraction loses its last bit": (_is_fraction, lambda v, _: math.nextafter(v, math.inf)),
    "a number becomes text": (_is_number, lambda v, _: str(v)),
    "a boolean becomes a number": (lambda v: isinstance(v, bool), lambda v, _: int(v)),
    "an empty object becomes null": (lambda v: v == {}, lambda _v, _: None),
    "null becomes an empty object": (lambda v: v is None, lambda _v, _: {}),
    "an empty list becomes null": (lambda v: v == [], lambda _v, _: None),
    "an empty text becomes null": (lambda v: v == "", lambda _v, _: None),
    "a text is normalised": (_has_forms, lambda v, _: _other_form(v)),
    "a lone surrogate is replaced": (_has_lone_surrogate, lambda v, _: _without_surrogates(v)),
    "a text is cut": (lambda v: isinstance(v, str) and v != "", lambda v, _: v[:-1]),
    "a list is turned round": (_has_an_order, lambda v, _: v[::-1]),
}


def _spots(value: Any, *, top: bool = True) -> Iterator[tuple[Any, Any]]:
    """Every place in a document, but for its id: container and key or index."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in pairs:
        if top and key == "id":
            continue
        yield value, key
        if isinstance(member, dict | list):
            yield from _spots(member, top=False)


def _rewriting(name: str) -> Change:
    fits, new = REWRITES[name]

    def change(document: Any, rng: Random) -> bool:
        found = [(holder, key) for holder, key in _spots(document) if fits(holder[key])]
        if not found:
            return False
        holder, key = rng.choice(found)
        holder[key] = new(holder[key], rng)
        return True

    return change


def _members(document: Any, fits: Callable[[Any], bool]) -> list[tuple[Any, Any]]:
    return [(h, k) for h, k in _spots(document) if isinstance(h, dict) and fits(h[k])]


def null_goes_missing(document: Any, rng: Random) -> bool:
    found = _members(document, lambda value: value is None)
    if found:
        holder, key = rng.choice(found)
        del holder[key]
    return bool(found)


def missing_becomes_null(document: Any, rng: Random) -> bool:
    """As a fixed schema fills its columns."""
    holders = [document] + [h[k] for h, k in _spots(document) if isinstance(h[k], dict)]
    holder = rng.choice(holders)
    if "absent" in holder:
        return False
    holder["absent"] = None
    return True


def member_dropped(document: Any, rng: Random) -> bool:
    found = _members(document, lambda _: True)
    if found:
        holder, key = rng.choice(found)
        del holder[key]
    return bool(found)


def member_renamed(document: Any, rng: Random) -> bool:
    found = [(h, k) for h, k in _members(document, lambda _: True) if f"{k}_" not in h]
    if found:
        holder, key = rng.choice(found)
        holder[f"{key}_"] = holder.pop(key)
    return bool(found)


def id_rewritten(document: Any, rng: Random) -> bool:
    document["id"] += "x"
    return True


CHANGES: dict[str, Change] = {
    **{name: _rewriting(name) for name in REWRITES},
    "null goes missing": null_goes_missing,
    "what was missing becomes null": missing_becomes_null,
    "a member is dropped": member_dropped,
    "a member is renamed": member_renamed,
    "the document's id is rewritten, not the column's": id_rewritten,
}


def _text(document: Any, rng: Random) -> str:
    """As Ebb writes it, or as any other engine does."""
    if rng.random() < 0.5:
        return canonical_bytes(document).decode()
    return json.dumps(document, separators=(",", ":"))


def _write(row: Cells, text: str, *, restated: bool) -> None:
    row["document"] = text
    if restated:
        row["sha256"] = sha256(text.encode())


def one_document(change: Change, *, restated: bool | None = None) -> Edit:
    """The edit of one document that fits, with its digest column left or computed anew."""

    def edit(sheet: Sheet, rng: Random) -> Ids | None:
        rows = sheet.rows
        for row in rng.sample(rows, len(rows)):
            document = json.loads(row["document"])
            if change(document, rng):
                anew = rng.random() < 0.5 if restated is None else restated
                _write(row, _text(document, rng), restated=anew)
                return frozenset({row["id"]})
        return None

    return edit


def respelt(sheet: Sheet, rng: Random) -> Ids:
    """The same value in other bytes: what stands there is then not what was hashed."""
    row = rng.choice(sheet.rows)
    _write(row, json.dumps(json.loads(row["document"]), indent=1), restated=rng.random() < 0.5)
    return frozenset({row["id"]})


def inferred_schema(sheet: Sheet, rng: Random) -> Ids | None:
    """Whatever the first document does not have is dropped from all others."""
    known = json.loads(sheet.rows[0]["document"]).keys()
    changed = set()
    for row in sheet.rows:
        document = json.loads(row["document"])
        kept = {key: value for key, value in document.items() if key in known}
        if kept != document:
            _write(row, _text(kept, rng), restated=True)
            changed.add(row["id"])
    return frozenset(changed) or None


def _two(sheet: Sheet, rng: Random) -> tuple[Cells, Cells] | None:
    rows = sheet.rows
    pair = rng.sample(rows, 2) if len(rows) > 1 else None
    return None if pair is None else (pair[0], pair[1])


def bodies_swapped(sheet: Sheet, rng: Random) -> Ids | None:
    """Two documents exchange bodies, and their digests with them or not."""
    pair = _two(sheet, rng)
    if pair is None:
        return None
    one, other = pair
    for name in ("document", "sha256") if rng.random() < 0.5 else ("document",):
        one[name], other[name] = other[name], one[name]
    return frozenset({one["id"], other["id"]})


def row_missing(sheet: Sheet, rng: Random) -> Ids:
    group = rng.choice(sheet.groups)
    return frozenset({group.pop(rng.randrange(len(group)))["id"]})


def row_duplicated(sheet: Sheet, rng: Random) -> Ids:
    row = rng.choice(sheet.rows)
    group = rng.choice(sheet.groups)
    group.insert(rng.randrange(len(group) + 1), dict(row))
    return frozenset({row["id"]})


def order_changed(sheet: Sheet, rng: Random) -> Ids | None:
    """Rows of one group change places: each still says the truth of its own document."""
    groups = [group for group in sheet.groups if len(group) > 1]
    if not groups:
        return None
    group = rng.choice(groups)
    at, to = rng.sample(range(len(group)), 2)
    group[at], group[to] = group[to], group[at]
    return NOBODY


def group_changed(sheet: Sheet, rng: Random) -> Ids | None:
    """A row stands in another row group than its manifest says, where a look-up misses it."""
    if len(sheet.groups) < 2:
        return None
    source, target = rng.sample([group for group in sheet.groups if group], 2)
    row = source.pop(rng.randrange(len(source)))
    target.append(row)
    return frozenset({row["id"]})


def column(name: str, new: Callable[[Any, Random], Any]) -> Edit:
    """One cell of a column is altered."""

    def edit(sheet: Sheet, rng: Random) -> Ids:
        row = rng.choice(sheet.rows)
        row_id = row["id"]
        row[name] = new(row[name], rng)
        return frozenset({row_id})

    return edit


def shown_altered(sheet: Sheet, rng: Random) -> Ids:
    row = rng.choice(sheet.rows)
    name = rng.choice(sheet.shown)
    row[name] = f"{row[name]}x"
    return NOBODY


def shown_dropped(sheet: Sheet, rng: Random) -> Ids:
    at = sheet.schema.get_field_index(rng.choice(sheet.shown))
    sheet.schema = sheet.schema.remove(at)
    return NOBODY


def fixed_dropped(sheet: Sheet, rng: Random) -> Ids:
    name = rng.choice(["id", "_partition_key", "_ts", "_etag", "sha256", "document"])
    sheet.schema = sheet.schema.remove(sheet.schema.get_field_index(name))
    return NOBODY


def longer(text: str, rng: Random) -> str:
    return f"{text}x"


def later(number: int, rng: Random) -> int:
    return number + rng.choice([-1, 1, 3600])


def other_digit(text: str, rng: Random) -> str:
    at = rng.randrange(len(text))
    return f"{text[:at]}{'0' if text[at] != '0' else '1'}{text[at + 1 :]}"


DATA_EDITS: dict[str, Edit] = {
    **{name: one_document(change) for name, change in CHANGES.items()},
    "document and digest are altered together": one_document(member_dropped, restated=True),
    "a document is spelt otherwise": respelt,
    "what the first document lacks is dropped": inferred_schema,
    "two documents exchange bodies": bodies_swapped,
    "a row is missing": row_missing,
    "a row is duplicated": row_duplicated,
    "rows change places": order_changed,
    "a row changes its row group": group_changed,
    "the id column is altered": column("id", longer),
    "the partition key column is altered": column("_partition_key", longer),
    "the etag column is altered": column("_etag", longer),
    "the time column is altered": column("_ts", later),
    "the digest column is altered": column("sha256", other_digit),
    "a column Ebb needs is dropped": fixed_dropped,
    "a column for queries is altered": shown_altered,
    "a column for queries is dropped": shown_dropped,
}


def manifest_altered(sheet: Sheet, rng: Random) -> Ids:
    row = rng.choice(sheet.rows)
    row_id = row["id"]
    name = rng.choice(["partition_key", "id", "etag", "sha256", "ts", "row_group"])
    row[name] = later(row[name], rng) if name in {"ts", "row_group"} else longer(row[name], rng)
    return frozenset({row_id})


def manifest_row_added(sheet: Sheet, rng: Random) -> Ids:
    row = rng.choice(sheet.rows)
    sheet.groups[0].append(row | {"id": f"{row['id']}x"})
    return frozenset({f"{row['id']}x"})


MANIFEST_EDITS: dict[str, Edit] = {
    "a manifest row is altered": manifest_altered,
    "a manifest row is removed": row_missing,
    "a manifest row is duplicated": row_duplicated,
    "a manifest row is added": manifest_row_added,
    "manifest rows change places": order_changed,
}
