"""What every command of the terminal prints with, and the codes it exits with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from shared.wiring import App

DONE, PROBLEM, MISUSED, UNREACHABLE = 0, 1, 2, 3


class Terminal:
    """What commands print: people's text, or one JSON value."""

    def __init__(self, *, as_json: bool, app: Callable[[], App]) -> None:
        self.as_json = as_json
        self.app = app
        """This Ebb, over the settings in the environment: for commands that read the archive."""
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    def show(self, value: Any, text: Callable[[], Any]) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
        else:
            self.out.print(text())

    def progress(self, text: str) -> None:
        """One line in place of the last one, while somebody watches; nothing wipes it away."""
        if self.err.is_terminal and not self.as_json:
            self.err.print(f"\r\x1b[K{text}", end="")

    def fail(self, message: str, body: Mapping[str, Any] | None = None) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps({"error": message, **(body or {})}, indent=2) + "\n")
        self.err.print(message, style="bold red", markup=False)
