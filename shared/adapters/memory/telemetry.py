"""The twin of the telemetry: what was told is kept in dictionaries and a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

Tags = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class MemoryTelemetry:
    """Keeps the last of each number, all counts, and each span with how it ended."""

    numbers: dict[tuple[str, Tags], float] = field(default_factory=dict)
    counts: Counter[tuple[str, Tags]] = field(default_factory=Counter)
    spans: list[tuple[str, str]] = field(default_factory=list)

    def measured(self, name: str, value: float, tags: Mapping[str, str]) -> None:
        self.numbers[name, _sorted(tags)] = value

    def counted(self, name: str, tags: Mapping[str, str]) -> None:
        self.counts[name, _sorted(tags)] += 1

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.spans.append((name, type(error).__name__))
            raise
        self.spans.append((name, ""))


def _sorted(tags: Mapping[str, str]) -> Tags:
    return tuple(sorted(tags.items()))
