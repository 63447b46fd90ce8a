"""One Data Factory through azure-mgmt-datafactory: Ebb's own pipeline and its runs, nothing else.

Everything goes over the wire as plain dicts where the SDK's models would lose their `type`.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.mgmt.datafactory import DataFactoryManagementClient
from azure.mgmt.datafactory.models import RunFilterParameters, RunQueryFilter

from shared.adapters.cosmos import factory_query
from shared.domain.runs import Order, Part, Run, RunCost, RunState, diu_hours
from shared.errors import EbbError, NotFound, PermanentError, Throttled, TransientError
from shared.ports import Query

PIPELINE = "ebb_copy_slice"
VERSION = "ebb-pipeline-1"
DEPLOY = "deploy it with 'ebb adf deploy'"
RETRY_AFTER_S = 30.0
PAGES_MAX = 20  # of a hundred runs each: far more than can be under way
MARGIN = dt.timedelta(hours=1)  # the factory's clock and ours need not agree

_STATES = {
    "Queued": RunState.QUEUED,
    "InProgress": RunState.RUNNING,
    "Canceling": RunState.CANCELLING,
    "Succeeded": RunState.SUCCEEDED,
    "Failed": RunState.FAILED,
    "Cancelled": RunState.CANCELLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryPlace:
    """Which factory, and where its runs ask for their verdict."""

    resource_id: str
    management_endpoint: str
    callback_url: str
    callback_key: str
    cosmos_endpoint: str
    blob_endpoint: str

    @property
    def parts(self) -> tuple[str, str, str]:
        """Subscription, resource group and name."""
        parts = self.resource_id.strip("/").split("/")
        return parts[1], parts[3], parts[-1]


class AzureFactory:
    """Needs Data Factory Contributor on this one factory."""

    def __init__(self, place: FactoryPlace, *, credential: Any, ca_file: str | None = None) -> None:
        self._place = place
        self._subscription, self._group, self._name = place.parts
        self._credential = credential
        self._ca_file = ca_file
        self._client: DataFactoryManagementClient | None = None
        self._lock = threading.Lock()

    def deploy(self, part: Part) -> None:
        body = {"properties": self._with_endpoints(part)}
        client = self._connected()
        puts: dict[str, Any] = {
            "linkedService": client.linked_services.create_or_update,
            "dataset": client.datasets.create_or_update,
            "pipeline": client.pipelines.create_or_update,
        }
        with _translated(f"deploying {part.kind} {part.name} to factory {self._name}"):
            # A dict goes over the wire as it is; the SDK's models would lose their `type`.
            puts[part.kind](self._group, self._name, part.name, body)

    def _with_endpoints(self, part: Part) -> dict[str, Any]:
        """The linked services' addresses are those that this app itself works with."""
        known = {
            "accountEndpoint": self._place.cosmos_endpoint,
            "serviceEndpoint": self._place.blob_endpoint,
        }
        properties = dict(part.properties)
        declared: Mapping[str, Any] = properties.get("parameters", {})
        properties["parameters"] = {
            name: {**told, "defaultValue": known[name]}
            if part.kind == "linkedService" and name in known
            else told
            for name, told in declared.items()
        }
        return properties

    def check(self) -> None:
        with _translated(f"looking at pipeline {PIPELINE} of factory {self._name}"):
            found = self._pipelines().get(self._group, self._name, PIPELINE)
        told = [str(each) for each in found.annotations or ()]
        if VERSION not in told:
            raise PermanentError(
                f"pipeline {PIPELINE} of factory {self._name} is marked {told}, and this Ebb needs "
                f"{VERSION}; {DEPLOY}"
            )

    def start(self, order: Order) -> str:
        container, _, prefix = order.sink.partition("/")
        query = Query(extent=order.extent, where=order.where)
        parameters = {
            "migration": order.migration,
            "slice": order.slice_id,
            "fence": order.fence,
            "database": order.database,
            "collection": order.container,
            "query": factory_query(query),
            "batchSize": order.documents,
            "pageSize": order.page_documents,
            "sinkContainer": container,
            "sinkFolder": f"{prefix}/{order.folder}".lstrip("/"),
            "attemptsMax": order.attempts_max,
            "callbackUrl": f"{self._place.callback_url}/api/slices/{order.slice_id}/validate",
            "callbackKey": self._place.callback_key,
        }
        with _translated(f"starting a run for slice {order.slice_id}"):
            answer = self._pipelines().create_run(
                self._group, self._name, PIPELINE, parameters=parameters
            )
        return str(answer.run_id)

    def runs(self, *, since_s: float) -> tuple[Run, ...]:
        found: list[Run] = []
        token: str | None = None
        for _ in range(PAGES_MAX):
            asked = RunFilterParameters(
                last_updated_after=dt.datetime.fromtimestamp(since_s, dt.UTC),
                last_updated_before=dt.datetime.now(dt.UTC) + MARGIN,
                filters=[
                    RunQueryFilter(
                        operand="PipelineName", operator="Equals", values_property=[PIPELINE]
                    )
                ],
                continuation_token=token,
            )
            with _translated(f"listing the runs of factory {self._name}"):
                answer = self._runs().query_by_factory(self._group, self._name, asked)
            found += [run for each in answer.value if (run := _run(each)) is not None]
            token = answer.continuation_token
            if not token:
                return tuple(found)
        raise TransientError(
            f"listing the runs of factory {self._name}: over {PAGES_MAX} pages; look what begins "
            f"runs of {PIPELINE} there"
        )

    def run(self, run_id: str) -> Run | None:
        with _translated(f"looking at run {run_id}"):
            try:
                return _run(self._runs().get(self._group, self._name, run_id))
            except HttpResponseError as error:
                if error.status_code != 404:  # noqa: PLR2004 - HTTP's own number
                    raise
                return None

    def cancel(self, run_id: str) -> None:
        with _translated(f"cancelling run {run_id}"):
            try:
                self._runs().cancel(self._group, self._name, run_id, is_recursive=True)
            except HttpResponseError as error:
                if error.status_code not in {400, 404, 409}:  # it has ended, or is gone
                    raise

    def cost(self, run: Run) -> RunCost:
        ended = run.ended_at_s or dt.datetime.now(dt.UTC).timestamp()
        asked = RunFilterParameters(
            last_updated_after=dt.datetime.fromtimestamp(run.started_at_s, dt.UTC) - MARGIN,
            last_updated_before=dt.datetime.fromtimestamp(ended, dt.UTC) + MARGIN,
        )
        with _translated(f"listing the activities of run {run.id}"):
            answer = self._connected().activity_runs.query_by_pipeline_run(
                self._group, self._name, run.id, asked
            )
        return RunCost(
            activity_runs=len(answer.value),
            diu_hours=sum(diu_hours(_billing(each.output)) for each in answer.value),
        )

    def _pipelines(self) -> Any:
        return self._connected().pipelines

    def _runs(self) -> Any:
        return self._connected().pipeline_runs

    def _connected(self) -> DataFactoryManagementClient:
        with self._lock:
            if self._client is None:
                endpoint = self._place.management_endpoint.rstrip("/")
                options: dict[str, Any] = {"retry_total": 0}
                if self._ca_file:
                    options["connection_verify"] = self._ca_file
                self._client = DataFactoryManagementClient(
                    self._credential,
                    self._subscription,
                    base_url=endpoint,
                    credential_scopes=[f"{endpoint}/.default"],
                    **options,
                )
            return self._client


