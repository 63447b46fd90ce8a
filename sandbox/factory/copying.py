"""Carries out one Copy: reads pages from Cosmos DB, unpaced, and writes one Parquet file."""

import io
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient

from sandbox.factory.conversion import Translator, table
from sandbox.factory.failures import ActivityFailed, copy_failed
from sandbox.factory.reading import Reader, Stopped, Wanted

# Data Factory's own default: the service decides, up to a thousand.
PAGE_ROWS_DEFAULT = -1
_CODECS = {"none": "none", "snappy": "snappy", "gzip": "gzip"}

Data = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPlan:
    """One Copy with every expression resolved."""

    wanted: Wanted
    blob_endpoint: str
    container: str
    path: str
    codec: str
    translator: Translator
    units: int
    checks_counts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What this Copy does beyond its plan."""

    page_delay_s: float
    leaves_half: bool
    # drop_row, double_row, alter_document, copy_fails, or nothing.
    fault: str | None
    # How long it waits before it writes, asked at that moment.
    late_s: Callable[[], float]


class Copier:
    """Reads and writes with the factory's own identity, from as many threads as there are runs."""

    def __init__(self, *, ca_file: str, storage: dict[str, str]) -> None:
        """Take what opens storage: Azurite accepts no tokens over http, so it is a key."""
        self._reader = Reader(ca_file=ca_file)
        self._storage_endpoint = storage["blob_endpoint"]
        self._blobs = BlobServiceClient.from_connection_string(storage["connection_string"])

    def copy(self, plan: CopyPlan, habits: Habits, stop: threading.Event) -> Data:
        """Read everything, write one file, and return what the activity's output says."""
        began_s = time.monotonic()
        if habits.fault == "copy_fails":
            raise copy_failed("CosmosDbSqlApiOperationFailed", "CosmosDbSqlApi operation Failed.")
        documents: list[Data] = []
        try:
            self._read(plan, habits, documents, stop)
        except Stopped:
            self._leave(plan, habits, documents)
            raise
        read, bytes_read = len(documents), sum(len(json.dumps(d)) for d in documents)
        content = _file(_harmed(documents, habits.fault), plan)
        time.sleep(habits.late_s())
        self._write(plan, content)
        return _output(
            plan,
            rows=read,
            read=bytes_read,
            written=len(content),
            took_s=time.monotonic() - began_s,
        )

    def _read(
        self, plan: CopyPlan, habits: Habits, documents: list[Data], stop: threading.Event
    ) -> None:
        for page in self._reader.pages(plan.wanted, stop):
            documents += page
            if stop.wait(habits.page_delay_s):
                raise Stopped

    def _leave(self, plan: CopyPlan, habits: Habits, documents: list[Data]) -> None:
        if habits.leaves_half and documents:
            content = _file(documents, plan)
            self._write(plan, content[: len(content) // 2])

    def _write(self, plan: CopyPlan, content: bytes) -> None:
        if plan.blob_endpoint.rstrip("/") != self._storage_endpoint.rstrip("/"):
            raise copy_failed(
                "AzureBlobFailedToGetContainer",
                f"The remote name could not be resolved: {plan.blob_endpoint!r} is not the "
                f"sandbox's storage, which is {self._storage_endpoint}",
            )
        try:
            blob = self._blobs.get_blob_client(plan.container, plan.path)
            blob.upload_blob(content, overwrite=True)
        except AzureError as error:
            raise copy_failed("AzureBlobOperationFailed", str(error).partition("\n")[0]) from error


def _file(documents: list[Data], plan: CopyPlan) -> bytes:
    written = io.BytesIO()
    if plan.codec not in _CODECS:
        raise copy_failed("ParquetInvalidCodec", f"the codec {plan.codec!r} is not supported")
    pq.write_table(table(documents, plan.translator), written, compression=_CODECS[plan.codec])
    return written.getvalue()


def _harmed(documents: list[Data], fault: str | None) -> list[Data]:
    if not documents or fault is None:
        return documents
    if fault == "drop_row":
        return documents[:-1]
    if fault == "double_row":
        return [*documents, documents[-1]]
    altered = {**json.loads(documents[-1].get("document", "{}")), "altered": True}
    return [*documents[:-1], {**documents[-1], "document": json.dumps(altered)}]


def _output(plan: CopyPlan, *, rows: int, read: int, written: int, took_s: float) -> Data:
    # Billed by the whole minute.
    units_h = plan.units * math.ceil(max(took_s, 1.0) / 60) / 60
    billing = {
        "activityType": "DataMovement",
        "billableDuration": [
            {"meterType": "AzureIR", "duration": units_h, "unit": "DIUHours"},
            # Another meter in hours of its own, as a WebHook's: whoever adds up all is wrong.
            {"meterType": "AzureIR", "duration": 0.016666666666666666, "unit": "Hours"},
        ],
    }
    output: Data = {
        "dataRead": read,
        "dataWritten": written,
        "filesWritten": 1,
        "sourcePeakConnections": 1,
        "sinkPeakConnections": 1,
        "rowsRead": rows,
        "rowsCopied": rows,
        "copyDuration": max(1, round(took_s)),
        "throughput": round(read / 1024 / max(took_s, 0.001), 3),
        "errors": [],
        "effectiveIntegrationRuntime": "AutoResolveIntegrationRuntime (West Europe)",
        "usedDataIntegrationUnits": plan.units,
        "billingReference": billing,
        "usedParallelCopies": 1,
        "durationInQueue": {"integrationRuntimeQueue": 0},
    }
    if plan.checks_counts:
        # Rows are counted, contents are not looked at.
        output["dataConsistencyVerification"] = {
            "VerificationResult": "Verified",
            "InconsistentData": "None",
        }
    return output


def unit_hours_of(output: Data) -> float:
    """Return the hours of data integration units that an activity's output bills."""
    billed = output.get("billingReference", {}).get("billableDuration", [])
    return float(sum(each["duration"] for each in billed if each["unit"] == "DIUHours"))


def copy_plan(inner: Data, source: Data, sink: Data) -> CopyPlan:
    """Read a Copy's resolved properties, and those of its two datasets, into a plan."""
    translator = inner.get("translator") or {}
    units = inner.get("dataIntegrationUnits", 4)
    if not isinstance(units, int) or not 2 <= units <= 256:  # noqa: PLR2004 - Azure's own bounds
        raise ActivityFailed("2100", f"dataIntegrationUnits {units!r} is not between 2 and 256")
    location = sink["location"]
    path = "/".join(
        str(part).strip("/") for part in (location.get("folderPath"), location["fileName"]) if part
    )
    return CopyPlan(
        wanted=Wanted(
            account_endpoint=source["accountEndpoint"],
            database=source["database"],
            collection=source["collectionName"],
            query=inner["source"].get("query") or "SELECT * FROM c",
            page_rows=int(inner["source"].get("pageSize", PAGE_ROWS_DEFAULT)),
        ),
        blob_endpoint=sink["serviceEndpoint"],
        container=location["container"],
        path=path,
        codec=str(sink.get("compressionCodec", "snappy")),
        translator=Translator(
            mappings=translator.get("mappings") or (),
            complex_to_text=bool(translator.get("mapComplexValuesToString")),
            detects_times=inner["source"].get("detectDatetime") is not False,
        ),
        units=units,
        checks_counts=bool(inner.get("validateDataConsistency")),
    )
