"""Whether a migration that could go on is getting anywhere; one that may not is never stalled."""

from __future__ import annotations

from dataclasses import dataclass, replace

STALLED_AFTER_S = 240.0  # with a tick every 30 s an alarm comes within five minutes
UNSEEN_MAX_S = 90.0  # longer without a look is a pause, or a controller that was away


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """How far the migration was, and since when it has not moved though it could."""

    mark: str
    since_s: float
    seen_s: float
    told: bool = False

    def is_stalled(self, now_s: float) -> bool:
        return now_s - self.since_s >= STALLED_AFTER_S


def beat(
    before: Pulse | None, *, mark: str, may_work: bool, is_worked_on: bool, now_s: float
) -> Pulse:
    """The pulse after one more look: it starts anew with every sign of life or want of work."""
    goes_on = (
        before is not None
        and before.mark == mark
        and may_work
        and not is_worked_on
        and 0 <= now_s - before.seen_s <= UNSEEN_MAX_S
    )
    if before is None or not goes_on:
        return Pulse(mark=mark, since_s=now_s, seen_s=now_s)
    return replace(before, seen_s=now_s)


def retiring_pulse(migration: str) -> str:
    """Copying and retiring have a pulse each: one that goes on says nothing of the other."""
    return f"retiring {migration}"
