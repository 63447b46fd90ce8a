"""The machine's ports: clocks, names and scratch files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared.adapters.clock import RandomNames, SystemClock
from shared.adapters.memory import MemoryClock, MemoryScratch, SequentialNames
from shared.adapters.scratch import TempScratch
from shared.ports import Clock, Names, Scratch


@pytest.mark.parametrize("clock", [MemoryClock(), SystemClock()], ids=["memory", "system"])
def test_waiting_moves_the_clock_on(clock: Clock) -> None:
    """And a negative wait is none."""
    before_s = clock.now_s()
    clock.wait(0.02)
    assert clock.now_s() - before_s >= 0.0199
    clock.wait(-5.0)
    assert clock.now_s() >= before_s


def test_a_virtual_wait_takes_no_time() -> None:
    """An hour passes at once."""
    clock, begun = MemoryClock(start_s=100.0), time.monotonic()
    clock.wait(3600.0)
    assert clock.now_s() == 3700.0
    assert time.monotonic() - begun < 1.0


@pytest.mark.parametrize("names", [SequentialNames(), RandomNames()], ids=["memory", "random"])
def test_no_name_comes_twice(names: Names) -> None:
    """Each fits a table key and a blob name as it is."""
    many = [names.new() for _ in range(1000)]
    assert len(set(many)) == 1000
    assert all(name.replace("-", "").isalnum() for name in many)


@pytest.mark.parametrize("names", [SequentialNames(), RandomNames()], ids=["memory", "random"])
def test_chance_is_spread_over_the_whole_unit(names: Names) -> None:
    """Each tenth of it comes up, none is 1 or more, and none comes twice."""
    many = [names.fraction() for _ in range(1000)]
    assert {int(each * 10) for each in many} == set(range(10))
    assert len(set(many)) == 1000


def test_a_scratch_file_is_read_back_and_leaves_nothing(tmp_path: Path) -> None:
    """Written, sought and read; its directory is empty before and after it closes."""
    scratches: list[Scratch] = [MemoryScratch(), TempScratch(tmp_path), TempScratch()]
    for scratch in scratches:
        with scratch.open() as file:
            file.write(b"hello")
            file.seek(1)
            assert file.read() == b"ello"
        assert list(tmp_path.iterdir()) == []
        assert file.closed
