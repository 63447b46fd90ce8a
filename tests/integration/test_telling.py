"""Notices from a real migration, through the real queue trigger, to a receiver on loopback."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from sandbox.cosmos.backing import StoredDocument
from sandbox.processes import REPOSITORY
from sandbox.rehearsal import FunctionApp, HostOptions, function_app, status_of, wait_until
from sandbox.seeding import SeedPlan, seed_container
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from shared.application.notifying import SENDS_MAX
from shared.ports import NOTIFY_QUEUE
from tests.integration.conftest import DATABASE, RU_PER_S, Place

pytestmark = pytest.mark.node
FEW = SeedPlan(documents=60, usual_kb=4, burst_documents=0, large_share=0.0)
WITHIN_S = 60.0
TRIES_MAX = 2
TARGETS = {"night": "", "chat": "slack+", "team": "teams+", "hangs": ""}
HEARING = ("night", "chat", "team")
WAITING = '\\"waiting\\": [\\"gone\\"]'


@dataclass(slots=True)
class Receiver:
    """Keeps what it was told; whoever tells /hangs gets no answer before the end."""

    got: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {t: [] for t in TARGETS})
    ends: threading.Event = field(default_factory=threading.Event)
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                target = self.path.removeprefix("/")
                receiver.got[target].append(body)
                if target == "hangs":
                    receiver.ends.wait(WITHIN_S)
                    return
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Tests print nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    def settings(self, nobody: str) -> dict[str, str]:
        """Where each target is reached; `gone` is an address at which nobody listens."""
        told = {name: f"{shape}http://{self.host}/{name}" for name, shape in TARGETS.items()}
        return {
            "EBB_WEBHOOKS": json.dumps({**told, "gone": f"http://{nobody}/gone"}),
            "EBB_WEBHOOK_HOSTS": f"{self.host},{nobody}",
        }

    def has_heard(self, target: str, times: int) -> bool:
        return len(self.got[target]) == times

    def close(self) -> None:
        self.ends.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One of its own: another host on the same queues would know none of these targets."""
    with start_sandbox(SandboxOptions(ru_per_s=RU_PER_S, lag_s=1)) as running:
        yield running


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


@pytest.fixture(scope="module")
def app(
    sandbox: Sandbox, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FunctionApp]:
    """The app as it is, but a message that failed twice is poisoned, and none waits between."""
    app_dir = tmp_path_factory.mktemp("app")
    shutil.copy(REPOSITORY / "function_app.py", app_dir)
    (app_dir / "shared").symlink_to(REPOSITORY / "shared")
    config = json.loads((REPOSITORY / "host.json").read_text("utf-8"))
    hurried = {"maxDequeueCount": TRIES_MAX, "visibilityTimeout": "00:00:00"}
    config["extensions"]["queues"] |= hurried
    (app_dir / "host.json").write_text(json.dumps(config), "utf-8")
    silent = Receiver()
    silent.close()
    options = HostOptions(
        tick_schedule="*/1 * * * * *",
        time_scale=0.0034,
        app_dir=app_dir,
        settings=receiver.settings(silent.host),
    )
    with function_app(sandbox, options) as running:
        yield running


def seeded(sandbox: Sandbox, name: str) -> Place:
    found = seed_container(sandbox.backing, database=DATABASE, container=name, plan=FEW)
    place = Place(sandbox=sandbox, name=name, container=name, sink=f"of-{name}", seeded=found)
    sandbox.admin.tell_history(place.business(minutes=30))
    return place


def ended(app: FunctionApp, place: Place, *targets: str) -> dict[str, Any]:
    """The status of a migration with these targets, when it is complete or has halted."""
    spec = place.spec(notify=f"[{', '.join(targets)}]", slice="{budget_s: 8}")
    app.remote.call("PUT", f"migrations/{place.name}", spec)
    app.remote.call("POST", f"migrations/{place.name}/start")

    def holds() -> dict[str, Any] | None:
        status = status_of(app, place.name)
        return status if status["state"] in {"completed", "halted"} else None

    return wait_until(f"{place.name} ends", holds, within_s=WITHIN_S, of=app)


@pytest.fixture(scope="module")
def completed(sandbox: Sandbox, app: FunctionApp, receiver: Receiver) -> Place:
    """A migration that ended well, of which whoever can be told was told."""
    place = seeded(sandbox, "complete")
    status = ended(app, place, *HEARING, "gone")
    assert status["state"] == "completed", status["reason"]
    heard = [receiver.got[name] for name in HEARING]
    wait_until("everybody is told", lambda: all(heard), within_s=WITHIN_S, of=app)
    wait_until("gone waits", lambda: WAITING in app.log_text(), within_s=WITHIN_S, of=app)
    return place


