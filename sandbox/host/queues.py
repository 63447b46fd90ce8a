"""Listens to one queue as the real host does: polls, leases, retries, poisons; it runs nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.host.config import POLL_INTERVAL_S_MIN, QueueOptions
from sandbox.host.logs import event
from sandbox.host.messages import TypedData
from sandbox.host.storage import Message, MessageGoneError, QueueMissingError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sandbox.host.functions import Function
    from sandbox.host.invoker import Invoker
    from sandbox.host.storage import Queue

POISON_SUFFIX = "-poison"
# RandomizedExponentialBackoffStrategy.RandomizationFactor of the WebJobs SDK.
RANDOM_SHARE = 0.2
# A renewal that fails is tried again this many times before the lease would run out.
RENEWALS_PER_LEASE = 4


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
    ) -> None:
        self._function = function
        self._queue = queue
        self._poison = poison
        self._options = options
        self._lease_s = lease_s
        self._invoker = invoker
        self._random = random
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._processing: set[asyncio.Task[None]] = set()

    @property
    def queue_name(self) -> str:
        """The queue it listens to."""
        return self._queue.name

    async def prepare(self) -> None:
        """Create the queue it listens to unless it is there."""
        await self._queue.create()

    def wake(self) -> None:
        """Poll now: a function of this host has just added a message."""
        self._wake.set()

    def stop(self) -> None:
        """Take no further message; what runs goes on."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Poll until stopped, then wait for what is still being processed."""
        backoff = Backoff(interval_s_max=self._options.poll_interval_s_max)
        found_since_wait, trouble = False, ""
        while not self._stopping.is_set():
            messages: list[Message] = []
            self._wake.clear()
            if self._stopping.is_set():
                break
            try:
                messages = await self._receive()
                trouble = ""
            except StorageError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    self._tell("queue_unreachable", level="warning", error=trouble)
            if messages:
                found_since_wait = True
                await self._take(messages)
                continue
            backoff = backoff.after(found=found_since_wait, random=self._random)
            found_since_wait = False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), backoff.interval_s)
        if self._processing:
            await asyncio.wait(self._processing)

    async def _receive(self) -> list[Message]:
        try:
            return await self._queue.receive(
                count_max=self._options.batch_size, lease_s=self._lease_s
            )
        except QueueMissingError:
            await self._queue.create()
            return []

    async def _take(self, messages: list[Message]) -> None:
        for message in messages:
            work = self._put_back(message) if self._stopping.is_set() else self._process(message)
            task = asyncio.create_task(work)
            self._processing.add(task)
            task.add_done_callback(self._processing.discard)
        stopped = asyncio.create_task(self._stopping.wait())
        while len(self._processing) > self._options.new_batch_threshold and not stopped.done():
            await asyncio.wait({*self._processing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()

    async def _process(self, message: Message) -> None:
        try:
            if message.dequeue_count > self._options.dequeue_count_max:
                await self._to_poison(message)
                return
            succeeded, message = await self._invoke(message)
            if succeeded:
                await self._queue.delete(message)
            elif message.dequeue_count >= self._options.dequeue_count_max:
                await self._to_poison(message)
            else:
                await self._queue.hide(message, seconds=self._options.visibility_timeout_s)
        except MessageGoneError as error:
            self._tell("message_lost", message_id=message.id, error=str(error))
        except StorageError as error:
            # The message stays hidden until its lease runs out, and then comes back.
            self._tell("message_stuck", "error", message_id=message.id, error=str(error))

    async def _invoke(self, message: Message) -> tuple[bool, Message]:
        try:
            body = message.body(is_base64=self._options.base64)
        except ValueError as error:
            advice = f"{error}; host.json's messageEncoding says base64"
            self._tell("message_undecodable", "error", message_id=message.id, error=advice)
            return False, message
        payload = TypedData(string=body) if isinstance(body, str) else TypedData(bytes=body)
        task = self._invoker.start(self._function, payload, trigger_metadata(message, body))
        while not task.done():
            await asyncio.wait({task}, timeout=self._lease_s / 2)
            if not task.done():
                message = await self._renew(message, task)
        return task.result().ok, message

    async def _renew(self, message: Message, task: asyncio.Task[object]) -> Message:
        for _ in range(RENEWALS_PER_LEASE):
            try:
                return await self._queue.hide(message, seconds=self._lease_s)
            except MessageGoneError as error:
                self._tell("lease_lost", "warning", message_id=message.id, error=str(error))
                await asyncio.wait({task})
                return message
            except StorageError as error:
                self._tell("renewal_failed", "warning", message_id=message.id, error=str(error))
                await asyncio.wait({task}, timeout=self._lease_s / (2 * RENEWALS_PER_LEASE))
                if task.done():
                    return message
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
        self._invoker.enqueued(self._poison.name)

    async def _put_back(self, message: Message) -> None:
        with suppress(StorageError):
            await self._queue.hide(message, seconds=0)

    def _tell(self, name: str, level: str = "information", **facts: object) -> None:
        event(name, level=level, function=self._function.name, queue=self._queue.name, **facts)


def trigger_metadata(message: Message, body: str | bytes) -> dict[str, TypedData]:
    """Build what azure.functions.QueueMessage is made from."""

    def moment(at: datetime) -> TypedData:
        return TypedData(json=json.dumps(at.isoformat()))

    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    return {
        "QueueTrigger": TypedData(string=text),
        "Id": TypedData(string=message.id),
        "PopReceipt": TypedData(string=message.pop_receipt),
        "DequeueCount": TypedData(json=str(message.dequeue_count)),
        "InsertionTime": moment(message.inserted_on),
        "ExpirationTime": moment(message.expires_on),
        "NextVisibleTime": moment(message.next_visible_on),
    }
