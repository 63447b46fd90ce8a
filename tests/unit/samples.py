"""Specs, slices and receipts' inputs as the unit tests and laws need them."""

from __future__ import annotations

from shared.domain.receipt import Row, build_receipt
from shared.domain.slices import (
    Extent,
    FeedRange,
    Migration,
    MigrationState,
    RangePlan,
    Slice,
    SliceState,
    Staged,
    Stored,
    Window,
)
from shared.domain.spec import MigrationSpec, parse_spec

SPEC = """
name: orders-2025
source: {account: shop, database: sales, container: orders, partition_key: /customer}
cold: {older_than: 90d}
sink: {container: archive}
"""
RANGE = FeedRange(id="r000", token='{"Range": {}}')
MAY_S = 1_746_057_600  # 2025-05-01T00:00:00Z
JUNE_S = 1_748_736_000  # 2025-06-01T00:00:00Z


def a_spec(text: str = SPEC) -> MigrationSpec:
    return parse_spec(text)


def an_extent(
    lo_s: int = MAY_S,
    hi_s: int = MAY_S + 60,
    *,
    id_lo: str | None = None,
    id_hi: str | None = None,
    part: int | None = None,
) -> Extent:
    window = Window(lo_s=lo_s, hi_s=hi_s)
    return Extent(window=window, range=RANGE, id_lo=id_lo, id_hi=id_hi, part=part)


def a_plan(
    *,
    frontier_s: int = 0,
    until_s: int = JUNE_S,
    earliest_s: int = 0,
    documents_per_s: float = 0.0,
) -> RangePlan:
    return RangePlan(
        migration="orders-2025",
        range=RANGE,
        frontier_s=frontier_s,
        until_s=until_s,
        earliest_s=earliest_s,
        documents_per_s=documents_per_s,
    )


def a_row(number: int = 0, *, sha256: str = "ab" * 32, ts: int = MAY_S, row_group: int = 0) -> Row:
    return Row(
        id=f"order-{number}",
        partition_key=f'["customer-{number % 3}"]',
        etag=f'"e-{number}"',
        ts=ts,
        sha256=sha256,
        row_group=row_group,
    )


def a_stage(*, blob: Stored | None = None, superseded_ids: tuple[str, ...] = ()) -> Staged:
    return Staged(
        blob=blob,
        manifest=Stored(name="staging/x.1.manifest", size_bytes=77, sha256="cd" * 32),
        merkle_root="ef" * 32,
        documents=10,
        document_bytes=3_000,
        count_before=12,
        rows_read=11,
        count_after=10,
        superseded=len(superseded_ids),
        superseded_ids=superseded_ids,
        ru_spent=300.456,
    )


def a_blob() -> Stored:
    return Stored(name="staging/x.1.parquet", size_bytes=4_096, sha256="12" * 32)


def a_slice(
    state: SliceState = SliceState.PLANNED, *, fence: int = 0, staged: Staged | None = None
) -> Slice:
    return Slice(
        migration="orders-2025",
        extent=an_extent(),
        documents_planned=10,
        state=state,
        fence=fence,
        staged=staged,
    )


def a_migration() -> Migration:
    return Migration(
        name="orders-2025",
        uid="uid-1",
        spec_text=SPEC,
        state=MigrationState.RUNNING,
        reason="started",
        created_at_s=1.0,
        changed_at_s=2.0,
    )


def a_receipt(*, staged: Staged | None = None) -> bytes:
    target = a_slice(SliceState.VALIDATING, fence=4, staged=staged or a_stage(blob=a_blob()))
    return build_receipt(a_spec(), a_migration(), target, validated_at_s=1_800_000_000.12345)
