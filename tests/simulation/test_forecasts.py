"""What a running migration foretells of itself, beside what it then takes."""

from __future__ import annotations

from shared.domain.slices import MigrationState
from tests.simulation.test_pace import begin, steady

NEAR = 0.2  # a file is staged in no time here, which forecasts allow a tenth for
DOCUMENTS = 400  # eight minutes of what a steady business leaves
MANY = 1_500


def test_a_steady_migrations_own_forecast_is_near_what_it_takes() -> None:
    """Noted once, when the first share is known; begin, end and staging included."""
    run = begin(steady, documents=DOCUMENTS)
    ledger = run.world.ports.ledger
    while ledger.migration("sim").state is MigrationState.RUNNING:
        run.work(60)
    progress = ledger.progress("sim")
    assert progress is not None
    assert progress.forecast_s is not None
    took_s = progress.completed_at_s - progress.started_at_s
    assert abs(progress.forecast_s - took_s) <= NEAR * took_s, (progress.forecast_s, took_s)


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
