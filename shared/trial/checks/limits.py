"""Cosmos DB: what a full partition answers, and that nothing is sent again in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from azure.cosmos import ContainerProxy

from shared.trial.checks.asking import Answer, asked
from shared.trial.findings import Finding, judged, skipped

WRITERS = 32
ROUNDS_MAX = 4
LARGE_BYTES = 500_000
THROTTLED = 429
RETRY_AFTER = "x-ms-retry-after-ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """A container of its own through a client that does not retry, and what that client sent."""

    container: ContainerProxy
    sent: Callable[[], int]


def wait_of_429(flood: Flood) -> Finding:
    """A 429 says when to come back."""
    refused = [each for each in _flooded(flood) if each.status == THROTTLED]
    if not refused:
        return skipped(f"{WRITERS * ROUNDS_MAX} large writes at once filled no partition")
    waits = [each.headers.get(RETRY_AFTER) for each in refused]
    return judged(
        expected=f"each 429 with {RETRY_AFTER}",
        seen=f"{len(refused)} answers of 429, waits {sorted({str(each) for each in waits})[:5]}",
        holds=all(each is not None and float(each) >= 0 for each in waits),
    )


def sent_once(flood: Flood) -> Finding:
    """With the retries off each call is one request, also where it is throttled."""
    before = flood.sent()
    answers = _flooded(flood)
    sent = flood.sent() - before
    if not any(each.status == THROTTLED for each in answers):
        return skipped(f"{len(answers)} large writes at once filled no partition")
    return judged(
        expected=f"{len(answers)} requests for {len(answers)} calls",
        seen=f"{sent} requests",
        holds=sent == len(answers),
    )


def _flooded(flood: Flood) -> list[Answer]:
    """Large writes, side by side, until one is throttled."""
    body = {"pk": "flood", "big": "x" * LARGE_BYTES}

    def write(number: int) -> Answer:
        document = {**body, "id": str(number)}
        return asked(lambda **told: flood.container.upsert_item(document, **told))

    flood.container.read()
    answers: list[Answer] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in range(ROUNDS_MAX):
            answers += pool.map(write, range(WRITERS))
            if any(each.status == THROTTLED for each in answers):
                break
    return answers


CHECKS_WAIT: Mapping[str, Callable[[Flood], Finding]] = {"cosmos.429-wait": wait_of_429}
CHECKS_SENT: Mapping[str, Callable[[Flood], Finding]] = {"cosmos.retries-off": sent_once}
"""Through a client of its own, whose requests nobody else adds to."""
