"""Makes one call of azure-cosmos out of the several requests that it may take here.

The caller's options go with every request, the answer has the charge of all of them, and the
caller's hook is called once, after the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from azure.core.exceptions import AzureError
from azure.core.utils import CaseInsensitiveDict
from azure.cosmos import CosmosDict, CosmosList
from azure.cosmos.exceptions import CosmosHttpResponseError
from azure.cosmos.http_constants import HttpHeaders

from shared.tiered.calling import Arguments
from shared.tiered.steps import Steps, ToCosmos

T = TypeVar("T")

CHARGE = HttpHeaders.RequestCharge
TOKEN = HttpHeaders.SessionToken
# Each request of a call goes out as its first: as urgent, in the same bucket, as patient.
CARRIED = (
    "session_token",
    "priority",
    "throughput_bucket",
    "read_timeout",
    "connection_timeout",
    "timeout",
    "excluded_locations",
)
_NOT_OURS = ("etag", HttpHeaders.SubStatus)  # of another answer than the one given


def as_one(steps: Steps[T], arguments: Arguments, connection: Any) -> Steps[T]:
    """The same steps; `connection` is the SDK's, which keeps the headers of the last answer."""
    call = _Call(carried={name: arguments[name] for name in CARRIED if name in arguments})
    try:
        result = yield from _followed(steps, call)
    except CosmosHttpResponseError as error:
        call.put_on(error)
        raise
    if call.requests:
        result = call.charged(result)
        connection.last_response_headers = call.headers
        hook = arguments.get("response_hook")
        if hook is not None:
            hook(call.headers, result or None)
    return result


def _followed(steps: Steps[T], call: _Call) -> Steps[T]:
    """Each request sent as the call's; its headers noted, whether it was answered or refused."""
    try:
        step = next(steps)
        while True:
            try:
                answer = yield (call.sent(step) if isinstance(step, ToCosmos) else step)
            except AzureError as error:
                if isinstance(step, ToCosmos):
                    call.note(step, getattr(error, "headers", None) or {})
                step = steps.throw(error)
            else:
                if isinstance(answer, CosmosDict | CosmosList) and isinstance(step, ToCosmos):
                    call.note(step, answer.get_response_headers())
                step = steps.send(answer)
    except StopIteration as ended:
        result: T = ended.value
        return result


@dataclass(slots=True, kw_only=True)
class _Call:
    """The options and the headers of one call's requests."""

    carried: Arguments
    requests: int = 0
    charge: float = 0.0
    headers: CaseInsensitiveDict = field(default_factory=CaseInsensitiveDict)

    def sent(self, step: ToCosmos) -> ToCosmos:
        if step.method == "read":
            return step
        given = {**self.carried, **step.arguments}
        given.pop("response_hook", None)
        if "session_token" in self.carried:
            given["session_token"] = self.carried["session_token"]
        if step.method == "delete_item":  # its answer is None, so only a hook sees its headers
            given["response_hook"] = lambda headers, _: self.note(step, headers)
        return replace(step, arguments=given)

    def note(self, step: ToCosmos, headers: Mapping[str, Any]) -> None:
        if step.method == "read":
            return
        self.requests += 1
        self.charge += float(headers.get(CHARGE) or 0.0)
        self.headers = CaseInsensitiveDict(headers)
        token = headers.get(TOKEN)
        if token and "session_token" in self.carried and step.method != "read_items":
            self.carried["session_token"] = token  # never older than what this call has seen

    def charged(self, result: Any) -> Any:
        """The result with the charge of all requests; one of a single request is as it was."""
        if isinstance(result, CosmosDict | CosmosList):
            self.headers = CaseInsensitiveDict(result.get_response_headers())
        if self.requests > 1:
            self.headers[CHARGE] = str(round(self.charge, 2))
            if isinstance(result, CosmosDict):
                return CosmosDict(dict(result), response_headers=self.headers)
            if isinstance(result, CosmosList):
                return CosmosList(list(result), response_headers=self.headers)
        return result

    def put_on(self, error: CosmosHttpResponseError) -> None:
        """Our own errors have the last answer's headers, and each one the whole charge."""
        headers = CaseInsensitiveDict(getattr(error, "headers", None) or {})
        if not headers:
            headers.update(self.headers)
            for name in _NOT_OURS:
                headers.pop(name, None)
        elif self.requests < 2:  # noqa: PLR2004 - Cosmos DB's own answer to the only request
            return
        headers[CHARGE] = str(round(self.charge, 2))
        error.headers = headers
