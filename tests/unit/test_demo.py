"""What the rehearsal tells of its own times."""

from __future__ import annotations

from typing import Any

from sandbox.demo import _times, _times_told

STATUS = {"started_at_s": 100.0, "completed_at_s": 265.1}


def decided(at_s: float, reason: str) -> dict[str, Any]:
    return {"at_s": at_s, "reason": reason}


def test_time_that_an_alert_held_is_told_apart() -> None:
    """From each such decision to the next one, in whichever order they are given."""
    decisions = [
        decided(200.0, "slack"),
        decided(150.0, "alert"),
        decided(155.0, "alert"),
        decided(161.0, "growing"),
        decided(180.0, "alert"),
        decided(184.0, "no_slack"),
    ]
    assert _times(STATUS, decisions) == {
        "actual_s": 165.1,
        "held_by_alerts_s": 15.0,
        "actual_unheld_s": 150.1,
    }


def test_an_end_that_never_came_has_no_times() -> None:
    """A halted rehearsal took no time that could be compared."""
    told = _times({**STATUS, "completed_at_s": 0.0}, [decided(150.0, "alert")])
    assert set(told.values()) == {None}


def test_the_verdict_names_a_hold_only_where_there_was_one() -> None:
    """Two numbers otherwise."""
    report = {"forecast_s": 139.6, "actual_s": 165.1, "actual_unheld_s": 140.1}
    assert _times_told({**report, "held_by_alerts_s": 0.0}) == "139.6 s and 165.1 s"
    assert _times_told({**report, "held_by_alerts_s": 25.0}) == (
        "139.6 s and 165.1 s, 140.1 s of it without the 25.0 s that an alert held everything"
    )
