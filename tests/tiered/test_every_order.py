"""Readers, writers, removals and restores of one document, step by step in every order.

What must hold: a read that meets no write tells the last version written; a read that begins after
a write was answered never tells what was before it; and what was deleted never comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from azure.core import MatchConditions
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from shared.application.restoring import Restoring
from shared.ports import Fate, Source
from tests.tiered.turns import Actor, Turns, every_order
from tests.tiered.twins import PATHS, SOURCE, Place, a_place

GONE = None
OLD, NEW = 1, 2


@dataclass(slots=True)
class Doing:
    """What actors may do at a place, each in its own words."""

    place: Place

    def read(self) -> int | None:
        try:
            found = self.place.tiered.read_item("i", self.place.partition_key)
        except CosmosResourceNotFoundError:
            return GONE
        return int(found["n"])

    def read_twice(self) -> tuple[int | None, int | None]:
        return self.read(), self.read()

    def upsert(self) -> None:
        self.place.tiered.upsert_item({"id": "i", "pk": self.place.partition_key, "n": NEW})

    def replace(self) -> None:
        body = {"id": "i", "pk": self.place.partition_key, "n": NEW}
        self.place.tiered.replace_item("i", body)

    def replace_first(self) -> None:
        body = {"id": "i", "pk": self.place.partition_key, "n": NEW}
        condition = {"etag": "e1", "match_condition": MatchConditions.IfNotModified}
        self.place.tiered.replace_item("i", body, **condition)

    def patch(self) -> None:
        operations = [{"op": "set", "path": "/n", "value": NEW}]
        self.place.tiered.patch_item("i", self.place.partition_key, operations)

    def create(self) -> None:
        self.place.tiered.create_item({"id": "i", "pk": self.place.partition_key, "n": NEW})

    def delete(self) -> None:
        self.place.tiered.delete_item("i", self.place.partition_key)

    def retire(self) -> None:
        """Announced, found in this very version, pointed at, removed; withdrawn where it fails."""
        place, pointers, source = self.place, self.place.pointers, self.place.source
        announced = place.pointer.announced()
        if not pointers.put(SOURCE, {place.key: announced}):
            return
        stands = source.find(place.key).document
        if stands is None or stands["_etag"] != place.pointer.etag:
            pointers.withdraw(SOURCE, {place.key: announced})
            return
        if not pointers.put_answering(SOURCE, {place.key: place.pointer}):
            return
        if source.remove(place.key, etag=place.pointer.etag).fate is not Fate.DONE:
            pointers.withdraw(SOURCE, {place.key: place.pointer})

    def restore(self) -> None:
        place = self.place
        restoring = Restoring(
            cast("Source", place.source),
            place.pointers,
            name=SOURCE,
            paths=PATHS,
            ask=lambda question: question(),
        )
        restoring.removed(place.key, place.pointer, place.data)

    def retire_and_restore(self) -> None:
        self.retire()
        self.restore()


def scene(*names: str, retired: bool) -> Callable[[Turns], tuple[dict[str, Any], Doing]]:
    def make(turns: Turns) -> tuple[dict[str, Any], Doing]:
        place = a_place(turns.gate)
        doing = Doing(place.retired() if retired else place)
        return {name: getattr(doing, name) for name in names}, doing

    return make


def no_surprise(actors: dict[str, Actor], *allowed: type[Exception]) -> None:
    for actor in actors.values():
        assert actor.error is None or isinstance(actor.error, allowed), actor


def gone_for_good(doing: Doing) -> None:
    """Deleted straight in Cosmos DB, a document that was written anew leaves nothing behind."""
    doing.place.cosmos.documents.clear()
    assert doing.read() is GONE


@pytest.mark.parametrize(
    ("mover", "retired"),
    [("retire", False), ("restore", True), ("retire_and_restore", False)],
)
def test_a_reader_never_misses_a_document_that_moves(mover: str, retired: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Out of Cosmos DB, back, or there and back: each read tells the one version there is."""
    orders = 0
    for actors, doing in every_order(scene(mover, "read_twice", retired=retired)):
        no_surprise(actors)
        assert actors["read_twice"].answer == (OLD, OLD)
        assert doing.read() == OLD
        orders += 1
    assert orders > 15


