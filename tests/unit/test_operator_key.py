"""Who may apply and retire: only who has the operator's key, whatever function key he has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from shared.errors import OPERATOR_HEADER, Denied
from shared.faces import must_be_operator, problem
from shared.settings import read_settings
from tests.unit.test_settings import GOOD

HOUSE = Path(__file__).parents[2]


@pytest.mark.parametrize("given", [{}, {OPERATOR_HEADER: ""}, {OPERATOR_HEADER: "dashboard"}])
def test_without_the_operators_key_nothing_is_applied_or_retired(given: dict[str, str]) -> None:
    """A function key that is enough for the dashboard must not take the business's data away."""
    with pytest.raises(Denied, match="EBB_OPERATOR_KEY") as caught:
        must_be_operator(given, "operator")
    assert problem(caught.value).status == 401
    assert "operator's" not in str(caught.value)


def test_the_operators_key_passes_and_none_is_asked_for_where_none_is_set() -> None:
    """Before the second provisioning Azure has no such key."""
    must_be_operator({OPERATOR_HEADER: "operator"}, "operator")
    must_be_operator({}, "")
    assert read_settings(GOOD | {"EBB_OPERATOR_KEY": "k\n"}).operator_key == "k"


def test_every_route_that_can_take_documents_away_asks_for_it() -> None:
    """A spec decides what is removed, and a retirement removes it."""
    tree = ast.parse((HOUSE / "function_app.py").read_text(encoding="utf-8"))
    asking = {
        function.name
        for function in tree.body
        if isinstance(function, ast.FunctionDef) and "must_be_operator" in ast.unparse(function)
    }
    assert asking == {"migration_apply", "retirement_change"}
