"""The meter's process: account, monitor, identity endpoint and admin API; it holds no documents.

Run as `python -m sandbox.cosmos.meter --help`. It prints one JSON line with its ports when it is
ready, and ends when its standard input closes.
"""

import argparse
import asyncio
import json
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from sandbox.cosmos.account import Account, History, MonitorDelay, Workspace, backfill
from sandbox.cosmos.authorization import COMMON_AUDIENCE, Gate
from sandbox.cosmos.charges import Tariff
from sandbox.cosmos.control import control_app
from sandbox.cosmos.proxy import REQUEST_BYTES_MAX, MeteredProxy
from sandbox.cosmos.resources import ResourceDoor
from sandbox.cosmos.windows import RequestUnitWindow
from sandbox.factory.door import FactoryDoor
from sandbox.identity import TokenIssuer, identity_app
from sandbox.lifeline import die_with_parent
from sandbox.monitor import monitor_app

HOST = "127.0.0.1"
# The Cosmos SDK takes the port off the URL when it makes its scope.
_COSMOS_AUDIENCES = frozenset({COMMON_AUDIENCE, f"https://{HOST}", "https://localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What opens the account and the identity endpoint."""

    cosmos_key: str
    identity_header: str


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the parent is gone."""
    options = _parser().parse_args(arguments)
    die_with_parent()
    asyncio.run(_serve(options))


async def _serve(options: argparse.Namespace) -> None:
    secrets = Secrets(**json.loads(options.secrets_file.read_text()))
    issuer = TokenIssuer()
    account = _account(options)
    gate = Gate(key=secrets.cosmos_key, issuer=issuer, audiences=_COSMOS_AUDIENCES)
    proxy = MeteredProxy(account, gate, backing_url=options.backing_url)
    door = FactoryDoor(issuer)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(options.certificate, options.certificate_key)
    cosmos_port = await _listen(_proxy_app(proxy), tls)
    cosmos_url = f"https://{HOST}:{cosmos_port}"
    resources = ResourceDoor(account, issuer, cosmos_url=cosmos_url, key=secrets.cosmos_key)
    ports = {
        "cosmos_port": cosmos_port,
        "monitor_port": await _listen(monitor_app(account, issuer, door, resources), tls),
        "identity_port": await _listen(
            identity_app(issuer, header_secret=secrets.identity_header), None
        ),
        "admin_port": await _listen(control_app(account, door), None),
    }
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def _account(options: argparse.Namespace) -> Account:
    account = Account(
        resource_id=options.resource_id,
        windows=[
            RequestUnitWindow(limit_ru_per_s=options.ru_per_s) for _ in range(options.partitions)
        ],
        tariff=Tariff(ru_per_300_kb=options.ru_per_300_kb),
        delay=MonitorDelay(lag_s=options.lag_s, loss_share=options.loss_share, seed=options.seed),
        is_provisioned=options.provisioned,
        throttles_numbers_midway=not options.whole_numbers,
        logs=Workspace(exists=not options.without_logs, lag_s=options.logs_lag_s),
    )
    history = History(
        minutes=options.history_minutes,
        ru_per_s=options.history_ru_per_s,
        database=options.history_database,
        container=options.history_container,
    )
    backfill(account.series, history, partitions=options.partitions, now_s=time.time())
    return account


def _proxy_app(proxy: MeteredProxy) -> web.Application:
    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    app.router.add_route("*", "/{tail:.*}", proxy.answer)
    app.on_startup.append(proxy.open)
    app.on_cleanup.append(proxy.close)
    return app


async def _listen(app: web.Application, tls: ssl.SSLContext | None) -> int:
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=600)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=tls, backlog=512).start()
    return int(runner.addresses[0][1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.cosmos.meter", description=__doc__)
    parser.add_argument(
        "--backing-url", required=True, help="the cosmosdb-server behind, http on loopback"
    )
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--certificate-key", type=Path, required=True)
    parser.add_argument(
        "--secrets-file", type=Path, required=True, help="JSON with cosmos_key and identity_header"
    )
    parser.add_argument("--resource-id", required=True, help="the account's ARM id")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--ru-per-s", type=float, default=5000.0, help="per physical partition")
    parser.add_argument(
        "--ru-per-300-kb", type=float, default=30.0, help="price of a 300 KB point read"
    )
    parser.add_argument("--lag-s", type=float, default=60.0, help="how late metrics are")
    parser.add_argument(
        "--loss-share", type=float, default=0.0, help="share of minutes that never appear"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides which minutes are lost")
    parser.add_argument(
        "--history-minutes", type=int, default=0, help="whole minutes of life before the sandbox"
    )
    parser.add_argument("--provisioned", action="store_true", help="not a serverless account")
    parser.add_argument(
        "--whole-numbers", action="store_true", help="no 429 between the pages of a COUNT"
    )
    parser.add_argument("--without-logs", action="store_true", help="no diagnostic settings")
    parser.add_argument("--logs-lag-s", type=float, default=180.0, help="how late logs are")
    parser.add_argument("--history-ru-per-s", type=float, default=0.0)
    parser.add_argument("--history-database", default="appdb")
    parser.add_argument("--history-container", default="records")
    return parser


if __name__ == "__main__":
    main()
