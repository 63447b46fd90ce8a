"""Answers HTTP for the app's HTTP functions: routes, keys, limits, mapping; it runs nothing."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

from aiohttp import web
from multidict import CIMultiDict

from sandbox.host.functions import HttpTrigger
from sandbox.host.logs import event
from sandbox.host.messages import RpcHttp, TypedData
from sandbox.host.routes import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.host.functions import Function
    from sandbox.host.invoker import Invoker
    from sandbox.host.messages import RpcHttpCookie
    from sandbox.host.routes import RouteTable
    from sandbox.host.worker import Outcome

# Azure's default, settable there too (FUNCTIONS_REQUEST_BODY_SIZE_LIMIT).
BODY_BYTES_MAX = 104_857_600
# Azure's load balancer cuts an answer off then, whatever functionTimeout says.
RESPONSE_S_MAX = 230.0
KEY_HEADER = "x-functions-key"

# The server sets these itself, from the body it really sends.
_OWN_HEADERS = {"content-length", "transfer-encoding", "connection"}
_BODYLESS = {204, 304}
_SAME_SITE = {1: "Lax", 2: "Strict", 3: "None"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What callers prove themselves with: a key of one function, of all, or the master key."""

    function: str
    master: str
    single: Mapping[str, str] = field(default_factory=dict)
    """Keys that open the one function of their name, as Azure makes one for each."""

    def admit(self, function: str, level: str, given: str | None) -> bool:
        """Decide whether a caller with this key may call this function of this level."""
        if level == "anonymous":
            return True
        own = [self.single[function]] if function in self.single else []
        accepted = [self.master] if level == "admin" else [*own, self.function, self.master]
        offered = (given or "").encode()
        return any(hmac.compare_digest(key.encode(), offered) for key in accepted)


class Instances:
    """Room for calls at once: an instance takes `calls_each`, and a further one starts cold.

    All instances are this one process; only the wait for a new one is Azure's.
    """

    def __init__(self, *, calls_each: int, cold_start_s: float, idle_s: float) -> None:
        self._calls_each = calls_each
        self._cold_start_s = cold_start_s
        self._idle_s = idle_s
        self._running = 0
        self._warm = 0
        self._used_at_s = 0.0

    async def take(self) -> None:
        """Wait for room: at once on a warm instance, else for a new one to start."""
        now_s = time.monotonic()
        if not self._running and now_s - self._used_at_s > self._idle_s:
            self._warm = 0
        self._running += 1
        self._used_at_s = now_s
        needed = -(-self._running // self._calls_each)
        if needed > self._warm:
            await asyncio.sleep(self._cold_start_s)
            self._warm = max(self._warm, needed)

    def give_back(self) -> None:
        """A call ended."""
        self._running -= 1
        self._used_at_s = time.monotonic()


class HttpFace:
    """One handler for every path."""

    def __init__(
        self,
        *,
        functions: Mapping[str, Function],
        table: RouteTable,
        keys: Keys,
        invoker: Invoker,
        body_bytes_max: int,
        response_s_max: float,
        instances: Instances,
    ) -> None:
        self._functions = functions
        self._table = table
        self._keys = keys
        self._invoker = invoker
        self._body_bytes_max = body_bytes_max
        self._response_s_max = response_s_max
        self._instances = instances

    def application(self) -> web.Application:
        """Return the aiohttp application to serve."""
        app = web.Application(client_max_size=self._body_bytes_max)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.Response:
        """Route, admit, run, answer."""
        found = self._table.find(request.method, request.rel_url.raw_path)
        if isinstance(found, Refusal):
            return self._refuse(request, found.status)
        function = self._functions[found.function]
        trigger = function.trigger
        if not isinstance(trigger, HttpTrigger) or not self._keys.admit(
            function.name,
            trigger.auth_level,
            request.headers.get(KEY_HEADER) or request.query.get("code"),
        ):
            return self._refuse(request, 401)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._refuse(request, 413)
        payload = TypedData(http=rpc_request(request, found.values, body))
        await self._instances.take()
        task = self._invoker.start(function, payload)
        task.add_done_callback(lambda _task: self._instances.give_back())
        await asyncio.wait({task}, timeout=self._response_s_max)
        if not task.done():
            event(
                "http_cut",
                level="error",
                function=function.name,
                error=f"no answer within {self._response_s_max:g} s; the function goes on",
            )
            return web.Response(status=504)
        return response(task.result())

    @staticmethod
    def _refuse(request: web.Request, status: int) -> web.Response:
        # Never the query: it may hold a key.
        event(
            "http_refused",
            level="warning",
            method=request.method,
            path=request.path,
            status=status,
        )
        return web.Response(status=status)


def rpc_request(request: web.Request, values: Mapping[str, str], body: bytes) -> RpcHttp:
    """Build the request as the real host hands it to a worker."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if value:
            query[name] = f"{query[name]},{value}" if name in query else value
    return RpcHttp(
        method=request.method,
        url=str(request.url),
        headers=headers,
        params=values,
        query=query,
        body=TypedData(bytes=body) if body else TypedData(),
    )


def response(outcome: Outcome) -> web.Response:
    """Map an outcome to an answer; a failure is a bare 500, its reason is in the log only."""
    if not outcome.ok:
        return web.Response(status=500)
    given = outcome.return_value or next(iter(outcome.outputs.values()), None)
    if given is None:
        return web.Response(status=204)
    if given.http is None:
        return web.Response(text=given.string or given.json or "")
    http = given.http
    status = int(http.status_code or 200)
    headers: CIMultiDict[str] = CIMultiDict(
        (name, value) for name, value in http.headers.items() if name.lower() not in _OWN_HEADERS
    )
    for cookie in http.cookies or ():
        headers.add("Set-Cookie", _cookie(cookie))
    body = http.body.bytes if http.body.bytes is not None else (http.body.string or "").encode()
    return web.Response(status=status, headers=headers, body=None if status in _BODYLESS else body)


def _cookie(cookie: RpcHttpCookie) -> str:
    jar: SimpleCookie = SimpleCookie()
    jar[cookie.name] = cookie.value
    morsel = jar[cookie.name]
    for name, held in (("domain", cookie.domain), ("path", cookie.path)):
        if held is not None and held.value:
            morsel[name] = held.value
    for name, held in (("secure", cookie.secure), ("httponly", cookie.http_only)):
        if held is not None and held.value:
            morsel[name] = True
    if cookie.max_age is not None:
        morsel["max-age"] = str(int(cookie.max_age.value))
    if cookie.expires is not None:
        morsel["expires"] = _http_date(cookie.expires.value.seconds)
    if cookie.same_site in _SAME_SITE:
        morsel["samesite"] = _SAME_SITE[cookie.same_site]
    return morsel.OutputString()


def _http_date(unix_s: float) -> str:
    return formatdate(unix_s, usegmt=True)
