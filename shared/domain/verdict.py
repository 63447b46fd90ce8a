"""Verdicts: what a validation found, by document id; never a document's content.

Pure comparison of what the source showed with what the archive really holds.
"""

from __future__ import annotations

from collections.abc import Iterable
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


@dataclass(slots=True)
class Verdict:
    """Findings gathered while rows stream by; sound when there are none."""

    counts: dict[Kind, int] = field(default_factory=dict)
    named: dict[Kind, list[str]] = field(default_factory=dict)

    def add(self, kind: Kind, document_id: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        names = self.named.setdefault(kind, [])
        if len(names) < NAMED_MAX:
            names.append(document_id)

    @property
    def sound(self) -> bool:
        return not self.counts

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def sentence(self) -> str:
        if self.sound:
            return "every document matches"
        parts = []
        for kind in Kind:
            if count := self.counts.get(kind):
                names = ", ".join(repr(n) for n in self.named[kind])
                more = f" and {count - len(self.named[kind])} more" if count > NAMED_MAX else ""
                parts.append(f"{count} {kind.value}: {names}{more}")
        return "; ".join(parts)


def compare(expected: Iterable[Row], found: Iterable[Row]) -> Verdict:
    """Hold the rows an archive file gave against the rows its manifest promises."""
    verdict = Verdict()
    promised: dict[tuple[str, str], Row] = {}
    for row in expected:
        if row.key in promised:
            verdict.add(Kind.DUPLICATED, row.id)
        promised[row.key] = row
    seen: set[tuple[str, str]] = set()
    for row in found:
        wanted = promised.get(row.key)
        if row.key in seen:
            verdict.add(Kind.DUPLICATED, row.id)
        elif wanted is None:
            verdict.add(Kind.EXTRA, row.id)
        elif row != wanted:
            verdict.add(Kind.CHANGED, row.id)
        seen.add(row.key)
    for key, row in promised.items():
        if key not in seen:
            verdict.add(Kind.MISSING, row.id)
    return verdict
