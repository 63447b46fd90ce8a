"""The pipeline of infra/adf through every one of its branches, run from the deployed JSON."""

import json
import time

import pytest

from shared.domain.runs import diu_hours
from tests.sandbox_factory.bench import COLLECTION, FOLDER, Bench
from tests.sandbox_factory.conftest import DOCUMENTS
from tests.sandbox_factory.ebb_stub import PROVEN, REFUSED, EbbStub, Reply, call_back

pytestmark = pytest.mark.node


def halted(bench: Bench, run_id: str) -> str:
    """The message of a run that ended by Halt, and by nothing else."""
    run = bench.ended(run_id)
    assert run.status == "Failed"
    (halt,) = bench.named(run_id, "Halt")
    assert halt.error["errorCode"] == "Halted"
    return str(run.message)


def test_a_slice_validated_at_once_ends_succeeded(bench: Bench, ebb: EbbStub) -> None:
    """The file holds every document, and Ebb was told all it needs."""
    run_id = bench.start(ebb)
    assert bench.ended(run_id).status == "Succeeded"
    (path,) = bench.files()
    rows = bench.rows(path)
    assert sorted(row["id"] for row in rows) == [f"d{n:02}" for n in range(DOCUMENTS)]
    assert list(rows[0]) == ["id", "pk", "_ts", "_etag", "document"]
    assert json.loads(rows[0]["document"])["text"] == "é" * 50
    (body,) = ebb.bodies
    assert body.pop("callBackUri").startswith(bench.sandbox.management_endpoint)
    assert diu_hours(body.pop("billing")) == pytest.approx(2 / 60)
    assert body == {
        "migration": "m",
        "slice": "s1",
        "fence": 4,
        "attempt": 1,
        "attemptsMax": 1,
        "batchSize": 12,
        "path": path,
        "runId": run_id,
        "rowsRead": DOCUMENTS,
        "rowsCopied": DOCUMENTS,
    }
    assert path.startswith(f"{FOLDER}/{run_id}.")
    assert ebb.headers[0]["x-functions-key"] == "a key"
    assert [run.activity_name for run in bench.activities(run_id)] == [
        "SetRunning",
        "UntilValidated",
        "NameAttempt",
        "CopySlice",
        "AskForProof",
        "TakeVerdict",
        "SettleAttempt",
        "HaltUnlessValidated",
    ]


def test_the_copy_reads_page_after_page_and_is_metered(bench: Bench, ebb: EbbStub) -> None:
    """Twelve documents in pages of five are three requests, counted under adf, with a bill."""
    bench.sandbox.admin.reset()
    billed = bench.sandbox.factory.bill()
    run_id = bench.start(ebb)
    bench.ended(run_id)
    total = bench.sandbox.admin.total("adf")
    assert (total.requests, total.throttled) == (3, 0)
    assert total.ru > 3 * 2.3
    (copied,) = bench.named(run_id, "CopySlice")
    wanted = {
        "rowsRead": DOCUMENTS,
        "rowsCopied": DOCUMENTS,
        "filesWritten": 1,
        "usedDataIntegrationUnits": 2,
        "dataWritten": len(bench.content(bench.files()[0])),
        "dataConsistencyVerification": {
            "VerificationResult": "Verified",
            "InconsistentData": "None",
        },
        "durationInQueue": {"integrationRuntimeQueue": 0},
    }
    assert {name: copied.output[name] for name in wanted} == wanted
    assert diu_hours(copied.output["billingReference"]) == pytest.approx(2 / 60)
    bill = bench.sandbox.factory.bill()
    assert bill.activity_runs - billed.activity_runs == 8
    assert bill.usd - billed.usd == pytest.approx(8 * 0.001 + 2 / 60 * 0.25, abs=1e-5)


def test_a_second_attempt_writes_a_second_file(bench: Bench, ebb: EbbStub) -> None:
    """What the first one wrote is not written over."""
    ebb.replies = [Reply(callback=dict(REFUSED)), Reply()]
    run_id = bench.start(ebb, attemptsMax=3)
    assert bench.ended(run_id).status == "Succeeded"
    assert len(bench.files()) == 2
    assert [body["attempt"] for body in ebb.bodies] == [1, 2]
    assert sorted(body["path"] for body in ebb.bodies) == bench.files()
    assert [run.status for run in bench.named(run_id, "AskForProof")] == ["Failed", "Succeeded"]


