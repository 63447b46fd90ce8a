"""`make demo`: one rehearsal of the first scenario, a thousand times smaller, ending in a verdict.

Two million records become two thousand, 5,000 RU/s become 2,000, weeks become two minutes; the
proportions (300 KB a record, business at half of the capacity, ceiling at 80 %) stay.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sandbox.admin import SeriesRow
from sandbox.alerts import AlertRule
from sandbox.business import Business, BusinessOptions, Profile, Spike, start_business
from sandbox.cosmos.account import History
from sandbox.errors import SandboxError
from sandbox.factory.conduct import Conduct
from sandbox.rehearsal import SINGLE_KEYS, FunctionApp, function_app, keep_archive, status_of
from sandbox.seeding import SeedPlan, SeedReport, seed_container
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from shared import wiring
from shared.domain.governor import Reason
from shared.errors import EbbError
from shared.terminal.migrations import ENDED
from shared.terminal.remote import Answered, Unreachable

NAME = "demo"
DATABASE, CONTAINER, ARCHIVE = "appdb", "records", "archive"
REPORT_FILE = Path("demo-report.json")
PROGRESS_EVERY_S = 5.0
ENDS_WITHIN_S = 900.0
FACTORY_TIME_SCALE = 0.2  # Azure's waits, as much shorter as the rehearsal is
THROTTLED_SHARE_MAX = 0.001
WARM_UP_S = 5.0  # the business's first requests open connections; they tell nothing
ALONE_S = 20.0
SPIKE_AFTER_S = 35.0
SPIKE_S = 30.0
DOCUMENTS_WITH_FACTORY = 1_000  # each is read twice, and runs cannot be paced inside
SPIKE_AFTER_WITH_FACTORY_S = 75.0  # while its runs are under way
# An operator's alert on what the business alone does: Ebb and the factory only query.
ALERT_WINDOW_S = 15
ALERT_AT = 1.12  # of the business's usual use; so far chance alone does not go in 15 s
BUSINESS_READS = 0.94  # of what the business spends: the rest are small writes
HISTORY_MINUTES = 1_440  # a day, as Monitor would give for an account that lives

SPEC = f"""\
name: {NAME}
engine: {{engine}}
source:
  account: cosmos-sandbox
  database: {DATABASE}
  container: {CONTAINER}
  partition_key: /customerId
cold:
  older_than: 90d
sink:
  container: {ARCHIVE}
capacity:
  ru_per_s_per_partition: {{ru_per_s}}
ceiling: {{ceiling}}
slice:
  budget_s: 8
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A rehearsal under way: its parts, and what is known of it so far."""

    sandbox: Sandbox
    app: FunctionApp
    business: Business
    scale: Scale
    seeded: SeedReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The scenario in numbers."""

    documents: int = 2_000
    usual_kb: int = 300
    ru_per_s: int = 2_000
    business: float = 0.5
    recent_kb: int = 100
    spike: float = 0.6
    ceiling: float = 0.8
    seed: int = 1
    engine: str = "embedded"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rehearsal; 0 only if everything is proven and the business was left alone."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    usual = DOCUMENTS_WITH_FACTORY if options.engine == "adf" else Scale().documents
    documents = options.documents or usual
    scale = Scale(documents=documents, seed=options.seed, engine=options.engine)
    try:
        report = rehearse(scale, console, keep=os.environ.get("DEMO_KEEP", ""))
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return 130
    except (SandboxError, Answered, Unreachable, EbbError) as error:
        console.print(
            f"the rehearsal could not be finished: {error}", style="bold red", markup=False
        )
        return 3
    REPORT_FILE.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(_verdict_table(report))
    console.print(f"the whole report: {REPORT_FILE.resolve()}")
    return 0 if report["passed"] else 1


