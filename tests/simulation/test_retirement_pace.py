"""Retiring beside a living business: the same budget, and a 429 is obeyed as in copying."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from shared.domain.pointers import Key
from shared.domain.slices import MigrationState
from shared.ports import RETIRE_QUEUE, Found, Written
from tests.simulation import test_pace
from tests.simulation.test_pace import LIMIT_RU_PER_S, Run, SharedSource, begin, steady
from tests.simulation.world import CAPACITY_RU_PER_S

DOCUMENTS = 600
HORIZON_S = 900


@dataclass(slots=True)
class WrittenSource(SharedSource):
    """Point reads and writes are paid for as well."""

    def find(self, key: Key) -> Found:
        found: Found = self._paid(lambda: self.inner.find(key))
        return found

    def remove(self, key: Key, *, etag: str) -> Written:
        written: Written = self._taken(20.0, lambda: self.inner.remove(key, etag=etag))
        return written

    def replace(self, key: Key, document: Mapping[str, Any], *, etag: str) -> Written:
        return self._taken(20.0, lambda: self.inner.replace(key, document, etag=etag))

    def create(self, key: Key, document: Mapping[str, Any]) -> Written:
        return self._taken(20.0, lambda: self.inner.create(key, document))

    def _taken(self, ru: float, write: Callable[[], Written]) -> Written:
        """A write that is refused for want of room is not carried out."""
        self.shared.take(self.memory.clock.now_s(), ru)
        return write()


def completed(load: Callable[[float], float], monkeypatch: pytest.MonkeyPatch) -> Run:
    spec = test_pace.SPEC + "retire: delete\nretire_grace: 0s\n"
    monkeypatch.setattr(test_pace, "SPEC", spec)
    monkeypatch.setattr(test_pace, "RU_PER_READ", 10.0)
    run = begin(load, documents=DOCUMENTS)
    plain: Any = run.world.ports.sources.open("db", "c")
    paid = WrittenSource(inner=plain.inner, memory=plain.memory, shared=plain.shared)
    run.world.ports.sources.source = paid  # type: ignore[attr-defined]
    while run.world.ports.ledger.migration("sim").state is not MigrationState.COMPLETED:
        run.work(60)
    return run


def retire(run: Run, seconds: float) -> None:
    until_s = run.world.clock.now_s() + seconds
    while run.world.clock.now_s() < until_s:
        if letter := run.world.mail.take(RETIRE_QUEUE):
            run.world.calm.retiring.run(letter.text)
        run.wait(1.0)


def left(run: Run) -> int:
    return len(run.world.source.documents)


def test_retiring_uses_the_slack_and_keeps_to_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """No 429, no minute over the ceiling, everything removed; then nothing is granted any more."""
    run = completed(steady, monkeypatch)
    began_s = int(run.world.clock.now_s())
    run.world.calm.retirements.execute("sim", {})
    retire(run, HORIZON_S)
    ended_s = int(run.world.clock.now_s())
    assert left(run) == 0
    assert [at for at in run.shared.throttled_at if at >= began_s] == []
    assert run.shared.overruns(began_s, ended_s) == []
    minutes = range(began_s // 60 * 60, ended_s, 60)
    assert max(run.shared.own_ru_per_s(m) for m in minutes) <= LIMIT_RU_PER_S - steady(0)
    assert run.world.ports.boards.read().budget_ru_per_s == 0.0


def test_a_spike_stops_retiring_at_its_first_429(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was under way waits, nothing is lost, and it goes on when there is room again."""
    spike: list[float] = []

    def load(at_s: float) -> float:
        spiked = bool(spike) and spike[0] <= at_s < spike[0] + 600
        return (1.0 if spiked else 0.5) * CAPACITY_RU_PER_S

    run = completed(load, monkeypatch)
    run.world.calm.retirements.execute("sim", {})
    run.happenings.append((run.world.clock.now_s() + 45, lambda: spike.append(_now_s(run))))
    retire(run, 500)
    after = [at for at in run.shared.throttled_at if spike and at >= spike[0]]
    assert 0 < left(run) < DOCUMENTS
    assert 1 <= len(after) <= 3
    retire(run, 2_400)
    assert left(run) == 0


def _now_s(run: Run) -> float:
    return run.world.clock.now_s()
