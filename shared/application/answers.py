"""The questions people ask before a migration, each answered in a line from an estimate."""

from __future__ import annotations

import datetime as dt

from shared.application.estimating import BLOCKS_TOLD, Estimate
from shared.domain.savings import Way

MONTHS_LONG = 24.0  # beyond it people count in years


def answers(found: Estimate) -> tuple[tuple[str, str], ...]:
    """Question and answer, in the order in which they are usually asked."""
    return (
        ("1. How do we migrate the data?", _how(found)),
        ("2. How do we know that the files are not corrupted?", _proof(found)),
        ("3. How much time will it take?", _time(found)),
        ("4. Is the business safe, and within which limits?", _limits(found)),
        ("5. How are errors and an unavailable API avoided?", _errors(found)),
        ("6. What if the business is busy on that day?", _busy(found)),
        ("7. What else can go wrong?", _else(found)),
    )


def _how(found: Estimate) -> str:
    work, spec = found.work, found.survey.spec
    return (
        f"{work.documents:,} documents, {gigabytes(work.source_bytes)}, in about {work.slices:,} "
        f"slices by engine {found.engine.name} to Parquet in {spec.sink.container}, "
        f"{gigabytes(work.blob_bytes)} there; {work.copy_ru:,.0f} RU"
    )


def _proof(found: Estimate) -> str:
    again = (
        f"and each window is read from the source again, {found.work.reread_ru:,.0f} RU"
        if found.work.reread_ru
        else "which costs no request units"
    )
    return (
        "every document is hashed when read and again from the bytes in the archive, under one "
        f"receipt a slice, {again}; ebb verify and tools/audit.py do it again at any time"
    )


def _time(found: Estimate) -> str:
    told = found.forecast
    if told.p50_s is None:
        return f"nobody can tell now: {told.why_not}"
    late = "longer than three years" if told.p90_s is None else span(told.p90_s)
    return f"{span(told.p50_s)} (P50) to {late} (P90), from {told.basis.value}"


def _limits(found: Estimate) -> str:
    survey = found.survey
    return (
        f"business and Ebb together stay below {survey.spec.ceiling:.0%} of "
        f"{survey.capacity_ru_per_s:,.0f} RU/s ({survey.capacity_from}); less where the business "
        "is unsteady, and nothing when Ebb does not know what it uses"
    )


def _errors(found: Estimate) -> str:
    seen = found.survey.business.throttled_share
    told = f"; of the business's own requests lately {seen:.2%} met one" if seen else ""
    removes = (
        "removes nothing"
        if found.chosen.way is Way.KEEP
        else "removes what is proven only when told to, by ebb retire"
    )
    return (
        f"Ebb only reads, changes no API and {removes}; the first 429 of its own stops that "
        f"partition until the next decision{told}"
    )


def _busy(found: Estimate) -> str:
    text = (
        "each 30 s it is decided anew from Azure Monitor, POST /api/pressure makes room within two "
        "seconds, and ebb explain shows why"
    )
    if not found.blocks:
        return f"{text}; which hours are busy is not known"
    best = ", ".join(each.name for each in found.blocks[:BLOCKS_TOLD])
    worst = ", ".join(each.name for each in found.blocks[: -BLOCKS_TOLD - 1 : -1])
    return f"{text}. Most room: {best}. Least: {worst}"


def _else(found: Estimate) -> str:
    return "; ".join(each.fact for each in found.risks) or "nothing was seen that speaks against it"


def span(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 3600:  # noqa: PLR2004 - an hour
        return f"{max(1, round(seconds / 60))} min"
    hours = seconds / 3600
    return f"{hours:,.1f} h" if hours < 48 else f"{hours / 24:,.1f} days"  # noqa: PLR2004 - two days


def gigabytes(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"  # noqa: PLR2004


def break_even(months: float | None) -> str:
    """Until a tier has paid for the way there."""
    if months is None:
        return "never"
    return f"{months:,.1f} months" if months < MONTHS_LONG else f"{months / 12:,.1f} years"


def at_utc(at_s: float) -> str:
    return f"{dt.datetime.fromtimestamp(at_s, dt.UTC):%Y-%m-%d %H:%M} UTC"
