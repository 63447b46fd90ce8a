"""The index's mark: nothing is looked up before the first removal, and a lost index is no 404."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from azure.cosmos.exceptions import CosmosHttpResponseError

from shared.adapters.memory import MemoryArchives, MemoryClock, MemoryPointers
from shared.adapters.parquet import ParquetFormat
from shared.domain.pointers import BEGUN_WAIT_S, UNBEGUN_KNOWN_S, Key, Pointer
from shared.tiered.cold import MARK_KNOWN_S, ColdStore
from tests.contract.test_pointers import a_pointer

SOURCE = "db/c"
KEY: Key = ('["p"]', "i")


class Counted(MemoryPointers):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = self.asked = 0

    def find(self, source: str, key: Key) -> Pointer | None:
        self.looked += 1
        return super().find(source, key)

    def begun_s(self, source: str) -> float | None:
        self.asked += 1
        return super().begun_s(source)

    def delete(self, source: str, key: Key) -> bool:
        self.looked += 1
        return super().delete(source, key)


@pytest.fixture
def pointers() -> Counted:
    return Counted()


@pytest.fixture
def archives() -> MemoryArchives:
    made = MemoryArchives(MemoryClock(start_s=0.0))
    made.make("archive")
    return made


@pytest.fixture
def store(pointers: Counted, archives: MemoryArchives) -> ColdStore:
    return ColdStore(
        SOURCE,
        pointers=pointers,
        archives=archives,
        table_format=ParquetFormat(),
        places=("archive/sim",),
    )


@pytest.fixture
def advance(store: ColdStore) -> Callable[[float], None]:
    """Time passes for this reader."""
    now = [1_000.0]
    store._mark.now_s = lambda: now[0]  # noqa: SLF001 - its clock is no part of its face

    def advanced(seconds: float) -> None:
        now[0] += seconds

    return advanced


@pytest.mark.usefixtures("advance")
def test_nothing_is_looked_up_before_the_first_removal(store: ColdStore, pointers: Counted) -> None:
    """A hundred reads and deletions ask for the mark once."""
    for _ in range(100):
        assert store.find(KEY) is None
        store.mark(KEY)
    assert (pointers.asked, pointers.looked) == (1, 0)


def test_a_mark_is_seen_before_the_first_document_goes(
    store: ColdStore, pointers: Counted, advance: Callable[[float], None]
) -> None:
    """Whoever asked just before it was made has asked again when the removal begins."""
    assert UNBEGUN_KNOWN_S * 2 < BEGUN_WAIT_S
    assert store.find(KEY) is None
    pointers.begin(SOURCE, 7.0)
    advance(BEGUN_WAIT_S)
    pointers.put(SOURCE, {KEY: a_pointer()})
    assert store.find(KEY) == a_pointer()
    store.mark(KEY)
    assert store.find(KEY) == a_pointer(deleted=True)
    assert pointers.asked == 2


def test_a_lost_index_is_no_silent_answer(
    store: ColdStore, pointers: Counted, advance: Callable[[float], None]
) -> None:
    """Its mark was there: its absence is an error of its own, again and again."""
    pointers.begin(SOURCE, 7.0)
    assert store.find(KEY) is None
    pointers.begun.clear()
    advance(MARK_KNOWN_S)
    for _ in range(3):
        with pytest.raises(CosmosHttpResponseError, match="ebb reindex") as caught:
            store.find(KEY)
        assert caught.value.status_code == 500
        advance(UNBEGUN_KNOWN_S)
    pointers.begin(SOURCE, 7.0)
    assert store.find(KEY) is None


@pytest.mark.usefixtures("advance")
def test_another_accounts_index_is_no_silent_answer(
    store: ColdStore, archives: MemoryArchives
) -> None:
    """It has no mark, and the archive that was named records removals."""
    archives.put("archive", "sim/removed/s.0000000000.1.json", b"{}", missing=True)
    for _ in range(2):
        with pytest.raises(CosmosHttpResponseError, match="another account"):
            store.find(KEY)


def test_an_archive_that_is_not_there_yet_holds_nobody_up(
    pointers: Counted, archives: MemoryArchives
) -> None:
    """The tiered container is installed before anything was archived."""
    store = ColdStore(
        SOURCE,
        pointers=pointers,
        archives=archives,
        table_format=ParquetFormat(),
        places=("not-yet/sim", "archive"),
    )
    assert store.find(KEY) is None


def test_pointers_without_a_mark_may_all_go(
    pointers: Counted, archives: MemoryArchives, advance: Callable[[float], None], store: ColdStore
) -> None:
    """An older Ebb made no mark; when its last document is back, that is no lost index."""
    assert archives.names("archive", "") == []
    pointers.put(SOURCE, {KEY: a_pointer()})
    assert store.find(KEY) == a_pointer()
    pointers.withdraw(SOURCE, {KEY: a_pointer()})
    advance(MARK_KNOWN_S)
    assert store.find(KEY) is None
