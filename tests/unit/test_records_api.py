"""The example's HTTP API: what it refuses, and that a refusal leaves the connection usable."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from examples.records_api import BODY_BYTES_MAX
from tests.tiered.serving import served


class Calls:
    """A container that notes what it is asked for."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def read_item(self, item: str, partition_key: str) -> dict[str, Any]:
        self.made.append(("read", item, partition_key))
        return {"id": item, "_etag": "e1"}

    def upsert_item(self, body: dict[str, Any]) -> dict[str, Any]:
        self.made.append(("upsert", body))
        return body

    def delete_item(self, item: str, partition_key: str) -> None:
        self.made.append(("delete", item, partition_key))


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def api(calls: Calls) -> Iterator[http.client.HTTPConnection]:
    with served(calls, timeout_s=10) as connection:
        yield connection


def asked(api: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> int:
    api.request(method, path, body)
    answer = api.getresponse()
    answer.read()
    return answer.status


@pytest.mark.parametrize("body", [b"[1]", b"1", b"null", b"{", b"", b"\xff", b"[" * 100_000])
def test_a_body_must_be_an_object(
    api: http.client.HTTPConnection, calls: Calls, body: bytes
) -> None:
    """400, and the connection goes on."""
    assert asked(api, "PUT", "/records/c/i", body) == 400
    assert calls.made == []
    assert asked(api, "PUT", "/records/c/i", json.dumps({"n": 1})) == 200
    assert calls.made == [("upsert", {"n": 1, "id": "i", "customerId": "c"})]


@pytest.mark.parametrize("name", ["..", "%2e%2e", ".", "", "a%2Fb", "a%3Fb", "a%23", "a%20"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_id_that_leads_elsewhere_is_refused(
    api: http.client.HTTPConnection, calls: Calls, method: str, name: str
) -> None:
    """Before the container is asked: the SDK would put it into an address."""
    assert asked(api, method, f"/records/c/{name}", b"{}") == 400
    assert calls.made == []


@pytest.mark.parametrize("path", ["/nowhere", "/records/c/.."])
def test_the_body_of_a_refused_request_is_no_request(
    api: http.client.HTTPConnection, calls: Calls, path: str
) -> None:
    """It is read all the same; what comes next on the connection is answered."""
    smuggled = b"DELETE /records/c/victim HTTP/1.1\r\nHost: x\r\n\r\n"
    assert asked(api, "PUT", path, smuggled) in (400, 404)
    assert asked(api, "GET", "/records/c/i") == 200
    assert calls.made == [("read", "i", "c")]


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("Transfer-Encoding", "chunked", 411),
        ("Content-Length", "-1", 411),
        ("Content-Length", str(BODY_BYTES_MAX + 1), 413),
    ],
)
def test_a_body_that_cannot_be_read_ends_the_connection(
    api: http.client.HTTPConnection, calls: Calls, header: str, value: str, status: int
) -> None:
    """Told in the answer, so that nothing more is sent on it."""
    api.putrequest("PUT", "/records/c/i")
    api.putheader(header, value)
    api.endheaders()
    answer = api.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (status, "close")
    assert calls.made == []
