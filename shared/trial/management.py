"""The account through Azure Resource Manager: its facts, and databases and containers of a trial.

Data roles cannot make or remove either, and a trial uses no account keys. Contributor or Cosmos DB
Operator on the account can do both.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
from azure.core.rest import HttpRequest, HttpResponse

from shared.errors import NotFound, PermanentError, TransientError

API_VERSION = "2024-11-15"
CHANGE_S_MAX = 300.0  # a container is made within seconds, on a busy region within a minute
POLL_S = 2.0
_BAD_REQUEST, _NOT_FOUND = 400, 404
_DENIED = frozenset({401, 403})
_ENDED = frozenset({"Succeeded", "Failed", "Canceled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    endpoint: str
    is_serverless: bool
    write_regions: int
    regions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """A container of the trial."""

    name: str
    paths: tuple[str, ...] = ("/pk",)
    unique: tuple[str, ...] = ()
    is_optional: bool = False
    """Its name may be refused, which costs only the rows that need it."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def resource(self) -> dict[str, Any]:
        kind = "Hash" if len(self.paths) == 1 else "MultiHash"
        resource: dict[str, Any] = {
            "id": self.name,
            "partitionKey": {"paths": list(self.paths), "kind": kind, "version": 2},
            **self.extra,
        }
        if self.unique:
            resource["uniqueKeyPolicy"] = {"uniqueKeys": [{"paths": list(self.unique)}]}
        return resource


class Management:
    def __init__(
        self,
        *,
        resource_id: str,
        endpoint: str,
        credential: TokenCredential,
        ca_file: str | None = None,
    ) -> None:
        self._resource_id = resource_id
        self._endpoint = endpoint.rstrip("/")
        self._verify: dict[str, Any] = {"connection_verify": ca_file} if ca_file else {}
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            self._endpoint,
            policies=[
                RetryPolicy(retry_total=3),
                BearerTokenCredentialPolicy(credential, f"{self._endpoint}/.default"),
            ],
        )

    def facts(self) -> AccountFacts:
        properties = self._ask("GET", "").json()["properties"]
        capabilities = {each["name"] for each in properties.get("capabilities") or ()}
        regions = len(properties.get("locations") or ())
        return AccountFacts(
            endpoint=properties["documentEndpoint"],
            is_serverless="EnableServerless" in capabilities,
            write_regions=regions if properties.get("enableMultipleWriteLocations") else 1,
            regions=regions,
        )

    def databases(self) -> tuple[str, ...]:
        return tuple(each["name"] for each in self._ask("GET", "/sqlDatabases").json()["value"])

    def roles_of(self, principal_id: str) -> tuple[str, ...]:
        """The data roles of a principal on this account, by the last part of their ids."""
        found = self._ask("GET", "/sqlRoleAssignments").json()["value"]
        properties = [each["properties"] for each in found]
        return tuple(
            each["roleDefinitionId"].rsplit("/", maxsplit=1)[-1]
            for each in properties
            if each["principalId"] == principal_id
        )

    def make_database(self, name: str) -> None:
        self._change("PUT", f"/sqlDatabases/{quote(name)}", {"id": name})

    def make_container(self, database: str, plan: ContainerPlan) -> None:
        path = f"/sqlDatabases/{quote(database)}/containers/{quote(plan.name)}"
        self._change("PUT", path, plan.resource())

    def remove_container(self, database: str, name: str) -> None:
        self._gone(f"/sqlDatabases/{quote(database)}/containers/{quote(name)}")

    def remove_database(self, name: str) -> None:
        self._gone(f"/sqlDatabases/{quote(name)}")

    def _gone(self, path: str) -> None:
        try:
            self._change("DELETE", path, None)
        except NotFound:
            return

    def _change(self, method: str, path: str, resource: Mapping[str, Any] | None) -> None:
        """Ask, and wait until it is done."""
        body = None if resource is None else {"properties": {"resource": resource, "options": {}}}
        answer = self._ask(method, path, body)
        operation = answer.headers.get("Azure-AsyncOperation")
        until_s = time.monotonic() + CHANGE_S_MAX
        while operation:
            status = self._send(HttpRequest("GET", operation), operation).json()
            if status["status"] in _ENDED:
                break
            if time.monotonic() > until_s:
                raise TransientError(
                    f"{method} {path}: still {status['status']} after {CHANGE_S_MAX:.0f} s; "
                    "look at the account's activity log"
                )
            time.sleep(min(POLL_S, float(answer.headers.get("Retry-After", POLL_S))))
        if operation and status["status"] != "Succeeded":
            told = status.get("error", {}).get("message", "no reason given")
            raise PermanentError(f"{method} {path}: {status['status']}: {told}")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> HttpResponse:
        address = f"{self._endpoint}{self._resource_id}{path}"
        request = HttpRequest(method, address, params={"api-version": API_VERSION}, json=body)
        return self._send(request, path)

    def _send(self, request: HttpRequest, path: str) -> HttpResponse:
        doing = f"asking Azure Resource Manager ({request.method} {path or 'of the account'})"
        try:
            answer: HttpResponse = self._client.send_request(request, **self._verify)
            answer.read()
        except AzureError as error:
            raise TransientError(f"{doing}: no answer ({type(error).__name__})") from error
        if answer.status_code in _DENIED:
            raise PermanentError(
                f"{doing}: refused ({answer.status_code}); give yourself the role 'Cosmos DB "
                "Operator' on the account: data roles can make no databases and no containers"
            )
        if answer.status_code == _NOT_FOUND:
            raise NotFound(f"{doing}: not found (404); check --cosmos")
        if answer.status_code >= _BAD_REQUEST:
            raise PermanentError(f"{doing}: answered {answer.status_code}: {answer.text()[:300]}")
        return answer
