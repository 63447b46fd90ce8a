"""What a check found out: proven, different, or skipped, and what was expected and seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial


class Verdict(StrEnum):
    PROVEN = "proven"
    DIFFERS = "differs"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row's outcome; of a skipped row `seen` says why."""

    verdict: Verdict
    expected: str
    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A finding with the id of its row on the fidelity page, and what was checked."""

    id: str
    title: str
    finding: Finding
    took_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Ready to run; its title is one sentence."""

    title: str
    run: Callable[[], Finding]


Checks = Mapping[str, Check]
"""By the id of the row that each settles."""


def bound(functions: Mapping[str, Callable[..., Finding]], *clients: object) -> dict[str, Check]:
    """Checks of one kind, each with the clients that its kind needs."""
    return {
        id_: Check(title=(function.__doc__ or "").strip(), run=partial(function, *clients))
        for id_, function in functions.items()
    }


def judged(*, expected: str, seen: str, holds: bool) -> Finding:
    verdict = Verdict.PROVEN if holds else Verdict.DIFFERS
    return Finding(verdict=verdict, expected=expected, seen=seen)


def skipped(why: str) -> Finding:
    return Finding(verdict=Verdict.SKIPPED, expected="", seen=why)
