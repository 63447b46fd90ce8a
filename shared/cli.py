"""The operator's terminal: `ebb …` speaks to a running Ebb over HTTP, and to its archive directly.

It parses, calls, and maps failures; exit codes: 0 done, 1 found a problem, 2 used wrongly,
3 unreachable.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

from shared import wiring
from shared.application.purse import ALLOWANCE_RU
from shared.errors import EbbError, Invalid, NotFound, Refused, TransientError
from shared.terminal import archives, doctor, factory, migrations, plan, reading, retirement, trial
from shared.terminal.console import MISUSED, PROBLEM, UNREACHABLE, Terminal
from shared.terminal.remote import Answered, Unreachable
from shared.trial.table import CHECKED

EXPLAIN_HOURS = 3.0


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = build_parser().parse_args(argv)
    terminal = Terminal(as_json=options.json, app=lambda: wiring.build(os.environ))
    try:
        return int(options.run(options, terminal))
    except Answered as error:
        terminal.fail(str(error), error.body)
        return MISUSED if error.status in {400, 404, 409, 413, 422} else UNREACHABLE
    except (Unreachable, TransientError) as error:
        terminal.fail(str(error))
        return UNREACHABLE
    except (Invalid, NotFound, Refused) as error:
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
    _add(commands, "apply", "register a migration from a spec file", migrations.apply, "spec")
    for verb, text in (
        ("start", "let a migration run"),
        ("pause", "spend nothing until resumed"),
        ("resume", "go on after a pause or a halt"),
        ("stop", "end the run and the schedule; what is proven stays"),
    ):
        _add(commands, verb, text, migrations.change, "name")
    status = _add(commands, "status", "how migrations stand", migrations.status)
    status.add_argument("name", nargs="?", help="one migration; all when left out")
    status.add_argument("--watch", action="store_true", help="follow until it ends")
    explain = _add(commands, "explain", "why it goes at this pace", migrations.explain, "name")
    explain.add_argument(
        "--hours", type=migrations.hours, default=EXPLAIN_HOURS, help="how far back"
    )
    _add_plan(commands)
    _add(commands, "doctor", "examine the deployment from inside", doctor.examine)
    _add_verify(commands)
    _add_prove(commands)
    _add_retire(commands)
    _add_read(commands)
    _add_restore(commands)
    _add_reindex(commands)
    _add_adf(commands)
    _add_trial(commands)
    return parser


def _add_plan(commands: Any) -> None:
    text = "survey a source and forecast its migration, before anything is registered"
    parser = _add(commands, "plan", text, plan.plan, "spec")
    parser.add_argument(
        "--allowance",
        type=plan.request_units,
        default=ALLOWANCE_RU,
        metavar="RU",
        help="request units the survey may spend",
    )
    parser.add_argument("--prices", metavar="FILE", help="a price list to use, in JSON")
    parser.add_argument("--page", metavar="FILE", help="write the report as a page, too")


def _add_verify(commands: Any) -> None:
    text = "prove the archive again from its bytes"
    verify = _add(commands, "verify", text, archives.verify, "name")
    verify.add_argument(
        "--sample",
        type=archives.share,
        default=1.0,
        metavar="SHARE",
        help="read the blobs of this share of the slices, such as 5%% or 0.05; receipts and "
        "coverage are checked whole",
    )
    verify.add_argument("--seed", type=int, default=0, help="which slices a sample takes")
    verify.add_argument(
        "--source",
        action="store_true",
        help="compare with the source as well, under the budget; needs the app running",
    )
    verify.add_argument(
        "--resume",
        metavar="FILE",
        help="note in FILE what was found sound, and go on from what it says",
    )
    verify.add_argument("--page", metavar="FILE", help="write the report as a page, too")


def _add_retire(commands: Any) -> None:
    text = "remove from the source what is proven, or put it back; without a verb a dry run"
    retire = _add(commands, "retire", text, retirement.retire, "name")
    verbs = retire.add_mutually_exclusive_group()
    for verb, told in (
        ("execute", "begin to remove"),
        ("undo", "restore from the archive what was removed"),
        ("pause", "remove and restore nothing until resumed"),
        ("resume", "go on after a pause or a halt"),
    ):
        verbs.add_argument(f"--{verb}", dest="action", action="store_const", const=verb, help=told)
    retire.add_argument(
        "--accept-unprotected",
        metavar="WHY",
        help="remove although the archive has neither soft delete nor versioning; WHY is kept",
    )
    retire.add_argument(
        "--accept-change-feed",
        metavar="WHY",
        help="remove although the spec declares consumers of the change feed; WHY is kept",
    )
    retire.add_argument(
        "--accept-write-regions",
        metavar="WHY",
        help="remove although the account takes writes in several regions; WHY is kept",
    )
    retire.add_argument(
        "--accept-time-to-live",
        metavar="WHY",
        help="remove although the container has a time to live; WHY is kept",
    )
    retire.add_argument(
        "--accept-index",
        metavar="WHY",
        help="go on although the look-up index is not whole; WHY is kept",
    )


def _add_read(commands: Any) -> None:
    text = "show one archived document, its digest checked"
    read = _add(commands, "read", text, reading.read, "name")
    read.add_argument("id", help="the document's id")
    _add_key(read, required=True)


def _add_restore(commands: Any) -> None:
    text = "write documents back to the source; without --execute a dry run"
    restore = _add(commands, "restore", text, reading.restore, "name")
    restore.add_argument("id", nargs="?", help="one document's id")
    _add_key(restore, required=False)
    restore.add_argument(
        "--since", type=reading.instant, metavar="WHEN", help="last written then or later"
    )
    restore.add_argument(
        "--until", type=reading.instant, metavar="WHEN", help="last written before"
    )
    restore.add_argument(
        "--partition",
        action="append",
        metavar="VALUE",
        help="of this partition key; once for each part of a hierarchical key",
    )
    restore.add_argument("--all", action="store_true", help="everything that was removed")
    restore.add_argument(
        "--deleted", action="store_true", help="the one ID even if its owner deleted it"
    )
    restore.add_argument("--execute", action="store_true", help="do it; needs the app running")


def _add_reindex(commands: Any) -> None:
    text = "rebuild the look-up index from the archive; without --execute a dry run"
    reindex = _add(commands, "reindex", text, reading.reindex, "name")
    reindex.add_argument("--execute", action="store_true", help="do it; needs the app running")


def _add_key(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--pk",
        action="append",
        required=required,
        metavar="VALUE",
        help="its partition key; once for each part of a hierarchical key",
    )


def _add_adf(commands: Any) -> None:
    text = "prepare the Data Factory that copies for engine: adf"
    adf = commands.add_parser("adf", help=text, description=text)
    verbs = adf.add_subparsers(dest="verb", required=True, metavar="VERB")
    deploy = _add(verbs, "deploy", "put Ebb's pipeline into the factory", factory.deploy)
    deploy.add_argument("--folder", default=str(factory.PARTS), help="where its parts lie")


def _add_trial(commands: Any) -> None:
    text = "check on throwaway accounts of your own what docs/fidelity.md says of Azure"
    parser = _add(commands, "trial", text, trial.trial)
    parser.epilog = "Exit codes: 0 all proven or skipped, 1 something differs, 2 refused."
    parser.add_argument(
        "--cosmos", required=True, metavar="RESOURCE_ID", help="the Cosmos DB account's id"
    )
    parser.add_argument("--storage", metavar="ACCOUNT", help="the storage account's name")
    parser.add_argument("--logs", metavar="WORKSPACE_ID", help="a Log Analytics workspace")
    parser.add_argument("--report", metavar="DIR", help="write trial-report.json and .html there")
    parser.add_argument("--yes", action="store_true", help="begin without asking")
    parser.add_argument(
        "--minutes", type=trial.minutes, default=10.0, help="how long to wait for metrics"
    )
    parser.add_argument(
        "--only",
        type=trial.rows,
        default=CHECKED,
        metavar="ID,…",
        help="check these rows only, by their ids in docs/fidelity.md",
    )
    parser.add_argument(
        "--beside-others", action="store_true", help="begin though the accounts hold other data"
    )
    parser.add_argument("--clean", action="store_true", help="only remove what earlier trials left")
    parser.set_defaults(
        storage_connection=os.environ.get("EBB_TRIAL_STORAGE", ""),
        management_endpoint=os.environ.get(
            "EBB_MANAGEMENT_ENDPOINT", "https://management.azure.com"
        ),
        logs_endpoint=os.environ.get("EBB_LOGS_ENDPOINT", "https://api.loganalytics.io"),
        storage_suffix=os.environ.get("EBB_STORAGE_SUFFIX", "core.windows.net"),
        ca_file=os.environ.get("EBB_CA_FILE", ""),
    )


def _add_prove(commands: Any) -> None:
    text = "prove by a few hashes that one document is in the archive"
    prove = _add(commands, "prove", text, archives.prove, "name")
    prove.add_argument("id", help="the document's id")
    _add_key(prove, required=True)
    prove.add_argument("--slice", default="", help="where it is, if known; spares a search")
    prove.add_argument("--out", metavar="FILE", help="write the archived document to FILE")


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
    parser.add_argument(
        "--operator-key",
        default=os.environ.get("EBB_OPERATOR_KEY", ""),
        help="key of the function retirement_change, to apply and retire",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
