"""The archive's Parquet: what is written is read back, within its bounds, also by other readers."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

import duckdb
import pyarrow.parquet as pq
import pytest

from shared.adapters import parquet
from shared.adapters.pages import unpacked_bytes
from shared.adapters.parquet import (
    GROUP_BYTES_MAX,
    MANIFEST_ROWS_PER_GROUP,
    ROWS_PER_GROUP_MAX,
    ParquetFormat,
    column_name,
)
from shared.domain.canonical import canonical_document, partition_key_text
from shared.domain.pointers import Span
from shared.domain.receipt import Row
from shared.errors import Unreadable
from tests.unit.samples import MAY_S, a_row

Document = dict[str, Any]


class Sink:
    """A blob in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes, /) -> int:
        self.data += data
        return len(data)

    def commit(self) -> NoReturn:
        pytest.fail("the format never publishes")

    def abort(self) -> NoReturn:
        pytest.fail("the format never gives up by itself")


def a_file(
    documents: Sequence[Document],
    *,
    keys: tuple[str, ...] = ("/pk",),
    promote: tuple[str, ...] = (),
) -> tuple[bytes, list[tuple[Row, bytes]]]:
    """A data file with these documents, and the rows it must give back."""
    sink, expected = Sink(), []
    writer = ParquetFormat().data_writer(sink, partition_key=keys, promote=promote)
    for number, document in enumerate(documents):
        canonical = canonical_document(document)
        row = Row(
            id=str(document.get("id", number)),
            partition_key=partition_key_text(document, keys),
            etag=f'"{number}"',
            ts=MAY_S + number,
            sha256=hashlib.sha256(canonical).hexdigest(),
        )
        group = writer.add(row, canonical)
        expected.append((Row(**{**_fields(row), "row_group": group}), canonical))
    writer.close({"slice": "s-1", "fence": "3"})
    return bytes(sink.data), expected


def _fields(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in Row.__dataclass_fields__}


def rows_of(data: bytes) -> list[tuple[Row, bytes]]:
    found: list[tuple[Row, bytes]] = []
    for group in ParquetFormat().data_groups(BytesIO(data)):
        if group.rows is None:
            raise Unreadable(f"row group {group.number}")
        found += group.rows
    return found


def columns_of(data: bytes) -> dict[str, list[Any]]:
    return dict(pq.ParquetFile(BytesIO(data)).read().to_pydict())


