"""The command doctor: shows what a running Ebb finds when it examines its own deployment."""

from __future__ import annotations

import argparse
from typing import Any

from rich.text import Text

from shared.terminal.console import DONE, PROBLEM, Terminal
from shared.terminal.remote import EXAMINING_TIMEOUT_S, Remote

MARKS = {
    "sound": ("sound  ", "green"),
    "faulty": ("FAULTY ", "bold red"),
    "skipped": ("skipped", ""),
}


def examine(options: argparse.Namespace, terminal: Terminal) -> int:
    """Exit code 1 when anything is at fault."""
    remote = Remote(options.url, options.key, timeout_s=EXAMINING_TIMEOUT_S)
    findings = remote.call("GET", "doctor")
    terminal.show(findings, lambda: Text("\n").join(_line(each) for each in findings))
    return PROBLEM if any(each["verdict"] == "faulty" for each in findings) else DONE


def _line(finding: dict[str, Any]) -> Text:
    advice = f"\n         → {finding['advice']}" if finding["advice"] else ""
    told = f"  {finding['what']}: {finding['seen']}{advice}"
    return Text.assemble(MARKS[finding["verdict"]], told)
