"""Removal records: what became of each row of a batch, kept in the archive beside the receipts.

The look-up index is the only other place that knows that Ebb, and not its owner, removed a
document; from these records it can be rebuilt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.domain.retirement import BATCH_DOCUMENTS, Direction, Outcome
from shared.errors import PermanentError

RECORD_VERSION = 1
REMOVED = "removed/"
RETURNED = "returned/"
_FOLDERS = {Direction.REMOVE: REMOVED, Direction.RESTORE: RETURNED}
_DEALT_WITH = frozenset({Outcome.MOVED, Outcome.CHANGED, Outcome.GONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalRecord:
    """One batch by one attempt: the rows of a manifest from `first` on, in order."""

    name: str
    uid: str
    mode: str
    direction: Direction
    slice_id: str
    fence: int
    first: int
    outcomes: tuple[Outcome, ...]

    @property
    def blob(self) -> str:
        """Each attempt has its own: a batch that is repeated may end in another way."""
        return f"{_FOLDERS[self.direction]}{self.slice_id}.{self.first:010d}.{self.fence}.json"

    def rows(self, outcomes: frozenset[Outcome]) -> Iterable[int]:
        return (self.first + at for at, each in enumerate(self.outcomes) if each in outcomes)

    def as_bytes(self) -> bytes:
        body = {
            "ebb_removal": RECORD_VERSION,
            "migration": {"name": self.name, "uid": self.uid},
            "mode": self.mode,
            "direction": self.direction.value,
            "slice": self.slice_id,
            "fence": self.fence,
            "first": self.first,
            "outcomes": [each.value for each in self.outcomes],
        }
        return json.dumps(body, indent=1, sort_keys=True).encode()


class _Migration(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    uid: str


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    ebb_removal: Literal[1]
    migration: _Migration
    mode: Literal["delete", "stub"]
    direction: Direction
    slice: str
    fence: int = Field(ge=0)
    first: int = Field(ge=0)
    outcomes: tuple[Outcome, ...] = Field(min_length=1, max_length=BATCH_DOCUMENTS)


def read_removal_record(blob: str, data: bytes) -> RemovalRecord:
    try:
        body = _Body.model_validate_json(data)
    except ValidationError as error:
        raise _harmed(blob, "it is no removal record of this Ebb") from error
    record = RemovalRecord(
        name=body.migration.name,
        uid=body.migration.uid,
        mode=body.mode,
        direction=body.direction,
        slice_id=body.slice,
        fence=body.fence,
        first=body.first,
        outcomes=body.outcomes,
    )
    if record.blob != blob:
        raise _harmed(blob, f"what it says belongs to {record.blob}")
    return record


def slice_of(blob: str) -> str:
    """The slice that a record's name begins with."""
    return blob.partition("/")[2].partition(".")[0]


def rows_removed(records: Iterable[RemovalRecord]) -> frozenset[int]:
    """Rows of one slice that were removed, in any attempt."""
    return _rows(records, Direction.REMOVE, frozenset({Outcome.MOVED}))


def rows_returned(records: Iterable[RemovalRecord]) -> frozenset[int]:
    """Rows of one slice that an undo has dealt with: nothing may point at them any more."""
    return _rows(records, Direction.RESTORE, _DEALT_WITH)


def _rows(
    records: Iterable[RemovalRecord], direction: Direction, outcomes: frozenset[Outcome]
) -> frozenset[int]:
    meant = (each for each in records if each.direction is direction)
    return frozenset(row for each in meant for row in each.rows(outcomes))


def _harmed(blob: str, seen: str) -> PermanentError:
    return PermanentError(
        f"reading {blob}: {seen}; it was altered or is of another version — restore it from its "
        "versions"
    )
