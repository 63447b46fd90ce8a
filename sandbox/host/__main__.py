"""The command line of the host: `python -m sandbox.host --app DIR`; it only parses and reports.

Exit codes: 0 stopped as told, 1 a listener failed, 2 used wrongly, 3 the app could not start.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.host.app import Options, index_app
from sandbox.host.faults import HostError
from sandbox.host.server import RESPONSE_S_MAX, Keys
from sandbox.host.serving import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_CANNOT_START = 3
# The real host's lease; kill -9 leaves a message hidden for what is left of it.
QUEUE_LEASE_S = 600
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
        return asyncio.run(serve(options, os.environ))
    except HostError as error:
        sys.stderr.write(f"sandbox.host: {error}\n")
        return EXIT_CANNOT_START


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
    add("--state-dir", type=Path, metavar="DIR", help="where timers remember their last run")
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
    add("--queue-lease-s", type=_lease, default=QUEUE_LEASE_S, metavar="S")
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

    return Options(
        app_dir=arguments.app.resolve(),
        settings=absolute(arguments.settings),
        port=arguments.port,
        ready_file=absolute(arguments.ready_file),
        state_dir=absolute(arguments.state_dir),
        keys=Keys(
            function=arguments.function_key or secrets.token_urlsafe(32),
            single=dict(arguments.single_key),
            master=arguments.master_key or secrets.token_urlsafe(32),
        ),
        queue_lease_s=arguments.queue_lease_s,
        drain_s=arguments.drain_s,
        response_s_max=arguments.response_s_max,
        strict=arguments.strict,
        die_with_stdin=arguments.die_with_stdin,
    )


def _port(text: str) -> int:
    return _number(text, low=0, high=65535)


def _lease(text: str) -> int:
    # Storage hides a received message for 1 s to 7 days.
    return _number(text, low=1, high=7 * 24 * 3600)


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


def _leave(code: int) -> None:
    # The app may have threads that never end; Python waits for them, a supervisor does not.
    guard = threading.Timer(LEAVE_S_MAX, os._exit, (code,))
    guard.daemon = True
    guard.start()
    sys.exit(code)


if __name__ == "__main__":
    _leave(main())
