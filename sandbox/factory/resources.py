"""Keeps the deployed linked services, datasets and pipelines, and refuses what Azure would."""

import copy
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.factory.walker import CONDITIONS

Data = dict[str, Any]
# The lowest limit that Azure ever published; later pages allow 80 and 120.
ACTIVITIES_MAX = 40
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,259}")
_CONTAINERS = {"ForEach": ("activities",), "Until": ("activities",)}
_CHOICES = {"IfCondition": ("ifTrueActivities", "ifFalseActivities")}
_VARIABLE_WRITERS = frozenset({"SetVariable", "AppendVariable"})
ACTIVITY_TYPES = frozenset(
    {"Copy", "WebHook", "Wait", "Fail", *_CONTAINERS, *_CHOICES, *_VARIABLE_WRITERS}
)
_TYPES = {
    "linkedservices": frozenset({"CosmosDb", "AzureBlobStorage"}),
    "datasets": frozenset({"CosmosDbSqlApiCollection", "Parquet"}),
}
KINDS = frozenset({*_TYPES, "pipelines"})
_USED_VARIABLE = re.compile(r"variables\('([^']*)'\)")


class Refused(Exception):
    """A request that Azure would answer with an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Hold what the caller gets."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One deployed thing."""

    name: str
    etag: str
    properties: Data


@dataclass(slots=True, kw_only=True)
class Resources:
    """Everything that was deployed to the factory."""

    _kept: dict[str, dict[str, Resource]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )

    def get(self, kind: str, name: str) -> Resource:
        """Return one thing; names are found whatever their case."""
        found = self._kept[kind].get(name.lower())
        if found is None:
            raise Refused(404, "EntityNotFound", f"Entity {name} of kind {kind} is not found.")
        return found

    def all(self, kind: str) -> list[Resource]:
        """Return everything of one kind."""
        return list(self._kept[kind].values())

    def put(self, kind: str, name: str, body: Any, *, if_match: str | None) -> Resource:
        """Deploy one thing, or refuse it with the reason that Azure would have."""
        if not _NAME.fullmatch(name):
            raise _invalid(f"the name {name!r} is not valid")
        properties = body.get("properties") if isinstance(body, dict) else None
        if not isinstance(properties, dict):
            raise _invalid(f"{kind}/{name} has no properties")
        standing = self._kept[kind].get(name.lower())
        if if_match not in (None, "*") and (standing is None or standing.etag != if_match):
            raise Refused(412, "PreconditionFailed", f"{kind}/{name} has changed meanwhile.")
        if kind == "pipelines":
            check_pipeline(properties)
        else:
            _check_type(kind, name, properties)
        for reference_kind, reference in references(properties):
            if reference.lower() not in self._kept[reference_kind]:
                raise _invalid(
                    "The document creation or update failed because of invalid reference "
                    f"'{reference}'."
                )
        put = Resource(name=name, etag=str(uuid.uuid4()), properties=copy.deepcopy(properties))
        self._kept[kind][name.lower()] = put
        return put

    def drop(self, kind: str, name: str) -> bool:
        """Take one thing away; whether it was there."""
        return self._kept[kind].pop(name.lower(), None) is not None


def references(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the kind and name of everything that a definition refers to."""
    kinds = {"LinkedServiceReference": "linkedservices", "DatasetReference": "datasets"}
    if isinstance(value, dict):
        if value.get("type") in kinds and "referenceName" in value:
            yield kinds[value["type"]], str(value["referenceName"])
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def check_pipeline(properties: Data) -> None:
    """Refuse a pipeline that Azure would not take, or that the sandbox cannot run."""
    everything = list(_nested(properties.get("activities") or []))
    if not everything:
        raise _invalid("a pipeline needs activities")
    names = [activity.get("name") for activity in everything]
    if len(set(names)) != len(names) or not all(names):
        raise _invalid(f"activities need names, each its own; seen {names}")
    if len(names) > ACTIVITIES_MAX:
        raise _invalid(f"the pipeline has {len(names)} activities; the most is {ACTIVITIES_MAX}")
    for activity in everything:
        _check_activity(activity, properties.get("variables") or {})
    for siblings in _lists(properties.get("activities") or []):
        _check_order(siblings)


def _check_activity(activity: Data, variables: Data) -> None:
    name, kind = activity["name"], activity.get("type")
    if kind not in ACTIVITY_TYPES:
        raise _invalid(
            f"activity {name!r} has type {kind!r}, which no activity here has; the sandbox runs "
            f"{', '.join(sorted(ACTIVITY_TYPES))}. azure-mgmt-datafactory's typed models lose or "
            "change the type: pass plain dicts"
        )
    inner = activity.get("typeProperties") or {}
    if kind in _CONTAINERS:
        deeper = _nested(inner.get("activities") or [])
        if any(child.get("type") in _CONTAINERS for child in deeper):
            raise _invalid(f"{kind} {name!r} may hold neither ForEach nor Until")
    if kind in _VARIABLE_WRITERS:
        target = inner.get("variableName")
        if target not in variables:
            raise _invalid(f"activity {name!r} writes variable {target!r}, which is not declared")
        if target in _USED_VARIABLE.findall(str(inner.get("value"))):
            raise _invalid(
                "The expression contains self referencing variable. A variable cannot reference "
                f"itself in the expression. (activity {name!r})"
            )
    if kind == "Copy":
        _check_copy(name, inner)


def _check_copy(name: str, inner: Data) -> None:
    wanted = {"source": "CosmosDbSqlApiSource", "sink": "ParquetSink"}
    for side, kind in wanted.items():
        seen = (inner.get(side) or {}).get("type")
        if seen != kind:
            raise _invalid(f"Copy {name!r} has a {side} of type {seen!r}; here it is {kind}")


def _check_order(siblings: list[Data]) -> None:
    left = {
        activity["name"]: {entry.get("activity") for entry in activity.get("dependsOn") or []}
        for activity in siblings
    }
    for activity in siblings:
        for entry in activity.get("dependsOn") or []:
            conditions = entry.get("dependencyConditions")
            if entry.get("activity") not in left or not conditions or set(conditions) - CONDITIONS:
                raise _invalid(f"activity {activity['name']!r} has an invalid dependency {entry}")
    while left:
        free = {name for name, others in left.items() if not others & left.keys()}
        if not free:
            raise _invalid(f"the activities {', '.join(sorted(left))} depend on one another")
        left = {name: others for name, others in left.items() if name not in free}


def _lists(activities: list[Data]) -> Iterator[list[Data]]:
    yield activities
    for activity in activities:
        inner = activity.get("typeProperties") or {}
        for key in (_CONTAINERS | _CHOICES).get(str(activity.get("type")), ()):
            yield from _lists(inner.get(key) or [])


def _nested(activities: list[Data]) -> Iterator[Data]:
    for siblings in _lists(activities):
        yield from siblings


def _check_type(kind: str, name: str, properties: Mapping[str, Any]) -> None:
    seen = properties.get("type")
    if seen not in _TYPES[kind]:
        raise _invalid(
            f"{kind}/{name} has type {seen!r}; the sandbox has {', '.join(sorted(_TYPES[kind]))}. "
            "azure-mgmt-datafactory's typed models lose the type: pass plain dicts"
        )
    if kind == "datasets" and not isinstance(properties.get("linkedServiceName"), dict):
        raise _invalid(f"{kind}/{name} names no linked service")


def _invalid(message: str) -> Refused:
    return Refused(400, "BadRequest", message)
