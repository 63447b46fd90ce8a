"""A tiered container beside azure-cosmos's own: signatures, answers, conditions and failures."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from azure.core import MatchConditions
from azure.cosmos import ContainerProxy
from azure.cosmos.aio import ContainerProxy as AsyncProxy
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)
from azure.cosmos.partition_key import NonePartitionKeyValue, NullPartitionKeyValue

from shared.domain.guards import guard_for
from shared.domain.pointers import with_pointer
from shared.errors import TransientError
from shared.tiered import AsyncTieredContainer, TieredContainer
from shared.tiered.keys import as_asked, key_in, key_of
from shared.tiered.reading import SERVED_FROM
from shared.tiered.refusals import exists, not_found
from tests.simulation.people import archives
from tests.simulation.world import World
from tests.tiered.removal import pointers_of, removed
from tests.tiered.twins import PATHS, SOURCE, ColdTwin, CosmosTwin, Place, a_place

OVERRIDDEN = (
    "read_item",
    "read_items",
    "read_all_items",
    "query_items",
    "create_item",
    "upsert_item",
    "replace_item",
    "patch_item",
    "delete_item",
)
SET_N = [{"op": "set", "path": "/n", "value": 2}]
ONLY_FIRST = {"etag": "e1", "match_condition": MatchConditions.IfNotModified}
ONLY_OTHER = {"etag": "e9", "match_condition": MatchConditions.IfNotModified}


@pytest.mark.parametrize("name", OVERRIDDEN)
@pytest.mark.parametrize(
    ("ours", "theirs"), [(TieredContainer, ContainerProxy), (AsyncTieredContainer, AsyncProxy)]
)
def test_every_method_is_signed_as_the_installed_one(name: str, ours: type, theirs: type) -> None:
    """Parameters, defaults, and whether it is awaited."""
    own, installed = getattr(ours, name), getattr(theirs, name)
    assert inspect.signature(own) == inspect.signature(installed)
    assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(installed)


def test_arguments_reach_cosmos_by_their_names() -> None:
    """Given by place or by name; what Cosmos DB does not take is refused at once."""
    place = a_place()
    place.tiered.read_item("i", "p", None, "trigger", session_token="s", priority="Low")
    given = {
        "populate_query_metrics": None,
        "post_trigger_include": "trigger",
        "session_token": "s",
        "priority": "Low",
    }
    assert place.cosmos.asked[-1] == ("read_item", given)
    with pytest.raises(TypeError):
        place.tiered.read_item("i")
    with pytest.raises(TypeError):
        place.tiered.read_item("i", "p", None, None, "one too many")


def test_what_is_not_overridden_is_cosmos_own() -> None:
    """Passed through as it is."""
    place = a_place()
    assert place.tiered.execute_item_batch(x=1) == "['x'] as ever"
    assert place.tiered.read()["partitionKey"]["paths"] == list(PATHS)
    with pytest.raises(AttributeError):
        place.tiered.no_such_method()


def test_an_archived_document_is_told_as_cosmos_told_it() -> None:
    """Its content, `_etag` and `_ts`; what belonged to its place in Cosmos DB is gone."""
    place = a_place().retired()
    hooked: list[Any] = []
    found = place.tiered.read_item("i", "p", response_hook=lambda _, body: hooked.append(body))
    assert found == {"id": "i", "pk": "p", "n": 1, "_etag": "e1", "_ts": 10}
    assert found.get_response_headers()[SERVED_FROM] == "archive"
    assert hooked == [found]
    assert place.tiered.read_item(found, "p") == found


def test_a_stub_is_its_document_with_its_own_address() -> None:
    """The stub's place in Cosmos DB is the document's; its version is the document's own."""
    place = stubbed(a_place())
    found = place.tiered.read_item("i", "p")
    assert found == place.first
    assert [call for call, _ in place.cosmos.asked] == ["read_item"]


def stubbed(place: Place) -> Place:
    stub = with_pointer({"id": "i", "pk": place.partition_key}, place.pointer)
    system = {"_etag": "e50", "_ts": 50, "_rid": "r", "_self": "s"}
    place.cosmos.documents[place.key] = stub | system
    return place


def guarded(place: Place) -> Place:
    guard = guard_for(place.key, paths=PATHS, pointer=place.pointer)
    system = {"_etag": "e60", "_ts": 60, "_rid": "r", "_self": "s"}
    place.cosmos.documents[place.key] = guard | system
    return place


