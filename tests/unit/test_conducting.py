"""What a tick makes of runs as a factory may tell them."""

from __future__ import annotations

from dataclasses import replace

from shared.adapters.memory import MemoryFactory
from shared.domain.governor import TICK_S
from tests.simulation.runs import SPEC
from tests.simulation.world import START_S, make_world

MINUTES_MAX = 60


def test_a_run_that_is_not_said_to_have_begun_is_taken_from_its_order() -> None:
    """It waits in the factory's queue; its use is not spread over all minutes since 1970."""
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
