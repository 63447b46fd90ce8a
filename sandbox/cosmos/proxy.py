"""Forwards requests to the backing server, charged and throttled; it keeps no documents."""

import asyncio
import json
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from yarl import URL

from sandbox.cosmos import charges
from sandbox.cosmos.account import Account
from sandbox.cosmos.authorization import Gate, is_token
from sandbox.cosmos.bounds import fault_of
from sandbox.cosmos.faults import FaultRule
from sandbox.cosmos.operations import Operation, is_query, operation_of, origin_of
from sandbox.cosmos.partitions import backing_name, is_backing_only, key_ranges, partition_of
from sandbox.cosmos.query_plan import query_plan
from sandbox.cosmos.series import Cell
from sandbox.errors import SandboxError

DOCUMENT_BYTES_MAX = 2 * 1024 * 1024
# A transactional batch may carry 2 MB; the rest is for JSON escapes that a document doesn't count.
REQUEST_BYTES_MAX = 8 * 1024 * 1024
RESTART = "sandbox-restart"
_MIDWAY_WAIT_S = 0.1
_CROSS_PARTITION_NOT_SERVABLE = "1004"
_RU_RATE_TOO_LARGE = "3200"
_KEY_FULL = "1014"
_NO_ROLE = "5301"
_NOT_BY_TOKEN = "5300"
_OWNER_NOT_FOUND = "1003"
_WHOLE_DOCUMENTS = frozenset({"Create", "Upsert", "Replace"})
_OK, _NO_CONTENT, _NOT_MODIFIED, _BAD_REQUEST = 200, 204, 304, 400
# The backing server answers a read or query only when it is told that partitions don't matter.
_PASSED_REQUEST_HEADERS = (
    "content-type",
    "x-ms-documentdb-isquery",
    "x-ms-documentdb-is-upsert",
    "x-ms-cosmos-is-batch-request",
    "x-ms-cosmos-batch-atomic",
    "x-ms-cosmos-batch-continue-on-error",
    "x-ms-documentdb-partitionkey",
    "x-ms-max-item-count",
    "x-ms-continuation",
    "if-match",
    "prefer",
)
_PASSED_ANSWER_HEADERS = ("content-type", "x-ms-continuation", "x-ms-item-count", "etag")


