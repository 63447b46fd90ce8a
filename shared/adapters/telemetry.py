"""Numbers and spans by OpenTelemetry, to Application Insights where its address is set.

Nothing here fails the app or waits. A span never holds an error's text: it may quote a document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

from azure.monitor.opentelemetry import configure_azure_monitor
from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import Status, StatusCode, Tracer

NAME = "ebb"
# Each request to Cosmos DB and storage would become a dependency: thousands a minute, to be paid
# for, with the names of blobs in their addresses.
NOT_INSTRUMENTED = (
    "azure_sdk",
    "django",
    "fastapi",
    "flask",
    "httpx",
    "psycopg2",
    "requests",
    "urllib",
    "urllib3",
)


def to_application_insights(connection_string: str) -> OpenTelemetry:
    """Our own logger, numbers and spans; nothing else of the process."""
    configure_azure_monitor(
        connection_string=connection_string,
        logger_name=NAME,
        instrumentation_options={name: {"enabled": False} for name in NOT_INSTRUMENTED},
        enable_live_metrics=False,
        enable_performance_counters=False,
        disable_offline_storage=True,
        sampling_ratio=1.0,  # a span per tick and slice is few; five a second is the default
    )
    return OpenTelemetry(metrics.get_meter(NAME), trace.get_tracer(NAME))


class OpenTelemetry:
    def __init__(self, meter: Meter, tracer: Tracer) -> None:
        self._meter = meter
        self._tracer = tracer
        self._told: dict[str, Callable[..., None]] = {}
        """How each instrument is told something; one is made once per name."""
        self._lock = Lock()

    def measured(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        with self._lock:
            if name not in self._told:
                self._told[name] = self._meter.create_gauge(name).set
        self._told[name](value, dict(tags))

    def counted(self, name: str, tags: Mapping[str, str]) -> None:
        with self._lock:
            if name not in self._told:
                self._told[name] = self._meter.create_counter(name).add
        self._told[name](1, dict(tags))

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise
