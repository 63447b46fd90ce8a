"""Who may do what: each role is a known one at a known scope, and nothing secret is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.templates import BICEP, INFRA, TERRAFORM, blocks, code, text

# Microsoft's built-in roles, by the ids they have in every tenant.
BUILT_IN = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "43d0d8ad-25c7-4714-9337-8ba259a9fe05": "Monitoring Reader",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "73c42c96-874c-492b-b04d-ab87d138a893": "Log Analytics Reader",
    "673868aa-7521-48a0-acc6-0f60742d39f5": "Data Factory Contributor",
}

# Where each Bicep role assignment lies: nothing wider than one account, container, workspace.
GRANTED = {
    ("storage", "stateBlobRole"): ("Storage Blob Data Owner", "state"),
    ("storage", "stateQueueRole"): ("Storage Queue Data Contributor", "state"),
    ("storage", "stateTableRole"): ("Storage Table Data Contributor", "state"),
    ("storage", "archiveRoles"): ("Storage Blob Data Contributor", "containers[index]"),
    ("storage", "factoryRoles"): ("Storage Blob Data Contributor", "containers[index]"),
    ("account", "metrics"): ("Monitoring Reader", "account"),
    ("monitoring", "publish"): ("Monitoring Metrics Publisher", "insights"),
    ("monitoring", "read"): ("Log Analytics Reader", "workspace"),
    ("factory", "order"): ("Data Factory Contributor", "factory"),
}
SQL = {
    "00000000-0000-0000-0000-000000000001": "dataReader",
    "00000000-0000-0000-0000-000000000002": "dataContributor",
}

GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SECRET = re.compile(r"key$|secret|password|connection_?string|token$|sas$", re.IGNORECASE)

# A yes or no about the key, never the key.
HARMLESS = {"fetchFunctionKey", "fetch_function_key"}

# Both storage accounts, the app, and what receives logs, in Bicep's and in Terraform's words.
CLOSED = {
    ("modules/storage.bicep", "allowSharedKeyAccess: false"): 2,
    ("modules/storage.bicep", "allowBlobPublicAccess: false"): 2,
    ("modules/storage.bicep", "allowCrossTenantReplication: false"): 2,
    ("modules/storage.bicep", "supportsHttpsTrafficOnly: true"): 2,
    ("modules/storage.bicep", "isVersioningEnabled: true"): 1,
    ("modules/app.bicep", "httpsOnly: true"): 1,
    ("modules/app.bicep", "allow: false"): 2,
    ("modules/monitoring.bicep", "isableLocalAuth: true"): 2,
    ("terraform/storage.tf", "shared_access_key_enabled = false"): 2,
    ("terraform/storage.tf", "allow_nested_items_to_be_public = false"): 2,
    ("terraform/storage.tf", "cross_tenant_replication_enabled = false"): 2,
    ("terraform/storage.tf", "https_traffic_only_enabled = true"): 2,
    ("terraform/storage.tf", "versioning_enabled = true"): 1,
    ("terraform/app.tf", "https_only = true"): 1,
    ("terraform/app.tf", "{ allow = false }"): 1,
    ("terraform/app.tf", "webdeploy_publish_basic_authentication_enabled = false"): 1,
    ("terraform/monitoring.tf", "local_authentication_enabled = false"): 1,
    ("terraform/monitoring.tf", "local_authentication_disabled = true"): 1,
}


def _assignments() -> Iterator[tuple[tuple[str, str], str, str]]:
    """Each role assignment of the Bicep: where it is written, its role, its scope."""
    pattern = r"^resource (\w+) 'Microsoft\.Authorization/roleAssignments@[\d-]+' = (.*?)^\}?\}\]?$"
    for path in BICEP:
        content = text(path)
        for name, body in re.findall(pattern, content, re.MULTILINE | re.DOTALL):
            scope = re.search(r"^  scope: (.+)$", body, re.MULTILINE)
            role = re.search(r"roleDefinitions', (?:roles\.)?(\w+)\)", body)
            assert scope is not None, f"{path.name}: {name} has no scope of its own"
            assert role is not None, f"{path.name}: {name} names its role otherwise"
            known = re.search(rf"\b{role[1]}(?: =|:) '({GUID})'", content)
            assert known is not None, f"{path.name}: {role[1]} has no id"
            yield (path.stem, name), BUILT_IN[known[1]], scope[1]


def test_every_role_is_a_known_one_at_its_own_scope() -> None:
    """A role at a wider scope, or another role, is seen here before it is given."""
    assert {at: (role, scope) for at, role, scope in _assignments()} == GRANTED


def test_no_id_is_written_that_is_no_known_role() -> None:
    """A mistyped id would give another right, or fail while deploying."""
    found = {guid for path in BICEP for guid in re.findall(f"'({GUID})'", text(path))}
    assert found == BUILT_IN.keys() | SQL.keys()


def test_terraform_gives_the_same_roles() -> None:
    """The same number of each, none of them on a resource group or a subscription."""
    content = "\n".join(map(code, TERRAFORM))
    assignments = re.findall(
        r'^resource "azurerm_role_assignment" "\w+" \{\n(.*?)^\}', content, re.MULTILINE | re.DOTALL
    )
    given = sorted(re.findall(r'role_definition_name = "(.+)"', "\n".join(assignments)))
    scopes = re.findall(r"^  scope += (.+)$", "\n".join(assignments), re.MULTILINE)
    assert given == sorted(role for role, _ in GRANTED.values())
    assert [scope for scope in scopes if "resource_group" in scope or "subscription" in scope] == []
    assert len(scopes) == len(given)


@pytest.mark.parametrize("path", [*BICEP, *TERRAFORM], ids=lambda path: path.name)
def test_every_role_has_its_reason_above_it(path: Path) -> None:
    """Who reads the template learns why, not only what."""
    lines = text(path).splitlines()
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r"resource .*(roleAssignments@|role_assignment\")", line)
        and "sqlRoleAssignments" not in line
        and not before.startswith(("//", "#"))
    ]
    assert bare == []


def test_writing_to_the_account_must_be_asked_for() -> None:
    """The app writes only with enableRetire, which is off; the factory never does."""
    bicep = text(INFRA / "modules" / "account.bicep")
    terraform = text(INFRA / "terraform" / "account.tf")
    for guid, name in SQL.items():
        assert f"var {name} = '{guid}'" in bicep
    assert bicep.count("enableRetire ? dataContributor : dataReader") == 1
    assert len(re.findall(r"\bdataContributor\b", bicep)) == 2
    assert len(re.findall(r"\blocal\.data_contributor\b", terraform)) == 1
    assert "var.enable_retire ? local.data_contributor : local.data_reader" in terraform
    assert "param enableRetire bool = false" in text(INFRA / "main.bicep")


def test_a_factory_reads_at_least_the_database_of_a_container() -> None:
    """It asks for the database's metadata first: with a container's scope each run is a 403."""
    bicep = text(INFRA / "modules" / "account.bicep")
    assert "var databases = [for path in scopes: path == '/' ? path : join(take(split(path" in bicep
    factory = bicep.partition("resource factoryData")[2]
    assert factory.partition("{")[0].count("for path in union(databases, [])") == 1
    terraform = blocks(code(INFRA / "terraform" / "account.tf"), "resource")
    assert "local.factory_scopes" in terraform["factory"]
    assert "local.role_scopes" in terraform["app"]


def test_what_touches_the_account_can_be_left_out() -> None:
    """Roles and diagnostic settings each hang on their switch; nothing else is made there."""
    bicep = code(INFRA / "modules" / "account.bicep")
    made = re.findall(r"^resource (\w+) '.*' = (.*)$", bicep, re.MULTILINE)
    assert {name: "if (" in start for name, start in made} == {
        "appData": True,
        "factoryData": True,
        "metrics": True,
        "diagnostics": True,
    }
    assert re.findall(r"^resource (\w+) .* existing", bicep, re.MULTILINE) == ["account"]
    terraform = blocks(code(INFRA / "terraform" / "account.tf"), "resource")
    assert all("count " in body or "for_each " in body for body in terraform.values())
    assert len(terraform) == 4


@pytest.mark.parametrize("path", [*BICEP, *TERRAFORM], ids=lambda path: path.name)
def test_no_parameter_or_output_is_a_secret(path: Path) -> None:
    """Parameters and outputs stay readable in the portal for ever."""
    content = code(path)
    names = re.findall(r"^(?:param|output) (\w+)", content, re.MULTILINE)
    names += re.findall(r'^(?:variable|output) "(\w+)"', content, re.MULTILINE)
    assert [name for name in names if SECRET.search(name) and name not in HARMLESS] == []
    outputs = re.findall(r"^output .*$", content, re.MULTILINE)
    assert [line for line in outputs if "listKeys" in line or "secure" in line] == []


def test_keys_are_fetched_only_where_they_are_used() -> None:
    """Keys of three functions go to the action group and the app's settings, nowhere else."""
    places = {path.name: text(path).count("listKeys(") for path in (*BICEP, *TERRAFORM)}
    assert {name: count for name, count in places.items() if count} == {
        "alerts.bicep": 1,
        "callback.bicep": 3,
        "alerts.tf": 1,
        "app.tf": 3,
    }


