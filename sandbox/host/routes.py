"""Decides which function a request is for, as ASP.NET Core routing does; it serves nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sandbox.host.faults import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PARAMETER = re.compile(
    r"\{(?P<star>\*{0,2})(?P<name>\w+)(?P<constraints>(?::\w+(?:\([\d,\s.-]*\))?)*)"
    r"(?:=(?P<default>[^{}?]*))?(?P<optional>\?)?\}",
)
_CONSTRAINT = re.compile(r":(\w+)(?:\(([^)]*)\))?")
_PATTERNS = {
    "int": r"[+-]?\d+",
    "long": r"[+-]?\d+",
    "bool": r"(?i:true|false)",
    "alpha": r"[A-Za-z]+",
    "decimal": r"-?\d+(?:\.\d+)?",
    "double": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    "float": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    "guid": r"\{?[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}\}?",
}
# The ranges .NET's Int32 and Int64 parse.
_BITS = {"int": 31, "long": 63}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    pattern: re.Pattern[str]
    rank: int
    checks: tuple[tuple[str, Callable[[str], bool]], ...] = ()
    rest: str = ""
    optional: bool = False
    defaults: Mapping[str, str]

    def values(self, part: str) -> dict[str, str] | None:
        found = self.pattern.fullmatch(part)
        if found is None:
            return None
        values = found.groupdict()
        return values if all(check(values[name]) for name, check in self.checks) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One function's template and methods; no methods named means every method."""

    function: str
    template: str
    methods: tuple[str, ...]
    segments: tuple[_Segment, ...]

    @property
    def precedence(self) -> tuple[int, ...]:
        """Order of trial: literals before constrained before free parameters."""
        return tuple(segment.rank for segment in self.segments)

    def match(self, parts: list[str]) -> dict[str, str] | None:
        """Return the route values of a path, or None when it is not this route's."""
        values: dict[str, str] = {}
        for index, segment in enumerate(self.segments):
            if segment.rest:
                rest = "/".join(parts[index:])
                return values | ({segment.rest: rest} if rest else dict(segment.defaults))
            if index >= len(parts):
                if not segment.optional:
                    return None
                values |= segment.defaults
                continue
            found = segment.values(parts[index])
            if found is None:
                return None
            values |= found
        return values if len(parts) <= len(self.segments) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The request is for this function."""

    function: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No function takes the request: 404, or 405 with what the route takes."""

    status: int
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """Every route of the app, in order of precedence."""

    routes: tuple[Route, ...]

    def find(self, method: str, raw_path: str) -> Found | Refusal:
        """Choose the function for a method and a path as it came on the wire."""
        parts = [_decoded(part) for part in raw_path.strip("/").split("/") if part]
        allowed: set[str] = set()
        for route in self.routes:
            values = route.match(parts)
            if values is None:
                continue
            if not route.methods or method in route.methods:
                return Found(function=route.function, values=values)
            allowed.update(route.methods)
        return Refusal(status=405 if allowed else 404, allowed=tuple(sorted(allowed)))


def route_table(routes: list[Route]) -> RouteTable:
    """Order the routes; two functions that answer the same requests are refused."""
    for index, route in enumerate(routes):
        for other in routes[:index]:
            same_path = route.template.lower() == other.template.lower()
            if same_path and _share_a_method(route, other):
                message = (
                    f"routing {route.template}: {other.function} and {route.function} take the "
                    "same requests; give one of them another route or other methods"
                )
                raise HostError(message)
    return RouteTable(routes=tuple(sorted(routes, key=lambda route: route.precedence)))


def _share_a_method(one: Route, other: Route) -> bool:
    return not one.methods or not other.methods or bool({*one.methods} & {*other.methods})


