"""The archive's Parquet: data files and manifests, written and read one row group at a time.

It knows columns and bytes, not what they prove.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import accumulate
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from shared.adapters.chunks import file_around
from shared.adapters.pages import unpacked_bytes
from shared.domain.canonical import storable, value_at
from shared.domain.pointers import Span
from shared.domain.receipt import Row
from shared.errors import Unreadable
from shared.ports import BlobWriter, DataGroup, TableWriter

ROWS_PER_GROUP_MAX = 32  # one look-up reads one group: about 4 MB of zstd at 300 KB a document
GROUP_BYTES_MAX = 8 << 20  # raw: 27 documents of 300 KB, or four of 2 MB
READ_BYTES_MAX = 256 << 20  # a row group in memory, as the auditor has it; Ebb ends one at 8 MiB
MANIFEST_ROWS_PER_GROUP = 20_000  # rows of about 200 bytes: 4 MB
COMPRESSION_LEVEL = 1  # level 3 gains 3 % in size here for a third more time
RECEIVED = "document"  # the column of the pipeline's mapping that holds ToString(c)
RECEIVED_ROWS = 64
RECEIVED_BYTES_MAX = 4 << 30  # a factory's row group may hold the largest slice; read in parts
_DOCUMENT = "document"
_FIXED = ("id", "_partition_key", "_ts", "_etag", "sha256", _DOCUMENT)

_MANIFEST = pa.schema(
    [
        pa.field("partition_key", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("row_group", pa.int32(), nullable=False),
    ]
)


def column_name(path: str) -> str:
    """The column that holds a path's value; a name already taken gets a prefix."""
    name = path.strip("/").replace("/", ".")
    return f"value.{name}" if name.casefold() in _FIXED else name


def column_names(paths: tuple[str, ...]) -> dict[str, str]:
    """A column for each path; where two would have one name, the later gets a number.

    Case does not count, as DuckDB and Spark do not see it.
    """
    names: dict[str, str] = {}
    for path in dict.fromkeys(paths):
        name = wanted = column_name(path)
        number = 2
        while name.casefold() in {taken.casefold() for taken in names.values()}:
            name, number = f"{wanted}.{number}", number + 1
        names[path] = name
    return names


class ParquetFormat:
    """The one file format of the archive."""

    def data_writer(
        self, sink: BlobWriter, *, partition_key: tuple[str, ...], promote: tuple[str, ...]
    ) -> TableWriter:
        return _DataWriter(sink, partition_key, promote)

    def data_groups(self, file: BinaryIO) -> Iterator[DataGroup]:
        with _readable("data file"):
            parquet = pq.ParquetFile(file, pre_buffer=False)
            missing = set(_FIXED) - set(parquet.schema_arrow.names)
            if missing:
                raise KeyError(min(missing))
        for group in range(parquet.num_row_groups):
            yield DataGroup(number=group, rows=_group_rows(parquet, group))

    def spans(self, file: BinaryIO) -> Sequence[Span]:
        with _readable("data file"):
            facts = pq.ParquetFile(file, pre_buffer=False).metadata
            return [_span(facts.row_group(group)) for group in range(facts.num_row_groups)]

    def document_at(self, data: bytes, span: Span, row: int) -> bytes:
        with _readable(f"row {row} of a span of {span.length} bytes"):
            _check_size(unpacked_bytes(data), READ_BYTES_MAX)
            around = BytesIO(file_around(data, span, column=_DOCUMENT))
            documents = pq.ParquetFile(around).read_row_group(0, use_threads=False)[_DOCUMENT]
            if len(documents) != span.rows or not 0 <= row < span.rows:
                raise ValueError("another number of rows")
            return cast("bytes", documents[row].cast(pa.binary()).as_py())

    def received(self, file: BinaryIO) -> Iterator[Mapping[str, Any]]:
        with _readable("file of Data Factory"):
            parquet = pq.ParquetFile(file, pre_buffer=False)
            if RECEIVED not in parquet.schema_arrow.names:
                raise KeyError(RECEIVED)
            for group in range(parquet.num_row_groups):
                facts = parquet.metadata.row_group(group)
                _check_size(facts.total_byte_size, RECEIVED_BYTES_MAX)
        for batch in parquet.iter_batches(RECEIVED_ROWS, columns=[RECEIVED], use_threads=False):
            with _readable("file of Data Factory"):
                documents = [_document(text) for text in batch.column(0).to_pylist()]
            yield from documents

    def write_manifest(
        self, sink: BlobWriter, rows: Sequence[Row], facts: Mapping[str, str]
    ) -> None:
        schema = _MANIFEST.with_metadata({f"ebb.{k}": v for k, v in facts.items()})
        heard = _Sink(sink)
        with (
            heard.hearing(),
            pq.ParquetWriter(
                pa.PythonFile(heard, mode="w"), schema, compression="zstd", use_dictionary=False
            ) as writer,
        ):
            for start in range(0, len(rows), MANIFEST_ROWS_PER_GROUP):
                part = rows[start : start + MANIFEST_ROWS_PER_GROUP]
                columns = [
                    [r.partition_key for r in part],
                    [storable(r.id) for r in part],
                    [r.etag for r in part],
                    [r.ts for r in part],
                    [r.sha256 for r in part],
                    [r.row_group for r in part],
                ]
                writer.write_batch(
                    pa.record_batch(
                        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)],
                        schema=schema,
                    )
                )

    def manifest_rows(self, file: BinaryIO) -> Iterator[Row]:
        with _readable("manifest"):
            parquet = pq.ParquetFile(file)
            if not parquet.schema_arrow.equals(_MANIFEST):
                raise TypeError("its columns are not a manifest's")
        for group in range(parquet.num_row_groups):
            with _readable(f"manifest row group {group}"):
                _check_size(_unpacked(parquet, group, _MANIFEST.names), READ_BYTES_MAX)
                values = parquet.read_row_group(group).to_pylist()
                rows = [Row(**value) for value in values]
            yield from rows


