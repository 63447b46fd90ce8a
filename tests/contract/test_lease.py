"""The lease's promises: one holder, growing numbers, and an end of its own."""

from __future__ import annotations

import time

import pytest
from azure.storage.blob import BlobServiceClient

from shared.adapters.lease import BlobLease
from shared.adapters.memory import MemoryClock, MemoryLease
from shared.errors import PermanentError
from shared.ports import Held, Lease
from tests.contract.rooms import LEASE_S, AzuriteRooms, Clients, Rooms, raced, unique

GRACE_S = 1.0  # Azurite looks at leases when it is next asked, to the second


def taken(lease: Lease) -> Held:
    held = lease.acquire()
    assert held is not None
    return held


@pytest.fixture(scope="session")
def abandoned(clients: Clients) -> tuple[BlobLease, Held, float]:
    """Taken first of all and looked at last, so that its end need not be waited for in full."""
    lease = AzuriteRooms(clients).lease()
    assert isinstance(lease, BlobLease)
    return lease, taken(lease), time.monotonic()


@pytest.mark.node
def test_an_abandoned_lease_is_running(abandoned: tuple[BlobLease, Held, float]) -> None:
    """Nobody else gets it while it runs."""
    lease, _, _ = abandoned
    assert lease.acquire() is None


def test_a_lease_has_one_holder(rooms: Rooms) -> None:
    """A second one is told that somebody else holds it."""
    lease = rooms.lease()
    held = taken(lease)
    assert lease.acquire() is None
    lease.release(held)
    assert lease.acquire() is not None


def test_every_holder_gets_a_greater_number(rooms: Rooms) -> None:
    """So that a late one can be told from the present one."""
    lease = rooms.lease()
    tokens = []
    for _ in range(4):
        held = taken(lease)
        tokens.append(held.token)
        lease.release(held)
    assert [token - tokens[0] for token in tokens] == [0, 1, 2, 3]


def test_of_racing_controllers_exactly_one_gets_the_lease(rooms: Rooms) -> None:
    """Sixteen at once, on a lease that nobody ever held."""
    lease = rooms.lease()
    outcomes = raced(lambda _: lease.acquire())
    assert sum(isinstance(one, Held) for one in outcomes) == 1
    assert [one for one in outcomes if not isinstance(one, Held)] == [None] * 15


def test_a_lease_is_renewed_by_its_holder_alone(rooms: Rooms) -> None:
    """Who gave it back, or slept through it, learns that it is gone."""
    lease = rooms.lease()
    first = taken(lease)
    assert lease.renew(first)
    assert lease.acquire() is None
    lease.release(first)
    assert not lease.renew(first)
    second = taken(lease)
    assert not lease.renew(first)
    assert lease.renew(second)


def test_giving_back_twice_is_no_error(rooms: Rooms) -> None:
    """And it does not take the lease from the next holder."""
    lease = rooms.lease()
    first = taken(lease)
    lease.release(first)
    lease.release(first)
    taken(lease)
    lease.release(first)
    assert lease.acquire() is None


def test_a_lease_in_memory_runs_out_on_its_clock() -> None:
    """Its last second is held, the next is not."""
    clock = MemoryClock()
    lease = MemoryLease(clock, duration_s=LEASE_S)
    first = taken(lease)
    clock.advance(LEASE_S - 0.1)
    assert lease.acquire() is None
    clock.advance(0.2)
    second = taken(lease)
    assert second.token > first.token
    assert not lease.renew(first)
    lease.release(first)
    assert lease.acquire() is None


@pytest.mark.node
def test_a_lease_whose_blob_lost_its_number_is_refused(azurite: AzuriteRooms) -> None:
    """Counting from the start again would make old holders look new."""
    service: BlobServiceClient = azurite.clients.blobs
    container = unique("control-")
    lease = BlobLease(service, account="a", container=container)
    lease.release(taken(lease))
    service.get_blob_client(container, "controller-a").set_blob_metadata({})
    for _ in range(2):
        with pytest.raises(PermanentError, match="no number"):
            lease.acquire()


@pytest.mark.node
def test_a_lease_whose_blob_was_lost_goes_on_above_its_numbers(
    azurite: AzuriteRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board that was written under the old numbers takes the next holder's word."""
    service, container = azurite.clients.blobs, unique("control-")
    monkeypatch.setattr(time, "time", lambda: 1_000.5)
    lease = BlobLease(service, account="a", container=container)
    for _ in range(3):
        last = taken(lease)
        lease.release(last)
    service.get_blob_client(container, "controller-a").delete_blob()
    monkeypatch.setattr(time, "time", lambda: 1_090.5)  # three ticks later
    assert taken(lease).token > last.token


@pytest.mark.node
def test_a_lease_has_the_services_own_bounds(azurite: AzuriteRooms) -> None:
    """Anything else is refused before any call."""
    for duration_s in (14, 61, -1):
        with pytest.raises(ValueError, match="15 to 60"):
            BlobLease(azurite.clients.blobs, account="a", duration_s=duration_s)


@pytest.mark.node
def test_a_lease_nobody_gives_back_runs_out(abandoned: tuple[BlobLease, Held, float]) -> None:
    """Its dead holder's number is the smaller one, and its giving back late harms nobody."""
    lease, first, since = abandoned
    time.sleep(max(0.0, since + LEASE_S + GRACE_S - time.monotonic()))
    second = taken(lease)
    assert second.token > first.token
    lease.release(first)
    assert lease.acquire() is None
