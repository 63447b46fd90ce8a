"""Fires one timer on its schedule, never twice at once, and remembers when; it parses no cron.

A timer fires only while this host holds its lock. A killed host's lock stays until it runs out.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sandbox.host.logs import event
from sandbox.host.messages import TypedData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sandbox.host.functions import Function
    from sandbox.host.invoker import Invoker
    from sandbox.host.schedule import Schedule

# The wall clock can be set while we sleep; look at it again at least this often.
SLEEP_S_MAX = 30.0
# The real host's lease on each timer, and how often it is renewed, or asked for when taken.
LOCK_S, LOCK_RENEWED_S, LOCK_ASKED_S = 60.0, 30.0, 60.0
# About one run in thirty begins this much before its tick.
EARLY_S_MAX, EARLY_SHARE = 0.003, 0.03
# What the real host reports before a timer's first run (DateTime's own zero).
NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """When a timer last ran and when it runs next."""

    last: datetime
    next: datetime
    updated: datetime

    def to_json(self) -> dict[str, str]:
        """Return it as the trigger's payload and the status file hold it."""
        return {
            "Last": self.last.isoformat(),
            "Next": self.next.isoformat(),
            "LastUpdated": self.updated.isoformat(),
        }


class StatusFile:
    """Where a monitored timer's status outlives the host."""

    def __init__(self, folder: Path, function_name: str) -> None:
        self._path = folder / f"{function_name}.timer.json"

    def read(self) -> Status | None:
        """Return the status of an earlier run; an unreadable file counts as none."""
        with suppress(OSError, ValueError, KeyError):
            held = json.loads(self._path.read_text("utf-8"))
            last, following, updated = (
                datetime.fromisoformat(held[key]) for key in ("Last", "Next", "LastUpdated")
            )
            return Status(last=last, next=following, updated=updated)
        return None

    def write(self, status: Status) -> None:
        """Replace the status in one step."""
        _replace(self._path, json.dumps(status.to_json()))


class LockFile:
    """Which host may fire a timer; it says until when, as the lease on Azure's blob does."""

    def __init__(self, folder: Path, function_name: str, time_scale: float) -> None:
        self._path = folder / f"{function_name}.lock.json"
        self._owner = uuid.uuid4().hex
        self._lock_s = LOCK_S * time_scale
        self.renewed_s = LOCK_RENEWED_S * time_scale
        self.asked_s = LOCK_ASKED_S * time_scale

    def take(self, now: datetime) -> bool:
        """Take it, or renew it; False while another host's has not run out."""
        with self._alone():
            owner, until = self._read()
            if owner != self._owner and now.timestamp() < until:
                return False
            held = {"owner": self._owner, "until": now.timestamp() + self._lock_s}
            _replace(self._path, json.dumps(held))
            return True

    def release(self) -> None:
        """Give it back, when it is still ours."""
        with self._alone():
            if self._read()[0] == self._owner:
                self._path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        # Two hosts never read and write at the same time; the kernel unlocks for a dead one.
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".guard").open("a") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield

    def _read(self) -> tuple[str, float]:
        with suppress(OSError, ValueError, KeyError):
            held = json.loads(self._path.read_text("utf-8"))
            return str(held["owner"]), float(held["until"])
        return "", 0.0


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(text, "utf-8")
    draft.replace(path)


class TimerListener:
    """Runs one timer function."""

    def __init__(
        self,
        *,
        function: Function,
        schedule: Schedule,
        run_on_startup: bool,
        use_monitor: bool,
        memory: StatusFile,
        lock: LockFile,
        invoker: Invoker,
        now: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._function = function
        self._schedule = schedule
        self._run_on_startup = run_on_startup
        self._is_monitored = use_monitor and not schedule.is_often
        self._memory = memory
        self._lock = lock
        self._random = random
        self._invoker = invoker
        self._now = now
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Fire no more; a run under way goes on."""
        self._stopping.set()

    async def run(self) -> None:
        """Wait for the lock, then fire where that is due and on schedule until stopped."""
        if not await self._locked():
            return
        renewal = asyncio.create_task(self._keep_lock())
        firing = asyncio.create_task(self._fire_on_schedule())
        done, _ = await asyncio.wait({renewal, firing}, return_when=asyncio.FIRST_COMPLETED)
        if firing in done:
            renewal.cancel()
        await firing
        self._lock.release()

    async def _locked(self) -> bool:
        while not self._stopping.is_set():
            if self._lock.take(self._now()):
                return True
            event("timer_locked", level="warning", function=self._function.name)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._lock.asked_s)
        return False

    async def _keep_lock(self) -> None:
        while self._lock.take(self._now()):  # noqa: ASYNC110 - time is all it waits for
            await asyncio.sleep(self._lock.renewed_s)
        event("timer_lock_lost", level="error", function=self._function.name)
        self.stop()

    async def _fire_on_schedule(self) -> None:
        now = self._now()
        following = self._schedule.next_after(now)
        if following is None:
            event("timer_never_fires", level="warning", function=self._function.name)
            return
        kept = self._memory.read() if self._is_monitored else None
        if kept is not None and self._expected_after(kept) != kept.next:
            # The schedule was changed while the host was down: nothing was missed.
            kept = None
        status = kept or Status(last=NEVER, next=following, updated=now)
        if kept is None:
            self._remember(status)
        is_past_due = kept is not None and kept.next <= now
        if is_past_due or self._run_on_startup:
            status = await self._fire(status, is_past_due=is_past_due)
        while await self._sleep_until(status.next):
            status = await self._fire(status, is_past_due=False)

    def _expected_after(self, kept: Status) -> datetime | None:
        return self._schedule.next_after(kept.updated if kept.last == NEVER else kept.last)

    def _remember(self, status: Status) -> None:
        if self._is_monitored:
            self._memory.write(status)

    async def _sleep_until(self, at: datetime) -> bool:
        """Return whether the moment came before the host stopped."""
        if self._random() < EARLY_SHARE:
            at -= timedelta(seconds=EARLY_S_MAX)
        while not self._stopping.is_set():
            left_s = (at - self._now()).total_seconds()
            if left_s <= 0:
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(left_s, SLEEP_S_MAX))
        return False

    async def _fire(self, status: Status, *, is_past_due: bool) -> Status:
        # The same expression counts on from the start of the run: occurrences that pass while
        # it runs become one run at its end, as in Azure. A run that began early counts as its tick.
        began = self._now()
        early = timedelta(seconds=EARLY_S_MAX * 2)
        fired_at = max(began, status.next) if status.next - began < early else began
        following = self._schedule.next_after(fired_at) or datetime.max.replace(tzinfo=UTC)
        payload = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status.to_json() if self._is_monitored else None,
            "IsPastDue": is_past_due,
        }
        await self._invoker.start(self._function, TypedData(json=json.dumps(payload)))
        status = Status(last=fired_at, next=following, updated=fired_at)
        self._remember(status)
        return status