@pytest.mark.parametrize("path", [*BICEP, *TERRAFORM], ids=lambda path: path.name)
def test_no_key_that_opens_every_route_is_fetched(path: Path) -> None:
    """A Reader of the resource group sees the action group's key: it must open alerts alone."""
    assert "/host/default" not in text(path)
    functions = re.findall(r"/functions/(\w+)'", text(path))
    assert set(functions) <= {"alerts", "retirement_change", "slice_validate"}
    assert len(functions) == text(path).count("listKeys(")


def test_each_fetched_key_belongs_to_the_function_that_is_called_with_it() -> None:
    """A receiver with another function's key would be answered 401 for each alert."""
    named = re.findall(r"def (\w+)\(req:", text(INFRA.parent / "function_app.py"))
    assert {"alerts", "retirement_change", "slice_validate"} <= set(named)
    for path in (INFRA / "modules" / "callback.bicep", INFRA / "terraform" / "app.tf"):
        given = dict(re.findall(r"(EBB_\w+_KEY) *[:=].*/functions/(\w+)'", text(path)))
        assert given == {
            "EBB_ALERT_KEY": "alerts",
            "EBB_CALLBACK_KEY": "slice_validate",
            "EBB_OPERATOR_KEY": "retirement_change",
        }
    for path in (INFRA / "modules" / "alerts.bicep", INFRA / "terraform" / "alerts.tf"):
        assert re.search(r"/api/alerts\?code=.*/functions/alerts'", text(path))


