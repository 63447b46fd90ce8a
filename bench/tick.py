"""Measures what one controller tick costs as the ledger of done slices grows.

The tick, its adapters and its clients are the real ones, over Azurite and the sandbox's account and
monitor; most done slices are put into Azurite's own file, before it starts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import TemporaryDirectory
from typing import Any

from bench import report
from bench.children import run_child
from bench.documents import DATABASE, stock
from bench.errors import BenchError
from bench.grown_ledger import grow, saved
from sandbox.azurite import Azurite, start_azurite
from sandbox.cosmos.account import History
from sandbox.errors import SandboxError
from sandbox.processes import Processes, find_node_modules
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox

LEVELS = (100, 1_000, 10_000, 100_000)
TICKS = 15
DOCUMENTS = 4_000  # each tick plans one slice of at most twenty
RU_PER_S = 100_000.0
LAG_S = 5.0
HISTORY_MINUTES = 30
HISTORY_RU_PER_S = 1_000.0
SETTLE_S = "5"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show; 0 whatever was found, as a number is not a failure."""
    options = _parser().parse_args(arguments)
    try:
        found = measure(options)
    except (BenchError, SandboxError) as error:
        return report.told(error)
    tables = [report.table("One tick", found["rows"]), report.facts("Growth", found)]
    report.show(found, tables, as_json=options.json)
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Each level on an Azurite of its own, all on one Cosmos account."""
    chosen = SandboxOptions(ru_per_s=RU_PER_S, lag_s=LAG_S, with_storage=False)
    levels = sorted(options.slices)
    with start_sandbox(chosen) as sandbox, TemporaryDirectory(prefix="ebb-bench-") as folder:
        stocked = stock(
            sandbox.backing, "small", documents=DOCUMENTS, kb=1, slice_documents=DOCUMENTS
        )
        past = History(
            minutes=HISTORY_MINUTES,
            ru_per_s=HISTORY_RU_PER_S,
            database=DATABASE,
            container=stocked.container,
        )
        sandbox.admin.tell_history(past)
        bench = Bench(sandbox=sandbox, container=stocked.container)
        base = Path(folder) / "base"
        base.mkdir()
        bench.prepare(base, levels)
        rows = []
        for level in levels:
            report.note(f"{options.ticks} ticks over {level:,} done slices …")
            rows.append({"slices": level, **bench.level(base, level, options.ticks)})
    first, last = rows[0], rows[-1]
    return {
        "rows": rows,
        "flat_ratio": last["storage_calls"] / first["storage_calls"],
        "flat_ratio_ms": last["ms_median"] / first["ms_median"],
        # What Azurite alone makes of it: it looks through a whole table for any of its rows.
        "flat_ratio_azurite_ms": last["point_read_ms"] / first["point_read_ms"],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A sandbox without storage, which each level brings along."""

    sandbox: Sandbox
    container: str

    def prepare(self, folder: Path, levels: Sequence[int]) -> None:
        """A running migration with as many done slices as the smallest level, saved in a folder."""
        job = {
            "prepare": True,
            "slices": levels[0],
            "slices_max": levels[-1],
            "account": self.sandbox.resource_id.rsplit("/", maxsplit=1)[-1],
            "container": self.container,
        }
        self._run(folder, job, then=lambda: saved(folder, levels[0]))

    def level(self, base: Path, slices: int, ticks: int) -> dict[str, Any]:
        """Ticks over so many done slices."""
        folder = base.parent / str(slices)
        copytree(base, folder)
        last = grow(folder, slices)
        found = self._run(folder, {"prepare": False, "ticks": ticks, "last": last})
        rmtree(folder)
        return found

    def _run(
        self, folder: Path, job: Mapping[str, Any], then: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        with Processes() as processes:
            storage = start_azurite(processes, find_node_modules(), location=folder)
            told = {
                **job,
                "storage": storage.connection_string,
                "endpoints": self._endpoints(storage),
            }
            found = run_child(
                processes, "bench.tick_controller", told, settings=self._settings(storage)
            )
            if then is not None:
                then()
        return found

    def _settings(self, storage: Azurite) -> dict[str, str]:
        return replace(self.sandbox, storage=storage).settings() | {"EBB_METRIC_SETTLE_S": SETTLE_S}

    def _endpoints(self, storage: Azurite) -> dict[str, str]:
        return {
            "blob": storage.blob_endpoint,
            "queue": storage.queue_endpoint,
            "table": storage.table_endpoint,
            "cosmos": self.sandbox.cosmos_endpoint,
            "monitor": self.sandbox.management_endpoint,
            "identity": self.sandbox.identity_endpoint,
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
