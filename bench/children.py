"""Runs a measurement in a process of its own, whose memory and processor time are its alone."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from sandbox.lifeline import die_with_parent
from sandbox.processes import Processes

ENDS_WITHIN_S = 1_800.0
_LOG_TAIL_CHARACTERS = 3_000
_KILOBYTE = 1_024

Job = Mapping[str, Any]


def run_child(
    processes: Processes, module: str, job: Job, *, settings: Mapping[str, str]
) -> dict[str, Any]:
    """Start a module with a job and these settings in its environment; returns its result."""
    name = f"{module}-{len(list(processes.scratch_dir.glob('*.job')))}"
    job_file = processes.scratch_dir / f"{name}.job"
    result_file = processes.scratch_dir / f"{name}.result"
    job_file.write_text(json.dumps(job), encoding="utf-8")
    arguments = [sys.executable, "-m", module, str(job_file), str(result_file)]
    child = processes.start(name, arguments, extra_env=settings)
    try:
        status = child.process.wait(timeout=ENDS_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        child.stop()
        raise BenchError(f"running {module}: no end within {ENDS_WITHIN_S:.0f} s") from error
    if status != 0 or not result_file.exists():
        tail = child.log_text()[-_LOG_TAIL_CHARACTERS:]
        raise BenchError(f"running {module}: it ended with {status}, saying: {tail}")
    found: dict[str, Any] = json.loads(result_file.read_text(encoding="utf-8"))
    return found


def child_main(work: Callable[[Job], dict[str, Any]]) -> None:
    """The other end: read the job, do it, and leave the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("result", type=Path)
    given = parser.parse_args()
    die_with_parent()
    found = work(json.loads(given.job.read_text(encoding="utf-8")))
    given.result.write_text(json.dumps(found), encoding="utf-8")


def peak_rss_mb() -> float:
    """The most memory this process ever had in use, in MiB.

    Linux keeps a parent's peak in a child's ru_maxrss, even after exec; VmHWM is this program's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        peak_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        return peak_kb / _KILOBYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KILOBYTE**2  # macOS: in bytes
