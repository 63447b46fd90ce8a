"""The Bicep fits together: what a compiler would say of names, files, parameters and outputs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.infra.templates import BICEP, INFRA, QUOTED, calls, code, outputs, parameters, text

MAIN = INFRA / "main.bicep"
KEYWORDS = {
    *("param", "var", "resource", "module", "output", "existing", "targetScope", "if", "for", "in"),
    *("string", "int", "bool", "array", "object", "true", "false", "null"),
}
FILES = pytest.mark.parametrize("path", BICEP, ids=lambda path: path.stem)


def _called(path: Path, module: str) -> tuple[set[str], set[str], set[str]]:
    """All parameters of a module, those without a default, and its outputs."""
    target = path.parent / module
    if target.suffix == ".json":
        content = json.loads(text(target))
        return set(content["parameters"]), set(content["parameters"]), set(content["outputs"])
    known = parameters(text(target))
    return (
        set(known),
        {name for name, default in known.items() if not default},
        set(outputs(text(target))),
    )


@FILES
def test_every_file_that_is_loaded_exists(path: Path) -> None:
    """Modules, the workbook and the factory's parts lie where their paths say."""
    loaded = re.findall(
        r"load\w+Content\('([^']+)'\)|^module \w+ '([^']+)'", text(path), re.MULTILINE
    )
    names = [first or second for first, second in loaded]
    assert [name for name in names if not (path.parent / name).is_file()] == []


def test_the_factory_gets_every_part_of_its_folder() -> None:
    """A part that is added to infra/adf is deployed by both, or this fails."""
    parts = {path.stem for path in (INFRA / "adf").rglob("*.json")}
    bicep = text(INFRA / "modules" / "pipeline.bicep")
    terraform = text(INFRA / "terraform" / "factory.tf")
    assert parts != set()
    assert {part for part in parts if f"/{part}.json'" not in bicep} == set()
    assert {part for part in parts if not re.search(rf'{part}(\.json)?"', terraform)} == set()


@FILES
def test_every_module_gets_what_it_takes(path: Path) -> None:
    """No parameter is missing, and none is given that the module does not know."""
    faults = []
    for call in calls(text(path)):
        takes, needs, _ = _called(path, call.path)
        faults += [f"{call.name} needs {name}" for name in sorted(needs - set(call.given))]
        faults += [f"{call.name} takes no {name}" for name in sorted(set(call.given) - takes)]
    assert faults == []


def test_every_output_that_is_used_exists() -> None:
    """A misspelled output would be found only while deploying."""
    content = text(MAIN)
    known = {call.name: _called(MAIN, call.path)[2] for call in calls(content)}
    used = set(re.findall(r"\b(\w+)!?\.outputs\.(\w+)", content))
    assert used != set()
    assert sorted(f"{name}.{part}" for name, part in used if part not in known[name]) == []


@FILES
def test_every_parameter_is_used_and_described(path: Path) -> None:
    """A parameter without effect misleads, and one without description is guessed at."""
    content = text(path)
    names = list(parameters(content))
    idle = [name for name in names if len(re.findall(rf"\b{name}\b", code(path))) < 2]
    described = re.findall(
        r"@description\('.{3,}'\)\n(?:@.*\n(?: .*\n|\]\)\n)*)*param (\w+)", content
    )
    assert names != []
    assert idle == []
    assert sorted(set(names) - set(described)) == []


@FILES
def test_every_name_that_is_used_is_declared(path: Path) -> None:
    """A name is a parameter, a variable, a resource, a module, an output or a loop's own."""
    content = code(path)
    declared = set(
        re.findall(r"^(?:param|var|resource|module|output) (\w+)", content, re.MULTILINE)
    )
    loops = re.findall(r"for \(?(\w+)(?:, (\w+)\))?", content)
    declared |= {name for pair in loops for name in pair}
    inside = " ".join(re.findall(r"\$\{([^}]*)\}", content)) + "\n" + QUOTED.sub("''", content)
    used = set(re.findall(r"(?<![\w.])([a-zA-Z_]\w*)(?![\w(:])", QUOTED.sub("''", inside)))
    assert sorted(used - declared - KEYWORDS) == []


