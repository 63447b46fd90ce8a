"""Estimates from a survey: request units, money, risks, engine, and the seven answers."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import pytest

from shared.application.answers import answers, break_even, gigabytes, span
from shared.application.estimating import Estimate, estimate
from shared.application.surveying import Business, RangeFacts, Survey
from shared.domain.forecast import END_S, START_S, USED_SHARE, Basis
from shared.domain.oddities import Oddity, Weighed
from shared.domain.prices import Prices
from shared.domain.profile import HOURS, HourUse, Profile
from shared.domain.slices import FeedRange
from shared.domain.spec import parse_spec
from shared.ports import Provision

SPEC = """
name: billing-cold
source: {account: acct, database: db, container: c, partition_key: /pk}
cold: {older_than: 90d}
sink: {container: archive}
"""
SCHEDULED = SPEC + "schedule: {every: 24h}\nretire: delete\n"
NOW_S = 1_800_000_000.0
DOCUMENT = Weighed(id="a", size_bytes=300_000, canonical=b"{}", oddities=frozenset())
STEADY = Profile(
    hours={h: HourUse(typical_ru_per_s=2_500.0, high_ru_per_s=2_500.0) for h in range(HOURS)}
)


def a_range(number: int, documents: int, share: float | None = None) -> RangeFacts:
    return RangeFacts(
        range=FeedRange(id=f"r{number:03d}", token=""),
        documents=documents,
        earliest_s=1,
        counted=True,
        business_share=share,
    )


def a_survey(text: str = SPEC, **changes: Any) -> Survey:
    """The scenario: two million documents of 300 KB at 30 RU, half of 5,000 RU/s used."""
    survey = Survey(
        spec=parse_spec(text),
        at_s=NOW_S,
        until_s=int(NOW_S) - 90 * 86_400,
        ranges=(a_range(0, 2_000_000),),
        months=(("2026-09", 1_000_000), ("2026-10", 1_000_000)),
        sample=(DOCUMENT,) * 20,
        ru_per_document=30.0,
        ru_per_count=3.0,
        blob_share=0.4,
        capacity_ru_per_s=5_000.0,
        capacity_from="1 x 5000",
        partitions=1,
        provision=Provision(partitions=1, ru_per_s=None),
        business=Business(profile=STEADY),
    )
    return replace(survey, **changes)


def facts(found: Estimate) -> str:
    return "\n".join(each.fact for each in found.risks)


def test_the_scenario_is_estimated_as_by_hand() -> None:
    """Sixty million RU, 15 dollars, 600 GB at 150 dollars a month, eleven hours of 1,500 RU/s."""
    found = estimate(a_survey(), Prices())
    assert found.work.copy_ru == 60e6
    assert found.money["copy"] == 15.0
    assert found.work.source_bytes == 600e9
    assert found.work.slices == 2_236  # 600 GB in pieces of 256 MiB
    assert found.chosen.savings[0].saved_per_month == pytest.approx(-240 * 0.0208)
    assert found.forecast.basis is Basis.HABITS
    assert found.forecast.p50_s == pytest.approx(START_S + 60e6 / 1_500 / 0.9 / USED_SHARE + END_S)


def test_every_way_of_retiring_is_told_with_its_time() -> None:
    """The spec's own is marked; removing takes four to nine times as long as copying."""
    found = estimate(a_survey(SPEC + "retire: stub"), Prices())
    assert [each.way for each in found.outcomes] == ["keep", "delete", "stub"]
    assert found.chosen.way == "stub"
    assert set(found.durations) == {"delete", "stub"}
    copying, removing = found.forecast.p50_s, found.durations["delete"].p50_s
    assert 4 * (copying or 0) < (removing or 0) < 9 * (copying or 0)
    shown = found.as_dict()["retire"]
    assert [each for each in shown if shown[each]["chosen"]] == ["stub"]
    assert shown["keep"]["p50_s"] == 0
    told = {way: [t["saved_per_month"] for t in shown[way]["tiers"].values()] for way in shown}
    assert told["keep"] == pytest.approx([-4.99, -2.76, -1.08], abs=0.01)  # docs/plan.md, too
    assert told["delete"] == pytest.approx([144.95, 147.18, 148.86], abs=0.01)
    assert told["stub"] == pytest.approx([144.56, 146.79, 148.47], abs=0.01)
    line = dict(answers(found))["5. How are errors and an unavailable API avoided?"]
    assert "only when told to" in line


def test_bought_throughput_makes_request_units_free() -> None:
    """The slack is paid for already; a serverless one is paid by the unit."""
    bought = estimate(a_survey(provision=Provision(partitions=1, ru_per_s=5_000.0)), Prices())
    assert bought.money_once == 0.0
    assert "serverless" not in facts(bought)
    serverless = estimate(a_survey(), Prices())
    assert serverless.money_once > 15.0
    assert "serverless" in facts(serverless)


