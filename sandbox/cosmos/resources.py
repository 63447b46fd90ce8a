"""The account as Azure Resource Manager shows it: its facts, databases, containers and roles.

It keeps nothing itself: databases and containers are made through the account's own door, with its
key. Each change is answered 202 and is done later, as in Azure.
"""

import datetime as dt
import json
import ssl
import time
import uuid
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
from aiohttp import web
from yarl import URL

from sandbox.cosmos.account import Account
from sandbox.cosmos.authorization import key_signature
from sandbox.factory.door import AUDIENCES
from sandbox.identity import PRINCIPAL_ID, TokenIssuer

CONTRIBUTOR = "00000000-0000-0000-0000-000000000002"
_OPERATIONS = "/providers/Microsoft.DocumentDB/locations/westeurope/operationsStatus/"
_OK, _ACCEPTED, _BAD_REQUEST, _NOT_FOUND, _CONFLICT = 200, 202, 400, 404, 409

Data = dict[str, Any]


class ResourceDoor:
    """Lets callers with a token for management make and remove databases and containers."""

    def __init__(self, account: Account, issuer: TokenIssuer, *, cosmos_url: str, key: str) -> None:
        """Serve the account that listens at that address."""
        self._account = account
        self._issuer = issuer
        self._cosmos_url = cosmos_url.rstrip("/")
        self._key = key
        self._asked: dict[str, int] = {}
        self._session: aiohttp.ClientSession | None = None

    def add_to(self, app: web.Application) -> None:
        """Serve the account's own routes, and nothing of Monitor's or the factory's."""
        account = "/{tail:(?i:subscriptions/[^/]+/resourceGroups/[^/]+/providers/"
        account += "Microsoft\\.DocumentDB/databaseAccounts/[^/]+(/sql.*)?)}"
        app.router.add_route("*", account, self._answer)
        app.router.add_get(f"/subscriptions/{{id}}{_OPERATIONS}{{operation}}", self._operation)
        app.on_startup.append(self._open)
        app.on_cleanup.append(self._close)

    async def _open(self, _: web.Application) -> None:
        trusting = ssl.create_default_context()
        # It speaks to this very process, on loopback.
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting))

    async def _close(self, _: web.Application) -> None:
        if self._session is not None:
            await self._session.close()

    async def _answer(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        path = unquote(request.raw_path.partition("?")[0])
        own = self._account.resource_id
        if not path.lower().startswith(own.lower()):
            return _error(_NOT_FOUND, "ResourceNotFound", f"there is no {path}")
        match [part for part in path[len(own) :].split("/") if part]:
            case [] if request.method == "GET":
                return web.json_response(self._facts())
            case ["sqlRoleAssignments"] if request.method == "GET":
                return web.json_response({"value": [self._assignment()]})
            case ["sqlDatabases"] if request.method == "GET":
                return await self._listed("/dbs", "Databases")
            case ["sqlDatabases", database, "containers"] if request.method == "GET":
                return await self._listed(f"/dbs/{quote(database)}/colls", "DocumentCollections")
            case ["sqlDatabases", database]:
                return await self._one(request, "/dbs", database)
            case ["sqlDatabases", database, "containers", container]:
                return await self._one(request, f"/dbs/{quote(database)}/colls", container)
            case _:
                return _error(_BAD_REQUEST, "BadRequest", f"{request.method} {path} is not served")

    def _refused(self, request: web.Request) -> web.Response | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        audiences = AUDIENCES | {f"https://{request.host}", f"https://{request.url.host}"}
        check = self._issuer.check(token, audiences=audiences, now_s=time.time())
        if scheme.lower() != "bearer" or not check.accepted:
            return _error(401, "AuthenticationFailed", f"Authentication failed: {check.reason}")
        if "api-version" not in request.query:
            return _error(_BAD_REQUEST, "MissingApiVersionParameter", "api-version is missing")
        return None

    def _facts(self) -> Data:
        capabilities = [] if self._account.is_provisioned else [{"name": "EnableServerless"}]
        regions = self._account.write_regions
        places = [{"locationName": each, "failoverPriority": n} for n, each in enumerate(regions)]
        return {
            "id": self._account.resource_id,
            "name": self._account.resource_id.rsplit("/", maxsplit=1)[-1],
            "location": "West Europe",
            "kind": "GlobalDocumentDB",
            "properties": {
                "provisioningState": "Succeeded",
                "documentEndpoint": f"{self._cosmos_url}/",
                "enableMultipleWriteLocations": len(regions) > 1,
                "capabilities": capabilities,
                "locations": places,
                "writeLocations": places,
                "disableLocalAuth": True,
            },
        }

    def _assignment(self) -> Data:
        own = self._account.resource_id
        return {
            "name": str(uuid.UUID(int=2)),
            "properties": {
                "roleDefinitionId": f"{own}/sqlRoleDefinitions/{CONTRIBUTOR}",
                "principalId": PRINCIPAL_ID,
                "scope": own,
            },
        }

    async def _listed(self, path: str, name: str) -> web.Response:
        status, body = await self._call("GET", path)
        if status != _OK:
            return _error(status, "NotFound", f"there is no {path}")
        return web.json_response({"value": [_resource(each) for each in body[name]]})

    async def _one(self, request: web.Request, folder: str, name: str) -> web.Response:
        path = f"{folder}/{quote(name)}"
        if request.method == "GET":
            status, body = await self._call("GET", path)
            if status != _OK:
                return _error(_NOT_FOUND, "NotFound", f"there is no {path}")
            return web.json_response(_resource(body))
        if request.method == "DELETE":
            status, _ = await self._call("DELETE", path)
        else:
            wanted = (await request.json())["properties"]["resource"]
            status, _ = await self._call("POST", folder, wanted)
        if status >= _BAD_REQUEST and status not in {_NOT_FOUND, _CONFLICT}:
            return _error(status, "BadRequest", f"{request.method} of {path} failed: {status}")
        return self._accepted(request)

    def _accepted(self, request: web.Request) -> web.Response:
        operation = str(uuid.uuid4())
        self._asked[operation] = 0
        subscription = request.path.split("/")[2]
        where = f"https://{request.host}/subscriptions/{subscription}{_OPERATIONS}{operation}"
        headers = {"Azure-AsyncOperation": f"{where}?api-version=2024-11-15", "Retry-After": "0"}
        return web.json_response({"status": "Enqueued"}, status=_ACCEPTED, headers=headers)

    async def _operation(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        operation = request.match_info["operation"]
        if operation not in self._asked:
            return _error(_NOT_FOUND, "NotFound", f"there is no operation {operation}")
        self._asked[operation] += 1
        done = self._asked[operation] > 1
        status = {"status": "Succeeded" if done else "Dequeued"}
        return web.json_response(status, headers={"Retry-After": "0"})

    async def _call(
        self, method: str, path: str, wanted: Mapping[str, Any] | None = None
    ) -> tuple[int, Data]:
        assert self._session is not None  # noqa: S101 - the app opens it before it serves
        date = formatdate(dt.datetime.now(dt.UTC).timestamp(), usegmt=True)
        signature = key_signature(self._key, method, path, date)
        headers = {
            "x-ms-date": date,
            "x-ms-version": "2020-07-15",
            "authorization": quote(f"type=master&ver=1.0&sig={signature}", safe=""),
        }
        data = None if wanted is None else json.dumps(wanted)
        url = URL(self._cosmos_url + path, encoded=True)
        async with self._session.request(method, url, data=data, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else {}


def _resource(body: Data) -> Data:
    return {"name": body["id"], "properties": {"resource": body}}


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
