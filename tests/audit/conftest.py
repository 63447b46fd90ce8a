"""Builds each shape of archive once and gives every test a copy of its own to harm."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.audit.archives import SHAPES
from tests.audit.forging import Forger


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Not to be written to."""
    return {name: build(tmp_path_factory.mktemp(name)) for name, build in SHAPES.items()}


@pytest.fixture
def folder(originals: dict[str, Path], tmp_path: Path) -> Path:
    """A plain, complete archive."""
    return Path(shutil.copytree(originals["plain"], tmp_path / "archive"))


@pytest.fixture
def rich(originals: dict[str, Path], tmp_path: Path) -> Path:
    """One with several ranges, parts of a second, hierarchical keys and odd values."""
    return Path(shutil.copytree(originals["rich"], tmp_path / "rich"))


@pytest.fixture
def cycles(originals: dict[str, Path], tmp_path: Path) -> Path:
    """Two complete cycles, and one document in both of them."""
    return Path(shutil.copytree(originals["cycles"], tmp_path / "cycles"))


@pytest.fixture
def forger(folder: Path) -> Forger:
    """Somebody with write access to the plain archive."""
    return Forger(folder)
