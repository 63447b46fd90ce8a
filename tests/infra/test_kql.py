"""Every KQL text is one that Azure can run: Microsoft's language service parses and binds it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.history import PROFILE_QUERY, SHARES_QUERY
from tests.infra.templates import INFRA, text

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
WORKBOOK_QUERIES = 5


def _workbook_queries(part: Any) -> list[str]:
    """Each query of the workbook, wherever it is in it."""
    if isinstance(part, list):
        return [each for item in part for each in _workbook_queries(item)]
    if not isinstance(part, dict):
        return []
    own = [part["query"]] if isinstance(part.get("query"), str) else []
    return own + [each for value in part.values() for each in _workbook_queries(value)]


def _queries() -> dict[str, str]:
    workbook = _workbook_queries(json.loads(text(INFRA / "workbook.json")))
    heartbeat = re.search(r"query: '(.+)'$", text(INFRA / "modules" / "alerts.bicep"), re.MULTILINE)
    assert heartbeat is not None
    assert len(workbook) == WORKBOOK_QUERIES
    asked = {"database": '"sales"', "container": '"orders"'}
    return {
        **{f"workbook {index}": query for index, query in enumerate(workbook)},
        "heartbeat": heartbeat[1].replace("${appName}", "func-ebb"),
        "profile": PROFILE_QUERY.format(**asked),
        "shares": SHARES_QUERY.format(**asked),
    }


def _findings(queries: dict[str, str]) -> list[str]:
    done = subprocess.run(
        ["node", HERE / "check_kql.js", HERE / "kql_tables.json"],
        input=json.dumps(queries),
        cwd=INFRA.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_every_query_parses_and_names_columns_that_exist() -> None:
    """The workbook's, the heartbeat rule's and those of habits and heat."""
    assert _findings(_queries()) == []


def test_a_planted_column_and_a_missing_parenthesis_are_found() -> None:
    """The check sees what it is there for."""
    found = _findings(
        {
            "column": PROFILE_QUERY.format(database='"a"', container='"b"').replace(
                "RequestCharge", "RequestCharges"
            ),
            "parenthesis": _queries()["heartbeat"].replace("count()", "count("),
        }
    )
    assert {line.partition(":")[0] for line in found} == {"column", "parenthesis"}
    assert any("RequestCharges" in line for line in found)


def test_the_workbooks_metrics_are_named_with_their_category() -> None:
    """Without it the portal draws an empty chart: `…databaseaccounts-Requests-NAME`."""
    named = re.findall(r'"metric": "([^"]+)"', text(INFRA / "workbook.json"))
    kind = "microsoft.documentdb/databaseaccounts-Requests-"
    assert {name.removeprefix(kind) for name in named} == {
        "TotalRequestUnits",
        "NormalizedRUConsumption",
        "TotalRequests",
    }
