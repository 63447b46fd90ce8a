"""The failures Ebb distinguishes; each message says doing what, to what, what was seen, what to do.

It decides nothing: faces map these to HTTP statuses and exit codes, workers to retry or quarantine.
"""

from __future__ import annotations

from dataclasses import dataclass

PROBLEM_MEDIA = "application/problem+json"  # of this app's own failures, and of no platform's
OPERATOR_HEADER = "x-ebb-operator-key"


class EbbError(Exception):
    """Any failure Ebb knows by name."""

    ru: float = 0.0
    """Request units that the source charged before it failed."""


class TransientError(EbbError):
    """May succeed when tried again: the outside thing was busy, cut off or restarting."""


class Throttled(TransientError):
    """The source answered 429: its partition is full now."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ScratchFull(TransientError):
    """The machine's temporary storage has no room; another machine, or this one later, may have."""


class CostLimitReached(TransientError):
    """An answer of several pages took all the request units that its query allowed it."""


class Conflict(TransientError):
    """A conditional write found that someone else had written first; read again and decide anew."""


class OtherVersion(TransientError):
    """A later Ebb wrote this; whoever does not know it writes nothing over it, and holds."""


class PermanentError(EbbError):
    """Will fail the same way when tried again; a person or a change of input is needed."""


class NotFound(PermanentError):
    """The thing named does not exist."""


class WrongState(PermanentError):
    """The request is well-formed but the migration's state does not allow it."""


class Refused(PermanentError):
    """The request would break a promise, so nothing was done."""


class OtherAccount(PermanentError):
    """The spec or the state belongs to another account than this Ebb serves."""


class Denied(PermanentError):
    """Whoever calls has not shown who he is, or may not do this."""


class Uncanonical(PermanentError):
    """A document has no canonical form; its digest would mean nothing."""


class Unreadable(PermanentError):
    """Bytes in the archive are not the file they should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong in what a person wrote: where, what was seen, what to write instead."""

    path: str
    seen: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}: {self.seen}; {self.advice}"


class Invalid(PermanentError):
    """What a person wrote cannot be accepted; every fault is listed, not just the first."""

    def __init__(self, subject: str, faults: tuple[Fault, ...]) -> None:
        lines = "".join(f"\n  - {fault}" for fault in faults)
        super().__init__(f"{subject} has {len(faults)} fault(s); nothing was changed:{lines}")
        self.subject = subject
        self.faults = faults
