"""Which row of docs/fidelity.md is settled by a check, and which has a reason why none can."""

from __future__ import annotations

from shared.trial.checks import (
    account,
    blobs,
    keys,
    limits,
    logs,
    metrics,
    reading,
    tables,
    values,
    writes,
)
from shared.trial.reasons import REASONS

CHECKED: frozenset[str] = frozenset(
    (
        *reading.CHECKS,
        *values.CHECKS,
        *writes.CHECKS,
        *limits.CHECKS_WAIT,
        *limits.CHECKS_SENT,
        *keys.CHECKS_LEVELS,
        *keys.CHECKS_UNIQUE,
        *keys.CHECKS_SESSION,
        *keys.CHECKS_GONE,
        *keys.CHECKS_ACROSS,
        *account.CHECKS,
        *metrics.CHECKS,
        *logs.CHECKS,
        *blobs.CHECKS,
        *tables.CHECKS,
    )
)
EXCUSED: frozenset[str] = frozenset(REASONS)