class _Sink:
    """A file for pyarrow over a blob being written; it hears only what it was asked to write.

    A writer that nobody closed ends its file whenever Python happens to collect it: into a blob
    that its worker gave up, and in the midst of whatever is being done then.
    """

    closed = False

    def __init__(self, sink: BlobWriter) -> None:
        self._sink = sink
        self._hears = False

    def write(self, data: bytes) -> int:
        return self._sink.write(data) if self._hears else len(data)

    @contextmanager
    def hearing(self) -> Iterator[None]:
        self._hears = True
        try:
            yield
        finally:
            self._hears = False


class _DataWriter:
    """Gathers rows until a group is full; the group is the unit of memory."""

    def __init__(
        self, sink: BlobWriter, partition_key: tuple[str, ...], promote: tuple[str, ...]
    ) -> None:
        names = column_names((*partition_key, *promote))
        self._keys = [names[path] for path in partition_key]
        self._promote = {path: names[path] for path in promote if path not in partition_key}
        self._schema = _data_schema([*self._keys, *self._promote.values()])
        self._sink = _Sink(sink)
        with self._sink.hearing():
            self._writer = pq.ParquetWriter(
                pa.PythonFile(self._sink, mode="w"),
                self._schema,
                compression="zstd",
                compression_level=COMPRESSION_LEVEL,
                use_dictionary=["_partition_key", *self._keys],
                write_statistics=["id", "_ts", *self._keys],
            )
        self._group = 0
        self._rows: list[tuple[Row, bytes]] = []
        self._bytes = 0

    def add(self, row: Row, document: bytes) -> int:
        full = len(self._rows) >= ROWS_PER_GROUP_MAX
        if self._rows and (full or self._bytes + len(document) > GROUP_BYTES_MAX):
            self._flush()
        self._rows.append((row, document))
        self._bytes += len(document)
        return self._group

    def close(self, facts: Mapping[str, str]) -> None:
        if self._rows:
            self._flush()
        self._writer.add_key_value_metadata({f"ebb.{k}": v for k, v in facts.items()})
        with self._sink.hearing():
            self._writer.close()

    def abandon(self) -> None:
        self._writer.close()

    def _flush(self) -> None:
        rows = [row for row, _ in self._rows]
        columns: dict[str, Any] = {
            "id": pa.array([storable(r.id) for r in rows], pa.string()),
            "_partition_key": pa.array([r.partition_key for r in rows], pa.string()),
            "_ts": pa.array([r.ts for r in rows], pa.int64()),
            "_etag": pa.array([r.etag for r in rows], pa.string()),
            "sha256": pa.array([r.sha256 for r in rows], pa.string()),
        }
        parts = [json.loads(r.partition_key) for r in rows]
        for index, name in enumerate(self._keys):
            columns[name] = pa.array([_text(part[index]) for part in parts], pa.string())
        documents = [document for _, document in self._rows]
        for path, name in self._promote.items():
            values = [_text(value_at(json.loads(d), path)) for d in documents]
            columns[name] = pa.array(values, pa.string())
        columns["document"] = _texts(documents)
        batch = pa.record_batch([columns[n] for n in self._schema.names], schema=self._schema)
        with self._sink.hearing():
            self._writer.write_batch(batch, row_group_size=len(rows))
        self._group += 1
        self._rows = []
        self._bytes = 0