class NoFactory:
    """No factory was named: nothing can be copied by one, and nothing runs in one."""

    def deploy(self, part: Part) -> None:  # noqa: ARG002 - the port's shape
        self.check()

    def check(self) -> None:
        raise PermanentError(
            "this Ebb has no Data Factory; set EBB_FACTORY_RESOURCE_ID and EBB_CALLBACK_URL, or "
            "write engine: embedded"
        )

    def start(self, order: Order) -> str:
        self.check()
        return order.slice_id

    def runs(self, *, since_s: float) -> tuple[Run, ...]:  # noqa: ARG002 - the port's shape
        return ()

    def run(self, run_id: str) -> Run | None:  # noqa: ARG002 - the port's shape
        return None

    def cancel(self, run_id: str) -> None:
        """Nothing runs."""

    def cost(self, run: Run) -> RunCost:  # noqa: ARG002 - the port's shape
        return RunCost()


def _run(told: Any) -> Run | None:
    """A run of ours; None for one that somebody began without saying for which slice."""
    parameters: Mapping[str, Any] = told.parameters or {}
    try:
        return Run(
            id=str(told.run_id),
            migration=str(parameters["migration"]),
            slice_id=str(parameters["slice"]),
            fence=int(parameters["fence"]),
            state=_STATES[str(told.status)],
            started_at_s=told.run_start.timestamp() if told.run_start else 0.0,
            ended_at_s=told.run_end.timestamp() if told.run_end else None,
            message=str(told.message or ""),
        )
    except (KeyError, ValueError):
        return None


def _billing(output: Any) -> Any:
    return output.get("billingReference") if isinstance(output, dict) else None


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except EbbError:
        raise
    except HttpResponseError as error:
        raise _error_for(doing, error) from error
    except (AzureError, ValueError, AttributeError, TypeError) as error:
        raise TransientError(
            f"{doing}: the answer was broken or did not come ({type(error).__name__}); "
            "it will be tried again"
        ) from error


def _error_for(doing: str, error: HttpResponseError) -> EbbError:
    status = error.status_code or 0
    if status == 429:  # noqa: PLR2004 - HTTP's own number
        return Throttled(f"{doing}: Data Factory is busy (429)", retry_after_s=RETRY_AFTER_S)
    if status == 404:  # noqa: PLR2004
        return NotFound(f"{doing}: not found (404); check EBB_FACTORY_RESOURCE_ID, and {DEPLOY}")
    if status in {401, 403}:
        return PermanentError(
            f"{doing}: refused ({status}); give this app's identity the role "
            "'Data Factory Contributor' on the factory"
        )
    if status >= 500 or status in {0, 408}:  # noqa: PLR2004
        return TransientError(f"{doing}: answered {status or 'nothing'}; it will be tried again")
    return PermanentError(f"{doing}: answered {status}, which trying again will not change")
