"""A look-up's laws: a span alone gives each document as the whole file does, or says that it can't.

Damage is unreadable or changes the digest; it is never another error, and never a wrong answer
that nobody could tell.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.chunks import file_around
from shared.adapters.parquet import GROUP_BYTES_MAX, ROWS_PER_GROUP_MAX, ParquetFormat
from shared.domain.pointers import Span
from shared.domain.receipt import Row
from shared.errors import Unreadable
from tests.unit.samples import MAY_S
from tests.unit.test_parquet import Sink

FORMAT = ParquetFormat()
FLIPS = 1_500
CUTS = 200
ZSTD_FRAME = b"\x28\xb5\x2f\xfd"
LETTERS = 'aé☕𝄞"\\\n\x00\x7f'
sizes = st.lists(st.integers(1, 400) | st.integers(1, 70_000), min_size=1, max_size=70)


def text_of(size: int, seed: int) -> bytes:
    """Valid UTF-8 of this many bytes, compressible in part only."""
    draws = random.Random(seed)
    letters = "".join(draws.choices(LETTERS, k=min(size, 5_000)))
    body = (letters + draws.randbytes(size // 4).hex()).encode()
    cut = (body * (size // len(body) + 1))[:size]
    return cut.decode(errors="ignore").encode().ljust(size, b".")


def file_of(documents: Sequence[bytes]) -> bytes:
    sink = Sink()
    writer = FORMAT.data_writer(sink, partition_key=("/pk",), promote=())
    for number, document in enumerate(documents):
        row = Row(
            id=str(number),
            partition_key='["p"]',
            etag="e",
            ts=MAY_S,
            sha256=hashlib.sha256(document).hexdigest(),
        )
        writer.add(row, document)
    writer.close({})
    return bytes(sink.data)


def looked_up(file: bytes) -> list[bytes]:
    """Every document of the file, each from its span alone."""
    found = []
    for span in FORMAT.spans(BytesIO(file)):
        data = file[span.offset : span.offset + span.length]
        found += [FORMAT.document_at(data, span, row) for row in range(span.rows)]
    return found


@cache
def one_group() -> tuple[list[bytes], bytes, Span]:
    documents = [text_of(700 + n, n) for n in range(ROWS_PER_GROUP_MAX)]
    file = file_of(documents)
    (span,) = FORMAT.spans(BytesIO(file))
    return documents, file[span.offset : span.offset + span.length], span


def outcome(data: bytes, span: Span, row: int) -> str:
    """What a reader makes of it who knows the digest."""
    documents = one_group()[0]
    try:
        document = FORMAT.document_at(data, span, row)
    except Unreadable:
        return "unreadable"
    if hashlib.sha256(document).digest() != hashlib.sha256(documents[row]).digest():
        return "digest"
    return "right" if document == documents[row] else "silent"


@settings(max_examples=30)
@given(sizes)
def test_a_span_gives_each_document_as_the_file_does(drawn: list[int]) -> None:
    """From one byte to many, non-ASCII and control characters, one row to several groups."""
    documents = [text_of(size, seed) for seed, size in enumerate(drawn)]
    assert looked_up(file_of(documents)) == documents


@pytest.mark.parametrize(
    ("size", "rows"),
    [(1, 1), (1, 32), (300_000, 27), (2_000_000, 4), (5_000_000, 1), (GROUP_BYTES_MAX + 5, 1)],
)
def test_spans_of_every_size_give_their_documents(size: int, rows: int) -> None:
    """A byte in all, many pages in one chunk, and one document larger than a group may be."""
    documents = [text_of(size, seed) for seed in range(rows)]
    file = file_of(documents)
    (span,) = FORMAT.spans(BytesIO(file))
    assert span.rows == rows
    assert looked_up(file) == documents


def test_a_chunk_of_several_pages_is_one_span() -> None:
    """As another version of the writer may cut them: a compressed frame for each page."""
    documents = [text_of(3_000, seed) for seed in range(27)]
    sink = BytesIO()
    table = pq.read_table(BytesIO(file_of(documents)))
    pq.write_table(
        table, sink, compression="zstd", use_dictionary=False, data_page_size=1, write_batch_size=2
    )
    file = sink.getvalue()
    (span,) = FORMAT.spans(BytesIO(file))
    assert file[span.offset : span.offset + span.length].count(ZSTD_FRAME) > 10
    assert looked_up(file) == documents


def test_other_readers_agree_about_file_and_span(tmp_path: Path) -> None:
    """DuckDB over the whole file and over the span's own, pyarrow over the file."""
    documents = [text_of(size, size) for size in (1, 10, 3_000, 900_000, 1_200_000, 50)]
    whole, alone = tmp_path / "whole.parquet", tmp_path / "alone.parquet"
    whole.write_bytes(file := file_of(documents))
    (span,) = FORMAT.spans(BytesIO(file))
    data = file[span.offset : span.offset + span.length]
    alone.write_bytes(file_around(data, span, column="document"))
    for path in (whole, alone):
        query = f"SELECT encode(document) FROM read_parquet('{path}', file_row_number=true)"  # noqa: S608 - a path of this test's own
        rows = duckdb.execute(f"{query} ORDER BY file_row_number").fetchall()
        assert [bytes(row[0]) for row in rows] == documents
        column = pq.read_table(path)["document"]
        assert [each.as_py().encode() for each in column] == documents


