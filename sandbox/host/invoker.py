"""Runs invocations: asks the worker, ends what lasts too long, logs the outcome.

An invocation that outlasts functionTimeout takes the worker with it, and all that it ran.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

from sandbox.host.logs import event
from sandbox.host.messages import InvocationRequest, ParameterBinding, TraceContext
from sandbox.host.worker import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.host.functions import Function
    from sandbox.host.messages import TypedData
    from sandbox.host.worker import Worker


class Invoker:
    """The one place where functions are run."""

    def __init__(self, *, worker: Worker, timeout_s: float | None) -> None:
        self._worker = worker
        self._timeout_s = timeout_s
        # Set when the worker has to be restarted.
        self.worker_lost = asyncio.Event()
        self._running: dict[asyncio.Task[Outcome], str] = {}

    @property
    def running(self) -> list[str]:
        """Name the function of every invocation that has not ended."""
        return sorted(self._running.values())

    def start(
        self,
        function: Function,
        payload: TypedData,
        metadata: Mapping[str, TypedData] | None = None,
    ) -> asyncio.Task[Outcome]:
        """Start one invocation; dropping the task does not end it."""
        task = asyncio.create_task(self._run(function, payload, metadata or {}))
        self._running[task] = function.name
        task.add_done_callback(self._running.pop)
        return task

    async def wait_idle(self) -> None:
        """Wait until nothing runs."""
        while self._running:
            await asyncio.wait(self._running)

    async def _run(
        self, function: Function, payload: TypedData, metadata: Mapping[str, TypedData]
    ) -> Outcome:
        invocation_id = str(uuid.uuid4())
        request = InvocationRequest(
            invocation_id=invocation_id,
            function_id=function.function_id,
            input_data=[ParameterBinding(name=function.trigger.argument, data=payload)],
            trigger_metadata=metadata,
            trace_context=TraceContext(
                trace_parent=f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-00"
            ),
        )
        started = time.monotonic()
        outcome = await self._ended(request, function)
        event(
            "invocation",
            level="information" if outcome.ok else "error",
            function=function.name,
            trigger=function.kind,
            invocation_id=invocation_id,
            duration_ms=round((time.monotonic() - started) * 1000, 1),
            outcome="succeeded" if outcome.ok else "failed",
            error=outcome.error,
            stack=outcome.stack,
        )
        return outcome

    async def _ended(self, request: InvocationRequest, function: Function) -> Outcome:
        work = asyncio.ensure_future(self._worker.invoke(request, function.name))
        lost = asyncio.ensure_future(self.worker_lost.wait())
        await asyncio.wait(
            {work, lost}, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        is_lost = lost.done()
        lost.cancel()
        if work.done():
            return work.result()
        if is_lost:
            return Outcome(ok=False, error="the worker was restarted while it ran")
        self.worker_lost.set()
        message = f"timeout of {self._timeout_s:g} s exceeded; the worker is restarted"
        return Outcome(ok=False, error=message)
