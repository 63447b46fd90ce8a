"""One data factory: what was deployed to it, its runs, and how they begin and are cancelled."""

import asyncio
import logging
import ssl
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from sandbox.errors import SandboxError
from sandbox.factory.conduct import Conduct, FactoryFaults
from sandbox.factory.copying import Copier, unit_hours_of
from sandbox.factory.execution import Execution, Surroundings
from sandbox.factory.expressions import Expressions
from sandbox.factory.parameters import BadParameters, fitted
from sandbox.factory.records import (
    CANCELING,
    CANCELLED,
    ENDED,
    FAILED,
    PipelineRun,
    RunBook,
)
from sandbox.factory.resources import Refused, Resources
from sandbox.factory.webhook import Call, Callbacks, call_and_wait

# US list prices that the documentation's examples are consistent with.
USD_PER_ACTIVITY_RUN, USD_PER_UNIT_HOUR = 0.001, 0.25

_LOG = logging.getLogger(__name__)

Data = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Factory:
    """Everything of one factory that changes."""

    resource_id: str
    expressions: Expressions
    copier: Copier
    callbacks: Callbacks
    trusted: ssl.SSLContext
    conduct: Conduct
    resources: Resources = field(default_factory=Resources)
    book: RunBook = field(default_factory=RunBook)
    faults: FactoryFaults = field(default_factory=FactoryFaults)
    session: aiohttp.ClientSession | None = None
    _cancelling: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The factory's name."""
        return self.resource_id.rpartition("/")[2]

    def create_run(self, pipeline: str, given: Data) -> PipelineRun:
        """Start a run of a pipeline as it stands now, and return it."""
        deployed = self.resources.get("pipelines", pipeline)
        declared = deployed.properties.get("parameters") or {}
        try:
            parameters = fitted(declared, given, of=f"pipeline {deployed.name}")
        except BadParameters as error:
            raise Refused(400, "BadRequest", str(error)) from error
        now_s, run_id = time.time(), str(uuid.uuid4())
        run = PipelineRun(
            id=run_id,
            pipeline=deployed.name,
            parameters=parameters,
            secret=frozenset(
                name
                for name, entry in declared.items()
                if str(entry.get("type")).lower() == "securestring"
            ),
            definition=deployed.properties,
            group_id=run_id,
            created_s=now_s,
            updated_s=now_s,
            is_zombie=self.faults.meet_run("zombie") is not None,
        )
        self.book.runs[run.id] = run
        run.task = asyncio.create_task(Execution(run, self._surroundings()).run())
        run.task.add_done_callback(lambda task: _bury(run, task))
        return run

    def run(self, run_id: str) -> PipelineRun:
        """Return one run."""
        if run_id not in self.book.runs:
            raise Refused(404, "PipelineRunNotFound", f"The pipeline run {run_id} is not found.")
        return self.book.runs[run_id]

    def cancel(self, run: PipelineRun) -> None:
        """Begin to end a run; a zombie takes no notice, and will be late as well."""
        if run.status in ENDED:
            raise Refused(400, "BadRequest", f"The pipeline run {run.id} is {run.status} already.")
        run.cancel_asked = True
        if run.is_zombie or run.status == CANCELING:
            return
        run.change(CANCELING, now_s=time.time())
        ending = asyncio.create_task(self._end(run))
        self._cancelling.add(ending)
        ending.add_done_callback(self._cancelling.discard)

    def bill(self) -> Data:
        """Return what the runs so far would cost, by the copies' own billing references."""
        activities = [activity for run in self.book.runs.values() for activity in run.activities]
        unit_hours = sum(unit_hours_of(activity.output) for activity in activities)
        usd = len(activities) * USD_PER_ACTIVITY_RUN + unit_hours * USD_PER_UNIT_HOUR
        return {"activity_runs": len(activities), "unit_hours": unit_hours, "usd": round(usd, 6)}

    async def _end(self, run: PipelineRun) -> None:
        if run.task is not None:
            run.task.cancel()
            await asyncio.wait([run.task])
        await asyncio.sleep(self.conduct.scaled(self.conduct.cancel_s))
        if run.status not in ENDED:
            run.change(CANCELLED, now_s=time.time(), message="Operation was cancelled.")

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            name=self.name,
            expressions=self.expressions,
            resources=self.resources,
            copier=self.copier,
            call=self._call,
            conduct=lambda: self.conduct,
            fault=self.faults.meet_run,
        )

    async def _call(self, call: Call) -> Data:
        if self.session is None:
            message = f"calling {call.url}: the factory is not open"
            raise SandboxError(message)
        return await call_and_wait(call, self.callbacks, self.session, trusted=self.trusted)


def _bury(run: PipelineRun, task: "asyncio.Task[None]") -> None:
    """A run that breaks the sandbox itself must not look as if it still ran."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _LOG.error("run %s broke", run.id, exc_info=error)
        run.change(FAILED, now_s=time.time(), message=f"the sandbox broke: {error!r}")
