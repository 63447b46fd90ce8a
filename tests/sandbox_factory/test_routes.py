"""The management routes as the real client calls them, and what is refused there."""

import copy
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.mgmt.datafactory.models import (
    AzureBlobStorageLinkedService,
    AzureBlobStorageLinkedServiceTypeProperties,
    CopyActivity,
    CopyActivityTypeProperties,
    CosmosDbSqlApiSource,
    DatasetResource,
    LinkedServiceReference,
    LinkedServiceResource,
    ParquetDataset,
    ParquetSink,
    Pipeline,
    PipelineResource,
    RunQueryFilter,
    RunQueryOrderBy,
)

from tests.sandbox_factory.bench import FACTORY, GROUP, Bench, activity, infra
from tests.sandbox_factory.ebb_stub import EbbStub

pytestmark = pytest.mark.node


def simple(*activities: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A pipeline of a few activities."""
    return {"properties": {"activities": list(activities), **more}}


def wait(name: str, *after: str) -> dict[str, Any]:
    """An activity that waits a second of Azure's time."""
    return {
        "name": name,
        "type": "Wait",
        "dependsOn": [{"activity": a, "dependencyConditions": ["Succeeded"]} for a in after],
        "typeProperties": {"waitTimeInSeconds": 1},
    }


def refusal(bench: Bench, pipeline: Any) -> str:
    """Why a pipeline is not taken."""
    with pytest.raises(HttpResponseError) as refused:
        bench.deploy("refused", pipeline)
    assert refused.value.status_code == 400
    return str(refused.value.message)


def test_the_factory_and_what_was_deployed_are_found(bench: Bench) -> None:
    """Whatever the case of a name, and listed too."""
    factory = bench.client.factories.get(GROUP, FACTORY)
    assert factory is not None
    assert factory.name == FACTORY
    found = bench.client.linked_services.get(GROUP, FACTORY, "EBB_cosmos")
    assert found is not None
    assert (found.name, bool(found.etag)) == ("ebb_cosmos", True)
    names = {each.name for each in bench.client.datasets.list_by_factory(GROUP, FACTORY)}
    assert names == {"ebb_documents", "ebb_parquet"}


def test_what_is_not_there_is_not_found(bench: Bench) -> None:
    """Neither a pipeline nor a run nor another factory."""
    with pytest.raises(ResourceNotFoundError):
        bench.client.pipelines.get(GROUP, FACTORY, "nothing")
    with pytest.raises(ResourceNotFoundError):
        bench.run("nothing")
    with pytest.raises(ResourceNotFoundError):
        bench.get("00000000-0000-0000-0000-000000000000")
    with pytest.raises(ResourceNotFoundError):
        bench.client.factories.get(GROUP, "another")


def test_what_was_deleted_is_not_found(bench: Bench) -> None:
    """Deleting it again is no error."""
    bench.deploy("passing", simple(wait("A")))
    for _ in range(2):
        bench.client.pipelines.delete(GROUP, FACTORY, "passing")
        with pytest.raises(ResourceNotFoundError):
            bench.client.pipelines.get(GROUP, FACTORY, "passing")


def test_the_route_wants_a_token(bench: Bench) -> None:
    """Without one the answer is 401, from the same endpoint that serves the metrics."""
    sandbox = bench.sandbox
    url = f"{sandbox.management_endpoint}{sandbox.factory_resource_id}?api-version=2018-06-01"
    trusted = ssl.create_default_context(cafile=str(sandbox.ca_file))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, context=trusted)  # noqa: S310 - loopback
    assert refused.value.code == 401
    refused.value.close()


def test_a_deployment_over_an_unseen_change_is_refused(bench: Bench) -> None:
    """Under the etag that was read it passes, and once only."""
    bench.deploy("changing", simple(wait("A")))
    seen = bench.client.pipelines.get(GROUP, FACTORY, "changing")
    assert seen is not None
    changed: Any = simple(wait("B"))
    condition: Any = {"etag": seen.etag, "match_condition": MatchConditions.IfNotModified}
    bench.client.pipelines.create_or_update(GROUP, FACTORY, "changing", changed, **condition)
    with pytest.raises(ResourceModifiedError):
        bench.client.pipelines.create_or_update(GROUP, FACTORY, "changing", changed, **condition)


