"""The command `trial`: runs the fidelity page against accounts of the user's own, and reports."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import secrets
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from azure.identity import DefaultAzureCredential

from shared.errors import Fault, Invalid, Refused
from shared.settings import resource_id
from shared.terminal.console import DONE, PROBLEM, Terminal
from shared.terminal.trial_page import trial_page
from shared.trial.clients import Place
from shared.trial.findings import Row, Verdict
from shared.trial.table import CHECKED
from shared.trial.trial import Outcome, Trial

INTERRUPTED = 130
MINUTES_MAX = 60.0


def minutes(text: str) -> float:
    """How long to wait for what appears late, as written on the command line."""
    number = float(text)
    if not 0 < number <= MINUTES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r}: write minutes, at most {MINUTES_MAX:.0f}")
    return number


def rows(text: str) -> frozenset[str]:
    """Ids of rows, as written on the command line."""
    found = frozenset(each.strip() for each in text.split(",") if each.strip())
    if unknown := sorted(found - CHECKED):
        raise argparse.ArgumentTypeError(f"no check is called {', '.join(unknown)}")
    return found


def trial(options: argparse.Namespace, terminal: Terminal) -> int:
    """Exit code 0: all proven or skipped; 1: something differs or is left behind; 2: refused."""
    found = Trial(_place(options), DefaultAzureCredential(), name=secrets.token_hex(4))
    if options.clean:
        return _clean(found, terminal)
    if not options.beside_others:
        found.refuse_others()
    cost = found.cost(minutes=options.minutes)
    terminal.say(cost.sentence())
    if not options.yes and not _agreed():
        raise Refused("beginning a trial: nobody agreed; nothing was made")
    began = dt.datetime.now(dt.UTC)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcome = found.run(minutes=options.minutes, told=terminal.progress, only=options.only)
    terminal.progress("")
    report = _report(options, outcome, began=began, bound_usd=cost.usd)
    if options.report is not None:
        _write(Path(options.report), report)
    terminal.show(report, lambda: _text(outcome))
    if outcome.ended_early:
        return INTERRUPTED
    return DONE if outcome.is_clean else PROBLEM


def _clean(found: Trial, terminal: Terminal) -> int:
    removed, left = found.clean(terminal.progress)
    terminal.progress("")
    lines = [*(f"found {name}" for name in removed), *(f"LEFT {each}" for each in left)]
    value = {"found": removed, "left": left}
    terminal.show(value, lambda: "\n".join(lines) or "earlier trials left nothing")
    return PROBLEM if left else DONE


def _place(options: argparse.Namespace) -> Place:
    try:
        cosmos_id = resource_id(options.cosmos)
    except ValueError as error:
        fault = Fault(path="--cosmos", seen=f"saw {options.cosmos[:80]!r}", advice=str(error))
        raise Invalid("the command", (fault,)) from error
    storage = options.storage or options.storage_connection
    if not storage:
        fault = Fault(path="--storage", seen="it is missing", advice="name a storage account")
        raise Invalid("the command", (fault,))
    return Place(
        cosmos_id=cosmos_id,
        storage=storage,
        management_endpoint=options.management_endpoint.rstrip("/"),
        ca_file=options.ca_file or None,
        storage_suffix=options.storage_suffix,
        log_workspace_id=options.logs or "",
        logs_endpoint=options.logs_endpoint,
    )


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write("Begin? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _report(
    options: argparse.Namespace, outcome: Outcome, *, began: dt.datetime, bound_usd: float
) -> dict[str, Any]:
    return {
        "cosmos": options.cosmos,
        "storage": options.storage or "a connection string",
        "began": began.isoformat(timespec="seconds"),
        "ended": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "ended_early": outcome.ended_early,
        "cost_max_usd": round(bound_usd, 2),
        "spent_ru": round(outcome.spent_ru, 1),
        "storage_calls": outcome.storage_calls,
        "left": list(outcome.left),
        "counts": _counts(outcome),
        "rows": [_row(row) for row in outcome.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    finding = row.finding
    return {
        "id": row.id,
        "checked": row.title,
        "verdict": finding.verdict.value,
        "expected": finding.expected,
        "seen": finding.seen,
        "took_s": round(row.took_s, 1),
    }


def _counts(outcome: Outcome) -> dict[str, int]:
    counted = Counter(row.finding.verdict for row in outcome.rows)
    return {verdict.value: counted[verdict] for verdict in Verdict}


def _text(outcome: Outcome) -> str:
    lines = []
    for row in outcome.rows:
        if row.title:
            lines.append(f"{row.finding.verdict.value:<8}  {row.id}: {row.finding.seen}")
            if row.finding.verdict is Verdict.DIFFERS:
                lines.append(f"          expected: {row.finding.expected}")
    counts = ", ".join(f"{count} {name}" for name, count in _counts(outcome).items())
    lines += ["", f"{counts}; {outcome.spent_ru:,.0f} RU, {outcome.storage_calls} storage calls"]
    lines += [f"LEFT BEHIND, remove it by hand: {each}" for each in outcome.left]
    return "\n".join(lines)


def _write(folder: Path, report: dict[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "trial-report.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        (folder / "trial-report.html").write_text(trial_page(report), "utf-8")
    except OSError as error:
        raise Refused(f"writing the report into {folder}: {error}; give another folder") from error
