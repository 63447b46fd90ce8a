"""Finds a headless Chromium, and unpacks the pinned one where npm put it packed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.processes import find_node_modules

REPOSITORY = Path(__file__).parents[2]
UNPACK = "import chromium from '@sparticuz/chromium'; await chromium.executablePath()"
UNPACK_S_MAX = 60.0
ON_PATH = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> Path:
    """EBB_CHROMIUM, else the pinned one, else one that is installed."""
    named = os.environ.get("EBB_CHROMIUM")
    if named:
        return Path(named)
    packed = find_node_modules() / "@sparticuz" / "chromium"
    if packed.is_dir():
        return _unpacked(packed)
    for name in ON_PATH:
        if installed := shutil.which(name):
            return Path(installed)
    message = (
        f"looking for a Chromium: none in {packed}, none of {', '.join(ON_PATH)} on PATH; run "
        "'make setup' on Linux (x86-64), or set EBB_CHROMIUM to a Chromium or Chrome"
    )
    raise SandboxError(message)


def _unpacked(packed: Path) -> Path:
    """The package unpacks into the temporary folder; it is given one of ours, named by content."""
    stamp = (packed / "bin" / "chromium.br").stat()
    home = REPOSITORY / ".sandbox" / f"chromium-{stamp.st_size}"
    found = home / "chromium"
    if found.is_file():
        return found
    draft = home.with_name(f"{home.name}.{os.getpid()}")
    draft.mkdir(parents=True)
    environment = {**os.environ, "TMPDIR": str(draft)}
    subprocess.run(
        ["node", "--input-type=module", "--eval", UNPACK],
        cwd=packed.parent,
        env=environment,
        check=True,
        capture_output=True,
        timeout=UNPACK_S_MAX,
    )
    if not found.is_file():
        draft.rename(home)
    return found
