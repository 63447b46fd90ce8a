"""Posts messages to the addresses that people named: https, no redirects, bounded in time and size.

An address is a secret, so no failure tells it; what it answered is not read beyond its status.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from shared.domain.notices import Message, Shape, Webhook
from shared.errors import PermanentError, TransientError

TIMEOUT_S = 10.0  # for a connection, and for each wait of it
ANSWER_S_MAX = 20.0  # for all of it, also where an answer comes byte by byte
BODY_BYTES_MAX = 16_000  # Teams takes 28 KB; ours are a tenth of this
_TRANSIENT = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)


class WebWebhooks:
    def __init__(
        self,
        webhooks: Mapping[str, Webhook],
        *,
        runbook: str,
        ca_file: str | None = None,
        answer_s_max: float = ANSWER_S_MAX,
    ) -> None:
        self.runbook = runbook
        self._webhooks = webhooks
        self._ca_file = ca_file
        self._answer_s_max = answer_s_max

    @property
    def targets(self) -> frozenset[str]:
        return frozenset(self._webhooks)

    def send(self, target: str, message: Message) -> None:
        doing = f"telling {target}"
        webhook = self._webhooks.get(target)
        if webhook is None:
            raise PermanentError(f"{doing}: EBB_WEBHOOKS names no such target; add its address")
        data = json.dumps(body_for(webhook.shape, message)).encode()
        if len(data) > BODY_BYTES_MAX:
            raise PermanentError(f"{doing}: {len(data)} bytes, and {BODY_BYTES_MAX} may be sent")
        try:
            status = self._posted(webhook.url, data)
        except UnicodeError:
            raise PermanentError(
                f"{doing}: its address has no possible host; correct it in EBB_WEBHOOKS"
            ) from None  # the cause holds the address, which is a secret
        except (OSError, HTTPException) as error:
            raise TransientError(
                f"{doing}: no answer ({type(error).__name__}); will be tried again"
            ) from error
        _check(doing, status)

    def _posted(self, url: str, data: bytes) -> int:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        headers = {"content-type": "application/json", "user-agent": "ebb/0.1"}
        with _ended_after(connection, self._answer_s_max):
            connection.request("POST", path, body=data, headers=headers)
            return connection.getresponse().status

    def _connection(self, scheme: str, host: str, port: int | None) -> HTTPConnection:
        if scheme == "http":
            return HTTPConnection(host, port, timeout=TIMEOUT_S)
        context = ssl.create_default_context(cafile=self._ca_file)
        return HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)


@contextmanager
def _ended_after(connection: HTTPConnection, seconds: float) -> Iterator[None]:
    """Closed at the end, and cut off from outside when it takes too long: then TimeoutError."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError, AttributeError):  # it ended in this moment, or never began
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        connection.close()
    if late.is_set():  # a broken off head reads as a short one
        raise TimeoutError(f"no whole answer within {seconds:g} s")


def _check(doing: str, status: int) -> None:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return
    if status in _TRANSIENT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise TransientError(f"{doing}: answered {status}; will be tried again")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise PermanentError(
            f"{doing}: answered {status}; redirects are not followed: name the end"
        )
    raise PermanentError(f"{doing}: answered {status}; correct its address in EBB_WEBHOOKS")


def body_for(shape: Shape, message: Message) -> dict[str, Any]:
    """What a receiver of this shape understands."""
    if shape is Shape.SLACK:
        return {"text": "\n".join([f"*{message.title}*", *_lines(message)])}
    if shape is Shape.TEAMS:
        return {"type": "message", "attachments": [_card(message)]}
    return asdict(message)


def _lines(message: Message) -> list[str]:
    counts = ", ".join(f"{count:,} {name}" for name, count in message.facts.items())
    lines = [message.text, f"Do: {message.do}", counts, f"Runbook: {message.runbook}"]
    return [line for line in lines if line]


def _card(message: Message) -> dict[str, Any]:
    facts = [{"title": name, "value": f"{count:,}"} for name, count in message.facts.items()]
    title = {"type": "TextBlock", "text": message.title, "weight": "bolder", "wrap": True}
    texts = [
        {"type": "TextBlock", "text": text, "wrap": True}
        for text in (message.text, f"Do: {message.do}", f"Runbook: {message.runbook}")
    ]
    card = {
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [title, *texts, {"type": "FactSet", "facts": facts}],
    }
    return {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
