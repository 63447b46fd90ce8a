"""A read that does not give the whole window proves nothing while that lasts, and does afterwards.

Detectable is a count that the pages contradict; where they differ, the ids that are listed decide,
and these are held against a count again. A source that hides a document from count and pages alike
cannot be told from one that never had it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from shared.domain.slices import MigrationState
from shared.ports import Measured, Page, Query
from tests.simulation.checkers import check_end
from tests.simulation.runs import SPEC, TICK_S, calm_down, handle
from tests.simulation.world import QUEUES, START_S, World, make_world

DOCUMENTS = 20
FAULTY_TICKS = 10
CutPage = Callable[[Page, str | None], Page]


def as_it_is(page: Page, continuation: str | None) -> Page:
    return page


@dataclass(slots=True)
class Faulty:
    """The source, with what it answers changed by kind of question while `on`."""

    inner: Any
    on: bool = False
    documents_as: CutPage = as_it_is
    identities_as: CutPage = as_it_is
    count_as: Callable[[int], int] = int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def count(self, query: Query) -> Measured:
        told: Measured = self.inner.count(query)
        return replace(told, value=self.count_as(told.value or 0)) if self.on else told

    def documents(self, query: Query, *, continuation: str | None, limit: int) -> Page:
        page: Page = self.inner.documents(query, continuation=continuation, limit=limit)
        return self.documents_as(page, continuation) if self.on else page

    def identities(self, query: Query, *, continuation: str | None, **asked: Any) -> Page:
        page: Page = self.inner.identities(query, continuation=continuation, **asked)
        return self.identities_as(page, continuation) if self.on else page


def cut(page: Page, continuation: str | None) -> Page:
    """The first page is the last, or what follows the second is lost."""
    return replace(page, continuation=None)


def cut_later(page: Page, continuation: str | None) -> Page:
    return page if continuation is None else replace(page, continuation=None)


def short(page: Page, continuation: str | None) -> Page:
    return replace(page, items=[each for each in page.items if each["id"] != "doc-03"])


def without_many(page: Page, continuation: str | None) -> Page:
    return replace(page, items=[each for each in page.items if each["id"] > "doc-09"])


def empty(page: Page, continuation: str | None) -> Page:
    return replace(page, items=[], continuation=None)


def first_empty(page: Page, continuation: str | None) -> Page:
    return empty(page, continuation) if continuation is None else page


def doubled(page: Page, continuation: str | None) -> Page:
    return replace(page, items=[*page.items, *page.items])


def empty_before(page: Page, continuation: str | None) -> Page:
    """An empty page with a way on, before the first."""
    return replace(page, items=[], continuation="0") if continuation is None else page


LOSSY: dict[str, dict[str, Any]] = {
    "page cut": {"documents_as": cut},
    "continuation lost": {"documents_as": cut_later},
    "one missing": {"documents_as": short},
    "half missing": {"documents_as": without_many},
    "first page empty": {"documents_as": first_empty},
    "all pages empty": {"documents_as": empty},
    "given twice": {"documents_as": doubled},
    "missing, and counted too small": {"documents_as": short, "count_as": lambda n: n - 2},
    "missing, and counted too big": {"documents_as": short, "count_as": lambda n: n + 1},
    "missing, and counted nearly as read": {
        "documents_as": without_many,
        "count_as": lambda n: n - 9,
    },
}
LOSSY_LISTING: dict[str, dict[str, Any]] = {
    "pages and listing cut": {"documents_as": cut, "identities_as": cut},
    "one missing in both": {"documents_as": short, "identities_as": short},
    "all empty but the count": {"documents_as": empty, "identities_as": empty},
    "counted too big": {"count_as": lambda n: n + 1},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "counted too small": {"count_as": lambda n: n - 1},
    "nothing counted": {"count_as": lambda _: 0},
    "empty pages on the way": {"documents_as": empty_before, "identities_as": empty_before},
}


@pytest.fixture
def world() -> World:
    """One slice of twenty documents, planned and not yet copied."""
    world = make_world(7)
    for index in range(DOCUMENTS):
        ts = START_S - 90 * 86_400 - DOCUMENTS + index
        world.source.put(f"doc-{index:02d}", ts=ts, body={"n": index})
    faulty = Faulty(inner=world.ports.sources.open("db", "c"))
    world.ports.sources.source = faulty  # type: ignore[attr-defined]
    world.calm.operating.apply(SPEC.replace("budget_s: 2", "budget_s: 8"))
    world.calm.operating.start("sim")
    while not world.ports.ledger.open_slices("sim"):
        world.calm.controller.tick()
        world.clock.advance(TICK_S)
    return world


def work(world: World, ticks: int) -> None:
    for _ in range(ticks):
        world.calm.controller.tick()
        for queue in QUEUES * 4:
            if letter := world.mail.take(queue):
                handle(world.calm, queue, letter.text)
        world.clock.advance(TICK_S)


def fail(world: World, kind: dict[str, Any]) -> Faulty:
    source: Faulty = world.ports.sources.open("db", "c")  # type: ignore[assignment]
    for name, how in kind.items():
        setattr(source, name, how)
    source.on = True
    return source


def proven(world: World) -> int:
    progress = world.ports.ledger.progress("sim")
    return progress.documents_proven if progress else 0


@pytest.mark.parametrize("kind", LOSSY)
def test_a_truncated_read_proves_nothing_while_it_lasts(world: World, kind: str) -> None:
    """Each attempt fails and says so; when the source answers whole, everything is proven."""
    assert_refused_and_then_whole(world, LOSSY[kind])


@pytest.mark.parametrize("kind", LOSSY_LISTING)
def test_a_truncated_listing_proves_nothing_while_it_lasts(world: World, kind: str) -> None:
    """Pages and ids that agree are not believed against the count."""
    assert_refused_and_then_whole(world, LOSSY_LISTING[kind])


def assert_refused_and_then_whole(world: World, kind: dict[str, Any]) -> None:
    source = fail(world, kind)
    work(world, FAULTY_TICKS)
    assert proven(world) == 0
    assert all(each.failures for each in world.ports.ledger.open_slices("sim"))
    source.on = False
    cold = {key: dict(each) for key, each in world.source.documents.items()}
    calm_down(world)
    check_end(world, cold, set())


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_wrong_count_or_an_empty_page_loses_nothing(world: World, kind: str) -> None:
    """Where pages and listing give every document, a count that is too small harms nobody."""
    fail(world, HARMLESS[kind])
    cold = {key: dict(each) for key, each in world.source.documents.items()}
    work(world, FAULTY_TICKS)
    assert proven(world) == DOCUMENTS
    check_end(world, cold, set())


def test_what_the_source_hides_everywhere_is_not_seen(world: World) -> None:
    """A limit, not a promise: count, pages and listing agree, so only a later look can tell."""
    everywhere = {"documents_as": short, "identities_as": short, "count_as": lambda n: n - 1}
    source = fail(world, everywhere)
    cold = {key: dict(each) for key, each in world.source.documents.items()}
    work(world, FAULTY_TICKS)
    source.on = False
    assert world.ports.ledger.migration("sim").state is MigrationState.COMPLETED
    with pytest.raises(AssertionError, match="doc-03 was lost"):
        check_end(world, cold, set())
