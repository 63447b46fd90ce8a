"""One column chunk as a Parquet file of its own, so that a document takes a single ranged read.

A Parquet file is read by its footer, which lies elsewhere. What the footer says of one chunk of
one known column is three numbers; with those a footer for that chunk alone is written here, in
Thrift's compact protocol as the format prescribes, and pyarrow reads it as any other file.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.domain.pointers import Span

_MAGIC = b"PAR1"
_BYTE_ARRAY, _UTF8, _REQUIRED, _ZSTD = 6, 0, 0, 6
_PLAIN, _RLE = 0, 3
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12


def file_around(data: bytes, span: Span, *, column: str) -> bytes:
    """A whole Parquet file that holds a required text column's chunk and nothing else."""
    footer = _footer(span, column.encode())
    return b"".join((_MAGIC, data, footer, len(footer).to_bytes(4, "little"), _MAGIC))


def _footer(span: Span, column: bytes) -> bytes:
    root = _struct({4: _text(b"schema"), 5: _int(1)}, {4: _BINARY, 5: _I32})
    leaf = _struct(
        {1: _int(_BYTE_ARRAY), 3: _int(_REQUIRED), 4: _text(column), 6: _int(_UTF8)},
        {1: _I32, 3: _I32, 4: _BINARY, 6: _I32},
    )
    group = _struct(
        {1: _list(_STRUCT, [_chunk(span, column)]), 2: _int(span.length), 3: _int(span.rows)},
        {1: _LIST, 2: _I64, 3: _I64},
    )
    return _struct(
        {
            1: _int(1),
            2: _list(_STRUCT, [root, leaf]),
            3: _int(span.rows),
            4: _list(_STRUCT, [group]),
        },
        {1: _I32, 2: _LIST, 3: _I64, 4: _LIST},
    )


def _chunk(span: Span, column: bytes) -> bytes:
    facts = _struct(
        {
            1: _int(_BYTE_ARRAY),
            2: _list(_I32, [_int(_PLAIN), _int(_RLE)]),
            3: _list(_BINARY, [_text(column)]),
            4: _int(_ZSTD),
            5: _int(span.rows),
            6: _int(span.length),
            7: _int(span.length),
            9: _int(len(_MAGIC)),
        },
        {1: _I32, 2: _LIST, 3: _LIST, 4: _I32, 5: _I64, 6: _I64, 7: _I64, 9: _I64},
    )
    return _struct({2: _int(len(_MAGIC)), 3: facts}, {2: _I64, 3: _STRUCT})


def _struct(fields: dict[int, bytes], kinds: dict[int, int]) -> bytes:
    out = bytearray()
    last = 0
    for number, value in fields.items():
        out.append((number - last) << 4 | kinds[number])
        out += value
        last = number
    return bytes(out) + b"\x00"


def _list(kind: int, values: Sequence[bytes]) -> bytes:
    return bytes([len(values) << 4 | kind]) + b"".join(values)


def _text(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _int(value: int) -> bytes:
    return _varint(value << 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte, by the protocol
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
