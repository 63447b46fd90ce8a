"""A slice of the campaign: every corruption is found and named, and nothing clean is accused."""

from __future__ import annotations

import pytest

from tests.campaign.corruptions import Tally, campaign
from tests.campaign.kinds import KINDS

SEED = 20_250_501
CORRUPTIONS = 300
CLEAN = 3_000
CONTAINER_MAX = 300


@pytest.fixture(scope="module")
def tally() -> Tally:
    """Each kind at least once, and containers of every shape."""
    return campaign(seed=SEED, corruptions=CORRUPTIONS, clean=CLEAN, container_max=CONTAINER_MAX)


def test_every_corruption_of_every_kind_is_found(tally: Tally) -> None:
    """Before the receipt nothing of it is promoted; afterwards the verification says so."""
    assert {trial.kind for trial in tally.trials} == {(k.place, k.what) for k in KINDS}
    assert [str(trial) for trial in tally.escaped] == []


def test_the_harmed_document_is_named(tally: Tally) -> None:
    """Whoever must repair something is told which document it is."""
    assert sum(trial.nameable for trial in tally.trials) > CORRUPTIONS // 2
    assert [str(trial) for trial in tally.unnamed] == []


def test_clean_documents_raise_no_alarm(tally: Tally) -> None:
    """Whatever their shape, and though some were updated or deleted meanwhile."""
    assert sum(run.documents for run in tally.clean) >= CLEAN
    assert sum(run.superseded for run in tally.clean) > 0
    assert tally.alarms == []
