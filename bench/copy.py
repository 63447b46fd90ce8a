"""Measures how fast Ebb copies and proves documents, against the sum of the unavoidable steps.

Everything is real but the cloud: azure-cosmos over https through the sandbox's meter with nothing
to throttle it, and Azurite. The servers share this machine's cores with Ebb.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import report
from bench.children import run_child
from bench.documents import Stock, stock
from bench.errors import BenchError
from sandbox.errors import SandboxError
from sandbox.seeding import LARGE_KB
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox

UNLIMITED_RU_PER_S = 1e9
RSS_MB_MAX = 512
LARGE_DOCUMENTS = 150
LARGE_SLICE_DOCUMENTS = 75
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A running sandbox, and how to run a child against it."""

    sandbox: Sandbox

    def ebb(self, stocked: Stock, *, name: str, side_by_side: bool) -> dict[str, Any]:
        """Ebb itself; all of the stock must come out proven."""
        job = {
            **self._common(stocked),
            "name": name,
            "account": self.sandbox.resource_id.rsplit("/", maxsplit=1)[-1],
            "windows": stocked.windows,
            "side_by_side": side_by_side,
        }
        found = self._run("bench.copy_ebb", job)
        if found["documents"] != stocked.documents:
            raise BenchError(f"copying: {found['documents']} of {stocked.documents} are proven")
        found["mb_per_s"] = found["document_bytes"] / MEGABYTE / found["seconds"]
        return found

    def limit(self, stocked: Stock) -> dict[str, Any]:
        """The unavoidable steps."""
        size_bytes = stocked.bytes // stocked.documents
        return self._run(
            "bench.copy_limit", {**self._common(stocked), "document_bytes": size_bytes}
        )

    def naive(self, stocked: Stock, number: int) -> dict[str, Any]:
        """The plain script."""
        job = {**self._common(stocked), "sink": f"naive-{number}"}
        found = self._run("bench.copy_naive", job)
        if found["documents"] != stocked.documents:
            raise BenchError(f"the plain script found {found['documents']} documents")
        return found

    def _common(self, stocked: Stock) -> dict[str, Any]:
        return {
            "storage": self.sandbox.storage_connection_string,
            "endpoint": self.sandbox.cosmos_endpoint,
            "key": self.sandbox.cosmos_key,
            "ca_file": str(self.sandbox.ca_file),
            "container": stocked.container,
        }

    def _run(self, module: str, job: Mapping[str, Any]) -> dict[str, Any]:
        return run_child(self.sandbox.processes, module, job, settings=self.sandbox.settings())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show; 0 whatever was found, as a number is not a failure."""
    options = _parser().parse_args(arguments)
    try:
        found = measure(options)
    except (BenchError, SandboxError) as error:
        return report.told(error)
    report.show(found, _tables(found), as_json=options.json)
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements on one sandbox."""
    with start_sandbox(SandboxOptions(ru_per_s=UNLIMITED_RU_PER_S)) as sandbox:
        bench = Bench(sandbox=sandbox)
        report.note(f"storing {options.documents:,} documents of about {options.kb} KB …")
        usual = stock(
            sandbox.backing,
            "usual",
            documents=options.documents,
            kb=options.kb,
            slice_documents=options.slice_documents,
        )
        found = _usual(bench, usual, repeats=options.repeats)
        if options.large:
            found["large"] = _large(bench)
    return found


