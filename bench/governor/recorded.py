"""Measures every law over every recorded trace, on all cores."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import report
from bench.governor.figures import HOUR_S, ORACLE, figures, foreseen
from bench.governor.loads import recorded
from bench.governor.loop import ClosedLoop, Scenario
from bench.governor.rivals import LAWS
from bench.governor.traces import MINUTE_S, find_traces, read_trace

HOURS_DIGITS = 2
DRAWN = "ebb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is the same for all laws and traces."""

    lag_s: float = 120.0
    loss: float = 0.0
    partitions: int = 1
    ceiling: float = 0.8
    seed: int = 0
    hours: float | None = None
    pictures: Path | None = None


def cores() -> Executor:
    """As many processes as there are cores; each measurement is independent of the others."""
    # Decisions make many small tuples and no cycles: looking for cycles would cost a tenth.
    return ProcessPoolExecutor(max_workers=os.cpu_count() or 1, initializer=gc.disable)


def measure(folder: Path, laws: Sequence[str], terms: Terms) -> list[dict[str, Any]]:
    """A row per trace and law, in the order of both."""
    paths = find_traces(folder)
    longest = sorted(paths, key=lambda path: -path.stat().st_size)
    for path in paths:
        read_trace(path)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    with cores() as executor:
        begun = [
            executor.submit(measured, path, law, terms)
            for law in sorted(laws, key=lambda law: law != DRAWN)
            for path in longest
        ]
        for each in as_completed(begun):
            row, seconds = each.result()
            found[row["trace"], row["law"]] = row
            report.note(f"{row['trace']}, {row['law']}: {seconds:.0f} s")
    return [found[path.stem, law] for path in paths for law in laws]


def measured(path: Path, law: str, terms: Terms) -> tuple[dict[str, Any], float]:
    """One law over one trace, and how long that took."""
    began_s = time.perf_counter()
    scenario = scenario_of(path, terms)
    if law == ORACLE:
        found = foreseen(scenario)
    else:
        run = ClosedLoop(scenario, LAWS[law]()).run()
        found = figures(run)
        if terms.pictures is not None and law == DRAWN:
            # A slow import that only pictures need.
            from bench.governor.pictures import draw_day  # noqa: PLC0415

            draw_day(run, path.stem, terms.pictures)
    hours = (scenario.load.end_s - scenario.load.start_s) / HOUR_S
    row = {"trace": path.stem, "law": law, **found, "hours": round(hours, HOURS_DIGITS)}
    return row, time.perf_counter() - began_s


def scenario_of(path: Path, terms: Terms) -> Scenario:
    """A trace as a law meets it, with the minutes that Monitor never tells."""
    trace = read_trace(path)
    load = recorded(trace, partitions=terms.partitions, seed=terms.seed, hours=terms.hours)
    scenario = Scenario(load=load, ceiling=terms.ceiling, lag_s=terms.lag_s)
    if not terms.loss:
        return scenario
    minutes = range(load.start_s, load.end_s, MINUTE_S)
    lost = np.random.default_rng([terms.seed, 1]).random(len(minutes)) < terms.loss
    return replace(
        scenario,
        lost_s=frozenset(minute for minute, gone in zip(minutes, lost, strict=True) if gone),
    )
