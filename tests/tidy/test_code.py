"""What every module and every test of this repository keeps to, read from their syntax trees."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

Modules = dict[Path, ast.Module]
Function = ast.FunctionDef | ast.AsyncFunctionDef

FUNCTION_LINES_MAX = 60  # one screen
NAME_WORDS_MIN = 4  # "test" and three more: fewer cannot say what holds

# Only a composition root and a command line may look at the environment.
ENVIRONMENT_READERS = {Path("shared/wiring.py"), Path("shared/cli.py")}
ENVIRONMENT_ROOMS = {"sandbox", "bench"}
ENVIRONMENT_NAMES = {"environ", "environb", "getenv", "getenvb"}

# function_app.py may reach these rooms; everything else goes through wiring.
TRIGGER_DOORS = ("shared.wiring", "shared.faces", "shared.errors", "shared.ports", "shared.domain")
NOT_DEPLOYED = ("sandbox", "bench", "tests", "tools")


def _functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _tests(tree: ast.Module) -> Iterator[Function]:
    return (function for function in _functions(tree) if function.name.startswith("test_"))


def _at(path: Path, node: ast.expr | ast.stmt) -> str:
    return f"{path}:{node.lineno}"


def _imported(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _reads_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return (
            isinstance(node.value, ast.Name)
            and node.value.id == "os"
            and node.attr in ENVIRONMENT_NAMES
        )
    if isinstance(node, ast.ImportFrom) and node.module == "os":
        return any(alias.name in ENVIRONMENT_NAMES for alias in node.names)
    return False


def test_nothing_in_the_house_prints(modules: Modules) -> None:
    """Results go through a console or a stream someone chose, and events through the log."""
    prints = [
        _at(path, node)
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"print", "pprint", "breakpoint"}
    ]
    assert prints == []


def test_only_wiring_and_the_terminal_read_the_environment(modules: Modules) -> None:
    """A decision that reads the environment cannot be tested or explained."""
    reads = [
        _at(path, node)
        for path, tree in modules.items()
        if path not in ENVIRONMENT_READERS and path.parts[0] not in ENVIRONMENT_ROOMS
        for node in ast.walk(tree)
        if isinstance(node, ast.expr | ast.stmt) and _reads_environment(node)
    ]
    assert reads == []


def test_every_module_opens_with_a_sentence(modules: Modules, suites: Modules) -> None:
    """A module says first what it decides or touches."""
    silent = [str(path) for path, tree in (modules | suites).items() if not ast.get_docstring(tree)]
    assert silent == []


def test_no_function_outgrows_one_screen(modules: Modules, suites: Modules) -> None:
    """What cannot be seen whole cannot be reviewed."""
    long = [
        f"{_at(path, function)} {function.name}: {lines} lines"
        for path, tree in (modules | suites).items()
        for function in _functions(tree)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_nothing_is_left_to_be_implemented(modules: Modules) -> None:
    """A stub that raises is a promise the code does not keep."""
    stubs = [
        _at(path, node)
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]
    assert stubs == []


def test_every_test_is_named_by_a_sentence(suites: Modules) -> None:
    """A failing test's name alone tells what no longer holds."""
    short = [
        f"{_at(path, test)} {test.name}"
        for path, tree in suites.items()
        for test in _tests(tree)
        if len(test.name.split("_")) < NAME_WORDS_MIN
    ]
    assert short == []


def test_every_test_carries_one_line_that_says_why(suites: Modules) -> None:
    """The docstring is one sentence on one line, ended."""
    bare = []
    for path, tree in suites.items():
        for test in _tests(tree):
            sentence = ast.get_docstring(test) or ""
            if not sentence or "\n" in sentence or sentence[-1] not in ".!?":
                bare.append(f"{_at(path, test)} {test.name}")
    assert bare == []


def test_every_border_that_the_bench_times_is_there() -> None:
    """It wraps functions by name, and a renamed one would end a benchmark after an hour."""
    from bench.stages import watched

    with watched("copy") as stages:
        assert stages.rows() == []


def test_triggers_go_through_wiring(modules: Modules) -> None:
    """function_app.py reaches no adapter, no application room and nothing that is not deployed."""
    tree = modules[Path("function_app.py")]
    wrong = [
        f"{name} (line {node.lineno})"
        for name, node in _imported(tree)
        if any(_within(name, package) for package in NOT_DEPLOYED)
        or (_within(name, "shared") and not any(_within(name, door) for door in TRIGGER_DOORS))
    ]
    assert wrong == []


def test_doors_open_downwards_only(house: Path) -> None:
    """The layers in pyproject.toml hold for every import."""
    checker = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [checker, "--config", "pyproject.toml", "--no-cache", "--no-logo"],
        cwd=house,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
