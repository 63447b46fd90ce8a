"""What the committed files may say, what is pinned and what is deployed."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

Texts = dict[Path, str]

# Spelled in pieces, so that this file does not hold what it looks for.
PRIVATE = re.compile(
    "|".join(
        (
            r"\b(?:pypi|pythonhosted|npmjs)" + r"\.(?:org|com)\b",
            r"\bregistry" + r"\.yarnpkg\b",
            r"--(?:extra-)?" + r"index-url",
            r"(?<![\w.}-])/" + r"work/",
            r"(?<![\w.}-])/" + r"root/",
            r"\.\./" + r"shared\b",
            r"file:" + r"//",
        )
    )
)
NAMED_TEST = re.compile(r"`(?:tests/)?((?:\w+/)*test_\w+\.py|…)(?:::(test_\w+))?`")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|^(?:<{7}|>{7}) ")

DEPLOYED = {"function_app.py", "host.json", "requirements.txt", "shared"}


def _found(pattern: re.Pattern[str], texts: Texts) -> list[str]:
    return [
        f"{path}:{number}: {match[0]}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if (match := pattern.search(line))
    ]


def _patterns(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_no_file_names_a_registry_or_a_path_of_one_machine(texts: Texts) -> None:
    """The repository builds wherever the ordinary clients are set up."""
    assert _found(PRIVATE, texts) == []


def test_no_file_says_that_something_is_yet_to_be_done(texts: Texts) -> None:
    """What is missing stands in an issue, not in a comment."""
    assert _found(UNFINISHED, texts) == []


def test_every_test_that_a_page_names_exists(texts: Texts) -> None:
    """A promise whose test was renamed is a promise that nobody keeps any more."""
    tests = {str(path.relative_to("tests")): text for path, text in texts.items() if _in(path)}
    lost = []
    for path, text in texts.items():
        file = ""
        for name, test in NAMED_TEST.findall(text) if path.suffix == ".md" else ():
            file = file if name == "…" else name
            if file not in tests or (test and f"def {test}(" not in tests[file]):
                lost.append(f"{path}: {file}::{test}")
    assert lost == []


def _in(path: Path) -> bool:
    return path.parts[0] == "tests" and path.suffix == ".py"


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "infra/requirements.txt"]
)
def test_every_python_requirement_is_pinned_with_its_hashes(house: Path, name: str) -> None:
    """Two machines set up a year apart run the same code, whatever an index serves that day."""
    text = (house / name).read_text(encoding="utf-8")
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    entries = [each.split() for each in plain.replace("\\\n", " ").splitlines() if each.strip()]
    assert entries
    loose = [each[0] for each in entries if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", each[0])]
    assert loose == []
    bare = [
        each[0]
        for each in entries
        if not any(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", word) for word in each)
    ]
    assert bare == []


def test_every_action_of_a_workflow_is_pinned_by_its_commit(house: Path) -> None:
    """A tag can be moved, and this workflow may give roles in a subscription."""
    used = [
        line.split("uses:", 1)[1].strip()
        for path in sorted((house / ".github/workflows").glob("*.yml"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    assert used
    assert [each for each in used if not re.fullmatch(r"\S+@[0-9a-f]{40} # v[\d.]+", each)] == []


def test_every_node_package_is_pinned_and_tied_to_no_address(house: Path) -> None:
    """The lock holds versions and hashes only."""
    wanted = json.loads((house / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    lock = json.loads((house / "package-lock.json").read_text(encoding="utf-8"))
    packages = {path: entry for path, entry in lock["packages"].items() if path}
    assert all(re.fullmatch(r"[\d.]+", version) for version in wanted.values())
    assert [path for path, entry in packages.items() if "resolved" in entry] == []
    assert [path for path, entry in packages.items() if "integrity" not in entry] == []


def test_every_lint_exception_has_its_reason_beside_it(house: Path) -> None:
    """A rule is switched off only by someone who can say why."""
    text = (house / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    excused = [lint["ignore"], *lint["per-file-ignores"].values()]
    listed = [code for codes in excused for code in codes]
    reasoned = re.findall(r'^ +"([A-Z]+\d*)", +# \S.+$', text, flags=re.MULTILINE)
    assert sorted(listed) == sorted(reasoned)


def test_only_what_runs_in_azure_is_deployed(house: Path, committed: list[Path]) -> None:
    """Everything at the top is either deployed or named in .funcignore."""
    patterns = _patterns(house / ".funcignore")
    top = {path.parts[0] for path in committed}
    sent = {name for name in top if not any(fnmatch(name, pattern) for pattern in patterns)}
    assert sent <= DEPLOYED


def test_nothing_that_runs_in_azure_is_left_behind(house: Path, committed: list[Path]) -> None:
    """No pattern of .funcignore matches a part of the app, whole or by its beginning."""
    patterns = _patterns(house / ".funcignore")
    lost = [
        f"{path} by {pattern}"
        for path in committed
        if path.parts[0] in DEPLOYED and path.suffix != ".md"
        for pattern in patterns
        if any(fnmatch(part, pattern) for part in path.parts)
        or fnmatch(path.parts[0], f"{pattern}*")
    ]
    assert lost == []
