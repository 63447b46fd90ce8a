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
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)

    def show(self, value: Any, text: Callable[[], Any]) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
        else:
            self.out.print(text())

    def say(self, text: str) -> None:
        """A line for people beside the result, which stays."""
        self.err.print(text)

    def progress(self, text: str) -> None:
        """One line in place of the last one, while somebody watches; nothing wipes it away."""
        if self.err.is_terminal and not self.as_json:
            self.err.file.write(f"\r\x1b[K{text}")
            self.err.file.flush()

    def fail(self, message: str, body: Mapping[str, Any] | None = None) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps({"error": message, **(body or {})}, indent=2) + "\n")
        self.err.print(message, style="bold red")


def _console(*, stderr: bool) -> Console:
    """Shows text as it is: in an id or a reason, [red] and :key: mean nothing."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
