"""Where seeds that once failed are kept, and how to come back to one."""

from __future__ import annotations

import json
from pathlib import Path

KEPT = Path(__file__).with_name("kept_seeds.txt")
FAILURES = Path(".sandbox/soak-failures.jsonl")  # ignored by git: what a soak found on this machine


def kept_seeds() -> list[int]:
    """Each line holds a seed and, after it, what it once found."""
    lines = KEPT.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def replay(seed: int) -> str:
    """The one command that shows the failure again, with the last calls before it."""
    return f"python -m tests.simulation.soak --seed {seed}"


def remember(seed: int, error: str, *, into: Path = FAILURES) -> None:
    into.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"seed": seed, "error": error, "replay": replay(seed)})
    with into.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