class Refusal(Exception):
    """An answer that the meter gives without asking the backing server."""

    def __init__(
        self, status: int, message: str, *, substatus: str = "", retry_after_ms: int | None = None
    ) -> None:
        """Hold what the client gets."""
        super().__init__(message)
        self.status, self.message, self.substatus, self.retry_after_ms = (
            status,
            message,
            substatus,
            retry_after_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backed:
    """What the backing server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def number(self, name: str, default: int = 0) -> int:
        """Return a header that counts something."""
        return int(self.headers.get(name, default))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Container:
    name: str
    kind: str
    version: int


class MeteredProxy:
    """One Cosmos DB account as its clients see it."""

    def __init__(self, account: Account, gate: Gate, *, backing_url: str) -> None:
        """Serve this account from that backing server, which must answer on loopback."""
        self._account = account
        self._gate = gate
        self._backing_url = backing_url.rstrip("/")
        self._containers: dict[tuple[str, str], _Container] = {}
        self._interrupted: set[tuple[str, str]] = set()
        self._session: aiohttp.ClientSession | None = None

    async def open(self, _: web.Application) -> None:
        """Open connections to the backing server, without a limit: the pacing is the meter's."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=300)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, read_bufsize=2**20
        )

    async def close(self, _: web.Application) -> None:
        """Close them."""
        if self._session is not None:
            await self._session.close()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one client request."""
        body = await request.read() if request.body_exists else b""
        operation = operation_of(request.method, request.raw_path, request.headers, body)
        check = self._gate.check(
            request.method, request.raw_path, request.headers, now_s=time.time()
        )
        if not check.accepted:
            return _refused(Refusal(401, f"the request is not authorized: {check.reason}"))
        try:
            if operation.kind in ("read", "write", "query", "count"):
                return await self._documents(request, operation, body)
            return await self._about(request, operation, body)
        except Refusal as refusal:
            return _refused(refusal)

    # Documents

    async def _documents(
        self, request: web.Request, operation: Operation, body: bytes
    ) -> web.StreamResponse:
        container = await self._container(operation)
        partition = self._route(request.headers, operation, container)
        if (
            operation.kind == "write"
            and len(body) > DOCUMENT_BYTES_MAX
            and operation.name != "Batch"
        ):
            raise Refusal(
                413, f"the document has {len(body)} bytes; the most is {DOCUMENT_BYTES_MAX}"
            )
        if operation.name in _WHOLE_DOCUMENTS and (why := fault_of(body)):
            raise Refusal(400, f"One of the specified inputs is invalid: {why}")
        origin = origin_of(request.headers.get("user-agent", ""))
        fault = self._account.faults.meet(
            origin=origin,
            kind=operation.kind,
            first_page="x-ms-continuation" not in request.headers,
        )
        wait_s = self._account.windows[partition].wait_s(time.time())
        cell = Cell(
            origin=origin,
            partition=partition,
            database=operation.database,
            container=container.name,
            operation=operation.name,
            status=429,
        )
        if fault is not None and fault.fault == "throttle_first_page":
            wait_s = fault.retry_after_ms / 1000
        if self._interrupts(request.headers, operation):
            wait_s = max(wait_s, _MIDWAY_WAIT_S)
        if wait_s > 0:
            self._account.series.record(time.time(), cell, 0.0)
            raise Refusal(
                429,
                "Request rate is large. More Request Units may be needed, so no changes were made.",
                substatus=_RU_RATE_TOO_LARGE,
                retry_after_ms=max(1, math.ceil(wait_s * 1000)),
            )
        if fault is not None and (answer := await self._before(fault, request)) is not None:
            return answer
        backed = await self._forward(
            request, self._path(request, operation, container, partition), body
        )
        ru = self._price(operation, backed, body)
        self._account.book(cell._replace(status=backed.status), ru)
        response = _passed(backed, ru)
        return response if fault is None else await _after(fault, request, response, backed)

    async def _before(self, fault: FaultRule, request: web.Request) -> web.StreamResponse | None:
        if fault.fault == "slow":
            await asyncio.sleep(fault.slow_ms / 1000)
        if fault.fault == "reset":
            _cut(request)
            raise ConnectionResetError
        if fault.fault == "status_403":
            raise Refusal(
                403,
                "Request blocked by Auth: the principal does not have the required RBAC "
                "permissions to perform this action.",
                substatus=_NO_ROLE,
            )
        if fault.fault == "partition_key_full":
            raise Refusal(403, "Partition key reached maximum size of 20 GB", substatus=_KEY_FULL)
        if fault.fault in _PASSING:
            raise _passing(fault.fault)
        if fault.fault == "empty_page_with_continuation":
            token = request.headers.get("x-ms-continuation", RESTART)
            headers = {
                "x-ms-continuation": token,
                "x-ms-item-count": "0",
                **_common(self._account.tariff.query_base_ru),
            }
            return web.json_response({"_rid": "", "Documents": [], "_count": 0}, headers=headers)
        return None

    def _interrupts(self, headers: Mapping[str, str], operation: Operation) -> bool:
        """Whether a number's later page is refused; once in each container."""
        place = (operation.database, operation.container)
        if (
            not self._account.throttles_numbers_midway
            or operation.kind != "count"
            or "x-ms-continuation" not in headers
            or place in self._interrupted
        ):
            return False
        self._interrupted.add(place)
        return True

    def _price(self, operation: Operation, backed: Backed, body: bytes) -> float:
        tariff = self._account.tariff
        if backed.status >= _BAD_REQUEST:
            return tariff.failed_ru
        if operation.kind == "read":
            return charges.point_read_ru(tariff, len(backed.body))
        if operation.kind == "write":
            # The backing server says how large a deleted document was; the others came or went.
            size = backed.number("x-sandbox-loaded-bytes") or len(backed.body) or len(body)
            return charges.write_ru(tariff, size)
        if "x-sandbox-matched" in backed.headers:
            return charges.aggregate_ru(tariff, matched=backed.number("x-sandbox-matched"))
        loaded = backed.number("x-sandbox-loaded-bytes")
        return charges.query_page_ru(
            tariff, items=backed.number("x-ms-item-count"), loaded_bytes=loaded
        )

    def _route(
        self, headers: Mapping[str, str], operation: Operation, container: _Container
    ) -> int:
        count = self._account.partitions
        if "x-ms-start-epk" in headers or "x-ms-end-epk" in headers:
            raise Refusal(
                400,
                "the sandbox answers whole feed ranges only, as read_feed_ranges() gives them",
            )
        if "a-im" in headers:
            raise Refusal(400, "the sandbox has no change feed: query by _ts instead")
        if (range_id := headers.get("x-ms-documentdb-partitionkeyrangeid")) is not None:
            wanted = range_id.rpartition(",")[2]
            if not wanted.isdigit() or int(wanted) >= count:
                raise Refusal(
                    410,
                    f"partition key range {range_id!r} is gone; there are {count}",
                    substatus="1002",
                )
            return int(wanted)
        if (key := headers.get("x-ms-documentdb-partitionkey")) is not None:
            return partition_of(key, kind=container.kind, version=container.version, count=count)
        if count == 1:
            return 0
        if operation.kind in ("query", "count"):
            raise Refusal(
                400,
                "Cross partition query cannot be served by the gateway: get the query plan.",
                substatus=_CROSS_PARTITION_NOT_SERVABLE,
            )
        raise Refusal(
            400,
            "PartitionKey extracted from document doesn't match the one specified in the header.",
        )

    async def _container(self, operation: Operation) -> _Container:
        key = (operation.database, operation.container)
        if (found := self._containers.get(key)) is not None:
            return found
        backed = await self._call("GET", _address(*key))
        if backed.status != _OK:
            raise Refusal(
                404,
                f"container {key[1]!r} of database {key[0]!r} does not exist",
                substatus=_OWNER_NOT_FOUND,
            )
        facts = json.loads(backed.body)
        definition = facts.get("partitionKey", {})
        container = _Container(
            name=facts["id"],
            kind=definition.get("kind", "Hash"),
            version=definition.get("version", 2),
        )
        self._containers[key] = container
        return container

    def _path(
        self, request: web.Request, operation: Operation, container: _Container, partition: int
    ) -> str:
        if partition == 0:
            return request.raw_path
        tail = request.raw_path.split("/docs", 1)[1]
        return (
            _address(operation.database, backing_name(container.name, partition)) + f"/docs{tail}"
        )

    # Account, databases, containers

    async def _about(
        self, request: web.Request, operation: Operation, body: bytes
    ) -> web.StreamResponse:
        fault = self._account.faults.meet(
            origin=origin_of(request.headers.get("user-agent", "")),
            kind="metadata",
            first_page=True,
        )
        if fault is not None and (answer := await self._before(fault, request)) is not None:
            return answer
        return await self._metadata(request, operation, body)

    async def _metadata(
        self, request: web.Request, operation: Operation, body: bytes
    ) -> web.StreamResponse:
        reads = request.method == "GET" or is_query(request.method, request.headers)
        if operation.kind == "metadata" and not reads and is_token(request.headers):
            raise Refusal(
                403,
                f"The given request [{request.method} {request.path}] cannot be authorized by AAD "
                "token in data plane.",
                substatus=_NOT_BY_TOKEN,
            )
        if operation.kind == "account":
            return web.json_response(
                account_facts(f"https://{request.host}/", self._account.write_regions),
                headers=_common(0.0),
            )
        if operation.kind == "pkranges":
            return await self._key_ranges(request, operation)
        if operation.kind == "plan":
            try:
                plan = query_plan(json.loads(body).get("query", ""))
            except SandboxError as error:
                raise Refusal(400, str(error)) from error
            return web.json_response(plan, headers=_common(0.0))
        backed = await self._forward(request, request.raw_path, body)
        await self._follow(request, operation, body, backed)
        if _lists_containers(request, operation) and backed.status == _OK:
            return _passed(_without_backing_only(backed), 0.0)
        return _passed(backed, 0.0)

    async def _key_ranges(self, request: web.Request, operation: Operation) -> web.StreamResponse:
        await self._container(operation)
        headers = {**_common(0.0), "etag": '"1"'}
        if "if-none-match" in request.headers:
            return web.Response(status=_NOT_MODIFIED, headers=headers)
        ranges = [
            {
                "_rid": f"range{bounds.id}",
                "id": bounds.id,
                "_etag": '"1"',
                "minInclusive": bounds.min_inclusive,
                "maxExclusive": bounds.max_exclusive,
                "ridPrefix": int(bounds.id),
                "_self": f"pkranges/{bounds.id}/",
                "throughputFraction": 1 / self._account.partitions,
                "status": "online",
                "parents": [],
                "_ts": 0,
            }
            for bounds in key_ranges(self._account.partitions)
        ]
        return web.json_response(
            {"_rid": "", "PartitionKeyRanges": ranges, "_count": len(ranges)}, headers=headers
        )

    async def _follow(
        self, request: web.Request, operation: Operation, body: bytes, backed: Backed
    ) -> None:
        """Do to the other partitions' collections what was done to the first one's."""
        if (
            request.method == "GET"
            or backed.status >= _BAD_REQUEST
            or is_query(request.method, request.headers)
        ):
            return
        self._containers.clear()
        if "colls" not in operation.segments:
            return
        for partition in range(1, self._account.partitions):
            if request.method == "POST":
                facts = json.loads(body)
                facts["id"] = backing_name(facts["id"], partition)
                await self._call(
                    "POST", f"/dbs/{quote(operation.database)}/colls", json.dumps(facts).encode()
                )
            elif request.method == "DELETE":
                name = backing_name(operation.container, partition)
                await self._call("DELETE", _address(operation.database, name))

    # The backing server

    async def _forward(self, request: web.Request, path: str, body: bytes) -> Backed:
        headers = {
            name: request.headers[name]
            for name in _PASSED_REQUEST_HEADERS
            if name in request.headers
        }
        if is_query(request.method, request.headers):
            headers.pop("prefer", None)  # it is about the answer to a write
        if headers.get("x-ms-continuation") == RESTART:
            del headers["x-ms-continuation"]
        headers["x-ms-documentdb-query-enablecrosspartition"] = "true"
        return await self._call(request.method, path, body, headers)

    async def _call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Backed:
        if self._session is None:
            message = f"forwarding {method} {path}: the proxy is not open"
            raise SandboxError(message)
        url = URL(self._backing_url + path, encoded=True)
        async with self._session.request(method, url, data=body or None, headers=headers) as answer:
            return Backed(status=answer.status, headers=answer.headers, body=await answer.read())


