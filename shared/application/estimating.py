"""From what a survey saw: how long, how dear, what it saves, which engine, and what could go wrong.

It asks nobody anything; the same survey and prices always give the same estimate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from shared.application.controller import SURVEY_SHARE
from shared.application.surveying import RangeFacts, Survey
from shared.domain.forecast import (
    HOURS_MIN,
    USED_SHARE,
    Forecast,
    Granted,
    forecast,
    from_habits,
    guessed,
    hours_of_week,
    rehearsed,
)
from shared.domain.oddities import Oddity
from shared.domain.prices import Prices
from shared.domain.profile import Profile
from shared.domain.savings import Outcome, Saving, Stock, outcomes

COUNTS_PER_SLICE = 5  # two around each copy, and two or three to find where it ends
GROUP_BYTES = 8 << 20  # of a row group, before it is compressed: what a look-up reads
GROUP_ROWS = 32
BLOCK_H = 6  # hours of a week are told in quarters of a day
BLOCKS_TOLD = 3
GUESSED_SHARE = 0.6  # of the slack: what the law took of it over recorded loads
GUESSED_BUSINESS = 0.5  # of capacity, where nothing at all is known
LITTLE_SLACK = 0.05  # of capacity
LONG_S = 60 * 86_400
HOT_FACTOR = 2.0  # times an even share
FEW_DOCUMENTS = 10  # a mean over fewer says little
HOUR_MINUTES = 60
SPLIT_BYTES = 40e9  # a physical partition is split at 50 GB
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NAMED_MAX = 5
RECENT_MONTHS = 2  # the newest is only begun
SLICE_DOCUMENTS_MIN = 8  # in a slice of fewer large ones counting costs as much as reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is to be moved and what that takes, engine and validation as the spec has them."""

    documents: int
    source_bytes: float
    blob_bytes: float
    slices: int
    copy_ru: float
    reread_ru: float
    control_ru: float
    factory_money: float

    @property
    def ru(self) -> float:
        return self.copy_ru + self.reread_ru + self.control_ru


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """What a schedule's later cycles take, each, if as much grows cold as in the newest months."""

    every_s: int
    work: Work
    retired: Outcome
    """The spec's way of retiring what the cycle proved."""
    money: float
    forecast: Forecast
    """With the retiring."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    fact: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Six hours of the week and what the law grants in them on average."""

    name: str
    ru_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    name: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    survey: Survey
    prices: Prices
    work: Work
    forecast: Forecast
    blocks: tuple[Block, ...]
    """The best first; empty where nothing is known of the week."""
    money: dict[str, float]
    """What each part of copying and proving costs."""
    outcomes: tuple[Outcome, ...]
    """What follows each way of retiring, the spec's among them."""
    durations: dict[str, Forecast]
    """How long each way would take, by itself."""
    risks: tuple[Risk, ...]
    engine: Engine
    cycle: Cycle | None
    """None without a schedule, and where no month was counted."""

    @property
    def chosen(self) -> Outcome:
        """The way that the spec names."""
        return _chosen(self.survey, self.outcomes)

    @property
    def money_once(self) -> float:
        """Of copying and proving; retiring comes on top."""
        return sum(self.money.values())

    @property
    def app_per_day(self) -> tuple[float, float]:
        """What the app asks for beside: an instance that copies, and at most one that validates.

        Runs of a factory copy by themselves: at most one instance compares what they wrote.
        """
        low, high = (1, 2) if self.survey.spec.engine == "embedded" else (0, 1)
        return self.prices.app_day(low), self.prices.app_day(high)

    @property
    def odd(self) -> dict[str, list[str]]:
        """Kind -> ids of the sample."""
        found: dict[str, list[str]] = {}
        for each in self.survey.sample:
            for oddity in sorted(each.oddities):
                found.setdefault(oddity.value, []).append(each.id)
        return found

    def as_dict(self) -> dict[str, Any]:
        survey, work = self.survey, self.work
        return {
            "name": survey.spec.name,
            "at_s": round(survey.at_s),
            "cold_until_s": survey.until_s,
            "documents": work.documents,
            "bytes": {
                "documents": round(work.source_bytes),
                "parquet": round(work.blob_bytes),
                "per_document": round(survey.bytes_per_document),
            },
            "months": dict(survey.months),
            "ranges": [_range_dict(each) for each in survey.ranges],
            "sample": {
                "documents": len(survey.sample),
                "ru_per_document": round(survey.ru_per_document, 2),
                "bytes_max": max((each.size_bytes for each in survey.sample), default=0),
                "unusual": self.odd,
            },
            "capacity": {
                "ru_per_s": survey.capacity_ru_per_s,
                "from": survey.capacity_from,
                "ceiling": survey.spec.ceiling,
            },
            **self._costs(),
            "forecast": {
                "p50_s": _rounded(self.forecast.p50_s),
                "p90_s": _rounded(self.forecast.p90_s),
                "from": self.forecast.basis.value,
                "why_not": self.forecast.why_not,
            },
            "cycle": None if self.cycle is None else _cycle_dict(self.cycle),
            "hours": [{"when": b.name, "ru_per_s": round(b.ru_per_s, 1)} for b in self.blocks],
            "risks": [{"fact": each.fact, "advice": each.advice} for each in self.risks],
            "engine": {"recommended": self.engine.name, "reasons": list(self.engine.reasons)},
            "survey": {
                "ru": round(survey.spent_ru, 1),
                "paced": survey.paced,
                "cut_short": survey.cut_short,
            },
        }

    def _costs(self) -> dict[str, Any]:
        return {
            "slices": self.work.slices,
            "ru": {
                "copy": round(self.work.copy_ru),
                "reread": round(self.work.reread_ru),
                "control": round(self.work.control_ru),
            },
            "money": {
                "currency": self.prices.currency,
                "as_of": self.prices.as_of.isoformat(),
                "once": {name: round(each, 4) for name, each in self.money.items()},
                "app_per_day": [round(each, 4) for each in self.app_per_day],
            },
            "retire": {each.way.value: self._outcome(each) for each in self.outcomes},
        }

    def _outcome(self, each: Outcome) -> dict[str, Any]:
        told = self.durations.get(each.way)
        return {
            "chosen": each is self.chosen,
            "ru": [round(ru) for ru in each.ru],
            "money": [round(money, 4) for money in each.money],
            "p50_s": _rounded(told.p50_s if told else 0.0),
            "p90_s": _rounded(told.p90_s if told else 0.0),
            "stays_in_source_bytes": round(each.stays_bytes),
            "index_bytes": round(each.index_bytes),
            "tiers": {saving.tier: _saving_dict(saving) for saving in each.savings},
        }


