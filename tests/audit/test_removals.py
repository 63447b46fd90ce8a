"""Removal records and what lies beside an archive: the auditor names what is harmed or strange."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.audit.archives import audited, kinds, told
from tests.audit.forging import Forger
from tools import audit


@pytest.fixture
def retired(originals: dict[str, Path], tmp_path: Path) -> Path:
    """An archive whose documents were removed and brought back."""
    return Path(shutil.copytree(originals["retired"], tmp_path / "retired"))


def record(folder: Path) -> Path:
    return min((folder / "removed").iterdir())


def edited(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = record(folder)
        path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))

    return edit


def renamed(folder: Path) -> None:
    path = record(folder)
    path.rename(path.with_name(path.name.replace(".0000000000.", ".0000000001.")))


def of_another_slice(folder: Path) -> None:
    path = record(folder)
    body = json.loads(path.read_bytes()) | {"slice": "0000000000-0000000001-r000"}
    name = f"{body['slice']}.{body['first']:010d}.{body['fence']}.json"
    path.with_name(name).write_text(json.dumps(body))


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (
        lambda folder: record(folder).write_bytes(record(folder).read_bytes()[:-2]),
        "unreadable",
    ),
    "another outcome": (edited(outcomes=["eaten"]), "unreadable"),
    "no row": (edited(outcomes=[]), "removal"),
    "too many rows": (edited(outcomes=["moved"] * 99), "removal"),
    "another batch": (edited(first=5), "removal"),
    "another attempt": (edited(fence=9), "removal"),
    "another direction": (edited(direction="restore"), "removal"),
    "another migration": (edited(migration={"name": "x", "uid": "y"}), "migration"),
    "another way to remove": (edited(mode="stub"), "migration"),
    "another name": (renamed, "removal"),
    "a slice without a receipt": (of_another_slice, "removal"),
    "no record": (lambda folder: (folder / "removed/x.json").write_text("{}"), "stranger"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_harmed_removal_record_is_named(retired: Path, name: str) -> None:
    """It proves no document, and an index rebuilt from it would point at the wrong ones."""
    code, report = audited(retired)
    assert (code, report["faults"]) == (audit.PROVEN, {})
    assert report["removal_records"] == len(list(retired.glob("re*/*.0*.json"))) > 3
    harm, kind = HARM[name]
    harm(retired)
    assert kind in kinds(retired)


def link_to_file(forger: Forger) -> str:
    name = "data/appdb/more.parquet"
    forger.path(name).parent.mkdir(exist_ok=True, parents=True)
    forger.path(name).symlink_to(forger.path(forger.data(forger.slices()[0])))
    return name


def link_to_folder(forger: Forger) -> str:
    forger.path("data/linked").symlink_to(forger.path("data"), target_is_directory=True)
    return "data/linked"


def link_to_nothing(forger: Forger) -> str:
    forger.path("receipts/gone.json").symlink_to(forger.path("nowhere"))
    return "receipts/gone.json"


@pytest.mark.parametrize("link", [link_to_file, link_to_folder, link_to_nothing])
def test_a_symbolic_link_is_named(forger: Forger, link: Callable[[Forger], str]) -> None:
    """DuckDB and pandas follow it, and would read documents that nobody proved."""
    name = link(forger)
    code, report = audited(forger.folder)
    assert (code, set(report["faults"])) == (audit.FAULTY, {"link"})
    assert [each["blob"] for each in report["faults"]["link"]["first"]] == [name]


def test_a_strange_file_beside_the_data_is_named(forger: Forger) -> None:
    """No fault: it is no part of the archive; what Ebb itself leaves in staging is not strange."""
    for name in ("extra.parquet", "more/x\x1b[2J.txt", "staging/a.1.parquet"):
        forger.path(name).parent.mkdir(exist_ok=True)
        forger.path(name).write_bytes(b"x")
    code, report = audited(forger.folder)
    assert (code, report["not_looked_at"]) == (audit.PROVEN, 3)
    assert report["strange"] == ["extra.parquet", "more/x\x1b[2J.txt"]
    _, out, _ = told(str(forger.folder))
    assert 'not Ebb\'s: "extra.parquet"' in out
    assert "\x1b" not in out
