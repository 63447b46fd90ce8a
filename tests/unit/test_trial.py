"""What a trial may cost, how checks run side by side, and what becomes of their failures."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError

from shared.errors import Refused, Throttled, TransientError
from shared.trial import runner
from shared.trial.belongings import Belongings
from shared.trial.findings import Check, Finding, Verdict, judged
from shared.trial.purse import COST_MAX_USD, Purse, bound_of
from shared.trial.runner import Stop, run


def test_a_serverless_trial_costs_less_than_two_dollars() -> None:
    """0.90 for 1.5 million RU, 0.11 for storage, nothing for throughput."""
    cost = bound_of(is_serverless=True, containers=8, regions=1, minutes=10)
    assert round(cost.usd, 2) == 1.01
    assert cost.throughput_usd == 0
    assert cost.usd < COST_MAX_USD


def test_bought_throughput_is_counted_by_container_region_and_hour() -> None:
    """Eight containers of 400 RU/s for two hours are 1.28, in two regions twice that."""
    one = bound_of(is_serverless=False, containers=8, regions=1, minutes=10)
    two = bound_of(is_serverless=False, containers=8, regions=2, minutes=10)
    assert round(one.throughput_usd, 2) == 1.28
    assert round(two.throughput_usd, 2) == 2.56
    assert one.usd < COST_MAX_USD < two.usd


def test_a_purse_refuses_once_its_units_are_spent() -> None:
    """The request that crosses the limit is the last one."""
    purse = Purse(ru_max=10)
    purse.charge("c", 9.0, 60.0)
    purse.ask_cosmos()
    purse.charge("c", 9.0, 125.0)
    with pytest.raises(Refused, match="has spent 18 RU of at most 10"):
        purse.ask_cosmos()
    assert purse.minutes_of("c") == {60: 9.0, 120: 9.0}


def test_a_purse_refuses_calls_beyond_their_number() -> None:
    """Storage is billed by the call."""
    purse = Purse(calls_max=1)
    purse.ask_storage()
    with pytest.raises(Refused, match="1 calls were made"):
        purse.ask_storage()


def test_a_check_that_crashes_costs_only_its_own_row() -> None:
    """What it raised is its finding, and the others are proven all the same."""

    def crash() -> Finding:
        raise KeyError("x-ms-request-charge")

    found = _run(crashing=crash, sound=_sound)
    assert found["sound"].verdict is Verdict.PROVEN
    assert found["crashing"].verdict is Verdict.DIFFERS
    assert "KeyError" in found["crashing"].seen


def test_a_check_that_may_not_ask_is_skipped_with_the_role() -> None:
    """A missing role says nothing of the service."""

    def refused() -> Finding:
        error = HttpResponseError("no")
        error.status_code = 403
        raise error

    found = _run(refused=refused)["refused"]
    assert found.verdict is Verdict.SKIPPED
    assert "Storage Blob Data Owner" in found.seen


def test_a_busy_service_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition filled by another check is no difference; one that stays full is named."""
    monkeypatch.setattr(runner, "PAUSE_S", 0.0)
    left = [TransientError("full"), TransientError("full")]

    def busy() -> Finding:
        if left:
            raise left.pop()
        return _sound()

    def broken() -> Finding:
        raise TransientError("cut off")

    def full() -> Finding:
        raise Throttled("full", retry_after_s=1.0)

    found = _run(busy=busy, broken=broken, full=full)
    assert found["busy"].verdict is Verdict.PROVEN
    assert found["broken"].verdict is Verdict.DIFFERS
    assert found["broken"].seen == "TransientError: cut off"
    assert found["full"].verdict is Verdict.SKIPPED
    assert "429" in found["full"].seen


def test_after_a_stop_nothing_new_begins() -> None:
    """A trial that is ending skips the rest and says so."""
    stop = Stop()
    stop.set()
    rows = run({"late": Check(title="", run=_sound)}, stop=stop, told=lambda _: None)
    assert rows[0].finding == Finding(
        verdict=Verdict.SKIPPED, expected="", seen="the trial was ended"
    )


def test_a_removal_that_is_interrupted_names_the_rest() -> None:
    """A second Ctrl-C leaves things behind, and each is named."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    made = Belongings()
    removed: list[str] = []
    made.note("first", lambda: removed.append("first"))
    made.note("second", interrupt)
    made.note("third", lambda: removed.append("third"))
    assert made.remove(lambda _: None) == ("second: interrupted", "first: interrupted")
    assert removed == ["third"]


def _sound() -> Finding:
    return judged(expected="", seen="", holds=True)


def _run(**checks: object) -> dict[str, Finding]:
    ready = {name: Check(title="", run=check) for name, check in checks.items()}  # type: ignore[arg-type]
    return {row.id: row.finding for row in run(ready, stop=Stop(), told=lambda _: None)}
