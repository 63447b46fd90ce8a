"""The bench of validating: its archive, its stock, its limit and its figures, on tiny stocks."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from bench import validate, validate_ebb, validate_limit, validate_stock
from bench.errors import BenchError
from bench.validate import Size, compared, main, measure
from bench.validate_archive import DirectoryArchive, DirectoryArchives
from sandbox.seeding import SeedPlan, seed_documents
from shared.adapters.parquet import ParquetFormat
from shared.domain.slices import Stored
from shared.errors import Conflict, NotFound
from tests.unit.samples import a_row

TINY = Size(kb=4, slices=2, slice_documents=33)  # of which each has two row groups


@pytest.fixture
def archive(tmp_path: Path) -> DirectoryArchive:
    return DirectoryArchives(tmp_path).open("archive", "some/prefix")


def written(archive: DirectoryArchive, name: str, data: bytes) -> Stored:
    writer = archive.writer(name)
    writer.write(data)
    return writer.commit()


def listed(archive: DirectoryArchive, prefix: str = "") -> list[str]:
    return [stored.name for stored in archive.stored(prefix)]


def a_stock(folder: Path) -> dict[str, Any]:
    return validate_stock.made(
        {
            "folder": str(folder),
            "kb": TINY.kb,
            "slices": TINY.slices,
            "slice_documents": TINY.slice_documents,
        }
    )


def ebb(folder: Path, stock: Mapping[str, Any], *, again: bool) -> dict[str, Any]:
    job = {"folder": str(folder), "records": stock["records"], "again": again}
    return validate_ebb.measured(job)


def a_file(folder: Path, document: bytes, *, sha256: str = "") -> dict[str, Any]:
    """A data file of one document, as a job of the limit."""
    archive = DirectoryArchives(folder).open("archive", "")
    sink = archive.writer("one.parquet")
    table = ParquetFormat().data_writer(sink, partition_key=("/customer",), promote=())
    table.add(a_row(sha256=sha256 or hashlib.sha256(document).hexdigest()), document)
    table.close({})
    sink.commit()
    return {"blobs": [str(folder / "archive" / "one.parquet")], "documents": 1}


def limit(job: Mapping[str, Any], *, bare: bool) -> dict[str, Any]:
    return validate_limit.measured({**job, "bare": bare})


def test_a_blob_of_the_directory_is_read_back_as_it_was_written(archive: DirectoryArchive) -> None:
    """Name, size, digest and etag are those of the bytes that stand there."""
    stored = written(archive, "data/a.parquet", b"hello")
    into = BytesIO()
    assert archive.download("data/a.parquet", into) == stored
    assert into.getvalue() == b"hello" == archive.read("data/a.parquet")
    assert (stored.size_bytes, stored.sha256) == (5, hashlib.sha256(b"hello").hexdigest())


def test_a_blob_larger_than_one_piece_arrives_whole(
    archive: DirectoryArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces bound the memory and change nothing else."""
    monkeypatch.setattr("bench.validate_archive.PIECE_BYTES", 3)
    stored = written(archive, "a", b"0123456789")
    into = BytesIO()
    assert archive.download("a", into).sha256 == stored.sha256
    assert into.getvalue() == b"0123456789"


def test_what_the_directory_does_not_hold_is_not_found(archive: DirectoryArchive) -> None:
    """Reading says None, downloading and promoting raise, removing is no error."""
    assert archive.read("a") is None
    with pytest.raises(NotFound, match="blob a: it is not there"):
        archive.download("a", BytesIO())
    with pytest.raises(NotFound, match="blob a: it is not there"):
        archive.promote(Stored(name="a", size_bytes=1, etag="e"), "b")
    archive.delete("a")


def test_nobody_sees_a_blob_before_it_is_committed(archive: DirectoryArchive) -> None:
    """An abandoned one leaves nothing, a committed one replaces what stood there."""
    written(archive, "a", b"old")
    writer = archive.writer("a")
    writer.write(b"new")
    assert archive.read("a") == b"old"
    writer.abort()
    assert archive.read("a") == b"old"
    written(archive, "a", b"newer")
    assert archive.read("a") == b"newer"
    assert listed(archive) == ["a"]


def test_only_the_first_receipt_of_a_directory_stands(
    archive: DirectoryArchive, tmp_path: Path
) -> None:
    """It is there whole, and a second one changes nothing and leaves nothing."""
    assert archive.put_if_absent("receipts/a.json", b"first")
    assert not archive.put_if_absent("receipts/a.json", b"second")
    assert archive.read("receipts/a.json") == b"first"
    assert listed(archive) == ["receipts/a.json"]
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_a_directory_promotes_what_was_read_and_replaces_nothing(
    archive: DirectoryArchive,
) -> None:
    """Changed bytes are refused, a target that stands is left, the source can go afterwards."""
    staged = written(archive, "staging/a", b"one")
    assert archive.promote(staged, "data/a")
    archive.delete("staging/a")
    assert archive.read("data/a") == b"one"
    other = written(archive, "staging/a", b"two")
    assert not archive.promote(other, "data/a")
    assert archive.read("data/a") == b"one"
    with pytest.raises(Conflict, match="it changed since it was validated"):
        archive.promote(replace(other, etag=staged.etag), "data/b")
    assert archive.read("data/b") is None