def _address(database: str, container: str) -> str:
    """Names may hold spaces and any letter; an address may not."""
    return f"/dbs/{quote(database)}/colls/{quote(container)}"


def account_facts(endpoint: str, regions: Sequence[str]) -> dict[str, Any]:
    """Return the account's description; each of its locations is the endpoint itself."""
    locations = [{"name": each, "databaseAccountEndpoint": endpoint} for each in regions]
    return {
        "_self": "",
        "id": "sandbox",
        "_rid": "sandbox.documents.azure.com",
        "media": "//media/",
        "addresses": "//addresses/",
        "_dbs": "//dbs/",
        "writableLocations": locations,
        "readableLocations": locations,
        "enableMultipleWriteLocations": len(locations) > 1,
        "continuousBackupEnabled": False,
        "userReplicationPolicy": {
            "asyncReplication": False,
            "minReplicaSetSize": 3,
            "maxReplicasetSize": 4,
        },
        "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
        "systemReplicationPolicy": {"minReplicaSetSize": 3, "maxReplicasetSize": 4},
        "readPolicy": {"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
        "queryEngineConfiguration": "{}",
    }


def _lists_containers(request: web.Request, operation: Operation) -> bool:
    reads = request.method == "GET" or is_query(request.method, request.headers)
    return reads and operation.segments[-1] == "colls"


def _without_backing_only(backed: Backed) -> Backed:
    facts = json.loads(backed.body)
    key = "DocumentCollections"
    if key not in facts:
        return backed
    facts[key] = [item for item in facts[key] if not is_backing_only(item.get("id", ""))]
    facts["_count"] = len(facts[key])
    return Backed(status=backed.status, headers=backed.headers, body=json.dumps(facts).encode())


def _common(ru: float) -> dict[str, str]:
    return {
        "x-ms-request-charge": f"{ru:.2f}",
        "x-ms-activity-id": str(uuid.uuid4()),
        "x-ms-version": "2020-07-15",
    }


def _passed(backed: Backed, ru: float) -> web.Response:
    headers = {
        name: backed.headers[name] for name in _PASSED_ANSWER_HEADERS if name in backed.headers
    }
    body = None if backed.status == _NO_CONTENT else backed.body
    return web.Response(status=backed.status, body=body, headers={**headers, **_common(ru)})


def _refused(refusal: Refusal) -> web.Response:
    headers = _common(0.0)
    if refusal.substatus:
        headers["x-ms-substatus"] = refusal.substatus
    if refusal.retry_after_ms is not None:
        headers["x-ms-retry-after-ms"] = str(refusal.retry_after_ms)
    return web.json_response(
        {"code": str(refusal.status), "message": refusal.message},
        status=refusal.status,
        headers=headers,
    )


_PASSING: Mapping[str, tuple[int, str, str]] = {
    "status_503": (503, "", "Service is currently unavailable, please retry after a while."),
    "status_404_1002": (404, "1002", "The read session is not available for the input session."),
    "status_449": (449, "", "Conflicting request to resource has been attempted. Retry."),
    "status_410_1002": (410, "1002", "The requested resource is no longer available here."),
    "status_412": (412, "", "One of the specified pre-condition is not met."),
}


def _passing(fault: str) -> Refusal:
    """An answer that another try may not meet."""
    status, substatus, message = _PASSING[fault]
    return Refusal(status, message, substatus=substatus)


async def _after(
    fault: FaultRule, request: web.Request, response: web.Response, backed: Backed
) -> web.StreamResponse:
    """What becomes of an answer once everything is done."""
    if fault.fault == "truncated_body":
        return await _truncated(request, response, backed.body)
    if fault.fault == "late_503":
        raise _passing("status_503")
    if fault.fault == "lost_reply":
        _cut(request)
        raise ConnectionResetError
    return response


async def _truncated(
    request: web.Request, response: web.Response, body: bytes
) -> web.StreamResponse:
    cut = web.StreamResponse(status=response.status, headers=response.headers)
    cut.content_length = len(body)
    await cut.prepare(request)
    await cut.write(body[: len(body) // 2])
    # The half must be on the wire before the connection goes, or the client sees a reset instead.
    await asyncio.sleep(0.05)
    _cut(request)
    return cut


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
