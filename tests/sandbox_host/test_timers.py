"""When timers fire, against the real runtime."""

import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.sandbox_host.conftest import RunningHost, Start, wait_until

pytestmark = pytest.mark.node

EVERY_SECOND = "* * * * * *"
ON = {"AzureWebJobs.tick.Disabled": "false", "SAMPLE_SCHEDULE": EVERY_SECOND}


def test_a_timer_fires_again_and_again_and_never_twice_at_once(start: Start) -> None:
    """A run of 1.2 s under a schedule of 1 s delays the next run to its own end."""
    host = start(**ON)
    wait_until(lambda: len(host.notes("tick_ended")) >= 2, "two runs")
    host.stop()
    starts = [note["at_s"] for note in host.notes("tick_started")]
    ends = [note["at_s"] for note in host.notes("tick_ended")]
    assert all(begin >= end for begin, end in zip(starts[1:], ends, strict=False))
    assert len(starts) == len(ends)


def test_run_on_startup_fires_before_the_schedule_does(start: Start) -> None:
    """The first run comes at once, is not past due, and knows when the schedule is next."""
    host = start(**(ON | {"SAMPLE_SCHEDULE": "0 0 0 1 1 *"}))
    wait_until(lambda: host.notes("tick_started"), "the run at start")
    (note,) = host.notes("tick_started")
    assert note["past_due"] is False
    next_run = datetime.fromisoformat(note["status"]["Next"])
    assert (next_run.month, next_run.day, next_run.hour) == (1, 1, 0)
    assert next_run.year == datetime.now(UTC).year + 1
    assert host.notes("yearly") == []


def test_a_run_missed_while_the_host_was_down_is_past_due(start: Start, tmp_path: Path) -> None:
    """A monitored timer's status outlives the host, and the missed run is made up for once."""
    state, name = tmp_path / "state", "yearly.timer.json"
    first = start("--state-dir", str(state))
    wait_until((state / name).exists, "the status")
    first.stop()
    assert first.notes("yearly") == []
    status = json.loads((state / name).read_text("utf-8"))
    year = datetime.now(UTC).year
    status["LastUpdated"] = datetime(year - 1, 6, 1, tzinfo=UTC).isoformat()
    status["Next"] = datetime(year, 1, 1, tzinfo=UTC).isoformat()
    (state / name).write_text(json.dumps(status), "utf-8")
    second = start("--state-dir", str(state))
    wait_until(lambda: second.notes("yearly"), "the run that was missed")
    assert [note["past_due"] for note in second.notes("yearly")] == [True]
    second.stop()
    kept = json.loads((state / name).read_text("utf-8"))
    assert datetime.fromisoformat(kept["Next"]) > datetime.now(UTC)


def test_a_schedule_changed_while_the_host_was_down_is_not_past_due(
    start: Start, tmp_path: Path
) -> None:
    """The stored next run is not the one this schedule gives: nothing is made up for."""
    state, name = tmp_path / "state", "yearly.timer.json"
    first = start("--state-dir", str(state))
    wait_until((state / name).exists, "the status")
    first.stop()
    status = json.loads((state / name).read_text("utf-8"))
    status["Next"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    (state / name).write_text(json.dumps(status), "utf-8")
    second = start("--state-dir", str(state))

    def following() -> datetime:
        return datetime.fromisoformat(json.loads((state / name).read_text("utf-8"))["Next"])

    wait_until(lambda: following() > datetime.now(UTC), "a new status")
    second.stop()
    assert second.notes("yearly") == []


def test_no_timer_fires_after_kill_9_until_its_lock_ran_out(start: Start) -> None:
    """A lock of 9 s here, 60 s in Azure: the new host asks, waits, and fires then."""
    scaled = ("--time-scale", "0.15")
    first = start(*scaled, **ON)
    wait_until(lambda: first.notes("tick_started"), "the first run")
    first.stop(signal.SIGKILL)
    held = json.loads((first.notes_path.parent / "state" / "tick.lock.json").read_text("utf-8"))
    runs = len(first.notes("tick_started"))
    second = start(*scaled, **ON)
    wait_until(lambda: second.events("timer_locked"), "a look at the lock")
    wait_until(lambda: len(second.notes("tick_started")) > runs, "a run of the new host")
    assert second.notes("tick_started")[runs]["at_s"] >= held["until"]


def test_a_clean_stop_gives_the_lock_back(start: Start) -> None:
    """The next host fires at its next tick, though the lock would have lasted 60 s."""
    first = start("--time-scale", "1", **ON)
    wait_until(lambda: first.notes("tick_ended"), "the first run")
    assert first.stop() == 0
    runs = len(first.notes("tick_started"))
    second = start("--time-scale", "1", **ON)
    wait_until(lambda: len(second.notes("tick_started")) > runs, "a run of the new host")
    assert second.events("timer_locked") == []


def test_a_timer_that_is_not_monitored_has_no_status(start: Start) -> None:
    """Several runs a minute: Azure keeps no status and gives none."""
    host = start(**ON)
    wait_until(lambda: host.notes("tick_started"), "a run")
    assert not host.notes("tick_started")[-1]["status"]


def test_a_disabled_timer_does_not_fire(shared_host: RunningHost) -> None:
    """AzureWebJobs.NAME.Disabled keeps even a timer of run_on_startup from being triggered."""
    assert [event["function"] for event in shared_host.events("function_disabled")] == ["tick"]
    assert shared_host.call("GET", "/api/slow?seconds=0.1").status_code == 200
    assert shared_host.notes("tick_started") == []
