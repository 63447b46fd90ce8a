"""The terminal's plan: what it prints and writes, what it refuses, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared import cli, wiring
from shared.application.estimating import estimate
from shared.domain.prices import Prices
from shared.terminal.console import DONE, MISUSED, UNREACHABLE
from shared.terminal.plan import plan_page
from tests.simulation.world import World
from tests.unit.test_estimating import a_survey
from tests.unit.test_surveying import SPEC, a_world, running_board


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """The world's application in place of one built from the environment."""
    made = a_world()
    monkeypatch.setattr(wiring, "build", lambda _environment: made.calm)
    return made


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "spec.yaml"
    path.write_text(SPEC)
    return str(path)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.main(["plan", *arguments])
    return code, capsys.readouterr().out


def test_plan_prints_every_part_of_the_report(
    world: World, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is registered: stock, effort, savings, engine, risks and the answers."""
    code, shown = ran(capsys, spec)
    assert code == DONE
    for part in (
        "What is there",
        "documents                     41",
        "range r001",
        "What it takes",
        "prices as of                  2025-07-25",
        "retire: keep (this spec)      nothing is removed",
        "  in cold                     -0.00 USD a month",
        "retire: stub                  ",
        "Which engine",
        "What could go wrong",
        "3. How much time will it take?",
        "2% of capacity",
    ):
        assert part in shown, part
    assert world.ports.ledger.migrations() == ()


def test_plan_as_json_is_one_value_with_the_answers(
    world: World, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the allowance is what it was asked for."""
    code, shown = ran(capsys, spec, "--json", "--allowance", "60")
    found = json.loads(shown)
    assert code == DONE
    assert found["survey"]["ru"] <= 113
    assert found["survey"]["cut_short"] != ""
    assert len(found["answers"]) == 7


def test_the_plan_page_is_whole_in_itself(
    world: World, spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a network, and with whatever stands in an id shown as text."""
    world.source.documents.clear()
    world.source.put("<script>/[b]", ts=1_790_000_000, body=1)
    page = tmp_path / "plan.html"
    code, shown = ran(capsys, spec, "--page", str(page))
    text = page.read_text()
    assert code == DONE
    assert "What could go wrong" in text
    assert "&lt;script&gt;/[b]" in text
    assert "'<script>/[b]'" in shown
    assert "<script" not in text
    assert "http" not in text


def test_the_page_shows_the_whole_week_in_bars() -> None:
    """A quarter of a day each, the longest where there is most room."""
    text = plan_page(estimate(a_survey(), Prices()))
    assert text.count('class="bar"') == 28
    assert text.count("width: 20.0rem") == 28


def test_plan_tells_the_later_cycles_of_a_schedule(
    world: World, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """How often, how many documents, and what they take with the retiring."""
    assert "Each later cycle" not in ran(capsys, spec)[1]
    Path(spec).write_text(f"{SPEC}schedule: {{every: 30d}}\nretire: delete\n")
    shown = ran(capsys, spec, "--allowance", "100000")[1]
    later = shown[shown.index("Each later cycle") : shown.index("What it saves a month")]
    names = [line.split("  ")[1] for line in later.splitlines()[1:] if line]
    assert names == ["due", "documents", "request units", "retire: delete", "money", "duration"]
    assert "every 30.0 days" in later


def test_plan_takes_somebody_elses_prices(
    world: World, spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their currency and their date are on the report."""
    prices = tmp_path / "prices.json"
    prices.write_text('{"as_of": "2026-11-01", "currency": "EUR"}')
    shown = ran(capsys, spec, "--prices", str(prices))[1]
    assert "2026-11-01" in shown
    assert "EUR" in shown
    assert "USD" not in shown
    prices.write_text('{"currancy": "EUR"}')
    assert ran(capsys, spec, "--prices", str(prices))[0] == MISUSED


def test_plan_refuses_what_it_cannot_read_or_write(
    world: World, spec: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing spec, a folder for a page, a faulty spec, no allowance."""
    assert ran(capsys, str(tmp_path / "none.yaml"))[0] == MISUSED
    assert ran(capsys, spec, "--page", str(tmp_path))[0] == MISUSED
    Path(spec).write_text("name: 1")
    assert ran(capsys, spec)[0] == MISUSED
    for wrong in ("0", "-5", "nan", "inf", "much"):
        with pytest.raises(SystemExit):
            ran(capsys, spec, "--allowance", wrong)


def test_plan_without_budget_can_be_tried_again(
    world: World, spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody is copying and nothing is granted: not reachable now, nothing asked."""
    running_board(world, budget=0.0)
    assert ran(capsys, spec)[0] == UNREACHABLE
    assert world.source.ru_charged == 0
