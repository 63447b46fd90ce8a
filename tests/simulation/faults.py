"""Seeded misfortune at every call through a port: killed, failed, lost, conflicting, cut, flipped.

It decides what goes wrong at a call; what happens between calls is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import io
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from shared.domain.slices import Stored
from shared.errors import Conflict, EbbError, Throttled, TransientError
from shared.ports import Archive, Page, Query
from tests.simulation.sources import FIRST_POSITION

DEPTH_MAX = 2
FUNCTION_TIMEOUT_S = 1_800.0  # host.json's functionTimeout
CALLS_MAX = 300_000  # fifty times what a run usually needs: beyond, it goes round in circles
TRACE_MAX = 80  # the last calls before a failure; the rest is replayed by the seed
OPENED = {"archives.open": "archive", "sources.open": "source", "archive.writer": "writer"}
CONDITIONAL = frozenset({"ledger.commit", "ledger.put_migration", "boards.write"})
CREATING = frozenset({"archive.put_if_absent", "archive.promote"})
PAGED = frozenset({"source.documents", "source.identities"})
CHARGED = PAGED | {"source.count", "source.earliest_s"}


@dataclass(slots=True)
class Actor:
    """Somebody at work, who may have to stand still while others go on."""

    name: str
    stood_still_s: float = 0.0
    """Since it last waited of its own accord."""
    waited_s: float = 0.0
    """Of its own accord, since it began."""


class Crash(BaseException):
    """The process was killed here; nothing after this line ran."""


@dataclass(slots=True)
class Chaos:
    """Decides at every call through a port what goes wrong there; the same for the same seed."""

    rng: random.Random
    crash: float = 0.0
    fail: float = 0.0
    lose: float = 0.0
    throttle: float = 0.0
    interleave: float = 0.0
    conflict: float = 0.0
    pages: float = 0.0
    """How likely a page of documents is empty, repeated, cut or short of some."""
    harm: float = 0.0
    """How likely a download delivers other bytes than stand there."""
    storm_until_s: float = float("-inf")
    kill_at: int | None = None
    """The number of the call that kills its caller, where one is to be killed for certain."""
    freeze: float = 0.0
    """How likely its caller is frozen at a call, with its process, and wakes much later."""
    freeze_at: int | None = None
    """The number of the call at which its caller is frozen for certain."""
    now_s: Callable[[], float] = lambda: 0.0
    nested: Callable[[], None] = lambda: None
    frozen: Callable[[], None] = lambda: None
    """What the others do while somebody is frozen."""
    actors: list[Actor] = field(default_factory=list)
    """Who is at work, the innermost last."""
    asking: list[Callable[[str, Actor, Query], None]] = field(default_factory=list)
    answered: list[Callable[[Actor, Query, float], None]] = field(default_factory=list)
    """Told of each request to the source before it is sent, and of what its answer cost."""
    charging: bool = False
    """Whether the source is answering somebody who may be unlucky."""
    depth: int = 0
    calls: int = 0
    dead: bool = False
    happened: Counter[str] = field(default_factory=Counter)
    killed: list[str] = field(default_factory=list)
    """Where each kill hit."""
    trace: deque[str] = field(default_factory=lambda: deque(maxlen=TRACE_MAX))

    @property
    def crashes(self) -> int:
        return self.happened["crash"]

    def likely(self, odds: float, kind: str) -> bool:
        """Whether it happens now; what happened is counted."""
        if odds <= 0.0 or self.rng.random() >= odds:
            return False
        self.note(kind)
        return True

    def note(self, kind: str) -> None:
        self.happened[kind] += 1
        self.trace.append(f"{self.now_s():.1f} *{kind}*")

    def before(self, name: str) -> None:
        if self.dead:  # a killed process tidies nothing up
            raise Crash(f"before {name}, long dead")
        self.trace.append(f"{self.now_s():.1f} {name}")
        if self.depth < DEPTH_MAX and self.likely(self.interleave, "interleave"):
            self.meanwhile()
        if self.calls + 1 == self.freeze_at or (
            self.depth == 0 and self.likely(self.freeze, "freeze")
        ):
            self.freeze_at = None
            self.meanwhile(self.frozen)
        self._maybe_die(f"before {name}")
        if self.likely(self.fail, "fail"):
            raise TransientError(f"{name}: the sandbox was busy")

    def after(self, name: str) -> None:
        self._maybe_die(f"after {name}")
        if self.likely(self.lose, "lost reply"):
            raise TransientError(f"{name}: the reply was lost")

    def waits(self, seconds: float) -> None:
        """Whoever works longer than `functionTimeout` is killed by the host, wherever it is.

        Time in which the whole machine stood still is not counted: its host slept as well.
        """
        for actor in self.actors[-1:]:
            actor.waited_s += seconds
            if actor.waited_s > FUNCTION_TIMEOUT_S:
                self.dead = True
                self.note("functionTimeout")
                raise Crash("functionTimeout")

    def meanwhile(self, others: Callable[[], None] | None = None) -> None:
        """Whoever is at this call stands still, and others go on."""
        self.depth += 1
        began_s = self.now_s()
        try:
            (others or self.nested)()
        finally:
            self.depth -= 1
            for actor in self.actors[-1:]:
                actor.stood_still_s += self.now_s() - began_s

    @contextmanager
    def acting(self, name: str) -> Iterator[None]:
        self.actors.append(Actor(name=name))
        try:
            yield
        finally:
            self.actors.pop()

    def is_acting(self, name: str) -> bool:
        return any(actor.name == name for actor in self.actors)

    def _maybe_die(self, where: str) -> None:
        self.calls += 1
        assert self.calls < CALLS_MAX, f"{where}: {CALLS_MAX} calls and no end"
        if self.calls == self.kill_at or self.likely(self.crash, "crash"):
            self.dead = True
            self.killed.append(where)
            self.trace.append(f"killed {where}")
            raise Crash(where)


class Unlucky:
    """Any port with chaos around each call."""

    def __init__(self, inner: Any, chaos: Chaos, label: str) -> None:
        self._inner = inner
        self._chaos = chaos
        self._label = label

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            label = f"{self._label}.{name}"
            if label in CHARGED:
                return self._charged(label, found, args, kwargs)
            self._chaos.before(label)
            result = self._answered(label, found, args, kwargs)
            self._chaos.after(label)
            if label in OPENED:
                return Unlucky(result, self._chaos, OPENED[label])
            return self._stepwise(label, result) if isinstance(result, Iterator) else result

        return call

    def _charged(self, label: str, found: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A request to the source; an answer that was lost costs what nobody can know of."""
        chaos = self._chaos
        for tell in () if chaos.dead else chaos.asking:
            tell(label, chaos.actors[-1], args[0])
        chaos.before(label)
        chaos.charging = True
        try:
            result = self._answered(label, found, args, kwargs)
        except EbbError as error:  # a number may fail behind pages that were paid
            _paid(chaos, args[0], error.ru)
            raise
        finally:
            chaos.charging = False
        chaos.after(label)
        _paid(chaos, args[0], result.ru)
        return result

    def _answered(self, label: str, found: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        chaos = self._chaos
        if self._label == "source":
            throttle(chaos, label)
        if label in CONDITIONAL:
            return _conflicting(chaos, label, lambda: found(*args, **kwargs))
        if label in PAGED and chaos.likely(chaos.pages, "odd page"):
            return _odd_page(chaos, found, args, kwargs)
        if label == "archive.download" and chaos.likely(chaos.harm, "harmed download"):
            return harmed_download(chaos.rng, self._inner, *args)
        result = found(*args, **kwargs)
        if label in CREATING and result and chaos.likely(chaos.conflict, "own echo"):
            return False  # the client repeated a call whose reply was lost, and met its own work
        return result

    def _stepwise(self, label: str, found: Iterator[Any]) -> Iterator[Any]:
        """A listing is asked for in parts, and each may go wrong."""
        for each in found:
            self._chaos.before(f"{label}.next")
            yield each


def _paid(chaos: Chaos, query: Query, ru: float) -> None:
    for told in chaos.answered if ru else ():
        told(chaos.actors[-1], query, ru)


def throttle_between_pages(chaos: Chaos) -> None:
    """A 429 behind some pages of a number, which were paid all the same."""
    if chaos.charging:
        throttle(chaos, "source, between two pages of a number")


def throttle(chaos: Chaos, label: str) -> None:
    in_storm = chaos.now_s() < chaos.storm_until_s and chaos.rng.random() < 0.9
    if in_storm:
        chaos.note("429 in a storm")
    if in_storm or chaos.likely(chaos.throttle, "429"):
        raise Throttled(f"{label}: 429", retry_after_s=1.0)


def _conflicting(chaos: Chaos, label: str, write: Callable[[], Any]) -> Any:
    """A conflict though nobody wrote, or only we did: the reply was lost, and it was repeated."""
    if chaos.likely(chaos.conflict, "conflict over nothing"):
        raise Conflict(f"{label}: someone else wrote first")
    result = write()
    if chaos.likely(chaos.conflict, "conflict with itself"):
        raise Conflict(f"{label}: someone else wrote first")
    return result


def _odd_page(chaos: Chaos, found: Callable[..., Page], args: Any, kwargs: dict[str, Any]) -> Page:
    """One answer that is not what the source holds."""
    began_at = kwargs["continuation"] or FIRST_POSITION
    kind = chaos.rng.choice(["empty", "repeated", "short", "cut"])
    page = found(*args, **kwargs)
    if kind == "empty":
        return replace(page, items=[], continuation=began_at)
    if kind == "repeated":
        return replace(page, continuation=began_at)
    if kind == "short":
        return replace(page, items=list(page.items)[1:])
    return replace(page, continuation=None)


def harmed_download(rng: random.Random, archive: Archive, name: str, into: BinaryIO) -> Stored:
    """What stands there is sound; what arrives is flipped or cut."""
    whole = io.BytesIO()
    stored = archive.download(name, whole)
    data = harmed(rng, whole.getvalue())
    into.write(data)
    return replace(stored, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def harmed(rng: random.Random, data: bytes) -> bytes:
    """The same bytes but for one, or but for the end."""
    if not data:
        return b"\0"
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        return data[:at]
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
