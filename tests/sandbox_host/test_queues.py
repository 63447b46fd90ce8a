"""What happens to queue messages, against the real runtime and the real Azurite."""

import base64
import json
import shutil
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from sandbox.azurite import start_azurite
from sandbox.processes import Processes, find_node_modules
from tests.sandbox_host.conftest import SAMPLE_APP, RunningHost, Start, wait_until

pytestmark = pytest.mark.node


def _tries(host: RunningHost, text: str) -> list[int]:
    return [note["dequeue_count"] for note in host.notes("work") if note["text"] == text]


def _count(host: RunningHost, name: str = "") -> int:
    with host.queue(name) as queue:
        return queue.get_queue_properties().approximate_message_count or 0


def _send(host: RunningHost, *texts: str) -> None:
    with host.queue() as queue:
        for text in texts:
            queue.send_message(text)


def test_a_message_that_succeeds_runs_once_and_is_deleted(shared_host: RunningHost) -> None:
    """The function sees the message as azure.functions describes it."""
    _send(shared_host, "ok:ü")
    wait_until(lambda: _tries(shared_host, "ok:ü"), "the message")
    wait_until(lambda: _count(shared_host) == 0, "its deletion")
    (note,) = [note for note in shared_host.notes("work") if note["text"] == "ok:ü"]
    assert note["dequeue_count"] == 1
    assert note["id"]
    assert note["pop_receipt"]
    assert note["inserted"] < note["next_visible"] < note["expires"]


def test_a_failing_message_is_tried_again_until_it_succeeds(shared_host: RunningHost) -> None:
    """The dequeue count tells each try from the last."""
    _send(shared_host, "fail:2")
    wait_until(lambda: len(_tries(shared_host, "fail:2")) == 3, "the third try")
    assert _tries(shared_host, "fail:2") == [1, 2, 3]


def test_a_message_that_never_succeeds_ends_in_the_poison_queue(shared_host: RunningHost) -> None:
    """After maxDequeueCount tries it is moved, unchanged, to a queue made for it."""
    _send(shared_host, "fail:99")
    wait_until(lambda: shared_host.notes("buried"), "the poison queue's function")
    assert shared_host.events("poisoned")[0]["dequeue_count"] == 3
    assert shared_host.notes("buried")[0]["text"] == "fail:99"
    assert _tries(shared_host, "fail:99") == [1, 2, 3]
    wait_until(lambda: _count(shared_host) == 0, "its deletion")


def test_a_message_that_is_not_base64_is_poisoned_at_once(shared_host: RunningHost) -> None:
    """At its first receive and without a run; the poison queue's function never sees it either."""
    poison = f"{shared_host.queue_name}-poison"
    with QueueClient.from_connection_string(shared_host.storage, shared_host.queue_name) as queue:
        sent = queue.send_message("not base64!")

    def undecodable() -> list[str]:
        return [e["queue"] for e in shared_host.events("message_undecodable")]

    wait_until(lambda: poison in undecodable(), "its receipt from the poison queue")
    assert undecodable()[:2] == [shared_host.queue_name, poison]
    assert "messageEncoding" in shared_host.events("message_undecodable")[0]["error"]
    moved = [e for e in shared_host.events("poisoned") if e["message_id"] == sent.id]
    assert [event["dequeue_count"] for event in moved] == [1]
    texts = [note["text"] for name in ("work", "buried") for note in shared_host.notes(name)]
    assert "not base64!" not in texts


def test_a_message_that_is_no_text_is_tried_without_a_run(shared_host: RunningHost) -> None:
    """A Python trigger binds text: the function is never called, the tries are used up."""
    with QueueClient.from_connection_string(shared_host.storage, shared_host.queue_name) as queue:
        sent = queue.send_message(base64.b64encode(b"\xff\xfe").decode())

    def poisonings() -> list[int]:
        moved = [e for e in shared_host.events("poisoned") if e["message_id"] == sent.id]
        return [event["dequeue_count"] for event in moved]

    wait_until(poisonings, "the poisoning")
    assert poisonings() == [3]
    failed = [e for e in shared_host.events("binding_failed") if e["message_id"] == sent.id]
    assert len(failed) == 3


def test_a_failure_on_a_poison_queue_hides_the_message_for_its_lease(
    shared_host: RunningHost,
) -> None:
    """No release, no limit of tries, no further poison queue: the fourth try is past the limit."""
    poison = f"{shared_host.queue_name}-poison"
    with shared_host.queue(poison) as queue:
        queue.send_message("unlucky:3")

    def buried() -> list[dict[str, Any]]:
        return [note for note in shared_host.notes("buried") if note["text"] == "unlucky:3"]

    wait_until(lambda: len(buried()) == 4, "the fourth try")
    assert [note["dequeue_count"] for note in buried()] == [1, 2, 3, 4]
    gaps = [b["at_s"] - a["at_s"] for a, b in pairwise(buried())]
    assert all(gap >= 1.0 for gap in gaps)  # a lease of 2 s in whole seconds, not a release
    with pytest.raises(ResourceNotFoundError):
        _count(shared_host, f"{poison}-poison")


