"""The pointers' twin: the same rules over a dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from threading import RLock

from shared.domain.pointers import Key, Pointer


class MemoryPointers:
    """`standing` lets a test look at what stands."""

    def __init__(self) -> None:
        self.standing: dict[tuple[str, Key], Pointer] = {}
        self.begun: dict[str, float] = {}
        self._lock = RLock()

    def find(self, source: str, key: Key) -> Pointer | None:
        with self._lock:
            return self.standing.get((source, key))

    def put(self, source: str, pointers: Mapping[Key, Pointer]) -> frozenset[Key]:
        with self._lock:
            may_stand = {
                key for key, pointer in pointers.items() if self._may(source, key, pointer)
            }
            self.standing.update({(source, key): pointers[key] for key in may_stand})
            return frozenset(may_stand)

    def put_answering(self, source: str, pointers: Mapping[Key, Pointer]) -> frozenset[Key]:
        with self._lock:
            may_stand = {
                key
                for key, pointer in pointers.items()
                if pointer.may_answer(self.standing.get((source, key)))
            }
            self.standing.update({(source, key): pointers[key] for key in may_stand})
            return frozenset(may_stand)

    def begin(self, source: str, now_s: float) -> float:
        with self._lock:
            return self.begun.setdefault(source, now_s)

    def begun_s(self, source: str) -> float | None:
        with self._lock:
            unmarked = 0.0 if any(name == source for name, _ in self.standing) else None
            return self.begun.get(source, unmarked)

    def withdraw(self, source: str, pointers: Mapping[Key, Pointer]) -> None:
        with self._lock:
            for key, pointer in pointers.items():
                if self.standing.get((source, key)) == pointer:
                    del self.standing[source, key]

    def delete(self, source: str, key: Key) -> bool:
        with self._lock:
            stands = self.standing.get((source, key))
            if stands is None:
                return False
            self.standing[source, key] = replace(stands, deleted=True)
            return True

    def _may(self, source: str, key: Key, pointer: Pointer) -> bool:
        stands = self.standing.get((source, key))
        return stands is None or stands.yields_to(pointer)