def _cycle_dict(cycle: Cycle) -> dict[str, Any]:
    work = cycle.work
    return {
        "every_s": cycle.every_s,
        "documents": work.documents,
        "slices": work.slices,
        "ru": round(work.ru),
        "retire_ru": [round(ru) for ru in cycle.retired.ru],
        "money": round(cycle.money, 4),
        "p50_s": _rounded(cycle.forecast.p50_s),
        "p90_s": _rounded(cycle.forecast.p90_s),
    }


def _saving_dict(saving: Saving) -> dict[str, float | None]:
    months = saving.break_even_months
    return {
        "saved_per_month": round(saving.saved_per_month, 4),
        "break_even_months": None if months is None else round(months, 2),
        "look_ups_10k": round(saving.look_ups_10k, 4),
    }


def _rounded(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def _range_dict(each: RangeFacts) -> dict[str, Any]:
    return {
        "id": each.range.id,
        "documents": each.documents if each.counted else None,
        "business_share": each.business_share,
    }


def estimate(survey: Survey, prices: Prices) -> Estimate:
    """Everything that can be said before anything runs."""
    granted = _granted(survey)
    work = _work(survey, prices, documents=survey.documents, months=len(survey.months))
    foreseen = forecast(granted, _spent_ru(work), now_s=survey.at_s)
    money = _money(survey, work, prices)
    ways = _ways(survey, work, prices, spent=sum(money.values()))
    cycle = _cycle(survey, granted, prices)
    return Estimate(
        survey=survey,
        prices=prices,
        work=work,
        forecast=foreseen,
        blocks=_blocks(granted) if _knows_the_business(survey) else (),
        money=money,
        outcomes=ways,
        durations={
            each.way: forecast(granted, sum(each.ru) / 2, now_s=survey.at_s)
            for each in ways
            if each.ru[0]
        },
        risks=(*_risks(survey, work, granted, foreseen), *_risks_of_cycles(cycle)),
        engine=_engine(survey, work, prices),
        cycle=cycle,
    )


def _spent_ru(work: Work) -> float:
    """Of the budget: planning has its part, and staging a file spends nothing."""
    return (work.copy_ru + work.reread_ru) / (1 - SURVEY_SHARE) / USED_SHARE


def _ways(survey: Survey, work: Work, prices: Prices, *, spent: float) -> tuple[Outcome, ...]:
    return outcomes(
        prices,
        _stock(work),
        spent=spent,
        request_units_are_paid=_is_bought(survey),
    )


def _chosen(survey: Survey, ways: Iterable[Outcome]) -> Outcome:
    (found,) = (each for each in ways if each.way == survey.spec.retire)
    return found


def _cycle(survey: Survey, granted: Granted, prices: Prices) -> Cycle | None:
    """By what lies in the newest months: documents that were written since are in none of them."""
    recent = survey.months[-RECENT_MONTHS:]
    schedule = survey.spec.schedule
    if schedule is None or not recent:
        return None
    span_s = survey.until_s - survey.counted_from_s(recent[0][0])
    documents = round(sum(count for _, count in recent) * schedule.every / max(1, span_s))
    work = _work(survey, prices, documents=documents, months=1)
    money = sum(_money(survey, work, prices).values())
    retired = _chosen(survey, _ways(survey, work, prices, spent=money))
    spent_ru = _spent_ru(work) + sum(retired.ru) / 2
    return Cycle(
        every_s=schedule.every,
        work=work,
        retired=retired,
        money=money + sum(retired.money) / 2,
        forecast=forecast(granted, spent_ru, now_s=survey.at_s),
    )


def _knows_the_business(survey: Survey) -> bool:
    return _can_rehearse(survey) or _habits(survey) is not None


def _can_rehearse(survey: Survey) -> bool:
    """The hours at either end may be parts of hours only."""
    return _hours_known(survey) >= HOURS_MIN + 2


def _habits(survey: Survey) -> Profile | None:
    profile = survey.business.profile
    return profile if profile is not None and len(profile.hours) >= HOURS_MIN else None


def _hours_known(survey: Survey) -> int:
    return sum(use is not None for use in survey.business.minutes) // HOUR_MINUTES


def _granted(survey: Survey) -> Granted:
    """By the best that is known of the business."""
    business, capacity, ceiling = survey.business, survey.capacity_ru_per_s, survey.spec.ceiling
    habits = _habits(survey)
    if _can_rehearse(survey):
        return rehearsed(
            business.minutes,
            first_s=business.first_s,
            capacity_ru_per_s=capacity,
            ceiling=ceiling,
        )
    if habits is not None:
        return from_habits(habits, now_s=survey.at_s, capacity_ru_per_s=capacity, ceiling=ceiling)
    known = [use for use in business.minutes if use is not None]
    used = sum(known) / len(known) if known else GUESSED_BUSINESS * capacity
    free = max(0.0, ceiling * capacity - used)
    return guessed(now_s=survey.at_s, ru_per_s=GUESSED_SHARE * free)


def _work(survey: Survey, prices: Prices, *, documents: int, months: int) -> Work:
    limits = survey.spec.slice
    size = survey.bytes_per_document
    source_bytes = documents * size
    filled = sum(each.documents > 0 for each in survey.ranges)
    fullest = max(documents / limits.documents_max, source_bytes / limits.bytes_max)
    slices = max(ceil(fullest), max(1, months) * filled if documents else 0)
    once = documents * survey.ru_per_document
    factory = survey.spec.engine == "adf"
    return Work(
        documents=documents,
        source_bytes=source_bytes,
        blob_bytes=source_bytes * (1.0 if survey.blob_share is None else survey.blob_share),
        slices=slices,
        copy_ru=once * (2 if factory else 1),
        reread_ru=once if survey.spec.validation == "reread" else 0.0,
        control_ru=slices * COUNTS_PER_SLICE * survey.ru_per_count,
        factory_money=prices.runs(slices) if factory else 0.0,
    )


def _stock(work: Work) -> Stock:
    size = work.source_bytes / work.documents if work.documents else 0.0
    share = work.blob_bytes / work.source_bytes if work.source_bytes else 0.0
    return Stock(
        documents=work.documents,
        source_bytes=work.source_bytes,
        blob_bytes=work.blob_bytes,
        blobs=work.slices,
        span_bytes=max(size, min(GROUP_BYTES, GROUP_ROWS * size)) * share,
    )


def _is_bought(survey: Survey) -> bool:
    """Whether request units are paid for by the hour, used or not."""
    return survey.provision is not None and survey.provision.ru_per_s is not None


def _money(survey: Survey, work: Work, prices: Prices) -> dict[str, float]:
    """Of bought throughput the slack is paid for already."""

    def paid(ru: float) -> float:
        return 0.0 if _is_bought(survey) else prices.request_units(ru)

    money = {
        "copy": paid(work.copy_ru),
        "validation": paid(work.reread_ru),
        "counting": paid(work.control_ru),
    }
    if work.factory_money:
        money["Data Factory, at least"] = work.factory_money
    return money


def _blocks(granted: Granted) -> tuple[Block, ...]:
    hours = hours_of_week(granted)
    blocks = []
    for first in range(0, len(DAYS) * 24, BLOCK_H):
        known = [hours[hour] for hour in range(first, first + BLOCK_H) if hour in hours]
        if known:
            day, hour = divmod(first, 24)
            name = f"{DAYS[day]} {hour:02}–{hour + BLOCK_H:02} UTC"
            blocks.append(Block(name=name, ru_per_s=sum(known) / len(known)))
    return tuple(sorted(blocks, key=lambda each: -each.ru_per_s))


def _engine(survey: Survey, work: Work, prices: Prices) -> Engine:
    once = survey.documents * survey.ru_per_document
    runs = prices.runs(work.slices)
    again = "nothing, as they are bought already"
    if not _is_bought(survey):
        again = f"{prices.request_units(once):,.2f} {prices.currency}"
    reasons = [
        f"adf reads each document twice: {once:,.0f} RU more, {again}, and about twice the time",
        f"its runs cost at least {runs:,.2f} {prices.currency} for {work.slices:,} slices",
        "it is stopped within a tick (30 s), embedded within two seconds",
    ]
    if len(survey.ranges) > 1:
        reasons.append(f"it goes through the {len(survey.ranges)} partitions one after the other")
    reasons.append("choose adf only where rules want data to move by Data Factory alone")
    return Engine(name="embedded", reasons=tuple(reasons))


def _risks(survey: Survey, work: Work, granted: Granted, foreseen: Forecast) -> Iterator[Risk]:
    yield from _risks_of_time(survey, granted, foreseen)
    yield from _risks_of_capacity(survey)
    yield from _risks_of_ranges(survey, work)
    yield from _risks_of_documents(survey)
    if survey.cut_short:
        yield Risk(
            fact=f"the survey was cut short: {survey.cut_short}",
            advice="what is told is too little; ask again with a larger --allowance",
        )


def _risks_of_time(survey: Survey, granted: Granted, foreseen: Forecast) -> Iterator[Risk]:
    known = [each for each in granted.ru_per_s if each is not None]
    mean = sum(known) / len(known) if known else 0.0
    if mean < LITTLE_SLACK * survey.capacity_ru_per_s:
        yield Risk(
            fact=f"too little slack: {mean:,.0f} of {survey.capacity_ru_per_s:,.0f} RU/s usually",
            advice="buy capacity for the time of the migration, or make what is cold smaller",
        )
    if foreseen.p50_s is None:
        yield Risk(fact=f"no forecast: {foreseen.why_not}", advice="ask again another day")
    elif foreseen.p90_s is None or foreseen.p90_s > LONG_S:
        yield Risk(
            fact="it may take more than 60 days",
            advice="begin with a part: an earlier cold.before, or a cold.where",
        )
    if not _knows_the_business(survey):
        trouble = f" ({survey.business.trouble})" if survey.business.trouble else ""
        yield Risk(
            fact=f"no history: {_hours_known(survey)} hours of the business are known{trouble}",
            advice="the forecast is a guess; ask again when Azure Monitor has told two days",
        )


def _risks_of_cycles(cycle: Cycle | None) -> Iterator[Risk]:
    if cycle is None:
        return
    if cycle.forecast.p50_s is None or cycle.forecast.p50_s > cycle.every_s:
        yield Risk(
            fact="a later cycle takes longer than until the next one is due",
            advice="cycles that are late are made up for in one, but what lies in the source grows "
            "all the while: more capacity is needed, or less that is cold",
        )


def _risks_of_capacity(survey: Survey) -> Iterator[Risk]:
    if not _is_bought(survey):
        yield Risk(
            fact="no throughput of its own is told for this container: it is serverless, where "
            "nothing in the service sets Ebb's requests behind the business's, or it shares the "
            "throughput of its database",
            advice="Ebb's own pacing is the only isolation: keep the ceiling. If it shares, write "
            "capacity into the spec by hand, and add up what the other containers use",
        )
    if survey.provision is None and survey.spec.capacity.partitions == "discover":
        yield Risk(
            fact="Azure Monitor does not tell how many partitions there are",
            advice="write capacity.partitions into the spec",
        )
    limit = survey.spec.ceiling * survey.capacity_ru_per_s
    known = [use for use in survey.business.minutes if use is not None]
    over = sum(use > limit for use in known)
    if over:
        yield Risk(
            fact=f"the business alone was above the ceiling in {over / len(known):.1%} of minutes",
            advice="Ebb spends nothing then; a longer time is already in the forecast",
        )


def _risks_of_ranges(survey: Survey, work: Work) -> Iterator[Risk]:
    even = 1 / len(survey.ranges)
    hot = [r for r in survey.ranges if (r.business_share or 0.0) > HOT_FACTOR * even]
    for each in hot[:NAMED_MAX]:
        yield Risk(
            fact=f"a hot partition: {each.range.id} carries {each.business_share or 0:.0%} of the "
            f"business, an even share is {even:.0%}",
            advice="Ebb pauses it alone; its cold documents come last and set the end",
        )
    total = max(1, work.documents)
    full = [r for r in survey.ranges if r.documents / total > HOT_FACTOR * even]
    for each in full[:NAMED_MAX]:
        yield Risk(
            fact=f"{each.documents / total:.0%} of what is cold lies on {each.range.id}",
            advice="it gives no more than one partition does, whatever the others have free",
        )
    largest = max((r.documents for r in survey.ranges), default=0) * survey.bytes_per_document
    if largest > SPLIT_BYTES:
        yield Risk(
            fact=f"at least {largest / 1e9:,.0f} GB lie on one partition, which is split at 50 GB",
            advice="after a split Ebb asks the old range for no more than one partition gives",
        )


_ODD_ADVICE = {
    Oddity.UNCANONICAL: "its slice is quarantined and the migration halts at the end: correct it",
    Oddity.GREAT_NUMBER: "the archive keeps every digit; readers that use doubles do not",
    Oddity.UNADDRESSABLE: "the archive keeps them; retiring leaves them where they are, as only "
    "queries reach them (a slash, for one, ends the address)",
    Oddity.ODD_ID: "the archive keeps them; look-ups by address must escape them",
    Oddity.DEEP: "the archive keeps it; some readers of JSON stop at fewer levels",
    Oddity.LARGE: "one of them is a second or more of a small budget",
}


def _risks_of_documents(survey: Survey) -> Iterator[Risk]:
    count = len(survey.sample)
    if survey.documents and count < FEW_DOCUMENTS:
        yield Risk(
            fact=f"only {count} documents were weighed",
            advice="sizes and request units are guesses; ask again with a larger --allowance",
        )
    kinds = Counter(oddity for each in survey.sample for oddity in each.oddities)
    for oddity, found in sorted(kinds.items()):
        yield Risk(fact=f"{found} of {count} weighed: {oddity.value}", advice=_ODD_ADVICE[oddity])
    largest = max((each.size_bytes for each in survey.sample), default=0)
    most = survey.spec.slice.bytes_max
    if largest * SLICE_DOCUMENTS_MIN > most:
        yield Risk(
            fact=f"a document has {largest:,} bytes and a slice at most {most:,}",
            advice="raise slice.bytes_max",
        )
