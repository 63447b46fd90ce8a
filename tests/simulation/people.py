"""What people, the business and the weather do to a migration at any moment, by chance.

None of it is Ebb's doing; a sound Ebb comes to its end after all of it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shared.adapters.memory import MemoryArchives
from shared.domain.slices import MigrationState
from shared.errors import EbbError
from tests.simulation.faults import harmed
from tests.simulation.post import GARBAGE, POISON
from tests.simulation.world import BUSINESS_RU_PER_S, CAPACITY_RU_PER_S, QUEUES, World

SINK = "archive"
VERBS = ("pause", "resume", "stop", "start")
SKEW_S_MAX = 300.0
LATE_S_MAX = 7_200


@dataclass(slots=True)
class Surroundings:
    """Everybody around Ebb, and what they did that the checkers must allow for."""

    world: World
    rng: random.Random
    changed: set[str] = field(default_factory=set)
    """Documents that the business updated or deleted."""
    born: int = 0
    steps_clock: bool = False
    spoils: bool = False
    """Whether what is staged may be harmed where it stands."""
    sound: dict[str, bytes] = field(default_factory=dict)
    """What was harmed, as it was: an account keeps the blobs' versions."""
    uncanonical: set[str] = field(default_factory=set)

    def disturb(self) -> None:
        events: list[tuple[int, str, Callable[[], None]]] = [
            (8, "document changed", self.change_document),
            (3, "document created", self.create_document),
            (3, "429 storm", self.storm),
            (3, "message in disorder", self.misplace_message),
            (2, "person pressed", self.press_button),
            (1, "pressure", self.push),
            (2, "monitor changed", self.change_monitor),
            (1, "partition split", self.split),
        ]
        if self.steps_clock:
            events.append((2, "clock stepped", self.step_clock))
        if self.spoils:
            events.append((4, "staging harmed", self.spoil))
        weights = [weight for weight, _, _ in events]
        ((_, kind, happen),) = self.rng.choices(events, weights)
        self.world.chaos.note(kind)
        happen()

    def change_document(self) -> None:
        """The business updates or deletes an old document."""
        source = self.world.source
        old = [key for key in source.documents if key.startswith("doc-")]
        if not old:
            return
        key = self.rng.choice(old)
        self.changed.add(key)
        self.uncanonical.discard(key)
        if self.rng.random() < 0.5:
            del source.documents[key]
        else:
            source.put(key, ts=self._now_s(), body="updated")

    def create_document(self) -> None:
        """It is as young as now, or one that was deleted before comes again."""
        source = self.world.source
        gone = sorted(self.changed - set(source.documents))
        self.born += 1
        again = gone and self.rng.random() < 0.5
        key = self.rng.choice(gone) if again else f"new-{self.born:04d}"
        source.put(key, ts=self._now_s(), body={"born": self.born})

    def storm(self) -> None:
        lasts_s = self.rng.choice([3.0, 20.0, 120.0])
        self.world.chaos.storm_until_s = self.world.clock.now_s() + lasts_s

    def misplace_message(self) -> None:
        """A stranger's message, one of ours in the wrong queue, or an old one once more."""
        post, rng = self.world.mail, self.rng
        queue = rng.choice([*QUEUES, *POISON])
        if not post.seen or rng.random() < 0.4:
            post.send(queue, rng.choice(GARBAGE))
            return
        post.send(queue, rng.choice(post.seen), delay_s=rng.choice([0, 60, LATE_S_MAX]))

    def press_button(self) -> None:
        with suppress(EbbError):
            self.world.calm.operating.change("sim", self.rng.choice(VERBS))

    def push(self) -> None:
        """The business says what it needs, or takes it back."""
        need = self.rng.choice([None, 0.0, 500.0, 700.0, 5_000.0])
        lasts_s = self.rng.choice([0, 30, 600])
        self.world.calm.pressing.push(json.dumps({"business_ru_per_s": need, "for_s": lasts_s}))

    def change_monitor(self) -> None:
        """Late, silent, not answering, told too low at first, or well again."""
        monitor, rng, now_s = self.world.monitor, self.rng, self.world.clock.now_s()
        monitor.lag_s = rng.choice([0.0, 60.0, 200.0, 400.0])
        monitor.settles_after_s = rng.choice([0.0, 120.0])
        monitor.first_share = rng.choice([0.0, 0.5, 1.0])
        monitor.refuses = rng.random() < 0.2
        monitor.heats = rng.random() < 0.3
        monitor.silent_from_s = now_s if rng.random() < 0.2 else float("inf")
        monitor.silent_until_s = now_s + rng.choice([60.0, 600.0])
        level = rng.choice([0.0, BUSINESS_RU_PER_S, 700.0, CAPACITY_RU_PER_S])
        monitor.business_ru_per_s = lambda _minute_s: level

    def split(self) -> None:
        """At most a few: a container does not split without end."""
        source = self.world.source
        source.split(self.rng.choice(source.ranges()).id)

    def step_clock(self) -> None:
        """The hosts' clock jumps, and is set right now and then."""
        clock = self.world.host_clock
        steps = [-SKEW_S_MAX, -60.0, -3.0, 3.0, 60.0, SKEW_S_MAX]
        clock.skew_s = 0.0 if clock.skew_s and self.rng.random() < 0.3 else self.rng.choice(steps)

    def spoil(self) -> None:
        """A byte of something staged flips, or its end is lost, where it stands."""
        blobs = archives(self.world)
        waiting = {s.id for s in self.world.ports.ledger.open_slices("sim") if s.staged}
        staged = blobs.names(SINK, "staging/")
        wanted = [name for name in staged if name[len("staging/") :].split(".")[0] in waiting]
        if not staged:
            return
        name = self.rng.choice(wanted or staged)
        data = blobs.bytes_of(SINK, name) or b""
        self.sound.setdefault(name, data)
        blobs.put(SINK, name, harmed(self.rng, data), missing=False)

    def calm(self) -> None:
        """The weather clears, the business corrects its documents, and an operator repairs."""
        self._quiet_chaos()
        self.world.host_clock.skew_s = 0.0
        monitor = self.world.monitor
        monitor.refuses, monitor.lag_s, monitor.first_share = False, 0.0, 1.0
        monitor.silent_from_s = monitor.silent_until_s = float("inf")
        monitor.business_ru_per_s = lambda _minute_s: BUSINESS_RU_PER_S
        for key in sorted(self.uncanonical):
            self.changed.add(key)
            self.world.source.put(key, ts=self._now_s(), body="corrected")
        self.uncanonical.clear()
        self._restore_versions()
        state = self.world.ports.ledger.migration("sim").state
        if state in {MigrationState.PAUSED, MigrationState.HALTED}:
            self.world.calm.operating.resume("sim")
        elif state is MigrationState.STOPPED:
            self.world.calm.operating.start("sim")

    def _quiet_chaos(self) -> None:
        chaos = self.world.chaos
        chaos.crash = chaos.fail = chaos.lose = chaos.throttle = chaos.interleave = 0.0
        chaos.conflict = chaos.pages = chaos.harm = 0.0
        chaos.storm_until_s = float("-inf")

    def _restore_versions(self) -> None:
        """What a receipt names and is not published yet must stand as it was."""
        blobs = archives(self.world)
        named = {
            name
            for receipt in blobs.names(SINK, "receipts/")
            for name in _staged_of(json.loads(blobs.bytes_of(SINK, receipt) or b""))
        }
        for name, data in self.sound.items():
            if name in named and blobs.bytes_of(SINK, name) is not None:
                blobs.put(SINK, name, data, missing=False)

    def _now_s(self) -> int:
        return int(self.world.clock.now_s())


def archives(world: World) -> MemoryArchives:
    found: Any = world.ports.archives
    return found  # type: ignore[no-any-return]


def _staged_of(receipt: dict[str, Any]) -> tuple[str, str]:
    stem = f"staging/{receipt['slice']}.{receipt['fence']}"
    return f"{stem}.parquet", f"{stem}.manifest"
