"""The factory's process: it serves behind the management endpoint, and ends with its parent.

Run as `python -m sandbox.factory --help`. It prints one JSON line with its port when it is ready.
"""

import argparse
import asyncio
import json
import ssl
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web

from sandbox.factory.conduct import Conduct
from sandbox.factory.copying import Copier
from sandbox.factory.expressions import Expressions
from sandbox.factory.factory import Factory
from sandbox.factory.routes import factory_app
from sandbox.factory.webhook import Callbacks
from sandbox.lifeline import die_with_parent

HOST = "127.0.0.1"
# Copies that read at the same time; Ebb keeps far fewer in flight.
COPIES_MAX = 32


def main() -> None:
    """Serve until the parent is gone."""
    options = _parser().parse_args()
    die_with_parent()
    # azure-cosmos verifies no certificate on loopback, and urllib3 says so at every request.
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(COPIES_MAX))
    factory = Factory(
        resource_id=options.resource_id,
        expressions=Expressions(),
        copier=Copier(
            ca_file=str(options.ca_file), storage=json.loads(options.secrets_file.read_text())
        ),
        callbacks=Callbacks(base_url=options.management_endpoint),
        trusted=ssl.create_default_context(cafile=options.ca_file),
        conduct=Conduct(**json.loads(options.conduct)),
    )
    runner = web.AppRunner(factory_app(factory), access_log=None, keepalive_timeout=600)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    sys.stdout.write(json.dumps({"port": runner.addresses[0][1]}) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.factory", description=__doc__)
    parser.add_argument("--resource-id", required=True, help="the factory's ARM id")
    parser.add_argument(
        "--management-endpoint", required=True, help="under which callbacks are served"
    )
    parser.add_argument("--ca-file", type=Path, required=True)
    parser.add_argument(
        "--secrets-file",
        type=Path,
        required=True,
        help="JSON with storage's blob_endpoint and connection_string",
    )
    parser.add_argument("--conduct", default="{}", help="durations and shares as JSON")
    return parser


if __name__ == "__main__":
    main()
