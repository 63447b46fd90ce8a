"""The one loop that reads, changes and writes conditionally, again after each conflict.

It knows nothing of what is written. It raises when its tries run out, so no change is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.application.bundle import Ports
from shared.errors import Conflict, TransientError

T = TypeVar("T")

TRIES_MAX = 16  # with these waits 128 workers that write one row in the same moment all get through
WAIT_BASE_S = 0.02  # one read and one write of a table take about as long
WAIT_MAX_S = 0.6  # all tries together wait for 7 s at most: less than a seat or a lease lasts


def until_written(ports: Ports, attempt: Callable[[], T], *, doing: str) -> T:
    """The attempt reads, changes and writes; after a Conflict it begins again with what is new."""
    for tried in range(TRIES_MAX):
        try:
            return attempt()
        except Conflict:
            ports.clock.wait(ports.names.fraction() * min(WAIT_MAX_S, WAIT_BASE_S * 2**tried))
    raise TransientError(f"{doing}: {TRIES_MAX} conflicts in a row; will be tried again")