def test_a_guard_left_behind_answers_by_its_pointer_alone() -> None:
    """While the pointer answers it is the document; once that is marked, it is nothing."""
    place = guarded(a_place().retired())
    assert place.tiered.read_item("i", "p")["n"] == 1
    place.pointers.delete(SOURCE, place.key)
    with pytest.raises(CosmosResourceNotFoundError) as caught:
        place.tiered.read_item("i", "p")
    assert caught.value.status_code == 404
    place.tiered.create_item({"id": "i", "pk": "p", "n": 3})
    assert place.tiered.read_item("i", "p")["n"] == 3


def test_what_never_was_is_cosmos_own_404() -> None:
    """The very error, whether nothing points there or only an announcement or a deletion does."""
    place = a_place()
    del place.cosmos.documents[place.key]
    original = not_found()

    def raising(*_: Any, **__: Any) -> Any:
        raise original

    for pointer in (
        None,
        place.pointer.announced(),
        replace(place.pointer, deleted=True),
    ):
        if pointer is not None:
            place.pointers.standing[SOURCE, place.key] = pointer
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CosmosTwin, "read_item", raising)
            with pytest.raises(CosmosResourceNotFoundError) as caught:
                place.tiered.read_item("i", "p")
        assert caught.value is original


def test_a_404_that_does_not_speak_of_the_document_goes_through() -> None:
    """A missing container, or a replica that lags behind its session, proves nothing."""
    place = a_place().retired()
    original = not_found()
    original.sub_status = 1002

    def raising(*_: Any, **__: Any) -> Any:
        raise original

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CosmosTwin, "read_item", raising)
        with pytest.raises(CosmosResourceNotFoundError) as caught:
            place.tiered.read_item("i", "p")
    assert caught.value is original


def test_a_harmed_archive_is_loud_and_never_a_404() -> None:
    """500 where the bytes are not there, 503 where the index does not answer."""
    place = a_place().retired()
    place.cold.archived.clear()
    with pytest.raises(CosmosHttpResponseError) as caught:
        place.tiered.read_item("i", "p")
    assert (caught.value.status_code, "ebb verify" in str(caught.value)) == (500, True)

    def busy() -> None:
        raise TransientError("busy")

    place.pointers._gate = busy  # noqa: SLF001 - the twin's own way to misbehave
    with pytest.raises(CosmosHttpResponseError) as caught:
        place.tiered.read_item("i", "p")
    assert caught.value.status_code == 503


@pytest.mark.parametrize("where", ["whole", "archived", "stub"])
@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({}, True),
        (ONLY_FIRST, True),
        (ONLY_OTHER, False),
        ({"etag": "e1", "match_condition": MatchConditions.IfModified}, False),
        ({"etag": "e9", "match_condition": MatchConditions.IfModified}, True),
        ({"match_condition": MatchConditions.IfPresent}, True),
    ],
)
@pytest.mark.parametrize("write", ["replace", "patch", "delete", "upsert"])
def test_conditions_hold_wherever_the_document_is(
    write: str,
    where: str,
    condition: dict[str, Any],
    holds: bool,  # noqa: FBT001
) -> None:
    """By the version that was archived: nobody who writes can tell where the document lies."""
    place = a_place()
    place = {"whole": lambda p: p, "archived": Place.retired, "stub": stubbed}[where](place)
    body = {"id": "i", "pk": "p", "n": 2}
    acts: dict[str, Callable[[], Any]] = {
        "replace": lambda: place.tiered.replace_item("i", body, **condition),
        "upsert": lambda: place.tiered.upsert_item(body, **condition),
        "patch": lambda: place.tiered.patch_item("i", "p", SET_N, **condition),
        "delete": lambda: place.tiered.delete_item("i", "p", **condition),
    }
    if not holds:
        with pytest.raises(CosmosAccessConditionFailedError):
            acts[write]()
        assert place.tiered.read_item("i", "p")["n"] == 1
        return
    acts[write]()
    if write == "delete":
        with pytest.raises(CosmosResourceNotFoundError):
            place.tiered.read_item("i", "p")
    else:
        assert place.tiered.read_item("i", "p")["n"] == 2
    place.cosmos.documents.clear()
    with pytest.raises(CosmosResourceNotFoundError):
        place.tiered.read_item("i", "p")


