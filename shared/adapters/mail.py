"""Sends work to Storage queues in the form the Functions host reads; it receives nothing.

It counts messages, too: those that no function can read are found in no other way.
"""

from __future__ import annotations

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueServiceClient, TextBase64EncodePolicy

from shared.adapters.azure_errors import translated, unless_there

DELAY_S_MAX = 7 * 24 * 3600 - 1  # a message lives seven days, and must appear before it dies


class StorageMail:
    def __init__(self, queues: QueueServiceClient) -> None:
        self._queues = queues

    def send(self, queue: str, text: str, *, delay_s: int = 0) -> None:
        client = self._queues.get_queue_client(
            queue, message_encode_policy=TextBase64EncodePolicy()
        )
        hidden_s = min(max(0, delay_s), DELAY_S_MAX)
        with translated("sending a message to", f"queue {queue}"):
            try:
                client.send_message(text, visibility_timeout=hidden_s)
            except ResourceNotFoundError:
                with unless_there():
                    client.create_queue()
                client.send_message(text, visibility_timeout=hidden_s)

    def count(self, queue: str) -> int:
        client = self._queues.get_queue_client(queue)
        with translated("counting the messages of", f"queue {queue}"):
            try:
                return client.get_queue_properties().approximate_message_count or 0
            except ResourceNotFoundError:
                return 0