def test_a_flipped_byte_is_unreadable_or_told_by_the_digest() -> None:
    """All over the chunk, and most of all in its page header."""
    _, data, span = one_group()
    draws = random.Random(20_250_503)
    seen = set()
    for flip in range(FLIPS):
        damaged = bytearray(data)
        place = draws.randrange(len(data) if flip % 2 else 60)
        damaged[place] ^= draws.randrange(1, 256)
        seen.add(outcome(bytes(damaged), span, draws.randrange(span.rows)))
    assert seen == {"unreadable", "digest", "right"}


def test_a_span_cut_short_or_shifted_is_never_silent() -> None:
    """Nor bytes that were never a chunk at all."""
    _, data, span = one_group()
    draws = random.Random(20_250_504)
    for _ in range(CUTS):
        cut = data[: draws.randrange(len(data))]
        shift = draws.randrange(1, len(data))
        shifted = data[shift:] + data[:shift]
        for bytes_given in (cut, shifted, draws.randbytes(len(data)), b""):
            assert outcome(bytes_given, span, draws.randrange(span.rows)) != "silent"
            assert outcome(bytes_given, span, 0) in {"unreadable", "digest"}


def test_a_pointer_with_other_numbers_is_unreadable() -> None:
    """More rows, another length, a row that is not there, one before the first even."""
    _, data, span = one_group()
    for rows in (0, span.rows + 1, 1_000):
        wrong = Span(offset=span.offset, length=span.length, rows=rows)
        with pytest.raises(Unreadable):
            FORMAT.document_at(data, wrong, 0)
    for length in (0, 1, span.length // 2):
        wrong = Span(offset=span.offset, length=length, rows=span.rows)
        with pytest.raises(Unreadable):
            FORMAT.document_at(data, wrong, 0)
    for row in (span.rows, span.rows + 10, -1, -span.rows):
        with pytest.raises(Unreadable):
            FORMAT.document_at(data, span, row)


def test_a_file_that_ebb_did_not_write_has_no_spans(tmp_path: Path) -> None:
    """Another compression, a dictionary, no documents, or no Parquet."""
    table = pq.read_table(BytesIO(file_of([b"{}", b"{}"])))
    path = tmp_path / "foreign.parquet"
    for options in ({"compression": "snappy"}, {"compression": "zstd", "use_dictionary": True}):
        pq.write_table(table, path, **options)
        with pytest.raises(Unreadable):
            FORMAT.spans(BytesIO(path.read_bytes()))
    pq.write_table(table.drop_columns(["document"]), path, compression="zstd")
    for data in (path.read_bytes(), b"", b"PAR1 nothing PAR1"):
        with pytest.raises(Unreadable):
            FORMAT.spans(BytesIO(data))
