"""Which pointer takes whose place, and how a stub holds one."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from shared.domain.pointers import (
    STUB,
    Pointer,
    Span,
    key_values,
    pointer_in,
    pointer_to,
    with_pointer,
)
from shared.errors import Unreadable
from tests.unit.samples import a_row

POINTER = Pointer(
    archive="archive/acme",
    blob="data/s.parquet",
    offset=4,
    length=90,
    rows=3,
    row=2,
    sha256="ab" * 32,
    ts=5,
    etag='"e"',
)


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize(("other_ts", "newer"), [(4, False), (6, True)])
def test_only_a_newer_version_takes_the_place(other_ts: int, *, newer: bool, deleted: bool) -> None:
    """Whether or not its owner deleted the one before."""
    assert replace(POINTER, deleted=deleted).yields_to(replace(POINTER, ts=other_ts)) is newer


def test_a_deleted_version_is_never_pointed_at_again() -> None:
    """The same pointer may be written again, but not over its mark."""
    assert POINTER.yields_to(POINTER)
    assert not replace(POINTER, deleted=True).yields_to(POINTER)


def test_no_order_of_writing_leaves_an_older_version() -> None:
    """Of any two versions the newer stands in the end; nothing yields both ways but equals."""
    for one, two in product(range(3), repeat=2):
        first, second = replace(POINTER, ts=one), replace(POINTER, ts=two)
        assert (first.yields_to(second) and second.yields_to(first)) is (one == two)


def test_a_pointer_leads_to_its_row() -> None:
    """Digest, time and version are the row's, the place is the span's."""
    row = a_row()
    span = Span(offset=77, length=5_000, rows=9)
    found = pointer_to(row, span, archive="a/b", blob="data/x.parquet", place=8)
    assert found.span == span
    assert (found.archive, found.blob, found.row) == ("a/b", "data/x.parquet", 8)
    assert (found.sha256, found.ts, found.etag) == (row.sha256, row.ts, row.etag)
    assert not found.deleted


def test_a_stub_gives_its_pointer_back() -> None:
    """Through JSON, beside what is kept; the mark of a deletion has no place in it."""
    stub = with_pointer({"id": "x", "pk": None}, POINTER)
    assert stub == {"id": "x", "pk": None, STUB: stub[STUB]}
    assert "deleted" not in stub[STUB]
    assert pointer_in(json.loads(json.dumps(stub))) == POINTER


@pytest.mark.parametrize("told", [None, "text", [], 1])
def test_a_document_of_its_owners_is_no_stub(told: Any) -> None:
    """Even where it has a property of that name."""
    assert pointer_in({"id": "x", STUB: told}) is None
    assert pointer_in({"id": "x"}) is None


@pytest.mark.parametrize(
    "told", [{}, {"blob": "x"}, {**with_pointer({}, POINTER)[STUB], "more": 1}]
)
def test_a_stub_that_cannot_be_read_is_an_error(told: Any) -> None:
    """A later version wrote it, or it is damaged; it is never taken for the document."""
    with pytest.raises(Unreadable, match="no pointer of this version"):
        pointer_in({"id": "x", STUB: told})


def test_the_parts_of_a_key_come_back_as_values() -> None:
    """One or several, null and missing apart."""
    assert key_values(('["a"]', "x")) == ["a"]
    assert key_values(('["é",null,{}]', "x")) == ["é", None, {}]
    assert key_values(("[1.5,true]", "x")) == [1.5, True]
