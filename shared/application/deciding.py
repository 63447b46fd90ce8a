"""Observing one source and deciding what may be spent on it: readings, capacity, habits, law.

It changes nothing but what the controller remembers; publishing and acting are the controller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from shared.application.bundle import Ports
from shared.application.pacer import MINUTE_S, metered_minute
from shared.application.planning import Plans
from shared.domain.board import Board
from shared.domain.governor import Decision, Reason, Signals, decide
from shared.domain.heat import RangeUse
from shared.domain.outlook import MINUTES_KEPT
from shared.domain.profile import Profile
from shared.domain.readings import Reading
from shared.domain.sharing import USEFUL_RU_PER_S
from shared.domain.spec import Capacity
from shared.errors import EbbError
from shared.ports import MinuteUse, Provision, Remembered

# Serverless by the lower of Microsoft's two pages: a container does 5,000 RU/s up to five physical
# partitions, and 1,000 more with each further one. The other page says 5,000 for each of them.
SERVERLESS_RU_PER_S = 5_000
SERVERLESS_EACH_RU_PER_S = 1_000
IDLE_AFTER_S = 600  # twice what Monitor may be late: it would know of a business by then
QUIET_AFTER_S = 3_600  # beyond any delay of its metrics that Azure has spoken of
READINGS_SPAN_S = 900  # fifteen minutes: three times what Monitor may be late
LAYOUT_RETRY_S = 60.0
LAYOUT_VALID_S = 600.0  # capacity and partitions change by splits and scaling, not by the tick
HABITS_VALID_S = 6 * 3600.0
HABITS_RETRY_S = 600.0
HABITS_SPAN_S = 28 * 86_400  # four weeks: each hour of the week four times


@dataclass(slots=True)
class SourceViews:
    """One source with the running migrations that read it."""

    name: str
    views: list[Plans]

    @property
    def database(self) -> str:
        return self.views[0].spec.source.database

    @property
    def container(self) -> str:
        return self.views[0].spec.source.container

    @property
    def range_ids(self) -> tuple[str, ...]:
        return tuple(sorted({plan.range.id for view in self.views for plan in view.ranges}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a decision was made from, beside the decision."""

    decision: Decision
    remembered: Remembered
    own_ru_per_s: float
    """Ebb's own use in the last minute that is metered whole."""
    is_idle: bool = False
    """Monitor answers and has nothing new to tell, and nobody said that he needs the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How large the source is and on which partitions its ranges lie."""

    at_s: float
    provision: Provision | None
    partitions: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Habits:
    until_s: float = 0.0
    profile: Profile | None = None
    shares: Mapping[str, float] = field(default_factory=dict)


class Deciding:
    def __init__(self, ports: Ports, *, metric_settle_s: float) -> None:
        self._ports = ports
        self._settle_s = metric_settle_s
        self._layouts: dict[str, _Layout] = {}
        self._habits: dict[str, _Habits] = {}

    def decide(self, source: SourceViews, board: Board) -> Observed:
        now_s = self._ports.clock.now_s()
        remembered = self._ports.memories.recall(source.name)
        since_s = self._since_s(remembered, now_s)
        own = self._ports.metering.by_minute(source.name, since_s=since_s)
        layout, (minutes, trouble) = self._told_by_monitor(source, since_s, now_s)
        habits = self._habits.get(source.name, _Habits())
        settled = {
            minute: use
            for minute, use in sorted(minutes.items())
            if minute + MINUTE_S <= now_s - self._settle_s
        }
        capacity, capacity_from, partitions = _capacity(
            source, layout.provision, _proven_ru_per_s(settled.values())
        )
        grant = board.told_of(source.name, now_s)
        signals = Signals(
            now_s=now_s,
            capacity_ru_per_s=capacity,
            capacity_from=capacity_from,
            ceiling=min(view.spec.ceiling for view in source.views),
            readings=tuple(
                _reading(minute, use, own.get(minute, {}), layout)
                for minute, use in settled.items()
            ),
            ranges=source.range_ids,
            partitions=partitions,
            usual_shares=habits.shares,
            profile=habits.profile,
            throttles=grant.throttles,
            pressure=grant.pressure,
            alarm=grant.alarm(now_s),
            monitor_trouble=trouble,
        )
        decision, memory = decide(signals, remembered.memory)
        return Observed(
            decision=decision,
            remembered=replace(remembered, memory=memory),
            own_ru_per_s=sum(own.get(metered_minute(now_s), {}).values()) / MINUTE_S,
            is_idle=_is_idle(signals, minutes, decision),
        )

    def learn_habits(self, source: SourceViews) -> None:
        """Ask the logs anew when what they told is old; the next decision goes by it.

        Their answers take long, so no decision waits for them.
        """
        now_s = self._ports.clock.now_s()
        if now_s >= self._habits.get(source.name, _Habits()).until_s:
            self._habits[source.name] = self._habits_of(source, now_s)

    def _told_by_monitor(
        self, source: SourceViews, since_s: int, now_s: float
    ) -> tuple[_Layout, tuple[Mapping[int, MinuteUse], str]]:
        """Both at the same time: a Monitor that answers slowly must not add up."""
        answers = self._ports.together.run(
            (
                lambda: self._layout(source, now_s),
                lambda: self._minutes(source, since_s, now_s),
            )
        )
        for each in answers:
            if isinstance(each, EbbError):
                raise each
        return cast("tuple[_Layout, tuple[Mapping[int, MinuteUse], str]]", answers)

    def _since_s(self, remembered: Remembered, now_s: float) -> int:
        """Fifteen minutes back, or a whole day when nothing recent is remembered."""
        newest_s = remembered.memory.past.newest_s()
        known = newest_s is not None and now_s - newest_s <= READINGS_SPAN_S
        span_s = READINGS_SPAN_S if known else (MINUTES_KEPT - 1) * MINUTE_S
        return (int(now_s) - span_s) // MINUTE_S * MINUTE_S

    def _minutes(
        self, source: SourceViews, since_s: int, now_s: float
    ) -> tuple[Mapping[int, MinuteUse], str]:
        """Monitor's minutes, or none and the reason when it cannot be asked."""
        try:
            told = self._ports.monitor.minutes(
                source.database, source.container, since_s=since_s, until_s=int(now_s)
            )
        except EbbError as error:
            return {}, str(error)
        return told, ""

    def _layout(self, source: SourceViews, now_s: float) -> _Layout:
        known = self._layouts.get(source.name)
        if known is not None and 0 <= now_s - known.at_s < LAYOUT_VALID_S:
            return known
        opened = self._ports.sources.open(source.database, source.container)
        ranges = {p.range.id: p.range for view in source.views for p in view.ranges}
        try:
            found = _Layout(
                at_s=now_s,
                provision=self._ports.monitor.provision(
                    source.database, source.container, now_s=int(now_s)
                ),
                partitions=opened.partitions_of(tuple(ranges.values())),
            )
        except EbbError:
            # The last one known is better than none, and none falls back to the ranges' number.
            kept = known or _Layout(at_s=now_s, provision=None, partitions={})
            found = replace(kept, at_s=now_s - LAYOUT_VALID_S + LAYOUT_RETRY_S)
        self._layouts[source.name] = found
        return found

    def _habits_of(self, source: SourceViews, now_s: float) -> _Habits:
        """The business before Ebb came: what it did since is mixed with what Ebb did."""
        layout = self._layout(source, now_s)
        until_s = int(min(view.migration.created_at_s for view in source.views))
        since_s = until_s - HABITS_SPAN_S
        place = (source.database, source.container)
        history = self._ports.history
        try:
            told = history.partition_shares(*place, since_s=since_s, until_s=until_s)
            return _Habits(
                until_s=now_s + HABITS_VALID_S,
                profile=history.profile(*place, since_s=since_s, until_s=until_s),
                shares={
                    name: sum(told.get(each, 0.0) for each in ids)
                    for name, ids in layout.partitions.items()
                    if told
                },
            )
        except EbbError:
            return _Habits(until_s=now_s + HABITS_RETRY_S)


