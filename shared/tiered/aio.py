"""The same container for asyncio: Cosmos DB with await, the archive's side in a thread.

The archive's clients block, and a thread holds one read of it: one set of adapters to prove serves
both kinds of container, and Cosmos DB, which nearly every request goes to, takes no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from azure.core.exceptions import AzureError
from azure.cosmos.aio import ContainerProxy

from shared.tiered.calling import signed_as
from shared.tiered.cold import ColdStore
from shared.tiered.moves import Tiered
from shared.tiered.paged import AsyncResolving
from shared.tiered.searching import ANY, Wanted, found_in
from shared.tiered.steps import Steps, ToCold, ToCosmos

T = TypeVar("T")


class AsyncTieredContainer(Tiered):
    """Takes the place of an azure.cosmos.aio ContainerProxy."""

    _resolving = AsyncResolving

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

    async def query_archive(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the property's name
        partition_key: Any = ANY,
        since: int = 0,
        until: int | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Documents that the archive alone has, last written in [since, until), in UTC seconds."""
        wanted = Wanted(id=id, partition_key=partition_key, since=since, until=until)
        documents = found_in(self._cold, wanted)
        while (found := await asyncio.to_thread(next, documents, None)) is not None:
            yield found

    async def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                try:
                    answer = await self._do(step)
                except AzureError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as ended:
            result: T = ended.value
            return result

    async def _do(self, step: ToCosmos | ToCold) -> Any:
        if isinstance(step, ToCosmos):
            return await getattr(self._container, step.method)(**step.arguments)
        return await asyncio.to_thread(getattr(self._cold, step.method), step.argument)
