"""`ebb trial` against the sandbox: whole, with planted differences, interrupted and refused."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient, ContainerClient

from sandbox.logs import WORKSPACE_ID as WORKSPACE
from sandbox.seeding import SeedPlan, seed_container
from sandbox.stage import Sandbox
from shared.errors import PermanentError, Refused
from shared.trial import belongings
from shared.trial.findings import Verdict
from shared.trial.management import ContainerPlan, Management
from shared.trial.purse import CosmosTransport, Purse, StorageTransport
from shared.trial.table import CHECKED, EXCUSED
from shared.trial.trial import Outcome, Trial
from tests.trial.conftest import Begin

pytestmark = [pytest.mark.node, pytest.mark.slow, pytest.mark.timeout(300)]

# On loopback, on Azurite and on a serverless account these have nothing to ask.
SANDBOX_SKIPS = {
    "cosmos.404",
    "cosmos.tls",
    "monitor.normalized",
    "storage.copy-with-token",
    "storage.version-id",
}


def test_a_whole_trial_proves_what_the_sandbox_can_show(begin: Begin, tmp_path: Path) -> None:
    """Each checked row is proven, but for those that have nothing to ask there."""
    run = begin("--yes", "--minutes", "0.3", "--logs", WORKSPACE, "--report", str(tmp_path))
    _, errors = run.communicate(timeout=280)
    report = json.loads((tmp_path / "trial-report.json").read_text())
    found = {row["id"]: row["verdict"] for row in report["rows"]}
    assert set(found) == CHECKED | EXCUSED
    assert _named(found, "differs") == set(), report
    assert _named(found, "skipped") - EXCUSED == SANDBOX_SKIPS, report
    assert run.returncode == 0
    assert "at most 1.01 USD" in errors
    assert report["left"] == []
    assert 0 < report["spent_ru"] < 100_000
    page = (tmp_path / "trial-report.html").read_text()
    assert not re.search(r"""(?:src|href)=|url\(|@import""", page)
    assert all(f"<code>{id_}</code>" in page for id_ in found)


def test_a_trial_leaves_both_accounts_as_empty_as_before(
    begin: Begin, sandbox: Sandbox, management: Management
) -> None:
    """Database, blob container and table are gone when the command ends."""
    run = begin("--yes", "--minutes", "0.1", "--only", "cosmos.fates,storage.row-case", "--json")
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    counts = json.loads(output)["counts"]
    assert counts == {"proven": 2, "differs": 0, "skipped": len(EXCUSED)}
    assert _everything(sandbox, management) == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_trial_removes_what_it_made(
    begin: Begin, sandbox: Sandbox, management: Management, ending: signal.Signals
) -> None:
    """Ctrl-C and a polite kill end the checks, and never the removal."""
    run = begin("--yes", "--minutes", "5")
    _wait_until(lambda: _everything(sandbox, management) != [], told="a database is made")
    time.sleep(2)
    run.send_signal(ending)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 130, errors
    assert _everything(sandbox, management) == []


def test_accounts_that_hold_anything_else_are_refused(
    begin: Begin, sandbox: Sandbox, management: Management
) -> None:
    """A trial beside data that nobody mentioned could harm it; nothing is made."""
    service = BlobServiceClient.from_connection_string(sandbox.storage_connection_string)
    plan = SeedPlan(documents=1)
    seed_container(sandbox.backing, database="orders", container="records", plan=plan)
    service.create_container("invoices")
    try:
        run = begin("--yes")
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 2
        assert "database orders, blob container invoices" in errors
        assert "--beside-others" in errors
        assert _everything(sandbox, management) == ["orders", "invoices"]
    finally:
        service.delete_container("invoices")
        management.remove_database("orders")


def test_nothing_is_made_before_somebody_agrees(
    begin: Begin, sandbox: Sandbox, management: Management
) -> None:
    """Without --yes and without a terminal the bound is shown, and that is all."""
    run = begin()
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "It costs at most" in errors
    assert "nobody agreed" in errors
    assert _everything(sandbox, management) == []


# Each plants one lie into the requests or answers of one service, and names the row that finds it.
LIES: dict[str, Callable[[Any], None]] = {
    "cosmos.clock": lambda answer: _set(answer, "Date", "Sat, 01 Jan 2000 00:00:00 GMT"),
    "cosmos.etag-of-write": lambda answer: _drop(answer, "etag"),
    "cosmos.429-wait": lambda answer: _drop(answer, "x-ms-retry-after-ms"),
    "cosmos.continuation": lambda answer: _drop(answer, "x-ms-continuation"),
    "cosmos.prices": lambda answer: _tenfold(answer),  # noqa: PLW0108 - it is defined below
}


@pytest.mark.parametrize("row", list(LIES))
def test_a_planted_difference_of_an_answer_is_found(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    """A service that answers otherwise than the page says is named, with what was seen."""
    honest = CosmosTransport.send

    def send(self: CosmosTransport, request: Any, **options: Any) -> Any:
        answer = honest(self, request, **options)
        LIES[row](answer)
        return answer

    monkeypatch.setattr(CosmosTransport, "send", send)
    assert _verdict(_run(trial, {row}), row) is Verdict.DIFFERS


def test_a_cosmos_that_drops_conditions_is_found(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delete that ignores its etag would be a lost update."""
    honest = CosmosTransport.send

    def send(self: CosmosTransport, request: Any, **options: Any) -> Any:
        request.headers.pop("If-Match", None)
        request.headers.pop("if-match", None)
        return honest(self, request, **options)

    monkeypatch.setattr(CosmosTransport, "send", send)
    rows = {"cosmos.conditions", "cosmos.patch-if-match"}
    outcome = _run(trial, rows)
    assert {row: _verdict(outcome, row) for row in rows} == dict.fromkeys(rows, Verdict.DIFFERS)


def test_a_storage_with_two_winners_is_found(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receipts rely on exactly one writer."""
    honest = ContainerClient.upload_blob

    def overwrite(self: ContainerClient, *blob: Any, **options: Any) -> Any:
        return honest(self, *blob, **{**options, "overwrite": True})

    monkeypatch.setattr(ContainerClient, "upload_blob", overwrite)
    assert _verdict(_run(trial, {"storage.one-writer"}), "storage.one-writer") is Verdict.DIFFERS


def test_what_could_not_be_removed_is_named_and_cleaned_later(
    trial: Trial, sandbox: Sandbox, management: Management, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that storage does not let go of is named, and `--clean` finds it again."""
    honest = StorageTransport.send

    def send(self: StorageTransport, request: Any, **options: Any) -> Any:
        if request.method == "DELETE" and "ebbtrial0000test" in request.url:
            raise HttpResponseError("storage is closed for today")
        return honest(self, request, **options)

    monkeypatch.setattr(belongings, "PAUSE_S", 0.0)
    with monkeypatch.context() as closed:
        closed.setattr(StorageTransport, "send", send)
        outcome = _run(trial, {"cosmos.fates"})
    assert outcome.left == ("the table ebbtrial0000test: storage is closed for today",)
    assert not outcome.is_clean
    assert _everything(sandbox, management) == ["ebbtrial0000test"]
    assert trial.clean(lambda _: None) == (("the table ebbtrial0000test",), ())
    assert _everything(sandbox, management) == []


def test_a_failure_while_preparing_removes_what_was_made(
    trial: Trial, sandbox: Sandbox, management: Management, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that cannot be made ends the trial, and the database before it is removed."""

    def refuse(self: Management, database: str, plan: Any) -> None:
        raise Refused("making a container: not today")

    monkeypatch.setattr(Management, "make_container", refuse)
    with pytest.raises(Refused, match="not today"):
        _run(trial, {"cosmos.fates"})
    assert _everything(sandbox, management) == []


def test_a_name_that_is_refused_costs_only_its_own_row(
    trial: Trial, sandbox: Sandbox, management: Management, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure might not make a container with a quote; everything else goes on."""
    honest = Management.make_container

    def make(self: Management, database: str, plan: ContainerPlan) -> None:
        if "'" in plan.name:
            raise PermanentError("making a container: the name is not allowed")
        honest(self, database, plan)

    monkeypatch.setattr(Management, "make_container", make)
    outcome = _run(trial, {"cosmos.fates", "monitor.quoted-filter"})
    assert _verdict(outcome, "cosmos.fates") is Verdict.PROVEN
    assert _verdict(outcome, "monitor.quoted-filter") is Verdict.SKIPPED
    assert _everything(sandbox, management) == []


def test_write_regions_are_counted_as_azure_lists_them(trial: Trial, sandbox: Sandbox) -> None:
    """An account that takes writes in two regions says so at both of its doors."""
    sandbox.admin.set_write_regions("East", "West")
    try:
        outcome = _run(trial, {"cosmos.write-regions"})
    finally:
        sandbox.admin.set_write_regions("Sandbox")
    found = next(row.finding for row in outcome.rows if row.id == "cosmos.write-regions")
    assert (found.verdict, found.seen) == (Verdict.PROVEN, "2")


def test_a_trial_stops_asking_when_its_purse_is_empty(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound that was printed is kept: what is left is skipped, and everything removed."""
    monkeypatch.setattr(trial, "_purse", Purse(ru_max=260.0))
    outcome = _run(trial, {"cosmos.prices", "cosmos.delete-price"})
    seen = [row.finding.seen for row in outcome.rows if row.id == "cosmos.prices"]
    assert "it asks no more" in seen[0]
    assert outcome.left == ()


def _run(trial: Trial, only: set[str]) -> Outcome:
    return trial.run(minutes=0.1, told=lambda _: None, only=frozenset(only))


def _verdict(outcome: Outcome, row: str) -> Verdict:
    return next(each.finding.verdict for each in outcome.rows if each.id == row)


def _named(found: dict[str, str], verdict: str) -> set[str]:
    return {id_ for id_, each in found.items() if each == verdict}


def _everything(sandbox: Sandbox, management: Management) -> list[str]:
    """What both accounts hold."""
    text = sandbox.storage_connection_string
    blobs = BlobServiceClient.from_connection_string(text)
    tables = TableServiceClient.from_connection_string(text)
    return [
        *management.databases(),
        *(each.name for each in blobs.list_containers()),
        *(each.name for each in tables.list_tables()),
    ]


def _wait_until(holds: Callable[[], bool], *, told: str) -> None:
    until_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until_s, f"waited a minute until {told}"
        time.sleep(0.2)


def _set(answer: Any, name: str, value: str) -> None:
    answer.headers[name] = value


def _drop(answer: Any, name: str) -> None:
    for each in [key for key in answer.headers if key.lower() == name]:
        del answer.headers[each]


def _tenfold(answer: Any) -> None:
    name = "x-ms-request-charge"
    if name in answer.headers:
        answer.headers[name] = str(float(answer.headers[name]) * 10)
