"""A store in which others write first: so many conditional writes conflict before one holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.errors import Conflict

ALWAYS = 10_000


def _any(_written: Any) -> bool:
    return True


class Contended:
    """Around a store: the named method conflicts so many times where what is written is meant."""

    def __init__(
        self, store: Any, method: str, *, times: int, meant: Callable[[Any], bool] = _any
    ) -> None:
        self._store = store
        self._method = method
        self._meant = meant
        self.left = times

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name != self._method:
            return real

        def write(*given: Any) -> Any:
            if self.left and self._meant(given[-1]):
                self.left -= 1
                raise Conflict("writing a record: others wrote it first; read again")
            return real(*given)

        return write
