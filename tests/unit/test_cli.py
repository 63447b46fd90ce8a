"""The terminal: what it asks of a running Ebb, what it shows, and how it exits."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shared.cli import main
from shared.terminal.console import DONE, MISUSED, PROBLEM, UNREACHABLE
from shared.terminal.remote import Remote, Unreachable
from tests.simulation.test_any_misfortune import SPEC
from tests.simulation.world import make_world

FINDINGS = [
    {"what": "ledger", "verdict": "sound", "seen": "1 migrations", "advice": ""},
    {"what": "queue", "verdict": "faulty", "seen": "[red] refused", "advice": "give the role"},
    {"what": "habits db/c", "verdict": "skipped", "seen": "no workspace", "advice": ""},
]


@dataclass(slots=True)
class FakeEbb:
    """An HTTP server that answers what it was told to, and remembers what it was asked."""

    url: str = ""
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def ebb() -> Iterator[FakeEbb]:
    fake = FakeEbb()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length).decode()
            path = self.path.partition("?")[0]
            fake.asked.append((self.command, path, body))
            missing = (404, {"detail": f"no {path}"})
            status, value = fake.answers.get((self.command, path), missing)
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            for header in fake.headers.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: Any) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def a_status(**changes: Any) -> dict[str, Any]:
    world = make_world(1)
    world.calm.operating.apply(SPEC)
    return {**world.calm.operating.status("sim").as_dict(), **changes}


def test_apply_sends_the_spec_to_its_own_name(ebb: FakeEbb, tmp_path: Path) -> None:
    """The name comes from the spec, so the two can never differ."""
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    ebb.answers["PUT", "/api/migrations/sim"] = (201, {"name": "sim", "state": "registered"})
    assert main(["apply", str(path), "--url", ebb.url]) == DONE
    assert ebb.asked == [("PUT", "/api/migrations/sim", SPEC)]


def test_a_faulty_or_missing_spec_is_not_sent(
    ebb: FakeEbb, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Used wrongly: every fault on the terminal, nothing asked of the app."""
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC.replace("older_than: 90d", "older_than: 90x"))
    assert main(["apply", str(path), "--url", ebb.url]) == MISUSED
    assert main(["apply", str(tmp_path / "none.yaml"), "--url", ebb.url]) == MISUSED
    assert "$.cold.older_than" in capsys.readouterr().err
    assert ebb.asked == []


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "stop"])
def test_each_verb_asks_for_itself(ebb: FakeEbb, verb: str) -> None:
    """And a refusal is a wrong use, told in the app's own words."""
    answer = {"name": "sim", "state": "running", "reason": "by hand"}
    ebb.answers["POST", f"/api/migrations/sim/{verb}"] = (200, answer)
    assert main([verb, "sim", "--url", ebb.url]) == DONE
    ebb.answers["POST", f"/api/migrations/sim/{verb}"] = (409, {"detail": "cannot"})
    assert main([verb, "sim", "--url", ebb.url]) == MISUSED


