"""The terminal on archives: verify and prove, what they print and write, and how they exit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared import cli, wiring
from shared.terminal.console import DONE, MISUSED, PROBLEM
from tests.simulation.world import World
from tests.unit.test_verifying import data_names, flip


@pytest.fixture
def main(archived: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world's application in place of one built from the environment."""
    monkeypatch.setattr(wiring, "build", lambda _environment: archived.calm)
    return archived


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.main(list(arguments))
    return code, capsys.readouterr().out


def test_verify_says_what_it_proved(main: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Documents, slices, whether it is complete, and the fingerprint to note down."""
    code, shown = ran(capsys, "verify", "sim")
    assert code == DONE
    assert "60 documents in" in shown
    assert "complete; fingerprint" in shown
    code, shown = ran(capsys, "verify", "sim", "--json", "--sample", "50%")
    assert code == DONE
    assert json.loads(shown)["whole"] is False
    assert "a sample: the blobs of" in ran(capsys, "verify", "sim", "--sample", "0.5")[1]


def test_verify_lists_every_fault_and_exits_as_a_problem(
    main: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """On the terminal, as JSON and as a page."""
    harmed = data_names(main)[0]
    flip(main, harmed)
    page = tmp_path / "report.html"
    code, shown = ran(capsys, "verify", "sim", "--page", str(page))
    assert code == PROBLEM
    assert "1 fault(s)" in shown
    assert harmed in shown
    assert "Not proven: 1 fault(s)." in page.read_text()
    assert harmed in page.read_text()
    code, shown = ran(capsys, "verify", "sim", "--json")
    assert (code, json.loads(shown)["faults_total"]) == (PROBLEM, 1)


def test_the_page_is_whole_in_itself(
    main: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """For somebody without a network, and with whatever stands in an id shown as text."""
    page = tmp_path / "report.html"
    assert ran(capsys, "verify", "sim", "--page", str(page))[0] == DONE
    text = page.read_text()
    assert "Proven: every document found is what its receipt says. It is complete." in text
    assert "http" not in text
    assert "<script" not in text


def test_verify_goes_on_from_its_notebook(
    main: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The second run reads no blob again, and says so."""
    notes = str(tmp_path / "notes")
    assert ran(capsys, "verify", "sim", "--resume", notes)[0] == DONE
    code, shown = ran(capsys, "verify", "sim", "--resume", notes)
    assert code == DONE
    assert "slices were found sound by an earlier run" in shown
    assert ran(capsys, "verify", "sim", "--resume", str(tmp_path))[0] == MISUSED


@pytest.mark.parametrize("share", ["0", "-1", "101%", "many"])
def test_a_sample_must_be_a_share(
    main: World, capsys: pytest.CaptureFixture[str], share: str
) -> None:
    """Told before anything is read."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["verify", "sim", f"--sample={share}"])
    assert caught.value.code == MISUSED
    assert "--sample" in capsys.readouterr().err


def test_prove_prints_lines_that_lead_to_the_fingerprint(
    main: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And writes the document whose hash the first line tells."""
    key = main.source.documents["doc-07"]["pk"]
    out = tmp_path / "document.json"
    code, shown = ran(capsys, "prove", "sim", "doc-07", "--pk", key, "--out", str(out))
    assert code == DONE
    told = json.loads(ran(capsys, "prove", "sim", "doc-07", "--pk", key, "--json")[1])
    for line in ("leaf", "merkle_root", "receipt_sha256", "receipt_leaf", "fingerprint"):
        assert told[line] in shown
    assert json.loads(out.read_text())["id"] == "doc-07"
    nowhere = str(tmp_path / "none" / "x")
    assert ran(capsys, "prove", "sim", "doc-07", "--pk", key, "--out", nowhere)[0] == MISUSED


def test_a_document_that_cannot_be_proven_is_a_problem(
    main: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a script notices; a migration nobody knows is used wrongly."""
    assert ran(capsys, "prove", "sim", "doc-99", "--pk", "x")[0] == PROBLEM
    assert ran(capsys, "prove", "other", "doc-07", "--pk", "x")[0] == MISUSED
    assert ran(capsys, "verify", "other")[0] == MISUSED
