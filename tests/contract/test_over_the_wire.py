"""What only the real client can show: how many calls are made, and what a broken wire leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from threading import Thread, active_count
from typing import TYPE_CHECKING

import pytest
from azure.data.tables import TableClient

from shared.adapters.archive import BLOCK_BYTES, BlobArchive, BlobArchives
from shared.adapters.keys import key
from shared.adapters.ledger import TableLedger
from shared.adapters.records import packed
from shared.domain.retirement import RemovalState
from shared.domain.slices import Progress, Stored
from shared.errors import Conflict, NotFound, PermanentError, TransientError
from shared.ports import Change
from tests.contract.records import (
    NAME,
    a_full_removal,
    a_full_retirement,
    a_migration,
    a_range,
    a_slice,
    a_stage,
    counted,
    proved,
)
from tests.contract.rooms import AzuriteRooms, unique

if TYPE_CHECKING:
    from typing_extensions import Buffer

pytestmark = pytest.mark.node

OPEN_REMOVAL = a_full_removal().id


def with_done(azurite: AzuriteRooms, done: int) -> TableLedger:
    """A ledger whose done slices were put there past it: proving hundreds takes too long."""
    table = unique("ledger")
    ledger = TableLedger(azurite.clients.tables, table)
    ledger.put_migration(a_migration())
    ledger.commit(NAME, Change(ranges=(a_range(),), progress=Progress(migration=NAME)))
    rows = [
        {"PartitionKey": NAME, "RowKey": f"done|{one.id}", **packed(one, thing="a slice")}
        for one in (proved(a_slice(number)) for number in range(done))
    ]
    client = azurite.clients.tables.get_table_client(table)
    for start in range(0, done, 100):
        client.submit_transaction([("create", row) for row in rows[start : start + 100]])
    assert len(list(ledger.done_slices(NAME))) == done
    ledger.commit(NAME, Change(slices=(a_slice(5_000), a_slice(5_001))))
    with_removals(ledger, client, done)
    return ledger


def with_removals(ledger: TableLedger, client: TableClient, done: int) -> None:
    """One that is open, and as many done ones as there are done slices."""
    ended = replace(a_full_removal(), state=RemovalState.DONE)
    rows = [
        {
            "PartitionKey": NAME,
            "RowKey": f"removed|{key(f'remove|{number}')}",
            **packed(replace(ended, slice_id=str(number)), thing="a removal"),
        }
        for number in range(done)
    ]
    for start in range(0, done, 100):
        client.submit_transaction([("create", row) for row in rows[start : start + 100]])
    ledger.commit(NAME, Change(retirement=a_full_retirement()))
    planned = Change(removals=(a_full_removal(),), retirement=ledger.retirement(NAME))
    ledger.commit(NAME, planned)


def moved_on(ledger: TableLedger) -> Change:
    opened = ledger.open_slices(NAME)[0]
    progress = ledger.progress(NAME)
    assert progress is not None
    return Change(
        slices=(proved(opened), a_slice(6_000)),
        ranges=(ledger.ranges(NAME)[0],),
        progress=counted(progress),
    )


def calls(azurite: AzuriteRooms, action: Callable[[], object]) -> int:
    wire = azurite.clients.table_wire
    before = len(wire.requests)
    action()
    return len(wire.requests) - before


def calls_of_each(azurite: AzuriteRooms, ledger: TableLedger) -> dict[str, int]:
    change = moved_on(ledger)
    migration = ledger.migration(NAME)
    return {
        "migrations": calls(azurite, ledger.migrations),
        "migration": calls(azurite, lambda: ledger.migration(NAME)),
        "put_migration": calls(azurite, lambda: ledger.put_migration(migration)),
        "progress": calls(azurite, lambda: ledger.progress(NAME)),
        "ranges": calls(azurite, lambda: ledger.ranges(NAME)),
        "open_slices": calls(azurite, lambda: ledger.open_slices(NAME)),
        "an open slice": calls(azurite, lambda: ledger.slice(NAME, a_slice(5_001).id)),
        "a done slice": calls(azurite, lambda: ledger.slice(NAME, a_slice(0).id)),
        "commit": calls(azurite, lambda: ledger.commit(NAME, change)),
        "done_slices": calls(azurite, lambda: list(ledger.done_slices(NAME))),
        "done_after": calls(azurite, lambda: ledger.done_after(NAME, a_slice(3).id, limit=4)),
        "retirement": calls(azurite, lambda: ledger.retirement(NAME)),
        "removals": calls(azurite, lambda: ledger.removals(NAME)),
        "an open removal": calls(azurite, lambda: ledger.removal(NAME, OPEN_REMOVAL)),
        "a done removal": calls(azurite, lambda: ledger.removal(NAME, "remove|0")),
    }


def test_no_ledger_method_costs_more_calls_when_more_is_done(azurite: AzuriteRooms) -> None:
    """Ten slices done or three hundred: the same calls, each method's own few."""
    few = calls_of_each(azurite, with_done(azurite, 10))
    many = calls_of_each(azurite, with_done(azurite, 300))
    assert few == many
    assert many == {
        "migrations": 1,
        "migration": 1,
        "put_migration": 1,
        "progress": 1,
        "ranges": 1,
        "open_slices": 1,
        "an open slice": 1,
        "a done slice": 2,
        "commit": 2,  # one look for the slice it makes, one transaction
        "done_slices": 1,
        "done_after": 1,
        "retirement": 1,
        "removals": 1,
        "an open removal": 1,
        "a done removal": 2,
    }


