"""How what a law asks for becomes requests on one partition, second by second."""

from __future__ import annotations

from typing import Protocol

from shared.domain.pacing import COOL_DOWN_S, RECOVERY_S, DebtBucket

DUST_S = 1e-6  # a wait that is only the rounding of numbers


class Spender(Protocol):
    """One partition's share of the runner."""

    def allow(self, ru_per_s: float, *, now_s: int) -> None: ...

    def wants(self, now_s: int) -> float:
        """RU wanted in the second that begins now."""
        ...

    def is_calm(self, now_s: int, room_ru_per_s: float) -> bool:
        """Whether it wants the same each second until it is allowed otherwise."""
        ...

    def charge(self, ru: float, *, now_s: int) -> None: ...

    def throttled(self, *, now_s: int) -> None: ...


class Unpaced:
    """Asks for what it was told to, whatever is answered; its client repeats a 429 by itself."""

    def __init__(self) -> None:
        self._ru_per_s = 0.0

    def allow(self, ru_per_s: float, *, now_s: int) -> None:  # noqa: ARG002 - a protocol's
        self._ru_per_s = ru_per_s

    def wants(self, now_s: int) -> float:  # noqa: ARG002 - a protocol's
        return self._ru_per_s

    def is_calm(self, now_s: int, room_ru_per_s: float) -> bool:  # noqa: ARG002 - a protocol's
        return True

    def charge(self, ru: float, *, now_s: int) -> None:
        """It keeps no account."""

    def throttled(self, *, now_s: int) -> None:
        """It takes no notice."""


class Paced:
    """Ebb's own bucket, a page being one second's worth.

    With the board's hold nothing follows a 429 before the next decision.
    """

    def __init__(self, *, now_s: int, holds_until_decision: bool) -> None:
        self._bucket = DebtBucket(now_s=now_s)
        self._holds_until_decision = holds_until_decision
        self._ru_per_s = 0.0
        self._held = False
        self._recovered_s = float("-inf")

    def allow(self, ru_per_s: float, *, now_s: int) -> None:
        self._ru_per_s = ru_per_s
        self._held = False
        self._bucket.set_rate(ru_per_s, now_s=now_s)

    def wants(self, now_s: int) -> float:
        if self._held or self._bucket.wait_s(now_s=now_s) > DUST_S:
            return 0.0
        return self._bucket.rate_ru_per_s(now_s=now_s)

    def is_calm(self, now_s: int, room_ru_per_s: float) -> bool:
        if self._held or self._ru_per_s <= 0.0:
            return True
        return (
            now_s >= self._recovered_s
            and self._ru_per_s <= room_ru_per_s
            and self.wants(now_s) > 0.0
        )

    def charge(self, ru: float, *, now_s: int) -> None:
        self._bucket.charge(ru, now_s=now_s)

    def throttled(self, *, now_s: int) -> None:
        self._bucket.throttled(now_s=now_s, retry_after_s=0.0)
        self._held = self._holds_until_decision
        self._recovered_s = now_s + COOL_DOWN_S + RECOVERY_S