def test_a_directory_lists_by_prefix_in_order_of_name(archive: DirectoryArchive) -> None:
    """Folders are no blobs, and what is being written is none yet."""
    names = [f"data/{letter}/{number}" for letter in "cab" for number in (3, 1, 4, 2)]
    for name in (*names, "receipts/a"):
        written(archive, name, b"x")
    archive.writer("data/z").write(b"x")
    assert listed(archive, "data/") == sorted(names)
    assert listed(archive) == [*sorted(names), "receipts/a"]


def test_a_stock_is_staged_and_then_proven_and_verified(tmp_path: Path) -> None:
    """All documents lie in as many slices as were asked for, under one receipt each."""
    stock = a_stock(tmp_path)
    assert stock["documents"] == 66
    assert stock["document_bytes"] == pytest.approx(66 * 4096, rel=0.2)
    assert len(stock["blobs"]) == len(stock["records"]["slices"]) == 2
    assert sum(Path(tmp_path / name).stat().st_size for name in stock["blobs"]) > 10_000
    proven = ebb(tmp_path, stock, again=False)
    assert len(list((tmp_path / "archive" / "bench" / "receipts").iterdir())) == 2
    assert not any((tmp_path / "archive" / "bench" / "staging").iterdir())
    verified = ebb(tmp_path, stock, again=True)
    for found in (proven, verified):
        assert 0 < found["rss_mb_idle"] <= found["rss_mb"]
        assert found["seconds"] > 0


def test_a_stock_that_could_not_be_copied_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice that failed once would be left out of every figure unseen."""
    (one,) = seed_documents(SeedPlan(documents=1), now_s=validate_stock.SETTLED_S)
    monkeypatch.setattr(validate_stock, "seed_documents", lambda *_, **__: repeat(one))
    with pytest.raises(BenchError, match=r"copying the stock: .* is failed \(.*twice"):
        a_stock(tmp_path)


def test_no_figure_comes_of_a_stock_that_is_harmed(tmp_path: Path) -> None:
    """A slice that is not proven, or an archive that is not sound, ends the bench."""
    stock = a_stock(tmp_path)
    name = tmp_path / stock["blobs"][0]
    whole = name.read_bytes()
    name.write_bytes(whole[:-1])
    with pytest.raises(BenchError, match=r"validating the stock: .*mismatch"):
        ebb(tmp_path, stock, again=False)
    name.write_bytes(whole)
    ebb(tmp_path, stock, again=False)
    data = next((tmp_path / "archive" / "bench" / "data").rglob("*.parquet"))
    data.write_bytes(whole[:-1])
    with pytest.raises(BenchError, match=r"verifying the stock: 66 of 66 documents, .*bytes"):
        ebb(tmp_path, stock, again=True)


def test_documents_that_no_receipt_names_are_missed(tmp_path: Path) -> None:
    """An archive that lacks a whole slice is sound by itself, yet not what was measured."""
    stock = a_stock(tmp_path)
    ebb(tmp_path, stock, again=False)
    for kind in ("receipts", "data", "manifests"):
        for path in sorted((tmp_path / "archive" / "bench" / kind).rglob("*-r000.*"))[:1]:
            path.unlink()
    with pytest.raises(BenchError, match="verifying the stock: 33 of 66 documents, no fault"):
        ebb(tmp_path, stock, again=True)


def test_the_limit_checks_every_document_of_the_stock(tmp_path: Path) -> None:
    """In its canonical form or as it stands; a file left out is no limit."""
    stock = a_stock(tmp_path)
    blobs = [str(tmp_path / name) for name in stock["blobs"]]
    job = {"blobs": blobs, "documents": 66}
    assert limit(job, bare=False)["seconds"] > 0
    assert limit(job, bare=True)["seconds"] > 0
    with pytest.raises(BenchError, match="33 of 66 documents"):
        limit({**job, "blobs": blobs[:1]}, bare=True)


@pytest.mark.parametrize("bare", [True, False])
def test_the_limit_refuses_a_document_without_its_digest(tmp_path: Path, *, bare: bool) -> None:
    """A loop that hashes nothing would be a faster limit and no proof."""
    job = a_file(tmp_path, b'{"a":1}', sha256="00" * 32)
    with pytest.raises(BenchError, match="does not have its digest"):
        limit(job, bare=bare)


@pytest.mark.parametrize("document", [b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":1e0}'])
def test_the_limit_rewrites_what_the_bare_loop_leaves(tmp_path: Path, document: bytes) -> None:
    """Other order, space or spelling: the bytes are what they were, and not canonical."""
    job = a_file(tmp_path, document)
    assert limit(job, bare=True)["seconds"] > 0
    with pytest.raises(BenchError, match="does not have its digest"):
        limit(job, bare=False)


def a_turn(validate: float, limit: float, verify: float, bare: float) -> dict[str, Any]:
    """Everybody's processor seconds; by the clock Ebb took twice and the limit three times that."""
    cpu_s = {"validate": validate, "limit": limit, "verify": verify, "bare": bare}
    waited = {"validate": 2, "limit": 3, "verify": 2, "bare": 5}
    return {
        who: {"seconds": s * waited[who], "cpu_s": s, "rss_mb": 100 + s, "rss_mb_idle": 50 + s}
        for who, s in cpu_s.items()
    }


