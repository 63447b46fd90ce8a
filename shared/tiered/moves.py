"""What each method of a container becomes, as steps; it learns the partition key's paths once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from shared.tiered import reading, writing
from shared.tiered.calling import Arguments
from shared.tiered.cold import ColdStore
from shared.tiered.one_call import as_one
from shared.tiered.steps import Steps, ToCosmos

_BY_KEY: dict[str, Callable[[Arguments], Steps[Any]]] = {
    "read_item": reading.read_item,
    "delete_item": writing.delete_item,
}
_BY_BODY: dict[str, Callable[[Arguments, tuple[str, ...]], Steps[Any]]] = {
    "read_items": reading.read_items,
    "create_item": writing.create_item,
    "upsert_item": writing.upsert_item,
    "replace_item": writing.replace_item,
    "patch_item": writing.patch_item,
}
QUERIES = frozenset({"query_items", "read_all_items"})


class Tiered(ABC):
    """What the containers for threads and for asyncio share; each runs steps in its own way."""

    _resolving: Callable[..., Any]

    def __init__(self, container: Any, cold: ColdStore) -> None:
        self._container = container
        self._cold = cold
        self._moves = Moves()

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The container's, so that the SDK and its callers take one for a ContainerProxy."""
        return type(self._container)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    @abstractmethod
    def _run(self, steps: Steps[Any]) -> Any:
        """Each step in turn; what one raises is told to the generator, as its answer is."""

    def _answer(self, method: str, arguments: Arguments) -> Any:
        if method not in QUERIES:
            steps = self._moves.of(method, arguments)
            return self._run(as_one(steps, arguments, self._container.client_connection))
        given = arguments.pop("args", ())
        answer = getattr(self._container, method)(*given, **arguments)
        return self._resolving(answer, lambda document: self._run(self._moves.resolved(document)))


class Moves:
    """One per container; threads may share it."""

    def __init__(self) -> None:
        self._paths: tuple[str, ...] = ()

    def of(self, method: str, arguments: Arguments) -> Steps[Any]:
        if method in _BY_KEY:
            return (yield from _BY_KEY[method](arguments))
        paths = yield from self._key_paths()
        return (yield from _BY_BODY[method](arguments, paths))

    def resolved(self, document: Any) -> Steps[Any]:
        """A document of a query; a stub among them is looked up."""
        if not reading.is_whole_stub(document):
            return document
        paths = yield from self._key_paths()
        return (yield from reading.resolved(document, paths))

    def _key_paths(self) -> Steps[tuple[str, ...]]:
        if not self._paths:
            properties = yield ToCosmos(method="read")
            self._paths = tuple(properties["partitionKey"]["paths"])
        return self._paths