def test_the_commit_behind_a_lost_reply_happened_once(azurite: AzuriteRooms) -> None:
    """The caller hears that it may try again, tries, meets a conflict, and nothing counts twice."""
    ledger = with_done(azurite, 0)
    change = moved_on(ledger)
    azurite.clients.table_wire.lose_replies_to = "$batch"
    with pytest.raises(TransientError, match=NAME):
        ledger.commit(NAME, change)
    azurite.clients.table_wire.lose_replies_to = None
    with pytest.raises(Conflict):
        ledger.commit(NAME, change)
    progress = ledger.progress(NAME)
    assert progress is not None
    assert progress.slices_proven == len(list(ledger.done_slices(NAME))) == 1


def test_a_done_record_is_never_written_over(azurite: AzuriteRooms) -> None:
    """Even where the slice is open too, which only tampering can bring about."""
    table = unique("tampered")
    ledger = TableLedger(azurite.clients.tables, table)
    ledger.commit(NAME, Change(slices=(a_slice(),)))
    client = azurite.clients.tables.get_table_client(table)
    client.create_entity({"PartitionKey": NAME, "RowKey": f"done|{a_slice().id}", "state": "kept"})
    with pytest.raises(Conflict, match=a_slice().id):
        ledger.commit(NAME, Change(slices=(proved(ledger.open_slices(NAME)[0]),)))
    assert client.get_entity(NAME, f"done|{a_slice().id}")["state"] == "kept"


def test_a_property_too_large_is_refused_before_any_call(azurite: AzuriteRooms) -> None:
    """The message names the slice and the property."""
    ledger = azurite.ledger()
    target = a_slice()
    staged = replace(a_stage(target), superseded_ids=("x" * 33_000,))
    change = Change(slices=(replace(target, staged=staged),))

    def refused() -> None:
        with pytest.raises(PermanentError, match=r"staged takes .* 32768"):
            ledger.commit(NAME, change)

    assert calls(azurite, refused) == 0


def test_too_many_operations_are_refused_before_any_call(azurite: AzuriteRooms) -> None:
    """A hundred and one slices never reach the wire."""
    ledger = azurite.ledger()
    change = Change(slices=tuple(a_slice(n) for n in range(101)))

    def refused() -> None:
        with pytest.raises(PermanentError, match="101"):
            ledger.commit(NAME, change)

    assert calls(azurite, refused) == 0


def test_a_record_someone_altered_is_named(azurite: AzuriteRooms) -> None:
    """A field that makes no sense is told by name, never guessed at."""
    table = unique("altered")
    ledger = TableLedger(azurite.clients.tables, table)
    ledger.commit(NAME, Change(slices=(a_slice(),)))
    client = azurite.clients.tables.get_table_client(table)
    client.update_entity(
        {"PartitionKey": NAME, "RowKey": f"open|{a_slice().id}", "extent_json": "{", "state": "?"}
    )
    with pytest.raises(PermanentError, match="extent") as caught:
        ledger.open_slices(NAME)
    assert "state" in str(caught.value)


@pytest.fixture
def archive(azurite: AzuriteRooms) -> BlobArchive:
    archives = BlobArchives(azurite.clients.blobs, clock=azurite.clock)
    container = unique("archive-")
    archives.make(container)
    return archives.open(container, "acme")


def staged_in(archive: BlobArchive, data: bytes = b"data") -> Stored:
    writer = archive.writer("s")
    writer.write(data)
    return writer.commit()


def test_a_pending_copy_is_waited_for(azurite: AzuriteRooms, archive: BlobArchive) -> None:
    """On the clock that was given, and only as long as it is pending."""
    staged = staged_in(archive)
    azurite.clients.blob_wire.copy_statuses[:] = ["pending", "pending", "success"]
    before_s = azurite.clock.now_s()
    assert archive.promote(staged, "d")
    assert azurite.clock.now_s() - before_s == 1.0


def test_a_copy_that_never_ends_is_told_and_left_alone(
    azurite: AzuriteRooms, archive: BlobArchive
) -> None:
    """The wait is bounded; the next attempt finds it done."""
    staged = staged_in(archive)
    azurite.clients.blob_wire.copy_statuses[:] = ["pending"] * 240
    with pytest.raises(TransientError, match="120 s"):
        archive.promote(staged, "d")
    assert not archive.promote(staged, "d")


