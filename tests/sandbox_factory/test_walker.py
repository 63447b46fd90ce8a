"""Which activities run and how a pipeline ends, by Azure's published rules."""

import asyncio
from typing import Any

import pytest

from sandbox.factory.walker import Outcome, walk

Data = dict[str, Any]


def after(name: str, *dependencies: tuple[str, str]) -> Data:
    """An activity that comes after others; a dependency's conditions are separated by bars."""
    return {
        "name": name,
        "dependsOn": [
            {"activity": other, "dependencyConditions": conditions.split("|")}
            for other, conditions in dependencies
        ],
    }


def walked(*activities: Data, failing: str = "") -> tuple[list[str], Outcome]:
    """The activities that ran, in order, and how it ended, where those named by letters fail."""
    ran: list[str] = []

    async def perform(activity: Data) -> str:
        ran.append(activity["name"])
        await asyncio.sleep(0)
        return "Failed" if activity["name"] in failing else "Succeeded"

    return ran, asyncio.run(walk(activities, perform))


@pytest.mark.parametrize(
    ("activities", "ran", "culprit"),
    [
        ([after("A"), after("B", ("A", "Failed"))], "AB", ""),
        ([after("A"), after("B", ("A", "Succeeded"))], "A", "A"),
        ([after("A"), after("B", ("A", "Succeeded")), after("C", ("A", "Failed"))], "AC", "A"),
        (
            [
                after("A"),
                after("B", ("A", "Succeeded")),
                after("C", ("A", "Failed")),
                after("D", ("B", "Skipped")),
            ],
            "ACD",
            "",
        ),
        ([after("A"), after("B", ("A", "Completed"))], "AB", ""),
        ([after("A"), after("B", ("A", "Skipped"))], "A", "A"),
        ([after("A"), after("B", ("A", "Succeeded|Failed|Skipped"))], "AB", ""),
    ],
    ids=[
        "try-catch",
        "the failure of the last one",
        "do-if-else",
        "do-if-skip-else",
        "on completion",
        "skipped is not failed",
        "alternatives",
    ],
)
def test_a_first_activity_that_fails_ends_as_published(
    activities: list[Data], ran: str, culprit: str
) -> None:
    """The table of Microsoft's page on error handling, and its conditions one by one."""
    ended = Outcome(succeeded=not culprit, culprit=culprit)
    assert walked(*activities, failing="A") == (list(ran), ended)


def test_skipping_is_passed_on_and_completion_does_not_take_it() -> None:
    """What depends on a skipped activity is skipped too, unless it asks for that."""
    activities = [
        after("A"),
        after("B", ("A", "Succeeded")),
        after("C", ("B", "Completed")),
        after("D", ("C", "Skipped|Succeeded")),
    ]
    assert walked(*activities, failing="A") == (["A", "D"], Outcome(succeeded=True))


def test_several_dependencies_must_all_be_met() -> None:
    """One failing parent of two skips the child, and the run fails by it."""
    activities = [after("A"), after("B"), after("C", ("A", "Succeeded"), ("B", "Succeeded"))]
    assert walked(*activities, failing="B") == (["A", "B"], Outcome(succeeded=False, culprit="B"))
    assert walked(*activities)[0] == ["A", "B", "C"]


def test_a_failure_that_somebody_handled_is_not_the_runs() -> None:
    """Only leaves decide; one of two leaves suffices to fail."""
    activities = [after("A"), after("B", ("A", "Failed")), after("C")]
    assert walked(*activities, failing="A")[1].succeeded
    assert walked(*activities, failing="AC")[1] == Outcome(succeeded=False, culprit="C")


def test_independent_activities_run_side_by_side() -> None:
    """The second begins before the first has ended."""
    began: list[str] = []

    async def meeting() -> None:
        both = asyncio.Event()

        async def perform(activity: Data) -> str:
            began.append(activity["name"])
            if len(began) == 2:
                both.set()
            await asyncio.wait_for(both.wait(), timeout=5)
            return "Succeeded"

        await walk([after("A"), after("B")], perform)

    asyncio.run(meeting())
    assert began == ["A", "B"]


def test_a_cancelled_walk_cancels_what_runs() -> None:
    """Nothing goes on behind its back."""
    ended: list[str] = []

    async def perform(activity: Data) -> str:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(activity["name"])
        return "Succeeded"

    async def cancelled() -> None:
        task = asyncio.create_task(walk([after("A"), after("B")], perform))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())
    assert sorted(ended) == ["A", "B"]
