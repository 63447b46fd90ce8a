"""Stands in front of Azurite and refuses what it is told to, or shows another clock.

Azurite knows no roles and keeps no clock of its own; everything else passes through unchanged.
"""

import datetime as dt
import http.client
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal
from urllib.parse import urlsplit

from sandbox.azurite import Azurite

Service = Literal["blob", "queue", "table"]
_SERVICES: tuple[Service, ...] = ("blob", "queue", "table")
_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "MERGE")
# The gate sets these itself, from the body it really sends.
_OWN_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_WRITTEN_AT = re.compile(rb"(?<=<Last-Modified>)[^<]+")
_CODE = "AuthorizationPermissionMismatch"


@dataclass(slots=True, kw_only=True)
class StorageGate:
    """Where clients find the storage, and what they are refused there."""

    azurite: Azurite
    # How far the storage's clock is ahead in what it says of blobs.
    skew_s: float = 0.0
    _refused: list[tuple[Service, str]] = field(default_factory=list)

    def refuse(self, service: Service, part: str) -> None:
        """Answer 403, as for a missing role, where the path of a request holds this part."""
        self._refused.append((service, part))

    def open(self) -> None:
        """Refuse nothing, and show the right time."""
        self._refused.clear()
        self.skew_s = 0.0

    def refuses(self, service: Service, path: str, body: bytes = b"") -> bool:
        """Whether a request meets a refusal; a batch's parts are in its body."""
        asked = path + body.decode("utf-8", "replace") if "/$batch" in path else path
        return any(service == each and part in asked for each, part in self._refused)

    def shown(self, body: bytes) -> bytes:
        """An answer with the times that the gate's clock would have given."""
        return _WRITTEN_AT.sub(self._moved, body) if self.skew_s else body

    def _moved(self, found: re.Match[bytes]) -> bytes:
        at = parsedate_to_datetime(found[0].decode()) + dt.timedelta(seconds=self.skew_s)
        return format_datetime(at, usegmt=True).encode()


@contextmanager
def storage_gate(azurite: Azurite) -> Iterator[StorageGate]:
    """A gate on ports of its own, which refuses nothing yet."""
    gate = StorageGate(azurite=azurite)
    with ExitStack() as stack:
        endpoints = {
            f"{service}_endpoint": stack.enter_context(
                _served(gate, service, getattr(azurite, f"{service}_endpoint"))
            )
            for service in _SERVICES
        }
        gate.azurite = replace(azurite, **endpoints)
        yield gate


@contextmanager
def _served(gate: StorageGate, service: Service, behind: str) -> Iterator[str]:
    place = urlsplit(behind)

    facts = {"gate": gate, "service": service, "behind": place.netloc}
    verbs = {f"do_{method}": _Passing.pass_on for method in _METHODS}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Passing", (_Passing,), facts | verbs))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name=f"gate-{service}")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{place.path}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gate: StorageGate
    service: Service
    behind: str

    def pass_on(self) -> None:
        """Refuse one request, or hand it to Azurite and its answer back."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self.gate.refuses(self.service, self.path, body):
            self._answer(403, [("x-ms-error-code", _CODE)], b"")
            return
        connection = http.client.HTTPConnection(self.behind)
        try:
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            self._answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        shown = self.gate.shown(body)
        told = {name.lower(): value for name, value in headers}
        size = told.get("content-length", "0") if self.command == "HEAD" else str(len(shown))
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OWN_HEADERS:
                self.send_header(name, value)
        self.send_header("content-length", size)
        self.send_header("date", told.get("date", self.date_time_string()))
        self.end_headers()
        self.wfile.write(shown)

    def log_message(self, *_: object) -> None:
        """Keep nobody's output busy."""