def deliver(sandbox: Sandbox, said: dict[str, Any], target: str, *, sends: int = 1) -> None:
    """A letter as the app itself writes it: doubled, or on its last way."""
    letter = {"message": said, "targets": [target], "sends": sends}
    with QueueClient.from_connection_string(
        sandbox.storage_connection_string,
        NOTIFY_QUEUE,
        message_encode_policy=TextBase64EncodePolicy(),
    ) as client:
        client.send_message(json.dumps(letter))


def untold(app: FunctionApp, target: str) -> list[str]:
    found = app.remote.call("GET", "health")["incidents"]
    texts = [each["text"] for each in found if each["kind"] == "untold"]
    return [text for text in texts if text.startswith(f"{target} was not told: ")]


def letters_read(app: FunctionApp, said: dict[str, Any]) -> int:
    return app.log_text().count(f'notice {{\\"id\\": \\"{said["id"]}\\"')


def test_a_completed_migration_is_told_once_in_the_shape_of_each_receiver(
    sandbox: Sandbox, app: FunctionApp, receiver: Receiver, completed: Place
) -> None:
    """Plain JSON, a Slack text, a Teams card; a letter that comes again tells nobody again."""
    (said,) = receiver.got["night"]
    assert said["kind"] == said["topic"] == "completed"
    assert said["title"] == f"Ebb: {completed.name} is complete"
    assert said["facts"]["documents proven"] == completed.seeded.cold_documents
    assert said["runbook"].endswith("runbook.md#completed")
    (text,) = (each["text"] for each in receiver.got["chat"])
    assert text.startswith(f"*{said['title']}*\n{said['text']}")
    (card,) = (each["attachments"][0]["content"] for each in receiver.got["team"])
    assert [each["text"] for each in card["body"][:2]] == [said["title"], said["text"]]
    before = letters_read(app, said)
    deliver(sandbox, said, "night")
    wait_until(
        "it is read again", lambda: letters_read(app, said) > before, within_s=WITHIN_S, of=app
    )
    assert receiver.got["night"] == [said]


def test_a_halt_is_told_without_the_document_that_caused_it(
    sandbox: Sandbox, app: FunctionApp, receiver: Receiver
) -> None:
    """What is quarantined and what follows from it are two notices, each told once."""
    place = seeded(sandbox, "halting")
    deep = "[" * 230 + "]" * 230
    old_s = int(time.time()) - 400 * 86_400
    text = f'{{"id":"too-deep","customerId":"c","__sandbox_ts":{old_s},"deep":{deep}}}'
    stored = StoredDocument(key_json='["c"]', text=text.encode())
    sandbox.backing.store(DATABASE, place.container, [stored])
    status = ended(app, place, "night")
    assert "too-deep" in status["reason"]

    def heard() -> list[dict[str, Any]]:
        return [each for each in receiver.got["night"] if each["migration"] == place.name]

    wait_until("both are told", lambda: len(heard()) >= 2, within_s=WITHIN_S, of=app)
    assert sorted((each["kind"], each["topic"]) for each in heard()) == [
        ("halted", "only_quarantined"),
        ("quarantined", "quarantined"),
    ]
    assert "too-deep" not in json.dumps(heard())


def test_a_receiver_that_stays_away_is_given_up_and_kept(
    sandbox: Sandbox, app: FunctionApp, receiver: Receiver, completed: Place
) -> None:
    """On its last way a letter ends as an incident and in the status, without the address."""
    assert untold(app, "gone") == []
    said = receiver.got["night"][0]
    deliver(sandbox, said, "gone", sends=SENDS_MAX)
    wait_until("it is given up", lambda: untold(app, "gone"), within_s=WITHIN_S, of=app)
    (text,) = untold(app, "gone")
    assert text.startswith(f"gone was not told: {said['title']}; telling gone: no answer")
    assert "127.0.0.1" not in text
    assert list(status_of(app, completed.name)["notifications_failed"]) == ["gone"]


def test_a_letter_whose_workers_die_is_poisoned_and_kept(
    sandbox: Sandbox, app: FunctionApp, receiver: Receiver, completed: Place
) -> None:
    """Killed while it tells, as often as a message may be tried: nobody tries it once more."""
    said = receiver.got["night"][0]
    deliver(sandbox, said, "hangs")
    for tries in range(1, TRIES_MAX + 1):
        tried = partial(receiver.has_heard, "hangs", tries)
        wait_until(f"try {tries}", tried, within_s=WITHIN_S, of=app)
        app.kill()
        app.start()
    wait_until("it is kept", lambda: untold(app, "hangs"), within_s=WITHIN_S, of=app)
    failed = "its worker failed every time"
    assert untold(app, "hangs") == [f"hangs was not told: {said['title']}; {failed}"]
    assert status_of(app, completed.name)["notifications_failed"]["hangs"] == failed
    assert receiver.got["hangs"] == [said] * TRIES_MAX