@pytest.mark.parametrize("write", ["replace", "patch", "delete"])
def test_what_is_nowhere_cannot_be_changed(write: str) -> None:
    """404, and nothing is left of the attempt."""
    place = a_place()
    acts: dict[str, Callable[[], Any]] = {
        "replace": lambda: place.tiered.replace_item("x", {"id": "x", "pk": "p"}),
        "patch": lambda: place.tiered.patch_item("x", "p", SET_N),
        "delete": lambda: place.tiered.delete_item("x", "p"),
    }
    with pytest.raises(CosmosResourceNotFoundError):
        acts[write]()
    assert set(place.cosmos.documents) == {place.key}
    assert place.pointers.standing == {}


def test_a_deleted_document_cannot_be_deleted_or_replaced_again() -> None:
    """As in Cosmos DB; created again it is another document."""
    place = a_place().retired()
    place.tiered.delete_item("i", "p")
    with pytest.raises(CosmosResourceNotFoundError):
        place.tiered.delete_item("i", "p")
    with pytest.raises(CosmosResourceNotFoundError):
        place.tiered.replace_item("i", {"id": "i", "pk": "p", "n": 2})
    assert place.tiered.create_item({"id": "i", "pk": "p", "n": 3})["n"] == 3
    with pytest.raises(CosmosResourceExistsError):
        place.tiered.create_item({"id": "i", "pk": "p", "n": 4})


def test_a_guard_deleted_past_the_index_is_a_document_deleted() -> None:
    """Somebody with the plain container saw it and deleted it: the replacement finds nothing."""
    place = a_place().retired()
    create = CosmosTwin.create_item

    def deleted_at_once(self: CosmosTwin, body: Any, **given: Any) -> Any:
        made = create(self, body, **given)
        self.documents.clear()
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CosmosTwin, "create_item", deleted_at_once)
        with pytest.raises(CosmosResourceNotFoundError):
            place.tiered.replace_item("i", {"id": "i", "pk": "p", "n": 2})
    with pytest.raises(CosmosResourceNotFoundError):
        place.tiered.read_item("i", "p")


@pytest.mark.parametrize("write", ["create", "replace", "patch"])
def test_a_unique_key_of_another_is_cosmos_own_409(write: str) -> None:
    """The very error, soon: nobody holds the id, so trying again would change nothing."""
    place = a_place().retired()
    original = exists()

    def taken(self: CosmosTwin, **given: Any) -> Any:
        self.asked.append(("create_item", given))
        raise original

    acts: dict[str, Callable[[], Any]] = {
        "create": lambda: place.tiered.create_item({"id": "new", "pk": "p", "email": "taken"}),
        "replace": lambda: place.tiered.replace_item("i", {"id": "i", "pk": "p", "n": 2}),
        "patch": lambda: place.tiered.patch_item("i", "p", SET_N),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CosmosTwin, "create_item", taken)
        with pytest.raises(CosmosResourceExistsError) as caught:
            acts[write]()
    assert caught.value is original
    assert [call for call, _ in place.cosmos.asked].count("create_item") <= 2
    assert place.tiered.read_item("i", "p")["n"] == 1


def test_a_guard_that_goes_meanwhile_does_not_refuse_a_creation() -> None:
    """Its document was deleted before: the 409 was the guard's, and the next try finds room."""
    place = guarded(a_place())
    create = CosmosTwin.create_item

    def gone_at_once(self: CosmosTwin, body: Any, **given: Any) -> Any:
        try:
            return create(self, body, **given)
        finally:
            self.documents.clear()
            patch.setattr(CosmosTwin, "create_item", create)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CosmosTwin, "create_item", gone_at_once)
        assert place.tiered.create_item({"id": "i", "pk": "p", "n": 3})["n"] == 3


def test_a_patch_outlasts_thirty_others_of_its_document() -> None:
    """Each of them won once; a document that never rests ends in 449, which callers retry."""
    place = a_place()
    patched = CosmosTwin.patch_item
    others = 30

    def beside_another(self: CosmosTwin, **given: Any) -> Any:
        nonlocal others
        if others:
            others -= 1
            stands = self.documents[place.key]
            self.upsert_item(stands | {"others": stands.get("others", 0) + 1})
        return patched(self, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CosmosTwin, "patch_item", beside_another)
        place.tiered.patch_item("i", "p", SET_N)
        found = place.tiered.read_item("i", "p")
        assert (found["n"], found["others"]) == (2, 30)
        others = 1000
        with pytest.raises(CosmosHttpResponseError) as caught:
            place.tiered.patch_item("i", "p", SET_N)
    assert caught.value.status_code == 449


