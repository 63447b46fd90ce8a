"""What the application relies on in Monitor, over the twin and over the sandbox's metrics route."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from azure.identity import DefaultAzureCredential

from sandbox.cosmos.account import History
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from shared.adapters.memory import MemoryClock
from shared.adapters.monitor import AzureMonitor
from shared.errors import TransientError
from shared.ports import Monitor
from tests.simulation.signals import MemoryMonitor
from tests.simulation.sources import MemorySource

PARTITIONS = 3
RU_PER_S = 300.0
MINUTES = 20
PLACE = ("appdb", "records")


class Station(Protocol):
    """A Monitor that tells of one container with an even life until now."""

    until_s: int
    """Where the last whole minute of that life ended."""

    @property
    def monitor(self) -> Monitor: ...

    def now_s(self) -> float: ...

    def set_lag(self, lag_s: float) -> None: ...

    def refuse(self) -> None: ...


@dataclass(slots=True)
class MemoryStation:
    monitor: MemoryMonitor = field(init=False)
    until_s: int = field(init=False)

    def __post_init__(self) -> None:
        clock = MemoryClock(start_s=time.time())
        self.until_s = int(clock.now_s()) // 60 * 60
        source = MemorySource(clock=clock, ranges_count=PARTITIONS)
        self.monitor = MemoryMonitor(clock=clock, source=source, place=PLACE, heats=True)
        self.monitor.business_ru_per_s = lambda _minute_s: RU_PER_S

    def now_s(self) -> float:
        return self.monitor.clock.now_s()

    def set_lag(self, lag_s: float) -> None:
        self.monitor.lag_s = lag_s

    def refuse(self) -> None:
        self.monitor.refuses = True


@dataclass(slots=True)
class SandboxStation:
    sandbox: Sandbox
    monitor: AzureMonitor
    until_s: int

    def now_s(self) -> float:
        return time.time()

    def set_lag(self, lag_s: float) -> None:
        self.sandbox.admin.set_monitor(lag_s=lag_s)

    def refuse(self) -> None:
        self.sandbox.admin.set_monitor(refusals={"TotalRequestUnits": 503})


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Three partitions, metrics without delay."""
    options = SandboxOptions(
        partitions=PARTITIONS, with_storage=False, with_logs=False, lag_s=0, ru_per_s=5_000
    )
    with start_sandbox(options) as running:
        yield running


@pytest.fixture(params=["memory", pytest.param("sandbox", marks=pytest.mark.node)])
def station(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Station:
    """The same questions to both."""
    if request.param == "memory":
        return MemoryStation()
    running: Sandbox = request.getfixturevalue("sandbox")
    running.admin.set_monitor(lag_s=0, loss_share=0.0, refusals={})
    database, container = PLACE
    until_s = int(time.time()) // 60 * 60
    running.admin.tell_history(
        History(
            minutes=MINUTES,
            ru_per_s=RU_PER_S,
            database=database,
            container=container,
            until_s=until_s,
        )
    )
    for name, value in running.identity_settings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
    monitor = AzureMonitor(
        resource_id=running.resource_id,
        management_endpoint=running.management_endpoint,
        credential=DefaultAzureCredential(),
        ca_file=str(running.ca_file),
    )
    return SandboxStation(running, monitor, until_s)


def span(station: Station, minutes: int = 10) -> tuple[int, int]:
    """The last whole minutes that have ended."""
    return station.until_s - 60 * minutes, station.until_s


def test_each_minute_that_ended_is_told_with_everybodys_use(station: Station) -> None:
    """Its whole use in RU, under the second it began with."""
    since_s, until_s = span(station)
    told = station.monitor.minutes(*PLACE, since_s=since_s, until_s=until_s)
    assert sorted(told) == list(range(since_s, until_s, 60))
    assert [use.total_ru for use in told.values()] == pytest.approx([RU_PER_S * 60] * len(told))


def test_only_the_minutes_asked_for_are_told(station: Station) -> None:
    """From the first up to and without the last."""
    since_s, until_s = span(station, minutes=8)
    told = station.monitor.minutes(*PLACE, since_s=since_s, until_s=until_s - 180)
    assert sorted(told) == list(range(since_s, until_s - 180, 60))


def test_a_minute_not_told_yet_is_absent(station: Station) -> None:
    """Late metrics look like nothing; only the newest minute may be told as a lone zero."""
    station.set_lag(300.0)
    since_s, until_s = span(station)
    told = station.monitor.minutes(*PLACE, since_s=since_s, until_s=until_s)
    assert told
    assert max(told) + 300 <= station.now_s()
    assert len(told) < 10
    assert 0.0 not in [told[minute].total_ru for minute in sorted(told)[:-1]]


def test_another_containers_use_is_not_told(station: Station) -> None:
    """No minute of it, or a zero that Monitor does say."""
    since_s, until_s = span(station)
    told = station.monitor.minutes("appdb", "other", since_s=since_s, until_s=until_s)
    assert [use.total_ru for use in told.values() if use.total_ru] == []


def test_heat_is_a_share_of_each_partition(station: Station) -> None:
    """Between nothing and the whole, by the partition's own id."""
    since_s, until_s = span(station)
    told = station.monitor.minutes(*PLACE, since_s=since_s, until_s=until_s)
    for use in told.values():
        assert len(use.heat) == PARTITIONS
        assert all(0.0 < heat <= 1.0 for heat in use.heat.values())
        assert 0 <= use.throttled <= use.requests or use.requests == 0


def test_no_answer_may_be_tried_again(station: Station) -> None:
    """Neither an empty answer nor a refusal for good."""
    station.refuse()
    since_s, until_s = span(station)
    with pytest.raises(TransientError):
        station.monitor.minutes(*PLACE, since_s=since_s, until_s=until_s)


def test_what_the_platform_provides_is_told_or_not_known(station: Station) -> None:
    """At least one partition, and a throughput that is a number, where anything is told."""
    found = station.monitor.provision(*PLACE, now_s=int(station.now_s()))
    if found is not None:
        assert found.partitions == PARTITIONS
        assert found.ru_per_s is None or math.isfinite(found.ru_per_s)
