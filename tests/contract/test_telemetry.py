"""Telemetry's promises, in memory and by OpenTelemetry; and what really goes over the wire."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.adapters.memory import MemoryTelemetry
from shared.adapters.telemetry import OpenTelemetry
from shared.ports import Telemetry

HOUSE = Path(__file__).resolve().parents[2]
KEY = "01234567-89ab-cdef-0123-456789abcdef"
SENDER = """
import logging, sys
sys.path.insert(0, sys.argv[1])
from shared.adapters.telemetry import to_application_insights
telemetry = to_application_insights(sys.argv[2])
logging.getLogger("ebb").warning('notice {"kind": "halted"}')
logging.getLogger("azure").warning("somebody else's line")
telemetry.measured("ebb.budget_ru_per_s", 12.5, {"source": "db/c"})
telemetry.counted("ebb.verdicts", {"verdict": "proven"})
try:
    with telemetry.span("tick"):
        raise ValueError("it quotes doc-07")
except ValueError:
    pass
from opentelemetry import _logs, metrics, trace
for provider in (metrics.get_meter_provider(), trace.get_tracer_provider()):
    provider.force_flush()
_logs.get_logger_provider().force_flush()
"""


class House(Protocol):
    """A telemetry with a way to see what it was told."""

    @property
    def telemetry(self) -> Telemetry: ...

    def number(self, name: str, tags: Mapping[str, str]) -> float | None: ...

    def spans(self) -> list[tuple[str, str]]: ...


@dataclass(slots=True)
class MemoryHouse:
    telemetry: MemoryTelemetry = field(default_factory=MemoryTelemetry)

    def number(self, name: str, tags: Mapping[str, str]) -> float | None:
        place = (name, tuple(sorted(tags.items())))
        return self.telemetry.numbers.get(place, self.telemetry.counts.get(place))

    def spans(self) -> list[tuple[str, str]]:
        return self.telemetry.spans


class OpenHouse:
    """The SDK's own readers stand where Application Insights would."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider(metric_readers=[self._reader])
        self.telemetry = OpenTelemetry(meters.get_meter("ebb"), tracers.get_tracer("ebb"))

    def number(self, name: str, tags: Mapping[str, str]) -> float | None:
        data: Any = self._reader.get_metrics_data()
        found = [
            point.value
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if dict(point.attributes) == dict(tags)
        ]
        return found[0] if found else None

    def spans(self) -> list[tuple[str, str]]:
        finished = self._exporter.get_finished_spans()
        assert [each for each in finished if each.events] == []
        return [(each.name, each.status.description or "") for each in finished]


@pytest.fixture(params=[MemoryHouse, OpenHouse], ids=["memory", "opentelemetry"])
def house(request: pytest.FixtureRequest) -> House:
    """Both kinds, one after the other."""
    made: House = request.param()
    return made


def test_of_a_number_the_last_value_stands(house: House) -> None:
    """For each set of tags on its own."""
    for value in (1.0, 2.5):
        house.telemetry.measured("ebb.x", value, {"source": "a"})
    house.telemetry.measured("ebb.x", 7.0, {"source": "b"})
    assert house.number("ebb.x", {"source": "a"}) == 2.5
    assert house.number("ebb.x", {"source": "b"}) == 7.0


def test_counts_are_added_up_by_their_tags(house: House) -> None:
    """One more each time."""
    for _ in range(3):
        house.telemetry.counted("ebb.y", {"verdict": "proven"})
    house.telemetry.counted("ebb.y", {"verdict": "mismatch"})
    assert house.number("ebb.y", {"verdict": "proven"}) == 3
    assert house.number("ebb.y", {"verdict": "mismatch"}) == 1


def test_a_failing_span_tells_the_kind_and_not_the_text(house: House) -> None:
    """The failure goes on to whoever handles it."""
    with pytest.raises(ValueError, match="doc-07"), house.telemetry.span("copy"):
        raise ValueError("doc-07")
    with house.telemetry.span("tick"):
        pass
    assert house.spans() == [("copy", "ValueError"), ("tick", "")]


@pytest.fixture
def ingestion() -> Iterator[tuple[str, list[Any]]]:
    """Application Insights' door on loopback, and everything that came in."""
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                data = gzip.decompress(data)
            items = json.loads(data)
            got.extend(items)
            answer = {"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


def test_only_our_own_telemetry_leaves_the_process(ingestion: tuple[str, list[Any]]) -> None:
    """Numbers, spans and our logger's events; no other library's lines, and no error's text."""
    url, got = ingestion
    connection = f"InstrumentationKey={KEY};IngestionEndpoint={url}/;LiveEndpoint={url}/"
    run = subprocess.run(
        [sys.executable, "-c", SENDER, str(HOUSE), connection],
        env={"APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    kinds = {item["data"]["baseType"] for item in got}
    assert {"MetricData", "MessageData"} <= kinds
    metrics = {
        metric["name"]
        for item in got
        if item["data"]["baseType"] == "MetricData"
        for metric in item["data"]["baseData"]["metrics"]
    }
    assert {"ebb.budget_ru_per_s", "ebb.verdicts"} <= metrics
    lines = [
        item["data"]["baseData"]["message"]
        for item in got
        if item["data"]["baseType"] == "MessageData"
    ]
    assert lines == ['notice {"kind": "halted"}']
    names = {
        item["data"]["baseData"].get("name")
        for item in got
        if item["data"]["baseType"] in {"RemoteDependencyData", "RequestData"}
    }
    assert names == {"tick"}
    assert "doc-07" not in json.dumps(got)
