"""Counts the HTTP requests that a process's Azure clients really send, by service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from azure.core.pipeline.transport import RequestsTransport


class Requests:
    """A count by service; retries count, as each is a request of its own."""

    def __init__(self, endpoints: Mapping[str, str]) -> None:
        """Take each service's address, by the name to count it under."""
        self._services = {urlsplit(url).netloc: name for name, url in endpoints.items()}
        self.by_service: Counter[str] = Counter()

    def sent(self, url: str) -> None:
        """Count one request."""
        self.by_service[self._services.get(urlsplit(url).netloc, "other")] += 1


@contextmanager
def counted(endpoints: Mapping[str, str]) -> Iterator[Requests]:
    """Count every request of every client until the end.

    The composition root makes its clients itself and takes no policies, so it is the one transport
    below all of them that is counted at.
    """
    requests = Requests(endpoints)
    send = RequestsTransport.send

    def counting(self: RequestsTransport, request: Any, **options: Any) -> Any:
        requests.sent(request.url)
        return send(self, request, **options)

    RequestsTransport.send = counting
    try:
        yield requests
    finally:
        RequestsTransport.send = send
