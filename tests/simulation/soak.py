"""Simulates seed after seed for hours, and says every minute what it met and what it found.

`python -m tests.simulation.soak --hours 4 --jobs 2` goes on from --from-seed; `--seed N` replays
one and shows its last calls. A failure is kept beside the command that replays it.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.simulation.keeping import FAILURES, remember, replay
from tests.simulation.runs import begun, judged, ranges_of

LINE_EVERY_S = 60.0
CHUNK = 8  # seeds handed to a process at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One seed's run in numbers; `error` is empty where everything held."""

    seed: int
    steps: int
    calm_ticks: int
    happened: Counter[str]
    met: frozenset[str]
    error: str = ""


@dataclass(slots=True)
class Tally:
    """All runs so far."""

    runs: int = 0
    steps: int = 0
    calm_ticks_max: int = 0
    happened: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.steps += outcome.steps
        self.calm_ticks_max = max(self.calm_ticks_max, outcome.calm_ticks)
        self.happened += outcome.happened
        self.met.update(outcome.met)
        if outcome.error:
            self.failed.append(outcome.seed)

    def line(self, elapsed_s: float) -> str:
        return (
            f"{elapsed_s / 60:6.1f} min  {self.runs} seeds  {self.runs / elapsed_s:.2f} seeds/s  "
            f"{self.steps} steps  {sum(self.happened.values())} faults  "
            f"{self.happened['crash']} crashes  at most {self.calm_ticks_max} calm ticks  "
            f"{len(self.failed)} failed\n"
            f"           faults: {_listed(self.happened)}\n"
            f"           runs that met: {_listed(self.met)}\n"
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"


def outcome_of(seed: int) -> Outcome:
    """Simulate a seed; whatever breaks is an outcome, never an end of the soak."""
    run = begun(seed, ranges=ranges_of(seed))
    error = ""
    try:
        judged(run)
    except Exception as found:  # noqa: BLE001 - anything at all is what a soak looks for
        error = "".join(traceback.format_exception(found))
    return Outcome(
        seed=seed,
        steps=run.steps,
        calm_ticks=run.calm_ticks,
        happened=run.happened,
        met=frozenset(run.met),
        error=error,
    )


def soak(
    outcomes: Iterable[Outcome],
    *,
    until_s: float,
    write: Callable[[str], object],
    failures: Path = FAILURES,
    now_s: Callable[[], float] = time.monotonic,
) -> Tally:
    """Take outcomes until the time is over; tells a line a minute and each failure at once."""
    began_s = told_s = now_s()
    tally = Tally()
    for outcome in outcomes:
        tally.add(outcome)
        if outcome.error:
            remember(outcome.seed, outcome.error, into=failures)
            write(f"seed {outcome.seed} FAILED; replay: {replay(outcome.seed)}\n{outcome.error}")
        if now_s() - told_s >= LINE_EVERY_S:
            told_s = now_s()
            write(tally.line(told_s - began_s))
        if now_s() >= until_s:
            break
    write(tally.line(max(now_s() - began_s, 1e-9)))
    return tally


def _outcomes(from_seed: int, jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(outcome_of, count(from_seed))
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        for first in count(from_seed, CHUNK * jobs):
            yield from pool.map(outcome_of, range(first, first + CHUNK * jobs))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--from-seed", type=int, default=0)
    parser.add_argument("--seed", type=int, help="replay this one and show its last calls")
    given = parser.parse_args(arguments)
    if given.seed is not None:
        outcome = outcome_of(given.seed)
        sys.stdout.write(outcome.error or f"seed {given.seed}: everything held\n")
        return 1 if outcome.error else 0
    tally = soak(
        _outcomes(given.from_seed, max(1, given.jobs)),
        until_s=time.monotonic() + given.hours * 3600,
        write=_tell,
    )
    return 1 if tally.failed else 0


def _tell(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
