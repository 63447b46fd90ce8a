"""The command doctor: shows what a running Ebb finds when it examines its own deployment."""

from __future__ import annotations

import argparse
from typing import Any

from rich.markup import escape

from shared.terminal.console import DONE, PROBLEM, Terminal
from shared.terminal.remote import Remote

MARKS = {"sound": "[green]sound  [/]", "faulty": "[bold red]FAULTY [/]", "skipped": "skipped"}


def examine(options: argparse.Namespace, terminal: Terminal) -> int:
    """Exit code 1 when anything is at fault."""
    findings = Remote(options.url, options.key).call("GET", "doctor")
    terminal.show(findings, lambda: "\n".join(_line(each) for each in findings))
    return PROBLEM if any(each["verdict"] == "faulty" for each in findings) else DONE


def _line(finding: dict[str, Any]) -> str:
    line = f"{MARKS[finding['verdict']]}  {escape(finding['what'])}: {escape(finding['seen'])}"
    return f"{line}\n         → {escape(finding['advice'])}" if finding["advice"] else line
