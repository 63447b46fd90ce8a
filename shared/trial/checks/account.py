"""The account itself: which role sufficed, and that certificates are verified."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError
from azure.cosmos.exceptions import CosmosHttpResponseError

from shared.domain.notices import LOOPBACK
from shared.trial.findings import Finding, judged, skipped

CONTRIBUTOR = "00000000-0000-0000-0000-000000000002"  # Cosmos DB Built-in Data Contributor


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """How the account is entered."""

    endpoint: str
    roles: Callable[[], tuple[str, ...]]
    """The data roles of this identity, by the last part of their ids."""
    write_regions: tuple[int, Callable[[], int]]
    """How many there are, and how many the account's own document lists."""
    write_and_remove: Callable[[], None]
    """Creates, replaces and deletes one document."""
    make_database: Callable[[], object]
    """Tries to make a database with a data role."""
    connect: Callable[[str], object]
    """Opens a client for another address."""


def contributor(entry: Entry) -> Finding:
    """Built-in Data Contributor alone suffices to create, replace and delete."""
    roles = entry.roles()
    if roles != (CONTRIBUTOR,):
        held = ", ".join(roles) or "none given to it directly (perhaps to a group)"
        return skipped(f"this identity's data roles are: {held}; it needs Data Contributor alone")
    entry.write_and_remove()
    return judged(expected="create, replace and delete succeed", seen="they succeeded", holds=True)


def no_management(entry: Entry) -> Finding:
    """A token makes no database in the data plane, whatever its roles: 403 with substatus 5300."""
    try:
        entry.make_database()
    except CosmosHttpResponseError as error:
        seen = f"{error.status_code}/{error.sub_status or 0}"
        return judged(expected="403/5300", seen=seen, holds=seen == "403/5300")
    return judged(expected="403/5300", seen="a database", holds=False)


def write_regions(entry: Entry) -> Finding:
    """The account lists its write regions, by which retirement is gated."""
    known, listed = entry.write_regions[0], entry.write_regions[1]()
    return judged(
        expected=f"{known}, as Azure Resource Manager says", seen=str(listed), holds=listed == known
    )


def verified(entry: Entry) -> Finding:
    """The account under an address that its certificate does not name is refused."""
    parts = urlsplit(entry.endpoint)
    host = parts.hostname or ""
    if host in LOOPBACK:
        return skipped("azure-cosmos verifies no certificate on loopback")
    address = socket.getaddrinfo(host, parts.port or 443, socket.AF_INET)[0][4][0]
    try:
        entry.connect(f"https://{address}:{parts.port or 443}/")
    except (AzureError, OSError) as error:
        text = str(error)
        return judged(
            expected="a refused certificate",
            seen=" ".join(text.split())[:200],
            holds="certificate" in text.lower(),
        )
    return judged(expected="a refused certificate", seen="a connection", holds=False)


CHECKS: Mapping[str, Callable[[Entry], Finding]] = {
    "cosmos.contributor-role": contributor,
    "cosmos.tls": verified,
    "cosmos.no-management-by-token": no_management,
    "cosmos.write-regions": write_regions,
}
