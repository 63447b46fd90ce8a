"""Starts child processes and stops them by pid; it does not know what they serve."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.errors import SandboxError

REPOSITORY = Path(__file__).resolve().parent.parent
# Node with a cold disk cache takes about two seconds; the rest is for a busy machine.
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 5.0
POLL_S = 0.02
LOG_TAIL_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process that was started here, and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self.process.poll() is None

    def send_line(self, line: str) -> None:
        """Write one line to the process's standard input."""
        if self.process.stdin is None or not self.is_running():
            raise SandboxError(_ended(self, f"sending {line!r} to it"))
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def log_text(self) -> str:
        """Everything that the process wrote so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str, *, within_s: float = READY_WITHIN_S) -> re.Match[str]:
        """Return the first match of the pattern in the process's log, or fail."""
        wanted = re.compile(pattern, re.MULTILINE)
        deadline_s = time.monotonic() + within_s
        while True:
            running = self.is_running()
            if match := wanted.search(self.log_text()):
                return match
            if not running:
                raise SandboxError(_ended(self, f"waiting for {pattern!r} in its log"))
            if time.monotonic() > deadline_s:
                message = (
                    f"waiting for {pattern!r} from {self.name}: nothing within {within_s:.0f} s; "
                    f"its log {self.log_path} ends with: {self.log_text()[-LOG_TAIL_CHARACTERS:]}"
                )
                raise SandboxError(message)
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Ask the process to end, and end it if it does not."""
        if self.process.stdin is not None:
            # A process that is already gone breaks the pipe, which is what closing it is for.
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        if self.is_running():
            self.process.terminate()
        try:
            self.process.wait(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=STOP_WITHIN_S)


class Processes:
    """The children of one sandbox and a scratch directory for their files."""

    def __init__(self, scratch_dir: Path | None = None) -> None:
        """Use the given directory, or one of our own that goes away at the end."""
        self._own = (
            None
            if scratch_dir
            else tempfile.TemporaryDirectory(prefix="ebb-sandbox-", ignore_cleanup_errors=True)
        )
        self.scratch_dir = scratch_dir or Path(self._own.name if self._own else "")
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything that was started here."""
        self.stop()

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        extra_env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
    ) -> Child:
        """Start a process whose standard input closes when this process ends, however it ends."""
        log_path = self.scratch_dir / f"{name}.log"
        with log_path.open("wb") as log:
            try:
                process = subprocess.Popen(
                    list(arguments),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env={**os.environ, **(extra_env or {})},
                )
            except OSError as error:
                message = (
                    f"starting {name}: {arguments[0]!r} could not be run ({error}); "
                    "install it or put it on the PATH"
                )
                raise SandboxError(message) from error
        child = Child(name=name, process=process, log_path=log_path)
        self._children.append(child)
        return child

    def stop(self) -> None:
        """Stop the children, the last started first, and remove our own scratch directory."""
        while self._children:
            self._children.pop().stop()
        if self._own is not None:
            self._own.cleanup()


def find_node_modules() -> Path:
    """Where npm put both servers: EBB_NODE_MODULES, or node_modules beside the code."""
    named = os.environ.get("EBB_NODE_MODULES")
    candidates = (
        [Path(named)] if named else [REPOSITORY / "node_modules", Path.cwd() / "node_modules"]
    )
    for candidate in candidates:
        if (candidate / "azurite").is_dir() and (
            candidate / "@vercel" / "cosmosdb-server"
        ).is_dir():
            return candidate.resolve()
    looked = ", ".join(str(candidate) for candidate in candidates)
    message = (
        f"looking for azurite and @vercel/cosmosdb-server: not in {looked}; "
        "run 'npm ci', or set EBB_NODE_MODULES"
    )
    raise SandboxError(message)


def _ended(child: Child, doing: str) -> str:
    return (
        f"{doing}: {child.name} (pid {child.pid}) ended with code {child.process.poll()}; "
        f"its log ends with: {child.log_text()[-LOG_TAIL_CHARACTERS:]}"
    )
