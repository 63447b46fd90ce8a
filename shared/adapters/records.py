"""Spells Ebb's records as table properties and reads them back; it stores nothing.

Numbers, truths and texts become properties of their own, so that the table can be read by people;
anything nested becomes one property of JSON whose name ends in `_json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from azure.data.tables import EdmType, EntityProperty
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from shared.domain.version import FIELD
from shared.errors import OtherVersion, PermanentError

PROPERTY_CHARS_MAX = 32 * 1024  # what a string property of a table holds, in UTF-16 units
_INT64_MAX = 2**63 - 1
_JSON = "_json"
_KEYS = frozenset({"PartitionKey", "RowKey", FIELD})

T = TypeVar("T")


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return _built(kind)


@cache
def _built(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def packed(record: Any, *, thing: str) -> dict[str, Any]:
    """The record's fields as properties, without its version: that is the entity's own.

    A field at its default is left out: an Ebb that does not know it yet meets it only once used.
    """
    try:
        plain = _adapter(type(record)).dump_python(
            record, mode="json", exclude={"version"}, exclude_defaults=True, warnings=False
        )
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise PermanentError(
            f"storing {thing}: {type(error).__name__}: it holds a value that no table can; "
            "this is a fault of Ebb to report"
        ) from error
    return dict(_property(name, value, thing) for name, value in plain.items() if value is not None)


def unpacked(kind: type[T], properties: Mapping[str, Any], *, version: str, thing: str) -> T:
    fields = {
        name.removesuffix(_JSON): _value(name, value)
        for name, value in properties.items()
        if name not in _KEYS
    }
    if version:
        fields["version"] = version
    try:
        restored: T = _adapter(kind).validate_python(fields)
    except ValidationError as error:
        faults = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        raise PermanentError(
            f"reading {thing}: the record is not one of Ebb's (wrong: {faults}); "
            "it was altered or is of another version — restore it"
        ) from error
    lost = sorted(_lost(fields, _adapter(kind).dump_python(restored, mode="json", warnings=False)))
    if lost:
        raise OtherVersion(
            f"reading {thing}: another version is at work: it holds {', '.join(lost)}, which this "
            "Ebb does not know and would lose; nothing was written — deploy the later Ebb again"
        )
    return restored


def _lost(read: Any, kept: Any) -> Iterator[str]:
    """Names of fields, at any depth, that were read and are not in what was made of them."""
    if isinstance(read, Mapping) and isinstance(kept, Mapping):
        for name, value in read.items():
            if name not in kept:
                yield name
            else:
                yield from (f"{name}.{each}" for each in _lost(value, kept[name]))
    elif isinstance(read, list) and isinstance(kept, list):
        for one, other in zip(read, kept, strict=False):
            yield from _lost(one, other)


def _property(name: str, value: Any, thing: str) -> tuple[str, Any]:
    if isinstance(value, bool | float):
        return name, value
    if isinstance(value, int):
        return name, _integer(name, value, thing)
    if isinstance(value, str):
        return name, _fitting(name, value, thing)
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return name + _JSON, _fitting(name, text, thing)


def _integer(name: str, value: int, thing: str) -> EntityProperty:
    if abs(value) > _INT64_MAX:
        raise PermanentError(
            f"storing {thing}: {name} is {value}, beyond 64 bits; this is a fault of Ebb to report"
        )
    return EntityProperty(value, EdmType.INT64)


def _fitting(name: str, text: str, thing: str) -> str:
    units = len(text.encode("utf-16-le")) // 2
    if units > PROPERTY_CHARS_MAX:
        raise PermanentError(
            f"storing {thing}: {name} takes {units} characters and a table property holds "
            f"{PROPERTY_CHARS_MAX}; make the slice or the text smaller"
        )
    return text


def _value(name: str, value: Any) -> Any:
    if isinstance(value, EntityProperty):
        return value.value
    if not name.endswith(_JSON):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value  # not JSON any more: the record's own check then names the field
