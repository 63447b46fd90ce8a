"""Every row in every table carries a version, and a row of a later one is not given out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.data.tables import UpdateMode

from shared.adapters.boards import TableBoards
from shared.adapters.incidents import TableIncidents
from shared.adapters.journal import TableJournal
from shared.adapters.ledger import TableLedger
from shared.adapters.memories import TableMemories
from shared.adapters.metering import TableMetering
from shared.adapters.pointers import TablePointers
from shared.adapters.tellings import TableTellings
from shared.domain.board import Board
from shared.domain.version import STATE_VERSION
from shared.errors import Conflict, OtherVersion
from shared.ports import Incident, IncidentKind, Ledger, Place, Remembered, Telling
from tests.contract.records import a_migration, an_entry
from tests.contract.rooms import AzuriteRooms, Rooms, unique

pytestmark = pytest.mark.node

KEY = ('["p"]', "doc")
Store = tuple[Any, str, Callable[[], object], Callable[[], object]]


def stores(rooms: AzuriteRooms) -> Iterator[Store]:
    """A store, its table, a write into it, and a read that meets what was written."""
    tables, name = rooms.clients.tables, unique("versions")
    ledger = TableLedger(tables, f"{name}l")
    yield (
        ledger,
        f"{name}l",
        lambda: ledger.put_migration(a_migration("acme")),
        ledger.migrations,
    )
    claimed = TableLedger(tables, f"{name}a")
    yield claimed, f"{name}a", lambda: claimed.put_account("acme"), claimed.account
    boards = TableBoards(tables, "acme", f"{name}b")
    yield boards, f"{name}b", lambda: boards.write(Board()), boards.read
    memories = TableMemories(tables, "acme", f"{name}m")
    yield (
        memories,
        f"{name}m",
        lambda: memories.keep("db/c", Remembered()),
        lambda: memories.recall("db/c"),
    )
    journal = TableJournal(tables, "acme", f"{name}j")
    yield (
        journal,
        f"{name}j",
        lambda: journal.record(an_entry(1.0)),
        lambda: journal.entries(since_s=0.0, limit=9),
    )
    incidents = TableIncidents(tables, "acme", f"{name}i")
    trouble = Incident(at_s=1.0, kind=IncidentKind.POISON, text="it was so")
    yield (
        incidents,
        f"{name}i",
        lambda: incidents.record(trouble),
        lambda: incidents.latest(limit=9),
    )
    metering = TableMetering(tables, "acme", f"{name}u")
    place = Place(source="db/c", range_id="r")
    yield (
        metering,
        f"{name}u",
        lambda: metering.add("w", {(60, place): 5.0}),
        lambda: metering.by_minute("db/c", since_s=0),
    )
    tellings = TableTellings(tables, f"{name}t")
    told = Telling(migration="acme", target="ops", told=("n",))
    yield tellings, f"{name}t", lambda: tellings.keep(told), lambda: tellings.of("acme")
    pointers = TablePointers(tables, f"{name}p")
    yield (
        pointers,
        f"{name}p",
        lambda: pointers.begin("db/c", 1.0),
        lambda: pointers.begun_s("db/c"),
    )


def rows(rooms: AzuriteRooms, table: str) -> list[Any]:
    return list(rooms.clients.tables.get_table_client(table).list_entities())


def written_as(rooms: AzuriteRooms, table: str, version: int | None) -> None:
    """Every row as another release would have left it."""
    client = rooms.clients.tables.get_table_client(table)
    for row in rows(rooms, table):
        row.pop("v", None)
        client.update_entity(
            row if version is None else row | {"v": version}, mode=UpdateMode.REPLACE
        )


def test_every_row_is_written_with_the_version(azurite: AzuriteRooms) -> None:
    """By whichever store, as a number beside its other properties."""
    for _, table, write, read in stores(azurite):
        write()
        found = rows(azurite, table)
        assert found
        assert [row["v"] for row in found] == [STATE_VERSION] * len(found), table
        read()


def test_a_row_of_a_later_version_is_not_given_out(azurite: AzuriteRooms) -> None:
    """So nobody can write over what was read by halves."""
    for _, table, write, read in stores(azurite):
        write()
        written_as(azurite, table, STATE_VERSION + 1)
        with pytest.raises(OtherVersion, match="another version is at work"):
            read()


def test_a_row_of_the_release_before_versions_is_read(azurite: AzuriteRooms) -> None:
    """It has no version, and is of the first."""
    for _, table, write, read in stores(azurite):
        write()
        before = read()
        written_as(azurite, table, None)
        again = read()
        assert _plain(again) == _plain(before), table


def _plain(found: object) -> str:
    """Without the etags, which changed."""
    return re.sub(r"version='(?:[^'\\]|\\.)*'", "", repr(found))


def test_the_state_names_its_account_once(rooms: Rooms) -> None:
    """The second claim is a conflict, whoever makes it, and no migration is seen in it."""
    ledger: Ledger = rooms.ledger()
    assert ledger.account() is None
    ledger.put_account("acme")
    assert ledger.account() == "acme"
    for account in ("acme", "other"):
        with pytest.raises(Conflict):
            ledger.put_account(account)
    assert ledger.account() == "acme"
    assert ledger.migrations() == ()
