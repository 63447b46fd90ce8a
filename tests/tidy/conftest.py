"""What the tidy tests look at: this repository's own files, parsed once."""

import ast
import subprocess
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
ROOMS = ("shared", "sandbox", "bench", "tools")


@pytest.fixture(scope="session")
def house() -> Path:
    """The repository's top folder."""
    return HOUSE


@pytest.fixture(scope="session")
def committed() -> list[Path]:
    """Every file that git keeps or is about to keep, relative to the top folder."""
    if not (HOUSE / ".git").exists():
        pytest.skip("not a git work tree, so nothing says which files are kept")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted(Path(name) for name in listing.split("\0") if name and (HOUSE / name).is_file())


@pytest.fixture(scope="session")
def texts(committed: list[Path]) -> dict[Path, str]:
    """The committed files that are text, with what they say."""
    found = {}
    for path in committed:
        try:
            found[path] = (HOUSE / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


@pytest.fixture(scope="session")
def modules() -> dict[Path, ast.Module]:
    """Every module of the product, the sandbox, the bench and the tools, parsed."""
    paths = [HOUSE / "function_app.py"]
    for room in ROOMS:
        paths += (HOUSE / room).rglob("*.py")
    return {path.relative_to(HOUSE): _parsed(path) for path in sorted(paths) if path.is_file()}


@pytest.fixture(scope="session")
def suites() -> dict[Path, ast.Module]:
    """Every module under tests/, parsed."""
    paths = sorted((HOUSE / "tests").rglob("*.py"))
    return {path.relative_to(HOUSE): _parsed(path) for path in paths}


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
