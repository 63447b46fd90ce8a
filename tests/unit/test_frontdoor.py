"""The app's own address, called from outside: what is sent there, and what each answer means."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from shared.adapters.frontdoor import WebFrontDoor
from shared.domain.alerts import Condition, harmless_message, parse_alert
from shared.errors import PROBLEM_MEDIA, EbbError, PermanentError, TransientError
from shared.ports import FrontDoor
from shared.settings import read_settings
from shared.wiring import azure_ports
from tests.unit.test_settings import GOOD

KEY = "key-of-a-test"
NOW_S = 1_800_000_000.25


@dataclass(slots=True)
class Outside:
    """An address on loopback that keeps what it was told and answers as a test likes."""

    status: int = 202
    media: str = "text/plain"
    got: list[tuple[str, str | None, str]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            made.got.append((self.path, self.headers["x-functions-key"], body))
            self.send_response(made.status)
            self.send_header("location", f"{made.url}/elsewhere")
            self.send_header("content-type", made.media)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the tests' output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_alert_goes_to_the_alerts_address_with_the_key(outside: Outside) -> None:
    """The key stands in a header and in no address."""
    WebFrontDoor(outside.url, KEY).alert("an alert")
    assert outside.got == [("/api/alerts", KEY, "an alert")]


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (302, PermanentError, "redirects are not followed"),
        (308, PermanentError, "name the end in EBB_CALLBACK_URL"),
        (401, PermanentError, "no longer, this app's key of alerts"),
        (403, PermanentError, "something in front of the app"),
        (404, PermanentError, "no Ebb of this version"),
        (422, PermanentError, "it was not taken"),
        (429, TransientError, "the app's log tells why"),
        (500, TransientError, "the app's log tells why"),
    ],
)
def test_a_refusal_says_what_it_means(
    outside: Outside, status: int, kind: type[EbbError], told: str
) -> None:
    """With the status and the address, and never with the key."""
    outside.status = status
    with pytest.raises(kind, match=told) as caught:
        WebFrontDoor(outside.url, KEY).alert("an alert")
    assert f"{outside.url}/api/alerts: answered {status}" in str(caught.value)
    assert KEY not in str(caught.value)
    assert [path for path, _, _ in outside.got] == ["/api/alerts"]


def test_an_address_where_nobody_answers_is_told() -> None:
    """By what happened to the connection."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(TransientError, match="ConnectionRefusedError"):
            WebFrontDoor(url, KEY).alert("an alert")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://127.0.0.1:9", "se-cret\n"),
        ("http://127.0.0.1:9", "se-cret\u2026"),
        ("http://a..test", "se-cret"),
    ],
)
def test_what_cannot_be_sent_at_all_is_told_with_its_cure(url: str, key: str) -> None:
    """Without the key, and without its cause, which may hold it."""
    with pytest.raises(PermanentError, match="write EBB_CALLBACK_URL") as caught:
        WebFrontDoor(url, key).alert("an alert")
    assert "se-cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def of_settings(**changed: str) -> FrontDoor:
    return azure_ports(read_settings({**GOOD, **changed})).front_door


def test_without_address_or_key_the_front_door_is_closed() -> None:
    """It says which settings are missing, and posts nothing."""
    for given in ({}, {"EBB_CALLBACK_URL": "https://a.test"}, {"EBB_ALERT_KEY": KEY}):
        door = of_settings(**given)
        assert "EBB_CALLBACK_URL and EBB_ALERT_KEY" in door.closed
        with pytest.raises(PermanentError, match="are not both set"):
            door.alert("an alert")
    assert of_settings(EBB_CALLBACK_URL="https://a.test", EBB_ALERT_KEY=KEY).closed == ""


def test_where_alerts_must_bring_a_token_the_front_door_is_guarded() -> None:
    """Ebb has no such token; it can still see whether it is asked for one."""
    guard = {"EBB_ALERT_ISSUER": "https://issuer.test", "EBB_ALERT_AUDIENCE": "ebb"}
    place = {"EBB_CALLBACK_URL": "https://a.test", "EBB_ALERT_KEY": KEY}
    assert of_settings(**place, **guard).guarded
    assert not of_settings(**place).guarded
    assert of_settings(**guard).closed != ""


@pytest.mark.parametrize(
    ("status", "media", "told"),
    [
        (202, PROBLEM_MEDIA, "without a token; the app that answers there does not have this"),
        (401, "text/plain", "no longer, this app's key of alerts"),
        (403, PROBLEM_MEDIA, "something in front of the app"),
    ],
    ids=["taken", "turned away by the platform", "another refusal"],
)
def test_a_guarded_front_door_turns_an_alert_away_itself(
    outside: Outside, status: int, media: str, told: str
) -> None:
    """By the app's own 401; whatever else comes, Azure's alerts would meet as well."""
    outside.status, outside.media = 401, PROBLEM_MEDIA
    WebFrontDoor(outside.url, KEY, guarded=True).alert("an alert")
    outside.status, outside.media = status, media
    with pytest.raises(PermanentError, match=told):
        WebFrontDoor(outside.url, KEY, guarded=True).alert("an alert")


def test_the_doctors_message_is_a_real_alert_that_holds_nothing() -> None:
    """Azure's own schema, of this account, ended as it began, about no container there is."""
    alert = parse_alert(harmless_message("ebb-doctor-7", "acct", now_s=NOW_S), now_s=NOW_S)
    assert alert.rule == "ebb-doctor-7"
    assert alert.accounts == frozenset({"acct"})
    assert alert.condition is Condition.RESOLVED
    assert alert.until_s == alert.at_s == NOW_S
    assert alert.sources == frozenset({"ebb-doctor-7/ebb-doctor-7"})
    assert "ebb-doctor-7" in alert.sentence()
