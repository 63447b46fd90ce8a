"""Ebb's own adapter on a factory over https: what it starts, finds, cancels, counts and refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential

from sandbox.factory.conduct import CallKind
from shared.adapters import datafactory
from shared.adapters.datafactory import AzureFactory, FactoryPlace, NoFactory
from shared.domain.runs import ACTIVITIES_PER_ATTEMPT, ACTIVITIES_PER_RUN, Order, Run, RunState
from shared.domain.slices import Extent, FeedRange, Window
from shared.errors import EbbError, NotFound, PermanentError, Throttled, TransientError
from shared.terminal.factory import parts
from tests.sandbox_factory.bench import COLLECTION, CONTAINER, DATABASE, FACTORY, GROUP, Bench
from tests.sandbox_factory.ebb_stub import EbbStub

pytestmark = pytest.mark.node


def order(**changes: Any) -> Order:
    usual: dict[str, Any] = {
        "migration": "m",
        "slice_id": "s1",
        "fence": 4,
        "database": DATABASE,
        "container": COLLECTION,
        "extent": Extent(
            window=Window(lo_s=0, hi_s=9_999_999_999), range=FeedRange(id="all", token="{}")
        ),
        "where": None,
        "sink": f"{CONTAINER}/some/prefix",
        "folder": "incoming/s1.4",
        "documents": 12,
        "page_documents": 5,
        "attempts_max": 1,
    }
    return Order(**(usual | changes))


@pytest.fixture
def factory(bench: Bench, ebb: EbbStub) -> Iterator[AzureFactory]:
    storage = bench.sandbox.storage
    assert storage is not None
    with pytest.MonkeyPatch.context() as environment:
        for name, value in bench.sandbox.identity_settings().items():
            environment.setenv(name, value)
        place = FactoryPlace(
            resource_id=bench.sandbox.factory_resource_id,
            management_endpoint=bench.sandbox.management_endpoint,
            callback_url=ebb.url.rpartition("/api/")[0] or ebb.url,
            callback_key="a key",
            cosmos_endpoint=bench.sandbox.cosmos_endpoint,
            blob_endpoint=storage.blob_endpoint,
        )
        yield AzureFactory(
            place, credential=ManagedIdentityCredential(), ca_file=str(bench.sandbox.ca_file)
        )


def ended(factory: AzureFactory, run_id: str, within_s: float = 20.0) -> Run:
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        run = factory.run(run_id)
        if run is not None and not run.live:
            return run
        time.sleep(0.1)
    pytest.fail(f"run {run_id} did not end")


def test_deploying_brings_everything_that_a_run_needs(factory: AzureFactory, bench: Bench) -> None:
    """From the files of infra/adf, with this app's own addresses, and harmless to repeat."""
    for _ in range(2):
        for part in parts():
            factory.deploy(part)
    factory.check()
    told = bench.client.linked_services.get(GROUP, FACTORY, "ebb_cosmos")
    assert told is not None
    assert bench.sandbox.cosmos_endpoint in str(told.as_dict())


def test_a_run_is_found_with_its_slice_and_fence(factory: AzureFactory, ebb: EbbStub) -> None:
    """By listing and by its id; its file lies under the sink's prefix; its cost is counted."""
    since_s = time.time() - 60
    run_id = factory.start(order())
    run = ended(factory, run_id)
    assert (run.migration, run.slice_id, run.fence) == ("m", "s1", 4)
    assert run.state is RunState.SUCCEEDED
    assert run.ended_at_s is not None
    assert run.started_at_s <= run.ended_at_s
    assert run in factory.runs(since_s=since_s)
    (asked,) = ebb.bodies
    assert asked["path"].startswith("some/prefix/incoming/s1.4/")
    cost = factory.cost(run)
    assert cost.activity_runs == ACTIVITIES_PER_RUN + ACTIVITIES_PER_ATTEMPT
    assert cost.diu_hours > 0


def test_a_cancelled_run_ends_and_may_be_cancelled_again(
    factory: AzureFactory, bench: Bench
) -> None:
    """Also when it ended long ago, and when nobody knows it."""
    bench.sandbox.factory.set_conduct(page_delay_s=100.0)
    run_id = factory.start(order())
    factory.cancel(run_id)
    assert ended(factory, run_id).state is RunState.CANCELLED
    factory.cancel(run_id)
    factory.cancel("00000000-0000-0000-0000-000000000000")
    assert factory.run("00000000-0000-0000-0000-000000000000") is None


def test_a_lost_reply_to_a_start_leaves_a_run_that_is_found(
    factory: AzureFactory, bench: Bench
) -> None:
    """By its slice and fence, for nobody knows its id."""
    bench.sandbox.factory.add_fault("lose_reply", kind="create_run")
    with pytest.raises(TransientError):
        factory.start(order(slice_id="lost", folder="incoming/lost.4"))
    found = [run for run in factory.runs(since_s=time.time() - 60) if run.slice_id == "lost"]
    assert len(found) == 1


@pytest.mark.parametrize(
    ("fault", "kind"), [("status_429", Throttled), ("status_503", TransientError)]
)
@pytest.mark.parametrize(
    "call", ["create_run", "query_runs", "get_run", "cancel", "query_activities"]
)
def test_a_busy_or_broken_factory_is_transient(
    factory: AzureFactory, bench: Bench, call: CallKind, fault: Any, kind: type[EbbError]
) -> None:
    """And never retried in secret: the next tick asks again."""
    run = ended(factory, factory.start(order()))
    asks: dict[str, Callable[[], object]] = {
        "create_run": lambda: factory.start(order()),
        "query_runs": lambda: factory.runs(since_s=0.0),
        "get_run": lambda: factory.run(run.id),
        "cancel": lambda: factory.cancel(run.id),
        "query_activities": lambda: factory.cost(run),
    }
    bench.sandbox.factory.add_fault(fault, kind=call)
    with pytest.raises(kind):
        asks[call]()


def test_an_older_or_missing_pipeline_is_named_with_what_mends_it(
    factory: AzureFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both before a migration may begin."""
    (pipeline,) = (part for part in parts() if part.kind == "pipeline")
    older = {**pipeline.properties, "annotations": ["ebb", "ebb-pipeline-0"]}
    factory.deploy(replace(pipeline, properties=older))
    try:
        with pytest.raises(PermanentError, match=r"ebb-pipeline-1; deploy it with 'ebb adf deploy"):
            factory.check()
    finally:
        factory.deploy(pipeline)
    factory.check()
    monkeypatch.setattr(datafactory, "PIPELINE", "never_deployed")
    with pytest.raises(NotFound, match="ebb adf deploy"):
        factory.check()


def test_without_a_factory_nothing_can_be_ordered() -> None:
    """And nothing is found running; the error says which settings are missing."""
    none = NoFactory()
    for ask in (none.check, lambda: none.start(order()), lambda: none.deploy(parts()[0])):
        with pytest.raises(PermanentError, match="EBB_FACTORY_RESOURCE_ID"):
            ask()
    assert none.runs(since_s=0.0) == ()
    assert none.run("x") is None