def test_a_predicate_that_does_not_hold_is_the_answer() -> None:
    """Not taken for somebody who came between."""
    place = a_place()
    with pytest.raises(CosmosAccessConditionFailedError):
        place.tiered.patch_item("i", "p", SET_N, filter_predicate="never")


def test_bodies_without_an_id_are_left_to_cosmos() -> None:
    """It makes one up, or refuses; either way there is nothing to look up."""
    place = a_place()
    with pytest.raises(KeyError):
        place.tiered.create_item({"pk": "p"}, enable_automatic_id_generation=True)
    with pytest.raises(KeyError):
        place.tiered.upsert_item({"pk": "p"})
    assert [call for call, _ in place.cosmos.asked] == ["create_item", "upsert_item"]


def test_many_are_read_as_one_by_one() -> None:
    """In the order asked for; the missing are left out, each is given once."""
    place = a_place().retired()
    place.tiered.create_item({"id": "j", "pk": "p", "n": 5})
    asked = [("never", "p"), ("i", "p"), ("j", "p")]
    assert [each["id"] for each in place.tiered.read_items(asked)] == ["i", "j"]


def test_many_are_read_although_one_id_is_no_text() -> None:
    """The archive has no such id; Cosmos DB alone may find one."""
    place = a_place().retired()
    assert [
        each["id"] for each in place.tiered.read_items(cast("Any", [(7, "p"), ("i", "p")]))
    ] == ["i"]


