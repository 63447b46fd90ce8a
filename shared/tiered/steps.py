"""What a tiered container does next, one request at a time, whoever makes the requests.

Reading and writing are generators of these; a container runs them at once, with await, or, in
tests, in every order.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToCosmos:
    """One call of azure-cosmos's own container."""

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToCold:
    """One call of the archive's side; it blocks."""

    method: str
    argument: Any


Steps = Generator[ToCosmos | ToCold, Any, T]