def test_an_unchanged_resource_is_not_sent_again(bench: Bench) -> None:
    """The client gives none for 304."""
    seen = bench.client.pipelines.get(GROUP, FACTORY, "ebb_copy_slice")
    assert seen is not None
    again = bench.client.pipelines.get(
        GROUP,
        FACTORY,
        "ebb_copy_slice",
        etag=seen.etag,
        match_condition=MatchConditions.IfModified,
    )
    assert again is None


def test_a_typed_model_loses_its_type_and_is_refused(bench: Bench) -> None:
    """The client's bug, with advice; with its type set by hand the same model passes."""
    service = AzureBlobStorageLinkedService(
        type_properties=AzureBlobStorageLinkedServiceTypeProperties(
            service_endpoint="https://a.blob.core.windows.net/"
        )
    )
    with pytest.raises(HttpResponseError, match="pass plain dicts"):
        bench.deploy_service("typed", LinkedServiceResource(properties=service))
    reference = LinkedServiceReference(type="LinkedServiceReference", reference_name="ebb_blob")
    dataset = DatasetResource(properties=ParquetDataset(linked_service_name=reference))
    with pytest.raises(HttpResponseError, match="pass plain dicts"):
        bench.deploy_dataset("typed", dataset)
    typed = CopyActivity(
        name="C",
        type_properties=CopyActivityTypeProperties(
            source=CosmosDbSqlApiSource(query="SELECT * FROM c"), sink=ParquetSink()
        ),
    )
    pipeline = PipelineResource(properties=Pipeline(activities=[typed]))
    assert "has type 'Execution'" in refusal(bench, pipeline)
    typed.type = "Copy"
    bench.deploy("typed", PipelineResource(properties=Pipeline(activities=[typed])))


def test_a_reference_to_nothing_is_refused(bench: Bench) -> None:
    """Whatever is deployed must find what it names."""
    pipeline = copy.deepcopy(infra("pipeline", "ebb_copy_slice"))
    copied = activity(pipeline, "UntilValidated", "CopySlice")
    copied["inputs"][0]["referenceName"] = "nowhere"
    assert "invalid reference 'nowhere'" in refusal(bench, pipeline)


SETS: dict[str, Any] = {
    "name": "S",
    "type": "SetVariable",
    "typeProperties": {"variableName": "v", "value": "@add(variables('v'), 1)"},
}
LOOP: dict[str, Any] = {
    "name": "outer",
    "type": "Until",
    "typeProperties": {"activities": [{"name": "inner", "type": "ForEach", "typeProperties": {}}]},
}


@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        (simple(), "needs activities"),
        (simple(wait("A"), wait("A")), "each its own"),
        (simple(*(wait(f"A{n}") for n in range(41))), "the most is 40"),
        (simple(wait("A", "B")), "invalid dependency"),
        (simple(wait("A", "B"), wait("B", "A")), "depend on one another"),
        (simple({"name": "A", "type": "Execution"}), "pass plain dicts"),
        (simple(SETS), "not declared"),
        (simple(SETS, variables={"v": {"type": "String"}}), "self referencing variable"),
        (simple(LOOP), "neither ForEach nor Until"),
        ({"activities": []}, "has no properties"),
    ],
)
def test_a_pipeline_that_azure_would_not_take_is_refused(
    bench: Bench, pipeline: dict[str, Any], why: str
) -> None:
    """At deployment, not at the first run."""
    assert why in refusal(bench, pipeline)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fence": None}, "'fence' of pipeline ebb_copy_slice is not provided"),
        ({"fence": "four"}, "has type Int"),
        ({"slice": 7}, "has type String"),
        ({"speed": 1}, "has no parameter speed"),
    ],
)
def test_parameters_must_fit_the_declaration(
    bench: Bench, ebb: EbbStub, changes: dict[str, Any], why: str
) -> None:
    """And then no run begins."""
    before = len(bench.sandbox.factory.runs())
    with pytest.raises(HttpResponseError, match=why) as refused:
        bench.start(ebb, **changes)
    assert refused.value.status_code == 400
    assert len(bench.sandbox.factory.runs()) == before