@pytest.mark.parametrize(("place", "times"), CLOSED.items(), ids=str)
def test_doors_that_need_no_opening_are_shut(place: tuple[str, str], times: int) -> None:
    """No shared keys, no public blobs, no plain http, no passwords."""
    name, line = place
    content = re.sub(r" +", " ", code(INFRA / name))
    assert content.count(line) == times


def test_addresses_of_people_stand_in_no_deployments_history() -> None:
    """Templates and plain parameters stay readable there; only secure parameters do not."""
    callback = code(INFRA / "modules" / "callback.bicep")
    assert re.search(r"@secure\(\)\s+param settings object", callback)
    app = blocks(code(INFRA / "terraform" / "app.tf"), "resource")
    written = re.search(
        r"^  written = (.*?)^  \}\)", text(INFRA / "terraform" / "app.tf"), re.MULTILINE | re.DOTALL
    )
    assert written is not None
    assert "EBB_WEBHOOKS" in written[1]
    assert "var.webhooks" not in written[1]
    for name in ("settings", "callback"):
        content, _, given = app[name].partition("parameters_content")
        assert 'webhooks = { type = "securestring" }' in content
        assert "local.written" in content
        assert "var.webhooks" not in content
        assert "var.webhooks" in given


def test_who_deploys_by_a_workflow_may_give_only_the_roles_that_ebb_gives() -> None:
    """The condition of docs/deploy.md names them all, and no other."""
    told = re.search(r"^ROLES=(.+)$", text(INFRA.parent / "docs" / "deploy.md"), re.MULTILINE)
    assert told is not None
    assert set(told[1].split(",")) == set(BUILT_IN)
