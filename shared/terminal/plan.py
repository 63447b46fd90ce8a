"""The command `plan`: a source is surveyed and its migration forecast, as text, JSON or a page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from html import escape
from pathlib import Path

from shared.application.answers import answers, at_utc, break_even, gigabytes, span
from shared.application.estimating import BLOCKS_TOLD, Cycle, Estimate, estimate
from shared.domain.forecast import Forecast
from shared.domain.prices import Prices, parse_prices
from shared.domain.savings import Outcome
from shared.errors import Refused
from shared.terminal.console import DONE, Terminal
from shared.terminal.page import STYLE

Section = tuple[str, list[tuple[str, str]]]

MONTHS_TOLD = 12
BAR_REM = 20
SHORT = 28  # a longer name has a line of its own
ALLOWANCE_MIN = 10.0  # a count and one document

_BARS = """
.bar { display: inline-block; height: .7em; background: #2a6fb0; margin-right: .5em; }
"""


def request_units(text: str) -> float:
    """An allowance, as written on the command line."""
    number = float(text)
    if not ALLOWANCE_MIN <= number < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no allowance; write request units, at least {ALLOWANCE_MIN:.0f}"
        )
    return number


def plan(options: argparse.Namespace, terminal: Terminal) -> int:
    prices = Prices() if options.prices is None else parse_prices(_read(options.prices))
    survey = terminal.app().surveying.run(
        _read(options.spec), allowance_ru=options.allowance, told=terminal.progress
    )
    terminal.progress("rehearsing the past …")
    found = estimate(survey, prices)
    terminal.progress("")
    if options.page is not None:
        _write(options.page, plan_page(found))
    terminal.show(found.as_dict() | {"answers": dict(answers(found))}, lambda: plan_text(found))
    return DONE


def _read(name: str) -> str:
    try:
        return Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"reading {name}: {error}; give a file of text") from error


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, "utf-8")
    except OSError as error:
        raise Refused(f"writing {name}: {error}; give another file") from error


def plan_text(found: Estimate) -> str:
    lines = [_title(found)]
    for title, rows in sections(found):
        lines += ["", title, *(_line(name, value) for name, value in rows)]
    return "\n".join(lines)


def _line(name: str, value: str) -> str:
    return f"  {name:<{SHORT}}  {value}" if len(name) <= SHORT else f"  {name}\n    {value}"


def _title(found: Estimate) -> str:
    survey = found.survey
    return (
        f"{survey.spec.name}: what lies in {survey.spec.source.name} and was last written before "
        f"{at_utc(survey.until_s)}"
    )


def sections(found: Estimate) -> Iterator[Section]:
    """The whole report: titles, and rows of a name and a value."""
    yield "What is there", list(_stock(found))
    yield "What it takes", list(_effort(found))
    if found.cycle is not None:
        yield "Each later cycle", list(_later(found.cycle, found.prices.currency))
    yield "What it saves a month", list(_afterwards(found))
    if found.blocks:
        best, worst = found.blocks[:BLOCKS_TOLD], found.blocks[: -BLOCKS_TOLD - 1 : -1]
        yield "When there is room", [(b.name, f"{b.ru_per_s:,.0f} RU/s") for b in (*best, *worst)]
    yield (
        "Which engine",
        [
            (found.engine.name, found.engine.reasons[0]),
            *(("", r) for r in found.engine.reasons[1:]),
        ],
    )
    yield "What could go wrong", [(each.fact, each.advice) for each in found.risks]
    yield "The seven questions", list(answers(found))
    yield "This survey", list(_how_it_was_seen(found))


def _stock(found: Estimate) -> Iterator[tuple[str, str]]:
    survey, work = found.survey, found.work
    largest = max((each.size_bytes for each in survey.sample), default=0)
    yield "documents", f"{work.documents:,}"
    size = f"{survey.bytes_per_document:,.0f} bytes on average, {largest:,} the largest"
    yield "size", f"{gigabytes(work.source_bytes)}: {size} of {len(survey.sample)} weighed"
    yield "one document costs", f"{survey.ru_per_document:,.2f} RU to read, as measured"
    if older := survey.months[:-MONTHS_TOLD]:
        yield f"{older[0][0]} to {older[-1][0]}", f"{sum(count for _, count in older):,}"
    for month, count in survey.months[-MONTHS_TOLD:]:
        yield month, f"{count:,}"
    if not survey.months:
        yield "by month", "not counted"
    for each in survey.ranges:
        share = "" if each.business_share is None else f", {each.business_share:.0%} of the use"
        counted = f"{each.documents:,} documents" if each.counted else "not counted"
        yield f"range {each.range.id}", f"{counted}{share}"
    for kind, ids in found.odd.items():
        yield "unusual", f"{kind}: {len(ids)} of {len(survey.sample)}, such as {ids[0]!a}"


def _effort(found: Estimate) -> Iterator[tuple[str, str]]:
    work, currency = found.work, found.prices.currency
    told = found.forecast
    yield "duration", _duration(told)
    yield "forecast from", told.basis.value
    yield "copy", f"{work.copy_ru:,.0f} RU"
    yield "validation", f"{work.reread_ru:,.0f} RU"
    yield "counting", f"{work.control_ru:,.0f} RU, about {work.slices:,} slices"
    for name, money in found.money.items():
        yield f"{name}, money", _money(money, money, currency)
    yield "money once", _money(found.money_once, found.money_once, currency)
    yield "the app", f"{_money(*found.app_per_day, currency)} a day while it copies, not in that"
    yield "prices as of", found.prices.as_of.isoformat()


def _later(cycle: Cycle, currency: str) -> Iterator[tuple[str, str]]:
    work = cycle.work
    yield "due", f"every {span(cycle.every_s)}"
    yield "documents", f"about {work.documents:,}, as in the newest months"
    yield "request units", f"{work.ru:,.0f} RU in {work.slices:,} slices or more"
    if cycle.retired.ru[0]:
        low, high = cycle.retired.ru
        yield f"retire: {cycle.retired.way}", f"{low:,.0f} to {high:,.0f} RU by size"
    yield "money", _money(cycle.money, cycle.money, currency)
    yield "duration", _duration(cycle.forecast)


def _duration(told: Forecast) -> str:
    if told.p50_s is None:
        return f"no forecast: {told.why_not}"
    late = "over three years" if told.p90_s is None else span(told.p90_s)
    return f"{span(told.p50_s)} (P50) to {late} (P90)"


def _money(low: float, high: float, currency: str) -> str:
    text = f"{low:,.2f}" if round(low, 2) == round(high, 2) else f"{low:,.2f} to {high:,.2f}"
    return f"{text} {currency}"


def _afterwards(found: Estimate) -> Iterator[tuple[str, str]]:
    currency = found.prices.currency
    for each in found.outcomes:
        mark = " (this spec)" if each is found.chosen else ""
        yield f"retire: {each.way}{mark}", _retiring(found, each)
        for saving in each.savings:
            least = f"; stays at least {saving.days_min} days" if saving.days_min else ""
            saved = f"{saving.saved_per_month:,.2f} {currency} a month"
            paid = f"paid back: {break_even(saving.break_even_months)}"
            reads = f"10,000 look-ups {saving.look_ups_10k:,.2f} {currency}"
            yield f"  in {saving.tier}", f"{saved}, {paid}; {reads}{least}"
    yield "", "what is freed of the source's own index is not counted; the look-up index is"


def _retiring(found: Estimate, each: Outcome) -> str:
    if not each.ru[0]:
        return "nothing is removed: the archive costs, and nothing is saved"
    low, high = each.ru
    told = found.durations[each.way]
    took = "" if told.p50_s is None else f", {span(told.p50_s)} more"
    left = f"; {gigabytes(each.stays_bytes)} stay in the source" if each.stays_bytes else ""
    money = _money(*each.money, found.prices.currency)
    return f"{low:,.0f} to {high:,.0f} RU by size, until measured; {money}{took}{left}"


def _how_it_was_seen(found: Estimate) -> Iterator[tuple[str, str]]:
    survey = found.survey
    yield "request units", f"{survey.spent_ru:,.0f}"
    yield "pace", survey.paced
    if survey.cut_short:
        yield "cut short", survey.cut_short


def plan_page(found: Estimate) -> str:
    """HTML without any outside request."""
    parts = "\n".join(
        f"<h2>{escape(title)}</h2>\n{_table(rows)}" for title, rows in sections(found)
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Plan of {escape(found.survey.spec.name)}</title>
<style>{STYLE}{_BARS}</style>
<h1>{escape(_title(found))}</h1>
<p class="verdict {"unsound" if found.forecast.p50_s is None else "sound"}">
{escape(answers(found)[2][1])}</p>
{parts}
{_week(found)}
</html>
"""


def _table(rows: list[tuple[str, str]]) -> str:
    return _rows((escape(name), escape(value)) for name, value in rows)


def _week(found: Estimate) -> str:
    """A bar for each quarter of a day, the best first."""
    if not found.blocks:
        return ""
    most = max(1.0, *(each.ru_per_s for each in found.blocks))
    rows = ((escape(each.name), _bar(each.ru_per_s, most)) for each in found.blocks)
    return f"<h2>The whole week</h2>\n{_rows(rows)}"


def _bar(ru_per_s: float, most: float) -> str:
    width = f"{ru_per_s / most * BAR_REM:.1f}rem"
    return f'<span class="bar" style="width: {width}"></span>{ru_per_s:,.0f} RU/s'


def _rows(rows: Iterator[tuple[str, str]]) -> str:
    lines = "\n".join(
        f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in rows
    )
    return f"<table>\n{lines}\n</table>"
