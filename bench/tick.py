"""Measures what one controller tick costs as the ledger of done slices grows.

The tick, its adapters and its clients are the real ones, over Azurite and the sandbox's account and
monitor; the done slices are written straight into the ledger's table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from bench import report
from bench.children import run_child
from bench.documents import stock
from bench.errors import BenchError
from sandbox.cosmos.account import History
from sandbox.errors import SandboxError
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox

LEVELS = (100, 1_000, 10_000, 100_000)
TICKS = 15
DOCUMENTS = 4_000  # each tick plans one slice of at most twenty
RU_PER_S = 100_000.0
LAG_S = 5.0
HISTORY = History(minutes=30, ru_per_s=1_000.0)
SETTLE_S = "5"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show; 0 whatever was found, as a number is not a failure."""
    options = _parser().parse_args(arguments)
    try:
        found = measure(options)
    except (BenchError, SandboxError) as error:
        return report.told(error)
    shown = [{**row, "calls_by_service": row["calls_by_service"]} for row in found["rows"]]
    tables = [report.table("One tick", shown), report.facts("Growth", found)]
    report.show(found, tables, as_json=options.json)
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All levels on one sandbox, the smallest first."""
    chosen = SandboxOptions(ru_per_s=RU_PER_S, lag_s=LAG_S, history=HISTORY)
    levels = sorted(options.slices)
    with start_sandbox(chosen) as sandbox:
        report.note(f"up to {levels[-1]:,} done slices; {options.ticks} ticks at each level …")
        job = {**_job(sandbox), "levels": levels, "ticks": options.ticks}
        settings = {**sandbox.settings(), "EBB_METRIC_SETTLE_S": SETTLE_S}
        found = run_child(sandbox.processes, "bench.tick_controller", job, settings=settings)
    first, last = found["rows"][0], found["rows"][-1]
    return {
        "rows": found["rows"],
        "flat_ratio": last["storage_calls"] / first["storage_calls"],
        "flat_ratio_ms": last["ms_median"] / first["ms_median"],
        "flat_ratio_point_read_ms": last["point_read_ms"] / first["point_read_ms"],
    }


def _job(sandbox: Sandbox) -> dict[str, Any]:
    stocked = stock(sandbox.backing, "small", documents=DOCUMENTS, kb=1, slice_documents=DOCUMENTS)
    storage = sandbox.storage
    if storage is None:
        raise BenchError("ticking: the sandbox has no storage")
    return {
        "storage": storage.connection_string,
        "account": sandbox.resource_id.rsplit("/", maxsplit=1)[-1],
        "container": stocked.container,
        "endpoints": {
            "blob": storage.blob_endpoint,
            "queue": storage.queue_endpoint,
            "table": storage.table_endpoint,
            "cosmos": sandbox.cosmos_endpoint,
            "monitor": sandbox.management_endpoint,
            "identity": sandbox.identity_endpoint,
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = report.parser("bench.tick", __doc__ or "")
    parser.add_argument("--ticks", type=int, default=TICKS, help="at each level")
    parser.add_argument(
        "--slices", type=int, nargs="+", default=list(LEVELS), help="done slices, level by level"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
