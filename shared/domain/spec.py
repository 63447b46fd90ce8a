"""A migration's spec: what a person declares, read strictly, with every fault reported at once.

It checks form and possibility only; whether the source exists is asked elsewhere.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import reprlib
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from shared.domain.condition import why_unfit
from shared.domain.pointers import RETURNING, STUB
from shared.errors import Fault, Invalid

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{1,46}[a-z0-9])$"
NO_STUB = f"NOT IS_DEFINED(c.{STUB})"
NO_GUARD = f"NOT IS_DEFINED(c.{RETURNING})"
SPEC_BYTES_MAX = 32_000  # a table property holds 32 Ki characters; the spec is kept in one

# Somebody still works with what was written within a day: removing it is rarely meant.
YOUNG_S = 86_400
OLDER_THAN_MAX_S = 15_000 * 86_400  # older than any database; from the epoch on it is 20,000 days

EVERY_MIN_S = 600  # each cycle reads all done slices once and leaves a slice per range
EVERY_MAX_S = 366 * 86_400

SHOWN_MAX = 60  # characters of a wrong value: enough to recognise it

ERROR_CHARS_MAX = 500
# PyYAML's own constructors let these escape for values that only look like a date or a number.
_YAML_TROUBLE = (
    yaml.YAMLError,
    RecursionError,
    ValueError,
    OverflowError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)\s*([smhd])", value.strip())
    if match is None:
        raise ValueError("write a whole number and a unit, such as 90d, 24h, 15m or 30s")
    return int(match[1]) * _SECONDS[match[2]]


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)\s*(B|KiB|MiB|GiB)", value.strip())
    if match is None:
        raise ValueError("write a whole number and a unit, such as 256MiB")
    return int(match[1]) * _BYTES[match[2]]


def _instant(value: object) -> object:
    if isinstance(value, dt.datetime):
        value = value.isoformat()
    if not isinstance(value, str):
        return value
    try:
        instant = dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("write an instant with its offset: 2026-01-31T00:00:00Z") from error
    if instant.tzinfo is None:
        raise ValueError("say which time zone: end the instant with Z or an offset")
    return int(instant.timestamp())


def _no_truth(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("write a number, such as 0.8")  # noqa: TRY004 - pydantic's way to say so
    return value


def _one_or_many(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


InstantS = Annotated[int, BeforeValidator(_instant)]
DurationS = Annotated[int, BeforeValidator(_seconds)]
SizeBytes = Annotated[int, BeforeValidator(_bytes)]
Path = Annotated[str, Field(pattern=r"^(/[^/\"'\\\[\]]+)+$")]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_one_or_many)]
Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


def key_advice(paths: tuple[str, ...]) -> str:
    """What to do about a partition key that a spec does not name as its container does."""
    if any(quote in path for path in paths for quote in "\"'"):
        return (
            f"the container's partition key is {list(paths)}; a spec cannot name a path with "
            "quotes, so this container cannot be archived"
        )
    return f"the container's partition key is {list(paths)}; write that"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Source(_Strict):
    account: str = Field(pattern=r"^[a-z0-9-]{3,44}$")
    database: str = Field(min_length=1, max_length=255)
    container: str = Field(min_length=1, max_length=255)
    partition_key: Annotated[Paths, Field(min_length=1, max_length=3)]
    change_feed_consumers: bool = False

    @property
    def name(self) -> str:
        """As budgets and meters call it, within the one account."""
        return f"{self.database}/{self.container}"


class Cold(_Strict):
    older_than: DurationS | None = Field(default=None, ge=0, le=OLDER_THAN_MAX_S)
    before: InstantS | None = Field(default=None, ge=1)
    where: str | None = Field(default=None, min_length=1, max_length=2000)

    @model_validator(mode="after")
    def _one_boundary(self) -> Cold:
        if (self.older_than is None) == (self.before is None):
            raise ValueError(
                "write exactly one of older_than (90d) or before (2026-01-31T00:00:00Z)"
            )
        return self

    def until_s(self, now_s: float) -> int:
        """Documents last written before this second are cold."""
        return self.before if self.before is not None else int(now_s) - (self.older_than or 0)


class Sink(_Strict):
    container: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", min_length=3, max_length=63)
    prefix: str = Field(default="", pattern=r"^$|^[A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*$")
    promote: Paths = ()

    @property
    def place(self) -> str:
        """Container and prefix, as pointers and people name it."""
        return f"{self.container}/{self.prefix}".rstrip("/")


class Capacity(_Strict):
    ru_per_s_per_partition: int | None = Field(default=None, ge=100, le=1_000_000)
    partitions: Literal["discover"] | Annotated[int, Field(ge=1, le=10_000)] = "discover"


class Schedule(_Strict):
    every: DurationS = Field(ge=EVERY_MIN_S, le=EVERY_MAX_S)


class SliceLimits(_Strict):
    documents_max: int = Field(default=20_000, ge=1, le=200_000)
    bytes_max: SizeBytes = Field(default=256 << 20, ge=1 << 20, le=4 << 30)
    budget_s: int = Field(default=60, ge=1, le=900)
    attempts_max: int = Field(default=3, ge=1, le=20)
    in_flight_max: int = Field(default=2, ge=1, le=64)


class MigrationSpec(_Strict):
    name: str = Field(pattern=NAME_PATTERN)
    source: Source
    cold: Cold
    sink: Sink
    engine: Literal["embedded", "adf"] = "embedded"
    capacity: Capacity = Capacity()
    ceiling: Annotated[float, BeforeValidator(_no_truth)] = Field(default=0.8, gt=0, le=1)
    slice: SliceLimits = SliceLimits()
    schedule: Schedule | None = None
    validation: Literal["readback", "reread"] = "readback"
    retire: Literal["keep", "delete", "stub"] = "keep"
    retire_young: bool = False
    retire_grace: DurationS = Field(default=7 * 86_400, ge=0, le=3_650 * 86_400)
    stub_keep: Paths = ()
    priority: int = Field(default=5, ge=1, le=10)
    after: Names = ()
    notify: Names = ()

    @model_validator(mode="after")
    def _not_after_itself(self) -> MigrationSpec:
        if self.name in self.after:
            raise ValueError("after: names the migration itself; name other migrations")
        return self

    @model_validator(mode="after")
    def _can_advance(self) -> MigrationSpec:
        if self.schedule is not None and self.cold.older_than is None:
            raise ValueError(
                "schedule: nothing more becomes cold with cold.before; write cold.older_than "
                "(90d), or leave schedule out"
            )
        return self

    @model_validator(mode="after")
    def _young_is_meant(self) -> MigrationSpec:
        if self.retire_young and self.retire == "keep":
            raise ValueError("retire_young: nothing is removed; leave it out")
        return self

    def retires_young(self, now_s: float) -> bool:
        """Whether it would remove what was written less than a day ago without saying so."""
        if self.retire == "keep" or self.retire_young:
            return False
        return self.cold.until_s(now_s) > now_s - YOUNG_S

    @model_validator(mode="after")
    def _stubs_are_meant(self) -> MigrationSpec:
        if self.stub_keep and self.retire != "stub":
            raise ValueError("stub_keep: only a stub keeps fields; write retire: stub, or leave it")
        for name, use in ((STUB, "holds the pointer"), (RETURNING, "marks a stub that will go")):
            if any(path == f"/{name}" or path.startswith(f"/{name}/") for path in self.stub_keep):
                raise ValueError(f"stub_keep: /{name} {use}; name the document's own paths")
        return self

    @property
    def cold_where(self) -> str | None:
        """The condition beside the window: the spec's own, and nothing that only holds a place."""
        if self.retire == "keep":
            return self.cold.where
        no_place = NO_STUB if self.retire == "stub" else NO_GUARD
        return f"({self.cold.where}) AND {no_place}" if self.cold.where else no_place

    @property
    def passes_stubs_by(self) -> bool:
        """Whether stubs that another migration left in the container are no documents to it."""
        return NO_STUB in (self.cold_where or "")


