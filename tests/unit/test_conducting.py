"""What a tick makes of runs as a factory may tell them."""

from __future__ import annotations

from dataclasses import replace

from shared.adapters.memory import MemoryFactory
from shared.domain.governor import TICK_S
from tests.simulation.runs import SPEC
from tests.simulation.world import START_S, World, make_world

MINUTES_MAX = 60


def running() -> tuple[World, MemoryFactory]:
    """A migration that a factory copies, with its first runs under way."""
    world = make_world(1)
    factory = world.ports.factory
    assert isinstance(factory, MemoryFactory)
    for index in range(40):
        world.source.put(f"doc-{index}", ts=START_S - 200 * 86_400 + index, body=index)
    world.calm.operating.apply(SPEC + "engine: adf\n")
    world.calm.operating.start("sim")
    while not factory.told:
        world.clock.advance(TICK_S)
        world.calm.controller.tick()
    return world, factory


def test_less_is_metered_of_a_run_than_it_probably_used() -> None:
    """Metered in full or more, the business would look smaller than it is."""
    world, _ = running()
    metered: list[float] = []
    add = world.ports.metering.add

    def summed(writer: str, spent: dict[object, float]) -> None:
        metered.append(sum(spent.values()))
        add(writer, spent)  # type: ignore[arg-type]

    world.ports.metering.add = summed  # type: ignore[method-assign,assignment]
    for _ in range(10):
        world.clock.advance(60)
        world.calm.controller.tick()
    progress = world.ports.ledger.progress("sim")
    assert progress is not None
    planned = max(each.documents_planned for each in world.ports.ledger.open_slices("sim"))
    assert 0 < max(metered) < planned * progress.ru_per_document


def test_a_run_that_is_not_said_to_have_begun_is_taken_from_its_order() -> None:
    """It waits in the factory's queue; its use is not spread over all minutes since 1970."""
    world, factory = running()
    for name, run in factory.told.items():
        factory.told[name] = replace(run, started_at_s=0.0)
    metered: list[int] = []
    add = world.ports.metering.add

    def counted(writer: str, spent: dict[object, float]) -> None:
        metered.append(len(spent))
        assert len(spent) < MINUTES_MAX
        add(writer, spent)  # type: ignore[arg-type]

    world.ports.metering.add = counted  # type: ignore[method-assign,assignment]
    world.clock.advance(TICK_S)
    world.calm.controller.tick()
    assert metered != []
    assert all(run.live for run in factory.told.values())
