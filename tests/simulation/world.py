"""A world in memory for the real application code: what is really stored, and who works on it.

Every call through a port of an unlucky process may go wrong; the calm process meets nothing. Time
moves only when somebody waits or a run says so. Unlucky processes have a clock of their own, which
may step; the stores keep to the true one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from shared.adapters.callers import AnyCaller
from shared.adapters.frontdoor import NoFrontDoor
from shared.adapters.memory import (
    MemoryArchives,
    MemoryBoards,
    MemoryCallbacks,
    MemoryClock,
    MemoryFactory,
    MemoryIncidents,
    MemoryJournal,
    MemoryLease,
    MemoryLedger,
    MemoryMemories,
    MemoryMetering,
    MemoryPointers,
    MemoryScratch,
    MemoryTelemetry,
    MemoryTellings,
    MemoryWebhooks,
    OneByOne,
    SequentialNames,
)
from shared.adapters.parquet import ParquetFormat
from shared.application.bundle import Ports
from shared.domain.board import Board
from shared.ports import COPY_QUEUE, RETIRE_QUEUE, VALIDATE_QUEUE
from shared.wiring import App, assemble
from tests.simulation.faults import Chaos, Crash, Unlucky, throttle_between_pages
from tests.simulation.post import Post
from tests.simulation.signals import (
    BUSINESS_RU_PER_S,
    CAPACITY_RU_PER_S,
    MemoryHistory,
    MemoryMonitor,
)
from tests.simulation.sources import MemorySource, MemorySources, PagedSource

__all__ = [
    "BUSINESS_RU_PER_S",
    "CAPACITY_RU_PER_S",
    "QUEUES",
    "RETIRING",
    "SOURCE",
    "START_S",
    "Chaos",
    "Crash",
    "MemoryHistory",
    "MemoryMonitor",
    "MemorySource",
    "MemorySources",
    "PagedSource",
    "Unlucky",
    "World",
    "make_world",
]

START_S = 1_800_000_000
SOURCE = "db/c"
QUEUES = (COPY_QUEUE, VALIDATE_QUEUE)
RETIRING = (RETIRE_QUEUE,)
PROCESSES = 2
SETTLE_S = 60.0
LUCKY = frozenset({"clock", "names", "together", "scratch", "table_format", "telemetry"})


@dataclass(slots=True)
class HostClock:
    """The clock of the unlucky hosts: it may step, and others go on while somebody waits."""

    true: MemoryClock
    chaos: Chaos
    skew_s: float = 0.0
    waited: Callable[[], None] = lambda: None
    """Told after each wait: what is due happens, whoever waits."""

    def now_s(self) -> float:
        return self.true.now_s() + self.skew_s

    def wait(self, seconds: float) -> None:
        if self.chaos.dead:
            raise Crash("waiting, long dead")
        self.true.wait(seconds)
        self.waited()
        self.chaos.waits(seconds)
        if self.chaos.depth == 0 and self.chaos.likely(self.chaos.interleave, "interleave"):
            self.chaos.meanwhile()
        for actor in self.chaos.actors[-1:]:
            actor.stood_still_s = 0.0


class WatchedBoards(MemoryBoards):
    """Tells every board that was really written."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Callable[[Board], None]] = []

    def write(self, board: Board) -> Board:
        written = super().write(board)
        for tell in self.told:
            tell(written)
        return written


@dataclass(slots=True)
class World:
    """Everything at once: what is really stored, and the application over unlucky ports."""

    clock: MemoryClock
    source: MemorySource
    monitor: MemoryMonitor
    ports: Ports
    chaos: Chaos
    host_clock: HostClock
    unlucky: Ports
    apps: list[App]
    """Unlucky processes: each a memory of its own over the same stores."""
    calm: App
    mail: Post
    boards: WatchedBoards
    rng: random.Random

    @property
    def app(self) -> App:
        return self.apps[0]

    def restart(self, process: int) -> None:
        """What the process remembered is gone."""
        self.apps[process] = assemble(self.unlucky, SETTLE_S)


def make_world(seed: int, *, ranges: int = 1) -> World:
    rng = random.Random(seed)
    clock = MemoryClock(start_s=float(START_S))
    chaos = Chaos(rng=random.Random(seed + 1), now_s=clock.now_s)
    source = MemorySource(clock=clock, ranges_count=ranges)
    source.between_pages = lambda: throttle_between_pages(chaos)
    calm = _ports(clock, source, rng)
    host_clock = HostClock(true=clock, chaos=chaos)
    lucky = {name: getattr(calm, name) for name in LUCKY} | {"clock": host_clock}
    unlucky = {
        name: Unlucky(getattr(calm, name), chaos, name)
        for name in Ports.__dataclass_fields__
        if name not in LUCKY
    }
    ports = Ports(**lucky, **unlucky)
    return World(
        clock=clock,
        source=source,
        monitor=calm.monitor,  # type: ignore[arg-type]  # the twin's own fields are wanted
        ports=calm,
        chaos=chaos,
        host_clock=host_clock,
        unlucky=ports,
        apps=[assemble(ports, SETTLE_S) for _ in range(PROCESSES)],
        calm=assemble(calm, SETTLE_S),
        mail=calm.mail,  # type: ignore[arg-type]
        boards=calm.boards,  # type: ignore[arg-type]
        rng=rng,
    )


def _ports(clock: MemoryClock, source: MemorySource, rng: random.Random) -> Ports:
    return Ports(
        clock=clock,
        names=SequentialNames("name"),
        together=OneByOne(),
        ledger=MemoryLedger(),
        pointers=MemoryPointers(),
        boards=WatchedBoards(),
        memories=MemoryMemories(),
        journal=MemoryJournal(),
        incidents=MemoryIncidents(),
        metering=MemoryMetering(),
        monitor=MemoryMonitor(clock=clock, source=source),
        history=MemoryHistory(),
        lease=MemoryLease(clock),
        mail=Post(clock),
        sources=MemorySources(source=PagedSource(source, rng)),
        archives=MemoryArchives(clock),
        table_format=ParquetFormat(),
        scratch=MemoryScratch(),
        factory=MemoryFactory(clock),
        callbacks=MemoryCallbacks(),
        callers=AnyCaller(),
        front_door=NoFrontDoor("there is none in memory"),
        webhooks=MemoryWebhooks(),
        tellings=MemoryTellings(),
        telemetry=MemoryTelemetry(),
    )
