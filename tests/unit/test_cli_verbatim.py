"""The terminal shows what it is given as it is: markup and emoji codes in it mean nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared import cli, wiring
from shared.application.verifying import Report, Verifying
from shared.terminal.console import PROBLEM, Terminal
from tests.simulation.runs import DAY_S, SPEC, calm_down
from tests.simulation.world import START_S, World, make_world
from tests.unit.test_cli import FakeEbb, a_status, ebb
from tests.unit.test_cli_retirement import assessed

__all__ = ["ebb"]

HOSTILE = "order:id:42 :key: item[blue] inv[/2024] [red]x[/red]"
PATH = "/api/migrations/sim"
DECISION: dict[str, Any] = {
    "at_s": 1_800_000_000,
    "reason": "slack",
    "sentence": f"because {HOSTILE}",
    "budget_ru_per_s": 600.0,
    "business_ru_per_s": None,
    "reading_age_s": None,
    "own_ru_per_s": 0.0,
    "risk": None,
    "shares": {},
}


class Faulty(Verifying):
    """Finds a fault that quotes what it met."""

    def run(self, name: str, *_: Any) -> Report:
        report = Report(name=name)
        report.fault(HOSTILE)
        return report


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> World:
    """A finished archive of one document with an odd id, in place of the environment's."""
    world = make_world(5)
    world.source.put(HOSTILE, ts=START_S - 100 * DAY_S, body=HOSTILE)
    world.calm.operating.apply(SPEC)
    world.calm.operating.start("sim")
    calm_down(world)
    app = replace(world.calm, verifying=Faulty(world.ports))
    monkeypatch.setattr(wiring, "build", lambda _environment: app)
    return world


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table's cells are not folded."""
    monkeypatch.setenv("COLUMNS", "500")


def answer_everything(ebb: FakeEbb) -> None:
    """What Ebb may say of a migration, hostile wherever text may stand."""
    said = {"name": "sim", "state": "running", "reason": HOSTILE}
    finding = {"what": "queue", "verdict": "faulty", "seen": HOSTILE, "advice": f"do {HOSTILE}"}
    retirement = assessed()
    retirement["gates"][0]["text"] = HOSTILE
    ebb.answers = {
        ("GET", PATH): (200, a_status(pace=HOSTILE)),
        ("GET", f"{PATH}/decisions"): (200, [DECISION]),
        ("GET", f"{PATH}/retirement"): (200, retirement),
        ("GET", "/api/doctor"): (200, [finding]),
        ("POST", f"{PATH}/start"): (200, said),
        ("POST", f"{PATH}/stop"): (409, {"detail": HOSTILE}),
    }


@pytest.mark.parametrize(
    ("command", "times"),
    [
        ("start sim", 1),
        ("stop sim", 1),
        ("status sim", 1),
        ("explain sim", 2),
        ("retire sim", 1),
        ("doctor", 2),
    ],
)
def test_what_a_running_ebb_says_is_shown_verbatim(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str], command: str, times: int
) -> None:
    """Reasons quote ids of documents, and an id may be anything."""
    answer_everything(ebb)
    cli.main([*command.split(), "--url", ebb.url])
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count(HOSTILE) == times


@pytest.mark.parametrize("command", ["verify", "prove", "read", "plan"])
def test_what_the_archive_holds_is_shown_verbatim(
    odd: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """A leaf that was changed on its way to the screen proves nothing."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    one = ["sim", HOSTILE, "--pk", odd.source.documents[HOSTILE]["pk"]]
    arguments = {"verify": ["sim"], "prove": one, "read": one, "plan": [str(spec)]}
    cli.main([command, *arguments[command]])
    assert HOSTILE in capsys.readouterr().out


def test_marks_keep_their_colour_beside_verbatim_text(
    ebb: FakeEbb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The eye finds the fault; the words beside it stay plain."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    answer_everything(ebb)
    assert cli.main(["doctor", "--url", ebb.url]) == PROBLEM
    assert f"\x1b[1;31mFAULTY \x1b[0m  queue: {HOSTILE}\n" in capsys.readouterr().out
    assert cli.main(["retire", "sim", "--url", ebb.url]) == 0
    assert "\x1b[32mholds \x1b[0m " in capsys.readouterr().out


def test_progress_takes_the_place_of_the_last_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It returns to the line's beginning, and leaves none behind."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    terminal = Terminal(as_json=False, app=lambda: make_world(1).calm)
    for text in ("1 receipts", HOSTILE, ""):
        terminal.progress(text)
    assert capsys.readouterr().err == f"\r\x1b[K1 receipts\r\x1b[K{HOSTILE}\r\x1b[K"
