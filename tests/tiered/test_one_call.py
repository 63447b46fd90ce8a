"""One call of a tiered container: its charge, headers, hook and options, whatever it asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from azure.cosmos.aio import ContainerProxy as AsyncProxy
from azure.cosmos.exceptions import CosmosHttpResponseError

from shared.tiered import AsyncTieredContainer
from tests.tiered.test_container import SET_N, AwaitedTwin, stubbed
from tests.tiered.twins import Place, a_place

CHARGE = "x-ms-request-charge"
BODY = {"id": "i", "pk": "p", "n": 2}
CALLS = ("read", "read_many", "replace", "upsert", "patch", "delete")
PLACES: dict[str, Callable[[Place], Place]] = {
    "whole": lambda place: place,
    "archived": Place.retired,
    "stub": stubbed,
}
EVERY_PLACE = pytest.mark.parametrize("where", sorted(PLACES))


def acts_of(tiered: Any, **given: Any) -> dict[str, Callable[[], Any]]:
    return {
        "read": lambda: tiered.read_item("i", "p", **given),
        "read_many": lambda: tiered.read_items([("i", "p")], **given),
        "replace": lambda: tiered.replace_item("i", BODY, **given),
        "upsert": lambda: tiered.upsert_item(BODY, **given),
        "patch": lambda: tiered.patch_item("i", "p", SET_N, **given),
        "delete": lambda: tiered.delete_item("i", "p", **given),
    }


def at_once(place: Place, call: str, **given: Any) -> Any:
    return acts_of(place.tiered, **given)[call]()


def awaited(place: Place, call: str, **given: Any) -> Any:
    tiered = AsyncTieredContainer(cast("AsyncProxy", AwaitedTwin(place.cosmos)), place.cold)
    return asyncio.run(acts_of(tiered, **given)[call]())


BOTH = pytest.mark.parametrize("done", [at_once, awaited])
Done = Callable[..., Any]


@BOTH
@EVERY_PLACE
@pytest.mark.parametrize("call", CALLS)
def test_the_last_headers_are_the_calls_with_its_whole_charge(
    call: str, where: str, done: Done
) -> None:
    """Microsoft's quickstart reads the charge of a call there."""
    place = PLACES[where](a_place())
    answer = done(place, call)
    asked = place.cosmos.answers
    headers = place.cosmos.client_connection.last_response_headers
    assert float(headers[CHARGE]) == asked * (asked + 1) / 2
    if answer is not None:
        assert answer.get_response_headers() == headers


@BOTH
@EVERY_PLACE
@pytest.mark.parametrize("call", CALLS)
def test_a_hook_is_called_once_with_the_answer(call: str, where: str, done: Done) -> None:
    """Also for a deletion, whose answer is None."""
    place = PLACES[where](a_place())
    hooked: list[Any] = []
    answer = done(place, call, response_hook=lambda *given: hooked.append(given))
    assert hooked == [(place.cosmos.client_connection.last_response_headers, answer)]


@EVERY_PLACE
def test_the_etag_in_the_header_is_the_documents(where: str) -> None:
    """Not a stub's, and there also where Cosmos DB said 404."""
    place = PLACES[where](a_place())
    assert place.tiered.read_item("i", "p").get_response_headers()["etag"] == "e1"


@EVERY_PLACE
@pytest.mark.parametrize("call", ["replace", "upsert", "patch", "delete"])
def test_a_refused_condition_has_headers_and_no_hook(call: str, where: str) -> None:
    """A caller who accounts for charges finds them on the error."""
    place = PLACES[where](a_place())
    hooked: list[Any] = []
    with pytest.raises(CosmosHttpResponseError) as caught:
        at_once(place, call, if_match="e9", response_hook=lambda *given: hooked.append(given))
    assert (caught.value.status_code, hooked) == (412, [])
    if place.cosmos.answers:
        assert float(caught.value.headers[CHARGE]) > 0


def test_an_id_that_the_archive_has_is_refused_with_headers() -> None:
    """Nothing was asked of Cosmos DB, so nothing is charged."""
    place = a_place().retired()
    with pytest.raises(CosmosHttpResponseError) as caught:
        place.tiered.create_item(BODY)
    assert (caught.value.status_code, caught.value.headers) == (409, {CHARGE: "0.0"})


@EVERY_PLACE
@pytest.mark.parametrize("call", CALLS)
def test_every_request_of_a_call_has_the_callers_options(call: str, where: str) -> None:
    """As urgent and as patient as the first, and no older than what the call has seen."""
    place = PLACES[where](a_place())
    given = {"priority": "Low", "throughput_bucket": 2, "read_timeout": 3}
    at_once(place, call, session_token="0:-1#0", **given)
    tokens = []
    for _, sent in place.cosmos.asked:
        assert {name: sent[name] for name in given} == given
        tokens.append(int(sent["session_token"].partition("#")[2]))
    assert tokens == sorted(tokens)
    assert tokens[0] == 0
