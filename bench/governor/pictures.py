"""Draws runs as PNG files, each with words in it for those who cannot see it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.governor.figures import HOUR_S
from bench.governor.loop import Run
from bench.governor.traces import MINUTE_S

DAY_MINUTES = 1_440
SIZE_IN = (11.0, 6.0)
DPI = 110
LINEAR_RU = 10.0  # below it the scale of prices is linear, as many of them are 0
AREA: Mapping[str, Any] = {"step": "post", "linewidth": 0}  # an edge would show where nothing is
BUSINESS, OWN, BUDGET, CEILING = "#8a9bb0", "#2a9d8f", "#d1495b", "#222222"

mpl.use("Agg")  # no display is needed, nor looked for


def draw_day(run: Run, trace: str, folder: Path) -> Path:
    """The most varied day of a run."""
    load, scenario = run.scenario.load, run.scenario
    first = most_varied_day([each.wanted_ru for each in run.minutes])
    minutes = run.minutes[first : first + DAY_MINUTES]
    start_s = load.start_s + first * MINUTE_S
    end_s = start_s + len(minutes) * MINUTE_S
    times = [index * MINUTE_S / HOUR_S for index in range(len(minutes))]
    ticks = [(at_s, budget) for at_s, budget in run.ticks if start_s <= at_s < end_s]
    business = [(each.total_ru - each.own_ru) / MINUTE_S for each in minutes]
    total = [each.total_ru / MINUTE_S for each in minutes]
    limit = scenario.ceiling * load.capacity_ru_per_s

    figure = Figure(figsize=SIZE_IN, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    upper.fill_between(times, business, color=BUSINESS, label="business", **AREA)
    upper.fill_between(times, business, total, color=OWN, label="Ebb, on top of it", **AREA)
    upper.axhline(limit, color=CEILING, linestyle="--", linewidth=1.2, label="ceiling")
    upper.axhline(load.capacity_ru_per_s, color=CEILING, linewidth=0.8, label="capacity")
    figure.suptitle(f"{trace}: its most varied day, Monitor {scenario.lag_s:.0f} s late")
    lower.step(
        [(at_s - start_s) / HOUR_S for at_s, _ in ticks],
        [budget for _, budget in ticks],
        where="post",
        color=BUDGET,
        linewidth=1.0,
        label="budget decided",
    )
    room = [max(0.0, limit - each.wanted_ru / MINUTE_S) for each in minutes]
    lower.step(times, room, where="post", color=BUSINESS, linewidth=0.8, label="slack there was")
    first_time = dt.datetime.fromtimestamp(start_s, dt.UTC)
    lower.set_xlabel(f"hours from {first_time:%Y-%m-%d %H:%M} UTC")
    for each in (upper, lower):
        _finish(each, hours=len(minutes) * MINUTE_S / HOUR_S)
    told = (
        f"Two charts over a day of {trace}. Above: the business's RU/s with Ebb's on top, against "
        f"the ceiling of {limit:.0f} RU/s. Below: Ebb's budget against the slack there was."
    )
    return _saved(figure, folder / f"governor-{trace}.png", f"Ebb over {trace}", told)


def draw_trade_off(rows: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """A line for each size of spike, from the lowest ceiling to the highest."""
    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    axes = figure.subplots()
    spikes = sorted({row["spike_pct"] for row in rows})
    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.9, len(spikes)))
    for spike, colour in zip(spikes, colours, strict=True):
        line = sorted((row for row in rows if row["spike_pct"] == spike), key=_ceiling)
        shares = [row["slack_share"] for row in line]
        refused = [row["business_throttled_ru"] for row in line]
        axes.plot(shares, refused, marker="o", color=colour, label=f"spike to {spike} %")
    highest = sorted((row for row in rows if row["spike_pct"] == spikes[-1]), key=_ceiling)
    for row in highest:
        place = (row["slack_share"], row["business_throttled_ru"])
        axes.annotate(f"{row['ceiling']:.2f}", place, (0, 7), textcoords="offset points")
    axes.set_title("What a standing margin buys: each point is a ceiling, named on the upper line")
    axes.set_xlabel("share of all unused capacity that Ebb spends while the business is steady")
    axes.set_ylabel("business RU throttled by Ebb when the spike comes")
    axes.set_yscale("symlog", linthresh=LINEAR_RU)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    told = (
        "A line per size of spike: the higher the ceiling, the more of the unused capacity Ebb "
        "spends and the more of the business's RU it throttles when the spike comes."
    )
    return _saved(figure, folder / "governor-trade-off.png", "Margin against slack", told)


def most_varied_day(wanted: Sequence[float]) -> int:
    """The minute at which the day with the widest spread begins; the start if there is no day."""
    if len(wanted) <= DAY_MINUTES:
        return 0
    values = np.asarray(wanted) / max(wanted)
    return int((_day_means(values**2) - _day_means(values) ** 2).argmax())


def _day_means(values: np.ndarray) -> np.ndarray:
    sums: Any = np.cumsum(np.insert(values, 0, 0.0))
    means: np.ndarray = (sums[DAY_MINUTES:] - sums[:-DAY_MINUTES]) / DAY_MINUTES
    return means


def _finish(axes: Axes, *, hours: float) -> None:
    axes.set_xlim(0, hours)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("RU/s")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, frameon=False)


def _saved(figure: Figure, path: Path, title: str, told: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Title": title, "Description": told, "Software": None})
    return path


def _ceiling(row: Mapping[str, Any]) -> float:
    return float(row["ceiling"])
