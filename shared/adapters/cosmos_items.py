"""Single documents of a Cosmos container, found and written by key and version.

Each call is one request. A condition that does not hold is an answer with its charge; whatever
leaves open whether something was written is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from azure.core import MatchConditions
from azure.cosmos import ContainerProxy
from azure.cosmos.exceptions import CosmosHttpResponseError

from shared.adapters.cosmos_errors import charge_of, translated
from shared.domain.addresses import why_unaddressable
from shared.domain.canonical import SYSTEM_PROPERTIES
from shared.domain.pointers import MISSING_VALUE, Key, key_values
from shared.errors import NotFound, PermanentError, TransientError
from shared.ports import Fate, Found, Written

_PARTITION_KEY = "x-ms-documentdb-partitionkey"
_OWNER_MISSING = 1003  # substatus of a 404: the container itself is gone
_FATES = {404: Fate.ABSENT, 409: Fate.EXISTS, 412: Fate.CHANGED}


class CosmosItems:
    def __init__(self, container: ContainerProxy, name: str) -> None:
        self._container = container
        self._name = name

    def find(self, key: Key) -> Found:
        doing = f"looking up a document of {self._name}"
        request = self._request(doing, key)
        written = request.answer(
            lambda told: self._container.read_item(key[1], request.partition_key, **told),
            refusals=(Fate.ABSENT,),
        )
        return Found(document=written.document, ru=written.ru)

    def remove(self, key: Key, *, etag: str) -> Written:
        doing = f"removing a document of {self._name}"
        request = self._request(doing, key)
        return request.answer(
            lambda told: self._container.delete_item(
                key[1], request.partition_key, **_unchanged(etag), **told
            ),
            refusals=(Fate.ABSENT, Fate.CHANGED),
        )

    def replace(self, key: Key, document: Mapping[str, Any], *, etag: str) -> Written:
        doing = f"replacing a document of {self._name}"
        request = self._request(doing, key)
        body = _own(document, key, doing)
        return request.answer(
            lambda told: self._container.replace_item(key[1], body, **_unchanged(etag), **told),
            refusals=(Fate.ABSENT, Fate.CHANGED),
        )

    def create(self, key: Key, document: Mapping[str, Any]) -> Written:
        doing = f"creating a document of {self._name}"
        request = self._request(doing, key)
        body = _own(document, key, doing)
        return request.answer(
            lambda told: self._container.create_item(body, **told), refusals=(Fate.EXISTS,)
        )

    def _request(self, doing: str, key: Key) -> _Request:
        fault = why_unaddressable(key)
        if fault:
            raise PermanentError(
                f"{doing}: {fault}; only queries reach it, so leave it where it is"
            )
        values = key_values(key)
        with translated(doing):
            # Asked here, so that a 404 to the request itself is never the container's.
            is_system_key = self._container.is_system_key
        none = is_system_key and values == [MISSING_VALUE]
        return _Request(doing, values, header=json.dumps([] if none else values))


class _Request:
    """One request about one document, and how its answer is understood."""

    def __init__(self, doing: str, partition_key: list[Any], *, header: str) -> None:
        self.partition_key = partition_key
        self._doing = doing
        self._header = header
        self._is_sent = False
        self._ru = 0.0

    def answer(
        self, ask: Callable[[Mapping[str, Any]], Any], *, refusals: tuple[Fate, ...]
    ) -> Written:
        told = {
            "raw_request_hook": self._sending,
            "response_hook": self._answered,
            "retry_read": 0,  # broken connections; the hook is not told of those retries
        }
        with translated(self._doing):
            try:
                body = ask(told)
            except CosmosHttpResponseError as error:
                return Written(
                    fate=self._refusal(error, refusals), ru=charge_of(error.headers or {})
                )
        return Written(fate=Fate.DONE, ru=self._ru, document=None if body is None else dict(body))

    def _sending(self, request: Any) -> None:
        """Let one request pass, with the partition key as it is.

        The SDK sends some failed requests again by itself; a write that was carried out all the
        same would then look refused. And of a document it reads some partition keys otherwise.
        """
        if self._is_sent:
            raise TransientError(f"{self._doing}: answered with a failure; will be tried again")
        self._is_sent = True
        request.http_request.headers[_PARTITION_KEY] = self._header

    def _answered(self, headers: Mapping[str, str], _body: Any) -> None:
        self._ru += charge_of(headers)

    def _refusal(self, error: CosmosHttpResponseError, refusals: tuple[Fate, ...]) -> Fate:
        """The answer in a refusal; whatever else it is, is raised."""
        fate = _FATES.get(error.status_code or 0)
        if fate not in refusals:
            raise error
        if fate is Fate.ABSENT and error.sub_status == _OWNER_MISSING:
            raise NotFound(f"{self._doing}: the container is not there any more") from error
        if fate is Fate.ABSENT and error.sub_status:
            raise TransientError(
                f"{self._doing}: answered 404 with substatus {error.sub_status}, which does not "
                "say that the document is gone; will be tried again"
            ) from error
        return fate


def _unchanged(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _own(document: Mapping[str, Any], key: Key, doing: str) -> dict[str, Any]:
    """What a client may write of a document; the rest is the service's own."""
    if document.get("id") != key[1]:
        raise PermanentError(
            f"{doing}: its id is not its key's; nothing was sent — this is a fault of Ebb to report"
        )
    return {name: value for name, value in document.items() if name not in SYSTEM_PROPERTIES}
