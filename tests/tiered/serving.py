"""The example's HTTP API over a container, for as long as a test asks it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from examples.records_api import serve


@contextmanager
def served(
    container: Any, *, timeout_s: float | None = None
) -> Iterator[http.client.HTTPConnection]:
    server = serve(container, port=0)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=timeout_s)
    try:
        yield connection
    finally:
        connection.close()
        server.shutdown()
        server.server_close()
