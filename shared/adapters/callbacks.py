"""Answers Data Factory's WebHook activities, and only at addresses that are Data Factory's own."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from urllib.parse import urlsplit

from shared.errors import Refused, TransientError

FACTORY_HOSTS = (".datafactory.azure.net", ".datafactory.azure.us", ".datafactory.azure.cn")
TIMEOUT_S = 30.0
TEXT_CHARS_MAX = 2_000


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would lead to an address that nobody checked; its status comes back instead."""

    def redirect_request(self, *_: object) -> None:
        return None


class WebCallbacks:
    def __init__(self, *, hosts: tuple[str, ...] = (), ca_file: str | None = None) -> None:
        """`hosts` are allowed beside Data Factory's own, with their ports."""
        self._hosts = frozenset(host.lower() for host in hosts)
        self._ca_file = ca_file

    def allows(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            host, place = (parts.hostname or "").lower(), parts.netloc.lower()
        except ValueError:
            return False
        if parts.scheme != "https" or "@" in place:
            return False
        ours = place in self._hosts
        return ours or (host.endswith(FACTORY_HOSTS) and place == host)

    def answer(self, url: str, *, ok: bool, code: str, text: str) -> None:
        if not self.allows(url):
            raise Refused("answering a run: the callback address is not one of Data Factory's")
        body = {
            "Output": {"verdict": text[:TEXT_CHARS_MAX]},
            "StatusCode": str(HTTPStatus.OK.value if ok else HTTPStatus.CONFLICT.value),
        }
        if not ok:
            body["Error"] = {"ErrorCode": code, "Message": text[:TEXT_CHARS_MAX]}
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            url,
            method="POST",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        context = ssl.create_default_context(cafile=self._ca_file)
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), _NoRedirect()
        )
        try:
            with opener.open(request, timeout=TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            if error.code in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.BAD_REQUEST}:
                return  # the run does not wait any more: its own state will tell
            raise TransientError(f"answering a run: {error.code}; will be tried again") from error
        except OSError as error:
            raise TransientError(
                f"answering a run: {type(error).__name__}; will be tried again"
            ) from error
