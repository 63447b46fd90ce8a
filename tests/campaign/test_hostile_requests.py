"""Nothing that is sent makes the server fail, tells its insides, or changes what it refuses."""

from __future__ import annotations

import logging

import pytest

from tests.campaign.hostile import attacked, described, handlers

REQUESTS = 500
SEED = 7


def test_every_route_is_described_and_every_description_is_a_route() -> None:
    """Who reads docs/openapi.yaml finds all there is."""
    assert {operation.name for operation in described()} == set(handlers())


def test_hostile_requests_are_refused_and_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """`python -m tests.campaign.hostile` sends twenty times as many."""
    caplog.set_level(logging.CRITICAL)
    report = attacked(REQUESTS, seed=SEED)
    assert report.faults == []
    refused = sum(n for answer, n in report.answers.items() if answer.rsplit(" ", 1)[1] >= "400")
    assert refused > REQUESTS / 2