def rehearse(scale: Scale, console: Console, *, keep: str) -> dict[str, Any]:
    """Bring everything up, migrate while the business works, and take everything down."""
    options = SandboxOptions(
        ru_per_s=scale.ru_per_s,
        lag_s=5.0,
        seed=scale.seed,
        factory=Conduct(time_scale=FACTORY_TIME_SCALE) if scale.engine == "adf" else None,
    )
    with ExitStack() as stack:
        parts = "Azurite, the Cosmos stand-in, its RU meter and Azure Monitor"
        console.print(f"starting {parts}{', and a Data Factory' * bool(options.factory)} …")
        sandbox = stack.enter_context(start_sandbox(options))
        plan = SeedPlan(
            documents=scale.documents,
            usual_kb=scale.usual_kb,
            recent_kb=scale.recent_kb,
            burst_documents=scale.documents // 20,
            large_share=0.004,
            seed=scale.seed,
        )
        console.print(f"storing {plan.documents:,} documents of about {plan.usual_kb} KB …")
        seeded = seed_container(sandbox.backing, database=DATABASE, container=CONTAINER, plan=plan)
        console.print(f"  {seeded.bytes / 1e6:,.0f} MB, {seeded.cold_documents:,} of them cold")
        # An account has a past: what Azure Monitor would tell of it, up to this moment.
        past = History(minutes=HISTORY_MINUTES, ru_per_s=scale.ru_per_s * scale.business)
        sandbox.admin.tell_history(past)
        business = stack.enter_context(_business(sandbox, seeded, scale))
        app = stack.enter_context(function_app(sandbox))
        if options.factory is not None:
            told = app.at_the_terminal("adf", "deploy")
            console.print(f"  {len(told)} parts of Ebb's pipeline deployed from infra/adf")
        sandbox.admin.watch(_alert_rule(app, scale))
        console.print(f"the function app answers at {app.url}; the business works alone …")
        time.sleep(WARM_UP_S)
        business.mark("alone")
        time.sleep(ALONE_S)
        business.mark("with_ebb")
        started_s = time.time()
        status = _migrate(app, scale, console)
        ended_s = time.time()
        business.mark("after")
        if keep:
            keep_archive(sandbox, ARCHIVE, Path(keep))
        run = Run(sandbox=sandbox, app=app, business=business, scale=scale, seeded=seeded)
        return _report(run, status, (started_s, ended_s))


def _business(
    sandbox: Sandbox, seeded: SeedReport, scale: Scale
) -> AbstractContextManager[Business]:
    after_s = SPIKE_AFTER_WITH_FACTORY_S if scale.engine == "adf" else SPIKE_AFTER_S
    spike_at_s = WARM_UP_S + ALONE_S + after_s
    spike = Spike(start_s=spike_at_s, seconds=SPIKE_S, fraction=scale.spike / scale.business)
    return start_business(
        sandbox,
        BusinessOptions(
            database=DATABASE,
            container=CONTAINER,
            target_ru_per_s=scale.ru_per_s * scale.business,
            items=seeded.recent_items,
            profile=Profile(spikes=(spike,)),
            seed=scale.seed,
        ),
    )


def _alert_rule(app: FunctionApp, scale: Scale) -> AlertRule:
    usual_ru_per_s = scale.ru_per_s * scale.business
    return AlertRule(
        name="business-busy",
        url=f"{app.url}/api/alerts?code={SINGLE_KEYS['alerts']}",
        threshold=ALERT_AT * usual_ru_per_s * ALERT_WINDOW_S * BUSINESS_READS,
        dimensions={"OperationType": "Read"},
        window_s=ALERT_WINDOW_S,
        every_s=1.0,
    )


def _migrate(app: FunctionApp, scale: Scale, console: Console) -> dict[str, Any]:
    spec = SPEC.format(ru_per_s=scale.ru_per_s, ceiling=scale.ceiling, engine=scale.engine)
    app.remote.call("PUT", f"migrations/{NAME}", spec)
    app.remote.call("POST", f"migrations/{NAME}/start")
    began_s = time.monotonic()
    while time.monotonic() < began_s + ENDS_WITHIN_S:
        status = status_of(app, NAME)
        console.print(_progress_line(status), markup=False)
        if status["state"] in ENDED:
            return status
        app.check_alive()
        time.sleep(PROGRESS_EVERY_S)
    raise SandboxError(f"the migration did not end within {ENDS_WITHIN_S:.0f} s: {status['pace']}")