def test_a_factory_reads_twice_and_is_paid_by_the_slice() -> None:
    """Engine adf in the spec; embedded is recommended all the same, with the difference."""
    found = estimate(a_survey(SPEC + "engine: adf"), Prices())
    plain = estimate(a_survey(), Prices())
    assert found.work.copy_ru == 2 * plain.work.copy_ru
    assert found.work.factory_money == Prices().runs(found.work.slices)
    assert (found.forecast.p50_s or 0) > 1.9 * (plain.forecast.p50_s or 0)
    assert found.engine.name == plain.engine.name == "embedded"
    assert "60,000,000 RU more, 15.00 USD" in found.engine.reasons[0]


def test_reading_again_costs_the_documents_once_more() -> None:
    """Validation reread, and the line about the proof says so."""
    found = estimate(a_survey(SPEC + "validation: reread"), Prices())
    assert found.work.reread_ru == 60e6
    assert "read from the source again, 60,000,000 RU" in answers(found)[1][1]


def test_each_fact_that_speaks_against_it_is_told() -> None:
    """One at a time, and none of them of the plain scenario."""
    plain = facts(estimate(a_survey(), Prices()))
    odd = replace(DOCUMENT, oddities=frozenset({Oddity.UNCANONICAL}))
    large = replace(DOCUMENT, size_bytes=1_900_000)
    busy = Profile(
        hours={h: HourUse(typical_ru_per_s=3_900.0, high_ru_per_s=3_900.0) for h in range(HOURS)}
    )
    for changes, fact in (
        ({"business": Business(profile=busy)}, "too little slack"),
        ({"business": Business(trouble="it does not answer")}, "no history: 0 hours"),
        ({"business": Business(minutes=(4_500.0, 100.0))}, "above the ceiling in 50.0%"),
        ({"provision": None}, "does not tell how many partitions"),
        ({"ranges": (a_range(0, 5, 0.8), a_range(1, 5, 0.1), a_range(2, 5, 0.1))}, "r000 carries"),
        ({"ranges": (a_range(0, 9), a_range(1, 1), a_range(2, 1))}, "lies on r000"),
        ({"sample": (DOCUMENT,) * 9}, "only 9 documents were weighed"),
        ({"sample": (*(DOCUMENT,) * 20, odd)}, "1 of 21 weighed: no canonical form"),
        ({"cut_short": "the source answered 429"}, "cut short"),
        ({"ranges": (a_range(0, 300_000_000),)}, "more than 60 days"),
    ):
        assert fact not in plain, fact
        assert fact in facts(estimate(a_survey(**changes), Prices())), fact
    small = a_survey(SPEC + "slice: {bytes_max: 8MiB}", sample=(large,) * 20)
    assert "a slice at most 8,388,608" in facts(estimate(small, Prices()))


def test_where_only_a_level_is_known_the_forecast_is_a_guess() -> None:
    """An hour of Monitor: what is left of it on average, three fifths of which the law takes."""
    found = estimate(a_survey(business=Business(minutes=(3_000.0,) * 60)), Prices())
    assert found.forecast.basis is Basis.GUESSED
    rate = 0.6 * 1_000.0
    assert found.forecast.p50_s == pytest.approx(START_S + 60e6 / rate / 0.9 / USED_SHARE + END_S)
    assert found.blocks == ()


def test_two_days_of_minutes_are_rehearsed_rather_than_guessed() -> None:
    """And they come before what the logs tell; parts of hours at either end are not enough."""
    for hours, basis in ((50, Basis.REHEARSED), (49, Basis.HABITS)):
        minutes = (2_500.0,) * (60 * hours)
        first_s = int(NOW_S) - hours * 3_600 + 20 * 60
        business = Business(first_s=first_s, minutes=minutes, profile=STEADY)
        found = estimate(a_survey(business=business), Prices())
        assert found.forecast.basis is basis
        assert found.forecast.p50_s is not None


def test_a_log_that_began_yesterday_is_no_habit() -> None:
    """Half of the hours of the week are missing, and no number would follow from the others."""
    hours = {hour: STEADY.hours[hour] for hour in range(47)}
    found = estimate(a_survey(business=Business(profile=Profile(hours=hours))), Prices())
    assert found.forecast.basis is Basis.GUESSED
    assert found.forecast.p50_s is not None


def test_the_best_hours_are_those_with_most_room() -> None:
    """Quarters of days, Sunday's first in this account, and Monday's noon last."""
    hours = dict(STEADY.hours)
    for hour in range(144, 150):
        hours[hour] = HourUse(typical_ru_per_s=500.0, high_ru_per_s=500.0)
    for hour in range(12, 18):
        hours[hour] = HourUse(typical_ru_per_s=3_500.0, high_ru_per_s=3_500.0)
    found = estimate(a_survey(business=Business(profile=Profile(hours=hours))), Prices())
    assert len(found.blocks) == 28
    assert found.blocks[0].name == "Sun 00–06 UTC"
    assert found.blocks[0].ru_per_s == pytest.approx(3_500.0)
    assert found.blocks[-1].name == "Mon 12–18 UTC"
    assert "Most room: Sun 00–06 UTC" in answers(found)[5][1]
    assert "Least: Mon 12–18 UTC" in answers(found)[5][1]


