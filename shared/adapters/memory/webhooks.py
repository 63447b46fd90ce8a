"""The twins of the webhooks and of what is noted of them: messages are kept in lists."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Lock

from shared.domain.notices import Message
from shared.errors import Conflict, PermanentError, TransientError
from shared.ports import Telling


@dataclass(slots=True)
class MemoryWebhooks:
    """Receivers that a test or simulation closes, or breaks for good, as it likes."""

    told: dict[str, list[Message]] = field(default_factory=lambda: {"ops": []})
    """By target, everything that arrived, in order."""
    away: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    runbook: str = "docs/runbook.md"

    @property
    def targets(self) -> frozenset[str]:
        return frozenset(self.told)

    def send(self, target: str, message: Message) -> None:
        if target not in self.told:
            raise PermanentError(
                f"telling {target}: EBB_WEBHOOKS names no such target; add its address"
            )
        if target in self.gone:
            raise PermanentError(f"telling {target}: answered 404; correct its address")
        if target in self.away:
            raise TransientError(f"telling {target}: answered 503; will be tried again")
        self.told[target].append(message)


class MemoryTellings:
    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Telling] = {}
        self._writes = 0
        self._lock = Lock()

    def recall(self, migration: str, target: str) -> Telling:
        with self._lock:
            empty = Telling(migration=migration, target=target)
            return self._kept.get((migration, target), empty)

    def keep(self, telling: Telling) -> None:
        with self._lock:
            place = (telling.migration, telling.target)
            stands = self._kept.get(place)
            if (stands.version if stands else "") != telling.version:
                raise Conflict(
                    f"writing what {telling.target} was told of {telling.migration}: someone else "
                    "wrote first; nothing was written — read again and decide anew"
                )
            self._writes += 1
            self._kept[place] = replace(telling, version=f"v{self._writes}")

    def of(self, migration: str) -> tuple[Telling, ...]:
        with self._lock:
            found = (each for (name, _), each in self._kept.items() if name == migration)
            return tuple(sorted(found, key=lambda each: each.target))