def _is_idle(signals: Signals, minutes: Mapping[int, MinuteUse], decision: Decision) -> bool:
    """A business that was there is given an hour: until then it is Monitor that is late."""
    waits = decision.reason in {Reason.NO_READINGS, Reason.STALE} and not signals.monitor_trouble
    was_used = (decision.business_ru_per_s or 0.0) >= USEFUL_RU_PER_S
    silent_s = signals.now_s - max(minutes, default=0)
    wanted = signals.alarm is not None or signals.pressure is not None or signals.throttles
    return waits and silent_s > (QUIET_AFTER_S if was_used else IDLE_AFTER_S) and not wanted


def _reading(minute_s: int, use: MinuteUse, own: Mapping[str, float], layout: _Layout) -> Reading:
    ranges = {
        name: RangeUse(heat=max(use.heat[each] for each in ids), own_ru=own.get(name, 0.0))
        for name, ids in layout.partitions.items()
        if ids and all(each in use.heat for each in ids)
    }
    return Reading(
        minute_s=minute_s,
        total_ru=use.total_ru,
        own_ru=sum(own.values()),
        requests=use.requests,
        throttled=use.throttled,
        ranges=ranges if len(ranges) == len(layout.partitions) else {},
    )


def _capacity(
    source: SourceViews, provision: Provision | None, proven_ru_per_s: float
) -> tuple[float, str, int]:
    """The smallest capacity any of its migrations is told, where it is from, on how many parts."""
    each = (_capacity_of(view, provision, proven_ru_per_s) for view in source.views)
    return min(each, key=lambda capacity: capacity[0])


def _capacity_of(
    view: Plans, provision: Provision | None, proven_ru_per_s: float
) -> tuple[float, str, int]:
    ranges = max(1, len(view.ranges))
    return capacity_of(view.spec.capacity, ranges, provision, proven_ru_per_s=proven_ru_per_s)


def _proven_ru_per_s(minutes: Iterable[MinuteUse]) -> float:
    """The most that was given in any minute in which requests are known, and none met a 429."""
    calm = (use.total_ru for use in minutes if use.requests > 0 and not use.throttled)
    return max(calm, default=0.0) / MINUTE_S


def capacity_of(
    told: Capacity, ranges: int, provision: Provision | None, *, proven_ru_per_s: float = 0.0
) -> tuple[float, str, int]:
    """RU/s of a source of so many ranges, where that is from, and on how many partitions."""
    each = told.ru_per_s_per_partition
    discovered = provision.partitions if provision is not None else 0
    is_told = told.partitions != "discover"
    count = max(ranges, discovered) if told.partitions == "discover" else told.partitions
    parts = max(count, ranges)
    if not is_told and provision is not None and provision.ru_per_s is not None:
        return provision.ru_per_s, f"provisioned over {count} partitions, discovered", parts
    how = "as configured" if is_told else "partitions discovered"
    if each is not None:
        return float(count * each), f"{count} x {each}, {how}", parts
    least = max(SERVERLESS_RU_PER_S, count * SERVERLESS_EACH_RU_PER_S)
    most = count * SERVERLESS_RU_PER_S
    if proven_ru_per_s <= least:
        return float(least), f"serverless over {count}, {how}", parts
    text = f"serverless over {count}, {how}, so much was given without a 429"
    return float(min(proven_ru_per_s, most)), text, parts
