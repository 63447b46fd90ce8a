"""Reads what the tests ask of infra/ out of Bicep and Terraform: no compiler, only the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

INFRA = Path(__file__).resolve().parents[2] / "infra"
BICEP = (INFRA / "main.bicep", *sorted((INFRA / "modules").glob("*.bicep")))
TERRAFORM = tuple(sorted((INFRA / "terraform").glob("*.tf")))
QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One `module` statement: who is called, with which parameters."""

    name: str
    path: str
    given: tuple[str, ...]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code(path: Path) -> str:
    """The file without its comments."""
    marker = "//" if path.suffix == ".bicep" else "#"
    return "\n".join(line for line in text(path).splitlines() if not _comment(line, marker))


def _comment(line: str, marker: str) -> bool:
    return line.strip().startswith(marker)


def parameters(bicep: str) -> dict[str, str]:
    """Each parameter with its default as it is written; the empty text where it has none."""
    found = re.findall(r"^param (\w+) \w+(?: = (.+(?:\n  .+)*(?:\n\])?))?", bicep, re.MULTILINE)
    return {name: re.sub(r"\s+", "", default) for name, default in found}


def outputs(bicep: str) -> list[str]:
    return re.findall(r"^output (\w+) ", bicep, re.MULTILINE)


def calls(bicep: str) -> list[Call]:
    """Every module statement of a file."""
    pattern = r"^module (\w+) '([^']+)' = .*?\{\n(.*?)^\}"
    return [
        Call(name=name, path=path, given=tuple(re.findall(r"^    (\w+):", body, re.MULTILINE)))
        for name, path, body in re.findall(pattern, bicep, re.MULTILINE | re.DOTALL)
    ]


def blocks(terraform: str, keyword: str) -> dict[str, str]:
    """The bodies of all blocks of one kind, by their last label."""
    pattern = rf'^{keyword}(?: "[\w-]+")*? "([\w-]+)" \{{\n(.*?)^\}}'
    return dict(re.findall(pattern, terraform, re.MULTILINE | re.DOTALL))


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])[A-Z]", lambda match: "_" + match[0].lower(), name)
