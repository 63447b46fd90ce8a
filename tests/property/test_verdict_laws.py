"""The verdict's law: only the very same rows are sound, and every difference is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.receipt import Row
from shared.domain.verdict import Kind, compare
from tests.unit.samples import a_row

some_rows = st.lists(
    st.builds(
        lambda number, sha256, ts: replace(a_row(number), sha256=sha256, ts=ts),
        st.integers(0, 6),
        st.sampled_from(["aa", "bb"]),
        st.integers(1, 2),
    ),
    max_size=8,
)


@given(some_rows, some_rows)
def test_only_the_very_same_rows_are_sound(expected: list[Row], found: list[Row]) -> None:
    """Sound means equal as multisets without repeats, and nothing less."""
    same = (
        Counter(expected) == Counter(found)
        and max(Counter(row.key for row in expected).values(), default=1) == 1
    )
    assert compare(expected, found).sound == same


@given(some_rows, some_rows)
def test_every_lost_or_added_document_is_counted(expected: list[Row], found: list[Row]) -> None:
    """By plain sets of keys."""
    wanted, seen = {row.key for row in expected}, {row.key for row in found}
    counts = compare(expected, found).counts
    assert counts.get(Kind.MISSING, 0) == len(wanted - seen)
    assert counts.get(Kind.EXTRA, 0) == len(seen - wanted)
    repeats = len(expected) - len(wanted) + len(found) - len(seen)
    assert counts.get(Kind.DUPLICATED, 0) == repeats
