"""Decides which activities run, and how a list of them ended; it performs none of them.

The rules are Azure's: several conditions on one dependency are alternatives, several dependencies
must all be met, and of the leaves that were skipped the parents decide.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Data = dict[str, Any]
# What an activity comes to. One that timed out counts as failed for whatever depends on it.
SUCCEEDED, FAILED, SKIPPED = "Succeeded", "Failed", "Skipped"
_ANSWERS_TO = {
    "Succeeded": frozenset({SUCCEEDED}),
    "Failed": frozenset({FAILED}),
    "Skipped": frozenset({SKIPPED}),
    "Completed": frozenset({SUCCEEDED, FAILED}),
}
CONDITIONS = frozenset(_ANSWERS_TO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Whether a list of activities succeeded, and if not, which of them decided that."""

    succeeded: bool
    culprit: str = ""


def dependencies(activity: Data) -> dict[str, frozenset[str]]:
    """Return the activities that one depends on, and the ends that it accepts of each."""
    return {
        entry["activity"]: frozenset().union(
            *(_ANSWERS_TO[condition] for condition in entry["dependencyConditions"])
        )
        for entry in activity.get("dependsOn") or []
    }


def outcome(activities: Sequence[Data], ends: Mapping[str, str]) -> Outcome:
    """Judge the leaves; a skipped one is judged by its parents."""
    parents = {activity["name"]: list(dependencies(activity)) for activity in activities}
    depended_on = {name for names in parents.values() for name in names}
    waiting = [name for name in parents if name not in depended_on]
    while waiting:
        name = waiting.pop(0)
        if ends[name] == FAILED:
            return Outcome(succeeded=False, culprit=name)
        if ends[name] == SKIPPED:
            waiting += parents[name]
    return Outcome(succeeded=True)


async def walk(activities: Sequence[Data], perform: Callable[[Data], Awaitable[str]]) -> Outcome:
    """Perform what is due, side by side where nothing forbids it, until nothing is left."""
    left = {activity["name"]: activity for activity in activities}
    ends: dict[str, str] = {}
    running: dict[asyncio.Task[str], str] = {}
    try:
        while left or running:
            for activity in _decided(left, ends):
                del left[activity["name"]]
                running[asyncio.ensure_future(perform(activity))] = activity["name"]
            if not running:
                continue
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                ends[running.pop(task)] = task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return outcome(activities, ends)


def _decided(left: dict[str, Data], ends: dict[str, str]) -> list[Data]:
    """Return what may start now; what never will is taken out as skipped."""
    due: list[Data] = []
    for name, activity in list(left.items()):
        accepted = dependencies(activity)
        if not accepted.keys() <= ends.keys():
            continue
        if all(ends[other] in wanted for other, wanted in accepted.items()):
            due.append(activity)
        else:
            del left[name]
            ends[name] = SKIPPED
    return due
