"""Which documents the metered account takes, keeps apart and lets expire."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, CosmosClient, PartitionKey
from azure.cosmos.exceptions import CosmosHttpResponseError
from azure.identity import DefaultAzureCredential

from sandbox.cosmos.bounds import fault_of
from sandbox.stage import Sandbox
from tests.sandbox.clients import client_of
from tests.sandbox.test_meter import fresh

KEYS: tuple[Any, ...] = (None, "", 0, False, "0", "null")


def _made(sandbox: Sandbox, **options: Any) -> ContainerProxy:
    database = client_of(sandbox).create_database_if_not_exists("documents")
    key = options.pop("key", PartitionKey("/pk"))
    made: ContainerProxy = database.create_container(fresh(), partition_key=key, **options)
    return made


@pytest.mark.node
def test_keys_that_look_alike_are_kept_apart(sandbox: Sandbox) -> None:
    """A missing key, null, an empty text, 0 and false hold one document of an id each."""
    container = _made(sandbox)
    container.create_item({"id": "a"})
    for key in KEYS:
        container.create_item({"id": "a", "pk": key})
    found = list(container.query_items("SELECT * FROM c", enable_cross_partition_query=True))
    assert len(found) == len(KEYS) + 1
    assert [container.read_item("a", key)["pk"] for key in KEYS] == list(KEYS)
    container.delete_item("a", "")
    with pytest.raises(CosmosHttpResponseError) as gone:
        container.read_item("a", "")
    assert gone.value.status_code == 404
    assert container.read_item("a", 0)["pk"] == 0


@pytest.mark.node
def test_each_part_of_a_hierarchical_key_counts(sandbox: Sandbox) -> None:
    """Two documents of one id differ by the second part alone."""
    container = _made(sandbox, key=PartitionKey(["/a", "/b"], kind="MultiHash"))
    for part in ("x", "y"):
        container.create_item({"id": "a", "a": "1", "b": part})
    assert [container.read_item("a", ["1", part])["b"] for part in ("x", "y")] == ["x", "y"]


@pytest.mark.node
def test_a_document_is_gone_when_its_time_is_over(sandbox: Sandbox) -> None:
    """Its own ttl goes first, -1 keeps it, and without a defaultTtl none expires."""
    usual, own = _made(sandbox, default_ttl=1), _made(sandbox, default_ttl=-1)
    off = _made(sandbox)
    for container in (usual, own, off):
        container.create_item({"id": "plain", "pk": "p"})
        container.create_item({"id": "brief", "pk": "p", "ttl": 1})
        container.create_item({"id": "kept", "pk": "p", "ttl": -1})
    until_s = time.monotonic() + 30
    while len(_ids(usual)) > 1 or len(_ids(own)) > 2:
        assert time.monotonic() < until_s, "the documents are still there after 30 s"
        time.sleep(0.2)
    assert _ids(usual) == ["kept"]
    assert _ids(own) == ["kept", "plain"]
    assert _ids(off) == ["brief", "kept", "plain"]


@pytest.mark.node
def test_a_document_too_deep_or_with_a_bad_id_is_refused(sandbox: Sandbox) -> None:
    """400 with the reason, and nothing is stored."""
    container = _made(sandbox)
    for document in ({"id": "x" * 1024, "pk": "p"}, {"id": "deep", "pk": "p", **_nested(129)}):
        with pytest.raises(CosmosHttpResponseError) as refused:
            container.create_item(document)
        assert refused.value.status_code == 400
    assert _ids(container) == []


@pytest.mark.node
def test_a_token_makes_and_removes_no_database_and_no_container(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data roles have no right for it: 403 with substatus 5300; documents and metadata are open."""
    by_key = _made(sandbox)
    for name, value in sandbox.identity_settings().items():
        monkeypatch.setenv(name, value)
    client = CosmosClient(
        sandbox.cosmos_endpoint,
        DefaultAzureCredential(),
        connection_verify=str(sandbox.ca_file),
    )
    database = client.get_database_client("documents")
    by_token = database.get_container_client(by_key.id)
    by_token.create_item({"id": "a", "pk": "p"})
    assert by_token.read()["id"] == by_key.id
    changes: tuple[Callable[[], object], ...] = (
        lambda: client.create_database("more"),
        lambda: database.create_container("more", PartitionKey("/pk")),
        lambda: database.delete_container(by_key.id),
    )
    for change in changes:
        with pytest.raises(CosmosHttpResponseError) as refused:
            change()
        assert (refused.value.status_code, refused.value.sub_status) == (403, 5300)
    assert _ids(by_key) == ["a"]


def test_depth_counts_no_bracket_inside_of_a_text() -> None:
    """A text full of brackets is no deep document; one level more than 128 is."""
    text = json.dumps({"id": "a", "text": '{[\\"' * 200})
    assert fault_of(text.encode()) == ""
    assert fault_of(json.dumps({"id": "a", **_nested(127)}).encode()) == ""
    assert "128" in fault_of(json.dumps({"id": "a", **_nested(129)}).encode())


def test_the_longest_id_is_counted_in_bytes() -> None:
    """1,023 bytes are taken, and 512 characters of two bytes each are not."""
    assert fault_of(json.dumps({"id": "x" * 1023}).encode()) == ""
    assert "1023" in fault_of(json.dumps({"id": "é" * 512}).encode())
    assert "/" in fault_of(json.dumps({"id": "a/b"}).encode())


def _ids(container: ContainerProxy) -> list[str]:
    return sorted(
        each["id"] for each in container.query_items("SELECT c.id FROM c", partition_key="p")
    )


def _nested(levels: int) -> dict[str, Any]:
    """A property that many levels deep, the document itself counted."""
    value: Any = 1
    for _ in range(levels - 1):
        value = {"d": value}
    return {"d": value}
