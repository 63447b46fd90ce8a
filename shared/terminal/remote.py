"""The HTTP face of a running Ebb, as the terminal calls it."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from http import HTTPStatus
from typing import Any

from shared.errors import OPERATOR_HEADER, PROBLEM_MEDIA

TIMEOUT_S = 60.0
EXAMINING_TIMEOUT_S = 240.0  # the platform itself cuts an answer at 230 s
_NO_ANSWER = (OSError, ValueError, http.client.HTTPException)


class Unreachable(Exception):
    """The app did not answer, or not as Ebb does."""


class Answered(Exception):
    """The app answered with a problem."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body.get("detail", body)))
        self.status = status
        self.body = body


class Remote:
    """The HTTP face of a running Ebb."""

    def __init__(
        self, url: str, key: str, *, operator_key: str = "", timeout_s: float = TIMEOUT_S
    ) -> None:
        if url and not url.startswith(("http://", "https://")):
            raise Unreachable(f"calling {url}: write an address with https://")
        self._url = url.rstrip("/")
        self._key = _key(key, "function key", "EBB_KEY")
        self._operator_key = _key(operator_key, "operator's key", "EBB_OPERATOR_KEY")
        self._timeout_s = timeout_s

    def call(self, method: str, path: str, body: str | None = None) -> Any:
        return self.asked(method, path, body)[0]

    def asked(self, method: str, path: str, body: str | None = None) -> tuple[Any, Message]:
        """The answer's value, and its headers."""
        try:
            request = urllib.request.Request(  # noqa: S310 - the scheme was checked
                f"{self._url}/api/{path}",
                method=method,
                data=None if body is None else body.encode(),
                headers={
                    "x-functions-key": self._key,
                    "content-type": "application/yaml",
                    **({OPERATOR_HEADER: self._operator_key} if self._operator_key else {}),
                },
            )
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310
                return json.load(answer), answer.headers
        except urllib.error.HTTPError as error:
            raise _answered(error, self._url) from error
        except _NO_ANSWER as error:
            seen = f"{type(error).__name__}: {error}".replace("\n", " ")
            raise Unreachable(
                f"calling {self._url or 'nobody'}: {seen}; check --url (or EBB_URL) and that the "
                "app runs"
            ) from error


def _key(key: str, what: str, setting: str) -> str:
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise Unreachable(f"the {what} holds what no header can; give it by {setting} again")
    return key


def _answered(error: urllib.error.HTTPError, url: str) -> Exception:
    is_ours = error.headers.get_content_type() == PROBLEM_MEDIA
    if error.code == HTTPStatus.UNAUTHORIZED and not is_ours:
        return Unreachable(f"calling {url}: refused (401); give the function key by EBB_KEY")
    try:
        body = json.loads(error.read())
        return Answered(error.code, body if isinstance(body, dict) else {"detail": str(body)})
    except _NO_ANSWER:
        return Unreachable(f"calling {url}: answered {error.code} without a reason; is it Ebb?")