def test_status_as_json_is_what_the_app_said(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON value, for programs."""
    ebb.answers["GET", "/api/migrations/sim"] = (200, a_status())
    assert main(["status", "sim", "--json", "--url", ebb.url]) == DONE
    assert json.loads(capsys.readouterr().out) == a_status()


def test_status_shows_all_migrations_as_a_table(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str]
) -> None:
    """Progress, pace and why; nothing registered is said as well."""
    ebb.answers["GET", "/api/migrations"] = (200, [a_status()])
    assert main(["status", "--url", ebb.url]) == DONE
    assert "registered" in capsys.readouterr().out
    ebb.answers["GET", "/api/migrations"] = (200, [])
    assert main(["status", "--url", ebb.url]) == DONE
    assert "ebb apply SPEC" in capsys.readouterr().out


def test_a_halted_quarantined_or_stalled_migration_is_a_problem(ebb: FakeEbb) -> None:
    """So that a script notices without reading."""
    for changes in (
        {"state": "halted"},
        {"quarantined": [{"slice": "s", "error": "e"}]},
        {"stalled_since_s": 0.0},
        {"stalled_since_s": 1_800_000_000.5},
        {"notifications_failed": {"ops": "answered 404"}},
    ):
        ebb.answers["GET", "/api/migrations/sim"] = (200, a_status(**changes))
        assert main(["status", "sim", "--url", ebb.url]) == PROBLEM


def test_the_status_table_says_that_a_migration_is_stalled(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the pace it may go at, which alone looks healthy; and only then."""
    monkeypatch.setenv("COLUMNS", "300")
    for since_s, counted in ((1_800_000_000.0, 1), (None, 0)):
        status = a_status(stalled_since_s=since_s, pace="spending up to 600 RU/s")
        ebb.answers["GET", "/api/migrations"] = (200, [status])
        main(["status", "--url", ebb.url])
        shown = capsys.readouterr().out
        assert shown.count("STALLED, though spending up to 600 RU/s") == counted
        assert "spending up to 600 RU/s" in shown


def test_the_status_table_names_who_was_not_told(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at the terminal may be the first to hear of it."""
    monkeypatch.setenv("COLUMNS", "300")
    status = a_status(notifications_failed={"ops": "answered 404"}, pace="halted: r")
    ebb.answers["GET", "/api/migrations"] = (200, [status])
    main(["status", "--url", ebb.url])
    assert "halted: r; NOT TOLD to ops" in capsys.readouterr().out


def test_watching_ends_when_the_migration_does(ebb: FakeEbb) -> None:
    """It follows until there is nothing more to see."""
    ebb.answers["GET", "/api/migrations/sim"] = (200, a_status(state="completed"))
    assert main(["status", "sim", "--watch", "--url", ebb.url]) == DONE


def test_watching_goes_on_while_the_app_restarts(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it has answered; each bad poll is told, and what is used wrongly still ends it."""
    answers = [(503, {"detail": "try again"}), (401, {}), (200, a_status(state="completed"))]
    asked = "GET", "/api/migrations/sim"
    polls = iter(answers)
    monkeypatch.setattr(
        "shared.terminal.migrations.time.sleep",
        lambda _s: ebb.answers.update({asked: next(polls)}),
    )
    ebb.answers[asked] = (200, a_status(state="running"))
    assert main(["status", "sim", "--watch", "--url", ebb.url]) == DONE
    shown = capsys.readouterr()
    assert "completed" in shown.out
    assert shown.err.count("asking again every 2 s") == 2
    polls = iter([(404, {"detail": "gone"})])
    ebb.answers[asked] = (200, a_status(state="running"))
    assert main(["status", "sim", "--watch", "--url", ebb.url]) == MISUSED
    ebb.answers[asked] = (503, {"detail": "never yet"})
    assert main(["status", "sim", "--watch", "--url", ebb.url]) == UNREACHABLE


def test_explain_tells_why_it_goes_at_this_pace(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str]
) -> None:
    """The present reason in one sentence, and the changes behind it."""
    decision = {
        "at_s": 1_800_000_000,
        "reason": "slack",
        "sentence": "spending up to 600 RU/s",
        "budget_ru_per_s": 600.0,
        "business_ru_per_s": 1000.0,
        "reading_age_s": 61.0,
        "own_ru_per_s": 500.0,
        "risk": 0.0123,
        "shares": {"sim": {"batch_documents": 77}},
    }
    same = {**decision, "at_s": 1_800_000_030}
    ebb.answers["GET", "/api/migrations/sim"] = (200, a_status(pace="the reason now"))
    ebb.answers["GET", "/api/migrations/sim/decisions"] = (200, [same, decision])
    assert main(["explain", "sim", "--url", ebb.url]) == DONE
    shown = capsys.readouterr().out
    assert "the reason now" in shown
    assert "1.2%" in shown
    assert shown.count("77") == 1
    assert "cut" not in shown
    ebb.headers["x-ebb-cut"] = "true"
    assert main(["explain", "sim", "--url", ebb.url]) == DONE
    told = " ".join(capsys.readouterr().out.split())
    assert "cut: the newest 2 decisions, back to 2027-01-15 08:00 UTC; older ones" in told


def test_explain_shows_what_is_not_known_as_a_dash(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first reading there is no business, no age and no risk."""
    decision = {
        "at_s": 1_800_000_000,
        "reason": "no_readings",
        "sentence": "holding",
        "budget_ru_per_s": 0.0,
        "business_ru_per_s": None,
        "reading_age_s": None,
        "own_ru_per_s": 0.0,
        "risk": None,
        "shares": {},
    }
    ebb.answers["GET", "/api/migrations/sim"] = (200, a_status())
    ebb.answers["GET", "/api/migrations/sim/decisions"] = (200, [decision])
    assert main(["explain", "sim", "--url", ebb.url]) == DONE
    assert capsys.readouterr().out.count("—") == 4


def test_an_app_that_does_not_answer_is_unreachable(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3, with what to check."""
    assert main(["status", "--url", "http://127.0.0.1:9"]) == UNREACHABLE
    assert "EBB_URL" in capsys.readouterr().err
    assert main(["status", "--url", "ftp://host"]) == UNREACHABLE


def test_a_refused_key_and_a_failing_app_are_unreachable_too(ebb: FakeEbb) -> None:
    """Nothing can be said about the migration."""
    for status in (401, 500, 503):
        ebb.answers["GET", "/api/migrations"] = (status, {"detail": "no"})
        assert main(["status", "--url", ebb.url]) == UNREACHABLE


def test_an_unknown_command_is_used_wrongly() -> None:
    """Argparse says which commands there are."""
    with pytest.raises(SystemExit) as caught:
        main(["explode"])
    assert caught.value.code == MISUSED


def test_the_doctor_says_what_to_fix(ebb: FakeEbb, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault is shown with its advice and exits as a problem; without one all is done."""
    ebb.answers["GET", "/api/doctor"] = (200, FINDINGS)
    assert main(["doctor", "--url", ebb.url]) == PROBLEM
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sound    ledger: 1 migrations"
    assert lines[1:3] == ["FAULTY   queue: [red] refused", "         → give the role"]
    assert lines[3] == "skipped  habits db/c: no workspace"
    ebb.answers["GET", "/api/doctor"] = (200, [FINDINGS[0], FINDINGS[2]])
    assert main(["doctor", "--url", ebb.url, "--json"]) == DONE
    assert json.loads(capsys.readouterr().out) == [FINDINGS[0], FINDINGS[2]]


def test_the_doctor_tells_settings_that_are_at_fault(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str]
) -> None:
    """An app that cannot be built answers with every fault, and the doctor passes them on."""
    ebb.answers["GET", "/api/doctor"] = (422, {"detail": "EBB_COSMOS_ENDPOINT: it is missing"})
    assert main(["doctor", "--url", ebb.url]) == MISUSED
    assert "EBB_COSMOS_ENDPOINT: it is missing" in capsys.readouterr().err


def test_the_status_table_tells_the_watermark_and_the_next_cycle(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to where all is proven, and when a schedule goes on."""
    status = a_status(
        state="completed", pace="done", watermark_s=1_800_000_000, next_cycle_s=1_800_086_400
    )
    ebb.answers["GET", "/api/migrations"] = (200, [status])
    assert main(["status", "--url", ebb.url]) == DONE
    cells = [line.split("│")[-2].strip() for line in capsys.readouterr().out.splitlines()[3:-1]]
    assert " ".join(cells) == (
        "done; proven up to 2027-01-15 08:00 UTC; next cycle 2027-01-16 08:00 UTC"
    )


class Broken(BaseHTTPRequestHandler):
    """Answers with the bytes its server was given, and closes."""

    said: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        self.wfile.write(self.said)

    def log_message(self, *_: Any) -> None:
        """Say nothing on stderr."""


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{",
        b"HTTP/1.1 503 Busy\r\ncontent-length: 1000\r\n\r\n{",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
    ],
)
def test_half_an_answer_is_unreachable(said: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """A restart cuts answers, and what stands before an app may speak for it."""
    handler = type("Cut", (Broken,), {"said": said})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            assert main(["status", "--url", url]) == UNREACHABLE
        finally:
            server.shutdown()
            thread.join()
    assert f"calling {url}: " in capsys.readouterr().err


@pytest.mark.parametrize("key", ["top\nsecret", "top\x1bsecret", "tøpsecret"])
def test_a_key_that_is_none_is_never_shown(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line break comes along easily when it is copied; one at its end is harmless."""
    assert main(["status", "--url", "http://127.0.0.1:1", "--key", key]) == UNREACHABLE
    told = capsys.readouterr()
    assert "function key" in told.err
    assert "secret" not in told.err + told.out
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        remote = Remote(f"http://127.0.0.1:{deaf.getsockname()[1]}", "secret\n")
        with pytest.raises(Unreachable, match="refused"):
            remote.call("GET", "migrations")


@pytest.mark.parametrize("url", ["", "http://", "http://a b", "http://[::1"])
def test_what_is_no_address_is_unreachable(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty EBB_URL is easily made by a script."""
    assert main(["status", "--url", url]) == UNREACHABLE
    assert "EBB_URL" in capsys.readouterr().err


@pytest.mark.parametrize("hours", ["nan", "inf", "-1", "2161", "many"])
def test_how_far_back_must_be_hours(hours: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Told before anything is asked."""
    with pytest.raises(SystemExit) as caught:
        main(["explain", "sim", f"--hours={hours}"])
    assert caught.value.code == MISUSED
    assert "--hours" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "wait_s"),
    [("status", 60.0), ("start sim", 60.0), ("doctor", 240.0), ("retire sim", 240.0)],
)
def test_what_may_take_long_is_waited_for(
    command: str, wait_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the 230 s after which the platform itself gives up, not before."""
    waits: list[float] = []

    def opened(_request: object, *, timeout: float) -> None:
        waits.append(timeout)
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib.request.urlopen", opened)
    assert main(command.split()) == UNREACHABLE
    assert waits == [wait_s]
