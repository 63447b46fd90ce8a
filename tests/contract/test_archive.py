"""The archive's promises: whole blobs, written once where it matters, promoted only unchanged."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from io import BytesIO

import pytest

from shared.domain.slices import Stored
from shared.errors import Conflict, NotFound, PermanentError, TransientError
from shared.ports import Archive
from tests.contract.rooms import RACERS, Rooms, raced

ODD_NAMES = [
    "data/Größe №/☕ 100%/a+b&c=d.parquet",
    "data/a%2Fb/%41.json",
    "q?x#y.json",
    "data/sp ace/𝄞'quote\".parquet",
    "data/%25/~tilde;semi,comma@at.json",
]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def written(archive: Archive, name: str, *parts: bytes) -> Stored:
    writer = archive.writer(name)
    for part in parts:
        assert writer.write(part) == len(part)
    return writer.commit()


def downloaded(archive: Archive, name: str) -> tuple[Stored, bytes]:
    into = BytesIO()
    return archive.download(name, into), into.getvalue()


def test_a_written_blob_is_read_back_with_its_digest(rooms: Rooms) -> None:
    """Name, size, digest and etag are those of the bytes that stand there."""
    archive = rooms.archive()
    stored = written(archive, "a/b.parquet", b"hello ", b"world")
    found, data = downloaded(archive, "a/b.parquet")
    assert data == b"hello world"
    assert (stored.name, stored.size_bytes) == ("a/b.parquet", 11)
    assert stored.sha256 == found.sha256 == sha256(data)
    assert stored.etag == found.etag != ""


def test_an_empty_blob_is_a_blob(rooms: Rooms) -> None:
    """Written, read, downloaded, listed and promoted like any other."""
    archive = rooms.archive()
    stored = written(archive, "empty")
    assert archive.read("empty") == b""
    assert downloaded(archive, "empty")[0].sha256 == stored.sha256 == sha256(b"")
    assert [(one.name, one.size_bytes) for one in archive.stored("")] == [("empty", 0)]
    assert archive.promote(stored, "copy")
    assert archive.read("copy") == b""


def test_a_blob_of_several_blocks_arrives_whole(rooms: Rooms) -> None:
    """Writes of any size, over block bounds, in the order they were written."""
    archive = rooms.archive()
    pattern = bytes(range(251)) * 4_000
    parts = [pattern[:1], pattern, pattern * 9, b"", pattern * 17, pattern[:7]]
    stored = written(archive, "large.parquet", *parts)
    found, data = downloaded(archive, "large.parquet")
    assert data == b"".join(parts)
    assert stored.size_bytes == found.size_bytes == len(data) > 3 * (8 << 20)
    assert stored.sha256 == found.sha256 == sha256(data)
    assert stored.etag == found.etag


def test_a_blob_of_whole_blocks_only_arrives_whole(rooms: Rooms) -> None:
    """Nothing is left over at commit, and nothing is lost."""
    archive = rooms.archive()
    block = b"x" * (8 << 20)
    assert written(archive, "two", block, block).size_bytes == 16 << 20
    assert downloaded(archive, "two")[0].sha256 == sha256(block * 2)


def test_nobody_sees_a_blob_before_it_is_committed(rooms: Rooms) -> None:
    """Not even its name, and never after an abort."""
    archive = rooms.archive()
    writer = archive.writer("staging/x")
    writer.write(b"y" * (9 << 20))
    assert archive.read("staging/x") is None
    assert list(archive.stored("")) == []
    writer.abort()
    assert archive.read("staging/x") is None


def test_an_ended_writer_takes_nothing_more(rooms: Rooms) -> None:
    """Committed or aborted, it says so."""
    archive = rooms.archive()
    committed, aborted = archive.writer("a"), archive.writer("b")
    committed.commit()
    aborted.abort()
    aborted.abort()
    for writer in (committed, aborted):
        with pytest.raises(PermanentError, match="already"):
            writer.write(b"more")
        with pytest.raises(PermanentError, match="already"):
            writer.commit()


@pytest.mark.parametrize("size_bytes", [3, 9 << 20])
def test_a_later_attempt_replaces_an_earlier_one(rooms: Rooms, size_bytes: int) -> None:
    """The etag moves on, so a promotion of the earlier one is refused."""
    archive = rooms.archive()
    first = written(archive, "s.1.parquet", b"a" * size_bytes)
    second = written(archive, "s.1.parquet", b"b" * size_bytes)
    assert first.etag != second.etag
    assert downloaded(archive, "s.1.parquet")[0].sha256 == second.sha256


def test_put_if_absent_writes_once(rooms: Rooms) -> None:
    """The second is told, and what stands stays."""
    archive = rooms.archive()
    assert archive.put_if_absent("receipts/1.json", b"first")
    assert not archive.put_if_absent("receipts/1.json", b"second")
    assert archive.read("receipts/1.json") == b"first"


def test_of_racing_receipts_exactly_one_is_written(rooms: Rooms) -> None:
    """Sixteen different ones under one name: one stands, and its writer knows."""
    archive = rooms.archive()
    outcomes = raced(lambda n: archive.put_if_absent("r.json", str(n).encode()))
    assert outcomes.count(True) == 1
    assert outcomes.count(False) == RACERS - 1
    assert archive.read("r.json") == str(outcomes.index(True)).encode()


def test_what_is_not_there_is_not_there(rooms: Rooms) -> None:
    """Reading gives nothing, downloading says so, deleting is no error."""
    archive = rooms.archive()
    assert archive.read("none") is None
    with pytest.raises(NotFound, match="none"):
        archive.download("none", BytesIO())
    archive.delete("none")
    written(archive, "some", b"x")
    archive.delete("some")
    archive.delete("some")
    assert archive.read("some") is None


def test_a_range_gives_exactly_its_bytes(rooms: Rooms) -> None:
    """From the first to the last, across block bounds, one byte or all of them."""
    archive = rooms.archive()
    data = bytes(range(251)) * 40_000
    written(archive, "data/a.parquet", data)
    for offset, length in ((0, 1), (len(data) - 1, 1), (4_000_000, 1_000_001), (0, len(data))):
        assert archive.read_range("data/a.parquet", offset, length) == data[offset:][:length]


@pytest.mark.parametrize(("offset", "length"), [(8, 3), (10, 1), (500, 20)])
def test_a_range_beyond_the_end_is_no_answer(rooms: Rooms, offset: int, length: int) -> None:
    """Fewer bytes than asked for are never given out."""
    archive = rooms.archive()
    written(archive, "ten", b"0123456789")
    with pytest.raises(TransientError, match="bytes arrived"):
        archive.read_range("ten", offset, length)


def test_a_range_of_what_is_not_there_is_not_found(rooms: Rooms) -> None:
    """Nor is there anything to protect."""
    archive = rooms.archive()
    with pytest.raises(NotFound, match="none"):
        archive.read_range("none", 0, 1)
    with pytest.raises(NotFound, match="none"):
        archive.protection("none")


def test_the_protection_of_a_blob_is_known(rooms: Rooms) -> None:
    """Whether versions are kept, and for how many days what was deleted."""
    archive = rooms.archive()
    written(archive, "some", b"x")
    found = archive.protection("some")
    assert found.versioned is not None
    assert found.soft_delete_days is not None


def test_promotion_copies_what_was_validated(rooms: Rooms) -> None:
    """The copy is complete, and the staged blob still stands."""
    archive = rooms.archive()
    staged = written(archive, "staging/s.1.parquet", b"p" * (9 << 20))
    assert archive.promote(staged, "data/s.parquet")
    found, _ = downloaded(archive, "data/s.parquet")
    assert (found.size_bytes, found.sha256) == (staged.size_bytes, staged.sha256)
    assert archive.read("staging/s.1.parquet") is not None


def test_promotion_of_a_changed_blob_is_refused(rooms: Rooms) -> None:
    """What nobody validated never reaches its final name."""
    archive = rooms.archive()
    staged = written(archive, "staging/s.1.parquet", b"validated")
    written(archive, "staging/s.1.parquet", b"different")
    with pytest.raises(Conflict, match="staging"):
        archive.promote(staged, "data/s.parquet")
    assert archive.read("data/s.parquet") is None


def test_promotion_of_a_vanished_or_unknown_blob_is_refused(rooms: Rooms) -> None:
    """A missing source is not found; one without an etag could be anyone's bytes."""
    archive = rooms.archive()
    staged = written(archive, "s", b"x")
    with pytest.raises(PermanentError, match="etag"):
        archive.promote(replace(staged, etag=""), "d")
    archive.delete("s")
    with pytest.raises(NotFound):
        archive.promote(staged, "d")
    assert archive.read("d") is None


