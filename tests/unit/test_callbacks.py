"""Where a verdict may be sent: Data Factory's own addresses, and what a setting adds."""

from __future__ import annotations

import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sandbox.certificates import make_certificates
from shared.adapters.callbacks import WebCallbacks
from shared.errors import Refused, TransientError

OURS = WebCallbacks(hosts=("127.0.0.1:8443",))


@pytest.mark.parametrize(
    "url",
    [
        "https://prod.northeurope.datafactory.azure.net/callback/x?a=b",
        "https://WESTEUROPE.DATAFACTORY.AZURE.NET/x",
        "https://usgov.datafactory.azure.us/x",
        "https://127.0.0.1:8443/dataplane/x",
    ],
)
def test_addresses_of_data_factory_are_allowed(url: str) -> None:
    """In any region and cloud, and the sandbox's where a setting names it."""
    assert OURS.allows(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://prod.datafactory.azure.net/x",
        "https://datafactory.azure.net.evil.example/x",
        "https://evildatafactory.azure.net/x",
        "https://x.datafactory.azure.net:8443/x",
        "https://x.datafactory.azure.net@evil.example/x",
        "https://evil.example@x.datafactory.azure.net/x",
        "https://127.0.0.1/x",
        "https://127.0.0.1:8444/x",
        "https://[::1",
        "ftp://x.datafactory.azure.net/x",
        "",
    ],
)
def test_any_other_address_is_not(url: str) -> None:
    """Nobody gets Ebb to call a stranger, however it is written."""
    assert not OURS.allows(url)
    with pytest.raises(Refused):
        OURS.answer(url, ok=True, code="", text="")


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    """The end of it was checked by nobody, and may be an address inside the network."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(302)
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the tests' output quiet."""

    files = make_certificates(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.server_certificate_file, files.server_key_file)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        place = f"127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever).start()
        try:
            answering = WebCallbacks(hosts=(place,), ca_file=str(files.ca_file))
            with pytest.raises(TransientError, match="302"):
                answering.answer(f"https://{place}/x", ok=True, code="", text="t")
        finally:
            server.shutdown()
    assert asked == ["/x"]


def test_an_address_that_does_not_answer_is_transient() -> None:
    """The delivery's message comes again."""
    nobody = WebCallbacks(hosts=("127.0.0.1:9",))
    with pytest.raises(TransientError, match="will be tried again"):
        nobody.answer("https://127.0.0.1:9/x", ok=False, code="Mismatch", text="t")
