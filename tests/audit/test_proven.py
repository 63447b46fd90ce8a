"""What Ebb wrote is proven, and the auditor says of it what Ebb itself says."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audit.archives import SHAPES, audited, dump, told
from tests.audit.forging import Forger
from tools import audit


@pytest.mark.parametrize("shape", SHAPES)
def test_every_archive_that_ebb_writes_is_proven(originals: dict[str, Path], shape: str) -> None:
    """Empty slices, several ranges, parts of a second, superseded documents, odd values."""
    code, report = audited(originals[shape])
    assert (code, report["verdict"], report["faults"]) == (audit.PROVEN, "proven", {})
    forger = Forger(originals[shape])
    receipts = [forger.receipt(each) for each in forger.slices(filled=False)]
    assert report["slices"] == len(receipts) > 0
    assert report["documents"] == sum(each["documents"] for each in receipts)
    assert report["document_bytes"] == sum(each["document_bytes"] for each in receipts)
    assert report["complete"] == (shape not in {"halfway", "under_way"})


def test_the_shapes_are_what_they_are_called(originals: dict[str, Path]) -> None:
    """A shape that lost its point would prove nothing."""
    rich = Forger(originals["rich"])
    assert sum("-p" in each for each in rich.slices()) >= 2
    assert len(rich.slices()) < len(rich.slices(filled=False))
    assert len({rich.receipt(each)["range"]["id"] for each in rich.slices()}) >= 2
    assert sum(rich.receipt(each)["documents"] for each in rich.slices()) == 32
    gone = Forger(originals["superseded"])
    assert sum(gone.receipt(each)["superseded"]["count"] for each in gone.slices()) == 1


@pytest.mark.parametrize("shape", ["plain", "empty", "rich"])
def test_the_fingerprint_is_the_one_ebb_wrote(originals: dict[str, Path], shape: str) -> None:
    """Two implementations of the tree agree."""
    claimed = json.loads((originals[shape] / "migration.json").read_bytes())["fingerprint"]
    assert audited(originals[shape])[1]["fingerprint"] == claimed
    assert audited(originals[shape], "--fingerprint", claimed.upper())[0] == audit.PROVEN


@pytest.mark.parametrize("seed", [1, 8, 20])
def test_archives_made_under_misfortune_are_proven(tmp_path: Path, seed: int) -> None:
    """Crashes, lost replies, updates and deletions meanwhile leave nothing to find."""
    from tests.simulation.runs import simulate

    code, report = audited(dump(simulate(seed, ranges=1 + seed % 3), tmp_path))
    assert (code, report["faults"]) == (audit.PROVEN, {})


def test_an_archive_without_its_summary_is_proven_so_far(folder: Path) -> None:
    """What stands there is sound; whether it is everything nobody can say."""
    (folder / "migration.json").unlink()
    forger = Forger(folder)
    taken = forger.slices()[1]
    for name in (f"receipts/{taken}.json", f"manifests/{taken}.parquet", forger.data(taken)):
        (folder / name).unlink()
    code, out, _ = told(str(folder))
    assert code == audit.PROVEN
    assert "PROVEN: so far (not complete" in out
    assert "gaps         1 between slices" in out


def test_people_are_told_the_numbers(originals: dict[str, Path]) -> None:
    """Documents, slices, bytes and the fingerprint to note down."""
    code, out, errors = told(str(originals["plain"]))
    claimed = json.loads((originals["plain"] / "migration.json").read_bytes())
    assert (code, errors) == (audit.PROVEN, "")
    assert out.startswith("PROVEN: complete\n")
    assert f"{claimed['documents']} in {claimed['receipts']} slices" in out
    assert claimed["fingerprint"] in out


def test_it_needs_nothing_but_python_and_pyarrow() -> None:
    """Whoever distrusts Ebb must not have to run any of it."""
    tree = ast.parse(Path(audit.__file__).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    assert "pyarrow" in imported
    assert imported - {"pyarrow"} <= sys.stdlib_module_names
    assert not {"__import__", "importlib", "exec", "eval"} & {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
    }


def test_one_copied_file_is_all_it_takes(originals: dict[str, Path], tmp_path: Path) -> None:
    """Elsewhere, without this repository on any path."""
    alone = Path(shutil.copy(audit.__file__, tmp_path / "audit.py"))
    run = subprocess.run(
        [sys.executable, "-I", alone, originals["rich"]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (audit.PROVEN, "")
    assert run.stdout.startswith("PROVEN: complete")


def test_help_explains_exit_codes_and_arguments() -> None:
    """Somebody who has only the file can use it."""
    code, out, _ = told("--help")
    assert code == 0
    for word in ("0 proven, 1 a fault", "2 used wrongly, 3 not reachable", "--fingerprint", "SAS"):
        assert word in out


@pytest.mark.parametrize("wrong", [[], ["a", "b"], ["a", "--fingerprint", "abc"], ["--nothing"]])
def test_wrong_use_ends_with_two(wrong: list[str]) -> None:
    """A typing error is neither a proof nor a fault."""
    assert told(*wrong)[0] == 2


def test_a_folder_that_is_not_there_gives_no_verdict(tmp_path: Path) -> None:
    """Nothing could be read, so nothing is said about it."""
    code, out, errors = told(str(tmp_path / "none"))
    assert (code, out) == (audit.UNREACHABLE, "")
    assert errors.startswith("NO VERDICT")
