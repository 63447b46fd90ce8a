"""Queue storage as this host uses it: receive, hide, delete, put; it decides nothing."""

from __future__ import annotations

import base64
import math
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.queue.aio import QueueServiceClient

from sandbox.host.faults import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from azure.storage.queue.aio import QueueClient

# A queue message holds 64 KiB as it travels, base64 included.
MESSAGE_BYTES_MAX = 64 * 1024
# Loopback answers at once; the SDK's own 15 s and more between tries would outlast a drain.
CLIENT_LIMITS: Mapping[str, Any] = {
    "retry_total": 2,
    "initial_backoff": 0.2,
    "increment_base": 0.5,
    "random_jitter_range": 0,
    "connection_timeout": 5,
    "read_timeout": 30,
}


class StorageError(Exception):
    """Storage did not do what was asked; it may next time."""


class MessageGoneError(StorageError):
    """The message is deleted, or someone else holds it now: there is nothing left to do."""


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

    def body(self, *, is_base64: bool) -> str | bytes:
        """Decode the message; bytes that are no text stay bytes."""
        if not is_base64:
            return self.text
        raw = base64.b64decode(self.text, validate=True)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw


def encoded(body: str | bytes, *, is_base64: bool) -> str:
    """Encode a message for its journey."""
    raw = body.encode("utf-8") if isinstance(body, str) else body
    return base64.b64encode(raw).decode("ascii") if is_base64 else raw.decode("utf-8")


class Queue:
    """One queue; it is created when it is not there."""

    def __init__(self, client: QueueClient) -> None:
        self._client = client
        self.name: str = client.queue_name

    async def create(self) -> None:
        """Create the queue unless it is there."""
        with (
            suppress(ResourceExistsError),
            self._asked("creating", let_through=ResourceExistsError),
        ):
            await self._client.create_queue()

    async def put(self, text: str) -> None:
        """Add a message, creating the queue if need be."""
        if len(text.encode("utf-8")) > MESSAGE_BYTES_MAX:
            message = (
                f"adding a message to queue {self.name}: it has {len(text)} characters as it "
                f"travels; a message holds {MESSAGE_BYTES_MAX} bytes, put the rest in a blob"
            )
            raise StorageError(message)
        try:
            with self._asked("adding a message to"):
                await self._client.send_message(text)
        except QueueMissingError:
            await self.create()
            with self._asked("adding a message to"):
                await self._client.send_message(text)

    async def receive(self, *, count_max: int, lease_s: int) -> list[Message]:
        """Take up to this many messages and hide them for the lease."""
        with self._asked("receiving from"):
            pages = self._client.receive_messages(
                messages_per_page=count_max, max_messages=count_max, visibility_timeout=lease_s
            )
            return [_message(received) async for received in pages]

    async def hide(self, message: Message, *, seconds: float) -> Message:
        """Hide a message for so long from now; returns it with its new receipt."""
        with self._asked("hiding a message of"):
            updated: Any = await self._client.update_message(
                message.id, message.pop_receipt, visibility_timeout=math.ceil(seconds)
            )
        return replace(
            message,
            pop_receipt=updated.pop_receipt,
            next_visible_on=updated.next_visible_on,
        )

    async def delete(self, message: Message) -> None:
        """Delete a message this host still holds."""
        with self._asked("deleting a message of"):
            await self._client.delete_message(message.id, message.pop_receipt)

    @contextmanager
    def _asked(self, doing: str, let_through: type[AzureError] | tuple[()] = ()) -> Iterator[None]:
        try:
            yield
        except let_through:
            raise
        except AzureError as error:
            code = str(getattr(error, "error_code", None) or type(error).__name__)
            failure = _FAILURES.get(code, StorageError)
            message = f"{doing} queue {self.name}: {code}: {error.message}"
            raise failure(message) from error


_FAILURES: Mapping[str, type[StorageError]] = {
    "QueueNotFound": QueueMissingError,
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

    def __init__(self) -> None:
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
        return Queue(account.get_queue_client(name))

    async def close(self) -> None:
        """Close every connection."""
        for account in self._accounts.values():
            await account.close()