def _progress_line(status: Mapping[str, Any]) -> str:
    documents, ru = status["documents"], status["ru"]
    eta = "  —  " if status["eta_s"] is None else f"{status['eta_s']:4.0f} s"
    return (
        f"{documents['proven']:>6,} of {documents['expected'] or 0:,} proven  "
        f"{status['bytes']['documents'] / 1e6:6,.0f} MB  "
        f"{ru['share_per_s']:5,.0f} RU/s granted  ETA {eta}  {status['pace']}"
    )


def _report(run: Run, status: Mapping[str, Any], span: tuple[float, float]) -> dict[str, Any]:
    scale, seeded = run.scale, run.seeded
    decisions = run.app.remote.call("GET", f"migrations/{NAME}/decisions?span_s=7200&limit=1000")
    series = run.sandbox.admin.series(since_s=span[0])
    verified = wiring.build({**os.environ, **run.app.settings()}).verifying.run(NAME)
    phases = run.business.stop()["phases"]
    beside, alone = phases["with_ebb"], phases["alone"]
    throttled_share = beside["throttled"] / max(1, beside["requests"])
    documents = status["documents"]
    all_proven = (
        verified.sound
        and verified.complete
        and status["state"] == "completed"
        and verified.documents == documents["proven"] == seeded.cold_documents
    )
    return {
        "passed": all_proven and throttled_share < THROTTLED_SHARE_MAX,
        "documents": seeded.cold_documents,
        "proven": documents["proven"],
        "mismatches": documents["mismatches"],
        "superseded": documents["superseded"],
        "business": {
            "requests": beside["requests"],
            "throttled": beside["throttled"],
            "p99_ms": beside["p99_ms"],
            "p99_ms_alone": alone["p99_ms"],
        },
        "throttled_share": throttled_share,
        **_utilization(series, scale, span),
        "ceiling": scale.ceiling,
        "ru_spent": round(sum(row.ru for row in series if row.origin in {"ebb", "adf"}), 1),
        "ru_per_document": status["ru"]["per_document"],
        "forecast_s": round(status["forecast_s"] or 0.0, 1),
        **_times(status, decisions),
        "batch_sizes": _batch_sizes(decisions),
        "alerts": [_alert(post) for post in run.sandbox.admin.alerts()],
        "reasons": dict(Counter(each["reason"] for each in decisions)),
        "engine": status["engine"],
        "factory": _factory(run, status),
        "fingerprint": status["fingerprint"],
        "state": status["state"],
        "faults": verified.faults,
        "blob_mb": round(status["bytes"]["blobs"] / 1e6, 1),
        "document_mb": round(status["bytes"]["documents"] / 1e6, 1),
    }


def _alert(post: Mapping[str, Any]) -> dict[str, Any]:
    """Which condition was posted, and the last status it was answered with."""
    condition = post["body"]["data"]["essentials"]["monitorCondition"]
    return {"condition": condition, "answer": post["answers"][-1]}


