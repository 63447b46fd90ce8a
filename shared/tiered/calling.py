"""Gives a method azure-cosmos's own signature, whatever version is installed, and its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

Arguments = dict[str, Any]


def signed_as(original: Callable[..., Any]) -> Callable[..., Any]:
    """A method that takes what `original` takes, and has `_answer` answer it by name."""
    signature = inspect.signature(original)
    name = original.__name__

    def bound(given: tuple[Any, ...], named: Arguments) -> tuple[Any, Arguments]:
        arguments = dict(signature.bind(*given, **named).arguments)
        return arguments.pop("self"), arguments | arguments.pop("kwargs", {})

    @wraps(original)
    def at_once(*given: Any, **named: Any) -> Any:
        container, arguments = bound(given, named)
        return container._answer(name, arguments)  # noqa: SLF001 - it becomes a method of its class

    @wraps(original)
    async def awaited(*given: Any, **named: Any) -> Any:
        container, arguments = bound(given, named)
        return await container._answer(name, arguments)  # noqa: SLF001 - the same

    return awaited if inspect.iscoroutinefunction(original) else at_once