@pytest.mark.parametrize("write", ["upsert", "replace", "replace_first", "patch"])
@pytest.mark.parametrize(("mover", "retired"), [("retire", False), ("restore", True)])
def test_a_written_version_hides_every_earlier_one(write: str, mover: str, retired: bool) -> None:  # noqa: FBT001
    """Whoever reads after the answer gets it; and its deletion brings nothing older back."""
    made = scene(mover, write, "read_twice", retired=retired)
    moved = 0
    for actors, doing in every_order(made, changes_max=3):
        refused = write == "replace_first" and actors[write].error is not None
        no_surprise(actors, *([CosmosAccessConditionFailedError] if refused else []))
        reader, writer = actors["read_twice"], actors[write]
        if refused:
            assert mover == "restore"  # it came back under another etag, as any restore does
            assert doing.read() == OLD
            moved += 1
            continue
        for told in reader.answer:
            assert told in {OLD, NEW}
        if reader.began_at > writer.ended_at:
            assert reader.answer == (NEW, NEW)
        if reader.ended_at < writer.began_at:
            assert reader.answer == (OLD, OLD)
        assert reader.answer != (NEW, OLD) or mover == "restore"
        assert doing.read() == NEW
        gone_for_good(doing)
    assert moved > 0 or not (write == "replace_first" and mover == "restore")


@pytest.mark.parametrize(("mover", "retired"), [("retire", False), ("restore", True)])
def test_a_deleted_document_is_gone_whatever_moves_it(mover: str, retired: bool) -> None:  # noqa: FBT001
    """Deleting succeeds, and whoever reads after its answer finds nothing, then or later."""
    made = scene(mover, "delete", "read_twice", retired=retired)
    for actors, doing in every_order(made, changes_max=3):
        no_surprise(actors)
        reader, deleter = actors["read_twice"], actors["delete"]
        if reader.began_at > deleter.ended_at:
            assert reader.answer == (GONE, GONE)
        if reader.ended_at < deleter.began_at:
            assert reader.answer == (OLD, OLD)
        assert doing.read() is GONE
        assert doing.place.cosmos.documents == {}


@pytest.mark.parametrize("dies_at", range(1, 8))
@pytest.mark.parametrize(("mover", "retired"), [("retire", False), ("restore", True)])
@pytest.mark.parametrize("write", ["delete", "upsert"])
def test_whoever_moves_a_document_may_die_anywhere(
    write: str,
    mover: str,
    retired: bool,  # noqa: FBT001
    dies_at: int,
) -> None:
    """What is left half done tells no reader anything that is not so."""
    made = scene(mover, write, "read", retired=retired)
    expected = GONE if write == "delete" else NEW
    for actors, doing in every_order(made, changes_max=2, dies=(mover, dies_at)):
        no_surprise(actors)
        if actors["read"].began_at > actors[write].ended_at:
            assert actors["read"].answer == expected
        assert doing.read() == expected


@pytest.mark.parametrize(("mover", "retired"), [("retire", False), ("restore", True)])
def test_what_exists_anywhere_cannot_be_created(mover: str, retired: bool) -> None:  # noqa: FBT001
    """409, as Cosmos DB would have said, and the document is what it was."""
    for actors, doing in every_order(scene(mover, "create", retired=retired)):
        assert isinstance(actors["create"].error, CosmosResourceExistsError)
        assert doing.read() == OLD


@pytest.mark.parametrize("retired", [True, False])
def test_a_deletion_and_a_replacement_end_in_one_of_both_orders(retired: bool) -> None:  # noqa: FBT001
    """Deleted last, nothing is there; replaced last, it could not be, because it was deleted."""
    seen = set()
    for actors, doing in every_order(scene("replace", "delete", retired=retired), changes_max=4):
        no_surprise(actors, CosmosResourceNotFoundError)
        assert actors["delete"].error is None
        assert doing.read() is GONE
        seen.add(actors["replace"].error is None)
    assert seen == {True, False}
