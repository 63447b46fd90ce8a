"""The command line of the host: `python -m sandbox.host --app DIR`; it only parses and reports.

A lost worker is restarted in place: same process id, address and keys.
Exit codes: 0 stopped as told, 1 a listener failed, 2 used wrongly, 3 the app could not start.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.host.app import Options, index_app
from sandbox.host.faults import HostError
from sandbox.host.server import RESPONSE_S_MAX, Keys
from sandbox.host.serving import EXIT_WORKER_LOST, serve

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_CANNOT_START = 3
DRAIN_S = 5.0
# Time for what the app runs at exit, such as sending its last telemetry.
LEAVE_S_MAX = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    """List or serve an app; a fault is told in one line and an exit code."""
    arguments = _parser().parse_args(argv)
    options = _options(arguments)
    try:
        if arguments.list:
            app = asyncio.run(index_app(options, os.environ))
            sys.stdout.write(json.dumps(app.describe(), indent=2) + "\n")
            app.worker.stop()
            return 0
        folder = Path.cwd()
        code = asyncio.run(serve(options, os.environ))
    except HostError as error:
        sys.stderr.write(f"sandbox.host: {error}\n")
        return EXIT_CANNOT_START
    if code == EXIT_WORKER_LOST:
        _restart(options, folder)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.host",
        description="Run an Azure Functions Python v2 app on this machine.",
    )
    add = parser.add_argument
    add("--app", required=True, type=Path, metavar="DIR", help="folder of function_app.py")
    add("--port", type=_port, default=0, help="HTTP port on 127.0.0.1; 0 takes a free one")
    add("--settings", type=Path, metavar="FILE", help='app settings: {"Values": {...}}')
    add("--ready-file", type=Path, metavar="PATH", help="written when ready: url, keys, pid")
    add("--state-dir", type=Path, metavar="DIR", help="status and locks of timers")
    add("--function-key", metavar="KEY", help="key of FUNCTION level (default: random)")
    add(
        "--single-key",
        nargs=2,
        action="append",
        default=[],
        metavar=("FUNCTION", "KEY"),
        help="key that opens this function alone",
    )
    add("--master-key", metavar="KEY", help="key of every level (default: random)")
    add("--time-scale", type=_factor, default=1.0, metavar="F", help="Azure's long times x F")
    add("--http-concurrency", type=_calls, default=1, metavar="N", help="calls an instance takes")
    add("--drain-s", type=_seconds, default=DRAIN_S, metavar="S")
    add("--response-s-max", type=_seconds, default=RESPONSE_S_MAX, metavar="S")
    add("--strict", action="store_true", help="refuse what Azure would silently ignore")
    add("--die-with-stdin", action="store_true", help="stop when stdin ends")
    add("--list", action="store_true", help="print the functions as JSON and exit")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    def absolute(path: Path | None) -> Path | None:
        # The app's folder becomes the working directory.
        return None if path is None else path.absolute()

    app_dir = arguments.app.resolve()
    return Options(
        app_dir=app_dir,
        settings=absolute(arguments.settings),
        port=arguments.port,
        ready_file=absolute(arguments.ready_file),
        state_dir=(arguments.state_dir or _default_state(app_dir)).absolute(),
        keys=Keys(
            function=arguments.function_key or secrets.token_urlsafe(32),
            single=dict(arguments.single_key),
            master=arguments.master_key or secrets.token_urlsafe(32),
        ),
        time_scale=arguments.time_scale,
        http_concurrency=arguments.http_concurrency,
        drain_s=arguments.drain_s,
        response_s_max=arguments.response_s_max,
        strict=arguments.strict,
        die_with_stdin=arguments.die_with_stdin,
    )


def _port(text: str) -> int:
    return _number(text, low=0, high=65535)


def _calls(text: str) -> int:
    return _number(text, low=1, high=1000)


def _factor(text: str) -> float:
    factor = _seconds(text)
    if not 0 < factor <= 1:
        message = f"{text!r} is not a factor above 0 and up to 1"
        raise argparse.ArgumentTypeError(message)
    return factor


def _default_state(app_dir: Path) -> Path:
    # One place for each app, so that a host finds what the last one left.
    name = hashlib.sha256(str(app_dir).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sandbox-host-{name}"


def _number(text: str, *, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        message = f"{text!r} is not a whole number from {low} to {high}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        message = f"{text!r} is not a number of seconds"
        raise argparse.ArgumentTypeError(message)
    return seconds


def _restart(options: Options, folder: Path) -> None:
    """Become a new host: nothing else ends the threads of the worker."""
    os.chdir(folder)
    port = os.environ["WEBSITE_HOSTNAME"].rpartition(":")[2]
    keys = ("--function-key", options.keys.function, "--master-key", options.keys.master)
    os.execv(  # noqa: S606 - this very command again
        sys.executable, [*sys.orig_argv, "--port", port, *keys]
    )


def _leave(code: int) -> None:
    # The app may have threads that never end; Python waits for them, a supervisor does not.
    guard = threading.Timer(LEAVE_S_MAX, os._exit, (code,))
    guard.daemon = True
    guard.start()
    sys.exit(code)


if __name__ == "__main__":
    _leave(main())
