"""Tries again in the background what may fail without harm to the caller, and logs how it ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from azure.cosmos.exceptions import CosmosHttpResponseError

WAITS_S = (1.0, 5.0, 25.0)  # a storage failover takes about half a minute for most requests
PENDING_MAX = 64  # one thread each; a longer outage must not fill the business's process

_log = logging.getLogger("ebb.tiered")


class Later:
    """Acts on daemon threads; what is left when the process ends is left undone."""

    def __init__(self, waits_s: tuple[float, ...] = WAITS_S) -> None:
        self._waits_s = waits_s
        self._free = threading.BoundedSemaphore(PENDING_MAX)

    def add(self, act: Callable[[], None], doing: str) -> None:
        if not self._free.acquire(blocking=False):
            _log.error("%s: %d others are waiting; given up", doing, PENDING_MAX)
            return
        threading.Thread(target=self._try, args=(act, doing), daemon=True).start()

    def _try(self, act: Callable[[], None], doing: str) -> None:
        try:
            for wait_s in self._waits_s:
                time.sleep(wait_s)
                try:
                    act()
                except CosmosHttpResponseError as error:
                    _log.warning("%s in the index failed: status %s", doing, error.status_code)
                else:
                    return
            _log.error("%s in the index: given up after %d tries", doing, len(self._waits_s))
        finally:
            self._free.release()
