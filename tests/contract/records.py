"""Slices, plans and other records as the contract suite needs them; every field is filled."""

from __future__ import annotations

from dataclasses import replace

from shared.domain.governor import Decision, Reason
from shared.domain.halts import Halt
from shared.domain.notices import Notice, NoticeKind
from shared.domain.retirement import (
    Direction,
    Override,
    Removal,
    RemovalState,
    Retirement,
    RetirementState,
)
from shared.domain.sharing import Share
from shared.domain.slices import (
    Cause,
    Extent,
    FeedRange,
    Migration,
    MigrationState,
    Progress,
    RangePlan,
    Slice,
    SliceState,
    Staged,
    Stored,
    Window,
)
from shared.ports import Change, Entry, Ledger

NAME = "orders-2025"
NOON_S = 1_800_000_000


def a_migration(name: str = NAME) -> Migration:
    return Migration(
        name=name,
        uid="u-1",
        spec_text="source: {}\n# café ☕\n",
        state=MigrationState.RUNNING,
        reason="started",
        created_at_s=NOON_S + 0.125,
        changed_at_s=NOON_S + 1.0,
        until_s=2**40,
        priority=7,
        halt=Halt.SLICE_MISMATCH,
        notices=(
            Notice(
                id="n-1",
                kind=NoticeKind.HALTED,
                at_s=NOON_S + 1.0,
                halt=Halt.SLICE_MISMATCH,
                sent=True,
            ),
            Notice(id="n-2", kind=NoticeKind.STALLED, at_s=NOON_S + 2.0),
        ),
    )


def a_slice(number: int = 0, *, name: str = NAME, range_id: str = "r0") -> Slice:
    lo_s = 1_700_000_000 + 60 * number
    extent = Extent(
        window=Window(lo_s=lo_s, hi_s=lo_s + 60), range=FeedRange(id=range_id, token="{}")
    )
    return Slice(migration=name, extent=extent, documents_planned=32)


def a_full_retirement() -> Retirement:
    return Retirement(
        migration=NAME,
        mode="delete",
        direction=Direction.RESTORE,
        state=RetirementState.HALTED,
        reason="because",
        halt=Halt.ARCHIVE_HARMED,
        overrides=(Override(gate="protection", reason="tape ☕", at_s=1.5),),
        cursor="s1",
        reach="s2",
        documents_expected=2**40,
        slices_done=3,
        documents_removed=4,
        documents_restored=5,
        spared_changed=6,
        spared_gone=7,
        spared_unaddressable=8,
        ru_spent=8.5,
        ru_per_document=9.25,
        started_at_s=10.0,
        changed_at_s=11.0,
        done_at_s=12.0,
    )


def a_full_removal() -> Removal:
    return Removal(
        migration=NAME,
        direction=Direction.REMOVE,
        slice_id="1700000000-1700000060-r0",
        range_id="r0",
        documents=10,
        state=RemovalState.WORKING,
        fence=2,
        idle_claims=1,
        offset=5,
        moved=3,
        changed=1,
        gone=1,
        unaddressable=2,
        spared_ids=("naïve/№ 1", "b"),
        ru_spent=3.5,
        failures=1,
        error="x",
        retry_at_s=4.5,
        sent_at_s=5.5,
    )


def a_stage(target: Slice) -> Staged:
    return Staged(
        blob=Stored(
            name=f"staging/{target.id}.1.parquet", size_bytes=2**33, sha256="ab", etag='"1"'
        ),
        manifest=Stored(name=f"staging/{target.id}.1.manifest", size_bytes=10),
        merkle_root="f" * 64,
        documents=10,
        document_bytes=3_000_000,
        count_before=10,
        rows_read=10,
        count_after=10,
        superseded=1,
        superseded_ids=("naïve/№ 1",),
        ru_spent=300.5,
    )


def a_full_slice() -> Slice:
    base = a_slice()
    extent = replace(base.extent, id_lo="a", id_hi="ü", part=3)
    full = replace(
        base,
        extent=extent,
        state=SliceState.FAILED,
        fence=4,
        failures=2,
        cause=Cause.MISMATCH,
        error="missing: 'x'",
        retry_at_s=NOON_S + 0.5,
        sent_at_s=NOON_S + 0.25,
        receipt_sha256="cd" * 32,
    )
    return replace(full, staged=a_stage(full))


def a_range(*, name: str = NAME, range_id: str = "r0", frontier_s: int = 0) -> RangePlan:
    return RangePlan(
        migration=name,
        range=FeedRange(id=range_id, token='{"min": "", "max": "FF"}'),
        frontier_s=frontier_s,
        until_s=NOON_S,
        earliest_s=0,
        documents_expected=2_000_000,
        documents_per_s=0.26,
    )


def on_validating(target: Slice) -> Slice:
    return replace(target, state=SliceState.VALIDATING, fence=1, staged=a_stage(target))


def proved(target: Slice) -> Slice:
    return replace(on_validating(target), state=SliceState.PROVEN)


def begin(ledger: Ledger, slices: tuple[Slice, ...], *, name: str = NAME) -> None:
    """Open slices and a progress to count them in."""
    ledger.commit(name, Change(slices=slices, progress=Progress(migration=name)))


def counted(progress: Progress) -> Progress:
    """With one more slice of ten documents."""
    return replace(
        progress,
        slices_proven=progress.slices_proven + 1,
        documents_proven=progress.documents_proven + 10,
    )


def proof_of(ledger: Ledger, slice_id: str, *, name: str = NAME) -> Change:
    """The transaction that moves an open slice to done and counts it."""
    found = ledger.slice(name, slice_id)
    progress = ledger.progress(name)
    assert found is not None
    assert progress is not None
    return Change(slices=(proved(found),), progress=counted(progress))


def an_entry(at_s: float, *, sentence: str = "spending", source: str = "db/orders") -> Entry:
    decision = Decision(
        at_s=at_s,
        budget_ru_per_s=1_500.5,
        reason=Reason.SLACK,
        sentence=sentence,
        capacity_ru_per_s=5_000.0,
        ceiling=0.8,
        business_ru_per_s=2_500.0,
        reading_age_s=None,
        risk=0.0125,
        range_ru_per_s={"r0": 0.1, "ränge 1": 750.25},
    )
    return Entry(
        source=source,
        decision=decision,
        shares=(Share(migration=NAME, ru_per_s=1_350.45, in_flight=3, batch_documents=32),),
        own_ru_per_s=12.5,
        actions={"sent": ["a", "b"], "é": {"n": 1}},
    )
