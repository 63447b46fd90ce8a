"""What the business wants of each partition, in pieces of constant demand; nothing is spent here.

A load comes from a recorded trace or from a shape that a special case needs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from bench.governor.traces import MINUTE_S, Trace

PARTITION_RU_PER_S = 5_000.0  # what Azure gives a physical partition of a serverless account
MEAN_SHARE = 0.5  # of capacity: what the business of our scenario uses
SHARE_MAX = 1.2  # a business may want more than there is, but not without end
NOISE = 0.05  # a minute's deviation from its trace, which tells only five-minute means
HOT_FACTOR = 3.0  # times an even share
HOT_SHARE_MAX = 0.9  # of the business, where three even shares would be more than all of it
STRETCH_MINUTES = (120, 480)  # how long a partition stays hot, and how long none is
UNEVENNESS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Pieces in time order without gaps; none crosses the border of a minute."""

    start_s: int
    end_s: int
    starts_s: Sequence[int]
    wants: Sequence[tuple[float, ...]]
    """RU/s wanted of each partition, piece by piece."""

    @property
    def partitions(self) -> int:
        return len(self.wants[0])

    @property
    def capacity_ru_per_s(self) -> float:
        return PARTITION_RU_PER_S * self.partitions


def recorded(trace: Trace, *, partitions: int, seed: int, hours: float | None = None) -> Load:
    """A trace scaled to half of capacity on average, clipped, and made noisy."""
    random = np.random.default_rng([seed, zlib.crc32(trace.name.encode())])
    minutes = np.array(trace.minutes)
    shares = np.minimum(minutes / minutes.mean() * MEAN_SHARE, SHARE_MAX)
    shares = np.maximum(shares * (1.0 + NOISE * random.standard_normal(len(shares))), 0.0)
    wants = _spread(shares * PARTITION_RU_PER_S * partitions, partitions, random)
    count = len(wants) if hours is None else max(1, min(len(wants), round(hours * 60)))
    end_s = trace.start_s + count * MINUTE_S
    return Load(
        start_s=trace.start_s,
        end_s=end_s,
        starts_s=range(trace.start_s, end_s, MINUTE_S),
        wants=wants[:count],
    )


def shaped(
    share_at: Callable[[int], float], *, minutes: int, noise: float = 0.0, seed: int = 0
) -> Load:
    """One partition's load that follows a share of capacity, second by second from 0."""
    random = np.random.default_rng(seed)
    starts_s: list[int] = []
    wants: list[tuple[float, ...]] = []
    for minute in range(minutes):
        factor = max(0.0, 1.0 + noise * float(random.standard_normal())) * PARTITION_RU_PER_S
        seconds = range(minute * MINUTE_S, (minute + 1) * MINUTE_S)
        for share, piece in groupby(seconds, share_at):
            starts_s.append(next(piece))
            wants.append((share * factor,))
    return Load(start_s=0, end_s=minutes * MINUTE_S, starts_s=starts_s, wants=wants)


def _spread(
    wants: np.ndarray, partitions: int, random: np.random.Generator
) -> list[tuple[float, ...]]:
    """Over partitions: a hot one for some hours, then none, and the rest uneven all the time."""
    if partitions == 1:
        return [(each,) for each in wants.tolist()]
    weights = random.uniform(1.0 - UNEVENNESS, 1.0 + UNEVENNESS, partitions)
    hot_share = min(HOT_SHARE_MAX, HOT_FACTOR / partitions)
    shares = np.tile(weights / weights.sum(), (len(wants), 1))
    at = int(random.integers(*STRETCH_MINUTES))
    while at < len(wants):
        hot = int(random.integers(partitions))
        until = at + int(random.integers(*STRETCH_MINUTES))
        rest = weights * (np.arange(partitions) != hot)
        shares[at:until] = rest / rest.sum() * (1.0 - hot_share)
        shares[at:until, hot] = hot_share
        at = until + int(random.integers(*STRETCH_MINUTES))
    return [tuple(row) for row in (shares * wants[:, None]).tolist()]
