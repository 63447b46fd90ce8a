"""Shows what a measurement found, as a table or as JSON; it measures nothing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.errors import BenchError
from sandbox.errors import SandboxError

UNREACHABLE = 3  # as in `ebb`: something needed could not be started or reached


def parser(module: str, sentence: str) -> argparse.ArgumentParser:
    """A command line that every bench shares."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=sentence)
    made.add_argument("--json", action="store_true", help="JSON on standard output")
    return made


def note(text: str) -> None:
    """Tell a waiting person what is going on, beside the result and never in it."""
    Console(stderr=True, highlight=False).print(text, style="dim", markup=False)


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line per row, with the first row's keys as columns."""
    columns = list(rows[0]) if rows else []
    made = Table(*columns, title=title, title_justify="left")
    for row in rows:
        made.add_row(*(shown(row.get(column)) for column in columns))
    return made


def facts(title: str, found: Mapping[str, Any]) -> Table:
    """One line per fact; nested facts have tables of their own."""
    made = Table("what", "measured", title=title, title_justify="left")
    for name, value in found.items():
        if not isinstance(value, Mapping | list):
            made.add_row(name, shown(value))
    return made


def shown(value: object) -> str:
    """A value as a person reads it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(each)}" for name, each in value.items())
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def show(found: Mapping[str, Any], tables: Sequence[Table], *, as_json: bool) -> None:
    """Write the result to standard output."""
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    console = Console(highlight=False)
    for each in tables:
        console.print(each)


def told(error: BenchError | SandboxError) -> int:
    """Say why there is no result; returns the exit code."""
    sys.stderr.write(f"{error}\n")
    return UNREACHABLE