ODD: list[Document] = [
    {"id": "plain", "pk": "a", "n": 1},
    {"id": "日本 ☕\x00'\"", "pk": "é", "n": 1.5},
    {"id": "", "pk": None, "n": None},
    {"id": "no key"},
    {"id": "e\u0301", "pk": 5, "n": {"a": ["\u2028"]}},
    {"id": "flag", "pk": True, "n": []},
]


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100])
def test_a_file_gives_back_the_rows_that_were_added(count: int) -> None:
    """Every column and every byte of every document, in order, in groups of at most 32."""
    documents = [{"id": f"d{n}", "pk": n % 3, "text": "x" * n} for n in range(count)]
    data, expected = a_file(documents, promote=("/text",))
    assert rows_of(data) == expected
    groups = [row.row_group for row, _ in expected]
    assert groups == [n // ROWS_PER_GROUP_MAX for n in range(count)]
    assert pq.ParquetFile(BytesIO(data)).num_row_groups == -(-count // ROWS_PER_GROUP_MAX)


def test_odd_ids_and_keys_come_back_unchanged() -> None:
    """NUL, quotes, other scripts, nothing at all."""
    data, expected = a_file(ODD, promote=("/n",))
    assert rows_of(data) == expected
    columns = columns_of(data)
    assert columns["id"] == [each["id"] for each in ODD]
    assert columns["pk"] == ["a", "é", None, None, "5", "true"]
    assert columns["n"] == ["1", "1.5", None, None, '{"a": ["\\u2028"]}', "[]"]


def test_documents_of_two_megabytes_fill_a_group_by_bytes() -> None:
    """As many as its bytes allow; the next begins another group."""
    text = "x" * (2 * 1024 * 1024 - 64)
    fitting = GROUP_BYTES_MAX // (2 * 1024 * 1024)
    count = fitting + 2
    data, expected = a_file([{"id": str(n), "pk": "a", "t": text} for n in range(count)])
    assert 1 < fitting < ROWS_PER_GROUP_MAX
    assert [row.row_group for row, _ in expected] == [0] * fitting + [1] * 2
    assert rows_of(data) == expected


def test_a_group_is_full_exactly_at_its_bytes() -> None:
    """At the limit it is full, with a byte more it would be too full."""
    sink = Sink()
    writer = ParquetFormat().data_writer(sink, partition_key=(), promote=())
    half = b'"' + b"x" * (GROUP_BYTES_MAX // 2 - 2) + b'"'
    row = Row(id="a", partition_key="[]", etag="", ts=0, sha256="")
    assert [writer.add(row, part) for part in (half, half, b"1", half + b" ")] == [0, 0, 1, 1]
    assert writer.add(row, half) == 2
    writer.close({})


def test_a_hierarchical_key_has_a_column_for_each_part() -> None:
    """Nested paths are joined with dots."""
    documents: list[Document] = [
        {"id": "1", "tenant": "t", "user": {"id": 7}},
        {"id": "2", "tenant": "u"},
    ]
    data, expected = a_file(documents, keys=("/tenant", "/user/id"))
    assert rows_of(data) == expected
    columns = columns_of(data)
    assert columns["tenant"] == ["t", "u"]
    assert columns["user.id"] == ["7", None]
    assert columns["_partition_key"] == ['["t",7]', '["u",{}]']


def test_columns_and_facts_are_as_the_design_says() -> None:
    """Foreign readers depend on these names."""
    data, _ = a_file(ODD[:1], promote=("/n",))
    file = pq.ParquetFile(BytesIO(data))
    assert file.schema_arrow.names == [
        "id", "pk", "n", "_partition_key", "_ts", "_etag", "sha256", "document",
    ]  # fmt: skip
    assert file.metadata.metadata[b"ebb.slice"] == b"s-1"
    assert file.metadata.metadata[b"ebb.fence"] == b"3"
    assert file.metadata.row_group(0).column(7).compression == "ZSTD"


@pytest.mark.parametrize("name", ["id", "_partition_key", "_ts", "_etag", "sha256", "document"])
def test_a_promoted_path_never_takes_a_fixed_column(name: str) -> None:
    """The proof's own columns stay what they are."""
    assert column_name(f"/{name}") == f"value.{name}"
    data, expected = a_file([{"id": "1", "pk": "a", name: "mine"}], promote=(f"/{name}",))
    assert rows_of(data) == expected


def test_a_key_that_is_also_promoted_is_one_column() -> None:
    """Both would say the same."""
    data, expected = a_file(ODD[:1], promote=("/pk", "/pk"))
    assert rows_of(data) == expected
    assert columns_of(data)["pk"] == ["a"]


def test_two_paths_with_one_name_do_not_overwrite_each_other() -> None:
    """A dot in a name looks like a step down, and two values need two columns."""
    document = {"id": "1", "pk": "k", "a.b": "flat", "a": {"b": "deep"}}
    data, _ = a_file([document], promote=("/a.b", "/a/b"))
    values = {value for column in columns_of(data).values() for value in column}
    assert {"flat", "deep"} <= values


def test_a_promoted_path_never_overwrites_the_partition_key() -> None:
    """The key's column would show another value than the key."""
    document = {"id": "1", "a.b": "the key", "a": {"b": "other"}}
    data, _ = a_file([document], keys=("/a.b",), promote=("/a/b",))
    assert columns_of(data)["a.b"] == ["the key"]


@pytest.mark.parametrize(
    "document",
    [
        {"id": "1", "pk": "a", "n": "\ud800"},
        {"id": "1", "pk": "\ud800"},
        {"id": "\ud800", "pk": "a"},
    ],
    ids=["promoted", "partition key", "id"],
)
def test_a_lone_surrogate_in_a_column_does_not_stop_the_copy(document: Document) -> None:
    """The canonical form keeps such text, so the columns must find a way to show it."""
    data, expected = a_file([document], promote=("/n",))
    assert [found for _, found in rows_of(data)] == [canonical for _, canonical in expected]


def test_duckdb_reads_a_data_file_as_it_stands(tmp_path: Path) -> None:
    """An archive must outlive the program that wrote it."""
    data, expected = a_file(ODD * 10, promote=("/n",))
    path = tmp_path / "slice.parquet"
    path.write_bytes(data)
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT id, _partition_key, _etag, _ts, sha256, document, n FROM read_parquet(?)",
            [str(path)],
        ).fetchall()
        hashes = connection.execute(
            "SELECT count(*) FROM read_parquet(?) WHERE sha256(document) = sha256", [str(path)]
        ).fetchall()
    assert [row[:6] for row in found] == [
        (row.id, row.partition_key, row.etag, row.ts, row.sha256, document.decode())
        for row, document in expected
    ]
    assert hashes == [(len(expected),)]


def test_a_manifest_gives_back_its_rows_and_facts() -> None:
    """Also beyond one group, and with none at all."""
    for count in (0, 1, MANIFEST_ROWS_PER_GROUP + 1):
        rows = [a_row(n, row_group=n // 32) for n in range(count)]
        sink = Sink()
        ParquetFormat().write_manifest(sink, rows, {"slice": "é"})
        data = bytes(sink.data)
        assert list(ParquetFormat().manifest_rows(BytesIO(data))) == rows
        file = pq.ParquetFile(BytesIO(data))
        assert file.num_row_groups == -(-count // MANIFEST_ROWS_PER_GROUP)
        assert file.schema_arrow.metadata == {b"ebb.slice": "é".encode()}


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 500, json.dumps(ODD).encode()])
def test_bytes_that_are_no_parquet_are_unreadable(data: bytes) -> None:
    """An HTML page under a blob's name, or nothing."""
    with pytest.raises(Unreadable, match="data file"):
        rows_of(data)
    with pytest.raises(Unreadable, match="manifest"):
        list(ParquetFormat().manifest_rows(BytesIO(data)))


def test_a_manifest_is_no_data_file_nor_the_reverse() -> None:
    """Swapped blobs are found out, not read half."""
    sink = Sink()
    ParquetFormat().write_manifest(sink, [a_row()], {})
    data, _ = a_file(ODD)
    with pytest.raises(Unreadable):
        rows_of(bytes(sink.data))
    with pytest.raises(Unreadable):
        list(ParquetFormat().manifest_rows(BytesIO(data)))


@pytest.mark.parametrize("given_up", [True, False])
def test_a_writer_given_up_writes_nothing_more(*, given_up: bool) -> None:
    """Also one that was forgotten: it is collected at any moment, in the midst of anything."""
    sink = Sink()
    writer = ParquetFormat().data_writer(sink, partition_key=("/pk",), promote=())
    for number in range(ROWS_PER_GROUP_MAX + 1):
        writer.add(a_row(number), b"{}")
    before = bytes(sink.data)
    assert before
    if given_up:
        writer.abandon()
    del writer
    gc.collect()
    assert bytes(sink.data) == before


def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on what Ebb itself wrote there is too large to be read."""
    monkeypatch.setattr(parquet, "READ_BYTES_MAX", 9_000)
    monkeypatch.setattr(parquet, "RECEIVED_BYTES_MAX", 9_000)


def refusing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("read_row_group", "iter_batches"):
        monkeypatch.setattr(pq.ParquetFile, name, lambda *_, **__: pytest.fail("it was unpacked"))


def test_a_row_group_that_would_fill_the_memory_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A data file, a manifest and a factory's file, by what their footers say."""
    data, rows = a_file([{"id": f"i{n}", "pk": "p", "body": "x" * 9_000} for n in range(20)])
    manifest = Sink()
    ParquetFormat().write_manifest(manifest, [row for row, _ in rows] * 50, {})
    (group,) = ParquetFormat().data_groups(BytesIO(data))
    assert group.rows is not None
    small_memory(monkeypatch)
    refusing_to_read(monkeypatch)
    (group,) = ParquetFormat().data_groups(BytesIO(data))
    assert group.rows is None
    with pytest.raises(Unreadable):
        list(ParquetFormat().manifest_rows(BytesIO(manifest.data)))
    with pytest.raises(Unreadable):
        list(ParquetFormat().received(BytesIO(data)))


def chunk_of(data: bytes) -> tuple[bytes, Span]:
    (span,) = ParquetFormat().spans(BytesIO(data))
    return data[span.offset : span.offset + span.length], span


def test_a_span_that_would_fill_the_memory_is_refused_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its pages' own headers: whoever reads a span has no footer to go by."""
    chunk, span = chunk_of(a_file([{"id": "i", "pk": "p", "body": "x" * 9_000}])[0])
    assert len(ParquetFormat().document_at(chunk, span, 0)) > 9_000
    small_memory(monkeypatch)
    refusing_to_read(monkeypatch)
    with pytest.raises(Unreadable):
        ParquetFormat().document_at(chunk, span, 0)


def test_pages_say_what_their_chunk_becomes() -> None:
    """As the footer of the same file does, which counts the headers as well."""
    documents = [{"id": f"i{n}", "pk": "p", "body": "x" * 400_000} for n in range(18)]
    data, rows = a_file(documents)
    chunk, _ = chunk_of(data)
    facts = pq.ParquetFile(BytesIO(data)).metadata.row_group(0)
    columns = {facts.column(i).path_in_schema: facts.column(i) for i in range(facts.num_columns)}
    most = columns["document"].total_uncompressed_size
    assert sum(len(body) for _, body in rows) < unpacked_bytes(chunk) < most


def test_harmed_pages_are_refused_and_nothing_else_happens() -> None:
    """Cut anywhere, and with each byte of its headers changed."""
    chunk, _ = chunk_of(a_file([{"id": "i", "pk": "p", "body": "x" * 50}])[0])
    whole = unpacked_bytes(chunk)
    for end in range(1, len(chunk)):
        with pytest.raises(ValueError, match=r"page|number|list"):
            unpacked_bytes(chunk[:end])
    for at in range(40):
        for flipped in (1, 0x0F, 0x80, 0xFF):
            harmed = bytearray(chunk)
            harmed[at] ^= flipped
            try:
                assert unpacked_bytes(bytes(harmed)) >= 0
            except ValueError:
                continue
    assert unpacked_bytes(chunk * 3) == 3 * whole
