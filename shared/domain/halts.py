"""Why a migration halts: one word for each reason, by which a person finds what to do."""

from __future__ import annotations

from enum import StrEnum

from shared.errors import NotFound, PermanentError


class Halt(StrEnum):
    SLICE_TRANSIENT = "slice_transient"
    SLICE_INCOMPLETE = "slice_incomplete"
    SLICE_MISMATCH = "slice_mismatch"
    SLICE_FAULT = "slice_fault"
    ONLY_QUARANTINED = "only_quarantined"
    TOO_MANY_QUARANTINED = "too_many_quarantined"
    DEADLY_SLICE = "deadly_slice"
    DENSE_SECOND = "dense_second"
    NOT_COVERED = "not_covered"
    FOREIGN_SUMMARY = "foreign_summary"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    ARCHIVE_HARMED = "archive_harmed"
    GATE_CLOSED = "gate_closed"
    INDEX_INCOMPLETE = "index_incomplete"
    REMOVAL_FAILED = "removal_failed"
    RESTORED_OTHERWISE = "restored_otherwise"


class Halting(PermanentError):
    """A failure that knows by which word a person looks it up."""

    def __init__(self, halt: Halt, message: str) -> None:
        super().__init__(message)
        self.halt = halt


def halt_of(error: PermanentError) -> Halt:
    """What an outside thing said no to is either missing or refused."""
    if isinstance(error, Halting):
        return error.halt
    return Halt.NOT_FOUND if isinstance(error, NotFound) else Halt.REFUSED
