"""Serves the factory's part of Azure's management API and its own controls, over plain http.

Tokens were checked by the management endpoint in front, which passes everything on to here.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, NoReturn

import aiohttp
from aiohttp import web

from sandbox.errors import SandboxError
from sandbox.factory.door import REQUEST_BYTES_MAX
from sandbox.factory.factory import Factory
from sandbox.factory.records import BadQuery, activity_facts, run_facts
from sandbox.factory.resources import KINDS, Refused, Resource
from sandbox.factory.webhook import CALLBACK_PATH

API_VERSION = "2018-06-01"
RETRY_AFTER_S = 1
_STATUS_OF = {"status_403": 403, "status_429": 429, "status_500": 500, "status_503": 503}
_CODE_OF = {
    403: "AuthorizationFailed",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}

Data = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def factory_app(factory: Factory) -> web.Application:
    """Serve one factory."""
    app = web.Application(client_max_size=REQUEST_BYTES_MAX, middlewares=[_problems])
    routes = _Management(factory)
    base = "/{subscription:(?i:subscriptions/.+/factories/[^/]+)}"
    runs = base + "/{runs:(?i:pipelineruns)}/{run}"
    one = base + "/{kind:(?i:linkedservices|datasets|pipelines)}/{name}"
    app.router.add_get(base, routes.answered("read", routes.itself))
    app.router.add_put(one, routes.answered("deploy", routes.put))
    app.router.add_get(one, routes.answered("read", routes.get))
    app.router.add_delete(one, routes.answered("deploy", routes.delete))
    app.router.add_get(one.rpartition("/")[0], routes.answered("read", routes.all))
    app.router.add_post(one + "/createRun", routes.answered("create_run", routes.create_run))
    app.router.add_post(base + "/queryPipelineRuns", routes.answered("query_runs", routes.query))
    app.router.add_get(runs, routes.answered("get_run", routes.run))
    app.router.add_post(runs + "/cancel", routes.answered("cancel", routes.cancel))
    app.router.add_post(
        runs + "/queryActivityruns", routes.answered("query_activities", routes.activities)
    )
    app.router.add_post(CALLBACK_PATH + "{token}", routes.called_back)
    app.add_subapp("/admin", _admin_app(factory))
    app.on_startup.append(_opener(factory))
    app.on_cleanup.append(_closer(factory))
    return app


class _Management:
    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def answered(self, kind: str, handler: Handler) -> Handler:
        """Return the handler with the checks and the faults of every management call around it."""

        async def answer(request: web.Request) -> web.StreamResponse:
            fault = self._factory.faults.meet_call(kind)
            if fault in _STATUS_OF:
                return _refusal(_STATUS_OF[fault])
            if request.query.get("api-version") != API_VERSION:
                raise Refused(
                    400,
                    "NoRegisteredProviderFound",
                    f"api-version {request.query.get('api-version')!r} is not {API_VERSION}",
                )
            asked = "/" + request.match_info["subscription"]
            if asked.lower() != self._factory.resource_id.lower():
                raise Refused(404, "ResourceNotFound", f"The resource {asked} was not found.")
            done = await handler(request)
            if fault == "lose_reply":
                _cut(request)
            return done

        return answer

    async def itself(self, _: web.Request) -> web.Response:
        facts = {"provisioningState": "Succeeded", "version": API_VERSION}
        return web.json_response(
            {
                "id": self._factory.resource_id,
                "name": self._factory.name,
                "type": "Microsoft.DataFactory/factories",
                "location": "westeurope",
                "identity": {"type": "SystemAssigned"},
                "properties": facts,
            }
        )

    async def put(self, request: web.Request) -> web.Response:
        kind, name = _resource_name(request)
        put = self._factory.resources.put(
            kind, name, await _json(request), if_match=_etag(request, "If-Match")
        )
        return web.json_response(self._shown(kind, put), headers={"ETag": put.etag})

    async def get(self, request: web.Request) -> web.Response:
        kind, name = _resource_name(request)
        found = self._factory.resources.get(kind, name)
        if _etag(request, "If-None-Match") == found.etag:
            return web.Response(status=304, headers={"ETag": found.etag})
        return web.json_response(self._shown(kind, found), headers={"ETag": found.etag})

    async def delete(self, request: web.Request) -> web.Response:
        kind, name = _resource_name(request)
        return web.Response(status=200 if self._factory.resources.drop(kind, name) else 204)

    async def all(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"].lower()
        found = self._factory.resources.all(kind)
        return web.json_response({"value": [self._shown(kind, resource) for resource in found]})

    async def create_run(self, request: web.Request) -> web.Response:
        kind, name = _resource_name(request)
        if kind != "pipelines":
            raise Refused(404, "ResourceNotFound", f"{kind} do not run")
        given = await _json(request) if request.can_read_body else {}
        if "referencePipelineRunId" in request.query:
            # Azure then ignores the parameters; whoever sends both is mistaken.
            given = self._factory.run(request.query["referencePipelineRunId"]).parameters
        if not isinstance(given, dict):
            raise Refused(400, "BadRequest", "the body must be an object of parameters")
        return web.json_response({"runId": self._factory.create_run(name, given).id})

    async def run(self, request: web.Request) -> web.Response:
        run = self._factory.run(request.match_info["run"])
        return web.json_response(run_facts(run, resource_id=self._factory.resource_id))

    async def cancel(self, request: web.Request) -> web.Response:
        self._factory.cancel(self._factory.run(request.match_info["run"]))
        return web.Response(status=200)

    async def query(self, request: web.Request) -> web.Response:
        asked = await _json(request)
        found = self._factory.book.query(asked)
        first = int(asked.get("continuationToken") or 0)
        until = first + self._factory.conduct.answer_rows_max
        resource_id = self._factory.resource_id
        answer: Data = {
            "value": [run_facts(r, resource_id=resource_id) for r in found[first:until]]
        }
        if until < len(found):
            answer["continuationToken"] = str(until)
        return web.json_response(answer)

    async def activities(self, request: web.Request) -> web.Response:
        run = self._factory.run(request.match_info["run"])
        found = self._factory.book.activities(run, await _json(request))
        resource_id = self._factory.resource_id
        return web.json_response(
            {"value": [activity_facts(run, a, resource_id=resource_id) for a in found]}
        )

    async def called_back(self, request: web.Request) -> web.Response:
        body = await _json(request) if request.can_read_body else {}
        if not isinstance(body, dict):
            raise Refused(400, "BadRequest", "the callback's body must be a JSON object")
        if not self._factory.callbacks.take(request.match_info["token"], body):
            raise Refused(404, "NotFound", "nothing waits for this callback any more")
        return web.json_response({})

    def _shown(self, kind: str, resource: Resource) -> Data:
        return {
            "id": f"{self._factory.resource_id}/{kind}/{resource.name}",
            "name": resource.name,
            "type": f"Microsoft.DataFactory/factories/{kind}",
            "etag": resource.etag,
            "properties": resource.properties,
        }


def _admin_app(factory: Factory) -> web.Application:
    async def state(_: web.Request) -> web.Response:
        return web.json_response(
            {"conduct": asdict(factory.conduct), "faults": factory.faults.state()}
        )

    async def conduct(request: web.Request) -> web.Response:
        factory.conduct = factory.conduct.changed(await request.json())
        return await state(request)

    async def add_fault(request: web.Request) -> web.Response:
        factory.faults.add(await request.json())
        return await state(request)

    async def clear_faults(request: web.Request) -> web.Response:
        factory.faults.clear()
        return await state(request)

    async def runs(_: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    **run_facts(run, resource_id=factory.resource_id),
                    "activities": [
                        activity_facts(run, activity, resource_id=factory.resource_id)
                        for activity in run.activities
                    ],
                    "isZombie": run.is_zombie,
                    "cancelAsked": run.cancel_asked,
                }
                for run in factory.book.runs.values()
            ]
        )

    async def bill(_: web.Request) -> web.Response:
        return web.json_response(factory.bill())

    app = web.Application()
    app.router.add_get("/state", state)
    app.router.add_put("/conduct", conduct)
    app.router.add_post("/faults", add_fault)
    app.router.add_delete("/faults", clear_faults)
    app.router.add_get("/runs", runs)
    app.router.add_get("/bill", bill)
    return app


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return _error(refused.status, refused.code, refused.message)
    except BadQuery as error:
        return _error(400, "BadRequest", str(error))
    except SandboxError as error:
        return _error(422, "Sandbox", str(error))
    except web.HTTPNotFound:
        return _error(404, "ResourceNotFound", f"{request.method} {request.path} is not served")


def _opener(factory: Factory) -> Callable[[web.Application], Awaitable[None]]:
    async def open_session(_: web.Application) -> None:
        factory.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    return open_session


def _closer(factory: Factory) -> Callable[[web.Application], Awaitable[None]]:
    async def close(_: web.Application) -> None:
        tasks = [run.task for run in factory.book.runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if factory.session is not None:
            await factory.session.close()

    return close


def _resource_name(request: web.Request) -> tuple[str, str]:
    kind = request.match_info["kind"].lower()
    if kind not in KINDS:
        raise Refused(404, "ResourceNotFound", f"there are no {kind}")
    return kind, request.match_info["name"]


def _etag(request: web.Request, header: str) -> str | None:
    value = request.headers.get(header)
    return None if value is None else value.strip('"')


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except json.JSONDecodeError as error:
        raise Refused(400, "BadRequest", f"the body is not JSON: {error}") from error


def _cut(request: web.Request) -> NoReturn:
    """End the connection without an answer; what was asked has been done."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


def _refusal(status: int) -> web.Response:
    answer = _error(status, _CODE_OF[status], "The request could not be served at the moment.")
    if status == 429:  # noqa: PLR2004 - Too Many Requests
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
