"""The sandbox's Monitor watches alert rules as Azure does, and Ebb's own reader takes its word."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from sandbox.alerts import CHECKS_TO_RESOLVE, AlertRule, Standing, common_alert, turned
from sandbox.cosmos.account import History
from sandbox.stage import Sandbox
from shared.domain.alerts import Condition, parse_alert

RULE = AlertRule(name="busy", url="http://127.0.0.1:9/", threshold=100.0)
RESOURCE = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.DocumentDB/databaseAccounts/A"
WITHIN_S = 20.0


def conditions(values: list[float]) -> list[str]:
    standing = Standing()
    told = []
    for now_s, value in enumerate(values, start=1):
        if turn := turned(standing, RULE, value, now_s=float(now_s)):
            told.append(f"{now_s} {turn[0]}")
    return told


def test_an_alert_fires_once_and_is_resolved_after_three_checks() -> None:
    """A check between that meets the condition again begins the count anew."""
    assert CHECKS_TO_RESOLVE == 3
    assert conditions([50, 150, 150, 50, 50, 150, 50, 50, 50, 50]) == ["2 Fired", "9 Resolved"]
    assert conditions([100, 100]) == []
    assert conditions([101, 0, 0, 0, 101]) == ["1 Fired", "4 Resolved", "5 Fired"]


def test_its_messages_are_read_by_ebb() -> None:
    """Both conditions of one alert, with times as Azure writes them."""
    standing = Standing(alert="one", fired_at_s=1_000.25)
    fired = json.dumps(common_alert(RULE, standing, "Fired", RESOURCE, (150.0, 1_000.25)))
    resolved = json.dumps(common_alert(RULE, standing, "Resolved", RESOURCE, (50.0, 1_300.5)))
    first, second = (parse_alert(text, now_s=1_400.0) for text in (fired, resolved))
    assert (first.key, first.condition) == (second.key, Condition.FIRED)
    assert second.condition is Condition.RESOLVED
    assert (first.at_s, second.fired_at_s, second.at_s) == (1_000.25, 1_000.25, 1_300.5)
    assert first.accounts == {"a"}


class Receiver:
    """Answers 503 to the first post, 202 to the others."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(503 if len(receiver.bodies) == 1 else 202)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the tests' output quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.mark.node
def test_a_rule_posts_and_a_refused_post_comes_again(sandbox: Sandbox, receiver: Receiver) -> None:
    """Over the meter's real traffic; the second try comes after Azure's first pause."""
    sandbox.admin.set_monitor(lag_s=0, loss_share=0.0)
    sandbox.admin.tell_history(History(minutes=3, ru_per_s=100.0))
    rule = AlertRule(name="any", url=receiver.url, threshold=1.0, window_s=60, every_s=0.2)
    sandbox.admin.watch(rule)
    ends_at_s = time.monotonic() + WITHIN_S
    while time.monotonic() < ends_at_s and len(receiver.bodies) < 2:
        time.sleep(0.1)
    first, second = (parse_alert(each.decode(), now_s=time.time()) for each in receiver.bodies[:2])
    assert first == second
    (post,) = [each for each in sandbox.admin.alerts() if each["rule"] == "any"]
    assert post["answers"][:2] == [503, 202]
