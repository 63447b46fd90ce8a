"""A small loopback server that hands requests to the function app's own HTTP functions."""

from __future__ import annotations

import runpy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import pytest

from sandbox.host.routes import Found, RouteTable, parse_route, route_table
from shared.errors import TransientError
from shared.wiring import App
from tests.browser.chromium import REPOSITORY

KEY_HEADER = "x-functions-key"


@dataclass(slots=True)
class Site:
    """The app as a browser meets it, with what a test may do to it."""

    app: App
    key: str = ""
    """Without one none is asked for, as Core Tools do it."""
    down: bool = False
    busy: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, address and key of every request."""
    url: str = ""

    def application(self) -> App:
        """What the triggers get from wiring."""
        if self.busy:
            raise TransientError("reading the ledger: storage is busy; try again")
        return self.app

    def calls(self, method: str, ending: str = "") -> int:
        return sum(1 for m, address, _ in self.asked if m == method and address.endswith(ending))


@contextmanager
def serving(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The site on a free port of loopback, until the end of the block."""
    monkeypatch.setattr("shared.wiring.app", site.application)
    functions = _functions()
    table = route_table([_route(each) for each in functions.values()])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site, table, functions))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _functions() -> dict[str, Any]:
    # Loaded afresh: azure-functions lists an app once and calls a second listing duplicates.
    app = runpy.run_path(str(REPOSITORY / "function_app.py"))["app"]
    http = (f for f in app.get_functions() if f.get_trigger().type == "httpTrigger")
    return {each.get_function_name(): each for each in http}


def _route(function: Any) -> Any:
    trigger = function.get_trigger().get_dict_repr()
    methods = tuple(str(getattr(each, "value", each)) for each in trigger["methods"])
    name = function.get_function_name()
    return parse_route(function=name, template=trigger["route"], prefix="api", methods=methods)


def _level(function: Any) -> str:
    level = function.get_trigger().get_dict_repr()["authLevel"]
    return str(getattr(level, "value", level)).lower()


def _handler(
    site: Site, table: RouteTable, functions: dict[str, Any]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, *_: object) -> None:
            """Nothing: pytest's output is for failures."""

        def _serve(self) -> None:
            given = self.headers.get(KEY_HEADER, "")
            site.asked.append((self.command, self.path, given))
            if site.down:
                self.close_connection = True
                return
            address = urlsplit(self.path)
            found = table.find(self.command, address.path)
            if not isinstance(found, Found):
                self._answer(func.HttpResponse(status_code=found.status))
                return
            function = functions[found.function]
            if site.key and _level(function) != "anonymous" and given != site.key:
                self._answer(func.HttpResponse(status_code=401))
                return
            request = func.HttpRequest(
                method=self.command,
                url=site.url + self.path,
                params=dict(parse_qsl(address.query)),
                route_params=dict(found.values),
                body=b"",
            )
            with site.lock:
                context = SimpleNamespace(invocation_id="invocation-1")
                self._answer(function.get_user_function()(request, context))

        def _answer(self, answer: func.HttpResponse) -> None:
            body = answer.get_body()
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", f"{answer.mimetype}; charset={answer.charset}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
