"""Writes one JSON line per event on stderr and passes the app's own log records through."""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The names host.json uses, and Python's numbers for them.
LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}
# Azure Monitor cuts a trace at 32,768 characters; a longer line is no log line.
FIELD_CHARS_MAX = 32_768

_writing = threading.Lock()


def event(name: str, *, level: str = "information", **facts: object) -> None:
    """Write one event; None facts are left out."""
    line: dict[str, object] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": name,
    }
    for key, value in facts.items():
        if value is not None:
            line[key] = value[:FIELD_CHARS_MAX] if isinstance(value, str) else value
    text = json.dumps(line, ensure_ascii=False, default=str)
    with _writing:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class AppLog(logging.Handler):
    """Passes log records on, each with the function and invocation it came from."""

    def __init__(
        self,
        *,
        levels: Mapping[str, str],
        current: Callable[[], tuple[str | None, str | None]],
        host_thread: int,
    ) -> None:
        super().__init__(logging.DEBUG)
        self._levels = {
            key.lower(): LEVELS.get(level.lower(), logging.INFO) for key, level in levels.items()
        }
        self._current = current
        self._host_thread = host_thread

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record unless host.json's logLevel, or the noise rule, silences it."""
        function, invocation_id = self._current()
        category = f"function.{function}.user" if function else "host"
        if record.levelno < self._threshold(category) or self._is_noise(record):
            return
        event(
            "log",
            level=_name(record.levelno),
            function=function,
            invocation_id=invocation_id,
            logger=record.name,
            message=self.format(record),
        )

    def _threshold(self, category: str) -> int:
        fits = [key for key in self._levels if category == key or category.startswith(key + ".")]
        best = max(fits, key=len, default="default")
        return self._levels.get(best, logging.INFO)

    def _is_noise(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            return False
        # The host's own storage calls, and the runtime's line or two per invocation.
        return record.thread == self._host_thread or record.name == "azure.functions"


def _name(level: int) -> str:
    names = ((50, "critical"), (40, "error"), (30, "warning"), (20, "information"))
    return next((name for least, name in names if level >= least), "debug")
