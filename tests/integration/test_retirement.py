"""A migration retired and undone under the real host: Azurite, the SQL engine, the meter."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from azure.cosmos import ContainerProxy, CosmosClient

from sandbox.rehearsal import FunctionApp, status_of, wait_until
from sandbox.seeding import SeedPlan
from shared import wiring
from shared.domain.canonical import canonical_document, digest
from tests.integration.conftest import DATABASE, Place
from tests.integration.test_migration import begin, ended, source_documents

pytestmark = [pytest.mark.node, pytest.mark.long, pytest.mark.timeout(300)]
SMALL = SeedPlan(documents=100, usual_kb=4, burst_documents=20, large_share=0.0)
ENDS_WITHIN_S = 120.0
UPDATED = 5


def container_of(place: Place) -> ContainerProxy:
    client = CosmosClient(
        place.sandbox.cosmos_endpoint,
        place.sandbox.cosmos_key,
        connection_verify=str(place.sandbox.ca_file),
    )
    return client.get_database_client(DATABASE).get_container_client(place.container)


def asked(app: FunctionApp, place: Place, **body: str) -> Any:
    return app.remote.call("POST", f"migrations/{place.name}/retirement", json.dumps(body))


def looked_at(app: FunctionApp, place: Place) -> Any:
    return app.remote.call("GET", f"migrations/{place.name}/retirement")


def done(app: FunctionApp, place: Place, direction: str) -> dict[str, Any]:
    def holds() -> dict[str, Any] | None:
        course: dict[str, Any] = status_of(app, place.name)["retirement"]
        ends = course["state"] in {"done", "halted"} and course["direction"] == direction
        return course if ends else None

    return wait_until(f"{direction} of {place.name}", holds, within_s=ENDS_WITHIN_S, of=app)


def digests(place: Place) -> dict[str, str]:
    return {each["id"]: digest(canonical_document(each)) for each in source_documents(place)}


def archived(
    app: FunctionApp, new_place: Callable[[SeedPlan], Place], **spec: str
) -> tuple[Place, list[str]]:
    """A completed migration of which some documents changed since; and the ids of those."""
    place = new_place(SMALL)
    begin(app, place, retire_grace="0s", slice="{budget_s: 10}", **spec)
    status = ended(app, place, "completed", "halted")
    assert status["state"] == "completed", status["reason"]
    container, changed = container_of(place), []
    cold = sorted(source_documents(place), key=lambda one: str(one["_ts"]))[:UPDATED]
    for document in cold:
        container.upsert_item({**document, "changed": True})
        changed.append(document["id"])
    return place, changed


def test_what_is_deleted_comes_back_exactly(
    app: FunctionApp, new_place: Callable[[SeedPlan], Place]
) -> None:
    """Changed documents stay where they are, pointers lead to the others, undo restores them."""
    place, changed = archived(app, new_place, retire="delete")
    before = digests(place)
    dry = looked_at(app, place)
    assert [gate["name"] for gate in dry["gates"] if not gate["opens"]] in ([], ["protection"])
    asked(app, place, action="execute", accept_protection="a sandbox")
    course = done(app, place, "remove")
    assert course["state"] == "done", course["reason"]
    cold = place.seeded.cold_documents
    assert course["documents"]["removed"] == cold - UPDATED
    assert course["documents"]["spared_changed"] == UPDATED
    left = digests(place)
    assert set(changed) <= set(left)
    assert len(left) == len(before) - cold + UPDATED
    assert course["ru"]["per_document"] > 5
    assert_pointers_lead_to(app, place, {n: before[n] for n in set(before) - set(left)})
    asked(app, place, action="undo")
    back = done(app, place, "restore")
    assert back["state"] == "done", back["reason"]
    assert back["documents"]["restored"] == cold - UPDATED
    assert digests(place) == before


def assert_pointers_lead_to(app: FunctionApp, place: Place, removed: dict[str, str]) -> None:
    """By one ranged read each; a few of them are enough."""
    ports = wiring.build(app.settings()).ports
    archive = ports.archives.open(place.sink, "")
    keys = {
        row_id: key
        for slice_ in ports.ledger.done_slices(place.name)
        if slice_.staged and slice_.staged.blob
        for row_id, key in _keys(app, place, slice_.id).items()
    }
    for name in sorted(removed)[:10]:
        pointer = ports.pointers.find(f"{DATABASE}/{place.container}", (keys[name], name))
        assert pointer is not None
        assert pointer.answers
        data = archive.read_range(pointer.blob, pointer.offset, pointer.length)
        document = ports.table_format.document_at(data, pointer.span, pointer.row)
        assert digest(document) == pointer.sha256 == removed[name]


def _keys(app: FunctionApp, place: Place, slice_id: str) -> dict[str, str]:
    ports = wiring.build(app.settings()).ports
    with ports.scratch.open() as file:
        ports.archives.open(place.sink, "").download(f"manifests/{slice_id}.parquet", file)
        file.seek(0)
        return {row.id: row.partition_key for row in ports.table_format.manifest_rows(file)}


def test_stubs_keep_what_queries_need_and_make_room_again(
    app: FunctionApp, new_place: Callable[[SeedPlan], Place]
) -> None:
    """Ids go on being found; the stub says where the rest is; undo puts the documents back."""
    place, changed = archived(app, new_place, retire="stub")
    before = digests(place)
    asked(app, place, action="execute", accept_protection="a sandbox")
    course = done(app, place, "remove")
    assert course["state"] == "done", course["reason"]
    stubs = [each for each in source_documents(place) if "ebb_stub" in each]
    assert len(stubs) == place.seeded.cold_documents - UPDATED == course["documents"]["removed"]
    assert not {each["id"] for each in stubs} & set(changed)
    assert all(each["ebb_stub"]["sha256"] == before[each["id"]] for each in stubs)
    assert all("customerId" in each for each in stubs)
    asked(app, place, action="undo")
    assert done(app, place, "restore")["state"] == "done"
    assert digests(place) == before
