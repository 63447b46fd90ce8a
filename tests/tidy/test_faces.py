"""What Ebb shows to Azure and to people is safe to load, configured on purpose and documented."""

import argparse
import json
import re
import runpy
import subprocess
import sys
from itertools import combinations, zip_longest
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.host.routes import Found, RouteTable, parse_route

# Runs in a process of its own: no environment, and a socket that cannot even be made.
LOADED_ALONE = """
import socket
import sys

class Unusable(socket.socket):
    def __init__(self, *args, **kwargs):
        raise OSError("the network was touched while function_app was imported")

def refused(*args, **kwargs):
    raise OSError("a name was looked up while function_app was imported")

socket.socket = Unusable
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refused
sys.path.insert(0, sys.argv[1])
import function_app
sys.exit(0 if function_app.app.get_functions() else "function_app.app has no functions")
"""

# Retry policies exist for these triggers alone; on any other, Azure accepts one and ignores it.
RETRIED_BY_AZURE = {"timerTrigger", "cosmosDBTrigger", "eventHubTrigger", "kafkaTrigger"}

# A default nobody chose is a setting nobody knows.
QUEUE_SETTINGS = {
    "batchSize",
    "newBatchThreshold",
    "maxDequeueCount",
    "maxPollingInterval",
    "messageEncoding",
    "visibilityTimeout",
}

# Read by the Functions host itself, not by Ebb.
HOST_SETTINGS = ("AzureWebJobs", "FUNCTIONS_", "PYTHON_", "AzureFunctionsJobHost__")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _functions(house: Path) -> list[Any]:
    # Loaded afresh: azure-functions lists an app once and calls a second listing duplicates.
    app = runpy.run_path(str(house / "function_app.py"))["app"]
    return list(app.get_functions())


def _setting_names() -> list[str]:
    from shared.settings import SETTINGS

    return [setting.name for setting in SETTINGS]


def _sample(house: Path) -> dict[str, str]:
    values: dict[str, str] = json.loads(_read(house / "local.settings.sample.json"))["Values"]
    return values


def _named(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


@pytest.fixture
def host(house: Path) -> dict[str, Any]:
    """The Functions host's own configuration."""
    content: dict[str, Any] = json.loads(_read(house / "host.json"))
    return content


def test_the_app_loads_with_nothing_around_it(house: Path) -> None:
    """Azure indexes the app before any setting or network is there."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", LOADED_ALONE, str(house)],
        env={},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr


def test_no_trigger_has_a_retry_policy_that_azure_ignores(house: Path) -> None:
    """A queue's retries are host.json's maxDequeueCount and nothing else."""
    ignored = [
        function.get_function_name()
        for function in _functions(house)
        if function.get_trigger().type not in RETRIED_BY_AZURE
        and function.get_settings_dict("retry_policy")
    ]
    assert ignored == []


def test_no_timer_runs_when_the_app_starts(house: Path) -> None:
    """A scale-out is not a reason to act."""
    eager = [
        function.get_function_name()
        for function in _functions(house)
        if function.get_trigger().get_dict_repr().get("runOnStartup")
    ]
    assert eager == []


def test_no_http_trigger_is_anonymous(house: Path) -> None:
    """Every route asks for a key, but for a page that holds no data and asks for the key itself."""
    opened = [
        function.get_function_name()
        for function in _functions(house)
        for binding in [function.get_trigger().get_dict_repr()]
        if binding["type"] == "httpTrigger"
        and str(getattr(binding.get("authLevel"), "value", binding.get("authLevel"))).lower()
        not in {"function", "admin"}
    ]
    assert opened == ["dashboard"]


def _routes(house: Path) -> list[tuple[str, str, tuple[str, ...]]]:
    """Each HTTP function's name, route and methods."""
    return [
        (function.get_function_name(), binding["route"], tuple(m.upper() for m in methods))
        for function in _functions(house)
        for binding in [function.get_trigger().get_dict_repr()]
        if binding["type"] == "httpTrigger"
        for methods in [[getattr(m, "value", m) for m in binding["methods"]]]
    ]


def _may_meet(one: str, other: str) -> bool:
    pairs = list(zip_longest(one.split("/"), other.split("/"), fillvalue=""))
    return all(a.lower() == b.lower() or (a and b and "{" in a + b) for a, b in pairs)


def test_no_two_routes_take_the_same_request(house: Path) -> None:
    """Azure tries routes by function name and prefers no literal, so an overlap hides one."""
    overlaps = [
        f"{name} ({route}) and {other_name} ({other})"
        for (name, route, methods), (other_name, other, others) in combinations(_routes(house), 2)
        if {*methods} & {*others} and _may_meet(route, other)
    ]
    assert overlaps == []


@pytest.mark.parametrize("backwards", [False, True])
def test_every_documented_route_reaches_its_function(house: Path, *, backwards: bool) -> None:
    """The order in which a host tries routes decides nothing."""
    routes = [
        parse_route(function=name, template=route, prefix="api", methods=methods)
        for name, route, methods in _routes(house)
    ]
    table = RouteTable(routes=tuple(sorted(routes, key=lambda r: r.function, reverse=backwards)))
    documented = {
        (method.upper(), path): operation["operationId"]
        for path, methods in yaml.safe_load(_read(house / "docs/openapi.yaml"))["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    }
    reached = {
        (method, path): found.function
        for method, path in documented
        if isinstance(found := table.find(method, path.replace("{", "x").replace("}", "")), Found)
    }
    assert documented != {}
    assert reached == documented


def test_every_function_is_listed_in_the_documents(house: Path) -> None:
    """Who sees a name in the portal finds it in the README or the design."""
    text = _read(house / "README.md") + _read(house / "docs" / "design.md")
    names = [function.get_function_name() for function in _functions(house)]
    assert names != []
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_host_names_its_extension_bundle(host: dict[str, Any]) -> None:
    """Without a bundle no queue trigger exists in Azure."""
    bundle = host["extensionBundle"]
    assert bundle["id"] == "Microsoft.Azure.Functions.ExtensionBundle"
    assert bundle["version"] == "[4.*, 5.0.0)"


def test_every_queue_setting_was_chosen(host: dict[str, Any]) -> None:
    """Batch, poison threshold, pause and encoding stand in host.json, not in someone's memory."""
    assert set(host["extensions"]["queues"]) >= QUEUE_SETTINGS


def test_every_setting_is_in_the_sample(house: Path) -> None:
    """Who copies the sample has every name in front of them."""
    assert [name for name in _setting_names() if name not in _sample(house)] == []


def test_the_sample_names_no_setting_that_nothing_reads(house: Path) -> None:
    """A setting without effect misleads whoever changes it."""
    known = set(_setting_names())
    stray = [
        name for name in _sample(house) if name not in known and not name.startswith(HOST_SETTINGS)
    ]
    assert stray == []


def test_every_setting_is_documented(house: Path) -> None:
    """Each has its line in the README or in docs/settings.md."""
    text = _read(house / "README.md") + _read(house / "docs" / "settings.md")
    assert [name for name in _setting_names() if not _named(name, text)] == []


def test_every_command_is_in_the_readme(house: Path) -> None:
    """A command that is not documented does not exist for its user."""
    from shared.cli import build_parser

    commands = [
        name
        for action in build_parser()._actions  # noqa: SLF001  argparse offers no other way to ask
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001  the same
        for name in action.choices
    ]
    readme = _read(house / "README.md")
    assert commands != []
    assert [name for name in commands if not _named(f"ebb {name}", readme)] == []
