"""Measures how fast Ebb proves documents on one core, beside a tight loop over the same files.

Validating a staged copy and verifying the proven archive are the real code over a directory.
Ebb and its rivals take turns, each in a process of its own on the same core.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, rmtree
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench import report
from bench.children import run_child
from bench.errors import BenchError
from sandbox.errors import SandboxError
from sandbox.processes import Processes

RATIO_MIN = 0.7
RSS_MB_MAX = 256
ROUNDS = 5
MEGABYTE = 1e6
_SPEEDS = ("mb_per_s", "mb_per_s_limit", "mb_per_s_bare")
_TOLD = ("ratio", "wall_ratio", "bare_ratio", *_SPEEDS, "rss_mb_idle")
_COLUMNS = ("what", "mb", "ratio", "ratio_from", "ratio_to", "bare_ratio", *_SPEEDS, "rss_mb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Documents of about one size, in slices as the planner cuts them."""

    kb: int
    slices: int
    slice_documents: int


SIZES = (  # 614 and 174 MB; slices within a spec's own limits of 256 MiB and 20,000 documents
    Size(kb=300, slices=3, slice_documents=667),
    Size(kb=4, slices=2, slice_documents=20_000),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show; 0 whatever was found, as a number is not a failure."""
    options = _parser().parse_args(arguments)
    try:
        found = measure(SIZES, rounds=options.rounds)
    except (BenchError, SandboxError) as error:
        return report.told(error)
    report.show(found, _tables(found), as_json=options.json)
    return 0


def measure(sizes: Sequence[Size], *, rounds: int) -> dict[str, Any]:
    """The first size's figures stand for the whole; the others are rows beside it."""
    rows = [row for size in sizes for row in _rows(size, rounds)]
    first = rows[0]
    return {
        **{name: first[name] for name in _TOLD},
        "rss_mb": max(row["rss_mb"] for row in rows),
        "ratio_min": RATIO_MIN,
        "rss_mb_max": RSS_MB_MAX,
        "rounds": rounds,
        "load": os.getloadavg()[0],
        "rows": rows,
    }


def _rows(size: Size, rounds: int) -> list[dict[str, Any]]:
    with Processes() as processes, TemporaryDirectory(prefix="ebb-bench-") as folder:
        base = Path(folder) / "staged"
        documents = size.slices * size.slice_documents
        report.note(f"copying {documents:,} documents of about {size.kb} KB …")
        job = {
            "folder": str(base),
            "kb": size.kb,
            "slices": size.slices,
            "slice_documents": size.slice_documents,
        }
        stock = run_child(processes, "bench.validate_stock", job, settings={})
        turns = []
        for number in range(rounds):
            report.note(f"round {number + 1} of {rounds} …")
            turns.append(_turn(processes, base, stock))
    common = {"documents": stock["documents"], "mb": stock["document_bytes"] / MEGABYTE}
    return [
        {"what": f"{who}, {size.kb} KB", **common, **compared(turns, who, common["mb"])}
        for who in ("validate", "verify")
    ]


def _turn(processes: Processes, base: Path, stock: Mapping[str, Any]) -> dict[str, Any]:
    """Everybody once, on one core; Ebb on a copy that costs nothing, as it moves files about."""
    folder = base.parent / "turn"
    copytree(base, folder, copy_function=os.link)
    own = {"folder": str(folder), "records": stock["records"]}
    rival = {
        "blobs": [str(base / name) for name in stock["blobs"]],
        "documents": stock["documents"],
    }
    jobs = {
        "validate": ("bench.validate_ebb", {**own, "again": False}),
        "limit": ("bench.validate_limit", {**rival, "bare": False}),
        "verify": ("bench.validate_ebb", {**own, "again": True}),
        "bare": ("bench.validate_limit", {**rival, "bare": True}),
    }
    with _one_core():
        found = {who: run_child(processes, *job, settings={}) for who, job in jobs.items()}
    rmtree(folder)
    return found


def compared(turns: Sequence[Mapping[str, Any]], who: str, mb: float) -> dict[str, Any]:
    """Medians over the rounds; a ratio is taken within each round, and told with its spread.

    Speeds are per second of the processor: what neighbours take of the core is nobody's doing.
    The ratio by the clock stands beside it, so that waiting for the disk cannot hide.
    """
    ratios = [turn["limit"]["cpu_s"] / turn[who]["cpu_s"] for turn in turns]
    return {
        "ratio": median(ratios),
        "ratio_from": min(ratios),
        "ratio_to": max(ratios),
        "wall_ratio": median(turn["limit"]["seconds"] / turn[who]["seconds"] for turn in turns),
        "bare_ratio": median(turn["bare"]["cpu_s"] / turn[who]["cpu_s"] for turn in turns),
        "mb_per_s": mb / median(turn[who]["cpu_s"] for turn in turns),
        "mb_per_s_limit": mb / median(turn["limit"]["cpu_s"] for turn in turns),
        "mb_per_s_bare": mb / median(turn["bare"]["cpu_s"] for turn in turns),
        "rss_mb": max(turn[who]["rss_mb"] for turn in turns),
        "rss_mb_idle": max(turn[who]["rss_mb_idle"] for turn in turns),
        "rss_mb_limit": max(turn["limit"]["rss_mb"] for turn in turns),
    }


@contextmanager
def _one_core() -> Iterator[None]:
    """Children started here inherit it; where cores cannot be chosen, nobody is bound."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _tables(found: Mapping[str, Any]) -> list[Any]:
    rows = [{name: row[name] for name in _COLUMNS} for row in found["rows"]]
    return [report.table("Beside the limit", rows), report.facts("Proving", found)]


def _parser() -> argparse.ArgumentParser:
    parser = report.parser("bench.validate", __doc__ or "")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of everybody in turn")
    return parser


if __name__ == "__main__":
    sys.exit(main())
