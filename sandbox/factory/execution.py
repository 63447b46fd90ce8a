"""Runs one pipeline: each activity by its type, with retries, records and an end for every one."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sandbox.factory.conduct import Conduct
from sandbox.factory.copying import Copier, Habits, copy_plan
from sandbox.factory.expressions import ExpressionError, Expressions, Scope
from sandbox.factory.failures import ActivityFailed
from sandbox.factory.parameters import BadParameters, fitted
from sandbox.factory.reading import Stopped
from sandbox.factory.records import (
    CANCELLED,
    FAILED,
    IN_PROGRESS,
    SUCCEEDED,
    TIMED_OUT,
    ActivityRun,
    PipelineRun,
)
from sandbox.factory.resources import Refused, Resources
from sandbox.factory.timespans import span_s
from sandbox.factory.walker import walk
from sandbox.factory.webhook import FIRST_ANSWER_S, TIMEOUT_DEFAULT, Call

# An Until that never ends would fill the memory before its timeout of days is over.
ITERATIONS_MAX = 1000
_UNTIL_TIMEOUT_DEFAULT = "7.00:00:00"
# Microsoft's default and greatest numbers of a ForEach's iterations side by side.
_BATCH_DEFAULT, _BATCH_MAX = 20, 50
_COPY_TIMEOUT_DEFAULT = "0.12:00:00"
_BAD_DEFINITION = "BadRequest"

Data = dict[str, Any]


class Surroundings:
    """What a run needs of the factory that it runs in."""

    def __init__(
        self,
        *,
        name: str,
        expressions: Expressions,
        resources: Resources,
        copier: Copier,
        call: Callable[[Call], Awaitable[Data]],
        conduct: Callable[[], Conduct],
        fault: Callable[..., str | None],
    ) -> None:
        """Hold it; conduct and faults are asked for each time, because they change."""
        self.name = name
        self.expressions = expressions
        self.resources = resources
        self.copier = copier
        self.call = call
        self.conduct = conduct
        self.fault = fault


class Execution:
    """One run of one pipeline."""

    def __init__(self, run: PipelineRun, around: Surroundings) -> None:
        """Run that run's definition; nothing begins yet."""
        self._run = run
        self._around = around
        declared = run.definition.get("variables") or {}
        self._scope = Scope(
            system={
                "RunId": run.id,
                "Pipeline": run.pipeline,
                "DataFactory": around.name,
                "GroupId": run.group_id,
                "TriggerType": "Manual",
            },
            parameters=run.parameters,
            variables={name: entry.get("defaultValue") for name, entry in declared.items()},
        )
        self._perform: dict[str, Callable[[Data, ActivityRun, Scope], Awaitable[Data]]] = {
            "AppendVariable": self._append,
            "Copy": self._copy,
            "Fail": self._fail,
            "ForEach": self._for_each,
            "IfCondition": self._if,
            "SetVariable": self._set,
            "Until": self._until,
            "Wait": self._wait,
            "WebHook": self._webhook,
        }

    async def run(self) -> None:
        """Wait in the queue, perform everything, and give the run its end."""
        conduct = self._around.conduct()
        await asyncio.sleep(conduct.scaled(conduct.queue_s))
        self._run.change(IN_PROGRESS, now_s=time.time())
        problem = await self._walk(self._run.definition["activities"], self._scope)
        self._run.change(FAILED if problem else SUCCEEDED, now_s=time.time(), message=problem)

    async def _walk(self, activities: list[Data], scope: Scope) -> str:
        """Perform a list of activities and return what went wrong, or nothing."""

        async def one(activity: Data) -> str:
            return await self._one(activity, scope)

        ended = await walk(activities, one)
        if ended.succeeded:
            return ""
        message = self._scope.results[ended.culprit]["error"]["message"]
        return f"Operation on target {ended.culprit} failed: {message}"

    async def _one(self, activity: Data, scope: Scope) -> str:
        policy = activity.get("policy") or {}
        retries = int(policy.get("retry", 0))
        for attempt in range(retries + 1):
            record = ActivityRun(
                name=activity["name"], type=activity["type"], started_s=time.time(), retry=attempt
            )
            self._run.activities.append(record)
            await self._attempt(activity, record, scope)
            if record.status == SUCCEEDED or attempt == retries:
                break
            pause_s = float(policy.get("retryIntervalInSeconds", 30))
            await asyncio.sleep(self._around.conduct().scaled(pause_s))
        return SUCCEEDED if record.status == SUCCEEDED else FAILED

    async def _attempt(self, activity: Data, record: ActivityRun, scope: Scope) -> None:
        try:
            record.output = await self._perform[record.type](activity, record, scope)
            record.status = SUCCEEDED
        except asyncio.CancelledError:
            record.status = CANCELLED
            raise
        except ActivityFailed as failure:
            record.status, record.error = failure.status, failure.facts(record.name)
        except (ExpressionError, Refused, BadParameters, KeyError, TypeError, ValueError) as error:
            broken = ActivityFailed(_BAD_DEFINITION, f"{type(error).__name__}: {error}")
            record.status, record.error = FAILED, broken.facts(record.name)
        finally:
            record.ended_s = self._run.updated_s = time.time()
            self._scope.results[record.name] = {
                "output": record.output,
                "status": record.status,
                "error": record.error,
            }

    def _resolved(self, activity: Data, scope: Scope) -> Data:
        resolved = self._around.expressions.resolve(activity.get("typeProperties") or {}, scope)
        return dict(resolved)

    # Variables, failures, pauses

    async def _set(self, activity: Data, record: ActivityRun, scope: Scope) -> Data:
        inner = self._resolved(activity, scope)
        self._scope.variables[inner["variableName"]] = inner["value"]
        return {"name": inner["variableName"], "value": inner["value"]}

    async def _append(self, activity: Data, record: ActivityRun, scope: Scope) -> Data:
        inner = self._resolved(activity, scope)
        name = inner["variableName"]
        self._scope.variables[name] = [*(self._scope.variables[name] or []), inner["value"]]
        return {"name": name, "value": self._scope.variables[name]}

    async def _fail(self, activity: Data, record: ActivityRun, scope: Scope) -> Data:
        inner = self._resolved(activity, scope)
        raise ActivityFailed(str(inner["errorCode"]), str(inner["message"]))

    async def _wait(self, activity: Data, record: ActivityRun, scope: Scope) -> Data:
        inner = self._resolved(activity, scope)
        await asyncio.sleep(self._around.conduct().scaled(float(inner["waitTimeInSeconds"])))
        return {}

    # Containers: an inner failure becomes theirs

    async def _if(self, activity: Data, record: ActivityRun, scope: Scope) -> Data:
        inner = activity["typeProperties"]
        holds = self._condition(inner["expression"], scope)
        chosen = inner.get("ifTrueActivities" if holds else "ifFalseActivities") or []
        self._complain(await self._walk(chosen, scope) if chosen else "")
        return {}

    async def _until(self, activity: Data, record: ActivityRun, scope: Scope) -> Data:
        inner = activity["typeProperties"]
        limit_s = self._around.conduct().scaled(
            span_s(inner.get("timeout", _UNTIL_TIMEOUT_DEFAULT))
        )
        problem = ""
        try:
            async with asyncio.timeout(limit_s):
                for _ in range(ITERATIONS_MAX):
                    # A failed iteration does not end the loop, but neither is it forgotten.
                    problem = await self._walk(inner["activities"], scope) or problem
                    if self._condition(inner["expression"], scope):
                        break
        except TimeoutError as error:
            message = "The Until activity did not end before its timeout."
            raise ActivityFailed("2108", message, status=TIMED_OUT) from error
        self._complain(problem)
        return {}

    async def _for_each(self, activity: Data, record: ActivityRun, scope: Scope) -> Data:
        inner = activity["typeProperties"]
        items = self._around.expressions.resolve(inner["items"], scope)
        side_by_side = min(int(inner.get("batchCount", _BATCH_DEFAULT)), _BATCH_MAX)
        seats = asyncio.Semaphore(1 if inner.get("isSequential") else side_by_side)

        async def one(item: Any) -> str:
            async with seats:
                return await self._walk(inner["activities"], scope.with_item(item))

        async with asyncio.TaskGroup() as group:
            problems = [group.create_task(one(item)) for item in items]
        self._complain(next((task.result() for task in problems if task.result()), ""))
        return {"itemsCount": len(items)}

    def _condition(self, expression: Data, scope: Scope) -> bool:
        seen = self._around.expressions.resolve(expression, scope)
        if not isinstance(seen, bool):
            raise ActivityFailed(_BAD_DEFINITION, f"the condition gave {seen!r}, no true or false")
        return seen

    @staticmethod
    def _complain(problem: str) -> None:
        if problem:
            raise ActivityFailed(
                "ActionFailed", f"Activity failed because an inner activity failed; {problem}"
            )

    # What reaches outside

    async def _webhook(self, activity: Data, record: ActivityRun, scope: Scope) -> Data:
        inner = self._resolved(activity, scope)
        conduct = self._around.conduct()
        policy = activity.get("policy") or {}
        if not policy.get("secureInput"):
            record.input = inner
        output = await self._around.call(
            Call(
                url=inner["url"],
                headers={name: str(value) for name, value in (inner.get("headers") or {}).items()},
                body=inner.get("body") or {},
                first_answer_s=conduct.scaled(FIRST_ANSWER_S),
                timeout_s=conduct.scaled(span_s(inner.get("timeout", TIMEOUT_DEFAULT))),
                reports_status=bool(inner.get("reportStatusOnCallBack")),
            )
        )
        return {} if policy.get("secureOutput") else output

    async def _copy(self, activity: Data, record: ActivityRun, scope: Scope) -> Data:
        inner = self._resolved(activity, scope)
        (source,), (sink,) = activity["inputs"], activity["outputs"]
        plan = copy_plan(inner, self._store(source, scope), self._store(sink, scope))
        record.input = {key: inner[key] for key in ("source", "sink") if key in inner}
        conduct = self._around.conduct()
        await asyncio.sleep(conduct.scaled(conduct.copy_queue_s))
        habits = Habits(
            page_delay_s=conduct.scaled(conduct.page_delay_s),
            leaves_half=conduct.leaves_half(self._run.id),
            fault=self._around.fault("copy_fails", "drop_row", "double_row", "alter_document"),
            late_s=lambda: conduct.scaled(conduct.zombie_s) if self._run.cancel_asked else 0.0,
        )
        stop = threading.Event()
        reading = asyncio.create_task(
            asyncio.to_thread(self._around.copier.copy, plan, habits, stop)
        )
        limit_s = span_s((activity.get("policy") or {}).get("timeout", _COPY_TIMEOUT_DEFAULT))
        try:
            async with asyncio.timeout(conduct.scaled(limit_s)):
                return await asyncio.shield(reading)
        except TimeoutError as error:
            message = "The Copy activity did not end before its timeout."
            raise ActivityFailed("2108", message, status=TIMED_OUT) from error
        finally:
            stop.set()
            with suppress(Stopped, ActivityFailed):
                await reading

    def _store(self, reference: Data, scope: Scope) -> Data:
        """Return the resolved properties of a dataset and of the linked service behind it."""
        resolve, resources = self._around.expressions.resolve, self._around.resources
        name = reference["referenceName"]
        dataset = resources.get("datasets", name).properties
        given = resolve(reference.get("parameters") or {}, scope)
        values = fitted(dataset.get("parameters") or {}, given, of=f"dataset {name}")
        inside = replace(scope, dataset=values)
        link = dataset["linkedServiceName"]
        linked = resources.get("linkedservices", link["referenceName"]).properties
        given = resolve(link.get("parameters") or {}, inside)
        declared = linked.get("parameters") or {}
        values = fitted(declared, given, of=f"linked service {link['referenceName']}")
        facts = resolve(linked["typeProperties"], replace(inside, linked_service=values))
        _refuse_secrets(link["referenceName"], facts)
        return {**facts, **resolve(dataset["typeProperties"], inside)}


def _refuse_secrets(name: str, facts: Data) -> None:
    """The sandbox's factory signs in by its identity, as infra/adf says; it would ignore a key."""
    secret = {"accountKey", "connectionString", "sasUri", "encryptedCredential"} & facts.keys()
    if secret:
        raise ActivityFailed(
            _BAD_DEFINITION,
            f"linked service {name} has {', '.join(sorted(secret))}; the sandbox's factory signs "
            "in by its managed identity only",
        )
