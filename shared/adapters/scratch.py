"""Temporary files on the machine's own disk; they have no name and vanish when closed."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO


class TempScratch:
    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    def open(self) -> AbstractContextManager[BinaryIO]:
        file: AbstractContextManager[BinaryIO] = tempfile.TemporaryFile(  # noqa: SIM115 - the caller's
            dir=self._directory
        )
        return file
