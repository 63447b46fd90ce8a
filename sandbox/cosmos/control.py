"""Serves the meter's admin API in plain JSON on loopback: limits, prices, faults, delay, series."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sandbox.alerts import AlertRule, AlertWatch
from sandbox.cosmos.account import Account, History, backfill
from sandbox.cosmos.charges import Tariff
from sandbox.cosmos.faults import fault_rule
from sandbox.errors import SandboxError
from sandbox.factory.door import FactoryDoor

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def control_app(account: Account, door: FactoryDoor) -> web.Application:
    """Serve the account's controls."""
    control = _Control(account, door, AlertWatch(account))
    app = web.Application(middlewares=[_problems])
    app.router.add_get("/state", control.state)
    app.router.add_put("/limits", control.limits)
    app.router.add_put("/tariff", control.tariff)
    app.router.add_put("/monitor", control.monitor)
    app.router.add_put("/regions", control.regions)
    app.router.add_put("/logs", control.logs)
    app.router.add_get("/series", control.series)
    app.router.add_get("/totals", control.totals)
    app.router.add_post("/faults", control.add_fault)
    app.router.add_delete("/faults", control.clear_faults)
    app.router.add_post("/reset", control.reset)
    app.router.add_post("/history", control.history)
    app.router.add_put("/factory", control.factory)
    app.router.add_put("/alerts", control.watch)
    app.router.add_get("/alerts", control.alerts)
    return app


class _Control:
    def __init__(self, account: Account, door: FactoryDoor, watch: AlertWatch) -> None:
        self._account = account
        self._watch = watch
        self._door = door

    async def state(self, _: web.Request) -> web.Response:
        account = self._account
        return web.json_response(
            {
                "now_s": time.time(),
                "resource_id": account.resource_id,
                "limits_ru_per_s": [window.limit_ru_per_s for window in account.windows],
                "ru_per_300_kb": account.tariff.ru_per_300_kb,
                "lag_s": account.delay.lag_s,
                "loss_share": account.delay.loss_share,
                "faults": account.faults.state(),
            }
        )

    async def limits(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        ru_per_s = float(wanted["ru_per_s"])
        for index, window in enumerate(self._account.windows):
            if wanted.get("partition") in (None, index):
                window.limit_ru_per_s = ru_per_s
        return await self.state(request)

    async def tariff(self, request: web.Request) -> web.Response:
        self._account.tariff = Tariff(**await request.json())
        return await self.state(request)

    async def regions(self, request: web.Request) -> web.Response:
        self._account.write_regions = tuple((await request.json())["write"])
        return await self.state(request)

    async def monitor(self, request: web.Request) -> web.Response:
        for name, value in (await request.json()).items():
            setattr(self._account.delay, name, value)
        return await self.state(request)

    async def logs(self, request: web.Request) -> web.Response:
        for name, value in (await request.json()).items():
            setattr(self._account.logs, name, value)
        return await self.state(request)

    async def series(self, request: web.Request) -> web.Response:
        since_s = float(request.query.get("since", "0"))
        grain = request.query.get("grain", "second")
        return web.json_response(self._account.series.rows(since_s=since_s, grain=grain))

    async def totals(self, _: web.Request) -> web.Response:
        totals: dict[str, dict[str, Any]] = {}
        for row in self._account.series.rows(since_s=0, grain="second"):
            total = totals.setdefault(
                str(row["origin"]), {"ru": 0.0, "requests": 0, "throttled": 0}
            )
            for name in total:
                total[name] += row[name]
        return web.json_response(totals)

    async def add_fault(self, request: web.Request) -> web.Response:
        return web.json_response({"id": self._account.faults.add(fault_rule(await request.json()))})

    async def clear_faults(self, request: web.Request) -> web.Response:
        self._account.faults.clear()
        return await self.state(request)

    async def history(self, request: web.Request) -> web.Response:
        told = History(**await request.json())
        self._account.series.clear()
        partitions = self._account.partitions
        backfill(self._account.series, told, partitions=partitions, now_s=time.time())
        return await self.state(request)

    async def factory(self, request: web.Request) -> web.Response:
        self._door.url = str((await request.json())["url"])
        return await self.state(request)

    async def watch(self, request: web.Request) -> web.Response:
        self._watch.watch(AlertRule(**await request.json()))
        return await self.state(request)

    async def alerts(self, _: web.Request) -> web.Response:
        return web.json_response(self._watch.posts)

    async def reset(self, request: web.Request) -> web.Response:
        self._account.reset()
        return await self.state(request)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (SandboxError, KeyError, TypeError, ValueError, AttributeError) as error:
        return web.json_response(
            {"message": f"{request.method} {request.path}: {error}"}, status=422
        )
