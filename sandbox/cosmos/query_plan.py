"""Writes the query plan by which the SDK spreads a query over several partitions; it runs nothing.

The rewritten query opens with a mark for server.js, which then answers in the shape the SDK merges.
"""

import re
from typing import Any

from sandbox.cosmos.operations import AGGREGATE
from sandbox.errors import SandboxError

_MARK_AGGREGATE = "/*sandbox:aggregate*/"
_MARK_ORDER_BY = "/*sandbox:orderby*/"
_UNSUPPORTED = re.compile(r"\b(GROUP\s+BY|DISTINCT|OFFSET)\b", re.IGNORECASE)
_TOP = re.compile(r"^\s*SELECT\s+TOP\s+(\d+)\b", re.IGNORECASE)
_ORDER_BY = re.compile(r"\bORDER\s+BY\s+(.+)$", re.IGNORECASE | re.DOTALL)
_AGGREGATE_NAMES = {"COUNT": "Count", "MIN": "Min", "MAX": "Max", "SUM": "Sum"}


def query_plan(query: str) -> dict[str, Any]:
    """Return the plan of a streaming, TOP, ORDER BY or VALUE-aggregate query."""
    aggregate, order_by, top = AGGREGATE.match(query), _ORDER_BY.search(query), _TOP.match(query)
    name = aggregate[1].upper() if aggregate else ""
    if _UNSUPPORTED.search(query) or (name and name not in _AGGREGATE_NAMES):
        message = (
            f"planning {query!r} over several partitions: the sandbox merges plain, TOP, ORDER BY "
            "and VALUE COUNT/MIN/MAX/SUM queries only; query one feed_range at a time"
        )
        raise SandboxError(message)
    mark = _MARK_AGGREGATE if aggregate else _MARK_ORDER_BY if order_by else ""
    orders = [part.strip() for part in order_by[1].split(",")] if order_by else []
    return {
        "partitionedQueryExecutionInfoVersion": 2,
        "queryInfo": {
            "distinctType": "None",
            "top": int(top[1]) if top else None,
            "offset": None,
            "limit": None,
            "orderBy": [
                "Descending" if part.upper().endswith(" DESC") else "Ascending" for part in orders
            ],
            "orderByExpressions": [part.split()[0] for part in orders],
            "groupByExpressions": [],
            "groupByAliases": [],
            "aggregates": [_AGGREGATE_NAMES[name]] if name else [],
            "groupByAliasToAggregateType": {},
            "rewrittenQuery": f"{mark}{query}" if mark else "",
            "hasSelectValue": bool(re.match(r"^\s*SELECT\s+VALUE\b", query, re.IGNORECASE)),
            "hasNonStreamingOrderBy": False,
        },
        "queryRanges": [{"min": "", "max": "FF", "isMinInclusive": True, "isMaxInclusive": False}],
    }
