"""Holds one account's limits, prices, faults and traffic; it opens no sockets."""

import random
import time
from dataclasses import dataclass, field

from sandbox.cosmos.charges import Tariff
from sandbox.cosmos.faults import FaultBoard
from sandbox.cosmos.series import MINUTE_S, Cell, TrafficSeries
from sandbox.cosmos.windows import RequestUnitWindow

_HTTP_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The life that the account had before the sandbox began, as the operator tells it."""

    minutes: int = 0
    ru_per_s: float = 0.0
    ru_per_request: float = 30.0
    database: str = "appdb"
    container: str = "records"
    # When that life ended; None: it goes on until now.
    until_s: int | None = None


@dataclass(slots=True, kw_only=True)
class MonitorDelay:
    """How late metrics are, how many never come, and which are refused."""

    lag_s: float = 60.0
    loss_share: float = 0.0
    seed: int = 0
    # Whether a minute without any request is told as 0, or not at all.
    idle_minutes_have_points: bool = False
    # Metric -> the HTTP status that it is answered with.
    refusals: dict[str, int] = field(default_factory=dict)

    def is_lost(self, minute_s: int) -> bool:
        """Whether a minute never appears; the same minutes for the same seed."""
        return random.Random(f"{self.seed}:{minute_s}").random() < self.loss_share


@dataclass(slots=True, kw_only=True)
class Workspace:
    """Whether resource logs are sent to it, how late they come, and whether answers are cut."""

    exists: bool = True
    lag_s: float = 180.0
    is_partial: bool = False


@dataclass(slots=True, kw_only=True)
class Account:
    """Everything about the account that can change while it runs."""

    resource_id: str
    windows: list[RequestUnitWindow]
    tariff: Tariff
    delay: MonitorDelay
    # Whether throughput was bought by the second; a serverless account tells none.
    is_provisioned: bool = False
    # Whether the first number of several pages in each container meets a 429 behind its first page.
    throttles_numbers_midway: bool = True
    # Where it takes writes; with several the business may write past Ebb's region.
    write_regions: tuple[str, ...] = ("Sandbox",)
    logs: Workspace = field(default_factory=Workspace)
    faults: FaultBoard = field(default_factory=FaultBoard)
    series: TrafficSeries = field(default_factory=TrafficSeries)

    @property
    def partitions(self) -> int:
        """How many physical partitions there are."""
        return len(self.windows)

    def book(self, cell: Cell, ru: float) -> None:
        """Charge a partition for a finished request and count it."""
        now_s = time.time()
        self.windows[cell.partition].charge(now_s, ru)
        self.series.record(now_s, cell, ru)

    def reset(self) -> None:
        """Forget traffic, debts and faults; limits and prices stay."""
        self.series.clear()
        self.faults.clear()
        for window in self.windows:
            window.forgive()


def backfill(series: TrafficSeries, history: History, *, partitions: int, now_s: float) -> None:
    """Write the history's minutes, and what of the current minute was before the sandbox."""
    if history.ru_per_s <= 0:
        return
    end_s = int(now_s if history.until_s is None else history.until_s)
    minute_s = end_s - end_s % MINUTE_S
    per_second = history.ru_per_s / partitions
    requests_per_s = max(1, round(per_second / history.ru_per_request))
    for partition in range(partitions):
        cell = Cell(
            origin="business",
            partition=partition,
            database=history.database,
            container=history.container,
            operation="Read",
            status=_HTTP_OK,
        )
        for start_s in range(minute_s - history.minutes * MINUTE_S, minute_s, MINUTE_S):
            series.record_minute(
                start_s, cell, ru=per_second * MINUTE_S, requests=requests_per_s * MINUTE_S
            )
        for second in range(minute_s, end_s):
            series.record(second, cell, per_second, requests=requests_per_s)
