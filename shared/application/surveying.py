"""Looking at a source before anything is registered: what lies there, what it costs, who uses it.

It spends a small allowance of request units and changes nothing; what is not seen is said.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from shared.application.bundle import Ports
from shared.application.census import counted
from shared.application.deciding import READINGS_SPAN_S, capacity_of
from shared.application.paging import row_of
from shared.application.purse import (
    ALLOWANCE_RU,
    CAPACITY_SHARE,
    NoBudget,
    Purse,
    SlowPurse,
    Spent,
    purse_for,
)
from shared.domain.cycles import cold_until_s
from shared.domain.oddities import Weighed, weigh
from shared.domain.outlook import MINUTE_S
from shared.domain.planner import month_end_s
from shared.domain.profile import Profile
from shared.domain.slices import Census, Extent, FeedRange, MigrationState, Stored, Window
from shared.domain.spec import MigrationSpec, declared_spec, key_advice, parse_spec
from shared.errors import CostLimitReached, EbbError, Fault, Invalid
from shared.ports import Measured, MinuteUse, Provision, Query, Source

DAY_S = 86_400
MINUTES_DAYS = 14  # of the business: each hour of the week twice; more would tell of another season
HABITS_DAYS = 28
SAMPLES = 20  # places in the cold range, oldest to youngest: sizes drift with age
SAMPLES_STRIDE = 7  # no divisor in common with 20: the first few lie far apart already
SAMPLE_DOCUMENTS = 5  # of each place, where the allowance buys as many
UP_TO = "up to "  # before the last of many old months that were counted as one
SAMPLE_SHARE = 0.6  # of the allowance, so that months can be counted too
MONTHS_MAX = 60  # what is older is counted together

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeFacts:
    """One feed range: what is cold on it, and its part of the business."""

    range: FeedRange
    documents: int = 0
    earliest_s: int | None = None
    counted: bool = False
    business_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """What the source's own users did, as far as anybody tells."""

    first_s: int = 0
    minutes: tuple[float | None, ...] = ()
    """RU/s, minute by minute, None where nothing is told; before Ebb came."""
    profile: Profile | None = None
    throttled_share: float = 0.0
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everything that was seen, and what it took."""

    spec: MigrationSpec
    at_s: float
    until_s: int
    ranges: tuple[RangeFacts, ...]
    months: tuple[tuple[str, int], ...] = ()
    """Month -> cold documents, oldest first; empty where the allowance did not reach."""
    sample: tuple[Weighed, ...] = ()
    ru_per_document: float = 0.0
    ru_per_count: float = 0.0
    blob_share: float | None = None
    """Parquet bytes per byte of document, of the sample."""
    capacity_ru_per_s: float
    capacity_from: str
    partitions: int
    provision: Provision | None
    business: Business
    spent_ru: float = 0.0
    paced: str = ""
    cut_short: str = ""
    """Why less was asked than was wanted; empty where all was."""

    @property
    def documents(self) -> int:
        return sum(each.documents for each in self.ranges)

    def counted_from_s(self, month: str) -> int:
        """Where a counted month begins; the oldest begins with the oldest document."""
        earliest_s = min((r.earliest_s for r in self.ranges if r.earliest_s is not None), default=0)
        if month.startswith(UP_TO):
            return earliest_s
        begins = dt.datetime.strptime(month, "%Y-%m").replace(tzinfo=dt.UTC)
        return max(earliest_s, int(begins.timestamp()))

    @property
    def bytes_per_document(self) -> float:
        sizes = [each.size_bytes for each in self.sample if each.canonical]
        return sum(sizes) / len(sizes) if sizes else 0.0


@dataclass(slots=True)
class _Asked:
    """What questions brought so far."""

    ranges: dict[str, RangeFacts]
    months: dict[str, int] = field(default_factory=dict)
    documents: list[tuple[Mapping[str, Any], Weighed]] = field(default_factory=list)
    sample_ru: float = 0.0
    count_ru: list[float] = field(default_factory=list)
    cut_short: str = ""


class Surveying:
    def __init__(self, ports: Ports, *, metric_settle_s: float) -> None:
        self._ports = ports
        self._settle_s = metric_settle_s

    def run(
        self, text: str, *, allowance_ru: float = ALLOWANCE_RU, told: Told = lambda _: None
    ) -> Survey:
        """Survey what a spec means, whether or not anybody has applied it."""
        spec = declared_spec(text)
        self._check_account(spec)
        source = self._ports.sources.open(spec.source.database, spec.source.container)
        self._check_key(spec, source)
        ranges = source.ranges()
        provision = self._provision(spec)
        capacity, capacity_from, partitions = capacity_of(spec.capacity, len(ranges), provision)
        now_s = self._ports.clock.now_s()
        until_s = cold_until_s(spec, now_s)
        purse = purse_for(
            self._ports,
            source=spec.source.name,
            allowance_ru=allowance_ru,
            capacity_ru_per_s=capacity,
        )
        try:
            if isinstance(purse, SlowPurse):
                self._check_room(spec, capacity)
            asked = _Asking(spec, source, purse, until_s, told).all(ranges, allowance_ru)
        finally:
            purse.close()
        told("reading what the business used …")
        return Survey(
            spec=spec,
            at_s=now_s,
            until_s=until_s,
            ranges=self._with_business(spec, source, tuple(asked.ranges.values()), now_s),
            months=tuple(asked.months.items()),
            sample=tuple(weighed for _, weighed in asked.documents),
            ru_per_document=asked.sample_ru / len(asked.documents) if asked.documents else 0.0,
            ru_per_count=sum(asked.count_ru) / len(asked.count_ru) if asked.count_ru else 0.0,
            blob_share=self._blob_share(spec, asked),
            capacity_ru_per_s=capacity,
            capacity_from=capacity_from,
            partitions=partitions,
            provision=provision,
            business=self._business(spec, now_s),
            spent_ru=purse.spent_ru,
            paced=purse.how,
            cut_short=asked.cut_short,
        )

    def _check_account(self, spec: MigrationSpec) -> None:
        mine = self._ports.sources.account
        if spec.source.account != mine:
            advice = f"this Ebb serves the account {mine!r}; write that"
            seen = f"saw {spec.source.account!r}"
            raise Invalid("the spec", (Fault(path="$.source.account", seen=seen, advice=advice),))

    def _check_key(self, spec: MigrationSpec, source: Source) -> None:
        paths = source.partition_key_paths()
        if paths != spec.source.partition_key:
            seen = f"saw {list(spec.source.partition_key)}"
            fault = Fault(path="$.source.partition_key", seen=seen, advice=key_advice(paths))
            raise Invalid("the spec", (fault,))

    def _check_room(self, spec: MigrationSpec, capacity: float) -> None:
        """Where nobody decides a budget: nothing while the newest settled minute is full."""
        now_s = int(self._ports.clock.now_s())
        try:
            told = self._ports.monitor.minutes(
                spec.source.database,
                spec.source.container,
                since_s=now_s - READINGS_SPAN_S,
                until_s=now_s,
            )
        except EbbError:
            return
        newest = max((m for m in told if m + MINUTE_S <= now_s - self._settle_s), default=None)
        used = 0.0 if newest is None else told[newest].total_ru / MINUTE_S
        if used > (spec.ceiling - CAPACITY_SHARE) * capacity:
            raise NoBudget(
                f"surveying {spec.source.name}: {used:,.0f} RU/s are used, and the ceiling is "
                f"{spec.ceiling * capacity:,.0f}; try again when there is room"
            )

    def _provision(self, spec: MigrationSpec) -> Provision | None:
        try:
            return self._ports.monitor.provision(
                spec.source.database, spec.source.container, now_s=int(self._ports.clock.now_s())
            )
        except EbbError:
            return None

    def _before_ebb_s(self, spec: MigrationSpec, now_s: float) -> int:
        """Since Ebb first ran on this source, what was used is mixed with what Ebb did."""
        begun = [
            each.created_at_s
            for each in self._ports.ledger.migrations()
            if each.state is not MigrationState.REGISTERED
            and parse_spec(each.spec_text).source.name == spec.source.name
        ]
        return int(min([now_s, *begun]))

    def _business(self, spec: MigrationSpec, now_s: float) -> Business:
        until_s = self._before_ebb_s(spec, now_s) // MINUTE_S * MINUTE_S
        told, trouble = self._minutes(spec, until_s)
        profile = None
        try:
            profile = self._ports.history.profile(
                spec.source.database,
                spec.source.container,
                since_s=until_s - HABITS_DAYS * DAY_S,
                until_s=until_s,
            )
        except EbbError as error:
            trouble = trouble or str(error)
        first_s = min(told, default=until_s)
        last_s = max(told, default=first_s - MINUTE_S)
        minutes = range(first_s, last_s + 1, MINUTE_S)
        requests = sum(each.requests for each in told.values())
        throttled = sum(each.throttled for each in told.values())
        return Business(
            first_s=first_s,
            minutes=tuple(told[m].total_ru / MINUTE_S if m in told else None for m in minutes),
            profile=profile,
            throttled_share=throttled / requests if requests else 0.0,
            trouble=trouble,
        )

    def _minutes(self, spec: MigrationSpec, until_s: int) -> tuple[dict[int, MinuteUse], str]:
        """Day by day backwards, as far as Monitor tells anything."""
        found: dict[int, MinuteUse] = {}
        for day in range(MINUTES_DAYS):
            end_s = until_s - day * DAY_S
            try:
                told = self._ports.monitor.minutes(
                    spec.source.database,
                    spec.source.container,
                    since_s=end_s - DAY_S,
                    until_s=end_s,
                )
            except EbbError as error:
                return found, str(error)
            if not told:
                break
            found.update(told)
        return found, ""

    def _with_business(
        self, spec: MigrationSpec, source: Source, ranges: tuple[RangeFacts, ...], now_s: float
    ) -> tuple[RangeFacts, ...]:
        """Each range's part of the business, where the logs tell partitions apart."""
        try:
            shares = self._ports.history.partition_shares(
                spec.source.database,
                spec.source.container,
                since_s=int(now_s) - HABITS_DAYS * DAY_S,
                until_s=int(now_s),
            )
            lies_on = source.partitions_of(tuple(each.range for each in ranges)) if shares else {}
        except EbbError:
            return ranges
        return tuple(
            replace(
                each,
                business_share=sum(shares.get(name, 0.0) for name in lies_on[each.range.id]),
            )
            if each.range.id in lies_on
            else each
            for each in ranges
        )

    def _blob_share(self, spec: MigrationSpec, asked: _Asked) -> float | None:
        """What the sample weighs as Parquet, written as a slice would be."""
        good = [(body, weighed) for body, weighed in asked.documents if weighed.canonical]
        if not good:
            return None
        scale = _Scale()
        paths = spec.source.partition_key
        writer = self._ports.table_format.data_writer(
            scale, partition_key=paths, promote=spec.sink.promote
        )
        for body, weighed in good:
            writer.add(row_of(body, paths, weighed.canonical), weighed.canonical)
        writer.close({})
        return scale.size_bytes / sum(weighed.size_bytes for _, weighed in good)


