"""Clean documents of every shape, copied, validated both ways and verified: no false alarm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from shared.domain.slices import MigrationState
from tests.campaign.worlds import MODES, Migrated, begin, completed, drive, layout

SEED_STEP = 1_000_003  # apart from the seeds of corruptions, so that both replay alone


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRun:
    """One container migrated twice: validated by readback and by reread, then verified."""

    seed: int
    documents: int
    slices: int
    superseded: int
    alarms: tuple[str, ...]


def clean_runs(seed: int, documents: int, *, container_max: int) -> Iterator[CleanRun]:
    """Containers drawn one after the other until they held so many documents together."""
    held, number = 0, 0
    while held < documents:
        run = clean_run(seed + number * SEED_STEP, container_max=container_max)
        held += run.documents
        number += 1
        yield run


def clean_run(seed: int, *, container_max: int) -> CleanRun:
    plan = layout(Random(seed), container_max)
    migrated = begin(seed, plan)
    try:
        drive(migrated, until=lambda: completed(migrated.app))
        alarms = tuple(alarm for mode in MODES for alarm in _alarms(migrated, mode))
    except Exception as error:  # noqa: BLE001 - whatever ends a worker is an alarm too
        alarms = (f"{type(error).__name__}: {error}",)
    totals = [migrated.app.ports.ledger.progress(mode) for mode in MODES]
    return CleanRun(
        seed=seed,
        documents=plan.documents,
        slices=sum(each.slices_proven for each in totals if each),
        superseded=sum(each.superseded for each in totals if each),
        alarms=alarms,
    )


def _alarms(migrated: Migrated, mode: str) -> Iterator[str]:
    """Whatever is not as it must be when nothing was harmed."""
    ledger = migrated.app.ports.ledger
    migration, progress = ledger.migration(mode), ledger.progress(mode)
    if migration.state is not MigrationState.COMPLETED or progress is None:
        yield f"{mode}: {migration.state.value}: {migration.reason}"
        return
    if progress.attempts_failed or progress.mismatches:
        yield f"{mode}: {progress.attempts_failed} attempts failed"
    held = migrated.container.layout.documents
    if not held - migrated.container.left <= progress.documents_proven <= held:
        yield f"{mode}: {progress.documents_proven} documents of {held} are proven"
    report = migrated.app.verifying.run(mode)
    yield from (f"{mode}: {fault}" for fault in report.faults)
    if report.documents != progress.documents_proven or not (report.complete and report.whole):
        yield f"{mode}: verified {report.documents} documents, complete: {report.complete}"
