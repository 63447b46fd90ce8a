"""What stands in the place of telemetry where no address for it is set: it does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext


class Silence:
    def measured(self, name: str, value: float, tags: Mapping[str, str]) -> None: ...

    def counted(self, name: str, tags: Mapping[str, str]) -> None: ...

    def span(self, name: str) -> AbstractContextManager[None]:
        del name
        return nullcontext()