def test_a_ratio_is_taken_within_each_round() -> None:
    """So what slows a whole round down decides nothing; its median and its spread are told."""
    turns = [a_turn(4, 8, 2, 1), a_turn(40, 60, 20, 10), a_turn(4, 4, 8, 2)]
    found = compared(turns, "validate", mb=80)
    assert (found["ratio_from"], found["ratio"], found["ratio_to"]) == (1.0, 1.5, 2.0)
    assert found["wall_ratio"] == 2.25
    assert found["bare_ratio"] == 0.25
    assert found["mb_per_s"] == 20
    assert found["mb_per_s_limit"] == 10
    assert found["mb_per_s_bare"] == 40
    assert (found["rss_mb"], found["rss_mb_idle"], found["rss_mb_limit"]) == (140, 90, 160)
    assert compared(turns, "verify", mb=80)["ratio"] == 3.0


class Children:
    """Stands in for the processes, and keeps what they were asked and where they would run."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.cores: list[set[int]] = []
        self.look: Callable[[], set[int]] = set
        self.seconds = iter((2.0, 4.0, 1.0, 8.0) * 4)

    def run(self, _: object, module: str, job: Mapping[str, Any], **__: object) -> dict[str, Any]:
        self.asked.append((module, job))
        if module == "bench.validate_stock":
            return validate_stock.made(job)
        self.cores.append(self.look())
        assert all(Path(name).exists() for name in job.get("blobs", [job.get("folder")]))
        taken = next(self.seconds)
        rss = 300.0 if job.get("again") else 100.0
        return {"seconds": taken, "cpu_s": taken, "rss_mb": rss, "rss_mb_idle": 9.0}


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    children = Children()
    monkeypatch.setattr(validate, "run_child", children.run)
    return children


def test_everybody_takes_turns_over_the_same_files(children: Children) -> None:
    """Ebb, limit, Ebb, bare loop, in every round; Ebb on a copy of its own."""
    measure((TINY,), rounds=2)
    turns = children.asked[1:]
    assert [(m.rpartition("_")[2], j.get("again"), j.get("bare")) for m, j in turns] == [
        ("ebb", False, None),
        ("limit", None, False),
        ("ebb", True, None),
        ("limit", None, True),
    ] * 2
    base = children.asked[0][1]["folder"]
    assert all(base not in job["folder"] for _, job in turns if "folder" in job)
    assert all(name.startswith(base) for _, job in turns for name in job.get("blobs", ()))


def test_whoever_is_measured_has_one_core(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who waits for them gets its own back."""
    bound = [{0, 3, 5}]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: bound[-1], raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, c: bound.append(c), raising=False)
    children.look = lambda: bound[-1]
    measure((TINY,), rounds=1)
    assert children.cores == [{5}] * 4
    assert bound[-1] == {0, 3, 5}


def test_where_cores_cannot_be_chosen_nobody_is_bound(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures are told all the same."""
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert measure((TINY,), rounds=1)["ratio"] == 2.0


def test_the_first_row_stands_for_all_and_memory_for_the_worst(children: Children) -> None:
    """Validating 300 KB documents is the figure; no row may hide a greater peak."""
    found = measure((TINY, TINY), rounds=1)
    assert [row["what"] for row in found["rows"]] == ["validate, 4 KB", "verify, 4 KB"] * 2
    assert (found["ratio"], found["bare_ratio"]) == (2.0, 4.0)
    assert found["mb_per_s"] == pytest.approx(found["rows"][0]["mb"] / 2)
    assert (found["rss_mb"], found["rss_mb_idle"]) == (300.0, 9.0)


def test_the_bench_tells_its_figures_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With real processes, on three documents."""
    monkeypatch.setattr(validate, "SIZES", (Size(kb=1, slices=1, slice_documents=3),))
    assert main(["--json", "--rounds", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(found[name] > 0 for name in ("ratio", "bare_ratio", "rss_mb", "mb_per_s"))
    assert [row["documents"] for row in found["rows"]] == [3, 3]


def test_a_bench_that_cannot_measure_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on standard output, and the exit code of what could not be reached."""

    def failing(*_: object, **__: object) -> dict[str, Any]:
        raise BenchError("copying the stock: no room")

    monkeypatch.setattr(validate, "run_child", failing)
    assert main(["--json"]) == 3
    told = capsys.readouterr()
    assert (told.out, "no room" in told.err) == ("", True)
