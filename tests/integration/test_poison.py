"""A function on a poison queue that keeps failing, beside a migration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from sandbox.rehearsal import HostOptions, function_app, wait_until
from sandbox.seeding import SeedPlan
from shared.ports import COPY_QUEUE
from tests.integration.conftest import Site, gated_site, runs_of
from tests.integration.test_migration import assert_whole, begin, ended

pytestmark = [pytest.mark.node, pytest.mark.long, pytest.mark.timeout(500)]
PLAN = SeedPlan(documents=900, usual_kb=20, burst_documents=60, large_share=0.0)


@pytest.fixture
def site() -> Iterator[Site]:
    with gated_site(PLAN) as opened:
        yield opened


def test_a_poison_function_that_fails_three_times_holds_up_nothing(
    site: Site, tmp_path: Path
) -> None:
    """Meanwhile a migration begins and ends; the message is recorded at the fourth try."""
    place = site.place
    options = HostOptions(tick_schedule="*/2 * * * * *", time_scale=0.01)
    with function_app(site.sandbox, options) as app:
        site.gate.refuse("table", "ebbincidents")
        queue = QueueClient.from_connection_string(
            site.sandbox.storage_connection_string,
            f"{COPY_QUEUE}-poison",
            message_encode_policy=TextBase64EncodePolicy(),
        )
        with suppress(ResourceExistsError):
            queue.create_queue()
        queue.send_message("not for Ebb: [")
        begin(app, place)
        wait_until(
            "three failures",
            lambda: len(runs_of(app, "copy_poison")) >= 3 or None,
            within_s=120.0,
            of=app,
        )
        assert {run["outcome"] for run in runs_of(app, "copy_poison")} == {"failed"}
        status = ended(app, place, "completed", "halted", within_s=180.0)
        assert status["state"] == "completed", status["reason"]
        site.gate.open()

        def recorded() -> bool:
            incidents = app.remote.call("GET", "health")["incidents"]
            return any("not for Ebb" in each["text"] for each in incidents)

        wait_until("the incident", recorded, within_s=120.0, of=app)
        assert queue.get_queue_properties().approximate_message_count == 0
        assert_whole(app, place, status, tmp_path)
