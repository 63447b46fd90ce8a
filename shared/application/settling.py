"""How an attempt ends in the ledger: proven, or failed with its cause, with the totals in step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shared.application.bundle import Ports
from shared.application.dispatching import Work
from shared.application.measuring import count_verdict
from shared.domain.halts import Halt, Halting, halt_of
from shared.domain.receipt import Promise
from shared.domain.runs import RunCost
from shared.domain.slices import Cause, MigrationState, Progress, Slice, SliceState, Staged
from shared.errors import Conflict, EbbError, PermanentError, TransientError
from shared.ports import Change

TRIES_MAX = 16  # conflicts come only from slices of one migration ending in the same moment
CONFLICT_WAIT_S = 0.1


def settle_failure(
    ports: Ports,
    work: Work,
    *,
    cause: Cause,
    error: EbbError,
    ru: float = 0.0,
    mismatches: int = 0,
    keep_staged: bool = False,
) -> str:
    """Record a failed attempt; quarantine when attempts are used up, and halt if it must."""
    name = work.migration.name

    def failed(current: Slice, progress: Progress) -> tuple[Slice, Progress]:
        after = current.failed(
            cause=cause,
            error=str(error),
            now_s=ports.clock.now_s(),
            attempts_max=work.spec.slice.attempts_max,
            keep_staged=keep_staged,
        )
        copying_ru = current.staged.ru_spent if current.staged else 0.0
        totals = replace(
            progress,
            attempts_failed=progress.attempts_failed + 1,
            mismatches=progress.mismatches + mismatches,
            ru_spent=progress.ru_spent + copying_ru + ru,
        )
        return after, totals

    settled = settle(ports, work, failed)
    if settled is None:
        return f"slice {work.slice.id} had moved on; the failure was not recorded: {error}"
    count_verdict(ports.telemetry, name, cause.value)
    if settled.state is SliceState.QUARANTINED and cause is not Cause.DOCUMENT:
        text = f"slice {settled.id} failed {settled.failures} times: {error}"
        halt(ports, name, Halting(Halt(f"slice_{cause.value}"), text))
    return f"slice {settled.id} is {settled.state.value} ({cause.value}): {error}"


def settle_copied(
    ports: Ports, work: Work, staged: Staged, *, cost: RunCost | None = None
) -> Slice | None:
    """Record what an attempt staged; None if someone else has the slice by now."""
    run = cost or RunCost()
    return settle(
        ports,
        work,
        lambda current, totals: (
            current.copied(staged),
            totals.with_run_cost(run.activity_runs, run.diu_hours, run.ru),
        ),
    )


def settle_released(ports: Ports, work: Work, ru: float) -> None:
    """Give a slice back unharmed; what was spent on it is spent all the same."""
    settle(
        ports,
        work,
        lambda current, totals: (
            current.released(),
            replace(totals, ru_spent=totals.ru_spent + ru),
        ),
    )


def settle_proven(ports: Ports, work: Work, promise: Promise, *, ru: float) -> str:
    """Record a proven slice and add what its receipt says to the totals, exactly once."""

    def proven(current: Slice, progress: Progress) -> tuple[Slice, Progress]:
        if current.staged is None:
            raise PermanentError(f"slice {current.id} is validating, yet nothing is staged")
        receipted = replace(
            current.staged,
            blob=promise.blob,
            manifest=promise.manifest,
            merkle_root=promise.merkle_root,
            documents=promise.documents,
            document_bytes=promise.document_bytes,
            superseded=promise.superseded,
        )
        done = current.proven(staged=receipted, receipt_sha256=promise.receipt_sha256)
        totals = replace(progress, ru_spent=progress.ru_spent + receipted.ru_spent + ru)
        return done, totals.with_proven(done)

    settled = settle(ports, work, proven)
    if settled is None:
        return f"slice {work.slice.id} was recorded already"
    count_verdict(ports.telemetry, work.migration.name, "proven")
    return f"slice {settled.id} is proven"


def halt(ports: Ports, name: str, error: PermanentError) -> None:
    """Stop a migration until a person resumes it; people are told."""
    for _ in range(TRIES_MAX):
        migration = ports.ledger.migration(name)
        if migration.state is not MigrationState.RUNNING:
            return
        halted = migration.moved(
            MigrationState.HALTED,
            reason=str(error),
            now_s=ports.clock.now_s(),
            halt=halt_of(error),
        )
        try:
            ports.ledger.put_migration(halted)
        except Conflict:
            continue
        return


def settle(
    ports: Ports, work: Work, change: Callable[[Slice, Progress], tuple[Slice, Progress]]
) -> Slice | None:
    """Apply a change to the slice and the totals together; None if the slice moved on."""
    name = work.migration.name
    for _ in range(TRIES_MAX):
        current = ports.ledger.slice(name, work.slice.id)
        progress = ports.ledger.progress(name)
        if current is None or progress is None or current.fence != work.slice.fence:
            return None
        if current.state is not work.slice.state:
            return None
        changed, totals = change(current, progress)
        try:
            ports.ledger.commit(name, Change(slices=(changed,), progress=totals))
        except Conflict:
            ports.clock.wait(CONFLICT_WAIT_S)
            continue
        return changed
    raise TransientError(
        f"recording slice {work.slice.id}: {TRIES_MAX} conflicts in a row; will be tried again"
    )
