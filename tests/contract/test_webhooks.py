"""Messages to people: the same promises in memory and over a real connection to a receiver."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import pytest

from shared.adapters.memory import MemoryWebhooks
from shared.adapters.webhooks import BODY_BYTES_MAX, WebWebhooks, body_for
from shared.domain.halts import Halt
from shared.domain.notices import Message, Notice, NoticeKind, Shape, Webhook, message
from shared.errors import PermanentError, TransientError
from shared.ports import Webhooks

SECRET = "sig=vErYsEcReT"
SHAPES = {"ops": Shape.JSON, "team": Shape.TEAMS, "chat": Shape.SLACK}
DRIP_S = 0.1
CUT_AFTER_S = 0.5


def a_message(number: int = 0, **facts: int) -> Message:
    notice = Notice(id=f"n-{number}", kind=NoticeKind.HALTED, at_s=1.5, halt=Halt.SLICE_MISMATCH)
    return message(notice, "billing", facts or {"documents proven": 1_664}, runbook="r.md")


@dataclass(slots=True)
class Receiver:
    """A server on loopback that keeps what it was told and answers as a test likes."""

    status: dict[str, int] = field(default_factory=dict)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    drips: bool = False
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.path, dict(self.headers.items()), body))
                if receiver.drips:
                    self._drip()
                    return
                self.send_response(receiver.status.get(self.path.split("?")[0], 202))
                self.send_header("location", receiver.url("/elsewhere"))
                self.send_header("content-length", "0")
                self.end_headers()

            def _drip(self) -> None:
                """A line of headers now and then: no single wait is long."""
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                try:
                    for number in range(100):
                        self.wfile.write(f"x-{number}: y\r\n".encode())
                        time.sleep(DRIP_S)
                except OSError:
                    return

            def log_message(self, *_: Any) -> None:
                """Tests print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class House(Protocol):
    """Webhooks with a way to see what arrived, and to have receivers fail."""

    @property
    def webhooks(self) -> Webhooks: ...

    def arrived(self, target: str) -> int: ...

    def answers(self, target: str, status: int) -> None: ...


@dataclass(slots=True)
class MemoryHouse:
    webhooks: MemoryWebhooks = field(
        default_factory=lambda: MemoryWebhooks(told={name: [] for name in SHAPES})
    )

    def arrived(self, target: str) -> int:
        return len(self.webhooks.told[target])

    def answers(self, target: str, status: int) -> None:
        self.webhooks.away -= {target}
        self.webhooks.gone -= {target}
        if status == 503:
            self.webhooks.away.add(target)
        elif status == 404:
            self.webhooks.gone.add(target)


