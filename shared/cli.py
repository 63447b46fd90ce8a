"""The operator's terminal: `ebb …` speaks to a running Ebb over HTTP, and to its archive directly.

It parses, calls, and shows; exit codes: 0 done, 1 found a problem, 2 used wrongly, 3 unreachable.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from shared import wiring
from shared.application.verifying import Report
from shared.domain.spec import parse_spec
from shared.errors import EbbError, Invalid, NotFound, TransientError

DONE, PROBLEM, MISUSED, UNREACHABLE = 0, 1, 2, 3
TIMEOUT_S = 60.0
WATCH_EVERY_S = 2.0
EXPLAIN_HOURS = 3.0
ENDED = frozenset({"completed", "halted", "stopped"})


class Unreachable(Exception):
    """The app did not answer, or not as Ebb does."""


class Answered(Exception):
    """The app answered with a problem."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(str(body.get("detail", body)))
        self.status = status
        self.body = body


class Remote:
    """The HTTP face of a running Ebb."""

    def __init__(self, url: str, key: str) -> None:
        if url and not url.startswith(("http://", "https://")):
            raise Unreachable(f"calling {url}: write an address with https://")
        self._url = url.rstrip("/")
        self._key = key

    def call(self, method: str, path: str, body: str | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            f"{self._url}/api/{path}",
            method=method,
            data=None if body is None else body.encode(),
            headers={"x-functions-key": self._key, "content-type": "application/yaml"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise _answered(error, self._url) from error
        except (OSError, ValueError) as error:
            raise Unreachable(
                f"calling {self._url}: {error}; check --url (or EBB_URL) and that the app runs"
            ) from error


def _answered(error: urllib.error.HTTPError, url: str) -> Exception:
    if error.code == HTTPStatus.UNAUTHORIZED:
        return Unreachable(f"calling {url}: refused (401); give the function key by EBB_KEY")
    try:
        body = json.loads(error.read())
        return Answered(error.code, body if isinstance(body, dict) else {"detail": str(body)})
    except ValueError:
        return Unreachable(f"calling {url}: answered {error.code} without a reason; is it Ebb?")


class Terminal:
    """What commands print: people's text, or one JSON value."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    def show(self, value: Any, text: Callable[[], Any]) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
        else:
            self.out.print(text())

    def fail(self, message: str, body: Mapping[str, Any] | None = None) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps({"error": message, **(body or {})}, indent=2) + "\n")
        self.err.print(message, style="bold red", markup=False)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = build_parser().parse_args(argv)
    terminal = Terminal(as_json=options.json)
    try:
        return int(options.run(options, terminal))
    except Answered as error:
        terminal.fail(str(error), error.body)
        return MISUSED if error.status in {400, 404, 409, 413, 422} else UNREACHABLE
    except (Unreachable, TransientError) as error:
        terminal.fail(str(error))
        return UNREACHABLE
    except (Invalid, NotFound) as error:
        terminal.fail(str(error))
        return MISUSED
    except EbbError as error:
        terminal.fail(str(error))
        return PROBLEM
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ebb",
        description="Moves cold Cosmos DB records to Parquet in the slack the business leaves.",
        epilog="Exit codes: 0 done, 1 found a problem, 2 used wrongly, 3 not reachable.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add(commands, "apply", "register a migration from a spec file", _apply, "spec")
    for verb, text in (
        ("start", "let a migration run"),
        ("pause", "spend nothing until resumed"),
        ("resume", "go on after a pause or a halt"),
        ("stop", "end the run; what is proven stays"),
    ):
        _add(commands, verb, text, _change, "name")
    status = _add(commands, "status", "how migrations stand", _status)
    status.add_argument("name", nargs="?", help="one migration; all when left out")
    status.add_argument("--watch", action="store_true", help="follow until it ends")
    explain = _add(commands, "explain", "why it goes at this pace", _explain, "name")
    explain.add_argument("--hours", type=float, default=EXPLAIN_HOURS, help="how far back")
    _add(commands, "verify", "prove the archive again from its bytes", _verify, "name")
    return parser


def _add(
    commands: Any, name: str, text: str, run: Callable[..., int], argument: str | None = None
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    if argument is not None:
        parser.add_argument(argument)
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.add_argument("--url", default=os.environ.get("EBB_URL", "http://127.0.0.1:7071"))
    parser.add_argument("--key", default=os.environ.get("EBB_KEY", ""), help="function key")
    return parser


def _remote(options: argparse.Namespace) -> Remote:
    return Remote(options.url, options.key)


def _apply(options: argparse.Namespace, terminal: Terminal) -> int:
    try:
        text = Path(options.spec).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        terminal.fail(f"reading {options.spec}: {error}; give a spec file in YAML or JSON")
        return MISUSED
    name = parse_spec(text).name
    answer = _remote(options).call("PUT", f"migrations/{name}", text)
    terminal.show(answer, lambda: f"{name} is {answer['state']}; start it with: ebb start {name}")
    return DONE


def _change(options: argparse.Namespace, terminal: Terminal) -> int:
    name = urllib.parse.quote(options.name, safe="")
    answer = _remote(options).call("POST", f"migrations/{name}/{options.command}")
    terminal.show(answer, lambda: f"{answer['name']} is {answer['state']} ({answer['reason']})")
    return DONE


def _status(options: argparse.Namespace, terminal: Terminal) -> int:
    while True:
        found = _fetch_status(options)
        terminal.show(found, lambda found=found: _status_table(found))  # type: ignore[misc]
        several = found if isinstance(found, list) else [found]
        if not options.watch or all(each["state"] in ENDED for each in several):
            return PROBLEM if any(_is_problem(each) for each in several) else DONE
        time.sleep(WATCH_EVERY_S)


def _fetch_status(options: argparse.Namespace) -> Any:
    if options.name is None:
        return _remote(options).call("GET", "migrations")
    return _remote(options).call("GET", f"migrations/{urllib.parse.quote(options.name, safe='')}")


def _is_problem(status: Mapping[str, Any]) -> bool:
    stalled = status["stalled_since_s"] is not None
    return stalled or status["state"] == "halted" or bool(status["quarantined"])


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
            each["pace"] if each["stalled_since_s"] is None else f"STALLED, though {each['pace']}",
        )
    return table


def _span(seconds: float | None) -> str:
    return "—" if seconds is None else str(dt.timedelta(seconds=round(seconds)))


def _explain(options: argparse.Namespace, terminal: Terminal) -> int:
    name = urllib.parse.quote(options.name, safe="")
    query = urllib.parse.urlencode({"span_s": int(options.hours * 3600), "limit": 1000})
    status = _remote(options).call("GET", f"migrations/{name}")
    entries = _remote(options).call("GET", f"migrations/{name}/decisions?{query}")
    value = {"name": options.name, "now": status["pace"], "decisions": entries}
    terminal.show(value, lambda: _explain_table(options.name, status["pace"], entries))
    return DONE


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


def _verify(options: argparse.Namespace, terminal: Terminal) -> int:
    def told(report: Report) -> None:
        if not terminal.as_json:
            terminal.err.print(f"\r{report.receipts:,} receipts verified", end="")

    report = wiring.build(os.environ).verifying.run(options.name, told)
    if not terminal.as_json:
        terminal.err.print()
    terminal.show(report.as_dict(), lambda: _report_text(report))
    return DONE if report.sound else PROBLEM


def _report_text(report: Report) -> str:
    if report.sound:
        claim = "complete" if report.complete else "so far (not complete)"
        return (
            f"{report.name}: {report.documents:,} documents in {report.receipts} slices proven, "
            f"{claim}; fingerprint {report.fingerprint}"
        )
    return f"{report.name}: {len(report.faults)} fault(s)\n" + "\n".join(
        f"  - {fault}" for fault in report.as_dict()["faults"]
    )


if __name__ == "__main__":
    sys.exit(main())