_ADVICE = {
    "extra_forbidden": "remove it, or correct its spelling; known keys here: {known}",
    "missing": "add it",
    "string_pattern_mismatch": "write text that matches {pattern}",
    "model_type": "write a mapping of keys to values",
    "literal_error": "write one of {expected}",
}


def parse_spec(text: str) -> MigrationSpec:
    """Read YAML or JSON; raise Invalid with all faults when it is not a spec Ebb can run."""
    if len(text) > SPEC_BYTES_MAX:
        fault = Fault(
            path="$",
            seen=f"{len(text)} characters",
            advice=f"keep a spec within {SPEC_BYTES_MAX} characters",
        )
        raise Invalid("the spec", (fault,))
    spec = spec_from(_plain_data(text))
    stored_units = len(spec_text(spec).encode("utf-16-le")) // 2
    if stored_units > SPEC_BYTES_MAX:
        seen = f"{stored_units} characters as it is stored"
        advice = f"keep a spec within {SPEC_BYTES_MAX} characters"
        raise Invalid("the spec", (Fault(path="$", seen=seen, advice=advice),))
    return spec


def declared_spec(text: str) -> MigrationSpec:
    """A spec as a person writes it, held to what one that was stored earlier need not meet."""
    spec = parse_spec(text)
    advice = why_unfit(spec.cold.where) if spec.cold.where else None
    if advice:
        seen = f"saw {_shown(spec.cold.where)}"
        raise Invalid("the spec", (Fault(path="$.cold.where", seen=seen, advice=advice),))
    return spec


