"""Data Factory runs: what is ordered, what is known of one, and how much may be under way.

A run cannot be paced once it began, so its pace is its size, the gap after it, and its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shared.domain.slices import Extent

RUN_SHARE = 0.5  # of a migration's share; the other half reads the window again to compare
BURST_S = 30  # what a run may cost, in seconds of its share: a minute's mean then keeps the ceiling
RUN_S_MAX = 1_800.0  # a run of one small slice that takes longer is stuck
ACTIVITIES_PER_RUN = 3  # set the status, loop, decide in the end: as infra/adf has it
ACTIVITIES_PER_ATTEMPT = 5  # name it, copy, ask for proof, take the verdict, settle
ADOPT_WITHIN_S = 300.0  # a run that was ordered and is not to be found by then was never begun


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE = frozenset({RunState.QUEUED, RunState.RUNNING, RunState.CANCELLING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One run: which documents go into which folder, under which fence."""

    migration: str
    slice_id: str
    fence: int
    database: str
    container: str
    extent: Extent
    where: str | None
    sink: str
    folder: str
    documents: int
    page_documents: int
    attempts_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as the factory tells it."""

    id: str
    migration: str
    slice_id: str
    fence: int
    state: RunState
    started_at_s: float
    ended_at_s: float | None = None
    message: str = ""

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.migration, self.slice_id, self.fence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that a factory must hold for Ebb: `kind` as its folder in infra/adf is called."""

    kind: str
    name: str
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCost:
    """What a run is billed by."""

    activity_runs: int = 0
    diu_hours: float = 0.0
    ru: float = 0.0


def cost_until_proven(attempts: int, billing: object, *, read_ru: float) -> RunCost:
    """What a run has cost when its last attempt is found right; earlier copies cost about as much.

    `billing` is what a Copy tells of its own bill: a mapping, at times written as JSON text.
    """
    activities = ACTIVITIES_PER_RUN + ACTIVITIES_PER_ATTEMPT * attempts
    return RunCost(
        activity_runs=activities,
        diu_hours=attempts * diu_hours(billing),
        ru=attempts * read_ru,
    )


def diu_hours(billing: object) -> float:
    """Nothing where the bill cannot be read: it is for people, and no decision rests on it."""
    try:
        body = json.loads(billing) if isinstance(billing, str) else billing
        entries = body["billableDuration"]  # type: ignore[index]
        return sum(float(hours) for each in entries for hours in _hours(each))
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0.0


def _hours(entry: Mapping[str, Any]) -> Iterable[Any]:
    """Hours of integration units only: a bill may hold other meters, in hours of their own."""
    if "duration" in entry:
        return (entry["duration"],) if entry.get("unit") == "DIUHours" else ()
    return entry.values()  # an older form: the runtime's name, and its hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """Request units ordered and not yet paid for by time: no new run while any is left."""

    ru: float = 0.0
    at_s: float = 0.0

    def after(self, now_s: float, rate_ru_per_s: float) -> Debt:
        elapsed_s = max(0.0, now_s - self.at_s)
        return Debt(ru=max(0.0, self.ru - rate_ru_per_s * elapsed_s), at_s=now_s)

    def with_order(self, ru: float) -> Debt:
        return Debt(ru=self.ru + ru, at_s=self.at_s)

    @property
    def paid(self) -> bool:
        return self.ru < 1.0
