"""Starts the host's parts, says when it is ready, stops them in order; it makes none of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from sandbox.host.app import Wiring, index_app
from sandbox.host.faults import HostError
from sandbox.host.logs import event

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

    from sandbox.host.app import App, Options
    from sandbox.host.queues import QueueListener
    from sandbox.host.timers import TimerListener

# Loopback only: the keys of this host are no protection worth the name.
ADDRESS = "127.0.0.1"
# Time to send the last answers, on top of the drain limit.
CLOSE_S_MAX = 2.0
EXIT_DONE, EXIT_LISTENER_FAILED, EXIT_WORKER_LOST = 0, 1, 75


async def serve(options: Options, environment: MutableMapping[str, str]) -> int:
    """Run the app until a signal, or the end of stdin where that is asked for."""
    stopping = asyncio.Event()
    _stop_on_signals(stopping)
    if options.die_with_stdin:
        _stop_with_stdin(stopping)
    with _bind(options.port) as listening:
        port: int = listening.getsockname()[1]
        # Azure tells an app its own name like this; it is needed to make callback addresses.
        environment["WEBSITE_HOSTNAME"] = f"{ADDRESS}:{port}"
        app = await index_app(options, environment)
        wiring = Wiring(app, options, environment)
        try:
            code = await _serve(app, wiring, options, listening, stopping)
        finally:
            await wiring.storage.close()
    if code != EXIT_WORKER_LOST and not wiring.invoker.running:
        app.worker.stop()
    return code


async def _serve(
    app: App, wiring: Wiring, options: Options, listening: socket.socket, stopping: asyncio.Event
) -> int:
    # Everything that can be wrong in the app is found before anything of it runs.
    face, timers, queues = wiring.face(), wiring.timers(), wiring.queues()
    runner = web.AppRunner(face.application(), access_log=None, shutdown_timeout=options.drain_s)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    port: int = listening.getsockname()[1]
    listeners: list[TimerListener | QueueListener] = [*timers, *queues]
    tasks = {asyncio.create_task(listener.run()) for listener in listeners}
    event("ready", url=f"http://{ADDRESS}:{port}", functions=len(app.functions))
    if options.ready_file is not None:
        _write_ready(options.ready_file, port, app, options)
    lost = wiring.invoker.worker_lost
    code = await _until_stopped(tasks, stopping, lost)
    await _drain(wiring, runner, listeners, tasks, options.drain_s)
    return code


async def _until_stopped(
    tasks: set[asyncio.Task[None]], stopping: asyncio.Event, worker_lost: asyncio.Event
) -> int:
    told, lost = asyncio.create_task(stopping.wait()), asyncio.create_task(worker_lost.wait())
    waiting: set[asyncio.Task[None]] = set(tasks)
    try:
        while not told.done() and not lost.done():
            ends = {told, lost, *waiting}
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            waiting -= done
            for task in done - {told, lost}:
                failure = task.exception()
                if failure is not None:
                    event("listener_failed", level="critical", error=_reason(failure))
                    return EXIT_LISTENER_FAILED
        return EXIT_DONE if told.done() else EXIT_WORKER_LOST
    finally:
        told.cancel()
        lost.cancel()


def _reason(failure: BaseException) -> str:
    causes = failure.exceptions if isinstance(failure, BaseExceptionGroup) else (failure,)
    return "; ".join(f"{type(cause).__name__}: {cause}" for cause in causes)


async def _drain(
    wiring: Wiring,
    runner: web.AppRunner,
    listeners: list[TimerListener | QueueListener],
    tasks: set[asyncio.Task[None]],
    drain_s: float,
) -> None:
    event("draining", running=wiring.invoker.running, limit_s=drain_s)
    for listener in listeners:
        listener.stop()
    ends = {*tasks, asyncio.create_task(runner.cleanup())}
    ends.add(asyncio.create_task(wiring.invoker.wait_idle()))
    _, late = await asyncio.wait(ends, timeout=drain_s)
    if late and not wiring.invoker.running:
        _, late = await asyncio.wait(late, timeout=CLOSE_S_MAX)
    for task in late:
        task.cancel()
    event("stopped", abandoned=wiring.invoker.running or None)


def _bind(port: int) -> socket.socket:
    # Bound before the app is loaded, so that it can know its own address.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((ADDRESS, port))
    except OSError as error:
        bound.close()
        message = f"binding {ADDRESS}:{port}: {error.strerror}; choose another --port, or 0"
        raise HostError(message) from error
    return bound


def _write_ready(path: Path, port: int, app: App, options: Options) -> None:
    facts = {
        "url": f"http://{ADDRESS}:{port}",
        "port": port,
        "pid": os.getpid(),
        "functionKey": options.keys.function,
        "masterKey": options.keys.master,
        "functions": [function.name for function in app.functions],
    }
    draft = path.with_name(path.name + ".draft")
    # It holds keys: nobody else may read it, and a reader never sees half of it.
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(facts, file)
    draft.replace(path)


def _stop_on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)


def _stop_with_stdin(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def read_to_end() -> None:
        # os.read, not sys.stdin: a thread blocked in its lock would trouble the exit.
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stopping.set)

    threading.Thread(target=read_to_end, name="stdin", daemon=True).start()
