"""Whether own spending keeps to what the board granted in force at that time, request by request.

An own reading of the board, and one bucket per range: it fills with every charge and empties at
the most that was granted lately. What a worker owes is one request, so it never holds more than
one for each that may spend at once, and one for each that was killed before it could wait.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from shared.domain.board import Board
from shared.ports import Query
from tests.simulation.faults import Actor
from tests.simulation.world import SOURCE, World

WORKER_LOOK_S = 5.0  # who cannot read the board for so long stops; two seconds is the usual look
TICK_LOOK_S = 20.0  # a tick asks for 15 s at the rate it was given, and may end its last wait
SIGHT_KEPT_S = 3_600.0  # longer than anybody stands still
BURST_S = 0.5
COOL_DOWN_S = 10.0
EPSILON_RU = 1e-6
WORKERS = frozenset({"copy", "validate"})
EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A board, from when it stood, and how far the hosts' clock was from the true one."""

    since_s: float
    board: Board
    skew_s: float


@dataclass(slots=True)
class Bucket:
    level_ru: float = 0.0
    at_s: float = 0.0
    excused: int = 0
    """Workers killed, and ticks begun, since it was last empty: each may leave one request."""


@dataclass(slots=True)
class Spending:
    """Told of every request when it is begun, and of what it cost when it is answered."""

    world: World
    workers: int
    sights: deque[Sight] = field(default_factory=deque)
    buckets: dict[str, Bucket] = field(default_factory=dict)
    request_ru: float = 0.0
    crashes: int = 0

    def attach(self) -> None:
        self.world.boards.told.append(self._seen)
        self.world.chaos.asking.append(self.asking)
        self.world.chaos.answered.append(self.answered)
        self._seen(self.world.ports.boards.read())

    def asking(self, label: str, actor: Actor, query: Query) -> None:
        """A worker begins no request where nothing is granted, and none on top of a debt.

        Who had to stand still after looking at the board asks for what he saw there.
        """
        self._look()
        self._excuse()
        range_id = query.extent.range.id
        if actor.stood_still_s:
            self._drained(range_id, WORKER_LOOK_S).excused += 1
            self._drained(EVERYBODY, TICK_LOOK_S).excused += 1
        if actor.name in WORKERS:
            granted = self._granted(range_id, WORKER_LOOK_S + actor.stood_still_s)
            assert granted > 0, f"{label} on {range_id}: nothing was granted on it lately"
            self._check(range_id, WORKER_LOOK_S)
        self._check(EVERYBODY, TICK_LOOK_S)

    def answered(self, actor: Actor, query: Query, ru: float) -> None:
        self.request_ru = max(self.request_ru, ru)
        if actor.name in WORKERS:
            self._drained(query.extent.range.id, WORKER_LOOK_S).level_ru += ru
        self._drained(EVERYBODY, TICK_LOOK_S).level_ru += ru

    def tick_begins(self) -> None:
        """Each tick may ask once before it waits."""
        self._drained(EVERYBODY, TICK_LOOK_S).excused += 1

    def _check(self, name: str, look_s: float) -> None:
        bucket = self._drained(name, look_s)
        allowed = (self.workers + bucket.excused) * self.request_ru + EPSILON_RU
        assert bucket.level_ru <= allowed, (
            f"{name}: {bucket.level_ru:.0f} RU beyond what was granted, where {allowed:.0f} may be"
        )

    def _excuse(self) -> None:
        new = self.world.chaos.crashes - self.crashes
        self.crashes += new
        for name in [*self.buckets]:
            self.buckets[name].excused += new

    def _drained(self, name: str, look_s: float) -> Bucket:
        now_s = self.world.clock.now_s()
        bucket = self.buckets.setdefault(name, Bucket(at_s=now_s))
        rate = self._granted(name, look_s + now_s - bucket.at_s)
        bucket.level_ru = max(-BURST_S * rate, bucket.level_ru - rate * (now_s - bucket.at_s))
        if bucket.level_ru <= 0 and now_s > bucket.at_s:
            bucket.excused = 0
        bucket.at_s = now_s
        return bucket

    def _seen(self, board: Board) -> None:
        now_s, skew_s = self.world.clock.now_s(), self.world.host_clock.skew_s
        self.sights.append(Sight(since_s=now_s, board=board, skew_s=skew_s))

    def _look(self) -> None:
        """The clock may have stepped since; sights that nobody can still have are dropped."""
        if self.sights[-1].skew_s != self.world.host_clock.skew_s:
            self._seen(self.sights[-1].board)
        oldest_s = self.world.clock.now_s() - SIGHT_KEPT_S
        while len(self.sights) > 1 and self.sights[1].since_s < oldest_s:
            self.sights.popleft()

    def _granted(self, name: str, look_s: float) -> float:
        """The most that any board gave which stood within the last seconds."""
        now_s = self.world.clock.now_s()
        from_s = now_s - look_s
        later = [each.since_s for each in [*self.sights][1:]] + [float("inf")]
        stood = [s for s, until_s in zip(self.sights, later, strict=True) if until_s >= from_s]
        skews = [each.skew_s for each in stood]
        early_s, late_s = from_s + min(skews), now_s + max(skews)
        return max(rate_on(each.board, name, early_s, late_s) for each in stood)


def rate_on(board: Board, name: str, early_s: float, late_s: float) -> float:
    """What a board gives all workers on one range, by the kindest clock of the span."""
    grant = board.grants.get(SOURCE)
    if grant is None or early_s >= board.valid_until_s:
        return 0.0
    if grant.stale_at_s is not None and early_s >= grant.stale_at_s:
        return 0.0
    if name == EVERYBODY:
        return grant.budget_ru_per_s
    met = grant.throttles.get(name)
    if met is not None and (met.at_s >= board.decided_at_s or late_s < met.at_s + COOL_DOWN_S):
        return 0.0
    limit = grant.range_ru_per_s.get(name, grant.other_ranges_ru_per_s)
    return min(limit, sum(grant.shares_ru_per_s.values()))
