"""Running sandboxes for the tests of the sandbox itself; each is shared by the whole session."""

import warnings
from collections.abc import Iterator

import pytest

from sandbox.cosmos.account import History
from sandbox.stage import Sandbox, SandboxOptions, start_sandbox


@pytest.fixture(scope="session")
def one_partition() -> Iterator[Sandbox]:
    """One partition, Azurite, metrics without delay, and five minutes of life before."""
    options = SandboxOptions(lag_s=0, history=History(minutes=5, ru_per_s=1000))
    with start_sandbox(options) as running:
        yield running


@pytest.fixture(scope="session")
def four_partitions() -> Iterator[Sandbox]:
    """Four partitions and nothing else."""
    with start_sandbox(SandboxOptions(partitions=4, with_storage=False)) as running:
        yield running


@pytest.fixture
def sandbox(one_partition: Sandbox) -> Iterator[Sandbox]:
    """The one-partition sandbox with a plentiful limit, no debts and no faults."""
    with warnings.catch_warnings():
        # The SDK never verifies a certificate on 127.0.0.1 and urllib3 says so at each request.
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        one_partition.admin.clear_faults()
        one_partition.admin.set_limit(1_000_000)
        yield one_partition
        one_partition.admin.clear_faults()


@pytest.fixture
def wide(four_partitions: Sandbox) -> Iterator[Sandbox]:
    """The four-partition sandbox with a plentiful limit."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")
        four_partitions.admin.set_limit(1_000_000)
        yield four_partitions
