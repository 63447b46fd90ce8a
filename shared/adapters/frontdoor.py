"""This app's own public address, called from outside as Azure Monitor's action group calls it."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from shared.errors import PROBLEM_MEDIA, EbbError, PermanentError, TransientError

TIMEOUT_S = 40.0  # a cold instance takes seconds, and this call needs another one than ours
_UNGUARDED = "the app that answers there does not have this EBB_ALERT_ISSUER: restart or publish it"
_REDIRECTS = (301, 302, 303, 307, 308)
_ADVICE: dict[int, str] = {
    **dict.fromkeys(_REDIRECTS, "redirects are not followed: name the end in EBB_CALLBACK_URL"),
    HTTPStatus.UNAUTHORIZED: "the key is not, or no longer, this app's key of alerts",
    HTTPStatus.FORBIDDEN: "something in front of the app lets nobody in, Azure Monitor included",
    HTTPStatus.NOT_FOUND: "no Ebb of this version answers there",
}


class WebFrontDoor:
    closed = ""

    def __init__(
        self, url: str, key: str, *, guarded: bool = False, ca_file: str | None = None
    ) -> None:
        self.guarded = guarded
        self._address = f"{url}/api/alerts"
        self._key = key
        self._ca_file = ca_file

    def alert(self, text: str) -> None:
        doing = f"posting an alert to {self._address}"
        try:
            status, is_ours = self._posted(text.encode())
        except (OSError, HTTPException) as error:
            raise TransientError(f"{doing}: no answer ({type(error).__name__})") from error
        except ValueError as error:
            raise PermanentError(
                f"{doing}: {type(error).__name__}, so nothing can be sent; write EBB_CALLBACK_URL "
                "and EBB_ALERT_KEY anew, in plain ASCII on one line"
            ) from None  # the cause may hold the key, which is a secret
        taken = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
        if self.guarded and taken:
            raise PermanentError(f"{doing}: answered {status} without a token; {_UNGUARDED}")
        turned_away = self.guarded and is_ours and status == HTTPStatus.UNAUTHORIZED
        if not taken and not turned_away:
            raise _error_for(doing, status)

    def _posted(self, data: bytes) -> tuple[int, bool]:
        """Without following redirects: the key is for this address."""
        parts = urlsplit(self._address)
        connection = self._connection(parts.scheme, parts.netloc)
        # Azure puts the key into the address; in a header it stands in no log.
        headers = {"content-type": "application/json", "x-functions-key": self._key}
        try:
            connection.request("POST", parts.path, body=data, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get_content_type() == PROBLEM_MEDIA
        finally:
            connection.close()

    def _connection(self, scheme: str, place: str) -> HTTPConnection:
        if scheme == "http":
            return HTTPConnection(place, timeout=TIMEOUT_S)
        context = ssl.create_default_context(cafile=self._ca_file)
        return HTTPSConnection(place, timeout=TIMEOUT_S, context=context)


class NoFrontDoor:
    """Nothing can be posted, and why."""

    guarded = False

    def __init__(self, closed: str) -> None:
        self.closed = closed

    def alert(self, text: str) -> None:
        del text
        raise PermanentError(f"posting an alert to this app's own address: {self.closed}")


def _error_for(doing: str, status: int) -> EbbError:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return TransientError(f"{doing}: answered {status}; the app's log tells why")
    return PermanentError(f"{doing}: answered {status}; {_ADVICE.get(status, 'it was not taken')}")
