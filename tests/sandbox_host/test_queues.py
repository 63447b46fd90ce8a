"""What happens to queue messages, against the real runtime and the real Azurite."""

import base64
import json
import shutil
import signal
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

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


def test_a_return_value_bound_to_a_queue_is_written_to_it(shared_host: RunningHost) -> None:
    """$return is an output like any other."""
    _send(shared_host, "ok:return")
    wait_until(lambda: "done ok:return" in shared_host.texts("sample-answers"), "the answer")


def test_a_failing_message_is_tried_again_until_it_succeeds(shared_host: RunningHost) -> None:
    """The dequeue count tells each try from the last."""
    _send(shared_host, "fail:2")
    wait_until(lambda: "done fail:2" in shared_host.texts("sample-answers"), "success")
    assert _tries(shared_host, "fail:2") == [1, 2, 3]


def test_a_message_that_never_succeeds_ends_in_the_poison_queue(shared_host: RunningHost) -> None:
    """After maxDequeueCount tries it is moved, unchanged, to a queue made for it."""
    _send(shared_host, "fail:99")
    poison = f"{shared_host.queue_name}-poison"
    wait_until(lambda: shared_host.events("poisoned"), "the poisoning")
    assert shared_host.events("poisoned")[0]["dequeue_count"] == 3
    assert "fail:99" in shared_host.texts(poison)
    assert _tries(shared_host, "fail:99") == [1, 2, 3]
    wait_until(lambda: _count(shared_host) == 0, "its deletion")


def test_a_message_that_is_not_base64_is_poisoned_without_a_run(shared_host: RunningHost) -> None:
    """The text goes to poison as it came, and the log says which encoding was expected."""
    before = len(shared_host.notes("work"))
    poison = f"{shared_host.queue_name}-poison"
    with QueueClient.from_connection_string(shared_host.storage, shared_host.queue_name) as queue:
        queue.send_message("not base64!")
    with QueueClient.from_connection_string(shared_host.storage, poison) as queue:
        wait_until(
            lambda: any(m.content == "not base64!" for m in queue.peek_messages(32)), "the poison"
        )
    assert len(shared_host.notes("work")) == before
    assert "messageEncoding" in shared_host.events("message_undecodable")[0]["error"]


def test_outputs_are_written_when_the_function_succeeds(shared_host: RunningHost) -> None:
    """One string is one message, a list is one message an item, all base64 as they travel."""
    with shared_host.queue("sample-many") as queue:
        assert shared_host.call("POST", "/api/send", data=b"ok:sent").status_code == 202
        sent = [queue.receive_message() for _ in range(3)]
    assert sorted(message.content for message in sent if message) == ["a", "b", "ü"]
    wait_until(lambda: _tries(shared_host, "ok:sent"), "the message that was sent")


def test_outputs_are_not_written_when_the_function_fails(shared_host: RunningHost) -> None:
    """A function that raises has done nothing."""
    answer = shared_host.call("POST", "/api/send?then=fail", data=b"ok:unsent")
    assert answer.status_code == 500
    assert shared_host.call("POST", "/api/send", data=b"ok:after").status_code == 202
    wait_until(lambda: _tries(shared_host, "ok:after"), "a later message")
    assert _tries(shared_host, "ok:unsent") == []


def test_an_output_too_large_for_a_message_fails_the_invocation(shared_host: RunningHost) -> None:
    """A message that storage would refuse is an error of the function, told in the log."""
    answer = shared_host.call("POST", "/api/send", data=b"x" * 50_000)
    assert answer.status_code == 500
    failed = [
        e for e in shared_host.events("invocation") if "writing the out" in e.get("error", "")
    ]
    assert "65536 bytes" in failed[-1]["error"]


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
    host = start("--queue-lease-s", "1")
    _send(host, "sleep:2.2")
    wait_until(lambda: host.notes("worked"), "the end of the run")
    wait_until(lambda: _count(host) == 0, "the deletion of its message")
    assert _tries(host, "sleep:2.2") == [1]
    assert host.events("lease_lost") == []


def test_a_message_reappears_after_kill_9_when_its_lease_runs_out(start: Start) -> None:
    """Nothing is lost with the host: the next one runs the message again, as a second try."""
    first = start("--queue-lease-s", "2")
    _send(first, "sleep:1")
    wait_until(lambda: first.notes("work"), "the first try")
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    second = start("--queue-lease-s", "2")
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


def test_a_queue_that_vanishes_is_made_again(shared_host: RunningHost) -> None:
    """The listener survives the loss of its queue."""
    with shared_host.queue() as queue:
        queue.delete_queue()
    wait_until(lambda: _exists(shared_host), "the queue")
    _send(shared_host, "ok:again")
    wait_until(lambda: _tries(shared_host, "ok:again"), "the message")


def _exists(host: RunningHost) -> bool:
    try:
        return _count(host) == 0
    except ResourceNotFoundError:
        return False


def test_messages_travel_as_text_where_host_json_says_none(start: Start, tmp_path: Path) -> None:
    """Without an encoding even base64 is only text, in and out."""
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
    with QueueClient.from_connection_string(host.storage, "sample-answers") as answers:
        wait_until(
            lambda: any(m.content == f"done {text}" for m in answers.peek_messages(32)), "answer"
        )
