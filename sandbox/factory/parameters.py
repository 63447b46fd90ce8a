"""Fits given values to declared parameters, as a run, a dataset and a linked service do."""

from collections.abc import Mapping
from typing import Any

Data = dict[str, Any]
_WHOLE = {"Int": int, "Float": float}


class BadParameters(ValueError):
    """Values that do not fit the declaration."""


def fitted(declared: Mapping[str, Data], given: Mapping[str, Any], *, of: str) -> Data:
    """Return a value for every declared parameter: the given one, or its default."""
    stray = sorted(given.keys() - declared.keys())
    if stray:
        raise BadParameters(f"{of} has no parameter {', '.join(stray)}")
    values: Data = {}
    for name, declaration in declared.items():
        if given.get(name) is None and "defaultValue" not in declaration:
            raise BadParameters(f"The value for the parameter '{name}' of {of} is not provided.")
        value = given[name] if given.get(name) is not None else declaration["defaultValue"]
        values[name] = _fitted(value, str(declaration.get("type")), name=name, of=of)
    return values


def _fitted(value: Any, kind: str, *, name: str, of: str) -> Any:
    kind = kind[:1].upper() + kind[1:]
    try:
        if kind in _WHOLE and not isinstance(value, bool):
            return _WHOLE[kind](value)
    except (TypeError, ValueError) as error:
        raise _misfit(value, kind, name, of) from error
    fits = {
        "String": isinstance(value, str),
        "SecureString": isinstance(value, str),
        "Bool": isinstance(value, bool),
        "Array": isinstance(value, list),
        "Object": isinstance(value, dict),
    }
    if not fits.get(kind, False):
        raise _misfit(value, kind, name, of)
    return value


def _misfit(value: Any, kind: str, name: str, of: str) -> BadParameters:
    return BadParameters(
        f"The parameter '{name}' of {of} has type {kind}, and was given {type(value).__name__}."
    )
