"""Pages of a query in which stubs are their documents; everything else is azure-cosmos's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

GONE = None
"""What resolving gives for a stub whose document was deleted meanwhile."""


class Resolving:
    """Iterated by document or by page; headers and whatever else come from the query itself."""

    def __init__(self, answer: Any, resolve: Callable[[Any], Any]) -> None:
        self._answer = answer
        self._resolve = resolve
        self._documents = self._resolved(answer)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The query's own, for callers who check what they are given."""
        return type(self._answer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._documents)

    next = __next__

    def by_page(self, continuation_token: str | None = None) -> Pages:
        return Pages(self._answer.by_page(continuation_token), self._resolved)

    def _resolved(self, documents: Any) -> Iterator[Any]:
        for document in documents:
            found = self._resolve(document)
            if found is not GONE or document is GONE:
                yield found


class Pages:
    """As azure-core's: each page an iterator, with the token of where to go on."""

    def __init__(self, pages: Any, resolved: Callable[[Any], Iterator[Any]]) -> None:
        self._pages = pages
        self._resolved = resolved

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pages, name)

    def __iter__(self) -> Iterator[Iterator[Any]]:
        return self

    def __next__(self) -> Iterator[Any]:
        return self._resolved(next(self._pages))


class AsyncResolving:
    """The same with await."""

    def __init__(self, answer: Any, resolve: Callable[[Any], Awaitable[Any]]) -> None:
        self._answer = answer
        self._resolve = resolve
        self._documents = self._resolved(answer)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The query's own, for callers who check what they are given."""
        return type(self._answer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._documents)

    def by_page(self, continuation_token: str | None = None) -> AsyncPages:
        return AsyncPages(self._answer.by_page(continuation_token), self._resolved)

    async def _resolved(self, documents: Any) -> AsyncIterator[Any]:
        async for document in documents:
            found = await self._resolve(document)
            if found is not GONE or document is GONE:
                yield found


class AsyncPages:
    def __init__(self, pages: Any, resolved: Callable[[Any], AsyncIterator[Any]]) -> None:
        self._pages = pages
        self._resolved = resolved

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pages, name)

    def __aiter__(self) -> AsyncIterator[AsyncIterator[Any]]:
        return self

    async def __anext__(self) -> AsyncIterator[Any]:
        return self._resolved(await anext(self._pages))