def test_azd_gives_every_parameter_that_has_no_default() -> None:
    """`azd up` asks for nothing that its file of parameters could have told it."""
    given = json.loads(text(INFRA / "main.parameters.json"))["parameters"]
    known = parameters(text(MAIN))
    assert sorted(set(given) - set(known)) == []
    assert (
        sorted(name for name, default in known.items() if not default and name not in given) == []
    )


def test_azds_own_defaults_are_those_of_the_template() -> None:
    """A deployment by azd and one by `az deployment` differ in nothing that nobody asked for."""
    given = json.loads(text(INFRA / "main.parameters.json"))["parameters"]
    known = parameters(text(MAIN))
    differing = []
    for name, entry in given.items():
        value = entry["value"]
        default = re.sub(r"^\$\{\w+=(.*)\}$", r"\1", str(value))
        written = default.replace(" ", "").replace('"', "'")
        if known[name] and written != known[name].removeprefix("''"):
            differing.append(f"{name}: {written}, not {known[name]}")
    assert differing == []


def test_azd_finds_the_app_by_its_tag() -> None:
    """The service of azure.yaml, the tag and the environment's tag belong together."""
    azure = text(INFRA.parent / "azure.yaml")
    service = re.search(r"^services:\n  (\w+):", azure, re.MULTILINE)
    assert service is not None
    for name in ("modules/app.bicep", "terraform/app.tf"):
        assert re.search(rf"azd-service-name.{{1,5}}['\"]{service[1]}['\"]", text(INFRA / name))
    assert "'azd-env-name': environmentName" in text(MAIN)
    assert "EBB_FETCH_FUNCTION_KEY" in azure


def test_the_workflow_hands_over_every_variable_that_azd_takes() -> None:
    """One left out would be deployed with its default: private networking would be opened."""
    taken = re.findall(r"\$\{(\w+)(?:=([^}]*))?\}", text(INFRA / "main.parameters.json"))
    workflow = text(INFRA.parent / ".github" / "workflows" / "deploy.yml")
    given = dict(re.findall(r"^      (\w+): \$\{\{ (.+) \}\}$", workflow, re.MULTILINE))
    assert sorted({name for name, _ in taken} - set(given)) == []
    switches = {name: default for name, default in taken if default in {"true", "false"}}
    assert {name: given[name].rpartition(" || ")[2] for name in switches} == {
        name: f"'{default}'" for name, default in switches.items()
    }


def test_an_azd_that_would_remove_the_accounts_group_is_refused() -> None:
    """Before 1.24.1 `azd down` took every group that a deployment wrote to."""
    told = yaml.safe_load(text(INFRA.parent / "azure.yaml"))
    assert told["requiredVersions"] == {"azd": ">= 1.24.1"}


def test_a_budgets_first_month_is_handed_in_again() -> None:
    """Azure moves it never, and a month later `utcNow` tells another."""
    given = json.loads(text(INFRA / "main.parameters.json"))["parameters"]
    assert given["budgetStartDate"]["value"] == "${EBB_BUDGET_START_DATE=}"
    assert "output EBB_BUDGET_START_DATE string = budgetFrom" in text(MAIN)


def test_flex_consumption_is_given_no_setting_of_the_site_that_it_refuses() -> None:
    """The whole deployment would fail by it."""
    assert "ftpsState" not in text(INFRA / "modules" / "app.bicep")


def test_nobody_is_woken_before_there_is_code() -> None:
    """Between the first provisioning and the publishing nothing can decide: no heartbeat yet."""
    heartbeat = text(INFRA / "modules" / "alerts.bicep").partition("resource heartbeat")[2]
    assert "enabled: fetchFunctionKey" in heartbeat.partition("criteria")[0]
    terraform = text(INFRA / "terraform" / "alerts.tf").partition('" "heartbeat" {')[2]
    assert re.search(r"enabled += var.fetch_function_key", terraform)


