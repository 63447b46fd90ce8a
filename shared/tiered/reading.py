"""Reading one document wherever it is: Cosmos DB first, then the archive, then Cosmos DB again.

Between two looks a document may move either way, so it is missing only when two rounds in a row
found it in neither place. It would take a removal and two restores within that time to miss it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azure.core.utils import CaseInsensitiveDict
from azure.cosmos import CosmosDict, CosmosList
from azure.cosmos.exceptions import CosmosHttpResponseError, CosmosResourceNotFoundError
from azure.cosmos.http_constants import HttpHeaders

from shared.domain.guards import is_guard
from shared.domain.pointers import Key, Pointer, pointer_in
from shared.errors import Unreadable
from shared.tiered.keys import as_asked, id_of, key_in, key_of
from shared.tiered.refusals import broken, not_found
from shared.tiered.steps import Steps, ToCold, ToCosmos

ROUNDS = 2
SERVED_FROM = "x-ebb-served-from"
_SYSTEM = ("_rid", "_self", "_attachments")

Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Where a document was found: whole in Cosmos DB, in the archive, or nowhere."""

    whole: CosmosDict | None = None
    archived: Pointer | None = None
    holder: CosmosDict | None = None
    """The stub or guard that stands in Cosmos DB in the document's place."""
    missing: CosmosHttpResponseError | None = None
    """Cosmos DB's own answer, when it has nothing under the key."""

    @property
    def etag(self) -> str:
        """The version that conditions are about; an archived document keeps the one it had."""
        if self.whole is not None:
            return str(self.whole["_etag"])
        return self.archived.etag if self.archived else ""

    @property
    def exists(self) -> bool:
        return self.whole is not None or self.archived is not None


def look(key: Key, arguments: Mapping[str, Any]) -> Steps[Look]:
    """Find a document; `arguments` are those of `read_item`."""
    stands: CosmosDict | None = None
    missing: CosmosHttpResponseError | None = None
    for _ in range(ROUNDS):
        stands, missing = yield from _in_cosmos(arguments)
        if stands is not None:
            pointer = _stub_of(stands)
            if pointer is None:
                return Look(whole=stands)
            if not is_guard(stands):
                return Look(archived=pointer, holder=stands)
        points = yield ToCold(method="find", argument=key)
        if points is not None and points.answers:
            return Look(archived=points, holder=stands, missing=missing)
    return Look(holder=stands, missing=missing)


def _stub_of(document: Mapping[str, Any]) -> Pointer | None:
    """An unreadable stub is a 500, and never given as the document."""
    try:
        return pointer_in(document)
    except Unreadable as error:
        raise broken(str(error)) from error


def _in_cosmos(
    arguments: Mapping[str, Any],
) -> Steps[tuple[CosmosDict | None, CosmosHttpResponseError | None]]:
    try:
        stands = yield ToCosmos(method="read_item", arguments=arguments)
    except CosmosResourceNotFoundError as error:
        if error.sub_status:
            raise  # the container, or the session, is not there: that says nothing of the document
        return None, error
    return stands, None


def read_item(arguments: Arguments) -> Steps[CosmosDict]:
    item = id_of(arguments["item"])
    found = yield from look(key_of(item, arguments["partition_key"]), arguments | {"item": item})
    if found.whole is not None:
        return found.whole
    return (yield from archived_document(found))


def archived_document(found: Look) -> Steps[CosmosDict]:
    """The archived version as Cosmos DB told it when it was archived; a 404 when there is none."""
    pointer = found.archived
    if pointer is None:
        raise found.missing or not_found()
    data = yield ToCold(method="document", argument=pointer)
    holder: Mapping[str, Any] = found.holder or {}
    system = {name: holder[name] for name in _SYSTEM if name in holder}
    told = json.loads(data) | system | {"_etag": pointer.etag, "_ts": pointer.ts}
    return CosmosDict(told, response_headers=_headers(found, pointer.etag))


def _headers(found: Look, etag: str) -> CaseInsensitiveDict:
    """Those of Cosmos DB's answer, but the document's version, and where it came from."""
    if found.holder is not None:
        headers = found.holder.get_response_headers()
    else:
        headers = CaseInsensitiveDict(getattr(found.missing, "headers", None) or {})
    headers.pop(HttpHeaders.SubStatus, None)
    headers["etag"] = etag
    headers[SERVED_FROM] = "archive"
    return headers


def read_items(arguments: Arguments, paths: tuple[str, ...]) -> Steps[CosmosList]:
    """What Cosmos DB has in one go, and the rest one by one; in the order asked for."""
    found = yield ToCosmos(method="read_items", arguments=arguments)
    whole = {key_in(each, paths): each for each in found if _stub_of(each) is None}
    documents = []
    for item, partition_key in arguments["items"]:
        document = whole.get(key_of(str(item), partition_key))
        if document is None and isinstance(item, str):  # whatever else is Cosmos DB's alone to find
            document = yield from _or_none({"item": item, "partition_key": partition_key})
        if document is not None:
            documents.append(document)
    return CosmosList(documents, response_headers=found.get_response_headers())


def _or_none(arguments: Arguments) -> Steps[CosmosDict | None]:
    try:
        return (yield from read_item(arguments))
    except CosmosResourceNotFoundError as error:
        if error.sub_status:
            raise
        return None


def is_whole_stub(document: Any) -> bool:
    """Whether a query's answer is a stub as it stands, and not some of its properties."""
    return isinstance(document, dict) and "_rid" in document and _stub_of(document) is not None


def resolved(stub: dict[str, Any], paths: tuple[str, ...]) -> Steps[CosmosDict | None]:
    """The document of a stub, or None when nobody answers for it any more."""
    partition_key = as_asked(key_in(stub, paths))
    return (yield from _or_none({"item": stub["id"], "partition_key": partition_key}))
