"""Each argument of a write is honoured or refused; what was written is answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from azure.core import MatchConditions
from azure.cosmos import ContainerProxy
from azure.cosmos.exceptions import CosmosAccessConditionFailedError, CosmosHttpResponseError

from shared.domain.pointers import STUB, with_pointer
from shared.errors import TransientError
from shared.tiered import TieredContainer
from shared.tiered.later import Later
from tests.tiered.twins import SOURCE, Place, a_place

SET_N = [{"op": "set", "path": "/n", "value": 2}]
WRITES = ("replace", "upsert", "patch", "delete")
BOTH = pytest.mark.parametrize("retired", [False, True])


def act(place: Place, write: str, **given: Any) -> Any:
    body = {"id": "i", "pk": "p", "n": 2}
    acts: dict[str, Callable[[], Any]] = {
        "replace": lambda: place.tiered.replace_item("i", body, **given),
        "upsert": lambda: place.tiered.upsert_item(body, **given),
        "patch": lambda: place.tiered.patch_item("i", "p", SET_N, **given),
        "delete": lambda: place.tiered.delete_item("i", "p", **given),
    }
    return acts[write]()


@BOTH
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("given", [{"if_match": "e9"}, {"if_none_match": "e1"}])
def test_a_condition_by_keyword_loses_no_update(
    write: str,
    given: dict[str, str],
    retired: bool,  # noqa: FBT001
) -> None:
    """`if_match` and `if_none_match` are honoured as azure-cosmos honours them."""
    place = a_place().retired() if retired else a_place()
    with pytest.raises(CosmosAccessConditionFailedError):
        act(place, write, **given)
    assert place.tiered.read_item("i", "p")["n"] == 1


@BOTH
@pytest.mark.parametrize("write", WRITES)
def test_a_condition_by_keyword_that_holds_lets_the_write_through(
    write: str,
    retired: bool,  # noqa: FBT001
) -> None:
    """The archived version's etag counts, as with `match_condition`."""
    place = a_place().retired() if retired else a_place()
    act(place, write, if_match="e1")
    assert write == "delete" or place.tiered.read_item("i", "p")["n"] == 2


@BOTH
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"etag": "e1"}, ValueError),
        ({"match_condition": MatchConditions.IfNotModified}, ValueError),
        ({"match_condition": MatchConditions.Unconditionally}, TypeError),
        ({"match_condition": "e1"}, TypeError),
    ],
)
def test_half_a_condition_is_refused_as_the_sdk_refuses_it(
    write: str,
    given: dict[str, Any],
    error: type[Exception],
    retired: bool,  # noqa: FBT001
) -> None:
    """An etag without a condition deletes nothing."""
    place = a_place().retired() if retired else a_place()
    with pytest.raises(error):
        act(place, write, **given)
    assert place.tiered.read_item("i", "p")["n"] == 1


@pytest.mark.parametrize("write", ["replace", "patch", "upsert"])
def test_answers_without_a_body_leave_no_placeholder(write: str) -> None:
    """A client with `no_response_on_write=True`: the etag is in the header."""
    place = a_place().retired()
    place.cosmos.no_response = True
    act(place, write, if_match="e1")
    found = place.cosmos.documents[place.key]
    assert found["n"] == 2
    assert STUB not in found


@pytest.mark.parametrize("body", [{"id": 7, "pk": "p"}, {"pk": "p"}, None, "text"])
def test_a_body_that_no_archive_can_have_is_left_to_cosmos(body: Any) -> None:
    """The SDK refuses it in its own words, and nothing is looked up."""
    place = a_place()
    sent: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(place.cosmos), "create_item", lambda _, **given: sent.append(given))
        place.tiered.create_item(body)
    assert sent == [{"body": body}]


def test_an_unreadable_stub_is_never_the_document() -> None:
    """A later version of Ebb wrote one more field: 500, and why."""
    place = a_place()
    stub = with_pointer({"id": "i", "pk": "p"}, place.pointer) | {"_etag": "e5", "_rid": "r"}
    stub[STUB]["account"] = "another"
    place.cosmos.documents[place.key] = stub
    with pytest.raises(CosmosHttpResponseError, match="account") as caught:
        place.tiered.read_item("i", "p")
    assert caught.value.status_code == 500
    with pytest.raises(CosmosHttpResponseError):
        list(place.tiered.query_items("SELECT * FROM c"))


def away() -> None:
    raise TransientError("storage answered 503")


@pytest.mark.parametrize("write", ["upsert", "replace", "patch"])
def test_a_written_document_is_answered_while_the_index_is_away(write: str) -> None:
    """Cosmos DB has it, so the caller must not write it again."""
    place = a_place()
    place.pointers._gate = away  # noqa: SLF001 - the twin's own way to misbehave
    assert act(place, write)["n"] == 2


def test_an_index_that_comes_back_is_marked_in_the_background() -> None:
    """The write was answered; the archived version answers no more soon after."""
    place = a_place().retired()
    place.cold._later = Later(waits_s=(0.0, 0.0, 0.0))  # noqa: SLF001 - without the waits
    fails = [1, 1]

    def away_twice() -> None:
        if fails:
            fails.pop()
            away()

    place.pointers._gate = away_twice  # noqa: SLF001
    act(place, "upsert")
    for _ in range(500):
        if place.pointers.standing[SOURCE, place.key].deleted:
            break
        time.sleep(0.01)
    assert place.pointers.standing[SOURCE, place.key].deleted


def test_a_deletion_stays_strict_while_the_index_is_away() -> None:
    """503: the archived version would come back."""
    place = a_place()
    place.pointers._gate = away  # noqa: SLF001
    with pytest.raises(CosmosHttpResponseError) as caught:
        act(place, "delete")
    assert caught.value.status_code == 503
    assert place.key in place.cosmos.documents


def test_a_tiered_container_passes_the_sdks_own_type_checks() -> None:
    """DatabaseProxy and its callers ask with isinstance."""
    proxy = object.__new__(ContainerProxy)
    tiered = TieredContainer(proxy, a_place().cold)
    assert isinstance(cast("object", tiered), ContainerProxy)
    assert isinstance(tiered, TieredContainer)
