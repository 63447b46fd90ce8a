"""Measures the laws where a trace is too rare a teacher: steady loads, spikes, a silent Monitor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.governor.figures import business_throttled_pct, figures
from bench.governor.loads import MEAN_SHARE, NOISE, PARTITION_RU_PER_S, shaped
from bench.governor.loop import ClosedLoop, Run, Scenario
from bench.governor.recorded import Terms, cores
from bench.governor.rivals import LAWS
from bench.governor.traces import MINUTE_S
from shared.domain.governor import STALE_AFTER_S, Pressure

HISTORY_S = 3_600
STEADY_MINUTES = 240
NOISY_MINUTES = 1_440
AT_S = 3 * 3_600 + 41  # right after a tick: no decision is farther away
SPIKE_MINUTES = 15
MINUTES = 240
SPIKE_LAG_S = 180.0
RAMP_S = 60
SILENCE_S = 600
PUSH_SEEN_AFTER_S = 5
NEARLY = 0.9
EVERYTHING = Pressure(until_s=AT_S + SPIKE_MINUTES * MINUTE_S, business_ru_per_s=None)
TOLD = Pressure(
    until_s=AT_S + SPIKE_MINUTES * MINUTE_S, business_ru_per_s=0.85 * PARTITION_RU_PER_S
)

Shape = Callable[[int], float]
Row = dict[str, Any]


def spike(to_share: float, ramp_s: int, at_s: int = AT_S, minutes: int = SPIKE_MINUTES) -> Shape:
    """Half of capacity, then within so many seconds more, for some minutes."""

    def share_at(now_s: int) -> float:
        if not at_s <= now_s < at_s + minutes * MINUTE_S:
            return MEAN_SHARE
        return MEAN_SHARE + (to_share - MEAN_SHARE) * min(1.0, (now_s - at_s + 1) / ramp_s)

    return share_at


def steady(_now_s: int) -> float:
    return MEAN_SHARE


def measure(laws: Sequence[str], terms: Terms) -> list[Row]:
    """Every case for every law; only Ebb hears what the business says itself."""
    with cores() as executor:
        begun = [
            executor.submit(measured, case, law, terms)
            for case in CASES
            for law in laws
            if law in LAWS and (law == "ebb" or case not in PUSHED)
        ]
        return [each.result() for each in begun]


def measured(case: str, law: str, terms: Terms) -> Row:
    return {"case": case, "law": law, **CASES[case](law, terms)}


def _steady(law: str, terms: Terms) -> Row:
    load = shaped(steady, minutes=STEADY_MINUTES)
    return _after_history(_run(Scenario(load=load, ceiling=terms.ceiling, lag_s=terms.lag_s), law))


def _noisy(law: str, terms: Terms) -> Row:
    load = shaped(steady, minutes=NOISY_MINUTES, noise=NOISE, seed=terms.seed)
    return _after_history(_run(Scenario(load=load, ceiling=terms.ceiling, lag_s=terms.lag_s), law))


def _after_history(run: Run) -> Row:
    found = figures(run, since_s=HISTORY_S)
    names = ("oracle_share", "direction_changes_per_h", "over_ceiling_pct", "throttled_s_pct")
    return {name: found[name] for name in names}


def _spike(law: str, terms: Terms) -> Row:
    return _spiked(law, terms, spike(0.85, RAMP_S), SPIKE_LAG_S)


def _spike_pushed(law: str, terms: Terms) -> Row:
    return _spiked(law, terms, spike(0.85, RAMP_S), SPIKE_LAG_S, EVERYTHING)


def _spike_told(law: str, terms: Terms) -> Row:
    return _spiked(law, terms, spike(0.85, RAMP_S), SPIKE_LAG_S, TOLD)


def _step(law: str, terms: Terms) -> Row:
    return _spiked(law, terms, spike(0.95, 1), terms.lag_s)


def _spiked(
    law: str, terms: Terms, shape: Shape, lag_s: float, pressure: Pressure | None = None
) -> Row:
    scenario = Scenario(
        load=shaped(shape, minutes=MINUTES, noise=NOISE, seed=terms.seed),
        ceiling=terms.ceiling,
        lag_s=lag_s,
        pressure=pressure,
        pressure_at_s=AT_S if pressure else 0,
    )
    run = _run(scenario, law)
    during = run.minutes[AT_S // MINUTE_S : AT_S // MINUTE_S + SPIKE_MINUTES + 1]
    first = next((at_s for at_s in run.met_s if at_s >= AT_S), None)
    own = run.own_per_s[AT_S + PUSH_SEEN_AFTER_S]
    return {
        "own_before_pct": _of_capacity(run.own_per_s[AT_S - 1]),
        "own_after_5_s_pct": _of_capacity(own),
        "first_429_after_s": None if first is None else first - AT_S,
        "from_429_to_nothing_s": None if first is None else _seconds_to_nothing(run, first),
        "throttled_s": sum(each.throttled_s for each in during),
        "business_throttled_ru": round(sum(each.refused_ru for each in during), 1),
        "business_throttled_pct": business_throttled_pct(during),
        "over_minutes": sum(each.is_over for each in during),
    }


def _seconds_to_nothing(run: Run, first_s: int) -> int | None:
    later = range(first_s, len(run.own_per_s))
    return next((at_s - first_s for at_s in later if run.own_per_s[at_s] == 0.0), None)


def _silent(law: str, terms: Terms) -> Row:
    silence = range(AT_S, AT_S + SILENCE_S)
    scenario = Scenario(
        load=shaped(steady, minutes=MINUTES, noise=NOISE, seed=terms.seed),
        ceiling=terms.ceiling,
        lag_s=terms.lag_s,
        silence_s=silence,
    )
    run = _run(scenario, law)
    newest_ended_s = int(AT_S - 1 - terms.lag_s) // MINUTE_S * MINUTE_S
    stale_s = min(silence.stop, int(newest_ended_s + STALE_AFTER_S))
    before = [budget for at_s, budget in run.ticks if at_s < AT_S][-1]
    after = [(at_s - silence.stop, budget) for at_s, budget in run.ticks if at_s >= silence.stop]
    return {
        "stale_after_s": stale_s - AT_S,
        "spent_before_ru": round(sum(run.own_per_s[AT_S:stale_s])),
        "spent_after_ru": round(sum(run.own_per_s[stale_s : silence.stop])),
        "resumes_after_s": next((late_s for late_s, ru in after if ru > 0), None),
        "nearly_as_before_after_s": next(
            (late_s for late_s, ru in after if ru >= NEARLY * before), None
        ),
    }


def _run(scenario: Scenario, law: str) -> Run:
    return ClosedLoop(scenario, LAWS[law](), stepped=True).run()


def _of_capacity(ru_per_s: float) -> float:
    return round(100.0 * ru_per_s / PARTITION_RU_PER_S, 2)


CASES: Mapping[str, Callable[[str, Terms], Row]] = {
    "steady": _steady,
    "steady, 5 % noise": _noisy,
    "spike to 85 % in 60 s, lag 180 s": _spike,
    "the same, everything asked for": _spike_pushed,
    "the same, 85 % told": _spike_told,
    "step to 95 % in 1 s": _step,
    "Monitor silent for 10 min": _silent,
}
PUSHED = ("the same, everything asked for", "the same, 85 % told")