def test_no_more_messages_run_at_once_than_host_json_allows(start: Start) -> None:
    """BatchSize 2 and newBatchThreshold 1 make 3 at once, and never more."""
    host = start()
    _send(host, "sleep:1.0", "sleep:0.1", *["sleep:0.3"] * 6)
    wait_until(lambda: len(host.notes("worked")) == 8, "all eight messages")
    moments = [(note["at_s"], 1) for note in host.notes("work")]
    moments += [(note["at_s"], -1) for note in host.notes("worked")]
    running, most = 0, 0
    for _, change in sorted(moments):
        running += change
        most = max(most, running)
    assert most == 3


def test_a_lease_is_renewed_for_as_long_as_the_function_runs(start: Start) -> None:
    """A run of several leases stays the only one."""
    host = start()
    _send(host, "sleep:4.2")
    wait_until(lambda: host.notes("worked"), "the end of the run")
    wait_until(lambda: _count(host) == 0, "the deletion of its message")
    assert _tries(host, "sleep:4.2") == [1]
    assert host.events("lease_lost") == []


def test_a_message_reappears_after_kill_9_when_its_lease_runs_out(start: Start) -> None:
    """Nothing is lost with the host: the next one runs the message again, as a second try."""
    first = start()
    _send(first, "sleep:1")
    wait_until(lambda: first.notes("work"), "the first try")
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    second = start()
    wait_until(lambda: second.notes("worked"), "the second try's end")
    tries = second.notes("work")
    assert [note["dequeue_count"] for note in tries] == [1, 2]
    assert tries[0]["pid"] != tries[1]["pid"]
    assert tries[1]["at_s"] - tries[0]["at_s"] >= 1


def test_sigterm_lets_a_running_message_end_and_takes_no_other(start: Start) -> None:
    """The message under way is finished and deleted; the others stay for the next host."""
    host = start()
    _send(host, "sleep:0.7")
    wait_until(lambda: host.notes("work"), "the run")
    host.process.send_signal(signal.SIGTERM)
    wait_until(lambda: host.events("draining"), "the drain")
    _send(host, "ok:late")
    assert host.process.wait(20) == 0
    assert [note["text"] for note in host.notes("worked")] == ["sleep:0.7"]
    assert host.texts("") == ["ok:late"]
    assert host.events("stopped")[0].get("abandoned") is None


def test_sigterm_abandons_what_outlasts_the_drain_limit(start: Start) -> None:
    """The exit is clean and prompt; the message comes back when its lease runs out."""
    host = start("--drain-s", "0.2")
    _send(host, "sleep:15")
    wait_until(lambda: host.notes("work"), "the run")
    assert host.stop() == 0
    assert host.events("stopped")[0]["abandoned"] == ["work"]
    assert host.notes("worked") == []
    assert _count(host) == 1


def test_a_queue_that_vanishes_is_not_made_by_its_listener(start: Start) -> None:
    """The listener outlives the loss, and goes on when somebody makes the queue."""
    host = start()
    with host.queue() as queue:
        queue.delete_queue()
        wait_until(lambda: host.events("queue_unreachable"), "the loss")
        with pytest.raises(ResourceNotFoundError):
            _count(host)
        queue.create_queue()
    _send(host, "ok:again")
    wait_until(lambda: _tries(host, "ok:again"), "the message")


def test_storage_that_is_gone_ends_the_host(start: Start, tmp_path: Path) -> None:
    """Six tries within 25 s (here scaled), then the process ends with exit code 1."""
    with Processes() as processes:
        azurite = start_azurite(processes, find_node_modules())
        host = start(SampleStorage=azurite.connection_string)
        assert host.process.poll() is None
    assert host.process.wait(20) == 1
    assert "receiving from queue" in host.events("listener_failed")[0]["error"]


def test_a_function_that_outlasts_its_timeout_takes_the_worker_with_it(
    start: Start, tmp_path: Path
) -> None:
    """All that the worker ran fails and is tried again; the host goes on at its address."""
    app = tmp_path / "app"
    shutil.copytree(SAMPLE_APP, app)
    config = json.loads((app / "host.json").read_text("utf-8"))
    config["functionTimeout"] = "00:00:02"
    (app / "host.json").write_text(json.dumps(config), "utf-8")
    host = start(app=app)
    _send(host, "sleep:30")
    wait_until(lambda: host.notes("work"), "the long run")
    time.sleep(1.0)  # so that the other's time is not over as well
    _send(host, "sleep:1.9")
    wait_until(lambda: len(host.events("ready")) >= 2, "the new worker")
    failed = [e["error"] for e in host.events("invocation") if e["outcome"] == "failed"]
    assert sum("timeout of 2 s exceeded" in error for error in failed[:2]) == 1
    assert "the worker was restarted while it ran" in failed
    wait_until(lambda: _tries(host, "sleep:1.9")[:2] == [1, 2], "the other's second try")
    assert host.process.poll() is None
    wait_until(lambda: host.notes("buried"), "the poisoning of what never ends")


def test_messages_travel_as_text_where_host_json_says_none(start: Start, tmp_path: Path) -> None:
    """Without an encoding even base64 is only text."""
    app = tmp_path / "app"
    shutil.copytree(SAMPLE_APP, app)
    config = json.loads((app / "host.json").read_text("utf-8"))
    config["extensions"]["queues"]["messageEncoding"] = "none"
    (app / "host.json").write_text(json.dumps(config), "utf-8")
    host = start(app=app)
    text = base64.b64encode(b"ok").decode()
    with QueueClient.from_connection_string(host.storage, host.queue_name) as queue:
        queue.send_message(text)
    wait_until(lambda: _tries(host, text), "the message")