def _factory(run: Run, status: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the factory did and would cost, by its own bill and as Ebb tells it."""
    if run.scale.engine != "adf":
        return None
    bill = run.sandbox.factory.bill()
    runs = Counter(each["status"] for each in run.sandbox.factory.runs())
    return {
        "runs": dict(runs),
        "activity_runs": bill.activity_runs,
        "unit_hours": round(bill.unit_hours, 4),
        "usd": round(bill.usd, 4),
        "as_ebb_tells": status["factory"],
    }


def _utilization(
    series: Sequence[SeriesRow], scale: Scale, span: tuple[float, float]
) -> dict[str, float]:
    """Use against the capacity while Ebb worked: the worst second and the worst minute."""
    seconds: dict[int, float] = defaultdict(float)
    for row in series:
        if span[0] <= row.start_s < int(span[1]):
            seconds[row.start_s] += row.ru
    minutes: dict[int, list[float]] = defaultdict(list)
    for at_s, ru in seconds.items():
        minutes[at_s // 60].append(ru)
    means = [sum(each) / len(each) for each in minutes.values()]
    return {
        "peak_utilization": round(max(seconds.values(), default=0.0) / scale.ru_per_s, 3),
        "peak_minute_utilization": round(max(means, default=0.0) / scale.ru_per_s, 3),
    }


def _times(
    status: Mapping[str, Any], decisions: Sequence[Mapping[str, Any]]
) -> dict[str, float | None]:
    """How long it took, and how long without what no forecast can know: an alert that held all."""
    if not status["completed_at_s"]:
        return {"actual_s": None, "held_by_alerts_s": None, "actual_unheld_s": None}
    actual_s = status["completed_at_s"] - status["started_at_s"]
    oldest_first = sorted(decisions, key=lambda each: each["at_s"])
    held_s = sum(
        later["at_s"] - each["at_s"]
        for each, later in pairwise(oldest_first)
        if each["reason"] == Reason.ALERT
    )
    return {
        "actual_s": round(actual_s, 1),
        "held_by_alerts_s": round(held_s, 1),
        "actual_unheld_s": round(actual_s - held_s, 1),
    }


def _batch_sizes(decisions: Sequence[Mapping[str, Any]]) -> list[int]:
    """Batch sizes in the order they came into force, without repeats in a row."""
    sizes = [each["shares"][NAME]["batch_documents"] for each in reversed(decisions)]
    return [size for index, size in enumerate(sizes) if index == 0 or size != sizes[index - 1]]


def _verdict_table(report: Mapping[str, Any]) -> Table:
    business = report["business"]
    title = "PROVEN" if report["passed"] else "NOT PROVEN"
    table = Table("what", "measured", title=title, title_justify="left")
    rows = {
        "documents proven": f"{report['proven']:,} of {report['documents']:,}",
        "mismatches, superseded": f"{report['mismatches']}, {report['superseded']}",
        "business requests throttled": f"{business['throttled']} of {business['requests']:,}"
        f" ({report['throttled_share']:.3%}; limit {THROTTLED_SHARE_MAX:.1%})",
        "business p99 latency": f"{business['p99_ms']} ms beside Ebb, "
        f"{business['p99_ms_alone']} ms alone (all share this machine)",
        "peak use of capacity": f"{report['peak_minute_utilization']:.0%} in a minute, "
        f"{report['peak_utilization']:.0%} in a second; ceiling {report['ceiling']:.0%}",
        "request units": f"{report['ru_spent']:,.0f}; {report['ru_per_document']} a document",
        "forecast and actual": _times_told(report),
        "batch sizes": ", ".join(map(str, report["batch_sizes"])),
        "reasons": ", ".join(f"{k} {v}" for k, v in report["reasons"].items()),
        "alerts": ", ".join(f"{a['condition']} ({a['answer']})" for a in report["alerts"])
        or "none",
        **_factory_row(report["factory"]),
        "size": f"{report['document_mb']} MB of documents, {report['blob_mb']} MB of Parquet",
        "fingerprint": str(report["fingerprint"]),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    for fault in report["faults"]:
        table.add_row("fault", fault)
    return table


def _times_told(report: Mapping[str, Any]) -> str:
    told = f"{report['forecast_s']} s and {report['actual_s']} s"
    if not report["held_by_alerts_s"]:
        return told
    return (
        f"{told}, {report['actual_unheld_s']} s of it without the "
        f"{report['held_by_alerts_s']} s that an alert held everything"
    )


def _factory_row(factory: Mapping[str, Any] | None) -> dict[str, str]:
    if factory is None:
        return {}
    runs = ", ".join(f"{count} {status.lower()}" for status, count in factory["runs"].items())
    bill = f"{factory['activity_runs']} activity runs, {factory['unit_hours']} DIU hours"
    return {"factory": f"{runs}; {bill}: {factory['usd']} USD"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description=__doc__)
    parser.add_argument("--engine", choices=["embedded", "adf"], default="embedded")
    parser.add_argument(
        "--documents",
        type=int,
        help=f"how many to store; {Scale().documents:,}, or {DOCUMENTS_WITH_FACTORY:,} for adf",
    )
    parser.add_argument("--seed", type=int, default=Scale().seed)
    return parser


if __name__ == "__main__":
    sys.exit(main())
