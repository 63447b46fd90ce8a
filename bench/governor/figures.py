"""Makes figures of a run: shares, minutes over the ceiling, throttled seconds, changes of mind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from bench.governor.loads import PARTITION_RU_PER_S
from bench.governor.loop import Minute, Run, Scenario
from bench.governor.traces import MINUTE_S

HOUR_S = 3_600
DIGITS = 6
ORACLE = "oracle"
MEASURED = (
    "oracle_share",
    "over_ceiling_pct",
    "throttled_s_pct",
    "direction_changes_per_h",
    "business_throttled_pct",
    "ru_spent_share",
)


def figures(run: Run, *, since_s: int = 0) -> dict[str, float]:
    """What a run came to, from so many seconds after its start."""
    start_s = run.scenario.load.start_s + since_s
    minutes = run.minutes[since_s // MINUTE_S :]
    budgets = [budget for at_s, budget in run.ticks if at_s >= start_s]
    room = sum(each.room_ru for each in minutes)
    seconds = len(minutes) * MINUTE_S
    own = sum(each.own_ru for each in minutes)
    return {
        "oracle_share": _rounded(own / room if room > 0 else 0.0),
        "over_ceiling_pct": _percent(sum(each.is_over for each in minutes), len(minutes)),
        "throttled_s_pct": _percent(sum(each.throttled_s for each in minutes), seconds),
        "direction_changes_per_h": _rounded(direction_changes(budgets) * HOUR_S / seconds),
        "business_throttled_pct": business_throttled_pct(minutes),
        "ru_spent_share": _rounded(own / (run.scenario.load.capacity_ru_per_s * seconds)),
    }


def foreseen(scenario: Scenario) -> dict[str, float]:
    """The oracle's figures: it knows every second of the business beforehand."""
    load = scenario.load
    limit = scenario.ceiling * PARTITION_RU_PER_S
    budgets = [sum(max(0.0, limit - each) for each in wants) for wants in load.wants]
    borders = pairwise([*load.starts_s, load.end_s])
    room = sum(ru * (end - start) for ru, (start, end) in zip(budgets, borders, strict=True))
    seconds = load.end_s - load.start_s
    return {
        **dict.fromkeys(MEASURED, 0.0),
        "oracle_share": 1.0,
        "direction_changes_per_h": _rounded(direction_changes(budgets) * HOUR_S / seconds),
        "ru_spent_share": _rounded(room / (load.capacity_ru_per_s * seconds)),
    }


def business_throttled_pct(minutes: Iterable[Minute]) -> float:
    """The share of what the business wanted that it did not get because of us."""
    known = list(minutes)
    return _percent(sum(each.refused_ru for each in known), sum(each.wanted_ru for each in known))


def direction_changes(budgets: Iterable[float]) -> int:
    """How often a rise follows a fall or a fall a rise, whatever stood still between them."""
    rises = [after > before for before, after in pairwise(budgets) if after != before]
    return sum(one != other for one, other in pairwise(rises))


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each law's mean over all traces, every trace counting the same."""
    laws = dict.fromkeys(row["law"] for row in rows)
    return [
        {
            "law": law,
            **{name: fmean(row[name] for row in rows if row["law"] == law) for name in MEASURED},
        }
        for law in laws
    ]


def _percent(part: float, whole: float) -> float:
    return _rounded(100.0 * part / whole) if whole > 0 else 0.0


def _rounded(value: float) -> float:
    return round(value, DIGITS)