@dataclass(slots=True)
class WebHouse:
    receiver: Receiver
    webhooks: WebWebhooks

    def arrived(self, target: str) -> int:
        failed = self.receiver.status.get(f"/{target}", 202) >= 300
        asked = sum(1 for path, _, _ in self.receiver.got if path.startswith(f"/{target}?"))
        return 0 if failed else asked

    def answers(self, target: str, status: int) -> None:
        self.receiver.got.clear()
        self.receiver.status[f"/{target}"] = status


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody who listens on a free port."""
    found = Receiver()
    yield found
    found.close()


def over_the_web(receiver: Receiver) -> WebWebhooks:
    places = {
        name: Webhook(shape=shape, url=receiver.url(f"/{name}?{SECRET}"))
        for name, shape in SHAPES.items()
    }
    return WebWebhooks(places, runbook="r.md", answer_s_max=CUT_AFTER_S)


@pytest.fixture(params=["memory", "web"])
def house(request: pytest.FixtureRequest, receiver: Receiver) -> House:
    """Both kinds, one after the other."""
    if request.param == "memory":
        return MemoryHouse()
    return WebHouse(receiver, over_the_web(receiver))


def test_a_message_arrives_at_its_target_alone(house: House) -> None:
    """Each call is one message to one target."""
    assert house.webhooks.targets == frozenset(SHAPES)
    for number in range(3):
        house.webhooks.send("ops", a_message(number))
    assert [house.arrived(name) for name in ("ops", "team", "chat")] == [3, 0, 0]


def test_a_receiver_that_is_busy_is_tried_again(house: House) -> None:
    """The queue brings the letter once more, and then it arrives."""
    house.answers("ops", 503)
    with pytest.raises(TransientError, match="telling ops: answered 503; will be tried again"):
        house.webhooks.send("ops", a_message())
    assert house.arrived("ops") == 0
    house.answers("ops", 202)
    house.webhooks.send("ops", a_message())
    assert house.arrived("ops") == 1


def test_a_receiver_that_is_gone_is_not_tried_again(house: House) -> None:
    """A person has to correct the address."""
    house.answers("ops", 404)
    with pytest.raises(PermanentError, match="telling ops: answered 404; correct its address"):
        house.webhooks.send("ops", a_message())
    assert house.arrived("ops") == 0


def test_a_name_without_an_address_is_refused(house: House) -> None:
    """It says which setting to look at."""
    with pytest.raises(PermanentError, match="EBB_WEBHOOKS names no such target"):
        house.webhooks.send("nobody", a_message())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (204, None),
        (301, PermanentError),
        (307, PermanentError),
        (400, PermanentError),
        (401, PermanentError),
        (403, PermanentError),
        (408, TransientError),
        (410, PermanentError),
        (429, TransientError),
        (500, TransientError),
        (504, TransientError),
    ],
)
def test_each_status_is_taken_for_what_it_means(
    receiver: Receiver, status: int, kind: type[Exception] | None
) -> None:
    """Redirects are not followed: whoever answers one would get to choose the address."""
    webhooks = over_the_web(receiver)
    receiver.status["/ops"] = status
    if kind is None:
        webhooks.send("ops", a_message())
    else:
        with pytest.raises(kind) as caught:
            webhooks.send("ops", a_message())
        assert type(caught.value) is kind
    assert [path for path, _, _ in receiver.got] == [f"/ops?{SECRET}"]


def test_each_shape_is_what_its_receiver_reads(receiver: Receiver) -> None:
    """Plain fields for a Logic App, an adaptive card for Teams, a text for Slack."""
    webhooks = over_the_web(receiver)
    for target in SHAPES:
        webhooks.send(target, a_message())
    plain, card, text = (json.loads(body) for _, _, body in receiver.got)
    assert plain["id"] == "n-0"
    assert (plain["kind"], plain["topic"]) == ("halted", "slice_mismatch")
    assert (plain["migration"], plain["at_s"]) == ("billing", 1.5)
    assert plain["facts"] == {"documents proven": 1_664}
    (attachment,) = card["attachments"]
    assert card["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["type"] == "AdaptiveCard"
    assert {"title": "documents proven", "value": "1,664"} in attachment["content"]["body"][-1][
        "facts"
    ]
    assert text["text"].splitlines()[0] == "*Ebb: billing has halted*"
    for body in (plain, card, text):
        shown = json.dumps(body)
        assert "Ebb: billing has halted" in shown
        assert "r.md#slice_mismatch" in shown
        assert "ebb resume billing" in shown
    assert {headers["content-type"] for _, headers, _ in receiver.got} == {"application/json"}


def test_an_answer_that_comes_byte_by_byte_is_cut_off(receiver: Receiver) -> None:
    """No single wait is long, and yet it ends: a worker is not for waiting."""
    receiver.drips = True
    began_s = time.monotonic()
    with pytest.raises(TransientError, match="no answer"):
        over_the_web(receiver).send("ops", a_message())
    assert time.monotonic() - began_s < 4 * CUT_AFTER_S


def test_nobody_listening_is_transient_and_tells_no_address(receiver: Receiver) -> None:
    """The address is a secret, and errors are logged with their causes."""
    webhooks = over_the_web(receiver)
    receiver.close()
    with pytest.raises(TransientError) as caught:
        webhooks.send("ops", a_message())
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in str(error)
        error = error.__cause__


@pytest.mark.parametrize("host", ["hooks..example.com", "a" * 70 + ".example.com"])
def test_an_impossible_host_is_permanent_and_not_told(host: str) -> None:
    """Trying again changes nothing, and whoever comes after it is told."""
    webhook = Webhook(shape=Shape.JSON, url=f"https://{host}/secret")
    with pytest.raises(PermanentError, match="correct it in EBB_WEBHOOKS") as caught:
        WebWebhooks({"ops": webhook}, runbook="r").send("ops", a_message())
    assert host not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_receiver_without_a_trusted_certificate_is_told_nothing(receiver: Receiver) -> None:
    """Whoever answers in its place is a stranger."""
    url = receiver.url("/ops").replace("http", "https")
    webhooks = WebWebhooks({"ops": Webhook(shape=Shape.JSON, url=url)}, runbook="r.md")
    with pytest.raises(TransientError, match="SSLError"):
        webhooks.send("ops", a_message())
    assert receiver.got == []


def test_a_message_too_large_is_not_sent(receiver: Receiver) -> None:
    """Ours are a tenth of the limit; one that is not is a fault, and no receiver's trouble."""
    huge = a_message(**{f"fact-{number}": number for number in range(2_000)})
    with pytest.raises(PermanentError, match=f"{BODY_BYTES_MAX} may be sent"):
        over_the_web(receiver).send("ops", huge)
    assert receiver.got == []
    usual = [len(json.dumps(body_for(shape, a_message()))) for shape in Shape]
    assert max(usual) < BODY_BYTES_MAX / 10
