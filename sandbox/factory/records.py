"""Keeps what the factory's runs and activities came to, and finds them again; it runs nothing."""

import asyncio
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.factory.timespans import epoch_s, stamp

Data = dict[str, Any]
QUEUED, IN_PROGRESS, CANCELING, CANCELLED = "Queued", "InProgress", "Canceling", "Cancelled"
SUCCEEDED, FAILED, TIMED_OUT = "Succeeded", "Failed", "TimedOut"
ENDED = frozenset({SUCCEEDED, FAILED, CANCELLED})
_NOT_SHOWN = "********"


class BadQuery(ValueError):
    """A query for runs that Data Factory would refuse."""


@dataclass(slots=True, kw_only=True)
class ActivityRun:
    """One attempt at one activity."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    name: str
    type: str
    started_s: float
    retry: int = 0
    ended_s: float | None = None
    status: str = IN_PROGRESS
    input: Data = field(default_factory=dict)
    output: Data = field(default_factory=dict)
    error: Data = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class PipelineRun:
    """One run of a pipeline, and everything about it that changes."""

    id: str
    pipeline: str
    parameters: Data
    # Parameters whose values nobody is shown.
    secret: frozenset[str] = frozenset()
    definition: Data = field(default_factory=dict)
    group_id: str = ""
    created_s: float
    updated_s: float
    ended_s: float | None = None
    status: str = QUEUED
    message: str = ""
    is_zombie: bool = False
    cancel_asked: bool = False
    activities: list[ActivityRun] = field(default_factory=list)
    task: "asyncio.Task[None] | None" = None

    def change(self, status: str, *, now_s: float, message: str = "") -> None:
        """Take another status."""
        self.status, self.updated_s = status, now_s
        if status in ENDED:
            self.ended_s = now_s
            self.message = message


@dataclass(slots=True, kw_only=True)
class RunBook:
    """Every run since the factory began."""

    runs: dict[str, PipelineRun] = field(default_factory=dict)

    def query(self, asked: Data) -> list[PipelineRun]:
        """Return the runs that a query's span, filters and order choose."""
        since_s, until_s = _span(asked)
        found = [
            run
            for run in self.runs.values()
            if since_s <= run.updated_s <= until_s
            and all(_meets(_run_operands(run), entry) for entry in asked.get("filters") or [])
        ]
        for order in reversed(asked.get("orderBy") or [{"orderBy": "RunStart", "order": "DESC"}]):
            found.sort(key=lambda run: _sortable(run, order), reverse=order["order"] == "DESC")
        return found

    def activities(self, run: PipelineRun, asked: Data) -> list[ActivityRun]:
        """Return the activity runs of one run that a query chooses, in the order they began."""
        since_s, until_s = _span(asked)
        return [
            activity
            for activity in run.activities
            if since_s <= (activity.ended_s or activity.started_s) <= until_s
            and all(_meets(_activity_operands(activity), f) for f in asked.get("filters") or [])
        ]


def run_facts(run: PipelineRun, *, resource_id: str) -> Data:
    """Return a run as the API shows it."""
    shown = {
        name: _NOT_SHOWN if name in run.secret else _as_text(value)
        for name, value in run.parameters.items()
    }
    duration_s = (run.ended_s or run.updated_s) - run.created_s
    return {
        "id": f"{resource_id}/pipelineruns/{run.id}",
        "runId": run.id,
        "runGroupId": run.group_id,
        "isLatest": True,
        "debugRunId": None,
        "pipelineName": run.pipeline,
        "parameters": shown,
        "runDimensions": {},
        "invokedBy": {"id": run.id, "name": "Manual", "invokedByType": "Manual"},
        "runStart": stamp(run.created_s),
        "runEnd": None if run.ended_s is None else stamp(run.ended_s),
        "lastUpdated": stamp(run.updated_s),
        "durationInMs": None if run.ended_s is None else int(duration_s * 1000),
        "status": run.status,
        "message": run.message,
        "annotations": run.definition.get("annotations") or [],
    }


def activity_facts(run: PipelineRun, activity: ActivityRun, *, resource_id: str) -> Data:
    """Return an activity run as the API shows it."""
    ended_s = activity.ended_s
    return {
        "id": f"{resource_id}/pipelineruns/{run.id}/activityruns/{activity.id}",
        "activityRunId": activity.id,
        "activityName": activity.name,
        "activityType": activity.type,
        "pipelineRunId": run.id,
        "pipelineName": run.pipeline,
        "activityRunStart": stamp(activity.started_s),
        "activityRunEnd": None if ended_s is None else stamp(ended_s),
        "durationInMs": None if ended_s is None else int((ended_s - activity.started_s) * 1000),
        "status": activity.status,
        "retryAttempt": activity.retry or None,
        "input": activity.input,
        "output": activity.output,
        "error": activity.error
        or {"errorCode": "", "message": "", "failureType": "", "target": ""},
    }


def _span(asked: Data) -> tuple[float, float]:
    try:
        return epoch_s(asked["lastUpdatedAfter"]), epoch_s(asked["lastUpdatedBefore"])
    except (KeyError, TypeError, ValueError) as error:
        message = f"lastUpdatedAfter and lastUpdatedBefore must be times: {error}"
        raise BadQuery(message) from error


def _run_operands(run: PipelineRun) -> dict[str, str]:
    return {
        "PipelineName": run.pipeline,
        "Status": run.status,
        "RunStart": stamp(run.created_s),
        "RunEnd": "" if run.ended_s is None else stamp(run.ended_s),
        "RunGroupId": run.group_id,
        "LatestOnly": "true",
    }


def _activity_operands(activity: ActivityRun) -> dict[str, str]:
    return {
        "ActivityName": activity.name,
        "ActivityType": activity.type,
        "Status": activity.status,
        "ActivityRunStart": stamp(activity.started_s),
        "ActivityRunEnd": "" if activity.ended_s is None else stamp(activity.ended_s),
    }


def _meets(operands: Mapping[str, str], entry: Data) -> bool:
    operand, operator, values = entry.get("operand"), entry.get("operator"), entry.get("values")
    if (
        not isinstance(operand, str)
        or operand not in operands
        or not isinstance(values, list)
        or not values
    ):
        message = f"the filter {entry!r} is not valid; operands are {', '.join(operands)}"
        raise BadQuery(message)
    seen = operands[operand]
    if operator in ("Equals", "In"):
        return _holds(seen, values)
    if operator in ("NotEquals", "NotIn"):
        return not _holds(seen, values)
    raise BadQuery(f"the operator {operator!r} is none of Equals, NotEquals, In and NotIn")


def _holds(seen: str, values: Iterable[Any]) -> bool:
    return seen.lower() in {str(value).lower() for value in values}


def _sortable(run: PipelineRun, order: Data) -> str:
    operands = _run_operands(run)
    if order.get("orderBy") not in operands or order.get("order") not in ("ASC", "DESC"):
        raise BadQuery(f"the order {order!r} is not valid")
    return operands[order["orderBy"]]


def _as_text(value: Any) -> str:
    # The API declares a run's parameters as a map of strings.
    return value if isinstance(value, str) else str(value)