def test_a_slice_never_validated_ends_halted(bench: Bench, ebb: EbbStub) -> None:
    """After all attempts, with Ebb's own words in the activity runs."""
    ebb.replies = [Reply(callback=dict(REFUSED))]
    run_id = bench.start(ebb, attemptsMax=2)
    message = halted(bench, run_id)
    assert "slice s1 was not validated in 2 attempts; pipelineStatus is Failed" in message
    errors = [run.error for run in bench.named(run_id, "AskForProof")]
    assert [(e["errorCode"], e["message"]) for e in errors] == [
        ("Mismatch", "1 document differs")
    ] * 2
    assert bench.named(run_id, "UntilValidated")[0].status == "Succeeded"


def test_a_copy_that_fails_is_tried_again(bench: Bench, ebb: EbbStub) -> None:
    """Ebb is asked only about the second one."""
    bench.sandbox.factory.add_fault("copy_fails", times=1)
    run_id = bench.start(ebb, attemptsMax=2)
    assert bench.ended(run_id).status == "Succeeded"
    assert [run.status for run in bench.named(run_id, "CopySlice")] == ["Failed", "Succeeded"]
    assert [body["attempt"] for body in ebb.bodies] == [2]


def test_a_copy_that_always_fails_ends_halted(bench: Bench, ebb: EbbStub) -> None:
    """Ebb is never asked, and no failure is swallowed."""
    bench.sandbox.factory.add_fault("copy_fails", times=None)
    run_id = bench.start(ebb, attemptsMax=2)
    assert "was not validated in 2 attempts" in halted(bench, run_id)
    assert (ebb.bodies, bench.files()) == ([], [])
    (first, _) = bench.named(run_id, "CopySlice")
    assert first.error["errorCode"] == "2200"


def test_a_container_that_is_missing_ends_halted(bench: Bench, ebb: EbbStub) -> None:
    """The source's own refusal is in the Copy's error."""
    run_id = bench.start(ebb, collection="nowhere")
    halted(bench, run_id)
    (failed,) = bench.named(run_id, "CopySlice")
    assert "CosmosDbSqlApiOperationFailed" in failed.error["message"]
    assert "Status code: 404" in failed.error["message"]


@pytest.mark.parametrize("status", [409, 500])
def test_an_answer_of_failure_fails_the_attempt(bench: Bench, ebb: EbbStub, status: int) -> None:
    """Whatever is called back afterwards."""
    ebb.replies = [Reply(status=status, callback=None)]
    run_id = bench.start(ebb)
    halted(bench, run_id)
    (asked,) = bench.named(run_id, "AskForProof")
    assert asked.status == "Failed"
    assert f"HttpStatusCode {status}" in asked.error["message"]


def test_a_first_answer_after_a_minute_fails_the_attempt(bench: Bench, ebb: EbbStub) -> None:
    """The minute is 0.6 s here."""
    ebb.replies = [Reply(late_s=1.0, callback=None)]
    run_id = bench.start(ebb)
    halted(bench, run_id)
    assert "within one minute" in bench.named(run_id, "AskForProof")[0].error["message"]


def test_a_missing_callback_times_out(bench: Bench, ebb: EbbStub) -> None:
    """The activity is TimedOut, the next attempt starts, and in the end it halts."""
    ebb.replies = [Reply(callback=None)]
    name = bench.variant("short_wait", proof={"typeProperties.timeout": "00:00:40"})
    run_id = bench.start(ebb, name, attemptsMax=2)
    halted(bench, run_id)
    assert [run.status for run in bench.named(run_id, "AskForProof")] == ["TimedOut"] * 2


def test_a_callback_counts_once_and_not_when_it_is_late(bench: Bench, ebb: EbbStub) -> None:
    """The address is answered 404 as soon as nobody waits at it."""
    bench.ended(bench.start(ebb))
    assert ebb.callback_statuses == [200]
    address = ebb.bodies[0]["callBackUri"]
    assert call_back(address, dict(PROVEN), bench.sandbox.ca_file) == 404


def test_a_callback_without_a_status_succeeds(bench: Bench, ebb: EbbStub) -> None:
    """So Ebb must always say one when it refuses."""
    ebb.replies = [Reply(callback={})]
    assert bench.ended(bench.start(ebb)).status == "Succeeded"


def test_without_reporting_even_a_refusal_succeeds(bench: Bench, ebb: EbbStub) -> None:
    """The trap that reportStatusOnCallBack is there for."""
    ebb.replies = [Reply(callback=dict(REFUSED))]
    name = bench.variant("deaf", proof={"typeProperties.reportStatusOnCallBack": False})
    assert bench.ended(bench.start(ebb, name)).status == "Succeeded"


