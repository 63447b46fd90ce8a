"""A folder served as a blob container is, with the misfortunes that a test orders."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from sandbox.certificates import Certificates


@dataclass(slots=True)
class Blobs:
    """What is served, and what goes wrong with the next answers: their status, their length."""

    folder: Path
    url: str = ""
    statuses: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    listing: bytes | None = None
    extra: str = ""
    asked: list[str] = field(default_factory=list)

    def page(self, start: str, marker: str, limit: int) -> bytes:
        """One page of the list, as the service writes it."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        names = sorted(f"deep/{path.relative_to(self.folder).as_posix()}" for path in files)
        found = [name for name in names if name.startswith(start) and name >= marker]
        blobs = "".join(
            f'<Blob><Name Encoded="true">{quote(name)}</Name><Properties><Content-Length>'
            f"{(self.folder / name.removeprefix('deep/')).stat().st_size}</Content-Length>"
            "</Properties></Blob>"
            for name in found[:limit]
        )
        following = escape(found[limit]) if len(found) > limit else ""
        text = f"<Blobs>{blobs}{self.extra}</Blobs><NextMarker>{following}</NextMarker>"
        return f"<EnumerationResults>{text}</EnumerationResults>".encode()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, *args: object, blobs: Blobs) -> None:
        self._blobs = blobs
        super().__init__(*args)  # type: ignore[arg-type]  # the server gives them

    def do_GET(self) -> None:
        self._blobs.asked.append(self.path)
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        status = self._blobs.statuses.pop(0) if self._blobs.statuses else 200
        path = self._blobs.folder / unquote(parts.path).removeprefix("/account/box/deep/")
        if "comp" in asked:
            body = self._blobs.listing or self._blobs.page(
                asked.get("prefix", ""), asked.get("marker", ""), int(asked["maxresults"])
            )
        else:
            body = path.read_bytes()
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("x-ms-error-code", "Whatever")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        share = self._blobs.shares.pop(0) if self._blobs.shares else 1.0
        self.wfile.write(body[: int(len(body) * share)])

    def log_message(self, *_: object) -> None:
        """Nothing: a test reads `asked`."""


@contextmanager
def served(folder: Path, certificates: Certificates | None = None) -> Iterator[Blobs]:
    """Serve it under /account/box/deep until the end."""
    blobs = Blobs(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, blobs=blobs)) as server:
        if certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(
                certificates.server_certificate_file, certificates.server_key_file
            )
            server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "http" if certificates is None else "https"
        blobs.url = f"{scheme}://127.0.0.1:{server.server_port}/account/box/deep?sv=1&sig=s3cr3t%3D"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield blobs
        finally:
            server.shutdown()
            thread.join()