def test_versions_of_staged_blobs_go_after_a_day() -> None:
    """They are paid for as the archive is, and nobody wants them back."""
    rule = text(INFRA / "modules" / "storage.bicep").partition("name: 'staging-is-forgotten'")[2]
    assert "prefixMatch: stagingPrefixes" in rule
    assert "daysAfterCreationGreaterThan: 1" in rule
    assert "baseBlob" not in rule.partition("]\n      }")[0].partition("actions:")[2]
    terraform = text(INFRA / "terraform" / "storage.tf").partition('"staging-is-forgotten"')[2]
    assert "prefix_match = local.staging_prefixes" in terraform
    assert "base_blob" not in terraform.partition("\n  }\n}")[0]


def test_settings_are_written_after_the_alerts_have_their_key() -> None:
    """Writing them restarts the host, and a host that restarts gives no keys."""
    content = text(MAIN)
    settings = re.search(r"^module settings (.*?)^\}", content, re.MULTILINE | re.DOTALL)
    alerts = re.search(r"^module alerts (.*?)^\}", content, re.MULTILINE | re.DOTALL)
    assert settings is not None
    assert alerts is not None
    assert re.search(r"dependsOn: \[\s+alerts\s+\]", settings[1])
    assert "settings" not in alerts[1]
    assert "Microsoft.Web/sites/config" not in text(INFRA / "modules" / "app.bicep")


def test_no_output_of_a_module_that_may_be_missing_is_read_unguarded() -> None:
    """Bicep warns (BCP318): such a module is null where its condition does not hold."""
    content = code(MAIN)
    conditional = re.findall(r"^module (\w+) '[^']+' = if", content, re.MULTILINE)
    assert {"network", "dns", "factory"} <= set(conditional)
    bare = re.findall(rf"\b(?:{'|'.join(conditional)})\.outputs\.\w+", content)
    assert bare == []
    unguarded = [line for line in content.splitlines() if "!.outputs" in line and " ? " not in line]
    assert unguarded == []


def _second_provisioning(folder: Path, failures: int, **given: str) -> tuple[int, list[str]]:
    """What azd's hook does in a shell whose azd fails so many times, and whose sleep is quick."""
    told = folder / "told"
    told.touch()
    for name, body in {
        "azd": '[ "$1" = env ] || [ "$(grep -c provision "$TOLD")" -gt "$FAILURES" ]',
        "sleep": "true",
    }.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "$TOLD"\n{body}\n', encoding="utf-8")
        program.chmod(0o755)
    hook = yaml.safe_load(text(INFRA.parent / "azure.yaml"))["hooks"]["postdeploy"]["posix"]
    done = subprocess.run(
        ["/bin/sh", "-c", hook["run"]],
        env={
            "PATH": f"{folder}:{os.environ['PATH']}",
            "TOLD": str(told),
            "FAILURES": str(failures),
            **given,
        },
        capture_output=True,
        check=False,
    )
    return done.returncode, told.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("failures", "status", "tries", "waits"), [(0, 0, 1, 0), (2, 0, 3, 2), (3, 1, 3, 2)]
)
def test_a_second_provisioning_that_meets_a_restarting_host_is_tried_again(
    tmp_path: Path, failures: int, status: int, tries: int, waits: int
) -> None:
    """Azure answers listKeys with InternalServerError at times: three tries, a minute apart."""
    done, told = _second_provisioning(tmp_path, failures)
    assert done == status
    assert told.count("azd provision --no-prompt") == tries
    assert told.count("sleep 60") == waits


def test_an_app_that_has_its_key_is_not_provisioned_twice(tmp_path: Path) -> None:
    """Only the first deployment needs it."""
    done, told = _second_provisioning(tmp_path, 0, EBB_FETCH_FUNCTION_KEY="true")
    assert (done, told) == (0, [])


def test_windows_tries_the_second_provisioning_as_often() -> None:
    """The same hook in PowerShell: three tries, a minute apart, and an error at the end."""
    hook = yaml.safe_load(text(INFRA.parent / "azure.yaml"))["hooks"]["postdeploy"]["windows"]
    assert "foreach ($attempt in 1..3)" in hook["run"]
    assert "Start-Sleep -Seconds 60" in hook["run"]
    assert hook["run"].rstrip().endswith("exit 1")
