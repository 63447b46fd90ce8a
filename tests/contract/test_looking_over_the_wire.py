"""What a look-up and its index cost in calls, and what a broken wire leaves of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from azure.storage.blob import RetentionPolicy

from shared.adapters.archive import BlobArchive, BlobArchives
from shared.adapters.parquet import GROUP_BYTES_MAX
from shared.adapters.pointers import PARTITIONS, ROUNDS_MAX, TablePointers
from shared.errors import PermanentError, TransientError
from shared.ports import Protection
from shared.wiring import FIRST_BYTES
from tests.contract.rooms import AzuriteRooms, Clients, unique
from tests.contract.test_over_the_wire import calls, staged_in
from tests.contract.test_pointers import SOURCE, a_pointer, keys

pytestmark = pytest.mark.node

(KEY,) = keys(1)


@pytest.fixture
def archive(azurite: AzuriteRooms) -> BlobArchive:
    archives = BlobArchives(azurite.clients.blobs, clock=azurite.clock)
    container = unique("archive-")
    archives.make(container)
    return archives.open(container, "acme")


@pytest.fixture
def table() -> str:
    return unique("pointers")


@pytest.fixture
def index(azurite: AzuriteRooms, table: str) -> TablePointers:
    """Its table is there already."""
    index = TablePointers(azurite.clients.tables, table)
    index.put(SOURCE, {KEY: a_pointer(5)})
    return index


def test_a_look_up_is_one_table_read_and_one_ranged_read(
    azurite: AzuriteRooms, index: TablePointers, archive: BlobArchive
) -> None:
    """Found or not, and no byte more than the span has."""
    staged_in(archive, b"0123456789")
    wire = azurite.clients.blob_wire
    before = len(wire.requests)
    assert calls(azurite, lambda: index.find(SOURCE, KEY)) == 1
    assert calls(azurite, lambda: index.find(SOURCE, ("[]", "nobody"))) == 1
    assert archive.read_range("s", 3, 4) == b"3456"
    assert len(wire.requests) == before + 1


def test_the_longest_row_group_is_read_in_one_request(connection_string: str) -> None:
    """As production sets its client up: eight megabytes that nothing could compress."""
    clients = Clients.connect(connection_string, first_bytes=FIRST_BYTES)
    archives = BlobArchives(clients.blobs, clock=AzuriteRooms(clients).clock)
    container = unique("archive-")
    archives.make(container)
    archive = archives.open(container, "")
    length = GROUP_BYTES_MAX + 1_000  # what a page's header adds is less
    staged_in(archive, b"x" * (length + 100))
    before = len(clients.blob_wire.requests)
    assert len(archive.read_range("s", 10, length)) == length
    assert len(clients.blob_wire.requests) == before + 1
    clients.close()


def test_new_pointers_are_written_without_looking(
    azurite: AzuriteRooms, index: TablePointers
) -> None:
    """A thousand in sixteen transactions, one for each partition; nothing for nothing."""
    given = {(f"[{n}]", "new"): a_pointer() for n in range(1_000)}
    assert calls(azurite, lambda: index.put(SOURCE, given)) == PARTITIONS
    assert calls(azurite, lambda: index.put(SOURCE, {})) == 0


def test_who_meets_another_pointer_looks_once(azurite: AzuriteRooms, index: TablePointers) -> None:
    """The attempt and one look; another transaction only where something is left to write."""
    assert calls(azurite, lambda: index.put(SOURCE, {KEY: a_pointer(5)})) == 2
    assert calls(azurite, lambda: index.put(SOURCE, {KEY: a_pointer(4)})) == 2
    assert calls(azurite, lambda: index.put(SOURCE, {KEY: a_pointer(6)})) == 3
    assert calls(azurite, lambda: index.withdraw(SOURCE, {KEY: a_pointer(5)})) == 1
    assert calls(azurite, lambda: index.delete(SOURCE, KEY)) == 2
    assert calls(azurite, lambda: index.delete(SOURCE, KEY)) == 1


def test_pointers_behind_a_lost_reply_stand(azurite: AzuriteRooms, index: TablePointers) -> None:
    """The caller may try again, and is told that they do."""
    given = dict.fromkeys(keys(50), a_pointer())
    azurite.clients.table_wire.lose_replies_to = "$batch"
    with pytest.raises(TransientError, match="the pointers of appdb/records"):
        index.put(SOURCE, given)
    azurite.clients.table_wire.lose_replies_to = None
    assert index.put(SOURCE, given) == set(given)


def test_a_row_that_others_keep_writing_is_given_up(
    azurite: AzuriteRooms, index: TablePointers, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some rounds the caller hears of it; what stands is the others'."""
    rival = TablePointers(azurite.clients.tables, table)
    versions = iter(range(6, 1_000))
    look = index._row  # noqa: SLF001 - between this look and the write somebody comes

    def overtaken(*args: Any) -> Any:
        row = look(*args)
        rival.put(SOURCE, {KEY: a_pointer(next(versions))})
        return row

    monkeypatch.setattr(index, "_row", overtaken)
    with pytest.raises(TransientError, match=f"{ROUNDS_MAX} times"):
        index.put(SOURCE, {KEY: a_pointer(5_000)})
    assert rival.find(SOURCE, KEY) == a_pointer(5 + ROUNDS_MAX)


def test_a_pointer_that_someone_altered_is_named_by_its_field(
    azurite: AzuriteRooms, index: TablePointers, table: str
) -> None:
    """And never guessed at; the message tells no key."""
    client = azurite.clients.tables.get_table_client(table)
    (entity,) = client.list_entities()
    client.update_entity({**entity, "offset": "far"})
    with pytest.raises(PermanentError, match="offset") as caught:
        index.find(SOURCE, KEY)
    assert KEY[1] not in str(caught.value)


def test_soft_deletion_is_told_in_days(azurite: AzuriteRooms, archive: BlobArchive) -> None:
    """As the account is set up; Azurite keeps no versions."""
    staged_in(archive)
    service = azurite.clients.blobs
    service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=True, days=9))
    try:
        found = archive.protection("s")
    finally:
        service.set_service_properties(delete_retention_policy=RetentionPolicy(enabled=False))
    assert found == Protection(soft_delete_days=9, versioned=False)
    assert archive.protection("s") == replace(found, soft_delete_days=0)


def test_protection_that_nobody_may_ask_about_is_unknown(
    azurite: AzuriteRooms, archive: BlobArchive
) -> None:
    """A refusal is no failure, and hides nothing that may be known."""
    staged_in(archive)
    wire = azurite.clients.blob_wire
    wire.forbidden = "comp=properties"
    assert archive.protection("s") == Protection(soft_delete_days=None, versioned=False)
    wire.forbidden = "HEAD "
    assert archive.protection("s") == Protection(soft_delete_days=0, versioned=None)
