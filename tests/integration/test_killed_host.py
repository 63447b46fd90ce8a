"""A host that is killed in mid-migration and started again, in Azure's own times."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from sandbox.rehearsal import HostOptions, function_app, status_of, wait_until
from sandbox.seeding import SeedPlan
from tests.integration.conftest import Site, gated_site, runs_of
from tests.integration.test_migration import assert_whole, begin, ended

pytestmark = [pytest.mark.node, pytest.mark.long, pytest.mark.timeout(500)]
PLAN = SeedPlan(documents=6_000, usual_kb=20, burst_documents=60, large_share=0.0)
TIMERS_AGAIN_WITHIN_S = 140.0  # up to two minutes, and the tick itself
ONE_REQUEST_RU = 400.0  # a page is paid when it is there: one may overshoot the second's budget


@pytest.fixture
def site() -> Iterator[Site]:
    with gated_site(PLAN) as opened:
        yield opened


def test_after_a_kill_no_timer_fires_and_nothing_is_spent_beyond_the_budget(
    site: Site, tmp_path: Path
) -> None:
    """In Azure's own times: the timers' locks last 60 s, the board 90 s, a lost message 600 s."""
    place, admin = site.place, site.sandbox.admin
    options = HostOptions(tick_schedule="*/2 * * * * *", time_scale=1.0)
    with function_app(site.sandbox, options) as app:
        begin(app, place, capacity="{ru_per_s_per_partition: 4000}")
        wait_until(
            "a proven slice",
            lambda: status_of(app, place.name)["slices"]["proven"] or None,
            within_s=180.0,
            of=app,
        )
        spent_before = admin.total("ebb").ru
        killed_at_s = time.time()
        app.kill()
        held = json.loads((app.timers_dir / "tick.lock.json").read_text("utf-8"))
        app.start()
        budget_ru_per_s = app.remote.call("GET", "health")["budget_ru_per_s"]  # the dead one's
        assert budget_ru_per_s > 0
        wait_until(
            "a tick of the new host",
            lambda: runs_of(app, "tick") or None,
            within_s=TIMERS_AGAIN_WITHIN_S,
            of=app,
        )
        spent_ru = admin.total("ebb").ru - spent_before
        first = runs_of(app, "tick")[0]
        ticked_at_s = datetime.fromisoformat(first["time"]).timestamp()
        assert ticked_at_s >= held["until"]
        assert held["until"] - killed_at_s > 25.0
        assert spent_ru <= budget_ru_per_s * (time.time() - killed_at_s) + ONE_REQUEST_RU
        status = ended(app, place, "completed", "halted", within_s=240.0)
        assert status["state"] == "completed", status["reason"]
        assert_whole(app, place, status, tmp_path)