def _usual(bench: Bench, stocked: Stock, *, repeats: int) -> dict[str, Any]:
    report.note("timing the unavoidable steps …")
    before = bench.limit(stocked)
    report.note("copying and validating side by side, as the function app does …")
    beside = _fastest(
        bench.ebb(stocked, name=f"beside-{number}", side_by_side=True) for number in range(repeats)
    )
    report.note("copying, then validating, watched …")
    in_turn = bench.ebb(stocked, name="in-turn", side_by_side=False)
    report.note("the plain script …")
    naive = _fastest(bench.naive(stocked, number) for number in range(repeats))
    limit_s_per_mb = sum(before["s_per_mb"].values())
    total_mb = beside["document_bytes"] / MEGABYTE
    naive_mb_per_s = total_mb / naive["seconds"]
    return {
        "documents": stocked.documents,
        "mb": total_mb,
        "slices": len(stocked.windows),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "ratio": beside["mb_per_s"] * limit_s_per_mb,
        "ratio_in_turn": in_turn["mb_per_s"] * limit_s_per_mb,
        "ratio_of_own_cpu": limit_s_per_mb * total_mb / beside["cpu_s"],
        "naive_ratio": beside["mb_per_s"] / naive_mb_per_s,
        "mb_per_s": beside["mb_per_s"],
        "mb_per_s_in_turn": in_turn["mb_per_s"],
        "mb_per_s_limit": 1 / limit_s_per_mb,
        "mb_per_s_naive": naive_mb_per_s,
        "rss_mb": max(beside["rss_mb"], in_turn["rss_mb"]),
        "rss_mb_idle": beside["rss_mb_idle"],
        "rss_mb_naive": naive["rss_mb"],
        "collisions": beside["collisions"],
        "blob_share": beside["blob_bytes"] / beside["document_bytes"],
        "naive_blob_share": naive["blob_bytes"] / beside["document_bytes"],
        "steps": {name: s * 1e3 for name, s in before["s_per_mb"].items()},
        "source": {
            "ms_per_mb": before["reading"]["s_per_mb"] * 1e3,
            "own_cpu_ms_per_mb": before["reading"]["own_cpu_s_per_mb"] * 1e3,
            "page_documents": before["reading"]["page_documents"],
        },
        "in_turn": {"copy_s": in_turn["copy_s"], "validate_s": in_turn["validate_s"]},
        "stages": _shares(in_turn),
    }


def _fastest(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """As with the limit's steps: what it can do, not what disturbed it."""
    return min(runs, key=lambda each: float(each["seconds"]))


def _large(bench: Bench) -> dict[str, Any]:
    """Documents just under the 2 MB that Cosmos allows: what they do to memory."""
    report.note(f"storing {LARGE_DOCUMENTS} documents of about {LARGE_KB} KB …")
    stocked = stock(
        bench.sandbox.backing,
        "large",
        documents=LARGE_DOCUMENTS,
        kb=LARGE_KB,
        slice_documents=LARGE_SLICE_DOCUMENTS,
    )
    found = bench.ebb(stocked, name="large", side_by_side=True)
    return {
        "documents": stocked.documents,
        "mb": found["document_bytes"] / MEGABYTE,
        "mb_per_s": found["mb_per_s"],
        "rss_mb": found["rss_mb"],
        "rss_mb_max": RSS_MB_MAX,
    }


def _shares(in_turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where the threads were, as a share of the whole time in turn; the rest is between stages."""
    total_mb = in_turn["document_bytes"] / MEGABYTE
    return [
        {
            "thread": each["thread"],
            "stage": each["stage"],
            "ms_per_mb": each["seconds"] * 1e3 / total_mb,
            "cpu_ms_per_mb": each["cpu_s"] * 1e3 / total_mb,
            "share": each["seconds"] / in_turn["seconds"],
        }
        for each in in_turn["stages"]
    ]


def _tables(found: Mapping[str, Any]) -> list[Any]:
    steps = [{"step": name, "ms per MB": ms} for name, ms in found["steps"].items()]
    tables = [
        report.facts("Copying and proving", found),
        report.table("The unavoidable steps", steps),
        report.facts("Reading the source alone", found["source"]),
        report.table("Where Ebb's threads were", found["stages"]),
    ]
    if "large" in found:
        tables.append(report.facts("Documents of 2 MB", found["large"]))
    return tables


def _parser() -> argparse.ArgumentParser:
    parser = report.parser("bench.copy", __doc__ or "")
    parser.add_argument("--documents", type=int, default=1_000)
    parser.add_argument("--kb", type=int, default=300, help="the size of a document")
    parser.add_argument("--slice-documents", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2, help="the fastest run is kept")
    parser.add_argument("--large", action="store_true", help="measure documents of 2 MB too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
