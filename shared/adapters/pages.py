"""How much memory a column chunk takes once it is read, by the headers of its pages alone.

A page says in Thrift's compact protocol how many bytes follow it and how many they become. Whoever
unpacks it believes that; so it is read here first, and nothing is unpacked for it.
"""

from __future__ import annotations

_UNCOMPRESSED, _COMPRESSED = 2, 3
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DEPTH_MAX = 16  # a page header nests three deep
_PAGES_MAX = 100_000  # of one chunk; Ebb writes a page for each MiB
_VARINT_BYTES_MAX = 10


def unpacked_bytes(chunk: bytes) -> int:
    """What all pages of a chunk become; ValueError where it is no sequence of pages."""
    at, total = 0, 0
    for _ in range(_PAGES_MAX):
        if at == len(chunk):
            return total
        header = _Reader(chunk, at)
        sizes = header.sizes()
        if min(sizes) < 0:
            raise ValueError("a page of less than no bytes")
        total += sizes[0]
        at = header.at + sizes[1]
        if at > len(chunk):
            raise ValueError("a page beyond the end of its chunk")
    raise ValueError(f"more than {_PAGES_MAX} pages")


class _Reader:
    """One struct of the compact protocol; all but two numbers of it are passed over."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def sizes(self) -> tuple[int, int]:
        """How many bytes the page's become, and how many it has."""
        found: dict[int, int] = {}
        last = 0
        while (field := self._field(last)) is not None:
            last, kind = field
            if last in {_UNCOMPRESSED, _COMPRESSED} and kind == _I32:
                found[last] = self._number()
            else:
                self._skip(kind, 0)
        if found.keys() != {_UNCOMPRESSED, _COMPRESSED}:
            raise ValueError("a page without its sizes")
        return found[_UNCOMPRESSED], found[_COMPRESSED]

    def _field(self, last: int) -> tuple[int, int] | None:
        head = self._byte()
        if head == 0:
            return None
        step, kind = head >> 4, head & 0x0F
        return (last + step if step else self._number()), kind

    def _skip(self, kind: int, depth: int) -> None:
        if depth > _DEPTH_MAX:
            raise ValueError("a page header nested too deep")
        if kind == _BYTE:
            self.at += 1
        elif kind in {_I16, _I32, _I64}:
            self._varint()
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BINARY:
            size = self._varint()  # which moves on as well
            self.at += size
        elif kind in {_LIST, _SET}:
            self._skip_list(depth)
        elif kind == _STRUCT:
            last = 0
            while (field := self._field(last)) is not None:
                last, inner = field
                self._skip(inner, depth + 1)
        elif kind not in {_TRUE, _FALSE}:
            raise ValueError(f"a page header with a field of kind {kind}")

    def _skip_list(self, depth: int) -> None:
        head = self._byte()
        size, kind = head >> 4, head & 0x0F
        size = self._varint() if size == 0x0F else size  # noqa: PLR2004 - the size follows
        if size > len(self._data):
            raise ValueError("a list longer than its chunk")
        for _ in range(size):
            if kind in {_TRUE, _FALSE}:
                self.at += 1  # in a list a truth takes a byte
            else:
                self._skip(kind, depth + 1)

    def _number(self) -> int:
        spelt = self._varint()
        return (spelt >> 1) ^ -(spelt & 1)

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 7 * _VARINT_BYTES_MAX, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - seven bits a byte, by the protocol
                return value
        raise ValueError("a number without an end")

    def _byte(self) -> int:
        if not 0 <= self.at < len(self._data):
            raise ValueError("a page header beyond the end of its chunk")
        self.at += 1
        return self._data[self.at - 1]
