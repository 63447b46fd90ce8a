"""A Cosmos container in memory, as azure-cosmos and as Ebb see it, with a gate before each act."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

from azure.core.utils import CaseInsensitiveDict
from azure.cosmos import ContainerProxy, CosmosDict, CosmosList
from azure.cosmos._base import _get_match_headers

from shared.adapters.memory import MemoryPointers
from shared.domain.canonical import canonical_document, digest
from shared.domain.pointers import Key, Pointer, key_values
from shared.ports import Fate, Found, Pointers, Written
from shared.tiered import ColdStore, TieredContainer
from shared.tiered.keys import key_in, key_of
from shared.tiered.refusals import broken, condition_failed, exists, not_found

PATHS = ("/pk",)
SOURCE = "db/c"
SYSTEM = ("_rid", "_self", "_attachments", "_etag", "_ts")


def nothing() -> None:
    """No gate: nobody else is about."""


@dataclass(slots=True)
class CosmosTwin:
    """The calls that a tiered container makes; `asked` notes them with their arguments."""

    gate: Callable[[], None] = nothing
    documents: dict[Key, dict[str, Any]] = field(default_factory=dict)
    writes: int = 100
    paths: tuple[str, ...] = PATHS
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    no_response: bool = False
    """As a client made with `no_response_on_write=True`: the answer to a write has no body."""
    client_connection: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(last_response_headers={})
    )
    answers: int = 0
    """Each has a session token of its own; it costs as much as its number."""

    def read(self, **_: Any) -> dict[str, Any]:
        return {"partitionKey": {"paths": list(self.paths)}}

    def read_item(self, item: str, partition_key: Any, **given: Any) -> CosmosDict:
        self._begin("read_item", given)
        return self._answer(self._at(key_of(item, partition_key)))

    def read_items(self, items: Any, **given: Any) -> CosmosList:
        self._begin("read_items", given)
        keys = [key_of(*each) for each in items if isinstance(each[0], str)]
        found = [dict(self.documents[key]) for key in keys if key in self.documents]
        return CosmosList(found, response_headers=self._headers())

    def query_items(self, query: str, **given: Any) -> Iterator[dict[str, Any]]:
        self._begin("query_items", given)
        return iter([dict(each) for each in self.documents.values()])

    def create_item(self, body: Mapping[str, Any], **given: Any) -> CosmosDict:
        self._begin("create_item", given)
        if key_in(body, self.paths) in self.documents:
            raise exists()
        return self._stored(body)

    def upsert_item(self, body: Mapping[str, Any], **given: Any) -> CosmosDict:
        self._begin("upsert_item", given)
        stands = self.documents.get(key_in(body, self.paths))
        if stands is not None:
            _must_hold(stands, given)
        return self._stored(body)

    def replace_item(self, item: str, body: Mapping[str, Any], **given: Any) -> CosmosDict:
        self._begin("replace_item", given)
        _must_hold(self._at(key_in(body, self.paths)), given)
        return self._stored(body)

    def patch_item(
        self, item: str, partition_key: Any, patch_operations: Any, **given: Any
    ) -> CosmosDict:
        self._begin("patch_item", given)
        stands = self._at(key_of(item, partition_key))
        _must_hold(stands, given)
        if given.get("filter_predicate") == "never":
            raise condition_failed()
        patched = {each["path"].strip("/"): each["value"] for each in patch_operations}
        return self._stored(stands | patched)

    def delete_item(self, item: str, partition_key: Any, **given: Any) -> None:
        self._begin("delete_item", given)
        key = key_of(item, partition_key)
        _must_hold(self._at(key), given)
        del self.documents[key]
        if "response_hook" in given:
            given["response_hook"](self._headers(), None)

    def execute_item_batch(self, **given: Any) -> str:
        return f"{sorted(given)} as ever"

    def _begin(self, method: str, given: dict[str, Any]) -> None:
        self.gate()
        self.asked.append((method, given))

    def _at(self, key: Key) -> dict[str, Any]:
        if key not in self.documents:
            kept = self.client_connection.last_response_headers
            error = not_found()
            error.headers = self._headers()
            self.client_connection.last_response_headers = kept  # the SDK keeps answers alone
            raise error
        return self.documents[key]

    def _stored(self, body: Mapping[str, Any]) -> CosmosDict:
        self.writes += 1
        kept = {name: value for name, value in body.items() if name not in SYSTEM}
        system = {"_etag": f"e{self.writes}", "_ts": self.writes, "_rid": "r", "_self": "s"}
        self.documents[key_in(body, self.paths)] = kept | system
        answer = self._answer(kept | system)
        if self.no_response:
            answer.clear()
        return answer

    def _answer(self, document: Mapping[str, Any]) -> CosmosDict:
        headers = self._headers({"etag": document["_etag"]})
        return CosmosDict(dict(document), response_headers=headers)

    def _headers(self, more: Mapping[str, Any] = MappingProxyType({})) -> CaseInsensitiveDict:
        self.answers += 1
        charge, token = str(self.answers), f"0:-1#{self.answers}"
        headers = {"x-ms-request-charge": charge, "x-ms-session-token": token, **more}
        self.client_connection.last_response_headers = CaseInsensitiveDict(headers)
        return CaseInsensitiveDict(headers)


def _must_hold(stands: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """As the SDK reads the arguments and the service obeys them."""
    match, none_match = _get_match_headers(dict(given))
    if none_match:
        if none_match in {"*", stands["_etag"]}:
            raise condition_failed()
    elif match and match not in {"*", stands["_etag"]}:
        raise condition_failed()


@dataclass(slots=True)
class SourceTwin:
    """The same container as Ebb's restoring and retiring see it."""

    cosmos: CosmosTwin

    def find(self, key: Key) -> Found:
        self.cosmos.gate()
        stands = self.cosmos.documents.get(key)
        return Found(document=None if stands is None else dict(stands), ru=1.0)

    def remove(self, key: Key, *, etag: str) -> Written:
        self.cosmos.gate()
        fate = self._fate(key, etag)
        if fate is Fate.DONE:
            del self.cosmos.documents[key]
        return Written(fate=fate, ru=1.0)

    def replace(self, key: Key, document: Mapping[str, Any], *, etag: str) -> Written:
        self.cosmos.gate()
        fate = self._fate(key, etag)
        made = self.cosmos._stored(document) if fate is Fate.DONE else None  # noqa: SLF001
        return Written(fate=fate, ru=1.0, document=made)

    def create(self, key: Key, document: Mapping[str, Any]) -> Written:
        self.cosmos.gate()
        if key in self.cosmos.documents:
            return Written(fate=Fate.EXISTS, ru=1.0)
        return Written(fate=Fate.DONE, ru=1.0, document=self.cosmos._stored(document))  # noqa: SLF001

    def _fate(self, key: Key, etag: str) -> Fate:
        stands = self.cosmos.documents.get(key)
        if stands is None:
            return Fate.ABSENT
        return Fate.DONE if stands["_etag"] == etag else Fate.CHANGED


