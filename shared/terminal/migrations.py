"""Commands on migrations: apply, start, pause, resume, stop, status and explain."""

from __future__ import annotations

import argparse
import datetime as dt
import time
import urllib.parse
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rich.table import Table

from shared.domain.spec import parse_spec
from shared.faces import CUT_HEADER
from shared.terminal.console import DONE, MISUSED, PROBLEM, Terminal
from shared.terminal.remote import Answered, Remote, Unreachable

WATCH_EVERY_S = 2.0
ENDED = frozenset({"completed", "halted", "stopped"})
HOURS_MAX = 90 * 24.0  # as far back as the app looks


def hours(text: str) -> float:
    """How far back, as written on the command line."""
    number = float(text)
    if not 0 <= number <= HOURS_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not how far back; write hours, from 0 to {HOURS_MAX:.0f}"
        )
    return number


def _remote(options: argparse.Namespace) -> Remote:
    return Remote(options.url, options.key, operator_key=options.operator_key)


def apply(options: argparse.Namespace, terminal: Terminal) -> int:
    try:
        text = Path(options.spec).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        terminal.fail(f"reading {options.spec}: {error}; give a spec file in YAML or JSON")
        return MISUSED
    name = parse_spec(text).name
    answer = _remote(options).call("PUT", f"migrations/{name}", text)
    terminal.show(answer, lambda: f"{name} is {answer['state']}; start it with: ebb start {name}")
    return DONE


def change(options: argparse.Namespace, terminal: Terminal) -> int:
    name = urllib.parse.quote(options.name, safe="")
    answer = _remote(options).call("POST", f"migrations/{name}/{options.command}")
    terminal.show(answer, lambda: f"{answer['name']} is {answer['state']} ({answer['reason']})")
    return DONE


def status(options: argparse.Namespace, terminal: Terminal) -> int:
    found = _fetch_status(options)
    while True:
        terminal.show(found, lambda found=found: _status_table(found))  # type: ignore[misc]
        several = found if isinstance(found, list) else [found]
        if not options.watch or all(each["state"] in ENDED for each in several):
            return PROBLEM if any(_is_problem(each) for each in several) else DONE
        found = _next_status(options, terminal)


def _next_status(options: argparse.Namespace, terminal: Terminal) -> Any:
    """An app that answered once will do so again: a restart does not end the watch."""
    while True:
        time.sleep(WATCH_EVERY_S)
        try:
            return _fetch_status(options)
        except (Answered, Unreachable) as error:
            if isinstance(error, Answered) and error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            terminal.err.print(f"{error}; asking again every {WATCH_EVERY_S:.0f} s")


def _fetch_status(options: argparse.Namespace) -> Any:
    if options.name is None:
        return _remote(options).call("GET", "migrations")
    return _remote(options).call("GET", f"migrations/{urllib.parse.quote(options.name, safe='')}")


def _is_problem(status: Mapping[str, Any]) -> bool:
    stalled = status["stalled_since_s"] is not None
    untold = bool(status.get("notifications_failed"))
    course = status.get("retirement")
    if course and course["state"] == "halted":
        return True
    return stalled or untold or status["state"] == "halted" or bool(status["quarantined"])


def _status_table(found: Any) -> Table | str:
    several = found if isinstance(found, list) else [found]
    if not several:
        return "no migration is registered; begin with: ebb apply SPEC"
    table = Table("migration", "state", "documents", "MB", "RU/s granted", "ETA", "why")
    for each in several:
        documents = each["documents"]
        expected = documents["expected"]
        share = f" of {expected:,} ({documents['proven'] / expected:.0%})" if expected else ""
        table.add_row(
            each["name"],
            each["state"],
            f"{documents['proven']:,}{share}",
            f"{each['bytes']['documents'] / 1e6:,.0f} → {each['bytes']['blobs'] / 1e6:,.0f}",
            f"{each['ru']['share_per_s']:,.0f}",
            _span(each["eta_s"]),
            _why(each),
        )
    return table


def _why(status: Mapping[str, Any]) -> str:
    stalled = status["stalled_since_s"] is not None
    pace = f"STALLED, though {status['pace']}" if stalled else str(status["pace"])
    if status.get("watermark_s"):
        pace = f"{pace}; proven up to {_minute(status['watermark_s'])}"
    if status.get("next_cycle_s"):
        pace = f"{pace}; next cycle {_minute(status['next_cycle_s'])}"
    course = status.get("retirement")
    if course:
        pace = f"{pace}; {course['direction']} is {course['state']}"
    untold = status.get("notifications_failed")
    return f"{pace}; NOT TOLD to {', '.join(untold)}" if untold else pace


def _span(seconds: float | None) -> str:
    return "—" if seconds is None else str(dt.timedelta(seconds=round(seconds)))


def _minute(at_s: float) -> str:
    return f"{dt.datetime.fromtimestamp(at_s, dt.UTC):%Y-%m-%d %H:%M} UTC"


def explain(options: argparse.Namespace, terminal: Terminal) -> int:
    name = urllib.parse.quote(options.name, safe="")
    query = urllib.parse.urlencode({"span_s": int(options.hours * 3600), "limit": 1000})
    status = _remote(options).call("GET", f"migrations/{name}")
    entries, headers = _remote(options).asked("GET", f"migrations/{name}/decisions?{query}")
    cut = headers.get(CUT_HEADER) == "true"
    value = {"name": options.name, "now": status["pace"], "decisions": entries, "cut": cut}
    terminal.show(value, lambda: _explained(options.name, value))
    return DONE


def _explained(name: str, found: Mapping[str, Any]) -> Table:
    entries = found["decisions"]
    table = _explain_table(name, found["now"], entries)
    if found["cut"]:
        back = f", back to {_minute(entries[-1]['at_s'])}" if entries else ""
        table.caption = (
            f"cut: the newest {len(entries):,} decisions{back}; older ones are not shown"
        )
    return table


def _explain_table(name: str, pace: str, entries: list[Mapping[str, Any]]) -> Table:
    columns = ("at (UTC)", "budget", "business", "own", "age", "risk", "batch", "why")
    table = Table(*columns, title=pace)
    for each in reversed(_changes(entries)):
        share = each["shares"].get(name, {})
        business, age, risk = each["business_ru_per_s"], each["reading_age_s"], each["risk"]
        table.add_row(
            dt.datetime.fromtimestamp(each["at_s"], dt.UTC).strftime("%H:%M:%S"),
            f"{each['budget_ru_per_s']:,.0f}",
            "—" if business is None else f"{business:,.0f}",
            f"{each['own_ru_per_s']:,.0f}",
            "—" if age is None else f"{age:.0f} s",
            "—" if risk is None else f"{risk:.1%}",
            str(share.get("batch_documents", "—")),
            each["sentence"],
        )
    return table


def _changes(entries: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Newest first; of decisions in a row that decided the same, only the earliest."""
    kept: list[Mapping[str, Any]] = []
    for index, each in enumerate(entries):
        before = entries[index + 1] if index + 1 < len(entries) else None
        same = before is not None and all(
            before[key] == each[key] for key in ("reason", "budget_ru_per_s")
        )
        if not same:
            kept.append(each)
    return kept
