"""Cosmos DB: hierarchical partition keys, unique keys and sessions."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azure.cosmos import ContainerProxy

from shared.adapters.cosmos import CosmosSource
from shared.trial.checks.asking import asked
from shared.trial.findings import Finding, judged, skipped

ABSENT, EXISTS, BEHIND, OWNER = 404, 409, 1002, 1003
SESSION, SUBSTATUS = "x-ms-session-token", "x-ms-substatus"
FUTURE = 1_000_000_000
TTL_S, TTL_WAIT_S = 2, 10.0
READS = 20
MISSING, NULL = '["x",{}]', '["x",null]'


@dataclass(frozen=True, slots=True, kw_only=True)
class Doomed:
    """A container that its check removes."""

    container: ContainerProxy
    remove: Callable[[], None]


def missing_part(levels: CosmosSource) -> Finding:
    """A part that a document lacks is `{}`, and is another key than null."""
    levels.create((MISSING, "part"), {"id": "part", "a": "x"})
    levels.create((NULL, "part"), {"id": "part", "a": "x", "b": None})
    lacking = levels.find((MISSING, "part")).document
    null = levels.find((NULL, "part")).document
    return judged(
        expected="two documents of one id: one without the part, one with null",
        seen=f"{_shown(lacking)} and {_shown(null)}",
        holds=lacking is not None and "b" not in lacking and null is not None and "b" in null,
    )


def ranges_on_partitions(levels: CosmosSource) -> Finding:
    """Also with hierarchical keys each feed range lies on one partition."""
    found = levels.partitions_of(levels.ranges())
    return judged(
        expected="one partition for each range",
        seen=", ".join(f"{name}: {' '.join(each) or 'none'}" for name, each in found.items()),
        holds=bool(found) and all(len(each) == 1 for each in found.values()),
    )


def unique_key(unique: ContainerProxy) -> Finding:
    """A create that violates a unique key is answered 409, though its id is not there."""
    unique.upsert_item({"id": "first", "pk": "one", "u": "taken"})
    other = {"id": "second", "pk": "one", "u": "taken"}
    answer = asked(lambda **told: unique.create_item(other, **told))
    stored = asked(lambda **told: unique.read_item("second", "one", **told))
    return judged(
        expected="409, and 404 for the id",
        seen=f"{answer}, and {stored} for the id",
        holds=answer.status == EXISTS and stored.status == ABSENT,
    )


def expiring(container: ContainerProxy) -> Finding:
    """In a container with `defaultTtl` -1 a document with `ttl` is gone when its time is over."""
    container.upsert_item({"id": "brief", "pk": "ttl", "u": "brief", "ttl": TTL_S})
    container.upsert_item({"id": "lasting", "pk": "ttl", "u": "lasting"})
    until_s = time.monotonic() + TTL_WAIT_S
    while True:
        brief = asked(lambda **told: container.read_item("brief", "ttl", **told))
        if brief.status or time.monotonic() > until_s:
            break
        time.sleep(1.0)
    lasting = asked(lambda **told: container.read_item("lasting", "ttl", **told))
    return judged(
        expected="404 for the one with ttl, success for the other",
        seen=f"{brief} for the one with ttl, {lasting} for the other",
        holds=(brief.status, lasting.status) == (ABSENT, 0),
    )


def behind_the_session(container: ContainerProxy) -> Finding:
    """A read with a session from the future is 404 with substatus 1002."""
    answer = asked(lambda **told: container.upsert_item({"id": "s", "pk": "keys"}, **told))
    token = answer.headers.get(SESSION, "")
    if not token:
        return skipped("no answer has a session token")
    head, mark, tail = token.partition("#")
    # The global LSN is the number after the first #, or after -1: in a token of one region only.
    later = f"{head}#{_later(tail)}" if mark else re.sub(r"\d+$", lambda _: str(FUTURE), token)
    read = asked(lambda **told: container.read_item("s", "keys", session_token=later, **told))
    return judged(
        expected="404/1002",
        seen=str(read),
        holds=(read.status, read.substatus) == (ABSENT, BEHIND),
    )


def _later(tail: str) -> str:
    lsn, mark, rest = tail.partition("#")
    return f"{int(lsn) + FUTURE}{mark}{rest}"


def _shown(document: Mapping[str, object] | None) -> str:
    if document is None:
        return "none"
    return str({name: value for name, value in document.items() if not name.startswith("_")})


def across_clients(written: ContainerProxy, read: ContainerProxy) -> Finding:
    """A document is seen by another client's read right after its write was answered."""
    statuses = []
    for number in range(READS):
        name = f"across-{number}"
        written.upsert_item({"id": name, "pk": "keys"})
        statuses.append(asked(lambda n=name, **told: read.read_item(n, "keys", **told)).status)
    late = sum(1 for each in statuses if each)
    return judged(
        expected=f"{READS} of {READS} reads find it",
        seen=f"{READS - late} of {READS}",
        holds=not late,
    )


def absences(held: ContainerProxy, doomed: Doomed) -> Finding:
    """A 404 has no substatus for a document that is absent, and 1003 where its container is."""
    document = asked(lambda **told: held.read_item("absent", "keys", **told))
    doomed.container.upsert_item({"id": "s", "pk": "keys"})
    doomed.remove()
    seen: list[str] = []

    def hook(answer: Any) -> None:
        found = answer.http_response
        seen.append(f"{found.status_code}/{found.headers.get(SUBSTATUS, 0)}")

    asked(lambda **told: doomed.container.read_item("s", "keys", raw_response_hook=hook, **told))
    return judged(
        expected="404 for the document, 404/1003 where the container was removed",
        seen=f"{document} for the document, {', '.join(seen)} where the container was removed",
        holds=(document.status, document.substatus) == (ABSENT, 0) and f"{ABSENT}/{OWNER}" in seen,
    )


CHECKS_LEVELS: Mapping[str, Callable[[CosmosSource], Finding]] = {
    "cosmos.missing-key-part": missing_part,
    "cosmos.range-on-partitions": ranges_on_partitions,
}
CHECKS_UNIQUE: Mapping[str, Callable[[ContainerProxy], Finding]] = {
    "cosmos.409-unique-key": unique_key,
    "cosmos.ttl": expiring,
}
CHECKS_SESSION: Mapping[str, Callable[[ContainerProxy], Finding]] = {
    "cosmos.404": behind_the_session,
}
CHECKS_ACROSS: Mapping[str, Callable[[ContainerProxy, ContainerProxy], Finding]] = {
    "cosmos.session-across-clients": across_clients,
}
CHECKS_GONE: Mapping[str, Callable[[ContainerProxy, Doomed], Finding]] = {
    "cosmos.404-substatus": absences,
}
