"""Surveying a source and cutting it into slices, within a small allowance of request units.

It belongs to the controller's tick: every loop here is bounded, whatever the migration's size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from shared.application.bundle import Ports
from shared.application.census import counted
from shared.application.pacer import Charged, OwnMeter
from shared.application.paging import items
from shared.domain.board import Grant
from shared.domain.canonical import canonical_document
from shared.domain.halts import Halt, Halting
from shared.domain.pacing import DebtBucket
from shared.domain.planner import CutSecond, Probe, Search, Step, Take, cut_ids
from shared.domain.sharing import Share
from shared.domain.slices import (
    Census,
    Extent,
    Migration,
    Progress,
    RangePlan,
    Slice,
    SliceState,
    Window,
)
from shared.domain.spec import MigrationSpec
from shared.errors import (
    CostLimitReached,
    EbbError,
    NotFound,
    Throttled,
    TransientError,
    Uncanonical,
)
from shared.ports import Change, Measured, Page, Place, Query, Source

CALLS_MAX = 48  # requests of one tick: enough to plan two dozen slices
WAIT_MAX_S = 5.0  # one dear answer is waited out; a rate near zero is not
PROBES_PER_SLICE_MAX = 60  # twice the halvings of a century of seconds; the allowance ends sooner
SAMPLES = 8  # spread over the cold range, as old documents may be smaller than young ones
SAMPLE_DOCUMENTS = 5  # one answer costs less than a second of most budgets
OPEN_MIN = 8  # slices planned ahead of the workers, for those that turn out small
OPEN_MAX = 24
AHEAD_S = 60.0  # work for two ticks lies ready, so that a late tick starves nobody
ID_RU_MIN = 0.1  # of listing one id, where documents are tiny
LISTING_S_MAX = 45.0  # half of what a board stays valid without the next tick
RANGES_PER_CHANGE = 90

C = TypeVar("C", bound=Charged)


class AllowanceSpent(Exception):
    """The tick may ask the source nothing more; the rest waits for the next one."""


class Allowance:
    """What one tick may spend on asking a source: a small rate, some requests, a span of time."""

    def __init__(self, ports: Ports, *, source: str, rate_ru_per_s: float, until_s: float) -> None:
        now_s = ports.clock.now_s()
        self._ports = ports
        self._source = source
        self.rate_ru_per_s = rate_ru_per_s
        self._bucket = DebtBucket(now_s=now_s, rate_ru_per_s=rate_ru_per_s)
        self._left_calls = CALLS_MAX
        self._until_s = until_s
        self.meter = OwnMeter(ports, ports.names.new())
        self.throttled_on: str | None = None

    def ask(self, range_id: str, question: Callable[[], C], *, whole: bool = False) -> C:
        """Ask in turn; `whole` is for the rest of something that is worthless unless finished."""
        if not whole:
            self._left_calls -= 1
            if self._left_calls < 0 or self._ports.clock.now_s() > self._until_s:
                raise AllowanceSpent
        wait_s = self._bucket.wait_s(now_s=self._ports.clock.now_s())
        if wait_s > WAIT_MAX_S and not whole:
            raise AllowanceSpent
        if wait_s > 0:
            self._ports.clock.wait(wait_s)
        try:
            answer = question()
        except EbbError as error:
            self._pay(range_id, error.ru)
            if isinstance(error, Throttled):
                self.throttled_on = range_id
                self._bucket.set_rate(0.0, now_s=self._ports.clock.now_s())
                raise AllowanceSpent from error
            raise
        self._pay(range_id, answer.ru)
        return answer

    @property
    def answer_ru_max(self) -> float:
        """What one number may cost: its pages follow without a pause, and then are waited out."""
        return self.rate_ru_per_s * WAIT_MAX_S

    def _pay(self, range_id: str, ru: float) -> None:
        self._bucket.charge(ru, now_s=self._ports.clock.now_s())
        self.meter.add(ru, Place(source=self._source, range_id=range_id))


@dataclass(slots=True)
class Plans:
    """A running migration as one tick sees it."""

    migration: Migration
    spec: MigrationSpec
    progress: Progress
    ranges: tuple[RangePlan, ...]
    slices: tuple[Slice, ...]


class Planning:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def register_ranges(self, migration: Migration, spec: MigrationSpec) -> None:
        """Write down the source's feed ranges once; costs no request units."""
        source = self._source(spec)
        # A factory's query cannot be kept to one range: there all of the source is one.
        ranges = source.ranges() if spec.engine == "embedded" else (source.whole(),)
        plans = [
            RangePlan(
                migration=migration.name,
                range=each,
                frontier_s=0,
                until_s=migration.until_s,
                earliest_s=0,
            )
            for each in ranges
        ]
        known = {plan.range.id for plan in self._ports.ledger.ranges(migration.name)}
        missing = [plan for plan in plans if plan.range.id not in known]
        for start in range(0, len(missing), RANGES_PER_CHANGE):
            part = tuple(missing[start : start + RANGES_PER_CHANGE])
            self._ports.ledger.commit(migration.name, Change(ranges=part))
        progress = Progress(migration=migration.name, started_at_s=self._ports.clock.now_s())
        self._ports.ledger.commit(migration.name, Change(progress=progress))

    def extend_ranges(
        self, migration: Migration, ranges: tuple[RangePlan, ...]
    ) -> tuple[RangePlan, ...]:
        """Ranges as far as the migration's record reaches; costs no request units.

        The record moves first, so whoever finds ranges that lag behind it, after whatever crash,
        brings them up to date. Their frontiers stay: the tiling goes on where it ended. They are
        to be surveyed anew, in the same transaction as they move, so nothing is planned uncounted.
        """
        lagging = [plan for plan in ranges if plan.until_s < migration.until_s]
        for start in range(0, len(lagging), RANGES_PER_CHANGE):
            progress = self._ports.ledger.progress(migration.name)
            if progress is None:
                raise NotFound(f"extending {migration.name}: its progress record is gone")
            part = lagging[start : start + RANGES_PER_CHANGE]
            change = Change(
                ranges=tuple(
                    replace(plan, until_s=migration.until_s, surveyed=False) for plan in part
                ),
                progress=progress.in_next_cycle(self._ports.clock.now_s()),
            )
            self._ports.ledger.commit(migration.name, change)
        return self._ports.ledger.ranges(migration.name) if lagging else ranges

    def survey(self, plans: Plans, allowance: Allowance) -> None:
        """Count each range's cold documents, find where they begin, and weigh a few of them.

        In a later cycle only what became cold since is counted, and what documents cost and weigh
        is known.
        """
        source = self._source(plans.spec)
        for plan in plans.ranges:
            if not plan.surveyed:
                self._survey_range(plans, plan, source, allowance)
        ranges = self._ports.ledger.ranges(plans.migration.name)
        progress = plans.progress
        cost, size = progress.ru_per_document, progress.bytes_per_document
        if not cost:
            cost, size = self._weigh(plans, ranges, source, allowance)
        counted = sum(plan.documents_expected for plan in ranges)
        surveyed = replace(
            progress,
            surveyed=True,
            documents_expected=progress.documents_proven + progress.superseded + counted,
            ru_per_document=cost,
            bytes_per_document=size,
        )
        self._ports.ledger.commit(plans.migration.name, Change(progress=surveyed))

    def _survey_range(
        self, plans: Plans, plan: RangePlan, source: Source, allowance: Allowance
    ) -> None:
        """Part by part, so that a tick that ends in between leaves what it has counted."""
        begun = plan.census or Census(
            to_s=plan.frontier_s, width_s=max(1, plan.until_s - plan.frontier_s)
        )
        census = begun
        try:
            for latest in self._counted(plans, plan, begun, source, allowance):
                census = latest
            earliest_s = self._earliest_s(plans, plan, census, source, allowance)
        except (AllowanceSpent, TransientError):
            if census != begun:
                counted = replace(plan, census=census, documents_expected=census.documents)
                self._ports.ledger.commit(plans.migration.name, Change(ranges=(counted,)))
            raise
        span_s = max(1, plan.until_s - earliest_s)
        surveyed = replace(
            plan,
            surveyed=True,
            census=None,
            documents_expected=census.documents,
            earliest_s=earliest_s,
            documents_per_s=census.documents / span_s,
        )
        self._ports.ledger.commit(plans.migration.name, Change(ranges=(surveyed,)))

    def _counted(
        self, plans: Plans, plan: RangePlan, census: Census, source: Source, allowance: Allowance
    ) -> Iterator[Census]:
        def count(window: Window, ru_max: float | None) -> Measured:
            query = _query(plans.spec, plan, window, ru_max)
            return allowance.ask(plan.range.id, lambda: source.count(query))

        return counted(census, plan.until_s, count, ru_max=allowance.answer_ru_max)

    def _earliest_s(
        self, plans: Plans, plan: RangePlan, census: Census, source: Source, allowance: Allowance
    ) -> int:
        """Where documents begin, or a second before it where to find it would cost too much."""
        if census.found is None:
            return plan.until_s
        query = _query(plans.spec, plan, census.found, allowance.answer_ru_max)
        try:
            earliest = allowance.ask(plan.range.id, lambda: source.earliest_s(query)).value
        except CostLimitReached:
            return census.found.lo_s
        return plan.until_s if earliest is None else earliest

    def _weigh(
        self, plans: Plans, ranges: tuple[RangePlan, ...], source: Source, allowance: Allowance
    ) -> tuple[float, float]:
        """What a document costs and weighs, from a few taken all over the cold range.

        Documents so dear that a tick's allowance buys only some of the samples are weighed by
        those: every slice copied corrects the weight anyway.
        """
        cost, size, documents = 0.0, 0, 0
        for range_id, query in _samples(plans.spec, ranges):
            try:
                page = allowance.ask(
                    range_id,
                    lambda query=query: source.documents(  # type: ignore[misc]
                        query, continuation=None, limit=SAMPLE_DOCUMENTS
                    ),
                )
            except AllowanceSpent:
                if documents:
                    break
                raise
            cost += page.ru
            size += sum(_size(document) for document in page.items)
            documents += len(page.items)
        return (cost / documents, size / documents) if documents else (0.0, 0.0)

    def plan(
        self, plans: Plans, grant: Grant, *, share: Share, ahead: int, allowance: Allowance
    ) -> int:
        """Cut new slices on ranges with room until enough lie ahead; returns how many."""
        planned = 0
        open_by_range = _open_by_range(plans.slices)
        waiting = [p for p in plans.ranges if not p.finished and not grant.is_paused(p.range.id)]
        while waiting and sum(open_by_range.values()) < ahead:
            plan = min(waiting, key=lambda p: (open_by_range.get(p.range.id, 0), p.frontier_s))
            waiting.remove(plan)
            batch = _batch(share, grant.range_limit(plan.range.id))
            advanced, slices = self._next_slices(plans, plan, batch, allowance)
            if slices:
                self._ports.ledger.commit(
                    plans.migration.name, Change(slices=slices, ranges=(advanced,))
                )
                planned += len(slices)
                count = open_by_range.get(plan.range.id, 0)
                open_by_range[plan.range.id] = count + len(slices)
                fresh = {p.range.id: p for p in self._ports.ledger.ranges(plans.migration.name)}
                advanced = fresh[plan.range.id]
            if slices and not advanced.finished:
                waiting.append(advanced)
        return planned

    def _next_slices(
        self, plans: Plans, plan: RangePlan, batch: int, allowance: Allowance
    ) -> tuple[RangePlan, tuple[Slice, ...]]:
        """Search for the end of the next slice, a count at a time."""
        source = self._source(plans.spec)
        search = Search(plan=plan, batch_documents=batch, most_documents=_most(plans))
        step: Step = search.first()
        try:
            for _ in range(PROBES_PER_SLICE_MAX):
                if not isinstance(step, Probe):
                    break
                limit = allowance.answer_ru_max if search.can_narrow(step.window) else None
                query = _query(plans.spec, plan, step.window, limit)
                try:
                    count = allowance.ask(
                        plan.range.id,
                        lambda query=query: source.count(query),  # type: ignore[misc]
                    ).value
                except CostLimitReached:
                    search, step = search.too_many(step.window)
                    continue
                if count is None:
                    raise TransientError(f"planning on range {plan.range.id}: no count was given")
                search, step = search.answered(step.window, count)
        except AllowanceSpent:
            self._remember(plans, search)
            raise
        if isinstance(step, Take):
            return self._taken(plans, search.plan, step.window, step.documents)
        if isinstance(step, CutSecond):
            return self._cut(plans, search.plan, step, allowance)
        self._remember(plans, search)
        return plan, ()

    def _remember(self, plans: Plans, search: Search) -> None:
        """Where documents begin, and how wide a window was too wide, for the next tick."""
        plan = search.plan
        density = plan.documents_per_s
        if search.over_hi_s is not None:
            width_s = max(1, search.over_hi_s - max(plan.frontier_s, plan.earliest_s))
            density = search.batch_documents / width_s
        remembered = replace(plan, documents_per_s=density)
        self._ports.ledger.commit(plans.migration.name, Change(ranges=(remembered,)))

    def _taken(
        self, plans: Plans, plan: RangePlan, window: Window, count: int
    ) -> tuple[RangePlan, tuple[Slice, ...]]:
        extent = Extent(window=window, range=plan.range)
        return _advanced(plan, window, count), (_slice(plans.migration.name, extent, count),)

    def _cut(
        self, plans: Plans, plan: RangePlan, dense: CutSecond, allowance: Allowance
    ) -> tuple[RangePlan, tuple[Slice, ...]]:
        """Listing ids costs what reading the documents costs, so it is paced, and not without end.

        A partition cannot write more in one second than a slice of the usual limits holds; this is
        for limits set very low.
        """
        cost = max(ID_RU_MIN, plans.progress.ru_per_document)
        listing_s = dense.documents * cost / max(allowance.rate_ru_per_s, ID_RU_MIN)
        if listing_s > LISTING_S_MAX:
            raise Halting(
                Halt.DENSE_SECOND,
                f"cutting the second {dense.window.hi_s - 1} of range {plan.range.id}: it holds "
                f"{dense.documents} documents, more than a slice may, and listing their ids would "
                f"take {listing_s:.0f} s of what planning may spend; raise slice.documents_max or "
                "slice.bytes_max in a new migration",
            )
        limit = max(1, int(allowance.rate_ru_per_s / cost))
        ids = self._ids(plans, plan, dense.window, limit, allowance)
        extents = cut_ids(plan, dense.window, ids, _most(plans))
        share = -(-len(ids) // len(extents))
        slices = tuple(_slice(plans.migration.name, extent, share) for extent in extents)
        return _advanced(plan, dense.window, len(ids)), slices

    def _ids(
        self, plans: Plans, plan: RangePlan, window: Window, limit: int, allowance: Allowance
    ) -> list[str]:
        source = self._source(plans.spec)
        query = _query(plans.spec, plan, window)

        def ask(continuation: str | None) -> Page:
            return allowance.ask(
                plan.range.id,
                lambda: source.identities(query, continuation=continuation, limit=limit, paths=()),
                whole=continuation is not None,
            )

        return [item["id"] for item in items(ask)]

    def _source(self, spec: MigrationSpec) -> Source:
        return self._ports.sources.open(spec.source.database, spec.source.container)


def _batch(share: Share, range_ru_per_s: float) -> int:
    """A worker's seconds on this range buy less where the range gives less than its share."""
    seat_ru_per_s = share.ru_per_s / max(1, share.in_flight)
    part = min(1.0, range_ru_per_s / seat_ru_per_s) if seat_ru_per_s > 0 else 1.0
    return max(1, int(share.batch_documents * part))


def _samples(spec: MigrationSpec, ranges: tuple[RangePlan, ...]) -> Iterator[tuple[str, Query]]:
    """Windows spread over the cold range and over the ranges that hold anything."""
    filled = [plan for plan in ranges if plan.documents_expected]
    for index in range(SAMPLES if filled else 0):
        plan = filled[index % len(filled)]
        span_s = plan.until_s - plan.earliest_s
        lo_s = plan.earliest_s + span_s * index // SAMPLES
        hi_s = plan.earliest_s + span_s * (index + 1) // SAMPLES
        yield plan.range.id, _query(spec, plan, Window(lo_s=lo_s, hi_s=max(hi_s, lo_s + 1)))


def _query(
    spec: MigrationSpec, plan: RangePlan, window: Window, ru_max: float | None = None
) -> Query:
    extent = Extent(window=window, range=plan.range)
    return Query(extent=extent, where=spec.cold_where, ru_max=ru_max)


def _most(plans: Plans) -> int:
    """What a slice may hold at all, by the spec's limits and the documents' size as measured."""
    limits = plans.spec.slice
    size = plans.progress.bytes_per_document
    return min(limits.documents_max, int(limits.bytes_max / size)) if size else limits.documents_max


def _slice(migration: str, extent: Extent, count: int) -> Slice:
    return Slice(migration=migration, extent=extent, documents_planned=count)


def _advanced(plan: RangePlan, window: Window, count: int) -> RangePlan:
    """The frontier behind the window, and the density just met as the guess for the next."""
    span_s = max(1, window.hi_s - max(window.lo_s, plan.earliest_s))
    return replace(plan, frontier_s=window.hi_s, documents_per_s=count / span_s)


def planned_ahead(spec: MigrationSpec, share: Share) -> int:
    """How many slices lie open for the workers while there is more to plan."""
    rounds = 1 + math.ceil(AHEAD_S / spec.slice.budget_s)
    return min(OPEN_MAX, max(OPEN_MIN, share.in_flight * rounds))


def _open_by_range(slices: tuple[Slice, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in slices:
        if each.state is SliceState.QUARANTINED:
            continue
        counts[each.extent.range.id] = counts.get(each.extent.range.id, 0) + 1
    return counts


def _size(document: object) -> int:
    try:
        return len(canonical_document(document))  # type: ignore[arg-type]
    except Uncanonical:
        return 0
