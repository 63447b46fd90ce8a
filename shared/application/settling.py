"""How an attempt ends in the ledger: proven, or failed with its cause, with the totals in step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from shared.application.bundle import Ports
from shared.application.desk import until_written
from shared.application.dispatching import Work
from shared.application.measuring import count_verdict
from shared.domain.halts import Halt, Halting, halt_of
from shared.domain.receipt import Promise, receipt_name
from shared.domain.runs import RunCost
from shared.domain.slices import Cause, MigrationState, Progress, Slice, SliceState, Staged
from shared.errors import EbbError, PermanentError
from shared.ports import Change

PIECES_MAX = 8  # a slice that is cut again soon enough needs no more at once
UNCUT_RETRY_S = 900.0  # one second of a hot range is tried again when that may have cooled


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
        halt(ports, name, halting_for(settled))
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


def settle_too_slow(ports: Ports, work: Work, *, seen_s: tuple[int, ...], ru: float) -> str:
    """Put smaller slices in the place of one that a worker could not finish in its time, or hold.

    A piece is half of what the worker could read; where it read nothing, as small as may be.
    """
    name = work.migration.name
    wanted = math.ceil(2 * work.slice.documents_planned / len(seen_s)) if seen_s else PIECES_MAX
    pieces = max(2, min(PIECES_MAX, wanted))

    def cut() -> str:
        current = ports.ledger.slice(name, work.slice.id)
        progress = ports.ledger.progress(name)
        if current is None or progress is None or current.fence != work.slice.fence:
            return f"slice {work.slice.id} had moved on"
        if current.state is not work.slice.state:
            return f"slice {work.slice.id} had moved on"
        totals = replace(progress, ru_spent=progress.ru_spent + ru)
        smaller = current.cut(pieces, seen_s)
        why = _why_whole(ports, work, smaller)
        if why:
            text = f"slice {current.id} was too slow or too large, and {why}; it waits"
            waiting = replace(
                current.released(), error=text, retry_at_s=ports.clock.now_s() + UNCUT_RETRY_S
            )
            ports.ledger.commit(name, Change(slices=(waiting,), progress=totals))
            return text
        ports.ledger.commit(name, Change(slices=smaller, cut=current, progress=totals))
        return f"slice {current.id} was too slow or too large and is cut into {len(smaller)}"

    return until_written(ports, cut, doing=f"cutting slice {work.slice.id}")


def _why_whole(ports: Ports, work: Work, smaller: tuple[Slice, ...]) -> str:
    """Why a slice stays as it is; empty where it may be cut.

    Receipts never go: beside those of its pieces, its own would tell of every document twice.
    """
    if len(smaller) == 1:
        return "one second cannot be cut"
    sink = work.spec.sink
    archive = ports.archives.open(sink.container, sink.prefix)
    receipted = archive.read(receipt_name(work.slice.id)) is not None
    return "an earlier attempt wrote its receipt" if receipted else ""


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


def halting_for(quarantined: Slice) -> Halting:
    """Why its migration halts, in the words of its last attempt."""
    cause = quarantined.cause or Cause.FAULT
    text = f"slice {quarantined.id} failed {quarantined.failures} times: {quarantined.error}"
    return Halting(Halt(f"slice_{cause.value}"), text)


def halt(ports: Ports, name: str, error: PermanentError) -> None:
    """Stop a migration until a person resumes it; people are told."""

    def halted() -> None:
        migration = ports.ledger.migration(name)
        if migration.state is not MigrationState.RUNNING:
            return
        now_s = ports.clock.now_s()
        ports.ledger.put_migration(
            migration.moved(
                MigrationState.HALTED, reason=str(error), now_s=now_s, halt=halt_of(error)
            )
        )

    until_written(ports, halted, doing=f"halting {name}")


def settle(
    ports: Ports, work: Work, change: Callable[[Slice, Progress], tuple[Slice, Progress]]
) -> Slice | None:
    """Apply a change to the slice and the totals together; None if the slice moved on."""
    name = work.migration.name

    def settled() -> Slice | None:
        current = ports.ledger.slice(name, work.slice.id)
        progress = ports.ledger.progress(name)
        if current is None or progress is None or current.fence != work.slice.fence:
            return None
        if current.state is not work.slice.state:
            return None
        changed, totals = change(current, progress)
        ports.ledger.commit(name, Change(slices=(changed,), progress=totals))
        return changed

    return until_written(ports, settled, doing=f"recording slice {work.slice.id}")
