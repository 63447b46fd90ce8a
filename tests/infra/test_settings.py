"""Every setting that Ebb reads is set by both deployments and stands in the sample."""

from __future__ import annotations

import json
import re

import pytest

from shared.settings import METRIC_SETTLE_S_MAX, SETTINGS
from tests.infra.templates import INFRA, text

HOUSE = INFRA.parent

# Keys are off in both storage accounts, so no connection string can exist there; and an empty one
# could be taken by the Functions host for a chosen one.
NEVER_IN_AZURE = {"AzureWebJobsStorage"}

# Flex Consumption takes the runtime from the app itself and refuses these.
REFUSED = {"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE"}

# Without them the host finds neither its storage nor its identity, ticks wait for copies, or each
# log comes twice.
PLATFORM = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "AZURE_CLIENT_ID",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "PYTHON_ENABLE_OPENTELEMETRY",
    "PYTHON_THREADPOOL_THREAD_COUNT",
}

WRITTEN = {
    "bicep": (INFRA / "modules" / "settings.bicep", r"^var settings = \{\n(.*?)^\}", ":"),
    "terraform": (INFRA / "terraform" / "app.tf", r"^  settings = \{\n(.*?)^  \}", "="),
}


def _set_by(deployment: str) -> dict[str, str]:
    path, pattern, sign = WRITTEN[deployment]
    found = re.search(pattern, text(path), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{path} has no list of settings"
    return dict(re.findall(rf"^ +(\w+) *{sign} *(.+)$", found[1], re.MULTILINE))


# Terraform gives this one name in its site_config.
ELSEWHERE: dict[str, set[str]] = {
    "bicep": set(),
    "terraform": {"APPLICATIONINSIGHTS_CONNECTION_STRING"},
}


def _read_by_ebb() -> set[str]:
    return {setting.name for setting in SETTINGS} - NEVER_IN_AZURE


@pytest.mark.parametrize("deployment", sorted(WRITTEN))
def test_every_setting_that_ebb_reads_is_set(deployment: str) -> None:
    """A setting that exists only in the code cannot be changed by whoever deploys."""
    given = set(_set_by(deployment)) | ELSEWHERE[deployment]
    assert sorted(_read_by_ebb() - given) == []


@pytest.mark.parametrize("deployment", sorted(WRITTEN))
def test_no_setting_is_set_that_nobody_reads(deployment: str) -> None:
    """A misspelled name would be silent: Ebb would take the default."""
    own = {name for name in _set_by(deployment) if name.startswith("EBB_")}
    assert sorted(own - _read_by_ebb()) == []


@pytest.mark.parametrize("deployment", sorted(WRITTEN))
def test_the_host_finds_storage_and_identity(deployment: str) -> None:
    """What the platform reads is there, and what Flex Consumption refuses is not."""
    given = set(_set_by(deployment))
    assert sorted(PLATFORM - given) == []
    assert sorted(given & (REFUSED | NEVER_IN_AZURE)) == []


def test_both_deployments_set_the_same() -> None:
    """Whoever moves from one to the other finds the same app."""
    assert set(_set_by("bicep")) == set(_set_by("terraform")) | ELSEWHERE["terraform"]


@pytest.mark.parametrize("deployment", sorted(WRITTEN))
def test_plain_values_are_the_defaults_of_the_code(deployment: str) -> None:
    """A value written out twice must not drift from what Ebb itself would take."""
    defaults = {setting.name: setting.default for setting in SETTINGS}
    written = {
        name: value.strip("'\"")
        for name, value in _set_by(deployment).items()
        if re.fullmatch(r"(['\"])[^${]*\1", value) and name in defaults
    }
    assert written != {}
    assert {name: value for name, value in written.items() if value != defaults[name]} == {}


def test_both_deployments_bound_the_settling_time_as_ebb_does() -> None:
    """What a deployment takes must not be refused when the app starts."""
    bicep, terraform = text(INFRA / "main.bicep"), text(INFRA / "terraform" / "variables.tf")
    assert f"@maxValue({METRIC_SETTLE_S_MAX})\nparam metricSettleS" in bicep
    assert f"var.metric_settle_s <= {METRIC_SETTLE_S_MAX}" in terraform


def test_the_sample_has_every_setting_but_secrets() -> None:
    """Who tries Ebb locally sees each name, and the sample opens nothing."""
    sample = json.loads(text(HOUSE / "local.settings.sample.json"))["Values"]
    assert sorted({setting.name for setting in SETTINGS} - set(sample)) == []
    assert sample["EBB_CALLBACK_KEY"] == sample["EBB_ALERT_KEY"] == sample["EBB_OPERATOR_KEY"] == ""


def test_every_choice_of_the_host_is_explained() -> None:
    """Each value in host.json has its line, with the value and a reason, in docs/settings.md."""
    lines = text(HOUSE / "docs" / "settings.md").splitlines()
    rows = [line for line in lines if line.startswith("|") and line.count("|") == 4]
    unexplained = [
        f"{name}: {value}"
        for name, value in _leaves(json.loads(text(HOUSE / "host.json")))
        if name not in {"version", "id"} and not any(_tells(row, name, value) for row in rows)
    ]
    assert unexplained == []


def _leaves(content: dict[str, object]) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, value in content.items():
        found += _leaves(value) if isinstance(value, dict) else [(name, value)]
    return found


def _tells(row: str, name: str, value: object) -> bool:
    _, setting, told, why, _ = row.split("|")
    shown = f"`{value}`" if not isinstance(value, bool) else "on"
    named = name in setting or "samplingSettings" in setting
    return named and shown in told and len(why.split()) >= 4