class GatedPointers(MemoryPointers):
    """Whoever looks at or changes the index waits for his turn."""

    def __init__(self, gate: Callable[[], None]) -> None:
        super().__init__()
        self.begun[SOURCE] = 0.0
        self._gate = gate

    def find(self, source: str, key: Key) -> Pointer | None:
        self._gate()
        return super().find(source, key)

    def put(self, source: str, pointers: Mapping[Key, Pointer]) -> frozenset[Key]:
        self._gate()
        return super().put(source, pointers)

    def put_answering(self, source: str, pointers: Mapping[Key, Pointer]) -> frozenset[Key]:
        self._gate()
        return super().put_answering(source, pointers)

    def withdraw(self, source: str, pointers: Mapping[Key, Pointer]) -> None:
        self._gate()
        super().withdraw(source, pointers)

    def delete(self, source: str, key: Key) -> bool:
        self._gate()
        return super().delete(source, key)


class ColdTwin(ColdStore):
    """An archive of documents by digest; harming it is leaving one out."""

    def __init__(self, pointers: Pointers, source: str = SOURCE) -> None:
        super().__init__(
            source, pointers=pointers, archives=cast("Any", None), table_format=cast("Any", None)
        )
        self.archived: dict[str, bytes] = {}

    def document(self, pointer: Pointer) -> bytes:
        try:
            return self.archived[pointer.sha256]
        except KeyError as error:
            raise broken("reading a document: it is not there") from error


@dataclass(slots=True)
class Place:
    """One container with its archive, and one document in it whose first version is archived."""

    cosmos: CosmosTwin
    pointers: GatedPointers
    cold: ColdTwin
    tiered: TieredContainer
    key: Key
    pointer: Pointer
    first: dict[str, Any]

    @property
    def source(self) -> SourceTwin:
        return SourceTwin(self.cosmos)

    @property
    def partition_key(self) -> Any:
        return key_values(self.key)[0]

    @property
    def data(self) -> bytes:
        return self.cold.archived[self.pointer.sha256]

    def retired(self) -> Place:
        """The document lies in the archive alone."""
        self.cosmos.documents.pop(self.key)
        self.pointers.standing[SOURCE, self.key] = self.pointer
        return self


def a_place(gate: Callable[[], None] = nothing, *, partition_key: Any = "p") -> Place:
    cosmos = CosmosTwin(gate=gate)
    pointers = GatedPointers(gate)
    cold = ColdTwin(pointers)
    first = {"id": "i", "pk": partition_key, "n": 1, "_etag": "e1", "_ts": 10}
    first |= {"_rid": "r", "_self": "s"}
    data = canonical_document(first)
    cold.archived[digest(data)] = data
    key = (json.dumps([partition_key]), "i")
    cosmos.documents[key] = dict(first)
    return Place(
        cosmos=cosmos,
        pointers=pointers,
        cold=cold,
        tiered=TieredContainer(cast("ContainerProxy", cosmos), cold),
        key=key,
        pointer=Pointer(
            archive="a/",
            blob="b",
            offset=4,
            length=9,
            rows=1,
            row=0,
            sha256=digest(data),
            ts=10,
            etag="e1",
        ),
        first=first,
    )
