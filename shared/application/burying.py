"""Messages that failed every time: recorded, and their slice settled, so nothing waits for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

from shared.application.bundle import Ports
from shared.application.dispatching import named_in, read_work
from shared.application.settling import settle_failure
from shared.domain.slices import Cause, SliceState
from shared.errors import EbbError, OtherAccount, OtherVersion, PermanentError
from shared.ports import (
    COPY_QUEUE,
    RECEIVE_QUEUE,
    RETIRE_QUEUE,
    VALIDATE_QUEUE,
    Incident,
    IncidentKind,
)

SENT_AGAIN = frozenset({COPY_QUEUE, VALIDATE_QUEUE, RETIRE_QUEUE})  # by the next tick that may
PUT_BACK_S = 60  # two ticks: the run that waits for the verdict waits for minutes

TEXT_SHOWN_MAX = 200  # a foreign message may be anything; this is enough to recognise it


class Burying:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def guarded(self, queue: str, body: bytes, work: Callable[[str], str]) -> str:
        """Do the work; a message that no retry can mend goes to the poison queue at once."""
        text = body.decode("utf-8", errors="replace")
        try:
            named_in(text)
            with self._ports.telemetry.span(queue):
                return work(text)
        except (OtherVersion, OtherAccount) as error:
            return self._held(queue, text, error)
        except PermanentError as error:
            self._ports.mail.send(f"{queue}-poison", text)
            return f"a message of {queue} went to poison: {error}"

    def _held(self, queue: str, text: str, error: EbbError) -> str:
        """It is another's to work on: a tick sends most again, and the rest is put back."""
        if queue not in SENT_AGAIN:
            self._ports.mail.send(queue, text, delay_s=PUT_BACK_S)
        return f"a message of {queue} was left alone: {error}"

    def run(self, queue: str, body: bytes) -> str:
        """Record a poison message; returns what was recorded, for the log.

        A failure here comes back every ten minutes for a week, so each step may be repeated.
        """
        text = body.decode("utf-8", errors="replace")
        outcome = f"message {_shown(queue, text)} of {queue} failed every time: "
        outcome += self._settled(queue, text)
        incident = Incident(at_s=self._ports.clock.now_s(), kind=IncidentKind.POISON, text=outcome)
        self._ports.incidents.record(incident)
        return outcome

    def _settled(self, queue: str, text: str) -> str:
        if queue == RETIRE_QUEUE:
            return "a tick sends it again, and a slice that stops every worker halts by its claims"
        try:
            work = read_work(self._ports, text)
        except (PermanentError, OtherVersion) as error:
            return str(error)
        if isinstance(work, str):
            return work
        if work.slice.state not in {SliceState.COPYING, SliceState.VALIDATING}:
            return f"slice {work.slice.id} is {work.slice.state.value} and will be sent again"
        if queue == RECEIVE_QUEUE:
            return f"the run of slice {work.slice.id} gets no verdict and ends by its own limit"
        now_s = self._ports.clock.now_s()
        copying = work.slice.state is SliceState.COPYING
        board = self._ports.boards.read()
        if board.works_on(work.migration.name, work.slice.id, now_s, copying=copying):
            return f"slice {work.slice.id} is in a living worker's hands"
        failure = EbbError(f"the worker of {queue} failed on it every time; see its log")
        return settle_failure(self._ports, work, cause=Cause.FAULT, error=failure)


def _shown(queue: str, text: str) -> str:
    """Which message it was; of a delivery never its text, for that holds the run's callback."""
    with suppress(PermanentError):
        name, slice_id = named_in(text)
        fence = json.loads(text).get("fence")
        attempt = f", attempt {fence}" if isinstance(fence, int) else ""
        return f"for slice {slice_id[:TEXT_SHOWN_MAX]!r} of {name[:TEXT_SHOWN_MAX]!r}{attempt}"
    if queue == RECEIVE_QUEUE:
        return f"of {len(text)} characters"
    return repr(text[:TEXT_SHOWN_MAX])