def test_a_run_cancelled_in_the_queue_does_nothing(bench: Bench, ebb: EbbStub) -> None:
    """It passes through Canceling, and leaves nothing."""
    bench.sandbox.factory.set_conduct(queue_s=1000.0)
    run_id = bench.start(ebb)
    assert bench.get(run_id).status == "Queued"
    bench.cancel(run_id)
    assert bench.get(run_id).status == "Canceling"
    assert bench.ended(run_id).status == "Cancelled"
    assert (bench.activities(run_id), bench.files()) == ([], [])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_run_cancelled_in_its_copy_may_leave_half_a_file(
    bench: Bench, ebb: EbbStub, share: float
) -> None:
    """What is there, if anything, is no Parquet file."""
    bench.sandbox.factory.set_conduct(page_delay_s=100.0, half_blob_share=share)
    bench.sandbox.admin.reset()
    run_id = bench.start(ebb)
    _wait_for_a_page(bench)
    bench.cancel(run_id)
    assert bench.ended(run_id).status == "Cancelled"
    assert [run.status for run in bench.named(run_id, "CopySlice")] == ["Cancelled"]
    assert len(bench.files()) == share
    for path in bench.files():
        assert not bench.content(path).endswith(b"PAR1")
    assert ebb.bodies == []
    assert bench.sandbox.admin.total("adf").requests < 3


def test_a_run_cancelled_while_it_waits_for_ebb_ends(bench: Bench, ebb: EbbStub) -> None:
    """And its callback comes too late."""
    ebb.replies = [Reply(callback=None)]
    run_id = bench.start(ebb)
    address = ebb.wait_until_asked()["callBackUri"]
    bench.cancel(run_id)
    assert bench.ended(run_id).status == "Cancelled"
    assert bench.named(run_id, "AskForProof")[0].status == "Cancelled"
    assert call_back(address, dict(PROVEN), bench.sandbox.ca_file) == 404


def test_a_zombie_stays_in_progress_and_writes_late(bench: Bench, ebb: EbbStub) -> None:
    """Its file appears after the cancel, under its own fence, and Ebb is asked about it."""
    bench.sandbox.factory.add_fault("zombie")
    bench.sandbox.factory.set_conduct(page_delay_s=20.0, zombie_s=60.0)
    bench.sandbox.admin.reset()
    run_id = bench.start(ebb)
    _wait_for_a_page(bench)
    bench.cancel(run_id)
    cancelled_s = time.monotonic()
    assert bench.get(run_id).status == "InProgress"
    assert bench.files() == []
    ebb.wait_until_asked()
    assert time.monotonic() - cancelled_s > 0.6
    assert len(bench.files()) == 1
    assert bench.ended(run_id).status == "Succeeded"


def test_a_copy_outlasts_nine_throttles_and_no_tenth(bench: Bench, ebb: EbbStub) -> None:
    """Nobody is told of the nine; the meter counts them."""
    for throttles, status in ((9, "Succeeded"), (10, "Failed")):
        bench.sandbox.admin.reset()
        bench.sandbox.admin.add_fault(
            "throttle_first_page", origin="adf", times=throttles, retry_after_ms=1
        )
        assert bench.ended(bench.start(ebb)).status == status
        assert bench.sandbox.admin.total("adf").throttled == throttles


def test_a_copy_that_takes_too_long_is_ended(bench: Bench, ebb: EbbStub) -> None:
    """By the policy's timeout, and the attempt counts."""
    bench.sandbox.factory.set_conduct(page_delay_s=100.0)
    name = bench.variant("impatient", copy_slice={"policy.timeout": "0.00:00:30"})
    run_id = bench.start(ebb, name)
    halted(bench, run_id)
    assert bench.named(run_id, "CopySlice")[0].status == "TimedOut"
    assert bench.files() == []


def test_the_pipeline_tells_its_version(bench: Bench) -> None:
    """By which a deployment of an older one is known."""
    found = bench.client.pipelines.get("rg-sandbox", "adf-sandbox", "ebb_copy_slice")
    assert found is not None
    assert found.as_dict()["properties"]["annotations"] == ["ebb", "ebb-pipeline-1"]


def _wait_for_a_page(bench: Bench) -> None:
    deadline_s = time.monotonic() + 15
    while bench.sandbox.admin.total("adf").requests == 0:
        assert time.monotonic() < deadline_s, f"{COLLECTION} was never read"
        time.sleep(0.02)
