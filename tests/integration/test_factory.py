"""Migrations that the sandbox's Data Factory copies, under the real host with the real clients."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.factory.conduct import Conduct
from sandbox.rehearsal import FunctionApp, HostOptions, function_app
from sandbox.seeding import SeedPlan, seed_container
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox
from shared.terminal.factory import PARTS
from shared.terminal.remote import Answered
from tests.integration.conftest import DATABASE, RU_PER_S, Place
from tests.integration.test_migration import assert_whole, begin, ended

pytestmark = pytest.mark.node
PLAN = SeedPlan(documents=250, usual_kb=8, burst_documents=40, large_share=0.0)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    options = SandboxOptions(ru_per_s=RU_PER_S, lag_s=1, factory=Conduct(time_scale=0.05))
    with start_sandbox(options) as running:
        yield running


@pytest.fixture(scope="module")
def app(sandbox: Sandbox) -> Iterator[FunctionApp]:
    with function_app(sandbox, HostOptions(tick_schedule="*/2 * * * * *")) as running:
        yield running


@pytest.fixture
def place(sandbox: Sandbox) -> Place:
    number = next(_numbers)
    container = f"copied{number}"
    seeded = seed_container(sandbox.backing, database=DATABASE, container=container, plan=PLAN)
    found = Place(
        sandbox=sandbox,
        name=f"by-factory-{number}",
        container=container,
        sink=f"by-factory-{number}",
        seeded=seeded,
    )
    sandbox.admin.tell_history(found.business(minutes=30))
    return found


def test_a_factory_without_the_pipeline_is_named_with_what_mends_it(
    app: FunctionApp, place: Place
) -> None:
    """Refused before anything is registered."""
    with pytest.raises(Answered, match="ebb adf deploy") as caught:
        app.remote.call("PUT", f"migrations/{place.name}", place.spec(engine="adf"))
    assert caught.value.status == 422


def test_a_factory_copies_and_every_document_is_proven(
    app: FunctionApp, place: Place, tmp_path: Path
) -> None:
    """Deployed by the command, run by the factory, compared, staged and proven by Ebb."""
    app.at_the_terminal("adf", "deploy")
    begin(app, place, engine="adf", slice="{budget_s: 20}")
    status = ended(app, place, "completed", "halted")
    assert status["state"] == "completed", status["reason"]
    assert status["documents"]["mismatches"] == 0
    assert status["factory"]["activity_runs"] > 0
    assert status["factory"]["diu_hours"] > 0
    assert_whole(app, place, status, tmp_path)
    assert {run["status"] for run in place.sandbox.factory.runs()} == {"Succeeded"}


@pytest.mark.long
@pytest.mark.parametrize("harm", ["dates", "mapping"])
def test_a_pipeline_that_changes_documents_is_found_out(
    app: FunctionApp, place: Place, tmp_path: Path, harm: str
) -> None:
    """With date detection on, or without the mapping: tried again, halted, documents named."""
    folder = tmp_path / "adf"
    for path in PARTS.rglob("*.json"):
        target = folder / path.relative_to(PARTS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(harmed(path.read_text(), harm))
    try:
        app.at_the_terminal("adf", "deploy", "--folder", str(folder))
        begin(app, place, engine="adf", slice="{budget_s: 20, attempts_max: 2}")
        status = ended(app, place, "completed", "halted")
    finally:
        app.at_the_terminal("adf", "deploy")
    assert status["state"] == "halted"
    assert ("changed: '" if harm == "dates" else "missing: '") in status["reason"]
    assert status["documents"]["mismatches"] > 0


def harmed(text: str, harm: str) -> str:
    """The shipped pipeline as somebody may have changed it in the portal."""
    body = json.loads(text)
    for activity in _copies(body["properties"].get("activities", [])):
        copy = activity["typeProperties"]
        if harm == "dates":
            copy["source"] |= {"detectDatetime": True, "query": rewritten("c AS document")}
            copy["translator"]["mapComplexValuesToString"] = True
        else:
            copy["source"]["query"] = rewritten("c.customerId")
            del copy["translator"]
    return json.dumps(body)


def rewritten(select: str) -> dict[str, str]:
    """The query that Ebb gives, without the lossless text it asks for."""
    query = f"@replace(pipeline().parameters.query, 'ToString(c) AS document', '{select}')"
    return {"type": "Expression", "value": query}


def _copies(activities: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in activities:
        if each["type"] == "Copy":
            yield each
        yield from _copies(each.get("typeProperties", {}).get("activities", []))
