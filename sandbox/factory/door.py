"""Lets callers of the management endpoint through to the factory, those with a token only."""

import time

import aiohttp
from aiohttp import web

from sandbox.factory.webhook import CALLBACK_PATH
from sandbox.identity import TokenIssuer

AUDIENCES = frozenset({"https://management.azure.com", "https://management.core.windows.net"})
# A pipeline of eighty activities is far below it.
REQUEST_BYTES_MAX = 4 * 1024 * 1024
_PASSED = ("content-type", "if-match", "if-none-match")
_ANSWERED = ("content-type", "etag", "retry-after")


class FactoryDoor:
    """Passes calls on to the factory's process, once it is known where that listens."""

    def __init__(self, issuer: TokenIssuer) -> None:
        """Let nobody through yet."""
        self._issuer = issuer
        self._session: aiohttp.ClientSession | None = None
        self.url: str | None = None

    def add_to(self, app: web.Application) -> None:
        """Serve the factory's routes; a callback's address is its own secret."""
        factories = "/{tail:(?i:subscriptions/.+/providers/microsoft\\.datafactory/.*)}"
        app.router.add_route("*", factories, self._management)
        app.router.add_post(CALLBACK_PATH + "{token}", self._pass)
        app.on_startup.append(self._open)
        app.on_cleanup.append(self._close)

    async def _open(self, _: web.Application) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def _close(self, _: web.Application) -> None:
        if self._session is not None:
            await self._session.close()

    async def _management(self, request: web.Request) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        audiences = AUDIENCES | {f"https://{request.host}", f"https://{request.url.host}"}
        check = self._issuer.check(token, audiences=audiences, now_s=time.time())
        if scheme.lower() != "bearer" or not check.accepted:
            return _error(401, "AuthenticationFailed", f"Authentication failed: {check.reason}")
        return await self._pass(request)

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if self.url is None or self._session is None:
            return _error(404, "ResourceNotFound", "this sandbox was started without a factory")
        try:
            async with self._session.request(
                request.method,
                f"{self.url}{request.path_qs}",
                data=await request.read(),
                headers={n: request.headers[n] for n in _PASSED if n in request.headers},
            ) as answer:
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    headers={n: answer.headers[n] for n in _ANSWERED if n in answer.headers},
                )
        except aiohttp.ClientConnectionError:
            # The factory ended the connection, so the caller's ends too.
            if request.transport is not None:
                request.transport.abort()
            raise


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
