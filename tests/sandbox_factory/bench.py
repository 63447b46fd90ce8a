"""A deployed factory in a test's hands: the real management client, and what lies in storage."""

import copy
import datetime as dt
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from azure.mgmt.datafactory import DataFactoryManagementClient
from azure.mgmt.datafactory.models import (
    PipelineRun,
    RunFilterParameters,
    RunQueryFilter,
)
from azure.storage.blob import BlobServiceClient

from sandbox.stage import Sandbox
from tests.sandbox_factory.ebb_stub import EbbStub

INFRA = Path(__file__).resolve().parents[2] / "infra" / "adf"
GROUP, FACTORY, CONTAINER, DATABASE, COLLECTION = (
    "rg-sandbox",
    "adf-sandbox",
    "archive",
    "appdb",
    "records",
)
FOLDER = "incoming/s1.4"
QUERY = (
    "SELECT c.id, ToString([c.pk]) AS pk, c._ts, c._etag, ToString(c) AS document "
    "FROM c WHERE c._ts >= 0 AND c._ts < 9999999999"
)
ENDED = {"Succeeded", "Failed", "Cancelled"}

Data = dict[str, Any]


def infra(folder: str, name: str) -> Data:
    """One file of infra/adf."""
    content: Data = json.loads((INFRA / folder / f"{name}.json").read_text(encoding="utf-8"))
    return content


def activity(pipeline: Data, *names: str) -> Data:
    """An activity of a pipeline, by the names on the way to it."""
    found = pipeline["properties"]
    for name in names:
        within = found.get("typeProperties", found)
        found = next(entry for entry in within["activities"] if entry["name"] == name)
    return dict(found)


@dataclass(slots=True, kw_only=True)
class Bench:
    """One deployed factory."""

    sandbox: Sandbox
    client: DataFactoryManagementClient
    blobs: BlobServiceClient

    # A plain dict goes over the wire as it is, which the client's overloads do not say.

    def deploy(self, name: str, pipeline: Any) -> None:
        """Deploy a pipeline."""
        self.client.pipelines.create_or_update(GROUP, FACTORY, name, pipeline)

    def deploy_dataset(self, name: str, dataset: Any) -> None:
        """Deploy a dataset."""
        self.client.datasets.create_or_update(GROUP, FACTORY, name, dataset)

    def deploy_service(self, name: str, service: Any) -> None:
        """Deploy a linked service."""
        self.client.linked_services.create_or_update(GROUP, FACTORY, name, service)

    def variant(
        self, name: str, *, copy_slice: Data | None = None, proof: Data | None = None
    ) -> str:
        """Deploy the shipped pipeline with other properties of its Copy or WebHook."""
        pipeline = copy.deepcopy(infra("pipeline", "ebb_copy_slice"))
        for inner, changes in (("CopySlice", copy_slice), ("AskForProof", proof)):
            for path, value in (changes or {}).items():
                target = activity(pipeline, "UntilValidated", inner)
                *parents, last = path.split(".")
                for parent in parents:
                    target = target[parent]
                target[last] = value
        self.deploy(name, pipeline)
        return name

    def start(self, ebb: EbbStub, pipeline: str = "ebb_copy_slice", **changes: Any) -> str:
        """Start a run of the shipped parameters with changes, and return its id."""
        parameters = {
            "migration": "m",
            "slice": "s1",
            "fence": 4,
            "database": DATABASE,
            "collection": COLLECTION,
            "query": QUERY,
            "batchSize": 12,
            "pageSize": 5,
            "sinkContainer": CONTAINER,
            "sinkFolder": FOLDER,
            "attemptsMax": 1,
            "callbackUrl": ebb.url,
            "callbackKey": "a key",
        }
        return self.run(pipeline, **{**parameters, **changes})

    def run(self, pipeline: str, **parameters: Any) -> str:
        """Start a run and return its id."""
        return self.client.pipelines.create_run(
            GROUP, FACTORY, pipeline, parameters=parameters
        ).run_id

    def get(self, run_id: str) -> PipelineRun:
        """A run as it stands."""
        return self.client.pipeline_runs.get(GROUP, FACTORY, run_id)

    def cancel(self, run_id: str) -> None:
        """Ask for its end."""
        self.client.pipeline_runs.cancel(GROUP, FACTORY, run_id, is_recursive=True)

    def ended(self, run_id: str, within_s: float = 30.0) -> PipelineRun:
        """A run once it has ended."""
        return self.reaches(run_id, ENDED, within_s=within_s)

    def reaches(self, run_id: str, statuses: set[str], within_s: float = 15.0) -> PipelineRun:
        """A run once it has one of these statuses."""
        deadline_s = time.monotonic() + within_s
        while (run := self.get(run_id)).status not in statuses:
            assert time.monotonic() < deadline_s, f"still {run.status}"
            time.sleep(0.02)
        return run

    def activities(self, run_id: str, *filters: RunQueryFilter) -> list[Any]:
        """The activity runs of a run, in the order they began; their fields may all be missing."""
        answer = self.client.activity_runs.query_by_pipeline_run(
            GROUP, FACTORY, run_id, self.span(*filters)
        )
        return list(answer.value)

    def named(self, run_id: str, name: str) -> list[Any]:
        """The runs of one activity."""
        return [run for run in self.activities(run_id) if run.activity_name == name]

    def awaits(self, run_id: str, name: str, within_s: float = 15.0) -> None:
        """Come back once an activity has begun."""
        deadline_s = time.monotonic() + within_s
        while not self.named(run_id, name):
            assert time.monotonic() < deadline_s, f"{name} never began"
            time.sleep(0.02)

    @staticmethod
    def span(*filters: RunQueryFilter, **more: Any) -> RunFilterParameters:
        """An hour around now."""
        now, hour = dt.datetime.now(dt.UTC), dt.timedelta(hours=1)
        return RunFilterParameters(
            last_updated_after=now - hour,
            last_updated_before=now + hour,
            filters=list(filters) or None,
            **more,
        )

    def files(self) -> list[str]:
        """What lies in the archive's container."""
        return sorted(self.blobs.get_container_client(CONTAINER).list_blob_names())

    def content(self, path: str) -> bytes:
        """One file's bytes."""
        return self.blobs.get_blob_client(CONTAINER, path).download_blob().readall()

    def rows(self, path: str) -> list[Data]:
        """One file's rows."""
        return list(pq.read_table(io.BytesIO(self.content(path))).to_pylist())
