"""Measures forecasts against the closed loop: how many are near, how many the upper end covers."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bench import report
from bench.errors import BenchError
from bench.forecast.attempts import SIZES_RU, Attempt, attempts, past_of
from bench.governor.recorded import Terms, cores, scenario_of
from bench.governor.traces import find_traces, read_trace

ALL = "all"
BY = {False: "rehearsal", True: "habits"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show; 0 whatever was found, as a number is not a failure."""
    options = _parser().parse_args(arguments)
    if options.traces is None:
        report.note("forecasts are measured over recorded loads only: name them with --traces DIR")
        return 0
    began_s = time.perf_counter()
    try:
        rows = measure(options.traces, Terms(lag_s=options.lag, seed=options.seed))
    except BenchError as error:
        return report.told(error)
    report.note(f"measured in {time.perf_counter() - began_s:.0f} s")
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        shown = [row for row in rows if row["size"] == ALL or row["trace"] == ALL]
        report.show({}, [report.table("Forecasts beside the closed loop", shown)], as_json=False)
    return 0


def measure(folder: Path, terms: Terms) -> list[dict[str, Any]]:
    """Rows by trace and size, then the totals, for either kind of forecast."""
    paths = find_traces(folder)
    for path in paths:
        read_trace(path)
    found: dict[tuple[str, bool], list[Attempt]] = {}
    with cores() as executor:
        begun = {path.stem: executor.submit(_measured, path, terms) for path in paths}
        for name, future in begun.items():
            for habits, tried in future.result().items():
                found[name, habits] = tried
            report.note(f"{name} is measured")
    return [row for habits in BY for row in _rows(found, paths, habits=habits)]


def _measured(path: Path, terms: Terms) -> dict[bool, list[Attempt]]:
    past = past_of(scenario_of(path, replace(terms, partitions=1)))
    return {habits: list(attempts(past, habits=habits)) for habits in BY}


def _rows(
    found: dict[tuple[str, bool], list[Attempt]], paths: Sequence[Path], *, habits: bool
) -> Iterable[dict[str, Any]]:
    every = [each for path in paths for each in found[path.stem, habits]]
    for name, tried in (*((path.stem, found[path.stem, habits]) for path in paths), (ALL, every)):
        for size in SIZES_RU:
            of_size = [each for each in tried if each.size_ru == size]
            yield _row(name, f"{size / 1e6:.0f}M RU", habits, of_size)
        yield _row(name, ALL, habits, tried)


def _row(name: str, size: str, habits: bool, tried: Sequence[Attempt]) -> dict[str, Any]:  # noqa: FBT001 - a column like the others
    counted = [each for each in tried if each.verdict == "counted"]
    ended = [each for each in counted if each.took_s is not None and each.p50_s]
    ratios = [each.took_s / each.p50_s for each in ended if each.took_s and each.p50_s]
    widths = [each.p90_s / each.p50_s for each in counted if each.p90_s and each.p50_s]
    return {
        "by": BY[habits],
        "trace": name,
        "size": size,
        "counted": len(counted),
        "refused": sum(each.verdict == "refused" for each in tried),
        "open": sum(each.verdict == "open" for each in tried),
        "near": _share(each.is_near for each in counted),
        "covered": _share(each.is_covered for each in counted),
        "took / P50, median": round(median(ratios), 2) if ratios else None,
        "P90 / P50, median": round(median(widths), 2) if widths else None,
    }


def _share(of: Iterable[bool]) -> float | None:
    known = list(of)
    return round(fmean(known), 3) if known else None


def _parser() -> argparse.ArgumentParser:
    parser = report.parser("bench.forecast", __doc__ or "")
    parser.add_argument("--traces", type=Path, help="folder of CSV files timestamp,value")
    parser.add_argument("--lag", type=float, default=120.0, help="s from a minute's end to Monitor")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    return parser
