"""Which numbers are told to whoever watches, and under which names; it decides nothing."""

from __future__ import annotations

from shared.domain.slices import Progress
from shared.ports import Entry, Telemetry


def measure_decision(telemetry: Telemetry, entry: Entry) -> None:
    """A number that is not known is left out, never zero."""
    decision, tags = entry.decision, {"source": entry.source}
    business = decision.business_ru_per_s
    numbers = {
        "ebb.budget_ru_per_s": decision.budget_ru_per_s,
        "ebb.ceiling_ru_per_s": decision.ceiling * decision.capacity_ru_per_s,
        "ebb.own_ru_per_s": entry.own_ru_per_s,
        "ebb.business_ru_per_s": business,
        "ebb.total_ru_per_s": None if business is None else business + entry.own_ru_per_s,
        "ebb.reading_age_s": decision.reading_age_s,
        "ebb.risk": decision.risk,
    }
    for name, value in numbers.items():
        if value is not None:
            telemetry.measured(name, value, tags)
    telemetry.counted("ebb.decisions", {**tags, "reason": decision.reason.value})


def measure_progress(telemetry: Telemetry, progress: Progress) -> None:
    tags = {"migration": progress.migration}
    numbers = {
        "ebb.documents_proven": progress.documents_proven,
        "ebb.documents_expected": progress.documents_expected,
        "ebb.slices_proven": progress.slices_proven,
        "ebb.attempts_failed": progress.attempts_failed,
        "ebb.mismatches": progress.mismatches,
        "ebb.ru_spent": progress.ru_spent,
    }
    for name, value in numbers.items():
        telemetry.measured(name, value, tags)


def count_verdict(telemetry: Telemetry, migration: str, verdict: str) -> None:
    """How an attempt ended: proven, or the cause of its failure."""
    telemetry.counted("ebb.verdicts", {"migration": migration, "verdict": verdict})
