"""How long things take in the factory and which faults it has; it does nothing itself."""

import random
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from sandbox.errors import SandboxError

# Of a management call, by what it asks; and of a run, decided when it is created or copies.
CallFault = Literal["status_403", "status_429", "status_500", "status_503", "lose_reply"]
RunFault = Literal["zombie", "copy_fails", "drop_row", "double_row", "alter_document"]
FactoryFault = CallFault | RunFault
CallKind = Literal[
    "create_run", "get_run", "cancel", "query_runs", "query_activities", "deploy", "read", "any"
]
CALL_FAULTS: frozenset[str] = frozenset(get_args(CallFault))
RUN_FAULTS: frozenset[str] = frozenset(get_args(RunFault))


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """Durations in seconds as Azure has them; every one is multiplied by `time_scale`."""

    time_scale: float = 1.0
    # Before a run starts, and before a Copy has an integration runtime.
    queue_s: float = 2.0
    copy_queue_s: float = 5.0
    # Between "Canceling" and "Cancelled".
    cancel_s: float = 2.0
    # Added to each page of a Copy: a slow copy.
    page_delay_s: float = 0.0
    # How much later than it would have a zombie writes.
    zombie_s: float = 30.0
    # How many of the cancelled copies leave half a file.
    half_blob_share: float = 0.0
    seed: int = 0
    # Runs in one answer to a query.
    answer_rows_max: int = 100

    def scaled(self, seconds: float) -> float:
        """Return how long something takes here that takes so long in Azure."""
        return seconds * self.time_scale

    def leaves_half(self, run_id: str) -> bool:
        """Whether this run's cancelled copy leaves half a file; the same for the same seed."""
        return random.Random(f"{self.seed}:{run_id}").random() < self.half_blob_share

    def changed(self, wanted: dict[str, Any]) -> "Conduct":
        """Return the conduct with other values."""
        try:
            return replace(self, **wanted)
        except TypeError as error:
            message = f"changing the factory's conduct: {error}; there is {', '.join(_names())}"
            raise SandboxError(message) from error


@dataclass(slots=True, kw_only=True)
class _Standing:
    fault: FactoryFault
    kind: CallKind = "any"
    after: int = 0
    # None: for as long as the rule stands.
    times: int | None = 1
    seen: int = 0
    hit: int = 0


@dataclass(slots=True, kw_only=True)
class FactoryFaults:
    """The faults in force, and how often each was met."""

    _standing: list[_Standing] = field(default_factory=list)

    def add(self, rule: dict[str, Any]) -> None:
        """Put a rule {fault, kind, after, times} in force."""
        known = CALL_FAULTS | RUN_FAULTS
        if rule.get("fault") not in known or rule.get("kind", "any") not in get_args(CallKind):
            message = (
                f"adding a fault to the factory: {rule!r} is not known; the faults are "
                f"{', '.join(sorted(known))}, the kinds {', '.join(get_args(CallKind))}"
            )
            raise SandboxError(message)
        self._standing.append(_Standing(**rule))

    def clear(self) -> None:
        """Lift every rule."""
        self._standing.clear()

    def state(self) -> list[dict[str, object]]:
        """Return how often each rule was seen and met."""
        return [{"fault": s.fault, "seen": s.seen, "hit": s.hit} for s in self._standing]

    def meet_call(self, kind: str) -> str | None:
        """Return the fault that a management call meets."""
        return self._meet(CALL_FAULTS, kind)

    def meet_run(self, *wanted: str) -> str | None:
        """Return the first of these faults that a run meets."""
        return self._meet(frozenset(wanted), "any")

    def _meet(self, faults: frozenset[str], kind: str) -> str | None:
        for standing in self._standing:
            if standing.fault not in faults or standing.kind not in ("any", kind):
                continue
            standing.seen += 1
            spent = standing.times is not None and standing.hit >= standing.times
            if standing.seen > standing.after and not spent:
                standing.hit += 1
                return standing.fault
        return None


def _names() -> list[str]:
    return sorted(Conduct.__dataclass_fields__)
