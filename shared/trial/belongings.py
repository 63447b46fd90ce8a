"""What a trial made, noted before it is made, so that all of it can be removed in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from azure.core.exceptions import AzureError, ResourceNotFoundError

from shared.errors import EbbError, NotFound

TRIES_MAX = 3
PAUSE_S = 2.0  # between tries: a container that is being made cannot be removed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Thing:
    name: str
    remove: Callable[[], object]


class Belongings:
    def __init__(self) -> None:
        self._things: list[_Thing] = []
        self._lock = threading.Lock()

    def note(self, name: str, remove: Callable[[], object]) -> None:
        with self._lock:
            self._things.append(_Thing(name=name, remove=remove))

    def remove(self, told: Callable[[str], None]) -> tuple[str, ...]:
        """Remove everything, the newest first; returns what is left, with why."""
        left = []
        with self._lock:
            things, self._things = self._things[::-1], []
        for place, thing in enumerate(things):
            told(f"removing {thing.name} …")
            try:
                why = _why_not(thing)
            except KeyboardInterrupt:
                left += [f"{each.name}: interrupted" for each in things[place:]]
                break
            if why is not None:
                left.append(f"{thing.name}: {why}")
        return tuple(left)


def _why_not(thing: _Thing) -> str | None:
    for attempt in range(1, TRIES_MAX + 1):
        try:
            thing.remove()
        except (NotFound, ResourceNotFoundError):
            return None
        except (EbbError, AzureError) as error:
            if attempt == TRIES_MAX:
                return str(error).splitlines()[0]
            time.sleep(PAUSE_S)
        else:
            return None
    return None
