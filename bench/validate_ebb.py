"""Validates a copied stock, or verifies it once it is proven, with Ebb's own code and nothing else.

The archive is a directory, so none of it lies in this process's memory.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench.children import Job, child_main, peak_rss_mb
from bench.errors import BenchError
from bench.validate_ports import ports_over, remember
from shared.application.bundle import Ports
from shared.application.dispatching import work_message
from shared.application.validating import Validating
from shared.application.verifying import Verifying
from shared.domain.slices import Slice


def measured(job: Job) -> dict[str, Any]:
    """Seconds, processor seconds and the memory at its peak."""
    ports = ports_over(Path(job["folder"]))
    slices = remember(ports.ledger, job["records"])
    found = {"rss_mb_idle": peak_rss_mb()}
    began_s, cpu_began_s = time.perf_counter(), time.process_time()
    if job["again"]:
        _verify(ports, slices)
    else:
        _validate(ports, slices)
    found["seconds"] = time.perf_counter() - began_s
    found["cpu_s"] = time.process_time() - cpu_began_s
    found["rss_mb"] = peak_rss_mb()
    return found


def _validate(ports: Ports, slices: tuple[Slice, ...]) -> None:
    """From the staged bytes to receipt, promotion and record, as the function app does."""
    validating = Validating(ports)
    for each in slices:
        outcome = validating.run(work_message(each))
        if not outcome.endswith("is proven"):
            raise BenchError(f"validating the stock: {outcome}")


def _verify(ports: Ports, slices: tuple[Slice, ...]) -> None:
    """From the receipts, as `ebb verify` does."""
    report = Verifying(ports).run(slices[0].migration)
    documents = sum(each.staged.documents for each in slices if each.staged)
    if not report.sound or report.documents != documents:
        faults = "; ".join(report.faults) or "no fault"
        raise BenchError(
            f"verifying the stock: {report.documents} of {documents} documents, {faults}"
        )


if __name__ == "__main__":
    child_main(measured)
