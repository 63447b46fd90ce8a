"""Expressions, containers and policies, run as small pipelines through the real client."""

import itertools
from typing import Any

import pytest

from tests.sandbox_factory.bench import Bench

pytestmark = pytest.mark.node

Data = dict[str, Any]


def sets(
    name: str, value: Any, *after: str, variable: str = "v", kind: str = "SetVariable"
) -> Data:
    """An activity that writes a variable."""
    return {
        "name": name,
        "type": kind,
        "dependsOn": [{"activity": a, "dependencyConditions": ["Succeeded"]} for a in after],
        "typeProperties": {"variableName": variable, "value": value},
    }


def fails(name: str, message: Any = "broken", *after: str) -> Data:
    """An activity that fails."""
    return {
        "name": name,
        "type": "Fail",
        "dependsOn": [{"activity": a, "dependencyConditions": ["Succeeded"]} for a in after],
        "typeProperties": {"message": message, "errorCode": "E1"},
    }


def ran(bench: Bench, *activities: Data, **parameters: Any) -> Any:
    """The end of a pipeline of these, with its activity runs as `activities`."""
    kinds = {int: "Int", str: "String", list: "Array", dict: "Object", bool: "Bool"}
    properties = {
        "activities": list(activities),
        "variables": {"v": {"type": "String"}, "list": {"type": "Array"}},
        "parameters": {name: {"type": kinds[type(v)]} for name, v in parameters.items()},
    }
    bench.deploy("small", {"properties": properties})
    run: Any = bench.ended(bench.run("small", **parameters))
    return run, bench.activities(run.run_id)


EXPRESSIONS: dict[str, tuple[Any, Any]] = {
    "a text": ("plain", "plain"),
    "an escaped at sign": ("@@plain", "@plain"),
    "a parameter keeps its type": ("@pipeline().parameters.number", 3),
    "an interpolation is text": ("n=@{pipeline().parameters.number}", "n=3"),
    "an expression object": ({"value": "@string(1)", "type": "Expression"}, "1"),
    "an at sign in a value": ("@pipeline().parameters.text", "@{not evaluated}"),
    "a quoted quote": ("@concat('it''s ', 'here')", "it's here"),
    "a part of an object": ("@pipeline().parameters.object.a[1]", "y"),
    "a condition": ("@if(greater(pipeline().parameters.number, 2), 'more', 'less')", "more"),
    "a missing value": ("@coalesce(variables('v'), 'none')", "none"),
    "the length of nothing": ("@length(json('[]'))", 0),
    "deep in a body": ({"a": ["@pipeline().Pipeline"]}, {"a": ["small"]}),
    "the factory's name": ("@pipeline().DataFactory", "adf-sandbox"),
}


def test_expressions_are_evaluated_as_azure_does(bench: Bench) -> None:
    """Each lands in an array, so that none hides another."""
    activities: list[Data] = []
    for number, (expression, _) in enumerate(EXPRESSIONS.values()):
        before = [activities[-1]["name"]] if activities else []
        activities.append(
            sets(f"A{number}", expression, *before, variable="list", kind="AppendVariable")
        )
    run, seen = ran(bench, *activities, number=3, text="@{not evaluated}", object={"a": ["x", "y"]})
    assert run.status == "Succeeded", run.message
    values = dict(zip(EXPRESSIONS, seen[-1].output["value"], strict=True))
    assert values == {name: wanted for name, (_, wanted) in EXPRESSIONS.items()}


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("@pipeline().parameters.missing", "missing"),
        ("@variables('missing')", "missing"),
        ("@activity('missing').output", "missing"),
        ("@int('x')", "int"),
        ("@concat('" + "x" * 8192 + "')", "the most is 8192"),
        ("@nosuch()", "nosuch"),
    ],
)
def test_an_expression_that_cannot_be_evaluated_fails_its_activity(
    bench: Bench, expression: str, why: str
) -> None:
    """With the engine's reason, and nothing is put in its place."""
    run, seen = ran(bench, sets("A", expression))
    assert (run.status, seen[0].status) == ("Failed", "Failed")
    assert why in seen[0].error["message"]


def test_a_failure_inside_an_if_fails_it(bench: Bench) -> None:
    """The emulating library leaves the parent succeeded; Azure does not."""
    choice: Data = {
        "name": "If",
        "type": "IfCondition",
        "typeProperties": {
            "expression": {"value": "@equals(1, 2)", "type": "Expression"},
            "ifTrueActivities": [fails("Never")],
            "ifFalseActivities": [fails("Broke", "@concat('broken ', string(1))")],
        },
    }
    run, seen = ran(bench, choice)
    assert run.status == "Failed"
    assert "Operation on target If failed" in run.message
    assert "Operation on target Broke failed: broken 1" in run.message
    assert [(a.activity_name, a.status) for a in seen] == [("If", "Failed"), ("Broke", "Failed")]
    assert seen[1].error["errorCode"] == "E1"


