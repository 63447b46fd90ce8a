"""The Terraform fits together, and deploys what the Bicep deploys."""

from __future__ import annotations

import re

from tests.infra.templates import BICEP, INFRA, TERRAFORM, blocks, code, outputs, parameters, snake

MAIN = (INFRA / "main.bicep").read_text(encoding="utf-8")
ALL = "\n".join(code(path) for path in TERRAFORM)

# What day it is, Terraform would ask at every plan; there the budget's first month must be given.
BICEP_ALONE = {"thisMonth"}

# Both name a role, a metric, a rule's rhythm: what is alike in both texts must be equal.
METRICS = r"metric_?[nN]ame *[=:] *['\"]([\w/]+)['\"]"
RHYTHMS = r"['\"](PT\d+M)['\"]"


def _variables() -> dict[str, str]:
    found = blocks(ALL, "variable")
    defaults = {
        name: re.search(r"^  default +=(.+)$", body, re.MULTILINE) for name, body in found.items()
    }
    return {name: match[1].strip() if match else "" for name, match in defaults.items()}


def _both() -> dict[str, str]:
    return {name: told for name, told in parameters(MAIN).items() if name not in BICEP_ALONE}


def test_both_take_the_same_parameters() -> None:
    """Only the subscription is asked for by Terraform alone: azd and az know theirs."""
    assert set(_variables()) == {snake(name) for name in _both()} | {"subscription_id"}


def test_both_have_the_same_defaults() -> None:
    """A default that drifts would make two kinds of Ebb."""
    terraform = {name: re.sub(r"\s", "", text) for name, text in _variables().items()}
    differing = [
        f"{name}: {default} and {written}"
        for name, default in _both().items()
        for written in [terraform[snake(name)].replace('"', "'")]
        if written != default
    ]
    assert differing == []


def test_both_tell_the_same_afterwards() -> None:
    """What a script reads from one it reads from the other, in small letters."""
    assert set(blocks(ALL, "output")) == {name.lower() for name in outputs(MAIN)}


def test_every_variable_and_local_is_declared_and_used() -> None:
    """A misspelled name would be found only by a plan, which needs a subscription."""
    variables = set(re.findall(r"\bvar\.(\w+)", ALL))
    assert variables == set(_variables())
    locals_used = set(re.findall(r"\blocal\.(\w+)", ALL))
    declared: set[str] = set()
    for body in re.findall(r"^locals \{\n(.*?)^\}", ALL, re.MULTILINE | re.DOTALL):
        declared |= set(re.findall(r"^  (\w+) +=", body, re.MULTILINE))
    assert locals_used == declared


def test_every_resource_that_is_named_exists() -> None:
    """The same for resources and data."""
    declared = {
        f"{kind}.{name}"
        for kind, name in re.findall(r'^(?:resource|data) "(\w+)" "(\w+)"', ALL, re.MULTILINE)
    }
    used = set(re.findall(r"\b(azurerm_\w+\.\w+)", ALL))
    assert used != set()
    assert sorted(used - declared) == []


def test_both_watch_the_same_numbers() -> None:
    """Metrics, thresholds' operators and rhythms of the alerts are those of the Bicep."""
    bicep = (INFRA / "modules" / "alerts.bicep").read_text(encoding="utf-8")
    terraform = (INFRA / "terraform" / "alerts.tf").read_text(encoding="utf-8")
    for pattern in (METRICS, RHYTHMS, r"severity *[:=] *(\d)", r"'?\"?(AppRequests [^\\'\"]+)"):
        assert re.findall(pattern, bicep) == re.findall(pattern, terraform) != []


def test_the_provider_is_pinned_exactly() -> None:
    """Two people deploy with one provider, the one whose schema was checked."""
    assert re.search(r'version = "\d+\.\d+\.\d+"$', ALL, re.MULTILINE)


def test_every_bicep_file_is_looked_at() -> None:
    """A folder that is read as empty would make every test here pass."""
    assert len(BICEP) > 10
    assert len(TERRAFORM) > 8


def test_ledger_and_archive_are_never_made_anew() -> None:
    """Another redundancy, or a name that is taken out, would otherwise take their blobs along."""
    kept = {
        f"{kind}.{name}"
        for kind, name, body in re.findall(
            r'^resource "(\w+)" "(\w+)" \{\n(.*?)^\}', ALL, re.MULTILINE | re.DOTALL
        )
        if "prevent_destroy = true" in body
    }
    assert kept == {
        "azurerm_storage_account.state",
        "azurerm_storage_account.archive",
        "azurerm_storage_container.archive",
    }


def test_the_accounts_keys_are_never_read() -> None:
    """The provider's own resource and data source keep them in the state."""
    assert '"azurerm_cosmosdb_account"' not in ALL


def test_settings_are_written_by_arm_behind_every_change_of_the_app() -> None:
    """The provider adds a connection string without a key, which the host would prefer."""
    body = blocks(ALL, "resource")["callback"]
    assert "count" not in re.findall(r"^  (\w+) +=", body, re.MULTILINE)
    assert "replace_triggered_by = [azurerm_function_app_flex_consumption.ebb]" in body
    assert "merge(local.settings" in body
