"""A business that reads all through copy, removal, a crash and a restore, over the sandbox."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from azure.cosmos import CosmosClient
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from bench.reading_load import ReadingLoad
from sandbox.errors import SandboxError
from sandbox.rehearsal import FunctionApp, HostOptions, function_app, wait_until
from sandbox.seeding import SeedPlan
from sandbox.stage import Sandbox
from shared import wiring
from shared.domain.retirement import RetirementState
from shared.tiered import ColdStore, TieredContainer
from tests.integration.conftest import DATABASE, Place
from tests.integration.test_migration import SMALL, begin, ended
from tests.tiered.serving import served

pytestmark = [pytest.mark.node, pytest.mark.long]
ENDS_WITHIN_S = 240.0  # a limit for a machine that others use, too; it takes a tenth of it
READS_PER_S = 60  # `python -m bench.tiered` has 200; here others need the machine, too
RETIRING = {"retire": "delete", "retire_grace": "0s"}


def plain_container(place: Place) -> Any:
    client = CosmosClient(
        place.sandbox.cosmos_endpoint,
        place.sandbox.cosmos_key,
        connection_verify=str(place.sandbox.ca_file),
    )
    return client.get_database_client(DATABASE).get_container_client(place.container)


def tiered_container(place: Place) -> TieredContainer:
    storage = place.sandbox.storage_connection_string
    cold = ColdStore.connect(
        f"{DATABASE}/{place.container}",
        tables=TableServiceClient.from_connection_string(storage),
        blobs=BlobServiceClient.from_connection_string(storage),
    )
    return TieredContainer(plain_container(place), cold)


def retirement(app: FunctionApp, place: Place, action: str) -> None:
    why = {"accept_protection": "Azurite has neither"} if action == "execute" else {}
    asked = {"action": action, **why}
    path = f"migrations/{place.name}/retirement"
    app.remote.call("POST", path, json.dumps(asked))


def moved(app: FunctionApp, place: Place, counted: str, *, begun: bool = False) -> None:
    """Until all that is due was removed or restored, or some of it."""
    ledger = wiring.build(app.settings()).ports.ledger
    seen: list[Any] = []

    def holds() -> bool:
        now = ledger.retirement(place.name)
        seen[:] = [now, ledger.removals(place.name)]
        if now is None:
            return False
        assert now.state is not RetirementState.HALTED, now
        some = (
            any(each.moved for each in ledger.removals(place.name))
            or getattr(now, f"documents_{counted}") > 0
        )
        return some if begun else now.state is RetirementState.DONE

    try:
        wait_until(f"{place.name}: {counted}", holds, within_s=ENDS_WITHIN_S, of=app)
    except SandboxError as error:
        raise AssertionError(seen) from error


def largest_partition(load: ReadingLoad) -> str:
    counted = Counter(each.partition_key for each in load.records.values())
    return counted.most_common(1)[0][0]


@pytest.mark.timeout(900)
def test_reads_are_right_through_copy_removal_a_crash_and_a_restore(
    sandbox: Sandbox, new_place: Callable[[SeedPlan], Place]
) -> None:
    """Nothing missing, stale or doubled, whatever moves, and whoever is killed meanwhile."""
    place = new_place(SMALL)
    container = tiered_container(place)
    load = ReadingLoad(container, container.read_all_items(), seed=8)
    options = HostOptions(tick_schedule="*/2 * * * * *", time_scale=0.005)
    with function_app(sandbox, options) as app, load.running(per_s=READS_PER_S):
        load.wait_for(200)
        load.phase, load.changes = "copying", 0.01
        begin(app, place, **RETIRING)
        assert (
            ended(app, place, "completed", "halted", within_s=ENDS_WITHIN_S)["state"] == "completed"
        )
        load.phase = "removing"
        retirement(app, place, "execute")
        moved(app, place, "removed", begun=True)
        app.kill()
        load.wait_for(200)
        app.start()
        moved(app, place, "removed")
        load.phase = "removed"
        load.wait_for(600)
        load.phase = "restoring some"
        some = ("restore", place.name, "--partition", largest_partition(load), "--execute")
        restored = app.at_the_terminal(*some)
        load.phase = "restoring all"
        retirement(app, place, "undo")
        moved(app, place, "restored")
        load.phase = "restored"
        load.wait_for(200)
    load.read_each_once()
    tally = load.tally
    assert (tally.missing, tally.stale, tally.doubled) == (0, 0, 0), tally.named
    assert tally.reads > 1000
    assert tally.writes > 0
    assert tally.deletions > 0
    assert restored["restored"] > 0
    assert restored["restored"] <= restored["removed"]


def asked(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, etag: str = ""
) -> tuple[int, Any, str]:
    headers = {"If-Match": etag} if etag else {}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    data = answer.read()
    return answer.status, json.loads(data) if data else None, answer.getheader("ETag") or ""


def the_contract(container: Any, documents: list[dict[str, Any]]) -> list[Any]:
    """What the API answers about four records that nobody else touches, and one that never was."""
    said: list[Any] = []
    with served(container) as api:
        paths = [f"/records/{each['customerId']}/{each['id']}" for each in documents]
        for path in paths:
            status, body, etag = asked(api, "GET", path)
            said.append((status, body))
            assert etag
        first, second, third, fourth = paths
        said.append(asked(api, "PUT", first, {"total": 1}, etag='"stale"')[0])
        etag = asked(api, "GET", first)[2]
        said.append(asked(api, "PUT", first, {"total": 1}, etag=etag)[:2])
        said.append(asked(api, "GET", first)[:2])
        said.append(asked(api, "PUT", second, {"total": 2})[:2])
        said.append(asked(api, "GET", second)[:2])
        said.append(asked(api, "DELETE", third)[0])
        said.append(asked(api, "GET", third)[0])
        said.append(asked(api, "DELETE", third)[0])
        said.append(asked(api, "PUT", third, {"total": 3}, etag='"gone"')[0])
        said.append(asked(api, "PUT", fourth, {"total": 4})[0])
        said.append(asked(api, "DELETE", fourth)[0])
        said.append(asked(api, "GET", fourth)[0])
        said.append(asked(api, "GET", "/records/nobody/never")[0])
        said.append(asked(api, "PUT", first, {"again": True})[0])
    return said


def generic(said: list[Any], documents: list[dict[str, Any]]) -> str:
    """The answers with each record's own words taken out, so that three fours can be compared."""
    text = json.dumps(said, sort_keys=True)
    for number, each in enumerate(documents):
        text = text.replace(each["id"], f"id-{number}").replace(each["customerId"], "customer")
    return text


