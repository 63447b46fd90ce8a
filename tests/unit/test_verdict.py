"""Verdicts: each kind of difference found, named and counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.receipt import Row
from shared.domain.verdict import NAMED_MAX, Kind, Verdict, compare
from tests.unit.samples import a_row

ROWS = [a_row(number, sha256=f"{number:064x}") for number in range(4)]


def named(expected: list[Row], found: list[Row]) -> dict[str, list[str]]:
    verdict = compare(expected, found)
    assert verdict.sound == (not verdict.counts)
    assert {kind: len(ids) for kind, ids in verdict.named.items()} == verdict.counts
    return {kind.value: ids for kind, ids in verdict.named.items()}


def test_equal_rows_make_a_sound_verdict() -> None:
    """Two empty sides agree too."""
    assert named(ROWS, ROWS) == {}
    assert named([], []) == {}
    assert compare(ROWS, ROWS).sentence() == "every document matches"


def test_documents_in_another_order_are_changed() -> None:
    """A manifest promises places, by which a document is looked up."""
    assert named(ROWS, [ROWS[1], ROWS[0], *ROWS[2:]]) == {"changed": ["order-0", "order-1"]}


def test_a_promised_document_not_found_is_missing() -> None:
    """The archive lost it."""
    assert named(ROWS, ROWS[1:]) == {"missing": ["order-0"]}
    assert named(ROWS[:1], []) == {"missing": ["order-0"]}


def test_a_document_nobody_promised_is_extra() -> None:
    """Whoever put it there."""
    assert named(ROWS[:3], ROWS) == {"extra": ["order-3"]}


def test_a_document_found_twice_is_duplicated() -> None:
    """Equal counts could hide one missing behind one doubled."""
    assert named(ROWS, [*ROWS, ROWS[2]]) == {"duplicated": ["order-2"]}
    assert named(ROWS, [ROWS[0], ROWS[0], *ROWS[2:]]) == {
        "duplicated": ["order-0"],
        "missing": ["order-1"],
    }


def test_a_document_promised_twice_is_duplicated() -> None:
    """A manifest that names it twice is wrong itself."""
    assert named([*ROWS, ROWS[1]], ROWS) == {"duplicated": ["order-1"]}


def test_a_stranger_found_twice_is_extra_and_duplicated() -> None:
    """Both findings are true."""
    assert named([], [ROWS[0], ROWS[0]]) == {"extra": ["order-0"], "duplicated": ["order-0"]}


@pytest.mark.parametrize(
    "change",
    [{"sha256": "0" * 64}, {"etag": "other"}, {"ts": 1}, {"row_group": 7}],
    ids=["digest", "etag", "timestamp", "row group"],
)
def test_any_other_value_makes_a_document_changed(change: dict[str, object]) -> None:
    """All of a row is promised, not only the digest."""
    altered = replace(ROWS[1], **change)  # type: ignore[arg-type]
    assert named(ROWS, [ROWS[0], altered, *ROWS[2:]]) == {"changed": ["order-1"]}


def test_two_documents_with_their_contents_swapped_are_both_changed() -> None:
    """The set of digests is the same, the documents are not."""
    swapped = [
        replace(ROWS[0], sha256=ROWS[1].sha256),
        replace(ROWS[1], sha256=ROWS[0].sha256),
        *ROWS[2:],
    ]
    assert named(ROWS, swapped) == {"changed": ["order-0", "order-1"]}


def test_one_id_under_two_partition_keys_is_two_documents() -> None:
    """Ids are unique within a logical partition only."""
    twin = replace(ROWS[0], partition_key='["other"]')
    assert named([ROWS[0], twin], [ROWS[0], twin]) == {}
    assert named([ROWS[0], twin], [ROWS[0]]) == {"missing": ["order-0"]}
    assert named([ROWS[0]], [twin]) == {"extra": ["order-0"], "missing": ["order-0"]}


def test_a_verdict_names_some_and_counts_all() -> None:
    """A million missing documents fit in one sentence."""
    rows = [a_row(number) for number in range(NAMED_MAX + 5)]
    verdict = compare(rows, [])
    assert verdict.counts == {Kind.MISSING: 25}
    assert verdict.wrong == 25
    assert len(verdict.named[Kind.MISSING]) == NAMED_MAX == 20
    assert verdict.sentence().startswith("25 missing: 'order-0', 'order-1', ")
    assert verdict.sentence().endswith("'order-19' and 5 more")
    exactly = compare(rows[:NAMED_MAX], [])
    assert exactly.sentence().endswith("'order-19'")


def test_a_sentence_lists_every_kind_in_one_order() -> None:
    """Missing first: it is the worst."""
    verdict = Verdict()
    for kind in reversed(Kind):
        verdict.add(kind, f"id of {kind.value}")
    assert verdict.sentence() == (
        "1 missing: 'id of missing'; 1 extra: 'id of extra'; 1 duplicated: 'id of duplicated'; "
        "1 changed: 'id of changed'; 1 unreadable: 'id of unreadable'; "
        "1 superseded: 'id of superseded'"
    )
    assert verdict.wrong == len(Kind) - 1