def test_a_secret_parameter_is_shown_to_nobody(bench: Bench, ebb: EbbStub) -> None:
    """Neither in the run nor in the input of the activity that sends it."""
    run_id = bench.start(ebb)
    parameters = bench.ended(run_id).parameters or {}
    assert (parameters["callbackKey"], parameters["fence"]) == ("********", "4")
    assert "a key" not in str([each.as_dict() for each in bench.activities(run_id)])
    assert ebb.headers[0]["x-functions-key"] == "a key"


def test_a_run_by_reference_keeps_the_old_parameters(bench: Bench, ebb: EbbStub) -> None:
    """The trap: new ones given beside it are ignored."""
    first = bench.start(ebb)
    bench.ended(first)
    again = bench.client.pipelines.create_run(
        GROUP,
        FACTORY,
        "ebb_copy_slice",
        parameters={"fence": 5},
        reference_pipeline_run_id=first,
    ).run_id
    assert (bench.ended(again).parameters or {})["fence"] == "4"


def test_runs_are_found_by_filters_and_page_by_page(bench: Bench) -> None:
    """By name and status, in the order asked for, with a continuation."""
    bench.deploy("queried", simple(wait("A")))
    runs = [bench.run("queried") for _ in range(3)]
    for run_id in runs:
        bench.ended(run_id)
    bench.sandbox.factory.set_conduct(answer_rows_max=2)
    filters = (
        RunQueryFilter(operand="PipelineName", operator="Equals", values_property=["queried"]),
        RunQueryFilter(operand="Status", operator="In", values_property=["Succeeded", "Failed"]),
    )
    order: Any = {"order_by": [RunQueryOrderBy(order_by="RunStart", order="ASC")]}
    query = bench.client.pipeline_runs.query_by_factory
    first = query(GROUP, FACTORY, bench.span(*filters, **order))
    second = query(
        GROUP,
        FACTORY,
        bench.span(*filters, **order, continuation_token=first.continuation_token),
    )
    assert [run.run_id for run in [*first.value, *second.value]] == runs
    assert second.continuation_token is None
    none = RunQueryFilter(operand="Status", operator="NotEquals", values_property=["Succeeded"])
    assert query(GROUP, FACTORY, bench.span(filters[0], none)).value == []


def test_a_filter_that_does_not_exist_is_refused(bench: Bench) -> None:
    """There is none by a parameter: whoever looks for a slice looks at the runs."""
    strange = RunQueryFilter(operand="Parameter", operator="Equals", values_property=["s1"])
    with pytest.raises(HttpResponseError, match="operands are PipelineName"):
        bench.client.pipeline_runs.query_by_factory(GROUP, FACTORY, bench.span(strange))


def test_activities_are_found_by_filters(bench: Bench, ebb: EbbStub) -> None:
    """By their type."""
    run_id = bench.start(ebb)
    bench.ended(run_id)
    copies = RunQueryFilter(operand="ActivityType", operator="Equals", values_property=["Copy"])
    assert [a.activity_name for a in bench.activities(run_id, copies)] == ["CopySlice"]


def test_a_run_that_has_ended_cannot_be_cancelled(bench: Bench) -> None:
    """And keeps its status."""
    bench.deploy("short", simple(wait("A")))
    run_id = bench.run("short")
    bench.ended(run_id)
    with pytest.raises(HttpResponseError, match="is Succeeded already"):
        bench.cancel(run_id)
    assert bench.get(run_id).status == "Succeeded"


def test_a_run_keeps_the_pipeline_that_it_began_with(bench: Bench) -> None:
    """A deployment in between changes only later runs."""
    bench.sandbox.factory.set_conduct(queue_s=50.0)
    bench.deploy("replaced", simple(wait("Old")))
    run_id = bench.run("replaced")
    bench.deploy("replaced", simple(wait("New")))
    bench.ended(run_id)
    assert [run.activity_name for run in bench.activities(run_id)] == ["Old"]
