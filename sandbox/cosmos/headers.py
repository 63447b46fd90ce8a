"""Garbles what azure-cosmos shares between threads: the last answer's headers of a client.

It plays the other thread whose answer arrives between a query's answer and its reading.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from azure.cosmos._query_iterable import QueryIterable

_OTHERS = {
    "x-ms-continuation": "+RID:~of-another-query#RT:1",
    "etag": '"of-another-document"',
    "x-ms-request-charge": "100000",
}


@contextmanager
def garbled_headers() -> Iterator[None]:
    """While it lasts, every query's shared headers are another thread's once it has answered."""
    unpack: Any = QueryIterable._unpack  # noqa: SLF001

    def overtaken(self: QueryIterable, block: Any) -> Any:
        self._client.last_response_headers = dict(_OTHERS)
        return unpack(self, block)

    QueryIterable._unpack = overtaken  # type: ignore[method-assign]  # noqa: SLF001
    try:
        yield
    finally:
        QueryIterable._unpack = unpack  # type: ignore[method-assign]  # noqa: SLF001
