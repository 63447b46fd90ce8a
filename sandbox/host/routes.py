"""Decides which function a request is for, as Azure's router does; it serves nothing.

Routes are tried in the order of their functions' names and the first that fits takes the request:
a literal segment has no precedence over a parameter. Only what Ebb uses is read: literals and
`{name}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from sandbox.host.faults import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PARAMETER = re.compile(r"\{(\w+)\}")
_BRACES = re.compile(r"[{}]")
_ENCODED = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_DOTS = re.compile(r"(?:\.|%2[eE]){1,2}")
NOT_FOUND, BAD_REQUEST = 404, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One function's template and methods; no methods named means every method."""

    function: str
    template: str
    methods: tuple[str, ...]

    @property
    def pieces(self) -> list[str]:
        return self.template.split("/")

    def takes(self, method: str) -> bool:
        return not self.methods or method.upper() in self.methods

    def match(self, parts: list[str]) -> dict[str, str] | None:
        """Return the route values of a path, or None when it is not this route's."""
        if len(parts) != len(self.pieces):
            return None
        values = {}
        for piece, part in zip(self.pieces, parts, strict=True):
            if parameter := _PARAMETER.fullmatch(piece):
                values[parameter[1]] = part
            elif piece.lower() != part.lower():
                return None
        return values if all(values.values()) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The request is for this function."""

    function: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """No function takes the request: 404 (a wrong method included), or 400 for a NUL."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """Every route of the app, in the order in which they are tried."""

    routes: tuple[Route, ...]

    def find(self, method: str, raw_path: str) -> Found | Refusal:
        """Choose the function for a method and a path as it came on the wire."""
        if "%00" in raw_path or not raw_path.isascii():
            return Refusal(status=BAD_REQUEST)
        parts = _parts(raw_path)
        for route in self.routes:
            values = route.match(parts) if route.takes(method) else None
            if values is not None:
                return Found(function=route.function, values=values)
        return Refusal(status=NOT_FOUND)


def route_table(routes: Iterable[Route]) -> RouteTable:
    """Put the routes into the order in which Azure tries them."""
    return RouteTable(routes=tuple(sorted(routes, key=lambda route: route.function)))


def parse_route(*, function: str, template: str, prefix: str, methods: tuple[str, ...]) -> Route:
    """Read a route template under the app's route prefix."""
    joined = "/".join(piece for piece in (prefix.strip("/"), template.strip("/")) if piece)
    for piece in joined.split("/"):
        if _BRACES.search(piece) and not _PARAMETER.fullmatch(piece):
            message = (
                f"reading the route {joined!r} of {function}: {piece!r} is not understood; "
                "this host knows literal segments and {name}"
            )
            raise HostError(message)
    return Route(
        function=function,
        template=joined,
        methods=tuple(method.upper() for method in methods),
    )


def _parts(raw_path: str) -> list[str]:
    """A path's segments, decoded once; dots are resolved and one slash at the end is ignored."""
    parts: list[str] = []
    for piece in raw_path.removeprefix("/").removesuffix("/").split("/"):
        if not _DOTS.fullmatch(piece):
            parts.append(_decoded(piece))
        elif len(piece.replace("%2e", ".").replace("%2E", ".")) == len("..") and parts:
            parts.pop()
    return parts


def _decoded(part: str) -> str:
    """Decode what is UTF-8; an encoded slash and any other byte stay as they were written."""
    return _ENCODED.sub(lambda found: _text(found[0]), part)


def _text(encoded: str) -> str:
    pieces = re.split("(%2[fF])", encoded)
    return "".join(piece if piece.lower() == "%2f" else _utf8(piece) for piece in pieces if piece)


def _utf8(encoded: str) -> str:
    try:
        return unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeDecodeError:
        return encoded
