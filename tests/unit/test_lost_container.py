"""An archive's container is deleted by mistake: its name stays free, and somebody hears of it."""

from __future__ import annotations

import pytest

from shared.adapters.memory import MemoryArchives
from shared.application.restoration import Restoration, Wanted
from shared.domain.halts import Halt
from shared.errors import NotFound
from tests.simulation.people import archives
from tests.simulation.retirees import Retiree, archived
from tests.simulation.runs import SPEC
from tests.simulation.world import make_world

SINK = "archive"


@pytest.fixture
def retiree() -> Retiree:
    """Proven and not yet retired; then the container is gone."""
    made = archived(1, "delete", documents=4)
    archives(made.world).lose(SINK)
    return made


def is_there(made: MemoryArchives) -> bool:
    try:
        made.names(SINK, "")
    except NotFound:
        return False
    return True


def test_whoever_sweeps_reads_or_verifies_makes_no_container(retiree: Retiree) -> None:
    """Azure brings a deleted container back only while nobody has taken its name."""
    world = retiree.world
    (trouble,) = world.calm.janitor.sweep().troubles
    assert "it is not there" in trouble
    with pytest.raises(NotFound):
        world.calm.retirements.assess("sim")
    with pytest.raises(NotFound):
        Restoration(world.ports).many("sim", Wanted(), execute=True)
    assert not is_there(archives(world))


def test_a_retirement_under_way_halts_and_removes_nothing() -> None:
    """The worker finds neither receipt nor blob."""
    retiree = archived(1, "delete", documents=4)
    world = retiree.world
    world.calm.retirements.execute("sim", {})
    archives(world).lose(SINK)
    for _ in range(3):
        world.clock.advance(30)
        retiree.tick()
        retiree.deliver()
    found = world.ports.ledger.retirement("sim")
    assert found is not None
    assert found.halt is Halt.NOT_FOUND
    assert len(world.source.documents) == 4
    assert not is_there(archives(world))


def test_only_a_migration_that_starts_makes_its_container() -> None:
    """A new one, whose name nobody had."""
    world = make_world(1)
    world.calm.operating.apply(SPEC)
    world.calm.janitor.sweep()
    assert not is_there(archives(world))
    world.calm.operating.start("sim")
    assert archives(world).names(SINK, "") == ["owner.json"]