def _span(group: pq.RowGroupMetaData) -> Span:
    """The documents' chunk; its dictionary page, if a foreign writer made one, is not read."""
    names = [group.column(index).path_in_schema for index in range(group.num_columns)]
    chunk = group.column(names.index(_DOCUMENT))
    if chunk.compression != "ZSTD" or chunk.dictionary_page_offset is not None:
        raise ValueError("a chunk that Ebb did not write")
    return Span(
        offset=chunk.data_page_offset, length=chunk.total_compressed_size, rows=group.num_rows
    )


def _document(text: Any) -> dict[str, Any]:
    """A whole document as Cosmos DB spelt it, with its system properties."""
    document = json.loads(text)
    if not isinstance(document, dict) or not {"id", "_etag", "_ts"} <= document.keys():
        raise ValueError("not a document with id, _etag and _ts")
    return document


def _texts(documents: list[bytes]) -> pa.Array:
    """A string column over the bytes as they are: one copy, and no second look at each."""
    ends = array("i", accumulate(map(len, documents), initial=0))
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(documents))]
    return pa.Array.from_buffers(pa.string(), len(documents), buffers)


def _data_schema(shown: list[str]) -> pa.Schema:
    fields = [pa.field("id", pa.string(), nullable=False)]
    fields += [pa.field(name, pa.string()) for name in dict.fromkeys(shown)]
    fields += [
        pa.field("_partition_key", pa.string(), nullable=False),
        pa.field("_ts", pa.int64(), nullable=False),
        pa.field("_etag", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
    ]
    return pa.schema(fields)


def _text(value: Any) -> str | None:
    """A scalar as a column shows it: text as itself, everything else as JSON, absence as null."""
    if value is None or value == {}:
        return None
    return storable(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _group_rows(parquet: pq.ParquetFile, group: int) -> Iterator[tuple[Row, bytes]] | None:
    try:
        with _readable(f"row group {group} of a data file"):
            _check_size(_unpacked(parquet, group, _FIXED), READ_BYTES_MAX)
            table = parquet.read_row_group(group, columns=list(_FIXED), use_threads=False)
            columns = [_whole(table.column(name)) for name in _FIXED]
            return _rows_of(group, columns)
    except Unreadable:
        return None


def _unpacked(parquet: pq.ParquetFile, group: int, names: Sequence[str]) -> int:
    """What these columns of a row group become in memory, by the file's own word.

    What a dictionary holds may come again at each row.
    """
    facts = parquet.metadata.row_group(group)
    size = 0
    for column in map(facts.column, range(facts.num_columns)):
        if column.path_in_schema in names:
            plain = {"PLAIN", "RLE"}.issuperset(column.encodings)
            size += column.total_uncompressed_size * (1 if plain else facts.num_rows)
    return size


def _check_size(size: int, most: int) -> None:
    if not 0 <= size <= most:
        raise ValueError(f"{size} bytes in memory, and {most} are allowed")


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """One array: as it is where it is one already, because joining copies it."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _rows_of(group: int, columns: list[pa.Array]) -> Iterator[tuple[Row, bytes]]:
    """Rows whose texts are all decoded before the first is given; documents one at a time."""
    ids, keys, times, etags, digests = (column.to_pylist() for column in columns[:5])
    documents = columns[5].cast(pa.binary())
    rows = [
        Row(id=i, partition_key=k, etag=e, ts=t, sha256=d, row_group=group)
        for i, k, t, e, d in zip(ids, keys, times, etags, digests, strict=True)
    ]
    return ((row, cast("bytes", documents[n].as_py())) for n, row in enumerate(rows))


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise Unreadable(
            f"reading {what}: {type(error).__name__}; the bytes are damaged or foreign"
        ) from error
