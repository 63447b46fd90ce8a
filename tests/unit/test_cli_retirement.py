"""The command retire: what it asks of a running Ebb, what it shows, and how it exits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.cli import main
from shared.ports import Protection
from shared.terminal.console import DONE, MISUSED, PROBLEM
from tests.simulation.people import archives
from tests.simulation.retirees import archived
from tests.unit.test_cli import FakeEbb, ebb

__all__ = ["ebb"]

PATH = "/api/migrations/sim/retirement"


def assessed(*, protected: bool = True) -> dict[str, Any]:
    world = archived(1, "delete", documents=3).world
    if not protected:
        archives(world).protection = Protection(soft_delete_days=0, versioned=False)
    found: dict[str, Any] = world.calm.retirements.assess("sim").as_dict()
    return found


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_without_a_verb_it_only_looks(ebb: FakeEbb, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run: documents, cost, each condition, and how to begin."""
    ebb.answers["GET", PATH] = (200, assessed())
    assert main(["retire", "sim", "--url", ebb.url]) == DONE
    text = shown(capsys)
    assert [asked[0] for asked in ebb.asked] == ["GET"]
    assert "3 documents" in text
    assert "assumed from their size" in text
    assert "holds  protection" in text
    assert "nothing was removed; begin with: ebb retire sim --execute" in text


def test_a_closed_gate_is_shown_and_exits_with_one(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that only looks learns it from the code."""
    ebb.answers["GET", PATH] = (200, assessed(protected=False))
    assert main(["retire", "sim", "--url", ebb.url]) == PROBLEM
    text = shown(capsys)
    assert "CLOSED protection" in text
    assert "begin with" not in text


def test_a_verb_is_sent_with_the_reasons_given(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str]
) -> None:
    """And only one verb at a time."""
    world = archived(1, "delete", documents=3).world
    world.calm.retirements.execute("sim", {})
    answer = world.calm.operating.status("sim").as_dict()["retirement"]
    ebb.answers["POST", PATH] = (202, json.loads(json.dumps(answer, default=str)))
    why = ["--accept-unprotected", "on tape", "--accept-change-feed", "a cache"]
    assert main(["retire", "sim", "--execute", *why, "--url", ebb.url]) == DONE
    ((method, path, body),) = ebb.asked
    assert (method, path) == ("POST", PATH)
    assert json.loads(body) == {
        "action": "execute",
        "accept_protection": "on tape",
        "accept_change_feed": "a cache",
    }
    assert "sim: remove is running (executed by hand): 0 of 3 removed" in shown(capsys)
    with pytest.raises(SystemExit):
        main(["retire", "sim", "--execute", "--undo"])


def test_a_refusal_exits_as_used_wrongly(ebb: FakeEbb, capsys: pytest.CaptureFixture[str]) -> None:
    """With what stands against it."""
    ebb.answers["POST", PATH] = (409, {"detail": "receipts: one is missing"})
    assert main(["retire", "sim", "--undo", "--url", ebb.url]) == MISUSED
    assert "one is missing" in capsys.readouterr().err
