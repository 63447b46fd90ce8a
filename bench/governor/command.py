"""Measures the pacing law against rivals and an oracle, in closed loop over recorded loads."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import report
from bench.errors import BenchError
from bench.governor import recorded, special, trade_off
from bench.governor.figures import ORACLE, means
from bench.governor.recorded import Terms
from bench.governor.rivals import LAWS

ALL_LAWS = (*LAWS, ORACLE)
TITLE = "share of the oracle's RU and what it cost"
COLUMNS = {
    "law": "law",
    "oracle_share": "share",
    "over_ceiling_pct": "over, %",
    "throttled_s_pct": "429 s, %",
    "direction_changes_per_h": "turns/h",
    "business_throttled_pct": "business 429, %",
    "ru_spent_share": "of capacity",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show; 0 whatever was found, as a number is not a failure."""
    options = _parser().parse_args(arguments)
    began_s = time.perf_counter()
    try:
        rows, tables = _measured(options)
    except BenchError as error:
        return report.told(error)
    report.note(f"measured in {time.perf_counter() - began_s:.0f} s")
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        report.show({}, tables, as_json=False)
    return 0


def _measured(options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[Table]]:
    laws, terms = _laws(options.laws), _terms(options)
    if options.trade_off:
        rows = trade_off.measure(terms)
        if terms.pictures is not None:
            # A slow import that only pictures need.
            from bench.governor.pictures import draw_trade_off  # noqa: PLC0415

            draw_trade_off(rows, terms.pictures)
        title = "What a ceiling gives, and the business RU it throttles when a spike comes"
        return rows, [report.table(title, trade_off.by_ceiling(rows))]
    if options.spikes or options.traces is None:
        rows = special.measure(laws, terms)
        cases = groupby(rows, lambda row: str(row["case"]))
        return rows, [report.table(case, _by_measure(list(of))) for case, of in cases]
    rows = recorded.measure(options.traces, laws, terms)
    averages = means(rows)
    for row in averages:
        report.note(", ".join(f"{name} {report.shown(value)}" for name, value in row.items()))
    traces = groupby(rows, lambda row: str(row["trace"]))
    tables = [report.table(f"{name}, {TITLE}", _narrow(list(of))) for name, of in traces]
    return rows, [*tables, report.table(f"Means over the traces, {TITLE}", _narrow(averages))]


def _narrow(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Columns that fit a terminal."""
    return [{column: row[name] for name, column in COLUMNS.items()} for row in rows]


def _by_measure(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line per figure and a column per law."""
    names = [name for name in rows[0] if name not in {"case", "law"}]
    return [{"figure": name} | {row["law"]: row[name] for row in rows} for name in names]


def _laws(text: str | None) -> tuple[str, ...]:
    """Those named, or all, each once."""
    names = tuple(dict.fromkeys(text.split(","))) if text else ALL_LAWS
    unknown = [name for name in names if name not in ALL_LAWS]
    if unknown:
        raise BenchError(
            f"choosing laws: {', '.join(unknown)} unknown; there are {', '.join(ALL_LAWS)}"
        )
    return names


def _terms(options: argparse.Namespace) -> Terms:
    _within("--lag", options.lag, 0, 3_600)
    _within("--loss", options.loss, 0, 1)
    _within("--partitions", options.partitions, 1, 1_000)
    _within("--ceiling", options.ceiling, 0.01, 1)
    return Terms(
        lag_s=options.lag,
        loss=options.loss,
        partitions=options.partitions,
        ceiling=options.ceiling,
        seed=options.seed,
        hours=options.hours,
        pictures=options.png,
    )


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise BenchError(f"reading {name}: saw {value}; wanted {low} to {high}")


def _parser() -> argparse.ArgumentParser:
    parser = report.parser("bench.governor", __doc__ or "")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--traces", type=Path, help="folder of CSV files timestamp,value; without it the spikes"
    )
    what.add_argument("--spikes", action="store_true", help="special cases instead of traces")
    what.add_argument("--trade-off", action="store_true", help="ceilings against sizes of spikes")
    parser.add_argument("--lag", type=float, default=120.0, help="s from a minute's end to Monitor")
    parser.add_argument("--loss", type=float, default=0.0, help="share of minutes never told")
    parser.add_argument("--partitions", type=int, default=1, help="physical, one of them hot")
    parser.add_argument("--ceiling", type=float, default=0.8, help="share of capacity")
    parser.add_argument("--seed", type=int, default=0, help="of noise, loss and hot partitions")
    parser.add_argument("--hours", type=float, help="only the first of each trace")
    parser.add_argument("--laws", help=f"of {','.join(ALL_LAWS)}; all if not told")
    parser.add_argument("--png", type=Path, metavar="DIR", help="draw there, too")
    return parser
