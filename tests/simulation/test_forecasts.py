"""What a running migration foretells of itself, beside what it then takes."""

from __future__ import annotations

import pytest

from shared.domain.slices import MigrationState
from tests.simulation.test_pace import begin, steady
from tests.simulation.test_runs import begin as begin_runs
from tests.simulation.test_runs import round_
from tests.simulation.world import CAPACITY_RU_PER_S

NEAR = 0.05  # that files are staged in no time here makes up for 5 s that a first seat waits
NEAR_BY_RUNS = 0.25  # by the first four of eighteen, which months cut into unequal sizes
DOCUMENTS = 400  # eight minutes of what a steady business leaves
MANY = 1_500


@pytest.mark.parametrize("busy", [0.5, 0.2, 0.05])
def test_a_steady_migrations_own_forecast_is_near_what_it_takes(busy: float) -> None:
    """Noted with the first share, of which three steps of growth may be to come; begin and end."""
    run = begin(lambda _: busy * CAPACITY_RU_PER_S, documents=DOCUMENTS)
    ledger = run.world.ports.ledger
    while ledger.migration("sim").state is MigrationState.RUNNING:
        run.work(60)
    progress = ledger.progress("sim")
    assert progress is not None
    assert progress.forecast_s is not None
    took_s = progress.completed_at_s - progress.started_at_s
    assert abs(progress.forecast_s - took_s) <= NEAR * took_s, (progress.forecast_s, took_s)


def test_a_factorys_forecast_counts_what_its_runs_take() -> None:
    """Told when more runs are proven than may be under way, long before the end."""
    floor = begin_runs(2, documents=DOCUMENTS, ranges=1)
    ledger = floor.world.ports.ledger
    told_at = 0
    while ledger.migration("sim").state is MigrationState.RUNNING:
        round_(floor)
        progress = ledger.progress("sim")
        assert progress is not None
        if progress.forecast_s is None:
            told_at = progress.documents_proven
    progress = ledger.progress("sim")
    assert progress is not None
    took_s = progress.completed_at_s - progress.started_at_s
    assert 0 < told_at < DOCUMENTS / 2
    assert progress.forecast_s is not None
    assert abs(progress.forecast_s - took_s) <= NEAR_BY_RUNS * took_s
    assert progress.forecast_ru == pytest.approx(2 * DOCUMENTS * progress.ru_per_document, rel=0.1)


def test_the_time_left_shrinks_with_what_is_left() -> None:
    """At the same share, half the documents take half as long."""
    run = begin(steady, documents=MANY)
    left = []
    for _ in range(3):
        run.work(300)
        status = run.world.calm.operating.status("sim")
        open_documents = MANY - run.proven
        assert status.eta_s is not None
        left.append(status.eta_s * status.share_ru_per_s / open_documents)
    assert max(left) / min(left) < 1.05