class _Asking:
    """The questions in their order: what matters most first, as the allowance may end anywhere."""

    def __init__(
        self, spec: MigrationSpec, source: Source, purse: Purse, until_s: int, told: Told
    ) -> None:
        self._spec = spec
        self._source = source
        self._purse = purse
        self._until_s = until_s
        self._told = told

    def all(self, ranges: tuple[FeedRange, ...], allowance_ru: float) -> _Asked:
        asked = _Asked(ranges={each.id: RangeFacts(range=each) for each in ranges})
        try:
            for each in ranges:
                self._told(f"counting range {each.id} …")
                asked.ranges[each.id] = self._range(each, asked)
            self._sample(asked, SAMPLE_SHARE * allowance_ru)
            self._months(asked)
        except Spent as error:
            asked.cut_short = str(error)
        return asked

    def _range(self, range_: FeedRange, asked: _Asked) -> RangeFacts:
        census = self._count(range_, Window(lo_s=0, hi_s=self._until_s), asked)
        facts = RangeFacts(range=range_, documents=census.documents, counted=True)
        if census.found is None:
            return facts
        asked.ranges[range_.id] = facts
        query = self._query(range_, census.found, self._purse.answer_ru_max)
        try:
            earliest = self._purse.ask(range_.id, lambda: self._source.earliest_s(query)).value
        except CostLimitReached:
            earliest = census.found.lo_s
        return replace(facts, earliest_s=earliest)

    def _sample(self, asked: _Asked, until_ru: float) -> None:
        """Few of each place: a page of large documents alone could be the whole allowance."""
        for range_, window in self._places(asked):
            cost = asked.sample_ru / len(asked.documents) if asked.documents else 0.0
            room = until_ru - self._purse.spent_ru
            if asked.documents and room < cost:
                return
            fitting = int(room / cost) if cost else 1
            self._told(f"weighing documents: {len(asked.documents)} so far …")
            query = self._query(range_, window)
            limit = max(1, min(SAMPLE_DOCUMENTS, fitting))
            page = self._purse.ask(
                range_.id,
                lambda query=query, limit=limit: self._source.documents(  # type: ignore[misc]
                    query, continuation=None, limit=limit
                ),
            )
            asked.sample_ru += page.ru
            asked.documents += [(body, weigh(body)) for body in page.items]

    def _places(self, asked: _Asked) -> Iterator[tuple[FeedRange, Window]]:
        filled = [each for each in asked.ranges.values() if each.earliest_s is not None]
        for index in range(SAMPLES if filled else 0):
            facts = filled[index % len(filled)]
            earliest_s = facts.earliest_s or 0
            span_s = self._until_s - earliest_s
            place = index * SAMPLES_STRIDE % SAMPLES
            lo_s = earliest_s + span_s * place // SAMPLES
            hi_s = earliest_s + span_s * (place + 1) // SAMPLES
            yield facts.range, Window(lo_s=lo_s, hi_s=max(hi_s, lo_s + 1))

    def _months(self, asked: _Asked) -> None:
        """Youngest first; what no month was counted for is not told at all."""
        starts = [each.earliest_s for each in asked.ranges.values() if each.earliest_s is not None]
        if not starts:
            return
        counted: dict[str, int] = {}
        for lo_s, hi_s in reversed(month_windows(min(starts), self._until_s)):
            month = _named(lo_s, hi_s)
            self._told(f"counting {month} …")
            window = Window(lo_s=lo_s, hi_s=hi_s)
            counted[month] = sum(
                self._count(each.range, window, asked).documents
                for each in asked.ranges.values()
                if each.earliest_s is not None and each.earliest_s < hi_s
            )
            asked.months = dict(reversed(counted.items()))

    def _count(self, range_: FeedRange, window: Window, asked: _Asked) -> Census:
        def count(part: Window, ru_max: float | None) -> Measured:
            query = self._query(range_, part, ru_max)
            answer = self._purse.ask(range_.id, lambda: self._source.count(query))
            asked.count_ru.append(answer.ru)
            return answer

        census = Census(to_s=window.lo_s, width_s=window.hi_s - window.lo_s)
        parts = counted(census, window.hi_s, count, ru_max=self._purse.answer_ru_max)
        return [census, *parts][-1]

    def _query(self, range_: FeedRange, window: Window, ru_max: float | None = None) -> Query:
        extent = Extent(window=window, range=range_)
        return Query(extent=extent, where=self._spec.cold_where, ru_max=ru_max)


def _named(lo_s: int, hi_s: int) -> str:
    month = f"{dt.datetime.fromtimestamp(hi_s - 1, dt.UTC):%Y-%m}"
    return month if month_end_s(lo_s) >= hi_s else f"{UP_TO}{month}"


def month_windows(earliest_s: int, until_s: int) -> list[tuple[int, int]]:
    """UTC months from the earliest document on, oldest first; too many old ones as one."""
    windows = []
    lo_s = earliest_s
    while lo_s < until_s:
        hi_s = min(month_end_s(lo_s), until_s)
        windows.append((lo_s, hi_s))
        lo_s = hi_s
    spare = len(windows) - MONTHS_MAX
    return windows if spare <= 0 else [(windows[0][0], windows[spare][1]), *windows[spare + 1 :]]


class _Scale:
    """A blob writer that keeps nothing but the number of bytes."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def write(self, data: bytes, /) -> int:
        size = memoryview(data).nbytes
        self.size_bytes += size
        return size

    def commit(self) -> Stored:
        return Stored(name="", size_bytes=self.size_bytes)

    def abort(self) -> None:
        """There is nothing to take back."""
