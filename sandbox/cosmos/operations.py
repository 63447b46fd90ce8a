"""Says what a Cosmos DB REST request asks for; it carries nothing out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

OperationKind = Literal[
    "account", "metadata", "pkranges", "plan", "query", "count", "read", "write"
]

AGGREGATE = re.compile(r"^\s*SELECT\s+VALUE\s+(COUNT|MIN|MAX|SUM|AVG)\s*\(", re.IGNORECASE)
_QUERY_TEXT = re.compile(rb'"query"\s*:\s*"((?:[^"\\]|\\.)*)"')
_METHOD_NAMES = {
    "GET": "Read",
    "PUT": "Replace",
    "DELETE": "Delete",
    "PATCH": "Patch",
    "POST": "Create",
}
# How many parts the path of a container, of its documents and of one of them has.
_CONTAINER_DEPTH, _DOCUMENTS_DEPTH, _DOCUMENT_DEPTH = 4, 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One request, understood."""

    kind: OperationKind
    # As Azure Monitor names it in the OperationType dimension.
    name: str
    segments: tuple[str, ...]

    @property
    def database(self) -> str:
        """The database's name or rid, or nothing."""
        return self.segments[1] if len(self.segments) > 1 else ""

    @property
    def container(self) -> str:
        """The container's name or rid, or nothing."""
        return self.segments[3] if len(self.segments) >= _CONTAINER_DEPTH else ""


def operation_of(method: str, raw_path: str, headers: Mapping[str, str], body: bytes) -> Operation:
    """Understand a request from its method, path, headers and, for a query, its text."""
    segments = tuple(unquote(part) for part in raw_path.partition("?")[0].split("/") if part)
    if not segments:
        return Operation(kind="account", name="Read", segments=segments)
    resource = segments[4] if len(segments) >= _DOCUMENTS_DEPTH else ""
    if resource == "pkranges":
        return Operation(kind="pkranges", name="ReadFeed", segments=segments)
    if resource != "docs":
        return Operation(kind="metadata", name=_METHOD_NAMES.get(method, method), segments=segments)
    if _is_true(headers, "x-ms-cosmos-is-query-plan-request"):
        return Operation(kind="plan", name="QueryPlan", segments=segments)
    if is_query(method, headers):
        kind: OperationKind = "count" if AGGREGATE.match(query_text(body)) else "query"
        return Operation(kind=kind, name="Query", segments=segments)
    if method == "GET":
        single = len(segments) >= _DOCUMENT_DEPTH
        return Operation(
            kind="read" if single else "query",
            name="Read" if single else "ReadFeed",
            segments=segments,
        )
    name = _METHOD_NAMES.get(method, method)
    if method == "POST" and _is_true(headers, "x-ms-documentdb-is-upsert"):
        name = "Upsert"
    if method == "POST" and _is_true(headers, "x-ms-cosmos-is-batch-request"):
        name = "Batch"
    return Operation(kind="write", name=name, segments=segments)


def is_query(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a POST carries a query."""
    return method == "POST" and (
        _is_true(headers, "x-ms-documentdb-isquery")
        or headers.get("content-type") == "application/query+json"
    )


def query_text(body: bytes) -> str:
    """Return the query's text as it stands in the body, close enough to look at its first words."""
    found = _QUERY_TEXT.search(body)
    return found[1].decode("utf-8", "replace").replace("\\n", " ") if found else ""


def origin_of(user_agent: str) -> str:
    """Say who sent a request, by what its client calls itself."""
    lowered = user_agent.lower()
    return next((origin for origin in ("ebb", "business", "adf") if origin in lowered), "other")


def _is_true(headers: Mapping[str, str], name: str) -> bool:
    return headers.get(name, "").lower() == "true"
