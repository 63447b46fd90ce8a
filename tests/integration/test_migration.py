"""A migration under the real host against the sandbox's real parts, from apply to fingerprint."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.cosmos import CosmosClient
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from sandbox.cosmos.backing import StoredDocument
from sandbox.cosmos.faults import Fault
from sandbox.rehearsal import (
    FunctionApp,
    HostOptions,
    function_app,
    keep_archive,
    status_of,
    wait_until,
)
from sandbox.seeding import SeedPlan
from sandbox.stage import Sandbox
from shared import wiring
from shared.application.verifying import Report
from shared.ports import COPY_QUEUE
from shared.terminal.remote import Answered
from tests.integration.conftest import DATABASE, Place

pytestmark = pytest.mark.node
SMALL = SeedPlan(documents=400, usual_kb=8, burst_documents=60, large_share=0.0)
ENDS_WITHIN_S = 90.0
SYSTEM = {"_rid", "_self", "_attachments", "_etag", "_ts"}


def begin(app: FunctionApp, place: Place, **changes: str) -> None:
    app.remote.call("PUT", f"migrations/{place.name}", place.spec(**changes))
    app.remote.call("POST", f"migrations/{place.name}/start")


def ended(
    app: FunctionApp, place: Place, *states: str, within_s: float = ENDS_WITHIN_S
) -> dict[str, Any]:
    def holds() -> dict[str, Any] | None:
        status = status_of(app, place.name)
        return status if status["state"] in states else None

    return wait_until(f"{place.name} is {' or '.join(states)}", holds, within_s=within_s, of=app)


def source_documents(place: Place) -> Iterator[dict[str, Any]]:
    client = CosmosClient(
        place.sandbox.cosmos_endpoint,
        place.sandbox.cosmos_key,
        connection_verify=str(place.sandbox.ca_file),
    )
    container = client.get_database_client(DATABASE).get_container_client(place.container)
    yield from container.read_all_items()


def cold_documents(place: Place) -> dict[str, dict[str, Any]]:
    until_s = time.time() - 90 * 86_400
    return {
        document["id"]: {k: v for k, v in document.items() if k not in SYSTEM}
        for document in source_documents(place)
        if document["_ts"] < until_s
    }


def archived_documents(folder: Path) -> dict[str, dict[str, Any]]:
    query = "SELECT id, document FROM read_parquet(?)"
    rows = duckdb.execute(query, [f"{folder}/data/**/*.parquet"]).fetchall()
    assert len(rows) == len({row[0] for row in rows}), "a document is archived twice"
    return {row[0]: json.loads(row[1]) for row in rows}


def verified(app: FunctionApp, place: Place) -> Report:
    return wiring.build(app.settings()).verifying.run(place.name)


def assert_whole(app: FunctionApp, place: Place, status: dict[str, Any], folder: Path) -> None:
    report = verified(app, place)
    assert report.faults == []
    assert report.complete
    assert report.fingerprint == status["fingerprint"]
    keep_archive(place.sandbox, place.sink, folder)
    expected = cold_documents(place)
    assert archived_documents(folder) == expected
    assert status["documents"]["proven"] == len(expected) == place.seeded.cold_documents


def test_a_migration_archives_every_cold_document_exactly_once(
    app: FunctionApp, new_place: Callable[[SeedPlan], Place], tmp_path: Path
) -> None:
    """DuckDB finds every document, equal to the source, and every slice has its receipt."""
    place = new_place(SMALL)
    begin(app, place)
    status = ended(app, place, "completed", "halted")
    assert status["state"] == "completed", status["reason"]
    assert status["documents"]["mismatches"] == 0
    assert_whole(app, place, status, tmp_path)
    before = place.sandbox.admin.total("ebb").ru
    beside = app.at_the_terminal("verify", place.name, "--source")
    assert beside["faults"] == []
    assert beside["slices_compared_with_source"] == beside["receipts"]
    assert beside["superseded_since"] == 0
    assert place.sandbox.admin.total("ebb").ru > before


@pytest.mark.long
def test_a_second_reading_of_the_source_confirms_the_first(
    app: FunctionApp, new_place: Callable[[SeedPlan], Place], tmp_path: Path
) -> None:
    """validation: reread compares each slice with the source once more and ends the same."""
    place = new_place(SMALL)
    begin(app, place, validation="reread")
    status = ended(app, place, "completed", "halted")
    assert status["state"] == "completed", status["reason"]
    assert_whole(app, place, status, tmp_path)


FAULTS: tuple[Fault, ...] = (
    "empty_page_with_continuation",
    "status_503",
    "reset",
    "truncated_body",
    "status_404_1002",
    "status_449",
    "status_410_1002",
)


@pytest.mark.timeout(300)  # four times seven faults, each of them waited out
def test_faults_of_the_source_lose_nothing(
    app: FunctionApp, new_place: Callable[[SeedPlan], Place], tmp_path: Path
) -> None:
    """Empty, cut-off and broken answers: the archive is whole in the end."""
    place = new_place(SMALL)
    admin = place.sandbox.admin
    for number, fault in enumerate(FAULTS):
        for after in (number, 10 + number, 20 + number, 30 + number):
            admin.add_fault(fault, origin="ebb", after=after, times=1)
    try:
        begin_despite_faults(app, place)
        status = ended(app, place, "completed", "halted")
        hits = sum(fault["hit"] for fault in admin.faults())
    finally:
        admin.clear_faults()
    assert status["state"] == "completed", status["reason"]
    assert hits >= 2 * len(FAULTS)
    assert_whole(app, place, status, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(400)  # until a minute begun after the 429 has been read
def test_a_throttled_first_page_is_no_empty_one(
    app: FunctionApp, new_place: Callable[[SeedPlan], Place], tmp_path: Path
) -> None:
    """Everything is archived all the same, once a later minute has told that there is room."""
    place = new_place(SeedPlan(documents=80, usual_kb=4, large_share=0.0))
    admin = place.sandbox.admin
    admin.tell_history(place.business(minutes=10, until_s=int(time.time()) + 600))
    admin.add_fault("throttle_first_page", origin="ebb", after=5, times=1)
    try:
        begin_despite_faults(app, place)
        status = ended(app, place, "completed", "halted", within_s=240.0)
        hits = sum(fault["hit"] for fault in admin.faults())
    finally:
        admin.clear_faults()
    assert status["state"] == "completed", status["reason"]
    assert hits == 1
    assert_whole(app, place, status, tmp_path)


def begin_despite_faults(app: FunctionApp, place: Place) -> None:
    """A person presses again when the answer was 503."""
    calls = (
        lambda: app.remote.call("PUT", f"migrations/{place.name}", place.spec()),
        lambda: app.remote.call("POST", f"migrations/{place.name}/start"),
    )
    for call in calls:

        def accepted(call: Callable[[], Any] = call) -> bool:
            try:
                call()
            except Answered as error:
                if error.status != 503:
                    raise
                return False
            return True

        wait_until("the call is accepted", accepted, within_s=ENDS_WITHIN_S, of=app)


def test_a_document_without_canonical_form_stops_only_its_own_slice(
    app: FunctionApp, new_place: Callable[[SeedPlan], Place]
) -> None:
    """The document is named, its slice quarantined, the rest archived; then it halts."""
    place = new_place(SeedPlan(documents=150, usual_kb=4, large_share=0.0))
    deep = "[" * 230 + "]" * 230
    old_s = int(time.time()) - 400 * 86_400
    text = f'{{"id":"too-deep","customerId":"c","__sandbox_ts":{old_s},"deep":{deep}}}'
    place.sandbox.backing.store(
        DATABASE, place.container, [StoredDocument(key_json='["c"]', text=text.encode())]
    )
    begin(app, place, slice="{budget_s: 1, documents_max: 20}")
    status = ended(app, place, "completed", "halted")
    assert status["state"] == "halted"
    assert "too-deep" in status["reason"]
    assert len(status["quarantined"]) == 1
    rest = place.seeded.cold_documents - status["documents"]["proven"]
    assert 0 <= rest < 20
    assert verified(app, place).faults == []


def test_a_malformed_message_goes_to_poison_and_is_recorded(
    app: FunctionApp, sandbox: Sandbox
) -> None:
    """Foreign text in the queue harms nothing and can be found in the health report."""
    queue = QueueClient.from_connection_string(
        sandbox.storage_connection_string,
        COPY_QUEUE,
        message_encode_policy=TextBase64EncodePolicy(),
    )
    with suppress(ResourceExistsError):  # a trigger does not make its queue
        queue.create_queue()
    queue.send_message("not for Ebb: [")

    def recorded() -> bool:
        health = app.remote.call("GET", "health")
        return any("not for Ebb" in each["text"] for each in health["incidents"])

    wait_until("the incident is recorded", recorded, within_s=ENDS_WITHIN_S, of=app)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_killed_at_random_moments_it_ends_with_each_document_proven_once(
    sandbox: Sandbox, new_place: Callable[[SeedPlan], Place], tmp_path: Path
) -> None:
    """After kill -9 of the whole host, again and again, nothing is lost or doubled."""
    place = new_place(SeedPlan(documents=500, usual_kb=20, burst_documents=60, large_share=0.0))
    rng = random.Random(20261121)
    options = HostOptions(tick_schedule="*/2 * * * * *", time_scale=0.005)
    with function_app(sandbox, options) as app:
        begin(app, place, slice="{budget_s: 1, in_flight_max: 3}")
        for _ in range(5):
            time.sleep(rng.uniform(0.5, 6.0))
            app.kill()
            app.start()
            if status_of(app, place.name)["state"] == "completed":
                break
        status = ended(app, place, "completed", "halted")
        assert status["state"] == "completed", status["reason"]
        assert_whole(app, place, status, tmp_path)
        blobs = ContainerClient.from_connection_string(
            sandbox.storage_connection_string, place.sink
        )
        receipts = sum(1 for _ in blobs.list_blobs(name_starts_with="receipts/"))
        assert receipts == status["slices"]["proven"]
