"""The order of the tests: what waits for servers begins first, so that nothing waits for it."""

from __future__ import annotations

import pytest

WAITING = ("tests/integration/", "tests/browser/", "tests/simulation/", "tests/trial/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(WAITING))
