"""How answers about single documents are understood, and how their keys are spelt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.cosmos import ContainerProxy
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from shared.adapters.cosmos_items import CosmosItems
from shared.domain.pointers import Key
from shared.errors import EbbError, NotFound, PermanentError, Throttled, TransientError
from shared.ports import Fate, Found, Written

KEY: Key = ('["p"]', "secret-id")
BODY = {"id": "secret-id", "pk": "p"}
PARTITION_KEY = "x-ms-documentdb-partitionkey"
SPECIAL: dict[int, Any] = {
    404: CosmosResourceNotFoundError,
    409: CosmosResourceExistsError,
    412: CosmosAccessConditionFailedError,
}


def refusal(status: int, **headers: str) -> CosmosHttpResponseError:
    """As the SDK raises it, with a response whose headers tell the charge."""
    told = {"x-ms-request-charge": "1.5", **{k.replace("_", "-"): v for k, v in headers.items()}}
    response = SimpleNamespace(headers=told, status_code=status, reason="", text=str)
    kind = SPECIAL.get(status, CosmosHttpResponseError)
    error: CosmosHttpResponseError = kind(message="secret-id", response=response)
    return error


@dataclass
class FakeContainer:
    """Answers in turn; each send passes the hook, as the SDK's pipeline does."""

    answers: list[Any]
    is_system_key: bool = False
    sent: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[Mapping[str, Any]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)

    def read_item(self, _item: str, _key: Any, **told: Any) -> Any:
        return self._answered(told)

    def delete_item(self, _item: str, _key: Any, **told: Any) -> Any:
        return self._answered(told)

    def replace_item(self, _item: str, body: Mapping[str, Any], **told: Any) -> Any:
        self.bodies.append(body)
        return self._answered(told)

    def create_item(self, body: Mapping[str, Any], **told: Any) -> Any:
        self.bodies.append(body)
        return self._answered(told)

    def _answered(self, told: dict[str, Any]) -> Any:
        self.told = told
        while True:
            request = SimpleNamespace(headers={PARTITION_KEY: "the SDK's own"})
            told["raw_request_hook"](SimpleNamespace(http_request=request))
            self.sent.append(request.headers)
            answer = self.answers.pop(0)
            if answer == "sent again":
                continue
            if isinstance(answer, Exception):
                raise answer
            told["response_hook"]({"x-ms-request-charge": "7.25"}, answer)
            return answer


def over(*answers: Any, **more: Any) -> tuple[CosmosItems, FakeContainer]:
    container = FakeContainer(list(answers), **more)
    return CosmosItems(cast("ContainerProxy", container), "db/c"), container


Call = Callable[[CosmosItems], Found | Written]
CALLS: dict[str, Call] = {
    "find": lambda items: items.find(KEY),
    "remove": lambda items: items.remove(KEY, etag="e"),
    "replace": lambda items: items.replace(KEY, BODY, etag="e"),
    "create": lambda items: items.create(KEY, BODY),
}
EVERY = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.mark.parametrize(
    ("name", "status", "fate"),
    [
        ("remove", 404, Fate.ABSENT),
        ("remove", 412, Fate.CHANGED),
        ("replace", 404, Fate.ABSENT),
        ("replace", 412, Fate.CHANGED),
        ("create", 409, Fate.EXISTS),
    ],
)
def test_a_refused_condition_is_an_answer_with_its_charge(
    name: str, status: int, fate: Fate
) -> None:
    """Which one, and what asking cost."""
    for substatus in ({}, {"x_ms_substatus": "0"}):
        items, _ = over(refusal(status, **substatus))
        assert CALLS[name](items) == Written(fate=fate, ru=1.5)


def test_a_document_that_is_not_there_is_found_absent() -> None:
    """With what looking cost; one that is there comes as plain values."""
    assert over(refusal(404))[0].find(KEY) == Found(document=None, ru=1.5)
    assert over({**BODY, "_ts": 1})[0].find(KEY) == Found(document={**BODY, "_ts": 1}, ru=7.25)


@pytest.mark.parametrize(
    ("name", "status"), [("find", 412), ("remove", 409), ("replace", 409), ("create", 412)]
)
def test_a_refusal_that_makes_no_sense_is_an_error(name: str, status: int) -> None:
    """Such as a unique key that a stub runs into."""
    with pytest.raises(PermanentError, match=str(status)):
        CALLS[name](over(refusal(status))[0])


@EVERY
@pytest.mark.parametrize("status", [408, 410, 449, 500, 502, 503])
def test_what_leaves_it_open_is_transient(call: Call, status: int) -> None:
    """Nobody knows whether anything was written."""
    with pytest.raises(TransientError, match=str(status)):
        call(over(refusal(status))[0])


