"""The memory's promises: a whole day of a source fits, comes back equal, and stays its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.governor import Memory
from shared.domain.outlook import MINUTE_S, MINUTES_KEPT, Past
from shared.domain.pulse import Pulse, retiring_pulse
from shared.ports import Remembered
from tests.contract.records import NOON_S
from tests.contract.rooms import Rooms

SOURCE = "db/orders"
# Names that a table key, an address or a query could trip over.
ODD_NAMES = ("db/örder lines", "a b/c'd", "per%cent/100%25", "q?#\\/x", "=2F/=3D", "☕/🦀", "db/o")


def minutes_of(count: int, *, ru_per_s: float = 412.3) -> Past:
    return Past().with_minutes(
        (NOON_S + n * MINUTE_S, round(ru_per_s + n % 7, 1)) for n in range(count)
    )


def a_memory(*, budget_ru_per_s: float = 1_234.567) -> Remembered:
    memory = Memory(
        budget_ru_per_s=budget_ru_per_s,
        raised_for_s=NOON_S + 60,
        overrun_s=(NOON_S, NOON_S + 60),
        past=minutes_of(5),
    )
    pulses = {
        "orders-2025": Pulse(mark="3f 7 0", since_s=NOON_S + 0.125, seen_s=NOON_S + 30.5),
        "örders №2": Pulse(mark="", since_s=0.0, seen_s=0.0, told=True),
    }
    return Remembered(memory=memory, pulses=pulses)


def a_full_day() -> Remembered:
    """As large as a memory ever is: every minute over the ceiling, numbers of full length."""
    use = [(NOON_S + n * MINUTE_S, 9_999_999.9 - n / 7) for n in range(MINUTES_KEPT) if n % 50]
    memory = Memory(
        budget_ru_per_s=9_999_999.123456789,
        raised_for_s=NOON_S + (MINUTES_KEPT - 1) * MINUTE_S,
        overrun_s=tuple(NOON_S + n * MINUTE_S for n in range(MINUTES_KEPT)),
        past=Past().with_minutes(use),
    )
    pulse = Pulse(mark="f" * 60, since_s=NOON_S + 0.123456, seen_s=NOON_S + 0.123456, told=True)
    names = [f"{'m' * 60}{n:02d}" for n in range(16)]
    pulses = dict.fromkeys([*names, *map(retiring_pulse, names)], pulse)
    return Remembered(memory=memory, pulses=pulses)


def test_an_unknown_source_has_an_empty_memory(rooms: Rooms) -> None:
    """Reading before anything was kept is no error, nor is asking for a neighbour."""
    memories = rooms.memories()
    assert memories.recall(SOURCE) == Remembered()
    memories.keep(SOURCE, a_memory())
    assert memories.recall("db/order") == Remembered()
    assert memories.recall("db/orders2") == Remembered()


def test_a_memory_comes_back_as_it_was_kept(rooms: Rooms) -> None:
    """Budget, rise, overruns, minutes with level and spread, and every migration's pulse."""
    memories = rooms.memories()
    memories.keep(SOURCE, a_memory())
    assert memories.recall(SOURCE) == a_memory()


def test_a_full_day_fits_and_comes_back_equal(rooms: Rooms) -> None:
    """1,440 minutes with gaps, of as many digits as a minute can have, and as many overruns."""
    day = a_full_day()
    assert len(day.memory.past.use) == MINUTES_KEPT - 1  # the first was a gap
    assert None in day.memory.past.use
    memories = rooms.memories()
    memories.keep(SOURCE, day)
    found = memories.recall(SOURCE)
    assert found.memory.past.use == day.memory.past.use
    assert found.memory.past.level == pytest.approx(day.memory.past.level)
    assert found.memory.past.spread == day.memory.past.spread
    assert replace(found.memory, past=Past()) == replace(day.memory, past=Past())
    assert found.pulses == day.pulses


def test_of_two_memories_the_last_is_kept(rooms: Rooms) -> None:
    """Nothing of the first shines through, not even a pulse."""
    memories = rooms.memories()
    memories.keep(SOURCE, a_memory())
    second = Remembered(memory=Memory(budget_ru_per_s=1.5))
    memories.keep(SOURCE, second)
    memories.keep(SOURCE, second)
    assert memories.recall(SOURCE) == second


def test_sources_of_odd_names_remember_for_themselves(rooms: Rooms) -> None:
    """No name is taken for another's, however it must be spelt as a key."""
    memories = rooms.memories()
    for number, name in enumerate(ODD_NAMES):
        memories.keep(name, a_memory(budget_ru_per_s=float(number)))
    for number, name in enumerate(ODD_NAMES):
        assert memories.recall(name).memory.budget_ru_per_s == float(number)
