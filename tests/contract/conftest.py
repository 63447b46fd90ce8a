"""Starts one Azurite for the whole suite and gives every test both houses in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.azurite import start_azurite
from sandbox.cosmos.headers import garbled_headers
from sandbox.processes import Processes, find_node_modules
from tests.contract.rooms import AzuriteRooms, Clients, MemoryRooms, Rooms

HERE = Path(__file__).parent
FIRST = "test_an_abandoned_lease_is_running"
LAST = "test_a_lease_nobody_gives_back_runs_out"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The abandoned lease runs out while the rest of the suite runs."""
    ours = [place for place, item in enumerate(items) if item.path.parent == HERE]
    order = sorted(ours, key=lambda place: _turn(items[place].name))
    for place, item in zip(ours, [items[place] for place in order], strict=True):
        items[place] = item


def _turn(name: str) -> int:
    return {FIRST: 0, LAST: 2}.get(name, 1)


@pytest.fixture(autouse=True)
def _another_threads_headers() -> Iterator[None]:
    """No test may rely on the headers that all threads of a Cosmos client share."""
    with garbled_headers():
        yield


@pytest.fixture(scope="session")
def connection_string() -> Iterator[str]:
    with Processes() as processes:
        yield start_azurite(processes, find_node_modules()).connection_string


@pytest.fixture(scope="session")
def clients(connection_string: str) -> Iterator[Clients]:
    clients = Clients.connect(connection_string)
    yield clients
    clients.close()


@pytest.fixture(params=["memory", pytest.param("azurite", marks=pytest.mark.node)])
def rooms(request: pytest.FixtureRequest) -> Rooms:
    if request.param == "memory":
        return MemoryRooms()
    return AzuriteRooms(request.getfixturevalue("clients"))


@pytest.fixture
def azurite(clients: Clients) -> Iterator[AzuriteRooms]:
    """Only the real one, with its wires clean before and after."""
    yield AzuriteRooms(clients)
    for wire in (clients.table_wire, clients.blob_wire):
        wire.lose_replies_to = None
        wire.forbidden = None
        wire.copy_statuses.clear()
