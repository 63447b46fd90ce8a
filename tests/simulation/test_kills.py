"""What a kill costs: nothing lost, nothing doubled, one slice at most read again."""

from __future__ import annotations

from shared.domain.slices import Extent, Window
from shared.ports import Query
from tests.simulation.kills import Readings, killed_often, migrated
from tests.simulation.world import START_S, make_world

KILLS = 20
SLICES = 30


def test_twenty_random_kills_lose_nothing_and_redo_little() -> None:
    """Each at a call drawn from all calls of the run; about one part in as many as there are."""
    report = killed_often(KILLS, slices=SLICES, seed=3, layouts=2, tell=lambda _: None)
    assert (report.kills, report.lost, report.duplicated) == (KILLS, 0, 0)
    assert report.slices >= SLICES
    assert report.slices_redone_max <= 1
    assert report.ru_redone_share_max <= 2 / SLICES
    assert report.ru_redone_share <= 1 / SLICES


def test_a_migration_that_nobody_kills_reads_every_slice_once() -> None:
    """What is told as redone is the kill's doing."""
    calm = migrated(1, 5)
    assert (calm.where, calm.slices_redone, calm.ru_redone) == ("", 0, 0.0)


def test_readings_beyond_the_first_complete_one_are_told_as_redone() -> None:
    """A reading cut off, one whole one, and one more: the first and the last are redone."""
    world = make_world(1)
    for index in range(4):
        world.source.put(f"doc-{index}", ts=START_S - 100 * 86_400 + index, body=index)
    readings = Readings(world=world)
    extent = Extent(window=Window(lo_s=0, hi_s=START_S), range=world.source.ranges()[0])
    query = Query(extent=extent)
    with world.chaos.acting("copy"):
        readings.page(query, 0, 2)
        for _ in range(2):
            readings.page(query, 0, 2)
            readings.page(query, 2, 3)  # one more than there are: a full page leads on
    assert list(readings.redone().values()) == [3 * 23.0]
    with world.chaos.acting("tick"):
        readings.page(query, 0, 2)
    assert list(readings.redone().values()) == [3 * 23.0]