@pytest.mark.parametrize("stands", [False, True])
def test_the_shell_of_a_failed_copy_is_never_taken_for_a_blob(
    azurite: AzuriteRooms, archive: BlobArchive, *, stands: bool
) -> None:
    """Whether this promotion left it or an earlier one: it goes, and the next attempt succeeds."""
    staged = staged_in(archive)
    if stands:
        archive.put_if_absent("d", b"")
    azurite.clients.blob_wire.copy_statuses[:] = ["failed"]
    with pytest.raises(TransientError, match="failed"):
        archive.promote(staged, "d")
    assert archive.read("d") is None
    assert archive.promote(staged, "d")
    assert archive.read("d") == b"data"


def test_a_receipt_whose_reply_was_lost_stands(azurite: AzuriteRooms, archive: BlobArchive) -> None:
    """The caller may try again, and is told that something stands there: its own bytes."""
    azurite.clients.blob_wire.lose_replies_to = "r.json"
    with pytest.raises(TransientError, match=r"r\.json"):
        archive.put_if_absent("r.json", b"receipt")
    azurite.clients.blob_wire.lose_replies_to = None
    assert not archive.put_if_absent("r.json", b"receipt")
    assert archive.read("r.json") == b"receipt"


def test_a_block_that_failed_fails_the_blob(azurite: AzuriteRooms, archive: BlobArchive) -> None:
    """Whatever is written after it, commit publishes nothing and the thread ends."""
    threads = active_count()
    azurite.clients.blob_wire.lose_replies_to = "comp=block&"
    writer = archive.writer("s.parquet")
    writer.write(b"x" * (9 << 20))
    with pytest.raises(TransientError, match=r"s\.parquet"):
        writer.commit()
    azurite.clients.blob_wire.lose_replies_to = None
    with pytest.raises(TransientError):
        writer.commit()
    assert archive.read("s.parquet") is None
    assert active_count() == threads


def test_a_writer_waits_for_a_slow_wire(azurite: AzuriteRooms, archive: BlobArchive) -> None:
    """One block on its way, two waiting, one in hand: memory holds no more than that."""
    block, writer = b"x" * BLOCK_BYTES, archive.writer("s")
    gate = azurite.clients.blob_wire.blocks_may_pass
    gate.clear()
    writing = Thread(target=lambda: [writer.write(block) for _ in range(6)])
    writing.start()
    writing.join(timeout=1.0)
    held = writer.tell()
    gate.set()
    writing.join()
    assert held == 4 * BLOCK_BYTES
    assert writer.commit().size_bytes == 6 * BLOCK_BYTES


def test_blocks_of_two_attempts_at_one_name_never_mix(archive: BlobArchive) -> None:
    """The first to publish wins whole; the other hears of it."""
    first, second = archive.writer("s"), archive.writer("s")
    first.write(b"1" * (9 << 20))
    second.write(b"2" * (33 << 20))  # so many that its first block has certainly arrived
    first_stored = first.commit()
    with pytest.raises(Conflict, match="another attempt"):
        second.commit()
    assert archive.download("s", BytesIO()).sha256 == first_stored.sha256


def test_a_download_never_mixes_two_blobs(archive: BlobArchive) -> None:
    """A blob replaced while it is read is a conflict, not a mixture."""
    staged_in(archive, b"1" * (3 << 20))

    class Replacing(BytesIO):
        def write(self, data: Buffer, /) -> int:
            if not self.tell():
                staged_in(archive, b"2" * (3 << 20))
            return super().write(data)

    with pytest.raises(Conflict):
        archive.download("s", Replacing())


def test_a_container_that_went_away_is_not_found(azurite: AzuriteRooms) -> None:
    """Reading from it is an error, not an absent blob."""
    container = unique("archive-")
    archive = BlobArchives(azurite.clients.blobs, clock=azurite.clock).open(container, "")
    with pytest.raises(NotFound, match=container):
        archive.read("x")
    with pytest.raises(NotFound, match=container):
        list(archive.stored(""))


def test_opening_an_archive_asks_and_makes_nothing(azurite: AzuriteRooms) -> None:
    """A container deleted by mistake must keep its name free; only `make` takes it."""
    archives = BlobArchives(azurite.clients.blobs, clock=azurite.clock)
    container, wire = unique("archive-"), azurite.clients.blob_wire
    before = len(wire.requests)
    archive = archives.open(container, "a")
    assert len(wire.requests) == before
    with pytest.raises(NotFound, match=container):
        archive.put_if_absent("x", b"x")
    assert not azurite.clients.blobs.get_container_client(container).exists()
    archives.make(container)
    archives.make(container)
    assert archive.put_if_absent("x", b"x")
