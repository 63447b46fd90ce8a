"""Listens to one queue as the real host does: polls, leases, retries, poisons; it runs nothing.

What storage refuses for good is raised and ends the host; a missing queue is not made here.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.host.config import POLL_INTERVAL_S_MIN, QueueOptions
from sandbox.host.logs import event
from sandbox.host.messages import TypedData
from sandbox.host.storage import (
    Message,
    MessageGoneError,
    QueueMissingError,
    ServerBusyError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sandbox.host.functions import Function
    from sandbox.host.invoker import Invoker
    from sandbox.host.storage import Queue
    from sandbox.host.worker import Outcome

POISON_SUFFIX = "-poison"
# RandomizedExponentialBackoffStrategy.RandomizationFactor of the WebJobs SDK.
RANDOM_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next poll; `random` gives numbers in [0, 1)."""

    interval_s_max: float
    interval_s: float = 0.0
    exponent: int = 0

    def after(self, *, found: bool, random: Callable[[], float]) -> Backoff:
        """Return the next state: the shortest wait after a find, else about twice the last."""
        if found:
            return self._to(min(POLL_INTERVAL_S_MIN, self.interval_s_max), 1)
        if self.interval_s == self.interval_s_max:
            return self
        longer_s = POLL_INTERVAL_S_MIN
        if self.exponent > 0:
            share = 1 - RANDOM_SHARE + 2 * RANDOM_SHARE * random()
            longer_s += share * 2 ** (self.exponent - 1) * POLL_INTERVAL_S_MIN
        if longer_s < self.interval_s_max:
            return self._to(longer_s, self.exponent + 1)
        return self._to(self.interval_s_max, self.exponent)

    def _to(self, interval_s: float, exponent: int) -> Backoff:
        return Backoff(interval_s_max=self.interval_s_max, interval_s=interval_s, exponent=exponent)


class QueueListener:
    """Feeds one function from one queue."""

    def __init__(
        self,
        *,
        function: Function,
        queue: Queue,
        poison: Queue,
        options: QueueOptions,
        lease_s: int,
        invoker: Invoker,
        random: Callable[[], float],
        moved: Callable[[str], None],
    ) -> None:
        self._function = function
        self._queue = queue
        self._poison = poison
        self._options = options
        self._lease_s = lease_s
        self._invoker = invoker
        self._random = random
        self._moved = moved
        self._trouble = ""
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._processing: set[asyncio.Task[None]] = set()

    @property
    def queue_name(self) -> str:
        """The queue it listens to."""
        return self._queue.name

    def wake(self) -> None:
        """Poll now: this host has just moved a message here."""
        self._wake.set()

    def stop(self) -> None:
        """Take no further message; what runs goes on."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Poll until stopped, then wait for what is still being processed."""
        async with asyncio.TaskGroup() as group:
            await self._poll(group)

    async def _poll(self, group: asyncio.TaskGroup) -> None:
        backoff = Backoff(interval_s_max=self._options.poll_interval_s_max)
        found_since_wait = False
        while not self._stopping.is_set():
            self._wake.clear()
            if self._stopping.is_set():
                break
            messages = await self._receive()
            if self._stopping.is_set():
                # The real host gives the call up: what it took stays hidden for its lease.
                break
            if messages:
                found_since_wait = True
                await self._take(messages, group)
                continue
            backoff = backoff.after(found=found_since_wait, random=self._random)
            found_since_wait = False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), backoff.interval_s)

    async def _receive(self) -> list[Message]:
        try:
            messages = await self._queue.receive(
                count_max=self._options.batch_size, lease_s=self._lease_s
            )
        except (QueueMissingError, ServerBusyError) as error:
            # Azure's host warns at every poll; once for each kind is enough here.
            if type(error).__name__ != self._trouble:
                self._tell("queue_unreachable", level="warning", error=str(error))
            self._trouble = type(error).__name__
            return []
        self._trouble = ""
        return [message for message in messages if await self._is_readable(message)]

    async def _is_readable(self, message: Message) -> bool:
        try:
            message.raw(is_base64=self._options.base64)
        except ValueError as error:
            advice = f"{error}; host.json's messageEncoding says base64"
            self._tell("message_undecodable", "error", message_id=message.id, error=advice)
            if not self._is_last:
                await self._to_poison(message)
            return False
        return True

    @property
    def _is_last(self) -> bool:
        """Whether messages of this queue are never moved nor released by a failure."""
        return self.queue_name.endswith(POISON_SUFFIX)

    async def _take(self, messages: list[Message], group: asyncio.TaskGroup) -> None:
        for message in messages:
            task = group.create_task(self._process(message))
            self._processing.add(task)
            task.add_done_callback(self._processing.discard)
        stopped = asyncio.create_task(self._stopping.wait())
        while len(self._processing) > self._options.new_batch_threshold and not stopped.done():
            await asyncio.wait({*self._processing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()

    async def _process(self, message: Message) -> None:
        most = self._options.dequeue_count_max
        try:
            if message.dequeue_count > most and not self._is_last:
                await self._to_poison(message)
                return
            succeeded, message = await self._invoke(message)
            if succeeded:
                await self._queue.delete(message)
            elif self._is_last:
                self._tell("message_hidden", "warning", message_id=message.id)
            elif message.dequeue_count >= most:
                await self._to_poison(message)
            else:
                await self._queue.hide(message, seconds=self._options.visibility_timeout_s)
        except MessageGoneError as error:
            self._tell("message_lost", message_id=message.id, error=str(error))

    async def _invoke(self, message: Message) -> tuple[bool, Message]:
        try:
            body = message.raw(is_base64=self._options.base64).decode("utf-8")
        except UnicodeDecodeError as error:
            # A trigger without a data type binds text: the function is never called.
            self._tell("binding_failed", "error", message_id=message.id, error=str(error))
            return False, message
        metadata = trigger_metadata(message, body)
        task = self._invoker.start(self._function, TypedData(string=body), metadata)
        while not task.done():
            await asyncio.wait({task}, timeout=self._lease_s / 2)
            if not task.done():
                message = await self._renew(message, task)
        return task.result().ok, message

    async def _renew(self, message: Message, task: asyncio.Task[Outcome]) -> Message:
        try:
            return await self._queue.hide(message, seconds=self._lease_s)
        except MessageGoneError as error:
            self._tell("lease_lost", "warning", message_id=message.id, error=str(error))
            await asyncio.wait({task})
            return message

    async def _to_poison(self, message: Message) -> None:
        await self._poison.put(message.text)
        await self._queue.delete(message)
        self._tell(
            "poisoned",
            "warning",
            message_id=message.id,
            dequeue_count=message.dequeue_count,
            poison_queue=self._poison.name,
        )
        self._moved(self._poison.name)

    def _tell(self, name: str, level: str = "information", **facts: object) -> None:
        event(name, level=level, function=self._function.name, queue=self._queue.name, **facts)


def trigger_metadata(message: Message, body: str) -> dict[str, TypedData]:
    """Build what azure.functions.QueueMessage is made from."""

    def moment(at: datetime) -> TypedData:
        return TypedData(json=json.dumps(at.isoformat()))

    return {
        "QueueTrigger": TypedData(string=body),
        "Id": TypedData(string=message.id),
        "PopReceipt": TypedData(string=message.pop_receipt),
        "DequeueCount": TypedData(json=str(message.dequeue_count)),
        "InsertionTime": moment(message.inserted_on),
        "ExpirationTime": moment(message.expires_on),
        "NextVisibleTime": moment(message.next_visible_on),
    }