@EVERY
def test_a_full_partition_is_told_with_its_wait(call: Call) -> None:
    """At the first 429."""
    items, container = over(refusal(429, x_ms_retry_after_ms="250"))
    with pytest.raises(Throttled) as caught:
        call(items)
    assert caught.value.retry_after_s == 0.25
    assert len(container.sent) == 1


@pytest.mark.parametrize("name", ["find", "remove", "replace"])
def test_not_every_404_says_that_the_document_is_gone(name: str) -> None:
    """1003 is the container's own; 1002 is a replica that lags behind."""
    with pytest.raises(NotFound, match="container"):
        CALLS[name](over(refusal(404, x_ms_substatus="1003"))[0])
    with pytest.raises(TransientError, match="1002"):
        CALLS[name](over(refusal(404, x_ms_substatus="1002"))[0])


@EVERY
def test_nothing_is_sent_twice(call: Call) -> None:
    """The second answer would not tell what became of the first."""
    items, container = over("sent again", refusal(404))
    with pytest.raises(TransientError):
        call(items)
    assert len(container.sent) == 1
    assert container.told["retry_read"] == 0


@EVERY
def test_no_error_names_the_document(call: Call) -> None:
    """Whatever is answered."""
    for status in (400, 401, 403, 413, 429, 503):
        with pytest.raises(EbbError) as caught:
            call(over(refusal(status))[0])
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    ['["a"]', '["a","b"]', "[null]", "[{}]", '["a",{}]', "[1.5,true]", "[12345678901234567]"],
)
@pytest.mark.parametrize("name", CALLS)
def test_a_partition_key_is_sent_as_it_is(name: str, key: str) -> None:
    """One part or several, missing ones too, whatever the SDK reads of the document."""
    items, container = over({})
    spelt = (key, KEY[1])
    calls: dict[str, Callable[[], object]] = {
        "find": lambda: items.find(spelt),
        "remove": lambda: items.remove(spelt, etag="e"),
        "replace": lambda: items.replace(spelt, BODY, etag="e"),
        "create": lambda: items.create(spelt, BODY),
    }
    calls[name]()
    assert json.loads(container.sent[0][PARTITION_KEY]) == json.loads(key)


def test_a_container_without_a_declared_key_has_none() -> None:
    """One of the old fixed kind: nothing at all stands for the missing value."""
    items, container = over({}, is_system_key=True)
    items.find(("[{}]", "x"))
    assert container.sent[0][PARTITION_KEY] == "[]"


@pytest.mark.parametrize(
    "document_id",
    ["", ".", "..", "a/b", "a\\b", "a?b", "a#b", "a ", "a\n", "a\tb", "../c", "\\ud800"],
)
def test_an_id_that_would_lead_elsewhere_is_never_sent(document_id: str) -> None:
    """Two dots would remove the container; nothing of the id is told."""
    items, container = over()
    for call in (items.find, lambda key: items.remove(key, etag="e")):
        with pytest.raises(PermanentError, match="its id cannot be part of an address"):
            call(('["p"]', document_id))
    assert container.sent == []


@pytest.mark.parametrize("document_id", ["...", "a.", ".a", " a", "%2F", "é☕", "a+b&c=d;'\""])
def test_every_other_id_is_sent(document_id: str) -> None:
    """Odd ones too."""
    items, container = over({})
    items.find(('["p"]', document_id))
    assert len(container.sent) == 1


@pytest.mark.parametrize("key", ['[{"a":1}]', "[[1]]", '["a",[]]', '["\\ud800"]'])
def test_a_partition_key_that_is_no_value_is_refused(key: str) -> None:
    """No document can be addressed by it, and nothing of it is told."""
    items, container = over()
    with pytest.raises(PermanentError, match="its partition key is") as caught:
        items.find((key, "x"))
    assert container.sent == []
    assert key not in str(caught.value)


def test_a_body_is_sent_without_what_is_the_services_own() -> None:
    """What was read may be written back; below the top level everything is data."""
    document = {**BODY, "n": {"_ts": 1}, "_ts": 1, "_etag": "e", "_rid": "r", "_self": "s"}
    items, container = over({}, {})
    items.replace(KEY, document, etag="e")
    items.create(KEY, document)
    assert container.bodies == [{**BODY, "n": {"_ts": 1}}] * 2
    assert document["_ts"] == 1


def test_a_body_under_another_id_is_refused() -> None:
    """It would be written somewhere else."""
    items, container = over()
    with pytest.raises(PermanentError, match="its id is not its key's"):
        items.create(KEY, {"id": "other"})
    assert container.sent == []
