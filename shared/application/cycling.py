"""Begins the next cycle of a scheduled migration once it is due; it plans and copies nothing.

Only what is completed goes on by itself: what a person paused or stopped, or what halted, waits
for a person.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from shared.application.bundle import Ports
from shared.domain.cycles import next_boundary_s
from shared.domain.slices import Migration, MigrationState
from shared.domain.spec import parse_spec
from shared.errors import TransientError


def begin_cycles(
    ports: Ports, known: tuple[Migration, ...], actions: dict[str, Any]
) -> tuple[Migration, ...]:
    """The migrations as they stand once those that are due have begun; trouble waits a tick."""
    return tuple(_begun(ports, each, actions) for each in known)


def _begun(ports: Ports, migration: Migration, actions: dict[str, Any]) -> Migration:
    if migration.state is not MigrationState.COMPLETED:
        return migration
    now_s = ports.clock.now_s()
    until_s = next_boundary_s(parse_spec(migration.spec_text), migration.until_s, now_s)
    if until_s is None:
        return migration
    boundary = dt.datetime.fromtimestamp(until_s, dt.UTC)
    reason = f"next cycle: what was last written before {boundary:%Y-%m-%d %H:%M:%S} UTC"
    try:
        begun = ports.ledger.put_migration(migration.reopened(until_s, reason=reason, now_s=now_s))
    except TransientError as error:
        actions[f"{migration.name}.error"] = f"beginning the next cycle: {error}"
        return migration
    actions[f"{migration.name}.cycle"] = reason
    return begun