def test_an_if_without_the_chosen_branch_succeeds(bench: Bench) -> None:
    """There is nothing that could fail."""
    choice: Data = {
        "name": "If",
        "type": "IfCondition",
        "typeProperties": {
            "expression": {"value": "@equals(1, 2)", "type": "Expression"},
            "ifTrueActivities": [fails("Never")],
        },
    }
    assert ran(bench, choice)[0].status == "Succeeded"


def loop(*activities: Data, until: str, timeout: str = "0.01:00:00") -> Data:
    """An Until over some activities."""
    return {
        "name": "Loop",
        "type": "Until",
        "typeProperties": {
            "expression": {"value": until, "type": "Expression"},
            "timeout": timeout,
            "activities": list(activities),
        },
    }


def test_an_until_goes_on_after_an_inner_failure_and_fails_in_the_end(bench: Bench) -> None:
    """Unhandled failures neither stop it nor are forgotten."""
    grows = sets("Grow", "x", variable="list", kind="AppendVariable")
    first: Data = {
        "name": "FirstFails",
        "type": "IfCondition",
        "dependsOn": [{"activity": "Grow", "dependencyConditions": ["Succeeded"]}],
        "typeProperties": {
            "expression": {"value": "@equals(length(variables('list')), 1)", "type": "Expression"},
            "ifTrueActivities": [fails("Broke")],
        },
    }
    run, seen = ran(bench, loop(grows, first, until="@equals(length(variables('list')), 3)"))
    assert [a.status for a in seen if a.activity_name == "FirstFails"] == [
        "Failed",
        "Succeeded",
        "Succeeded",
    ]
    assert run.status == "Failed"


def test_an_until_that_never_ends_times_out(bench: Bench) -> None:
    """Its own timeout is scaled like everything else."""
    pause: Data = {"name": "W", "type": "Wait", "typeProperties": {"waitTimeInSeconds": 5}}
    run, seen = ran(bench, loop(pause, until="@equals(1, 2)", timeout="00:00:20"))
    assert run.status == "Failed"
    assert seen[0].status == "TimedOut"
    assert len(seen) > 2


def each(*activities: Data, sequential: bool = True) -> Data:
    """A ForEach over the parameter `items`."""
    return {
        "name": "Each",
        "type": "ForEach",
        "typeProperties": {
            "items": {"value": "@pipeline().parameters.items", "type": "Expression"},
            "isSequential": sequential,
            "activities": list(activities),
        },
    }


def test_a_for_each_sees_every_item(bench: Bench) -> None:
    """In order where it is sequential."""
    grows = sets("Grow", "@item()", variable="list", kind="AppendVariable")
    run, seen = ran(bench, each(grows), items=["a", "b", "c"])
    assert run.status == "Succeeded"
    assert seen[-1].output["value"] == ["a", "b", "c"]


def test_a_for_each_finishes_and_then_fails(bench: Bench) -> None:
    """One failing item fails it; the others are not left out."""
    broken: Data = {
        "name": "If",
        "type": "IfCondition",
        "typeProperties": {
            "expression": {"value": "@equals(item(), 'b')", "type": "Expression"},
            "ifTrueActivities": [fails("Broke")],
        },
    }
    run, seen = ran(bench, each(broken, sequential=False), items=["a", "b", "c"])
    assert run.status == "Failed"
    assert sorted(a.status for a in seen if a.activity_name == "If") == [
        "Failed",
        "Succeeded",
        "Succeeded",
    ]


def test_a_policy_repeats_a_failing_activity(bench: Bench) -> None:
    """Each time with a record of its own."""
    run, seen = ran(bench, {**fails("Again"), "policy": {"retry": 2, "retryIntervalInSeconds": 30}})
    assert run.status == "Failed"
    assert [a.as_dict()["retryAttempt"] for a in seen] == [None, 1, 2]
    gaps = [
        (later.activity_run_start - earlier.activity_run_end).total_seconds()
        for earlier, later in itertools.pairwise(seen)
    ]
    assert all(gap >= 0.29 for gap in gaps)


def test_a_skipped_activity_leaves_no_record(bench: Bench) -> None:
    """As on Azure's monitoring pages."""
    run, seen = ran(bench, fails("A"), sets("B", "x", "A"))
    assert run.status == "Failed"
    assert [a.activity_name for a in seen] == ["A"]
