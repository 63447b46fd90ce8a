"""The factory's twin: orders become runs in a list, which a test moves on as it likes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shared.domain.runs import (
    ACTIVITIES_PER_ATTEMPT,
    ACTIVITIES_PER_RUN,
    LIVE,
    Order,
    Part,
    Run,
    RunCost,
    RunState,
)
from shared.errors import NotFound
from shared.ports import Clock

DIU_HOURS = 2 / 60


@dataclass(slots=True)
class MemoryFactory:
    clock: Clock
    told: dict[str, Run] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    is_deployed: bool = True

    def deploy(self, part: Part) -> None:
        self.is_deployed = self.is_deployed or part.kind == "pipeline"

    def check(self) -> None:
        if not self.is_deployed:
            raise NotFound("looking at pipeline ebb_copy_slice: not found; deploy it")

    def start(self, order: Order) -> str:
        self.check()
        run_id = f"run-{len(self.told) + 1}"
        self.orders[run_id] = order
        self.told[run_id] = Run(
            id=run_id,
            migration=order.migration,
            slice_id=order.slice_id,
            fence=order.fence,
            state=RunState.QUEUED,
            started_at_s=self.clock.now_s(),
        )
        return run_id

    def runs(self, *, since_s: float) -> tuple[Run, ...]:
        touched = (run for run in self.told.values() if (run.ended_at_s or since_s) >= since_s)
        return tuple(touched)

    def run(self, run_id: str) -> Run | None:
        return self.told.get(run_id)

    def cancel(self, run_id: str) -> None:
        run = self.told.get(run_id)
        if run is not None and run.live:
            self.told[run_id] = replace(run, state=RunState.CANCELLING)

    def cost(self, run: Run) -> RunCost:
        del run
        return RunCost(
            activity_runs=ACTIVITIES_PER_RUN + ACTIVITIES_PER_ATTEMPT, diu_hours=DIU_HOURS
        )

    def end(self, run_id: str, state: RunState, message: str = "") -> None:
        """What the factory itself does with a run."""
        now_s = self.clock.now_s()
        self.told[run_id] = replace(
            self.told[run_id], state=state, ended_at_s=now_s, message=message
        )

    def begin(self, run_id: str) -> None:
        run = self.told[run_id]
        if run.state is RunState.QUEUED:
            self.told[run_id] = replace(run, state=RunState.RUNNING)

    @property
    def living(self) -> tuple[Run, ...]:
        return tuple(run for run in self.told.values() if run.state in LIVE)


@dataclass(slots=True)
class MemoryCallbacks:
    """Keeps the verdicts; addresses of a made-up factory are allowed."""

    told: dict[str, tuple[bool, str, str]] = field(default_factory=dict)

    def allows(self, url: str) -> bool:
        return url.startswith("https://factory/")

    def answer(self, url: str, *, ok: bool, code: str, text: str) -> None:
        self.told[url] = (ok, code, text)