def test_promotion_never_replaces_what_stands(rooms: Rooms) -> None:
    """Twice is harmless, and a late attempt with an old fence changes nothing."""
    archive = rooms.archive()
    first, late = written(archive, "s.2", b"second"), written(archive, "s.1", b"first!")
    assert archive.promote(first, "d")
    assert not archive.promote(first, "d")
    assert not archive.promote(late, "d")
    assert archive.read("d") == b"second"


def test_promotion_of_a_blob_of_another_length_is_refused(rooms: Rooms) -> None:
    """The record and the blob disagree, and nothing stays under the final name."""
    archive = rooms.archive()
    staged = written(archive, "s", b"12345")
    with pytest.raises(PermanentError, match="4 were expected"):
        archive.promote(replace(staged, size_bytes=4), "d")
    assert archive.read("d") is None


def test_of_racing_promotions_exactly_one_wins(rooms: Rooms) -> None:
    """Sixteen attempts with sixteen fences; one blob stands, whole."""
    archive = rooms.archive()
    staged = [written(archive, f"s.{n}", str(n).encode() * 100) for n in range(RACERS)]
    outcomes = raced(lambda n: archive.promote(staged[n], "d"))
    assert outcomes.count(True) == 1
    assert outcomes.count(False) == RACERS - 1
    assert archive.read("d") == str(outcomes.index(True)).encode() * 100


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_kept_to_the_letter(rooms: Rooms, name: str) -> None:
    """Written, listed, copied and deleted under exactly that name."""
    archive = rooms.archive()
    staged = written(archive, f"staging/{name}", b"odd")
    assert archive.promote(staged, name)
    assert not archive.put_if_absent(name, b"other")
    assert archive.read(name) == b"odd"
    assert [one.name for one in archive.stored("staging/")] == [f"staging/{name}"]
    assert sorted(one.name for one in archive.stored("")) == sorted([name, f"staging/{name}"])
    archive.delete(name)
    assert archive.read(name) is None


