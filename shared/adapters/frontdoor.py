"""This app's own public address, called from outside as Azure Monitor's action group calls it."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from http import HTTPStatus

from shared.errors import EbbError, PermanentError, TransientError

TIMEOUT_S = 10.0  # as long as Azure's action groups wait
_ADVICE = {
    HTTPStatus.UNAUTHORIZED: "the key is not, or no longer, this app's function key",
    HTTPStatus.FORBIDDEN: "something in front of the app lets nobody in, Azure Monitor included",
    HTTPStatus.NOT_FOUND: "no Ebb of this version answers there",
}


class WebFrontDoor:
    closed = ""

    def __init__(self, url: str, key: str, *, ca_file: str | None = None) -> None:
        self._address = f"{url}/api/alerts"
        self._key = key
        self._ca_file = ca_file

    def alert(self, text: str) -> None:
        request = urllib.request.Request(  # noqa: S310 - the setting is https, or loopback
            self._address,
            method="POST",
            data=text.encode(),
            # Azure puts the key into the address; in a header it stands in no log.
            headers={"content-type": "application/json", "x-functions-key": self._key},
        )
        doing = f"posting an alert to {self._address}"
        context = ssl.create_default_context(cafile=self._ca_file)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context):  # noqa: S310
                return
        except urllib.error.HTTPError as error:
            error.close()
            raise _error_for(doing, error.code) from error
        except OSError as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            raise TransientError(f"{doing}: no answer ({type(cause).__name__})") from error


class NoFrontDoor:
    """Nothing can be posted, and why."""

    def __init__(self, closed: str) -> None:
        self.closed = closed

    def alert(self, text: str) -> None:
        del text
        raise PermanentError(f"posting an alert to this app's own address: {self.closed}")


def _error_for(doing: str, status: int) -> EbbError:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return TransientError(f"{doing}: answered {status}; the app's log tells why")
    known = {int(each): advice for each, advice in _ADVICE.items()}
    return PermanentError(f"{doing}: answered {status}; {known.get(status, 'it was not taken')}")
