"""Queue storage as this host uses it: receive, hide, delete, put; it decides nothing."""

from __future__ import annotations

import asyncio
import base64
import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from azure.core.exceptions import AzureError
from azure.storage.queue.aio import QueueServiceClient

from sandbox.host.faults import HostError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from azure.storage.queue.aio import QueueClient

T = TypeVar("T")

# The real host asks again at about these moments after a first refusal, and then gives up.
RETRY_WAITS_S = (0.8, 1.7, 3.5, 7.0, 11.0)
# Every other answer is final: 403 ends the host at once.
_RETRIED = {408, 429, 500, 502, 503, 504}
SERVER_ERROR = 500
CLIENT_LIMITS: Mapping[str, Any] = {
    "retry_total": 0,
    "connection_timeout": 5,
    "read_timeout": 30,
}


class StorageError(Exception):
    """Storage did not do what was asked, however often; the real host ends then."""


class ServerBusyError(StorageError):
    """Storage answered with a fault of its own; only a receive outlives that."""


class MessageGoneError(StorageError):
    """The message is deleted, or someone else holds it now: there is nothing left to do."""


class QueueThereError(StorageError):
    """The queue to be made is there already."""


class QueueMissingError(MessageGoneError):
    """The queue is not there, nor any message it held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as received; `text` is as it travelled, still encoded."""

    id: str
    pop_receipt: str
    text: str
    dequeue_count: int
    inserted_on: datetime
    expires_on: datetime
    next_visible_on: datetime

    def raw(self, *, is_base64: bool) -> bytes:
        """Undo the encoding it travelled in; blanks within base64 do not count."""
        if not is_base64:
            return self.text.encode("utf-8")
        return base64.b64decode("".join(self.text.split()), validate=True)


class Queue:
    """One queue; only a message for it makes it, never a listener."""

    def __init__(self, client: QueueClient, time_scale: float) -> None:
        self._client = client
        self._waits_s = [wait_s * time_scale for wait_s in RETRY_WAITS_S]
        self.name: str = client.queue_name

    async def put(self, text: str) -> None:
        """Add a message, creating the queue if need be."""
        doing = "adding a message to"
        try:
            await self._asked(doing, lambda: self._client.send_message(text))
        except QueueMissingError:
            with suppress(QueueThereError):
                await self._asked("creating", self._client.create_queue)
            await self._asked(doing, lambda: self._client.send_message(text))

    async def receive(self, *, count_max: int, lease_s: int) -> list[Message]:
        """Take up to this many messages and hide them for the lease."""

        async def received() -> list[Message]:
            pages = self._client.receive_messages(
                messages_per_page=count_max, max_messages=count_max, visibility_timeout=lease_s
            )
            return [_message(each) async for each in pages]

        return await self._asked("receiving from", received)

    async def hide(self, message: Message, *, seconds: float) -> Message:
        """Hide a message for so long from now; returns it with its new receipt."""
        updated: Any = await self._asked(
            "hiding a message of",
            lambda: self._client.update_message(
                message.id, message.pop_receipt, visibility_timeout=math.ceil(seconds)
            ),
        )
        return replace(
            message,
            pop_receipt=updated.pop_receipt,
            next_visible_on=updated.next_visible_on,
        )

    async def delete(self, message: Message) -> None:
        """Delete a message this host still holds."""
        await self._asked(
            "deleting a message of",
            lambda: self._client.delete_message(message.id, message.pop_receipt),
        )

    async def _asked(self, doing: str, call: Callable[[], Awaitable[T]]) -> T:
        for wait_s in [*self._waits_s, None]:
            try:
                return await call()
            except AzureError as error:
                status = getattr(error, "status_code", None)
                if wait_s is None or (status is not None and status not in _RETRIED):
                    raise self._failure(doing, error, status) from error
                await asyncio.sleep(wait_s)
        message = f"{doing} queue {self.name}: no try was made"
        raise StorageError(message)

    def _failure(self, doing: str, error: AzureError, status: int | None) -> StorageError:
        code = str(getattr(error, "error_code", None) or type(error).__name__)
        kind = _FAILURES.get(code, StorageError)
        if kind is StorageError and status is not None and status >= SERVER_ERROR:
            kind = ServerBusyError
        return kind(f"{doing} queue {self.name}: {code}: {error.message}")


_FAILURES: Mapping[str, type[StorageError]] = {
    "QueueNotFound": QueueMissingError,
    "QueueAlreadyExists": QueueThereError,
    "QueueBeingDeleted": ServerBusyError,
    "MessageNotFound": MessageGoneError,
    "PopReceiptMismatch": MessageGoneError,
}


def _message(received: Any) -> Message:
    return Message(
        id=received.id,
        pop_receipt=received.pop_receipt,
        text=received.content,
        dequeue_count=received.dequeue_count,
        inserted_on=received.inserted_on,
        expires_on=received.expires_on,
        next_visible_on=received.next_visible_on,
    )


class Storage:
    """The storage accounts behind the app's connection strings, each opened once."""

    def __init__(self, time_scale: float) -> None:
        self._time_scale = time_scale
        self._accounts: dict[str, QueueServiceClient] = {}

    def queue(self, connection: str, name: str) -> Queue:
        """Return a queue of the account this connection string names."""
        account = self._accounts.get(connection)
        if account is None:
            try:
                account = QueueServiceClient.from_connection_string(connection, **CLIENT_LIMITS)
            except ValueError as error:
                message = (
                    f"opening the storage of queue {name}: {error}; mend the connection string"
                )
                raise HostError(message) from error
            self._accounts[connection] = account
        return Queue(account.get_queue_client(name), self._time_scale)

    async def close(self) -> None:
        """Close every connection."""
        for account in self._accounts.values():
            await account.close()
