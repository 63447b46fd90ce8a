"""Runs checks side by side, and turns whatever they raise into findings; it judges nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from azure.core.exceptions import HttpResponseError
from azure.cosmos.exceptions import CosmosHttpResponseError

from shared.errors import EbbError, Refused, Throttled, TransientError
from shared.trial.findings import Check, Checks, Finding, Row, judged, skipped

WORKERS = 12  # as many rows wait for Monitor; more would fill a partition of 400 RU/s
TRIES_MAX = 4
PAUSE_S = 2.0  # a partition that was filled by another check has room again
LOOK_S = 0.5
_DENIED = frozenset({401, 403})
_THROTTLED = 429
_BUSY = frozenset({408, 429, 449, 503})


class Stop:
    """Set when the trial is to end early: what has not begun does not begin."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait; true when the trial is to end."""
        return self._event.wait(seconds)


def run(checks: Checks, *, stop: Stop, told: Callable[[str], None]) -> list[Row]:
    """Each check once; after Ctrl-C the rest is skipped, and what runs is waited for."""
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="trial") as pool:
        futures = {pool.submit(_row, id_, check, stop): id_ for id_, check in checks.items()}
        try:
            _watch(futures, told)
        except KeyboardInterrupt:
            stop.set()
            told("ending: what runs is waited for, then everything is removed")
    return [each.result() for each in futures]


def _watch(futures: dict[Future[Row], str], told: Callable[[str], None]) -> None:
    """Wait in short steps, so that Ctrl-C is heard."""
    waiting = set(futures)
    while waiting:
        _, waiting = wait(waiting, timeout=LOOK_S, return_when=FIRST_COMPLETED)
        names = ", ".join(sorted(futures[each] for each in waiting)[:3])
        told(f"{len(futures) - len(waiting)} of {len(futures)} rows; {names}")


def _row(id_: str, check: Check, stop: Stop) -> Row:
    began_s = time.monotonic()
    ended = stop.is_set()
    finding = skipped("the trial was ended") if ended else _found(check.run, stop)
    return Row(id=id_, title=check.title, finding=finding, took_s=time.monotonic() - began_s)


def _found(check: Callable[[], Finding], stop: Stop) -> Finding:
    for attempt in range(1, TRIES_MAX + 1):
        try:
            return check()
        except Refused as error:
            return skipped(str(error))
        except Exception as error:  # noqa: BLE001 - a check that crashes is news of its row alone
            if not _is_busy(error) or attempt == TRIES_MAX or stop.wait(PAUSE_S * attempt):
                return _failed(error)
    raise AssertionError("unreachable: the last try returns")


def _is_busy(error: Exception) -> bool:
    if isinstance(error, HttpResponseError):
        return error.status_code in _BUSY
    return isinstance(error, Throttled | TransientError)


def _failed(error: Exception) -> Finding:
    """A check that could not be carried out: a missing role is a reason, anything else is news."""
    status = getattr(error, "status_code", None) or getattr(error.__cause__, "status_code", None)
    text = " ".join(str(error).split())[:300]
    if status == _THROTTLED or isinstance(error, Throttled):
        return skipped("the container stayed full (429); use a serverless account, or try again")
    if status in _DENIED:
        return skipped(f"refused ({status}); {_role_for(error)}")
    return judged(expected="an answer", seen=f"{type(error).__name__}: {text}", holds=False)


def _role_for(error: Exception) -> str:
    if isinstance(error, CosmosHttpResponseError):
        return "give yourself 'Cosmos DB Built-in Data Contributor' on the account"
    if isinstance(error, EbbError):
        return str(error)
    return (
        "give yourself 'Storage Blob Data Owner' and 'Storage Table Data Contributor' on the "
        "storage account"
    )