def test_queries_give_documents_for_stubs() -> None:
    """Whole stubs only; a projection is what was asked for, and a deleted guard is nothing."""
    place = stubbed(a_place())
    assert [each["n"] for each in place.tiered.query_items("SELECT * FROM c")] == [1]
    projected = [{"id": "i", "ebb_stub": 1}, 7, None, {"id": "k"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CosmosTwin, "query_items", lambda *_, **__: iter(projected))
        assert list(place.tiered.query_items("SELECT c.id, c.ebb_stub FROM c")) == projected
    guarded(place)
    assert list(place.tiered.query_items("SELECT * FROM c")) == []


@pytest.mark.parametrize(
    ("asked", "body", "key"),
    [
        ("p", {"pk": "p"}, '["p"]'),
        (5, {"pk": 5.0}, "[5]"),
        (True, {"pk": True}, "[true]"),
        (None, {"pk": None}, "[null]"),
        (NullPartitionKeyValue, {"pk": None}, "[null]"),
        (NonePartitionKeyValue, {}, "[{}]"),
        ("é\ud800", {"pk": "é\ud800"}, '["é\\ud800"]'),
    ],
)
def test_a_key_is_spelt_as_the_archive_spells_it(asked: Any, body: Any, key: str) -> None:
    """From what a caller gives and from the document alike."""
    assert key_of("i", asked) == key_in({"id": "i"} | body, PATHS) == (key, "i")
    assert key_of("i", as_asked((key, "i"))) == (key, "i")


def test_a_hierarchical_key_is_a_list_in_both() -> None:
    """Nested paths, and a part that is missing."""
    paths = ("/a/b", "/c")
    assert key_of("i", ["x", 1]) == key_in({"id": "i", "a": {"b": "x"}, "c": 1}, paths)
    assert key_of("i", ["x", NonePartitionKeyValue]) == key_in({"id": "i", "a": {"b": "x"}}, paths)


class AwaitedTwin:
    """The same twin, awaited."""

    def __init__(self, cosmos: CosmosTwin) -> None:
        self._cosmos = cosmos

    @property
    def client_connection(self) -> Any:
        return self._cosmos.client_connection

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def called(**given: Any) -> Any:
            return getattr(self._cosmos, name)(**given)

        return called

    def query_items(self, query: str) -> Any:
        async def documents() -> Any:
            for each in self._cosmos.query_items(query):
                yield each

        return documents()


def test_the_awaited_container_answers_alike() -> None:
    """The same steps: reading, writing, deleting, querying."""
    place = a_place().retired()
    tiered = AsyncTieredContainer(cast("AsyncProxy", AwaitedTwin(place.cosmos)), place.cold)

    async def lived() -> list[Any]:
        seen: list[Any] = [(await tiered.read_item("i", "p"))["n"]]
        seen.append([each["n"] for each in await tiered.read_items([("i", "p")])])
        await tiered.patch_item("i", "p", SET_N)
        seen.append([each["n"] async for each in tiered.query_items("SELECT * FROM c")])
        await tiered.delete_item("i", "p")
        with pytest.raises(CosmosResourceNotFoundError):
            await tiered.read_item("i", "p")
        return seen

    assert asyncio.run(lived()) == [1, [1], [2]]


def test_the_archive_is_searched_for_what_it_alone_has(archived: World) -> None:
    """By id, key and time; what stands in Cosmos DB, was deleted or is newer there is left out."""
    ports = archived.ports
    pointers = pointers_of(ports, "sim")
    keys = sorted(pointers)
    removed(ports, "sim", {key: pointers[key] for key in keys[5:]})
    ports.pointers.delete(SOURCE, keys[5])
    cold = ColdTwin(ports.pointers)
    cold.archives, cold.places = ports.archives, ("archive/",)
    tiered = TieredContainer(cast("ContainerProxy", CosmosTwin()), cold)

    def found(**wanted: Any) -> set[str]:
        given = [each["id"] for each in tiered.query_archive(**wanted)]
        assert len(given) == len(set(given))
        return set(given)

    left = {key: pointers[key] for key in keys[6:]}
    assert found() == {key[1] for key in left}
    middle = sorted(each.ts for each in left.values())[20]
    assert found(since=middle) == {key[1] for key, each in left.items() if each.ts >= middle}
    assert found(until=middle) == {key[1] for key, each in left.items() if each.ts < middle}
    wanted = keys[10]
    partition_key = json.loads(wanted[0])[0]
    assert found(id=wanted[1], partition_key=partition_key) == {wanted[1]}
    assert found(partition_key=partition_key) == {k[1] for k in left if k[0] == wanted[0]}
    assert found(id=keys[0][1]) == found(partition_key=None) == set()
    ports.pointers.put(SOURCE, {keys[7]: replace(left[keys[7]], ts=left[keys[7]].ts + 1, etag="n")})
    assert found(id=keys[7][1]) == set()
    (document,) = tiered.query_archive(id=wanted[1])
    assert (document["_etag"], document["_ts"]) == (left[wanted].etag, left[wanted].ts)


def searched(world: World, *places: str) -> TieredContainer:
    cold = ColdTwin(world.ports.pointers)
    cold.archives, cold.places = world.ports.archives, places
    return TieredContainer(cast("ContainerProxy", CosmosTwin()), cold)


def test_a_version_that_two_archives_have_is_found_once(archived: World) -> None:
    """In the one whose row the index names, however the places are spelt."""
    keys = removed(archived.ports, "sim", pointers_of(archived.ports, "sim"))
    archive = archives(archived)
    for name in archive.names("archive", ""):
        data = archive.bytes_of("archive", name) or b""
        archive.put("archive", f"two/{name}", data, missing=True)
    places = ("archive", "archive/", "archive/two")
    found = [each["id"] for each in searched(archived, *places).query_archive()]
    assert sorted(found) == sorted(key[1] for key in keys)
    assert list(searched(archived, "archive/two").query_archive()) == []


@pytest.mark.parametrize("harmed", ["footer", "magic", "pages"])
def test_a_harmed_file_is_told_as_azure_cosmos_would(archived: World, harmed: str) -> None:
    """500, and which file it is; whatever part of it was harmed."""
    removed(archived.ports, "sim", pointers_of(archived.ports, "sim"))
    archive = archives(archived)
    name = archive.names("archive", "data/")[0]
    data = archive.bytes_of("archive", name) or b""
    bad = {
        "footer": data[:-20] + bytes(16) + data[-4:],
        "magic": data[:-4] + b"XXXX",
        "pages": data[:40] + bytes(200) + data[240:],
    }
    archive.put("archive", name, bad[harmed], missing=False)
    with pytest.raises(CosmosHttpResponseError, match=name) as caught:
        list(searched(archived, "archive").query_archive())
    assert caught.value.status_code == 500