def test_the_seven_questions_are_answered_in_their_order() -> None:
    """Each in one line with this account's own numbers."""
    told = answers(estimate(a_survey(), Prices()))
    assert [question[0] for question, _ in told] == ["1", "2", "3", "4", "5", "6", "7"]
    lines = [answer for _, answer in told]
    for line, number in zip(
        lines, ("2,000,000", "receipt", "P90", "80%", "429", "pressure", "serverless"), strict=True
    ):
        assert number in line
        assert "\n" not in line


def test_an_estimate_is_plain_data_as_well() -> None:
    """For --json: nothing is lost on the way, and nothing is infinite."""
    found = json.loads(json.dumps(estimate(a_survey(), Prices()).as_dict(), allow_nan=False))
    assert found["documents"] == 2_000_000
    assert found["money"]["as_of"] == "2025-07-25"
    assert found["retire"]["keep"]["tiers"]["cool"]["saved_per_month"] == pytest.approx(-2.76)
    assert found["forecast"]["p50_s"] < found["forecast"]["p90_s"]
    assert found["engine"]["recommended"] == "embedded"


def test_a_schedule_is_told_what_each_later_cycle_takes() -> None:
    """By the newest two months, from the first of September to the seventeenth of October."""
    found = estimate(a_survey(SCHEDULED), Prices())
    cycle = found.cycle
    assert cycle is not None
    until_s = int(NOW_S) - 90 * 86_400
    september_s = dt.datetime(2026, 9, 1, tzinfo=dt.UTC).timestamp()
    assert cycle.work.documents == round(2_000_000 * 86_400 / (until_s - september_s)) == 43_165
    assert cycle.work.copy_ru == 43_165 * 30
    assert cycle.work.slices == 49
    assert cycle.retired.way == "delete"
    part = 43_165 / 2_000_000
    assert cycle.retired.ru == pytest.approx([part * ru for ru in found.chosen.ru])
    assert cycle.money == pytest.approx(
        part * (found.money_once + sum(found.chosen.money) / 2), 0.1
    )
    assert 0 < (cycle.forecast.p50_s or 0) < 86_400
    assert "until the next one is due" not in facts(found)
    shown = found.as_dict()["cycle"]
    assert (shown["every_s"], shown["documents"]) == (86_400, 43_165)


def test_a_cycle_that_takes_too_long_is_a_risk() -> None:
    """More grows cold each day than the slack of a day can move."""
    months = (("2026-09", 200_000_000), ("2026-10", 100_000_000))
    found = estimate(a_survey(SCHEDULED, months=months), Prices())
    assert "until the next one is due" in facts(found)


def test_old_months_counted_as_one_begin_with_the_oldest_document() -> None:
    """Which may be years ago, and a cycle is as much less."""
    until_s = int(NOW_S) - 90 * 86_400
    oldest = replace(a_range(0, 1_000), earliest_s=until_s - 1_000 * 86_400)
    survey = a_survey(SCHEDULED, ranges=(oldest,), months=(("up to 2026-10", 1_000),))
    cycle = estimate(survey, Prices()).cycle
    assert cycle is not None
    assert cycle.work.documents == 1


def test_no_cycle_is_told_without_a_schedule_or_months() -> None:
    """There is none, or nothing to go by."""
    assert estimate(a_survey(), Prices()).as_dict()["cycle"] is None
    assert estimate(a_survey(SCHEDULED, months=()), Prices()).cycle is None


def test_nothing_cold_is_estimated_as_nothing() -> None:
    """No document, no slice, no money."""
    found = estimate(a_survey(ranges=(a_range(0, 0),), sample=(), ru_per_document=0.0), Prices())
    assert found.work.slices == 0
    assert found.money_once == 0.0
    assert found.chosen.savings[0].saved_per_month == 0.0
    assert found.durations == {}


def test_durations_sizes_and_months_are_said_as_people_do() -> None:
    """Minutes, hours, days; megabytes and gigabytes; months and years."""
    assert [span(s) for s in (20.0, 1_800.0, 3_600.0, 90_000.0, 864_000.0)] == [
        "1 min",
        "30 min",
        "1.0 h",
        "25.0 h",
        "10.0 days",
    ]
    assert [gigabytes(b) for b in (5e6, 5e9, 6e11)] == ["5.0 MB", "5.0 GB", "600.0 GB"]
    assert [break_even(m) for m in (None, 1.26, 30.0)] == ["never", "1.3 months", "2.5 years"]
