"""A stand-in for Ebb's function: answers the WebHook as a test tells it, and calls back."""

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Data = dict[str, Any]
PROVEN: Data = {"StatusCode": "200", "Output": {"verdict": "proven"}}
REFUSED: Data = {
    "StatusCode": "409",
    "Error": {"ErrorCode": "Mismatch", "Message": "1 document differs"},
}


@dataclass(slots=True, kw_only=True)
class Reply:
    """One answer: its status, how late it is, and what is called back (None: nothing)."""

    status: int = 202
    late_s: float = 0.0
    callback: Data | None = field(default_factory=lambda: dict(PROVEN))


@dataclass(slots=True, kw_only=True)
class EbbStub:
    """What was asked of it, and what it will say; the last reply is given again and again."""

    url: str
    replies: list[Reply] = field(default_factory=lambda: [Reply()])
    bodies: list[Data] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    callback_statuses: list[int] = field(default_factory=list)

    def next_reply(self) -> Reply:
        """Return the reply for the request that came last."""
        return self.replies[min(len(self.bodies), len(self.replies)) - 1]

    def wait_until_asked(self, within_s: float = 15.0) -> Data:
        """Return the first request's body once there is one."""
        deadline_s = time.monotonic() + within_s
        while not self.bodies:
            assert time.monotonic() < deadline_s, "nobody asked"
            time.sleep(0.01)
        return self.bodies[0]


def call_back(address: str, body: Data, ca_file: Path) -> int:
    """Invoke a callback address, and return the status of its answer."""
    request = urllib.request.Request(  # noqa: S310 - loopback
        address,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    trusted = ssl.create_default_context(cafile=str(ca_file))
    try:
        with urllib.request.urlopen(  # noqa: S310 - loopback
            request, context=trusted, timeout=10
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)


@contextmanager
def listening(ca_file: Path) -> Iterator[EbbStub]:
    """Serve on loopback until the test is over."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.bodies.append(body)
            stub.headers.append({name.lower(): value for name, value in self.headers.items()})
            reply = stub.next_reply()
            time.sleep(reply.late_s)
            self.send_response(reply.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if reply.callback is not None:
                stub.callback_statuses.append(
                    call_back(body["callBackUri"], reply.callback, ca_file)
                )

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's own name
            """Say nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub = EbbStub(url=f"http://127.0.0.1:{server.server_port}/api/slices/s1/validate")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