def _plain_data(text: str) -> object:
    """JSON where it is JSON, as Ebb's own ledger holds it; YAML otherwise."""
    try:
        return json.loads(text, object_pairs_hook=_unique_pairs)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader, made stricter
    except _YAML_TROUBLE as error:
        seen = " ".join(str(error).split())[:ERROR_CHARS_MAX]
        fault = Fault(path="$", seen=f"not YAML or JSON: {seen}", advice="correct the syntax")
        raise Invalid("the spec", (fault,)) from error


def _unique_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is written twice")
    return found


def spec_from(data: object) -> MigrationSpec:
    """Check plain data against the spec's form."""
    try:
        return MigrationSpec.model_validate(data)
    except ValidationError as error:
        faults = tuple(_fault(item) for item in error.errors(include_url=False))
        raise Invalid("the spec", faults) from error


def spec_text(spec: MigrationSpec) -> str:
    """The spec as JSON that parse_spec reads back to an equal spec."""
    # Left out where it says nothing: an Ebb that does not know the word yet reads the spec as well.
    left_out: dict[str, Any] = {} if spec.retire_young else {"retire_young": True}
    if spec.capacity.ru_per_s_per_partition is None:
        left_out["capacity"] = {"ru_per_s_per_partition"}
    return spec.model_dump_json(exclude=left_out)


def _fault(item: Any) -> Fault:
    location = [
        part for part in item["loc"] if part not in {"constrained-int", "literal['discover']"}
    ]
    path = "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location)
    kind = str(item["type"])
    seen = "it is missing" if kind == "missing" else f"saw {_shown(item['input'])}"
    context = {**item.get("ctx", {}), "known": _known_keys(location)}
    template = _ADVICE.get(kind)
    advice = template.format(**context) if template else _plain(str(item["msg"]))
    return Fault(path=path, seen=seen, advice=advice)


def _plain(message: str) -> str:
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    """Enough to recognise; bounded before it is built, as aliases can make a value endless."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxstring, brief.maxother = 2, SHOWN_MAX, SHOWN_MAX
    text = brief.repr(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def _known_keys(location: list[Any]) -> str:
    model: type[BaseModel] = MigrationSpec
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return ", ".join(model.model_fields)


class _UniqueKeys(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice instead of keeping the last."""


def _unique_mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[object, object]:
    seen = set()
    for written, _ in node.value:
        # Lists as keys can be built of aliases so that comparing two of them never ends.
        if not isinstance(written, yaml.ScalarNode):
            raise _not_read("a key is a list or a mapping; write text", written)
        key = loader.construct_object(written)
        if key in seen:
            raise _not_read(f"the key {key!r} is written twice", node)
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


def _not_read(why: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, why, node.start_mark)


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
