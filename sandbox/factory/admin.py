"""A typed client of the factory's controls; it talks to nothing else."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

from sandbox.errors import SandboxError
from sandbox.factory.conduct import CallKind, FactoryFault

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the factory's runs so far would cost."""

    activity_runs: int
    unit_hours: float
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryAdmin:
    """Changes how the sandbox's factory behaves, and sees what it did."""

    url: str

    def state(self) -> dict[str, Any]:
        """Return conduct and faults as they stand."""
        return dict(self._call("GET", "/state"))

    def set_conduct(self, **changes: float) -> None:
        """Change durations and shares; the names are those of `Conduct`."""
        self._call("PUT", "/conduct", changes)

    def add_fault(
        self,
        fault: FactoryFault,
        *,
        kind: CallKind = "any",
        after: int = 0,
        times: int | None = 1,
    ) -> None:
        """Make calls of a kind, or runs, meet a fault so many times (None: until cleared)."""
        self._call(
            "POST", "/faults", {"fault": fault, "kind": kind, "after": after, "times": times}
        )

    def clear_faults(self) -> None:
        """Lift every fault."""
        self._call("DELETE", "/faults")

    def runs(self) -> list[dict[str, Any]]:
        """Return every run with its activities, oldest first."""
        return list(self._call("GET", "/runs"))

    def bill(self) -> Bill:
        """Return what the runs so far would cost."""
        return Bill(**self._call("GET", "/bill"))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - loopback, made by the stage
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - same
                return json.load(answer)
        except HTTPError as error:
            with error:
                said = error.read().decode("utf-8", "replace")
            message = f"asking the factory {method} {path}: answered {error.code}: {said}"
            raise SandboxError(message) from error
