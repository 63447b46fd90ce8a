"""Measures what a standing margin costs and buys: slack left unused against spikes survived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from statistics import fmean
from typing import Any

from bench.governor.figures import business_throttled_pct
from bench.governor.loads import NOISE, shaped
from bench.governor.loop import ClosedLoop, Scenario
from bench.governor.recorded import Terms, cores
from bench.governor.rivals import LAWS
from bench.governor.special import RAMP_S, spike
from bench.governor.traces import MINUTE_S

CEILINGS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SPIKES_PCT = (60, 70, 80, 90, 100, 110, 120)
MINUTES = 180
HISTORY_MINUTES = 60
SPIKE_FROM_MINUTE = 140
SPIKE_MINUTES = 10
PHASES_S = (3, 18, 33, 48)  # after a full minute: how soon a tick comes must not decide the curve
DIGITS = 4


def measure(terms: Terms) -> list[dict[str, Any]]:
    """A row for each ceiling and spike, the mean over where in a minute the spike begins."""
    with cores() as executor:
        begun = [
            executor.submit(measured, ceiling, size, terms)
            for ceiling, size in product(CEILINGS, SPIKES_PCT)
        ]
        return [each.result() for each in begun]


def measured(ceiling: float, spike_pct: int, terms: Terms) -> dict[str, Any]:
    terms = replace(terms, ceiling=ceiling)
    found = [_spiked(terms, spike_pct, phase_s) for phase_s in PHASES_S]
    return {
        "ceiling": ceiling,
        "spike_pct": spike_pct,
        "law": "ebb",
        **{name: round(fmean(each[name] for each in found), DIGITS) for name in found[0]},
    }


def by_ceiling(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line per ceiling: the share of slack it gives, and each spike's price in business RU."""
    found: dict[float, dict[str, Any]] = {}
    for row in rows:
        line = {"ceiling": row["ceiling"], "share of slack": row["slack_share"]}
        prices = found.setdefault(row["ceiling"], line)
        prices[f"{row['spike_pct']} %"] = row["business_throttled_ru"]
    return list(found.values())


def _spiked(terms: Terms, spike_pct: int, phase_s: int) -> dict[str, float]:
    at_s = SPIKE_FROM_MINUTE * MINUTE_S + phase_s
    shape = spike(spike_pct / 100.0, RAMP_S, at_s, SPIKE_MINUTES)
    load = shaped(shape, minutes=MINUTES, noise=NOISE, seed=terms.seed)
    scenario = Scenario(load=load, ceiling=terms.ceiling, lag_s=terms.lag_s)
    run = ClosedLoop(scenario, LAWS["ebb"]()).run()
    before = run.minutes[HISTORY_MINUTES:SPIKE_FROM_MINUTE]
    during = run.minutes[SPIKE_FROM_MINUTE : SPIKE_FROM_MINUTE + SPIKE_MINUTES + 1]
    seconds = len(before) * MINUTE_S
    unused = load.capacity_ru_per_s * seconds - sum(each.wanted_ru for each in before)
    own, room = sum(each.own_ru for each in before), sum(each.room_ru for each in before)
    return {
        "slack_share": own / unused,
        "oracle_share": own / room,
        "business_throttled_ru": sum(each.refused_ru for each in during),
        "business_throttled_pct": business_throttled_pct(during),
        "throttled_s": float(sum(each.throttled_s for each in during)),
    }
