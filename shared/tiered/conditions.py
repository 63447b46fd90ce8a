"""A condition on a document's version, read from the arguments as azure-cosmos reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azure.core import MatchConditions

Arguments = dict[str, Any]

_NAMES = ("etag", "match_condition", "if_match", "if_none_match", "access_condition")
_HEADERS = ("if-match", "if-none-match")
_ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What a request's If-Match and If-None-Match would be."""

    if_match: str | None = None
    if_none_match: str | None = None

    @property
    def given(self) -> bool:
        return self.if_match is not None or self.if_none_match is not None

    def holds(self, etag: str) -> bool:
        """Whether a document that exists in this version meets it."""
        if self.if_none_match is not None:
            return self.if_none_match not in {_ANY, etag}
        return self.if_match in {None, _ANY, etag}


def condition_of(arguments: Mapping[str, Any]) -> Condition:
    """Raises for arguments that azure-cosmos refuses, before anything is sent.

    azure-cosmos sends one of both headers, and If-None-Match when both are given.
    """
    match, none_match = _matches(arguments)
    if none_match:
        return Condition(if_none_match=none_match)
    if match:
        return Condition(if_match=match)
    options = arguments.get("request_options") or {}
    access = arguments.get("access_condition") or options.get("accessCondition")
    if access:
        name = "if_match" if access["type"] == "IfMatch" else "if_none_match"
        return Condition(**{name: access["condition"]})
    headers = {
        name.lower(): value for name, value in (arguments.get("initial_headers") or {}).items()
    }
    return Condition(if_match=headers.get("if-match"), if_none_match=headers.get("if-none-match"))


def unconditional(arguments: Mapping[str, Any]) -> Arguments:
    """The same call of whatever version stands there."""
    kept = {name: value for name, value in arguments.items() if name not in _NAMES}
    if kept.get("initial_headers"):
        kept["initial_headers"] = {
            name: value
            for name, value in kept["initial_headers"].items()
            if name.lower() not in _HEADERS
        }
    if kept.get("request_options"):
        options = dict(kept["request_options"])
        options.pop("accessCondition", None)
        kept["request_options"] = options
    return kept


def only(etag: str) -> Arguments:
    """Arguments for this very version."""
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _matches(arguments: Mapping[str, Any]) -> tuple[str | None, str | None]:
    match, none_match = arguments.get("if_match"), arguments.get("if_none_match")
    condition, etag = arguments.get("match_condition"), arguments.get("etag")
    if condition is None:
        if etag is not None:
            raise ValueError("'etag' specified without 'match_condition'.")
    elif condition in {MatchConditions.IfNotModified, MatchConditions.IfModified}:
        if not etag:
            raise ValueError("'match_condition' specified without 'etag'.")
        if condition == MatchConditions.IfNotModified:
            match = etag
        else:
            none_match = etag
    elif condition == MatchConditions.IfPresent:
        match = _ANY
    elif condition == MatchConditions.IfMissing:
        none_match = _ANY
    else:
        raise TypeError(f"Invalid match condition: {condition}")
    return match, none_match
