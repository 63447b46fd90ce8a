"""The machine's own clock and fresh identifiers; nothing else of Ebb reads either."""

from __future__ import annotations

import time
import uuid


class SystemClock:
    def now_s(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class RandomNames:
    def new(self) -> str:
        return uuid.uuid4().hex
