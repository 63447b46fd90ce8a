"""Drives Microsoft's worker runtime in a thread and event loop of its own; it knows no trigger.

A thread apart, because in Azure the worker is a process apart: an app that blocks its event
loop must not stop this host from renewing leases and answering other requests.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from sandbox.host.faults import HostError
from sandbox.host.functions import read_function
from sandbox.host.messages import (
    PROTOS,
    FunctionLoadRequest,
    FunctionsMetadataRequest,
    InvocationRequest,
    StatusResult,
    WorkerInitRequest,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from sandbox.host.functions import Function
    from sandbox.host.messages import RpcFunctionMetadata, TypedData

RUNTIME = "azure_functions_runtime"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one invocation ended: what it gave back, or what it raised."""

    ok: bool
    return_value: TypedData | None = None
    outputs: Mapping[str, TypedData] = field(default_factory=dict)
    error: str | None = None
    stack: str | None = None


class Worker:
    """The runtime with one app in it; one per process, for the runtime keeps module state."""

    def __init__(self, app_dir: Path) -> None:
        self._app_dir = app_dir
        self._runtime: Any = None
        self._running: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="worker", daemon=True)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def index(self) -> list[Function]:
        """Import the app, index it and load every function, or say why that failed."""
        if not self._thread.is_alive():
            self._thread.start()
        return await self._on_thread(self._index())

    async def invoke(self, request: InvocationRequest, function_name: str) -> Outcome:
        """Run one function once; what it raises comes back as an outcome."""
        return await self._on_thread(self._invoke(request, function_name))

    def current(self) -> tuple[str | None, str | None]:
        """Name the function and invocation the calling code runs in, if any."""
        if self._runtime is None:
            return None, None
        invocation_id: str | None = self._runtime.invocation_id_cv.get()
        return self._running.get(invocation_id or ""), invocation_id

    def stop(self) -> None:
        """End the runtime's threads; only for when nothing runs any more."""
        if self._runtime is not None:
            self._runtime.stop_threadpool_executor()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _on_thread(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _index(self) -> list[Function]:
        self._enter_app()
        try:
            self._runtime = importlib.import_module(RUNTIME)
        except ImportError as error:
            message = f"importing {RUNTIME}: {error}; pip install azure-functions-runtime"
            raise HostError(message) from error
        self._runtime.start_threadpool_executor()
        directory = str(self._app_dir)
        init = await self._ask(
            "worker_init_request", WorkerInitRequest(function_app_directory=directory)
        )
        self._check(init.result, "indexing")
        if "HttpUri" in init.capabilities:
            message = f"indexing {directory}: it streams HTTP (v2), which this host lacks"
            raise HostError(message)
        answer = await self._ask(
            "functions_metadata_request",
            FunctionsMetadataRequest(function_app_directory=directory),
        )
        self._check(answer.result, "indexing")
        found: list[RpcFunctionMetadata] = answer.function_metadata_results or []
        if not found:
            message = f"indexing {directory}: no function of the v2 model is there; add one"
            raise HostError(message)
        for metadata in found:
            loaded = await self._ask(
                "function_load_request", FunctionLoadRequest(function_id=metadata.function_id)
            )
            self._check(loaded.result, f"loading {metadata.name} of")
        return [read_function(metadata) for metadata in found]

    def _enter_app(self) -> None:
        packages = self._app_dir / ".python_packages" / "lib" / "site-packages"
        sys.path[:0] = [str(self._app_dir), *([str(packages)] if packages.is_dir() else [])]
        os.chdir(self._app_dir)

    async def _invoke(self, request: InvocationRequest, function_name: str) -> Outcome:
        # The runtime reads this variable to tell which invocation a log record belongs to.
        self._runtime.invocation_id_cv.set(request.invocation_id)
        self._running[request.invocation_id] = function_name
        try:
            answer = await self._ask("invocation_request", request)
        except SystemExit as error:
            # Let through, it would end this thread's loop and every later invocation with it.
            return Outcome(ok=False, error=f"SystemExit: {error}; Azure would restart the worker")
        finally:
            del self._running[request.invocation_id]
        if answer.result.status != StatusResult.Success:
            raised = answer.result.exception
            return Outcome(ok=False, error=raised.message, stack=raised.stack_trace)
        return Outcome(
            ok=True,
            return_value=answer.return_value,
            outputs={binding.name: binding.data for binding in answer.output_data},
        )

    async def _ask(self, handler: str, payload: object) -> Any:
        request = SimpleNamespace(
            request=SimpleNamespace(**{handler: payload}),
            properties={"host": "127.0.0.1", "protos": PROTOS},
        )
        return await getattr(self._runtime, handler)(request)

    def _check(self, result: StatusResult, doing: str) -> None:
        if result.status != StatusResult.Success:
            raised = result.exception
            message = (
                f"{doing} {self._app_dir}: the app raised {raised.message}; mend it, it would "
                f"not start in Azure either\n{raised.stack_trace}".rstrip()
            )
            raise HostError(message)
