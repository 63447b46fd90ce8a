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
    used = set(re.findall(r"\b((?:azurerm|time)_\w+\.\w+)", ALL))
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


def test_an_app_that_azurerm_broke_is_healed_before_its_host_is_asked() -> None:
    """The provider adds a connection string without a key: then the host gives no keys."""
    made = blocks(ALL, "resource")
    arm = "azurerm_resource_group_template_deployment"
    settings = made["settings"]
    assert "count" not in re.findall(r"^  (\w+) +=", settings, re.MULTILINE)
    assert "listKeys" not in settings
    assert "replace_triggered_by = [azurerm_function_app_flex_consumption.ebb]" in settings
    assert f"replace_triggered_by = [{arm}.settings]" in made["restart"]
    assert re.search(r'create_duration += "60s"', made["restart"])
    assert f"replace_triggered_by = [{arm}.settings]" in made["callback"]
    assert "depends_on = [time_sleep.restart]" in made["callback"]
    assert f"depends_on = [{arm}.callback]" in made["action_group"]


def test_a_template_that_asks_for_keys_follows_the_one_that_does_not() -> None:
    """Whatever asks a host for keys waits until its settings are whole."""
    asking = [name for name, body in blocks(ALL, "resource").items() if "listKeys" in body]
    waiting = [name for name in asking if "depends_on" in blocks(ALL, "resource")[name]]
    assert asking == waiting == ["callback"]
    assert "listKeys" in ALL.partition("alerts_address")[2].partition("\n")[0]


def test_an_accounts_private_endpoint_waits_for_its_roles() -> None:
    """The account takes one change at a time, and azurerm's own locks differ for the two."""
    endpoint = re.search(
        r'^resource "azurerm_private_endpoint" "ebb" \{\n(.*?)^\}', ALL, re.MULTILINE | re.DOTALL
    )
    assert endpoint is not None
    for who in ("app", "factory"):
        assert f"azurerm_cosmosdb_sql_role_assignment.{who}," in endpoint[1]


def test_both_serve_several_http_calls_at_once_and_keep_an_instance_warm() -> None:
    """Azure starts Python with one call at a time, and from zero."""
    bicep = (INFRA / "modules" / "app.bicep").read_text(encoding="utf-8")
    terraform = (INFRA / "terraform" / "app.tf").read_text(encoding="utf-8")
    assert "perInstanceConcurrency: 8" in bicep
    assert re.search(r"http_concurrency += 8\b", terraform)
    assert re.search(r"name: 'http'\s+instanceCount: httpInstances", bicep)
    assert re.search(r'name += "http"\s+instance_count = always_ready.value', terraform)
