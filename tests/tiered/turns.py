"""Runs actors one step at a time in every order; a step is whatever an actor does between gates.

Each actor has a thread, and only one of them ever runs: whoever's turn it is goes on to its next
gate. All orders are gone through, as many changes of turn as a test allows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

STEPS_MAX = 400


def _shut() -> threading.Lock:
    """A door that whoever comes waits at until somebody releases it, once."""
    door = threading.Lock()
    door.acquire()
    return door


class Killed(BaseException):
    """The actor's process died at a gate."""


@dataclass(slots=True)
class Actor:
    """What it returned or raised, and between which steps of all it ran."""

    name: str
    act: Callable[[], Any]
    go: threading.Lock = field(default_factory=_shut)
    arrived: threading.Lock = field(default_factory=_shut)
    dies_at: int | None = None
    gates: int = 0
    ended: bool = False
    began_at: int = -1
    ended_at: int = STEPS_MAX
    answer: Any = None
    error: BaseException | None = None

    def live(self) -> None:
        try:
            self.go.acquire()
            self.answer = self.act()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - it is the actor's answer, which a test judges
            self.error = error
        finally:
            self.ended = True
            self.arrived.release()


@dataclass(slots=True)
class Turns:
    """One run: who is at which step; `gate` is called by the twins before each of their acts."""

    actors: dict[int, Actor] = field(default_factory=dict)
    step: int = 0

    def gate(self) -> None:
        actor = self.actors.get(threading.get_ident())
        if actor is None:
            return
        actor.arrived.release()
        actor.go.acquire()
        actor.gates += 1
        if actor.gates == actor.dies_at:
            raise Killed

    def run(self, actors: list[Actor], choose: Callable[[list[int]], int]) -> None:
        threads = [threading.Thread(target=actor.live, daemon=True) for actor in actors]
        for thread, actor in zip(threads, actors, strict=True):
            thread.start()
            self.actors[thread.ident or 0] = actor
        while waiting := [n for n, actor in enumerate(actors) if not actor.ended]:
            self.step += 1
            assert self.step < STEPS_MAX, "an actor goes on and on"
            actor = actors[choose(waiting)]
            if actor.began_at < 0:
                actor.began_at = self.step
            actor.go.release()
            actor.arrived.acquire()
            if actor.ended:
                actor.ended_at = self.step
        for thread in threads:
            thread.join()


@dataclass(slots=True)
class Order:
    """Whose turn it was at each step; beyond its beginning, whoever runs goes on."""

    beginning: list[int]
    taken: list[int] = field(default_factory=list)
    others: list[list[int]] = field(default_factory=list)

    def choose(self, waiting: list[int]) -> int:
        at = len(self.taken)
        last = self.taken[-1] if self.taken and self.taken[-1] in waiting else waiting[0]
        chosen = self.beginning[at] if at < len(self.beginning) else last
        self.others.append([n for n in waiting if n != chosen])
        self.taken.append(chosen)
        return chosen

    def next_ones(self, changes_max: int) -> Iterator[list[int]]:
        """Every order that differs from this one first behind its beginning."""
        for at in range(len(self.beginning), len(self.taken)):
            for other in self.others[at]:
                order = [*self.taken[:at], other]
                if sum(one != two for one, two in pairwise(order)) <= changes_max:
                    yield order


Acts = Mapping[str, Callable[[], Any]]


def every_order(
    make: Callable[[Turns], tuple[Acts, Any]],
    *,
    changes_max: int = STEPS_MAX,
    dies: tuple[str, int] | None = None,
) -> Iterator[tuple[dict[str, Actor], Any]]:
    """Each order once: what became of every actor, and the scene that they left."""
    orders: list[list[int]] = [[]]
    while orders:
        order = Order(beginning=orders.pop())
        turns = Turns()
        acts, scene = make(turns)
        actors = {name: Actor(name=name, act=act) for name, act in acts.items()}
        if dies is not None:
            actors[dies[0]].dies_at = dies[1]
        turns.run(list(actors.values()), order.choose)
        orders += order.next_ones(changes_max)
        yield actors, scene
