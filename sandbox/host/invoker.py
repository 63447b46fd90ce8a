"""Runs invocations: asks the worker, writes queue outputs, logs the outcome, knows what runs."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from sandbox.host.logs import event
from sandbox.host.messages import InvocationRequest, ParameterBinding, TraceContext
from sandbox.host.storage import StorageError, encoded
from sandbox.host.worker import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.host.functions import Function, QueueOutput
    from sandbox.host.messages import TypedData
    from sandbox.host.storage import Queue
    from sandbox.host.worker import Worker


class Invoker:
    """The one place where functions are run."""

    def __init__(
        self,
        *,
        worker: Worker,
        queue_of: Callable[[QueueOutput], Queue],
        is_base64: bool,
    ) -> None:
        self._worker = worker
        self._queue_of = queue_of
        self._is_base64 = is_base64
        # Told the name of every queue this host adds a message to.
        self.enqueued: Callable[[str], None] = lambda _queue: None
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
        outcome = await self._worker.invoke(request, function.name)
        if outcome.ok:
            outcome = await self._write_outputs(function, outcome)
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

    async def _write_outputs(self, function: Function, outcome: Outcome) -> Outcome:
        try:
            for output in function.outputs:
                given = (
                    outcome.return_value
                    if output.argument == "$return"
                    else outcome.outputs.get(output.argument)
                )
                for body in bodies(given):
                    queue = self._queue_of(output)
                    await queue.put(encoded(body, is_base64=self._is_base64))
                    self.enqueued(queue.name)
        except (StorageError, UnicodeDecodeError) as error:
            message = f"writing the outputs of {function.name}: {error}"
            return Outcome(ok=False, error=message)
        return outcome


def bodies(given: TypedData | None) -> list[str | bytes]:
    """Split an output value into messages: a list is one message an item."""
    if given is None:
        return []
    if given.bytes is not None:
        return [given.bytes]
    if given.string is not None:
        return [given.string]
    if given.json is None:
        number = given.int if given.int is not None else given.double
        return [] if number is None else [str(number)]
    value = json.loads(given.json)
    return [_body(item) for item in (value if isinstance(value, list) else [value])]


def _body(item: Any) -> str:
    if isinstance(item, str):
        return item
    # azure.functions writes a QueueMessage as {"id", "body"}; only the body travels.
    if isinstance(item, dict) and isinstance(item.get("body"), str):
        return str(item["body"])
    return json.dumps(item)
