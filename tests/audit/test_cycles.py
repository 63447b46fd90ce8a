"""An archive of several cycles: each summary is held against what stood there by its boundary."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.audit.archives import audited, kinds, told
from tests.audit.forging import Forger
from tools import audit

HOUSE = Path(__file__).parents[2]
SUMMARY_KINDS = {
    "ebb_migration": {"unreadable"},
    "name": {"migration"},
    "uid": {"migration"},
    "until_s": {"count"},
    "receipts": {"count"},
    "documents": {"count"},
    "fingerprint": {"fingerprint"},
}


def summaries(folder: Path) -> list[Path]:
    return sorted((folder / "cycles").iterdir())


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def documents(query: str) -> list[Any]:
    rows = duckdb.execute(query.replace("SELECT *", "SELECT document")).fetchall()
    return [json.loads(text) for (text,) in rows]


def test_the_documented_line_shows_newest_versions_only(cycles: Path) -> None:
    """As docs/design.md has it, only with this archive's folder."""
    design = (HOUSE / "docs" / "design.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"```sql\n(.*?)```", design, re.DOTALL)
    query = line.replace("archive/billing", str(cycles)).strip().removesuffix(";")
    files = query[: query.index("QUALIFY")]
    everything = [(each["id"], each["body"]) for each in documents(files)]
    newest = [(each["id"], each["body"]) for each in documents(query)]
    assert set(everything) - set(newest) == {("doc-002", 2)}
    assert ("doc-002", "newer") in newest
    assert len(set(newest)) == len(newest) == len(everything) - 1


def test_each_cycles_fingerprint_can_have_been_noted_down(originals: dict[str, Path]) -> None:
    """One noted after any cycle still proves that cycle's part; another one proves nothing."""
    for shape in ("cycles", "under_way"):
        folder = originals[shape]
        claimed = [json.loads(each.read_bytes()) for each in summaries(folder)]
        for each in claimed:
            assert audited(folder, "--fingerprint", each["fingerprint"])[0] == audit.PROVEN
        assert kinds(folder, "--fingerprint", "0" * 64) == {"fingerprint"}
        _, report = audited(folder)
        assert report["cycles"] == 2
        assert report["newest_cycle"]["fingerprint"] == claimed[-1]["fingerprint"]
        assert report["newest_cycle"]["slices"] == claimed[-1]["receipts"]


def test_a_cycle_under_way_is_proven_so_far(originals: dict[str, Path]) -> None:
    """What lies behind the newest boundary may have gaps, and nothing before it may."""
    code, out, _ = told(str(originals["under_way"]))
    assert code == audit.PROVEN
    assert "PROVEN: so far; " in out
    assert "newest cycle " in out
    assert told(str(originals["cycles"]))[1].startswith("PROVEN: complete\n")


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("field", SUMMARY_KINDS)
def test_an_edited_summary_of_any_cycle_is_found(cycles: Path, which: int, field: str) -> None:
    """The older ones are looked at like the newest."""
    path = summaries(cycles)[which]
    value = json.loads(path.read_bytes())[field]
    edit(path, **{field: value + 1 if isinstance(value, int) else f"{value}x"})
    assert kinds(cycles) == SUMMARY_KINDS[field]


@pytest.mark.parametrize("which", [0, 1])
def test_a_summary_with_other_ranges_is_found(cycles: Path, which: int) -> None:
    """A cycle has the ranges that the migration has."""
    path = summaries(cycles)[which]
    ranges = json.loads(path.read_bytes())["ranges"]
    edit(path, ranges=ranges[:1])
    assert "migration" in kinds(cycles)
    edit(path, ranges=[{**ranges[0], "token": "9"}, *ranges[1:]])
    assert kinds(cycles) == {"migration"}


def test_one_version_too_many_is_found(cycles: Path) -> None:
    """Two versions lie in two cycles: without the boundary between them one has no right to be."""
    summaries(cycles)[0].unlink()
    assert kinds(cycles) == {"duplicate"}


def test_a_boundary_that_never_was_is_found(cycles: Path) -> None:
    """A file at another instant claims what was not so there, and crosses slices."""
    first = summaries(cycles)[0]
    body = json.loads(first.read_bytes())
    between = body["until_s"] - 60
    edit(first, until_s=between)
    first.rename(first.with_name(f"{between:010d}.json"))
    assert kinds(cycles) == {"overlap"}


def test_files_that_are_no_cycles_are_strangers(cycles: Path, folder: Path) -> None:
    """Neither beside cycles, nor in the archive of a migration that has one end only."""
    (cycles / "cycles" / "latest.json").write_text("{}")
    assert kinds(cycles) == {"stranger"}
    (folder / "cycles").mkdir()
    (folder / "cycles" / "1700000000.json").write_bytes((folder / "migration.json").read_bytes())
    assert kinds(folder) == {"stranger"}


def test_a_slice_taken_from_an_older_cycle_is_found(cycles: Path) -> None:
    """Both summaries count it, and their windows no longer follow each other."""
    forger = Forger(cycles)
    taken = forger.slices()[0]
    for name in (f"receipts/{taken}.json", f"manifests/{taken}.parquet", forger.data(taken)):
        (cycles / name).unlink()
    assert kinds(cycles) == {"count", "fingerprint", "gap"}
    _, report = audited(cycles)
    assert report["faults"]["fingerprint"]["count"] == 2
