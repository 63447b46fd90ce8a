"""The twins of Azure Monitor and of the logs: what the business uses, late, silent or revised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.adapters.memory import MemoryClock
from shared.domain.profile import Profile
from shared.errors import TransientError
from shared.ports import MinuteUse, Provision
from tests.simulation.sources import MemorySource

CAPACITY_RU_PER_S = 1000.0
BUSINESS_RU_PER_S = 400.0
MINUTE_S = 60


@dataclass(slots=True)
class MemoryMonitor:
    """What the source gave: the business's use, and what Ebb was charged, minute by minute."""

    clock: MemoryClock
    source: MemorySource
    business_ru_per_s: Callable[[int], float] = lambda _minute_s: BUSINESS_RU_PER_S
    silent_from_s: float = float("inf")
    silent_until_s: float = float("inf")
    lag_s: float = 0.0
    settles_after_s: float = 0.0
    """Younger minutes are told too low, and revised later."""
    first_share: float = 1.0
    refuses: bool = False
    place: tuple[str, str] | None = None
    """The one container it knows; every one alike where none is named."""
    charged_ru: Callable[[str, int], float] | None = None
    """By container and minute; without it all that the source was charged, whoever opened it."""
    tells_idle_minutes: bool = False
    """A container without requests has no points in Azure, not zeros."""
    heats: bool = False
    """Whether it tells how hot each partition was."""

    def minutes(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[int, MinuteUse]:
        if self.refuses:
            raise TransientError("reading Azure Monitor: it does not answer; nothing is spent")
        if self.place not in {None, (database, container)}:
            return {}
        now_s = self.clock.now_s()
        silent = self.silent_from_s <= now_s < self.silent_until_s
        told = {
            m: self._told(f"{database}/{container}", m, now_s)
            for m in range(since_s // MINUTE_S * MINUTE_S, until_s // MINUTE_S * MINUTE_S, MINUTE_S)
            if m + MINUTE_S + self.lag_s <= now_s
            and not (silent and m + MINUTE_S > self.silent_from_s)
        }
        return {m: use for m, use in told.items() if use.total_ru > 0 or self.tells_idle_minutes}

    def _told(self, place: str, minute_s: int, now_s: float) -> MinuteUse:
        total = self.business_ru_per_s(minute_s) * MINUTE_S
        if self.charged_ru is None:
            total += self.source.ru_by_minute.get(minute_s, 0.0)
        else:
            total += self.charged_ru(place, minute_s)
        young = now_s < minute_s + MINUTE_S + self.lag_s + self.settles_after_s
        partitions = [
            partition
            for ids in self.source.partitions_of(self.source.ranges()).values()
            for partition in ids
        ]
        heat = min(1.0, total / MINUTE_S / CAPACITY_RU_PER_S)
        return MinuteUse(
            total_ru=total * (self.first_share if young else 1.0),
            heat=dict.fromkeys(partitions, heat) if self.heats else {},
        )

    def provision(self, database: str, container: str, *, now_s: int) -> Provision | None:
        return None


@dataclass(slots=True)
class MemoryHistory:
    """Habits as a test gives them; none unless it does."""

    habits: Profile | None = None
    shares: Mapping[str, float] = field(default_factory=dict)

    def profile(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Profile | None:
        return self.habits

    def partition_shares(
        self, database: str, container: str, *, since_s: int, until_s: int
    ) -> Mapping[str, float]:
        return self.shares
