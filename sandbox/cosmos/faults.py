"""Decides which injected fault a request meets; it does not carry it out."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal, get_args

from sandbox.errors import SandboxError

Fault = Literal[
    "throttle_first_page",
    "empty_page_with_continuation",
    "status_403",
    "partition_key_full",
    "status_503",
    # A replica that lags behind the session, a document that others write, a partition that moved.
    "status_404_1002",
    "status_449",
    "status_410_1002",
    # Of a write with a condition, as if somebody had just written.
    "status_412",
    "reset",
    "slow",
    "truncated_body",
    # Carried out all the same.
    "late_503",
    "lost_reply",
]
# "any" is any kind of document request; what is asked about the container itself is "metadata".
Kind = Literal["query", "count", "read", "write", "any", "metadata"]
# Faults that only make sense for the pages of a query.
_PAGE_FAULTS = frozenset({"throttle_first_page", "empty_page_with_continuation"})
_WRITE_FAULTS = frozenset({"status_412"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """Which requests, and what happens to them."""

    fault: Fault
    origin: str | None = None
    kind: Kind = "any"
    after: int = 0
    # None: for as long as the rule stands.
    times: int | None = 1
    slow_ms: float = 1000.0
    retry_after_ms: float = 100.0


@dataclass(slots=True, kw_only=True)
class _Standing:
    id: int
    rule: FaultRule
    seen: int = 0
    hit: int = 0


@dataclass(slots=True, kw_only=True)
class FaultBoard:
    """The rules in force, and how often each was met."""

    _standing: list[_Standing] = field(default_factory=list)
    _ids: "count[int]" = field(default_factory=lambda: count(1))

    def add(self, rule: FaultRule) -> int:
        """Put a rule in force and return its id."""
        standing = _Standing(id=next(self._ids), rule=rule)
        self._standing.append(standing)
        return standing.id

    def clear(self) -> None:
        """Lift every rule."""
        self._standing.clear()

    def state(self) -> list[dict[str, object]]:
        """Return each rule's id and how often it was met."""
        return [
            {"id": s.id, "fault": s.rule.fault, "seen": s.seen, "hit": s.hit}
            for s in self._standing
        ]

    def meet(self, *, origin: str, kind: str, first_page: bool) -> FaultRule | None:
        """Return the first rule that this request meets, and count it."""
        for standing in self._standing:
            if _matches(standing.rule, origin=origin, kind=kind, first_page=first_page):
                standing.seen += 1
                spent = standing.rule.times is not None and standing.hit >= standing.rule.times
                if standing.seen > standing.rule.after and not spent:
                    standing.hit += 1
                    return standing.rule
        return None


def fault_rule(spec: dict[str, Any]) -> FaultRule:
    """Read a rule from the admin API's JSON.

    {match: {origin, kind, after, times}, fault, slow_ms, retry_after_ms}
    """
    match = spec.get("match", {})
    if spec.get("fault") not in get_args(Fault) or match.get("kind", "any") not in get_args(Kind):
        message = (
            f"reading a fault rule: fault {spec.get('fault')!r} on kind "
            f"{match.get('kind', 'any')!r} is not known; "
            f"use one of {', '.join(get_args(Fault))} on one of {', '.join(get_args(Kind))}"
        )
        raise SandboxError(message)
    allowed = {name: spec[name] for name in ("slow_ms", "retry_after_ms") if name in spec}
    return FaultRule(fault=spec["fault"], **match, **allowed)


def _matches(rule: FaultRule, *, origin: str, kind: str, first_page: bool) -> bool:
    kinds = (kind,) if kind == "metadata" else ("any", kind)
    if rule.origin not in (None, origin) or rule.kind not in kinds:
        return False
    if rule.fault in _PAGE_FAULTS and kind not in ("query", "count"):
        return False
    if rule.fault in _WRITE_FAULTS and kind != "write":
        return False
    return first_page or rule.fault != "throttle_first_page"
