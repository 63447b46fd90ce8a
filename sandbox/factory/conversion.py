"""Turns documents into rows of typed columns with a Copy's own habits, harmful ones included.

Without a mapping the first document decides the columns and their types. Unless it is switched off,
strings that look like times become times. Numbers in a column of doubles lose digits.
"""

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sandbox.factory.failures import copy_failed

_PATH = re.compile(r"\$(?:\['([^']+)'\]|\.([A-Za-z_][\w]*))")
# What the JSON reader behind a Copy takes for a time; a date alone is none.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_FORBIDDEN_IN_NAMES = re.compile(r"[ ,;{}()\n\t=]")
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the file: where its values come from, and what they become."""

    source: str
    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Translator:
    """How a Copy maps documents to columns."""

    mappings: Sequence[Mapping[str, Any]]
    complex_to_text: bool
    detects_times: bool


def table(documents: Sequence[Document], translator: Translator) -> pa.Table:
    """Return the documents as the table that a Copy would write."""
    columns = _columns(documents, translator)
    arrays = [
        pa.array(
            [_value(document.get(column.source), column, translator) for document in documents],
            type=_ARROW[column.type],
        )
        for column in columns
    ]
    return pa.table(arrays, names=[column.name for column in columns])


def _columns(documents: Sequence[Document], translator: Translator) -> list[Column]:
    if translator.mappings:
        columns = [_mapped(entry) for entry in translator.mappings]
    else:
        first = documents[0] if documents else {}
        columns = [
            Column(source=name, name=name, type=_inferred(value, translator))
            for name, value in first.items()
        ]
    for column in columns:
        if _FORBIDDEN_IN_NAMES.search(column.name):
            raise copy_failed(
                "ParquetInvalidColumnName",
                f"The column name '{column.name}' is invalid. Column name cannot contain "
                "these character:[,;{}()\\n\\t=] nor white space.",
            )
    return columns


def _mapped(entry: Mapping[str, Any]) -> Column:
    match = _PATH.fullmatch(str(entry.get("source", {}).get("path", "")))
    sink = entry.get("sink", {})
    kind = sink.get("type", "String")
    if match is None or "name" not in sink or kind not in _CONVERTERS:
        raise copy_failed(
            "UserErrorInvalidColumnMapping",
            f"The mapping {json.dumps(entry)} is not understood: a path such as $['id'], a sink "
            f"name, and one of {', '.join(_CONVERTERS)} are needed",
        )
    return Column(source=match[1] or match[2], name=sink["name"], type=kind)


def _inferred(value: Any, translator: Translator) -> str:
    if isinstance(value, bool):
        return "Boolean"
    if isinstance(value, int | float):
        return "Int64" if isinstance(value, int) else "Double"
    if isinstance(value, str) and translator.detects_times and _TIME.fullmatch(value):
        return "DateTime"
    return "String"


def _value(value: Any, column: Column, translator: Translator) -> Any:
    if value is None:
        return None
    if isinstance(value, dict | list):
        if not translator.complex_to_text:
            raise copy_failed(
                "JsonUnsupportedHierarchicalComplexValue",
                f"The retrieved type of data {type(value).__name__} of '{column.source}' with "
                "value is not supported yet: set mapComplexValuesToString or leave it out",
            )
        nested = _with_times(value) if translator.detects_times else value
        value = json.dumps(nested, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, str) and translator.detects_times and _TIME.fullmatch(value):
        value = dt.datetime.fromisoformat(value)
    try:
        return _CONVERTERS[column.type](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise copy_failed(
            "TypeConversionFailure",
            f"Exception occurred when converting value '{str(value)[:80]}' for column name "
            f"'{column.name}' from type '{type(value).__name__}' to type '{column.type}'",
        ) from error


def _with_times(value: Any) -> Any:
    """What stands in a nested value, read as times and written again: zeros of a fraction go."""
    if isinstance(value, dict):
        return {name: _with_times(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_times(member) for member in value]
    if isinstance(value, str) and _TIME.fullmatch(value):
        moment = dt.datetime.fromisoformat(value)
        fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
        zone = "" if moment.tzinfo is None else moment.strftime("%z")
        return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + ("Z" if zone == "+0000" else zone)
    return value


def _text(value: Any) -> str:
    if isinstance(value, dt.datetime):
        # How .NET writes a time when nobody asks for a format.
        return value.strftime("%m/%d/%Y %H:%M:%S")
    return str(value)


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError("a fraction is no whole number")
    if not _INT64_MIN <= number <= _INT64_MAX:
        raise OverflowError("more than 64 bits")
    return number


def _moment(value: Any) -> dt.datetime:
    moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
    # Converted to UTC, and the offset forgotten.
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "String": _text,
    "Int64": _whole,
    "Double": float,
    "Boolean": bool,
    "DateTime": _moment,
}
_ARROW = {
    "String": pa.string(),
    "Int64": pa.int64(),
    "Double": pa.float64(),
    "Boolean": pa.bool_(),
    "DateTime": pa.timestamp("us"),
}