def parse_route(*, function: str, template: str, prefix: str, methods: tuple[str, ...]) -> Route:
    """Read a route template under the app's route prefix."""
    joined = "/".join(piece for piece in (prefix.strip("/"), template.strip("/")) if piece)
    segments = tuple(_segment(piece, joined) for piece in joined.split("/") if piece)
    for index, segment in enumerate(segments[:-1]):
        later = segments[index + 1]
        if segment.rest or (segment.optional and not (later.optional or later.rest)):
            message = (
                f"reading the route {joined!r} of {function}: an optional or catch-all "
                "parameter must come last"
            )
            raise HostError(message)
    return Route(
        function=function,
        template="/" + joined,
        methods=tuple(method.upper() for method in methods),
        segments=segments,
    )


def _segment(piece: str, template: str) -> _Segment:
    parameters = list(_PARAMETER.finditer(piece))
    literal_rest = _PARAMETER.sub("", piece)
    if "{" in literal_rest or "}" in literal_rest:
        message = (
            f"reading the route {template!r}: {piece!r} is not understood; use {{name}}, "
            "{name?}, {name=default}, {*rest} and the constraints "
            + ", ".join(sorted({*_PATTERNS, *_RANGES}))
        )
        raise HostError(message)
    if not parameters:
        literal = re.compile(re.escape(piece), re.IGNORECASE)
        return _Segment(pattern=literal, rank=1, defaults={})
    pattern, position = "", 0
    checks: list[tuple[str, Callable[[str], bool]]] = []
    for parameter in parameters:
        pattern += re.escape(piece[position : parameter.start()])
        pattern += f"(?P<{parameter['name']}>.+?)"
        position = parameter.end()
        checks += [
            (parameter["name"], _check(kind, argument, template))
            for kind, argument in _CONSTRAINT.findall(parameter["constraints"])
        ]
    last = parameters[-1]
    default = last["default"]
    free = 3 if len(parameters) == 1 and not checks and len(last.group()) == len(piece) else 2
    return _Segment(
        pattern=re.compile(pattern + re.escape(piece[position:]), re.IGNORECASE),
        # Ranks of ASP.NET Core: literal 1, constrained 2, free 3, catch-all 4 and 5.
        rank=free + 2 if last["star"] else free,
        checks=tuple(checks),
        rest=last["name"] if last["star"] else "",
        optional=bool(last["optional"]) or default is not None,
        defaults={} if default is None else {last["name"]: default},
    )


def _check(kind: str, argument: str, template: str) -> Callable[[str], bool]:
    kind = kind.lower()
    if kind in _PATTERNS and not argument:
        pattern, bits = re.compile(_PATTERNS[kind]), _BITS.get(kind)

        def matches(value: str) -> bool:
            if pattern.fullmatch(value) is None:
                return False
            return bits is None or -(2**bits) <= int(value) < 2**bits

        return matches
    numbers = [int(number) for number in re.findall(r"-?\d+", argument)]
    if kind in _RANGES and numbers:
        return _RANGES[kind](numbers)
    message = (
        f"reading the route {template!r}: the constraint {kind!r} is not known here; use one of "
        + ", ".join(sorted({*_PATTERNS, *_RANGES}))
    )
    raise HostError(message)


def _number(value: str) -> int | None:
    return int(value) if re.fullmatch(r"[+-]?\d+", value) else None


def _within(low: int | None, high: int | None) -> Callable[[str], bool]:
    def within(value: str) -> bool:
        number = _number(value)
        return (
            number is not None
            and (low is None or number >= low)
            and (high is None or number <= high)
        )

    return within


def _length(low: int, high: int | None) -> Callable[[str], bool]:
    return lambda value: low <= len(value) and (high is None or len(value) <= high)


_RANGES: Mapping[str, Callable[[list[int]], Callable[[str], bool]]] = {
    "min": lambda n: _within(n[0], None),
    "max": lambda n: _within(None, n[0]),
    "range": lambda n: _within(n[0], n[-1]),
    "length": lambda n: _length(n[0], n[-1]),
    "minlength": lambda n: _length(n[0], None),
    "maxlength": lambda n: _length(0, n[0]),
}


def _decoded(part: str) -> str:
    # An encoded slash stays encoded: it is a character of the value, not a separator.
    return "%2F".join(unquote(piece) for piece in re.split("%2[fF]", part))