@pytest.mark.parametrize("name", ["", "a//b", "a/../b", "./a", "a\\b", "a/", "x" * 1100])
def test_names_the_service_would_read_as_others_are_refused(rooms: Rooms, name: str) -> None:
    """A dotted path would leave its prefix, a backslash becomes a slash."""
    archive = rooms.archive()
    with pytest.raises(PermanentError, match="naming a blob"):
        archive.put_if_absent(name, b"x")
    with pytest.raises(PermanentError, match="naming a blob"):
        archive.writer(name)


def test_a_listing_is_in_order_with_times_and_etags(rooms: Rooms) -> None:
    """Only what begins with the prefix, and nothing beside the archive's own root."""
    archive = rooms.archive("acme/orders")
    for name in ("r/b", "r/a", "r/a.x", "s/a", "r/A"):
        written(archive, name, name.encode())
    listed = list(archive.stored("r/"))
    assert [one.name for one in listed] == ["r/A", "r/a", "r/a.x", "r/b"]
    assert [one.size_bytes for one in listed] == [3, 3, 5, 3]
    assert listed[0].etag == downloaded(archive, "r/A")[0].etag
    assert all(one.modified_s > 1e9 and one.sha256 == "" for one in listed)
    assert list(archive.stored("nothing")) == []


def test_an_archive_without_a_prefix_is_the_whole_container(rooms: Rooms) -> None:
    """And slashes around a prefix mean nothing."""
    archive = rooms.archive("")
    written(archive, "x", b"1")
    assert [one.name for one in archive.stored("")] == ["x"]
    slashed = rooms.archive("/a/")
    written(slashed, "x", b"1")
    assert [one.name for one in slashed.stored("")] == ["x"]
