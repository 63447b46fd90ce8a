"""A container as azure-cosmos gives it, with the archive behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from azure.core.exceptions import AzureError
from azure.cosmos import ContainerProxy

from shared.tiered.calling import signed_as
from shared.tiered.cold import ColdStore
from shared.tiered.moves import Tiered
from shared.tiered.paged import Resolving
from shared.tiered.searching import ANY, Wanted, found_in
from shared.tiered.steps import Steps, ToCold, ToCosmos

T = TypeVar("T")


class TieredContainer(Tiered):
    """Takes the place of a ContainerProxy; what is not said here is the ContainerProxy's own."""

    _resolving = Resolving

    def __init__(self, container: ContainerProxy, cold: ColdStore) -> None:
        super().__init__(container, cold)

    read_item = signed_as(ContainerProxy.read_item)
    read_items = signed_as(ContainerProxy.read_items)
    read_all_items = signed_as(ContainerProxy.read_all_items)
    query_items = signed_as(ContainerProxy.query_items)
    create_item = signed_as(ContainerProxy.create_item)
    upsert_item = signed_as(ContainerProxy.upsert_item)
    replace_item = signed_as(ContainerProxy.replace_item)
    patch_item = signed_as(ContainerProxy.patch_item)
    delete_item = signed_as(ContainerProxy.delete_item)

    def query_archive(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the property's name
        partition_key: Any = ANY,
        since: int = 0,
        until: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Documents that the archive alone has, last written in [since, until), in UTC seconds."""
        wanted = Wanted(id=id, partition_key=partition_key, since=since, until=until)
        return found_in(self._cold, wanted)

    def _run(self, steps: Steps[T]) -> T:
        return run_at_once(steps, self._do)

    def _do(self, step: ToCosmos | ToCold) -> Any:
        if isinstance(step, ToCosmos):
            return getattr(self._container, step.method)(**step.arguments)
        return getattr(self._cold, step.method)(step.argument)


def run_at_once(steps: Steps[T], do: Callable[[ToCosmos | ToCold], Any]) -> T:
    """Each step in turn; what one raises is told to the generator, as its answer is."""
    try:
        step = next(steps)
        while True:
            try:
                answer = do(step)
            except AzureError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as ended:
        result: T = ended.value
        return result
