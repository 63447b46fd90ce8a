"""Fires one timer on its schedule, never twice at once, and remembers when; it parses no cron."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sandbox.host.logs import event
from sandbox.host.messages import TypedData

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.host.functions import Function
    from sandbox.host.invoker import Invoker
    from sandbox.host.schedule import Schedule

# The wall clock can be set while we sleep; look at it again at least this often.
SLEEP_S_MAX = 30.0
# Azure does not monitor a schedule that fires more often than this.
MONITORED_INTERVAL_S_MIN = 60.0
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
    """Where a monitored timer's status outlives the host; without a folder it does not."""

    def __init__(self, folder: Path | None, function_name: str) -> None:
        self._path = None if folder is None else folder / f"{function_name}.timer.json"

    def read(self) -> Status | None:
        """Return the status of an earlier run; an unreadable file counts as none."""
        if self._path is None:
            return None
        with suppress(OSError, ValueError, KeyError):
            held = json.loads(self._path.read_text("utf-8"))
            last, following, updated = (
                datetime.fromisoformat(held[key]) for key in ("Last", "Next", "LastUpdated")
            )
            return Status(last=last, next=following, updated=updated)
        return None

    def write(self, status: Status) -> None:
        """Replace the status in one step."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(status.to_json()), "utf-8")
        draft.replace(self._path)


class TimerListener:
    """Runs one timer function."""

    def __init__(
        self,
        *,
        function: Function,
        schedule: Schedule,
        run_on_startup: bool,
        memory: StatusFile,
        invoker: Invoker,
        now: Callable[[], datetime],
    ) -> None:
        self._function = function
        self._schedule = schedule
        self._run_on_startup = run_on_startup
        self._memory = memory
        self._invoker = invoker
        self._now = now
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Fire no more; a run under way goes on."""
        self._stopping.set()

    async def run(self) -> None:
        """Fire at start where that is due, then on schedule until stopped."""
        now = self._now()
        following = self._schedule.next_after(now)
        if following is None:
            event("timer_never_fires", level="warning", function=self._function.name)
            return
        kept = self._memory.read() if self._is_monitored(following) else None
        status = kept or Status(last=NEVER, next=following, updated=NEVER)
        if kept is None:
            self._memory.write(status)
        is_past_due = kept is not None and kept.next <= now
        if is_past_due or self._run_on_startup:
            status = await self._fire(status, is_past_due=is_past_due)
        while await self._sleep_until(status.next):
            status = await self._fire(status, is_past_due=False)

    def _is_monitored(self, following: datetime) -> bool:
        after = self._schedule.next_after(following)
        return after is None or after - following >= timedelta(seconds=MONITORED_INTERVAL_S_MIN)

    async def _sleep_until(self, at: datetime) -> bool:
        """Return whether the moment came before the host stopped."""
        while not self._stopping.is_set():
            left_s = (at - self._now()).total_seconds()
            if left_s <= 0:
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(left_s, SLEEP_S_MAX))
        return False

    async def _fire(self, status: Status, *, is_past_due: bool) -> Status:
        fired_at = self._now()
        # The same expression counts on from the start of the run: occurrences that pass while
        # it runs become one run at its end, as in Azure.
        following = self._schedule.next_after(fired_at) or datetime.max.replace(tzinfo=UTC)
        payload = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status.to_json(),
            "IsPastDue": is_past_due,
        }
        await self._invoker.start(self._function, TypedData(json=json.dumps(payload)))
        status = Status(last=fired_at, next=following, updated=fired_at)
        self._memory.write(status)
        return status
