"""The machine's own clock, fresh identifiers and chance; nothing else of Ebb reads any of them."""

from __future__ import annotations

import random
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

    def fraction(self) -> float:
        return random.random()  # noqa: S311 -- it spreads waits; nobody must be unable to guess it