@pytest.mark.timeout(600)
def test_the_api_answers_alike_before_during_and_after(
    app: FunctionApp, new_place: Callable[[SeedPlan], Place]
) -> None:
    """The same requests over the plain container, and over the tiered one at each stage."""
    place = new_place(SeedPlan(documents=200, usual_kb=2, large_share=0.0))
    plain, tiered = plain_container(place), tiered_container(place)
    cold = sorted(plain.read_all_items(), key=lambda each: each["_ts"])[:16]
    fours = [cold[start : start + 4] for start in range(0, 16, 4)]
    content = [[strip(each) for each in four] for four in fours]
    answers = [the_contract(plain, fours[0]), the_contract(tiered, fours[1])]
    begin(app, place, **RETIRING)
    assert ended(app, place, "completed", "halted", within_s=ENDS_WITHIN_S)["state"] == "completed"
    answers.append(the_contract(tiered, fours[2]))
    retirement(app, place, "execute")
    moved(app, place, "removed")
    gone = {each["id"] for each in fours[3]} - {each["id"] for each in plain.read_all_items()}
    assert len(gone) == 4
    answers.append(the_contract(tiered, fours[3]))
    for said, four in zip(answers, content, strict=True):
        assert said[:4] == [[200, each] for each in four] or said[:4] == [
            (200, each) for each in four
        ]
    told = {generic(said[4:], four) for said, four in zip(answers, fours, strict=True)}
    assert len(told) == 1, told


def strip(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if not key.startswith("_")}
