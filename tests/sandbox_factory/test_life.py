"""What a sandbox tells about its factory, and what the factory needs."""

import pytest

from sandbox.errors import SandboxError
from sandbox.factory.conduct import Conduct
from sandbox.stage import FACTORY_RESOURCE_ID, SandboxOptions, start_sandbox
from tests.sandbox_factory.bench import Bench

pytestmark = pytest.mark.node


def test_the_settings_name_the_factory(bench: Bench) -> None:
    """As a function app would be told of it."""
    assert bench.sandbox.settings()["EBB_FACTORY_RESOURCE_ID"] == FACTORY_RESOURCE_ID


def test_a_factory_needs_storage() -> None:
    """It has nowhere to write without."""
    options = SandboxOptions(factory=Conduct(), with_storage=False)
    with pytest.raises(SandboxError, match="needs storage"), start_sandbox(options):
        pytest.fail("it started")
