"""After harm to what was staged only the harmed documents are read again, and never fewer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import pyarrow.parquet as pq
import pytest

from shared.adapters.memory import MemoryArchives
from shared.domain.slices import SliceState
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE, Page, Query
from tests.simulation.checkers import check_always, check_end
from tests.simulation.test_any_misfortune import DAY_S, SPEC, calm_down
from tests.simulation.world import START_S, World, make_world
from tests.unit.test_inspecting import rewritten

DOCUMENTS = 100
GROUP = 32


@dataclass(slots=True)
class Harmed:
    """A staged slice of four row groups, and which documents its source was asked for."""

    world: World
    asked: list[str] = field(default_factory=list)
    page: Callable[[Query, int, int], Page] | None = None

    @property
    def blobs(self) -> MemoryArchives:
        archives = self.world.ports.archives
        assert isinstance(archives, MemoryArchives)
        return archives

    def name(self, kind: str) -> str:
        (target,) = self.world.ports.ledger.open_slices("sim")
        return f"staging/{target.id}.{target.fence}.{kind}"

    def harm(self, *groups: int, kind: str = "parquet") -> None:
        """Turn the bytes of these row groups of what is staged."""
        data = bytearray(self.blobs.bytes_of("archive", self.name(kind)) or b"")
        metadata = pq.ParquetFile(BytesIO(bytes(data))).metadata
        for group in groups:
            column = metadata.row_group(group).column(0)
            start = column.dictionary_page_offset or column.data_page_offset
            for at in range(start, start + column.total_compressed_size):
                data[at] ^= 0xFF
        self.blobs.put("archive", self.name(kind), bytes(data), missing=False)

    def validate(self) -> str:
        letter = self.world.mail.take(VALIDATE_QUEUE)
        assert letter is not None
        return self.world.calm.validating.run(letter.text)

    def copy_again(self) -> None:
        """The next attempt, with everything it is given written down."""
        self.world.source.hook = self.page or self.asked_page
        self.world.clock.advance(30)
        for _ in range(4):
            self.world.calm.controller.tick()
            copy(self.world)
            self.world.clock.advance(30)
        self.world.source.hook = None

    def asked_page(self, query: Query, start: int, limit: int) -> Page:
        page = self.world.source.documents_page(query, start, limit)
        self.asked += [each["id"] for each in page.items]
        return page


@pytest.fixture
def harmed() -> Harmed:
    world = make_world(9)
    for index in range(DOCUMENTS):
        world.source.put(f"doc-{index:03d}", ts=START_S - 90 * DAY_S - 120 + index, body=index)
    world.calm.operating.apply(SPEC.replace("budget_s: 2", "budget_s: 900"))
    world.calm.operating.start("sim")
    for _ in range(4):
        world.calm.controller.tick()
        copy(world)
        world.clock.advance(30)
    (target,) = world.ports.ledger.open_slices("sim")
    assert target.state is SliceState.COPIED
    assert target.staged is not None
    assert target.staged.documents == DOCUMENTS
    return Harmed(world=world)


def copy(world: World) -> None:
    while letter := world.mail.take(COPY_QUEUE):
        world.calm.copying.run(letter.text)


def assert_whole(harmed: Harmed, *, changed: set[str] | None = None) -> None:
    cold = {key: dict(each) for key, each in harmed.world.source.documents.items()}
    calm_down(harmed.world)
    check_always(harmed.world)
    check_end(harmed.world, cold, changed or set())


def test_only_the_harmed_documents_are_read_again(harmed: Harmed) -> None:
    """One row group of four; everything is proven, and what it cost is told."""
    before = harmed.world.source.ru_charged
    harmed.harm(1)
    outcome = harmed.validate()
    assert "32 unreadable: " in outcome
    harmed.copy_again()
    assert len(harmed.asked) == len(set(harmed.asked)) == GROUP
    assert all(repr(each) in outcome for each in sorted(harmed.asked)[:1])
    assert harmed.world.source.ru_charged - before < GROUP * 10 + 100
    assert_whole(harmed)


def test_what_was_spent_on_a_failed_attempt_is_spent_all_the_same(harmed: Harmed) -> None:
    """Totals tell what the source charged for all attempts; only the last is in the receipt."""
    harmed.harm(1)
    harmed.validate()
    failed = harmed.world.ports.ledger.progress("sim")
    assert failed is not None
    assert failed.ru_spent >= DOCUMENTS * 10
    assert_whole(harmed)
    done = harmed.world.ports.ledger.progress("sim")
    assert done is not None
    assert failed.ru_spent < done.ru_spent <= harmed.world.source.ru_charged
    assert done.ru_per_document == failed.ru_per_document


@pytest.mark.parametrize("groups", [(0, 1, 2, 3), (1, 2)])
def test_with_too_much_harmed_the_window_is_read(harmed: Harmed, groups: tuple[int, ...]) -> None:
    """Half of it or more: asking for each by its id would cost no less."""
    harmed.harm(*groups)
    harmed.validate()
    harmed.copy_again()
    assert len(harmed.asked) == DOCUMENTS
    assert_whole(harmed)


def test_a_window_that_shrank_is_read_whole(harmed: Harmed) -> None:
    """Another count is another set: nothing of the old file may be trusted to be wanted."""
    harmed.harm(1)
    harmed.validate()
    del harmed.world.source.documents["doc-050"]
    harmed.copy_again()
    assert len(harmed.asked) == DOCUMENTS - 1
    assert_whole(harmed)


def test_a_harmed_manifest_saves_nothing(harmed: Harmed) -> None:
    """Without its promise no document of the file can be trusted."""
    harmed.harm(0, kind="manifest")
    harmed.validate()
    harmed.copy_again()
    assert len(harmed.asked) == DOCUMENTS
    assert_whole(harmed)


def test_an_altered_manifest_saves_nothing(harmed: Harmed) -> None:
    """Readable, and with rows that do not give the recorded root."""
    data = harmed.blobs.bytes_of("archive", harmed.name("manifest")) or b""

    def change(rows: list[dict[str, Any]]) -> None:
        rows[5]["etag"] = "another"

    altered = rewritten(data, change)
    harmed.blobs.put("archive", harmed.name("manifest"), altered, missing=False)
    harmed.validate()
    harmed.copy_again()
    assert len(harmed.asked) == DOCUMENTS
    assert_whole(harmed)


def test_a_document_changed_under_its_own_digest_is_read_again(harmed: Harmed) -> None:
    """The row says what the manifest says, and its bytes do not."""
    data = harmed.blobs.bytes_of("archive", harmed.name("parquet")) or b""

    def change(rows: list[dict[str, Any]]) -> None:
        rows[5]["document"] = rows[6]["document"]

    harmed.blobs.put("archive", harmed.name("parquet"), rewritten(data, change), missing=False)
    assert "1 changed: " in harmed.validate()
    harmed.copy_again()
    assert len(harmed.asked) == 1
    assert_whole(harmed)


def test_a_window_that_shrinks_meanwhile_is_read_whole(harmed: Harmed) -> None:
    """What was taken over a moment ago may be what went."""
    harmed.harm(1)
    harmed.validate()
    page = harmed.asked_page
    gone = next(iter(harmed.world.source.documents))

    def vanishing(query: Query, start: int, limit: int) -> Page:
        found = page(query, start, limit)
        harmed.world.source.documents.pop(gone, None)
        return found

    harmed.page = vanishing
    cold = {key: dict(each) for key, each in harmed.world.source.documents.items()}
    harmed.copy_again()
    calm_down(harmed.world)
    check_end(harmed.world, cold, {gone})
    assert len(harmed.asked) == GROUP + DOCUMENTS - 1


def test_a_vanished_file_saves_nothing(harmed: Harmed) -> None:
    """Nor one that somebody removed between the attempts."""
    harmed.harm(1)
    name = harmed.name("parquet")
    harmed.validate()
    harmed.blobs.drop("archive", name)
    harmed.copy_again()
    assert len(harmed.asked) == DOCUMENTS
    assert_whole(harmed)


def test_a_document_that_now_reads_otherwise_makes_all_be_read(harmed: Harmed) -> None:
    """The same version with another body: one of two readings was wrong, so neither is kept."""
    harmed.harm(1)
    harmed.validate()
    for document in harmed.world.source.documents.values():
        document["body"] = "another"
    harmed.copy_again()
    assert len(harmed.asked) == GROUP + DOCUMENTS
    assert_whole(harmed)


def test_a_file_the_source_contradicts_is_not_taken_over(harmed: Harmed) -> None:
    """Where a second reading says otherwise the file itself is in doubt, whatever its hashes."""
    world = harmed.world
    migration = world.ports.ledger.migration("sim")
    twice = replace(migration, spec_text=migration.spec_text.replace("readback", "reread"))
    world.ports.ledger.put_migration(twice)
    world.source.documents["doc-007"]["body"] = "read wrongly before"
    assert "1 changed: 'doc-007'" in harmed.validate()
    harmed.copy_again()
    assert len(harmed.asked) >= DOCUMENTS
    assert_whole(harmed)
