"""A file that remembers which slices were found sound, so that a long verification can go on.

One JSON value a line, appended as it is found; a line cut off by a crash is skipped.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from shared.application.verifying import Checked
from shared.errors import Refused


class FileNotebook:
    def __init__(self, path: Path, *, migration: str, uid: str) -> None:
        """Opens the notebook of one migration; another one's is refused."""
        head = {"ebb_notebook": 1, "migration": migration, "uid": uid}
        self._known: set[Checked] = set()
        try:
            lines = _values(path)
            if lines and lines[0] != head:
                raise Refused(
                    f"resuming from {path}: it is not the notebook of {migration}; give the file "
                    "of an earlier run, or a new name"
                )
            self._known = {Checked(**line) for line in lines[1:]}
            self._file: TextIO = path.open("a", encoding="utf-8")
        except (OSError, UnicodeDecodeError, TypeError) as error:
            raise Refused(f"opening {path} as a notebook: {error}; give another file") from error
        # A line that a crash cut short must not swallow the next one.
        self._write(head if not lines else {})

    def knows(self, checked: Checked) -> bool:
        return checked in self._known or _beside_source(checked) in self._known

    def note(self, checked: Checked) -> None:
        self._known.add(checked)
        self._write(asdict(checked))

    def close(self) -> None:
        self._file.close()

    def _write(self, value: dict[str, Any]) -> None:
        self._file.write(f"\n{json.dumps(value)}\n" if value else "\n")
        self._file.flush()


def _beside_source(checked: Checked) -> Checked:
    """Whoever compared with the source had read the blobs, too."""
    return Checked(receipt=checked.receipt, sha256=checked.sha256, with_source=True)


def _values(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found = []
    for line in path.read_text("utf-8").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
