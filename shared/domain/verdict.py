"""Verdicts: what a validation found, by document id; never a document's content.

Pure comparison of what the source showed with what the archive really holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.receipt import Row

NAMED_MAX = 20  # ids a verdict names per kind; the count is always whole


class Kind(StrEnum):
    MISSING = "missing"
    EXTRA = "extra"
    DUPLICATED = "duplicated"
    CHANGED = "changed"
    UNREADABLE = "unreadable"
    SUPERSEDED = "superseded"
    """Archived, and updated or deleted in the source since: told, and nothing is wrong."""


@dataclass(slots=True)
class Verdict:
    """Findings gathered while rows stream by; sound when nothing contradicts."""

    counts: dict[Kind, int] = field(default_factory=dict)
    named: dict[Kind, list[str]] = field(default_factory=dict)

    def add(self, kind: Kind, document_id: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        names = self.named.setdefault(kind, [])
        if len(names) < NAMED_MAX:
            names.append(document_id)

    @property
    def sound(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> int:
        """How many documents contradict what was promised of them."""
        return sum(n for kind, n in self.counts.items() if kind is not Kind.SUPERSEDED)

    def sentence(self) -> str:
        if not self.counts:
            return "every document matches"
        parts = []
        for kind in Kind:
            if count := self.counts.get(kind):
                names = ", ".join(repr(n) for n in self.named[kind])
                more = f" and {count - len(self.named[kind])} more" if count > NAMED_MAX else ""
                parts.append(f"{count} {kind.value}: {names}{more}")
        return "; ".join(parts)


def compare(
    expected: Iterable[Row], found: Iterable[Row], *, lost_groups: Collection[int] = ()
) -> Verdict:
    """Hold the rows an archive file gave, in their order, against what its manifest promises.

    `lost_groups` is looked at when all of `found` was seen: row groups that could not be read.
    """
    verdict = Verdict()
    promised: dict[tuple[str, str], Row] = {}
    for row in expected:
        if row.key in promised:
            verdict.add(Kind.DUPLICATED, row.id)
        promised[row.key] = row
    seen: dict[tuple[str, str], None] = {}
    for row in found:
        wanted = promised.get(row.key)
        if row.key in seen:
            verdict.add(Kind.DUPLICATED, row.id)
        elif wanted is None:
            verdict.add(Kind.EXTRA, row.id)
        elif row != wanted:
            verdict.add(Kind.CHANGED, row.id)
        seen[row.key] = None
    for key, row in promised.items():
        if key not in seen:
            lost = row.row_group in lost_groups
            verdict.add(Kind.UNREADABLE if lost else Kind.MISSING, row.id)
    if verdict.sound:
        _compare_order(verdict, promised, list(seen))
    return verdict


def _compare_order(
    verdict: Verdict, promised: Mapping[tuple[str, str], Row], found: Iterable[tuple[str, str]]
) -> None:
    for row, key in zip(promised.values(), found, strict=True):
        if row.key != key:
            verdict.add(Kind.CHANGED, row.id)


def compare_with_source(archived: Iterable[Row], present: Iterable[Row]) -> Verdict:
    """Hold an archive against what its source holds now.

    Only a document that the source still has can contradict: a past window never gains one, and
    what it lost was superseded.
    """
    verdict = Verdict()
    left = {row.key: row for row in archived}
    for row in present:
        kept = left.pop(row.key, None)
        if kept is None:
            verdict.add(Kind.MISSING, row.id)
        elif (kept.etag, kept.sha256) != (row.etag, row.sha256):
            verdict.add(Kind.CHANGED, row.id)
    for row in left.values():
        verdict.add(Kind.SUPERSEDED, row.id)
    return verdict
