"""Calls a WebHook's address and waits to be called back; it decides nothing by itself."""

import asyncio
import json
import secrets
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp

from sandbox.factory.failures import ActivityFailed
from sandbox.factory.records import TIMED_OUT

# "The client times out if the endpoint doesn't respond within one minute."
FIRST_ANSWER_S = 60.0
TIMEOUT_DEFAULT = "00:10:00"
CALLBACK_PATH = "/dataplane/workflow/callback/"
_BAD_REQUEST = 400

Data = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One WebHook with every expression resolved, and its durations as they pass here."""

    url: str
    headers: dict[str, str]
    body: Data
    first_answer_s: float
    timeout_s: float
    reports_status: bool


class Callbacks:
    """The addresses that wait to be called, each for one call."""

    def __init__(self, *, base_url: str) -> None:
        """Serve them under the management endpoint."""
        self._base_url = base_url.rstrip("/")
        self._waiting: dict[str, asyncio.Future[Data]] = {}

    def open(self) -> tuple[str, "asyncio.Future[Data]"]:
        """Return a new address that nobody can guess, and what will hold the call's body."""
        token = secrets.token_hex(32)
        called: asyncio.Future[Data] = asyncio.get_running_loop().create_future()
        self._waiting[token] = called
        called.add_done_callback(lambda _: self._waiting.pop(token, None))
        query = "api-version=2018-06-01&shouldReportToMonitoring=True&activityType=WebHook"
        return f"{self._base_url}{CALLBACK_PATH}{token}?{query}", called

    def take(self, token: str, body: Data) -> bool:
        """Hand a call over; say whether anybody waits for it."""
        called = self._waiting.get(token)
        if called is None:
            return False
        called.set_result(body)
        return True


async def call_and_wait(
    call: Call, callbacks: Callbacks, session: aiohttp.ClientSession, *, trusted: ssl.SSLContext
) -> Data:
    """POST, wait for the callback, and return the activity's output."""
    if "content-type" not in {name.lower() for name in call.headers}:
        raise ActivityFailed("2108", "The header Content-Type is required.")
    address, called = callbacks.open()
    try:
        await _post(call, address, session, trusted)
        async with asyncio.timeout(call.timeout_s):
            body = await called
    except TimeoutError as error:
        message = "The callback URI was not invoked before the timeout."
        raise ActivityFailed("2108", message, status=TIMED_OUT) from error
    finally:
        called.cancel()
    return _judged(body) if call.reports_status else body


async def _post(
    call: Call, address: str, session: aiohttp.ClientSession, trusted: ssl.SSLContext
) -> None:
    content = json.dumps({**call.body, "callBackUri": address})
    try:
        async with (
            asyncio.timeout(call.first_answer_s),
            session.post(call.url, data=content, headers=call.headers, ssl=trusted) as answer,
        ):
            said = (await answer.text())[:1000]
            status = answer.status
    except TimeoutError as error:
        raise ActivityFailed("2108", "The endpoint did not respond within one minute.") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise ActivityFailed("2108", f"Error calling the endpoint '{call.url}': {error}") from error
    if status >= _BAD_REQUEST:
        raise ActivityFailed(
            "2108", f"Invoking WebHook failed with HttpStatusCode {status}: {said}"
        )


def _judged(body: Data) -> Data:
    """Fail where the callback reports a failure; the status is a text in Microsoft's example."""
    status = str(body.get("StatusCode", "200"))
    if not status.isdigit() or int(status) >= _BAD_REQUEST:
        error = body.get("Error") or {}
        raise ActivityFailed(
            str(error.get("ErrorCode") or status), str(error.get("Message") or "Callback failed")
        )
    output = body.get("Output")
    return output if isinstance(output, dict) else {}
