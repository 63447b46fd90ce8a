"""The mail's promises: delivered as text the Functions host reads, and not before its time."""

from __future__ import annotations

import base64
from uuid import uuid4

import pytest

from shared.adapters.mail import StorageMail
from shared.adapters.memory import MemoryClock, MemoryMail
from shared.errors import PermanentError
from shared.ports import COPY_QUEUE
from tests.contract.rooms import RACERS, AzuriteRooms, raced

pytestmark = pytest.mark.node


def queue_name() -> str:
    return f"{COPY_QUEUE}-{uuid4().hex}"


def raw_texts(azurite: AzuriteRooms, queue: str) -> list[str]:
    """What is on the wire, without any decoding of the client's."""
    client = azurite.clients.queues.get_queue_client(queue)
    return [str(one.content) for one in client.receive_messages(max_messages=32)]


def test_a_message_is_base64_as_the_host_expects(azurite: AzuriteRooms) -> None:
    """The queue is made when it is missing."""
    queue = queue_name()
    StorageMail(azurite.clients.queues).send(queue, "orders/Größe ☕")
    (raw,) = raw_texts(azurite, queue)
    assert base64.b64decode(raw).decode() == "orders/Größe ☕"


def test_a_delayed_message_is_hidden_at_first(azurite: AzuriteRooms) -> None:
    """One sent at once passes it."""
    queue, mail = queue_name(), StorageMail(azurite.clients.queues)
    mail.send(queue, "later", delay_s=3600)
    mail.send(queue, "now")
    assert [base64.b64decode(raw) for raw in raw_texts(azurite, queue)] == [b"now"]


def test_a_delay_beyond_a_messages_life_is_cut(azurite: AzuriteRooms) -> None:
    """A message that died unseen would be work lost; a negative delay is none."""
    queue, mail = queue_name(), StorageMail(azurite.clients.queues)
    mail.send(queue, "someday", delay_s=10**9)
    mail.send(queue, "past", delay_s=-5)
    assert [base64.b64decode(raw) for raw in raw_texts(azurite, queue)] == [b"past"]


def test_hidden_messages_are_counted_and_a_missing_queue_is_empty(
    azurite: AzuriteRooms,
) -> None:
    """What cannot be decoded is hidden nearly always: a peek would miss it."""
    queue, mail = queue_name(), StorageMail(azurite.clients.queues)
    assert mail.count(queue) == 0
    mail.send(queue, "later", delay_s=3600)
    mail.send(queue, "now")
    assert mail.count(queue) == 2


def test_racing_senders_all_deliver(azurite: AzuriteRooms) -> None:
    """Sixteen send to a queue that does not exist yet."""
    queue, mail = queue_name(), StorageMail(azurite.clients.queues)
    assert raced(lambda n: mail.send(queue, str(n))) == [None] * RACERS
    texts = {base64.b64decode(raw).decode() for raw in raw_texts(azurite, queue)}
    assert texts == {str(n) for n in range(RACERS)}


def test_a_message_too_large_is_refused_by_name(azurite: AzuriteRooms) -> None:
    """The error names the queue and never the text."""
    mail = StorageMail(azurite.clients.queues)
    queue = queue_name()
    with pytest.raises(PermanentError, match=queue) as caught:
        mail.send(queue, "secret" * 20_000)
    assert "secret" not in str(caught.value)


def test_mail_in_memory_keeps_to_its_clock() -> None:
    """Hidden until its time, then taken once."""
    clock = MemoryClock()
    mail = MemoryMail(clock)
    mail.send("q", "later", delay_s=10)
    mail.send("q", "now")
    mail.send("other", "elsewhere")
    first = mail.take("q")
    assert first is not None
    assert first.text == "now"
    assert mail.take("q") is None
    clock.advance(10)
    second = mail.take("q")
    assert second is not None
    assert second.text == "later"
    assert [one.text for one in mail.letters] == ["elsewhere"]
