"""What can go wrong with management calls and copies, each switched on as a fault."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceResponseError

from sandbox.errors import SandboxError
from sandbox.factory.conduct import CallFault, RunFault
from tests.sandbox_factory.bench import Bench
from tests.sandbox_factory.conftest import DOCUMENTS
from tests.sandbox_factory.ebb_stub import EbbStub

pytestmark = pytest.mark.node


@pytest.fixture
def impatient(bench: Bench) -> Iterator[Bench]:
    """The same factory through a client that repeats nothing."""
    policy = bench.client._config.retry_policy  # noqa: SLF001 - it is given at construction only
    assert policy is not None
    kept = policy.total_retries
    policy.total_retries = 0
    yield bench
    policy.total_retries = kept


def hits(bench: Bench) -> list[int]:
    """How often each fault was met."""
    return [fault["hit"] for fault in bench.sandbox.factory.state()["faults"]]


@pytest.mark.parametrize(
    ("fault", "status"), [("status_429", 429), ("status_500", 500), ("status_503", 503)]
)
def test_a_refused_call_has_no_effect(
    impatient: Bench, ebb: EbbStub, fault: CallFault, status: int
) -> None:
    """No run begins; a 429 says when to come back."""
    before = len(impatient.sandbox.factory.runs())
    impatient.sandbox.factory.add_fault(fault, kind="create_run")
    with pytest.raises(HttpResponseError) as refused:
        impatient.start(ebb)
    assert refused.value.status_code == status
    response: Any = refused.value.response
    assert ("Retry-After" in response.headers) == (status == 429)
    assert len(impatient.sandbox.factory.runs()) == before


@pytest.mark.parametrize("fault", ["status_429", "status_503"])
def test_the_client_repeats_a_refused_start_by_itself(
    bench: Bench, ebb: EbbStub, fault: CallFault
) -> None:
    """azure-core does so even for POST; the run begins once."""
    before = len(bench.sandbox.factory.runs())
    bench.sandbox.factory.add_fault(fault, kind="create_run")
    bench.ended(bench.start(ebb))
    assert hits(bench) == [1]
    assert len(bench.sandbox.factory.runs()) == before + 1


def test_a_lost_reply_hides_a_run_that_began(bench: Bench, ebb: EbbStub) -> None:
    """The caller gets an error and no id; the run goes on, and can be found by its parameters."""
    before = {run["runId"] for run in bench.sandbox.factory.runs()}
    bench.sandbox.factory.add_fault("lose_reply", kind="create_run")
    with pytest.raises(ServiceResponseError):
        bench.start(ebb, slice="lost")
    value = bench.client.pipeline_runs.query_by_factory(
        "rg-sandbox", "adf-sandbox", bench.span()
    ).value
    (lost,) = [run for run in value if run.run_id not in before]
    assert (lost.parameters or {})["slice"] == "lost"
    assert bench.ended(str(lost.run_id)).status == "Succeeded"


def test_a_lost_reply_to_a_cancel_cancels(bench: Bench, ebb: EbbStub) -> None:
    """The client asks once; what it asked for happens."""
    bench.sandbox.factory.set_conduct(queue_s=1000.0)
    run_id = bench.start(ebb)
    bench.sandbox.factory.add_fault("lose_reply", kind="cancel")
    with pytest.raises(ServiceResponseError):
        bench.cancel(run_id)
    assert bench.ended(run_id).status == "Cancelled"


def test_a_fault_meets_only_its_kind_and_its_turn(impatient: Bench, ebb: EbbStub) -> None:
    """The second question about a run here, and no other call."""
    impatient.sandbox.factory.add_fault("status_500", kind="get_run", after=1)
    run_id = impatient.start(ebb)
    impatient.get(run_id)
    with pytest.raises(HttpResponseError):
        impatient.get(run_id)
    impatient.ended(run_id)
    assert hits(impatient) == [1]


@pytest.mark.parametrize(
    ("fault", "rows"), [("drop_row", DOCUMENTS - 1), ("double_row", DOCUMENTS + 1)]
)
def test_a_copy_can_lose_or_double_a_row_and_know_nothing(
    bench: Bench, ebb: EbbStub, fault: RunFault, rows: int
) -> None:
    """Its own counts stay even: only who reads the file again finds it."""
    bench.sandbox.factory.add_fault(fault)
    bench.ended(bench.start(ebb))
    assert len(bench.rows(bench.files()[0])) == rows
    assert (ebb.bodies[0]["rowsRead"], ebb.bodies[0]["rowsCopied"]) == (DOCUMENTS, DOCUMENTS)


def test_a_copy_can_alter_a_document(bench: Bench, ebb: EbbStub) -> None:
    """One of them, with valid JSON around it."""
    bench.sandbox.factory.add_fault("alter_document")
    bench.ended(bench.start(ebb))
    documents = [json.loads(row["document"]) for row in bench.rows(bench.files()[0])]
    assert len([document for document in documents if "altered" in document]) == 1


def test_half_files_are_left_by_seed() -> None:
    """The same runs leave them again, and about as many as asked for."""
    from sandbox.factory.conduct import Conduct

    conduct, again = Conduct(half_blob_share=0.3, seed=7), Conduct(half_blob_share=0.3, seed=7)
    left = [conduct.leaves_half(str(n)) for n in range(500)]
    assert left == [again.leaves_half(str(n)) for n in range(500)]
    assert 100 < sum(left) < 200
    assert left != [Conduct(half_blob_share=0.3, seed=8).leaves_half(str(n)) for n in range(500)]


def test_only_the_shipped_pipeline_leaves_times_alone(bench: Bench, ebb: EbbStub) -> None:
    """With detectDatetime left out, an id that looks like a time is rewritten."""
    query = "SELECT '2024-01-02T03:04:05Z' AS id, c._ts FROM c WHERE c.id = 'd00'"
    harmful = bench.variant("dates", copy_slice={"typeProperties.source.detectDatetime": None})
    seen = {}
    for name in ("ebb_copy_slice", harmful):
        run_id = bench.start(ebb, name, query=query)
        bench.ended(run_id)
        ((row,),) = [bench.rows(path) for path in bench.files() if run_id in path]
        seen[name] = row["id"]
        assert (row["pk"], row["document"]) == (None, None)
    assert seen == {"ebb_copy_slice": "2024-01-02T03:04:05Z", harmful: "01/02/2024 03:04:05"}


def test_without_the_mapping_the_first_row_decides(bench: Bench, ebb: EbbStub) -> None:
    """Columns that only later documents have are gone."""
    name = bench.variant("unmapped", copy_slice={"typeProperties.translator": {}})
    query = "SELECT c.id, c.n = 0 ? undefined : c.n AS n FROM c"
    bench.ended(bench.start(ebb, name, query=query))
    rows = bench.rows(bench.files()[0])
    assert len(rows) == DOCUMENTS
    assert set(rows[0]) == {"id"}


def test_the_sandbox_refuses_unknown_controls(bench: Bench) -> None:
    """A misspelt fault or duration would otherwise test nothing."""
    with pytest.raises(SandboxError, match="is not known"):
        bench.sandbox.factory.add_fault("status_418")  # type: ignore[arg-type]
    with pytest.raises(SandboxError, match="there is answer_rows_max"):
        bench.sandbox.factory.set_conduct(speed=1)


def test_runs_wait_as_long_as_they_are_told(bench: Bench, ebb: EbbStub) -> None:
    """Ninety seconds in the queue are 0.9 s here."""
    bench.sandbox.factory.set_conduct(queue_s=90.0)
    began_s = time.monotonic()
    run_id = bench.start(ebb)
    bench.reaches(run_id, {"InProgress", "Succeeded"})
    assert 0.9 <= time.monotonic() - began_s < 5
