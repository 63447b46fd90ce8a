"""The twins of the budget board, the governor's memory, the controller's lease and the queues."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from threading import Lock

from shared.domain.board import Board
from shared.errors import Conflict
from shared.ports import Clock, Held, Remembered

LEASE_S_MAX = 60


class MemoryBoards:
    def __init__(self) -> None:
        self._board = Board()
        self._writes = 0
        self._lock = Lock()

    def read(self) -> Board:
        with self._lock:
            return deepcopy(self._board)  # its dictionaries are the reader's own

    def write(self, board: Board) -> Board:
        with self._lock:
            if board.version != self._board.version:
                raise Conflict(
                    "writing the budget board: someone else wrote first; "
                    "nothing was written — read again and decide anew"
                )
            self._writes += 1
            self._board = replace(deepcopy(board), version=f"v{self._writes}")
            return deepcopy(self._board)


class MemoryMemories:
    def __init__(self) -> None:
        self._kept: dict[str, Remembered] = {}
        self._lock = Lock()

    def recall(self, source: str) -> Remembered:
        with self._lock:
            return self._kept.get(source, Remembered())

    def keep(self, source: str, remembered: Remembered) -> None:
        with self._lock:
            self._kept[source] = remembered


class MemoryLease:
    """Runs out on the clock it is given."""

    def __init__(self, clock: Clock, *, duration_s: int = LEASE_S_MAX) -> None:
        self._clock = clock
        self._duration_s = duration_s
        self._held: Held | None = None
        self._until_s = 0.0
        self._token = 0
        self._lock = Lock()

    def acquire(self) -> Held | None:
        with self._lock:
            now_s = self._clock.now_s()
            if self._held is not None and now_s < self._until_s:
                return None
            self._token += 1
            self._held = Held(token=self._token, lease_id=f"lease-{self._token}")
            self._until_s = now_s + self._duration_s
            return self._held

    def renew(self, held: Held) -> bool:
        with self._lock:
            now_s = self._clock.now_s()
            if self._held is None or self._held.lease_id != held.lease_id or now_s >= self._until_s:
                return False
            self._until_s = now_s + self._duration_s
            return True

    def release(self, held: Held) -> None:
        with self._lock:
            if self._held is not None and self._held.lease_id == held.lease_id:
                self._held = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message as it was sent, and from when it can be seen."""

    queue: str
    text: str
    visible_at_s: float
    number: int


class MemoryMail:
    """Keeps what was sent; a test or simulation takes it out as the host would."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._letters: list[Letter] = []
        self._sent = 0
        self._lock = Lock()

    @property
    def letters(self) -> tuple[Letter, ...]:
        """Everything not yet taken, seen or still hidden."""
        with self._lock:
            return tuple(self._letters)

    def send(self, queue: str, text: str, *, delay_s: int = 0) -> None:
        with self._lock:
            self._sent += 1
            visible_at_s = self._clock.now_s() + max(0, delay_s)
            self._letters.append(
                Letter(queue=queue, text=text, visible_at_s=visible_at_s, number=self._sent)
            )

    def count(self, queue: str) -> int:
        with self._lock:
            return sum(1 for each in self._letters if each.queue == queue)

    def take(self, queue: str) -> Letter | None:
        """The oldest message that can be seen now, removed."""
        with self._lock:
            now_s = self._clock.now_s()
            seen = (one for one in self._letters if one.queue == queue)
            letter = next((one for one in seen if one.visible_at_s <= now_s), None)
            if letter is not None:
                self._letters.remove(letter)
            return letter
