"""The archive file's laws: any rows come back, and no damage is ever taken for the original."""

from __future__ import annotations

import hashlib
import random
from io import BytesIO
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.parquet import ParquetFormat
from shared.domain.receipt import Row
from shared.errors import Unreadable
from tests.unit.samples import a_row
from tests.unit.test_parquet import Sink, a_file, rows_of

FLIPS = 400
CUTS = 60
plain_text = st.text(max_size=6)
documents = st.lists(
    st.fixed_dictionaries(
        {"id": plain_text, "pk": st.none() | st.integers() | plain_text},
        optional={"v": st.recursive(plain_text | st.integers(), st.lists, max_leaves=4)},
    ),
    max_size=40,
)
WHOLE, EXPECTED = a_file(
    [{"id": f"order-{n}", "pk": f"c{n % 4}", "t": "é" * 20 + str(n * n)} for n in range(100)]
)


def found_in(data: bytes) -> list[tuple[Row, bytes]] | None:
    try:
        return rows_of(data)
    except Unreadable:
        return None


def judged(data: bytes) -> str:
    """Damage is noticed on reading, by the manifest's rows, by a digest, or has changed nothing."""
    rows = found_in(data)
    if rows is None:
        return "unreadable"
    if rows == EXPECTED:
        return "whole"
    wrong = [row for row, document in rows if hashlib.sha256(document).hexdigest() != row.sha256]
    if wrong or [row for row, _ in rows] != [row for row, _ in EXPECTED]:
        return "noticed"
    return "silent"


@settings(max_examples=25)
@given(documents, st.sampled_from([(), ("/v",), ("/v", "/id", "/pk")]))
def test_any_documents_come_back_as_they_went_in(
    given_documents: list[dict[str, Any]], promote: tuple[str, ...]
) -> None:
    """Whatever the ids, keys and promoted values are."""
    data, expected = a_file(given_documents, promote=promote)
    assert rows_of(data) == expected


def test_a_flipped_byte_is_never_taken_for_the_original() -> None:
    """All over the file: unreadable, another row, a wrong digest, or a byte without meaning."""
    draws = random.Random(20_250_501)
    outcomes: dict[str, int] = {}
    for _ in range(FLIPS):
        damaged = bytearray(WHOLE)
        damaged[draws.randrange(len(WHOLE))] ^= draws.randrange(1, 256)
        outcome = judged(bytes(damaged))
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert "silent" not in outcomes
    assert outcomes["unreadable"] + outcomes["noticed"] > FLIPS // 2


def test_a_file_cut_short_is_always_unreadable() -> None:
    """A download that broke off can never pass for a shorter slice."""
    draws = random.Random(20_250_502)
    for _ in range(CUTS):
        length = draws.randrange(len(WHOLE))
        assert found_in(WHOLE[:length]) is None
        assert found_in(WHOLE[length:]) is None or length == 0


def test_a_damaged_manifest_is_unreadable_or_says_something_else() -> None:
    """And never ends in an error Ebb does not know."""
    rows = [a_row(n) for n in range(50)]
    sink = Sink()
    ParquetFormat().write_manifest(sink, rows, {"slice": "s"})
    draws = random.Random(20_250_503)
    unreadable = 0
    for _ in range(FLIPS):
        damaged = bytearray(sink.data)
        damaged[draws.randrange(len(damaged))] ^= draws.randrange(1, 256)
        try:
            list(ParquetFormat().manifest_rows(BytesIO(bytes(damaged))))
        except Unreadable:
            unreadable += 1
    assert unreadable > FLIPS // 10
