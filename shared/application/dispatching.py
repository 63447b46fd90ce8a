"""Handing slices to workers: what a message says, what it refers to, and which slice is next."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from shared.application.bundle import Ports
from shared.application.ownership import check_account
from shared.domain.board import Board
from shared.domain.slices import (
    Migration,
    MigrationState,
    Progress,
    Slice,
    SliceState,
    is_slice_id,
)
from shared.domain.spec import MigrationSpec, parse_spec
from shared.domain.version import FIELD, STATE_VERSION, check_version
from shared.errors import Conflict, PermanentError
from shared.ports import COPY_QUEUE, VALIDATE_QUEUE, Change

RESEND_AFTER_S = 40.0  # a message unseen this long is sent again: longer than a queue's poll


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A slice with everything that was decided about it."""

    migration: Migration
    spec: MigrationSpec
    progress: Progress
    slice: Slice

    def with_slice(self, changed: Slice) -> Work:
        return replace(self, slice=changed)


def work_message(target: Slice) -> str:
    return message_of(target.migration, target.id)


def message_of(migration: str, slice_id: str) -> str:
    told = {"migration": migration, "slice": slice_id, FIELD: STATE_VERSION}
    return json.dumps(told, sort_keys=True)


def named_in(message: str) -> tuple[str, str]:
    """The migration and slice a queue message names; PermanentError when it names none.

    OtherVersion when it is a later Ebb's.
    """
    try:
        body = json.loads(message)
        if isinstance(body, dict):
            check_version(body.get(FIELD), thing="a queue message")
        name, slice_id = body["migration"], body["slice"]
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError(
            f"reading a queue message of {len(message)} characters: it is not "
            '{"migration": …, "slice": …}; only Ebb writes to its queues'
        ) from error
    if not (isinstance(name, str) and isinstance(slice_id, str)):
        raise PermanentError("reading a queue message: migration and slice must be text")
    return name, slice_id


def read_work(ports: Ports, message: str) -> Work | str:
    """What a message asks for, or the reason why there is nothing to do."""
    name, slice_id = named_in(message)
    migration = ports.ledger.migration(name)
    if migration.state is not MigrationState.RUNNING:
        return f"migration {name} is {migration.state.value}"
    spec = parse_spec(migration.spec_text)
    check_account(ports, spec)
    target = ports.ledger.slice(name, slice_id)
    if target is None and is_slice_id(slice_id):
        return f"slice {slice_id} is no more: it was cut into smaller ones"
    if target is None:
        raise PermanentError(f"a queue message names slice {slice_id}, which {name} does not have")
    if target.state in {SliceState.PROVEN, SliceState.QUARANTINED}:
        return f"slice {slice_id} is {target.state.value}"
    progress = ports.ledger.progress(name)
    if progress is None:
        raise PermanentError(f"migration {name} has no progress record, yet slice {slice_id}")
    return Work(
        migration=migration,
        spec=spec,
        progress=progress,
        slice=target,
    )


def dispatch_next(ports: Ports, name: str) -> int:
    """Send messages for as many waiting slices as there is room for; returns how many."""
    migration = ports.ledger.migration(name)
    if migration.state is not MigrationState.RUNNING:
        return 0
    copying = parse_spec(migration.spec_text).engine == "embedded"
    return dispatch(ports, ports.boards.read(), ports.ledger.open_slices(name), copying=copying)


def dispatch(ports: Ports, board: Board, slices: tuple[Slice, ...], *, copying: bool) -> int:
    """`copying` is for slices that Ebb's own workers copy; a factory's runs need no message."""
    now_s = ports.clock.now_s()
    idle = [
        s for s in slices if not board.works_on(s.migration, s.id, now_s, copying=_is_for_copy(s))
    ]
    unseen = [s for s in idle if now_s - s.sent_at_s >= RESEND_AFTER_S or now_s < s.sent_at_s]
    sent = 0
    for each in unseen:
        if each.state in {SliceState.COPIED, SliceState.VALIDATING}:
            sent += _send(ports, each, VALIDATE_QUEUE, now_s)
    waiting = next_first(board, unseen, now_s) if copying else []
    under_way = sum(1 for s in idle if s not in unseen and _is_for_copy(s))
    for each in waiting:
        taken = len(board.spending_seats(each.migration, now_s)) + under_way
        if taken >= board.grant_for(each.migration).in_flight.get(each.migration, 0):
            break
        if _send(ports, each, COPY_QUEUE, now_s):
            under_way += 1
            sent += 1
    return sent


def _is_for_copy(target: Slice) -> bool:
    return target.state in {SliceState.PLANNED, SliceState.FAILED, SliceState.COPYING}


def next_first(board: Board, slices: Iterable[Slice], now_s: float) -> list[Slice]:
    """Slices to be copied, those on the emptiest ranges first and none on a paused one."""
    free: list[tuple[int, Slice]] = []
    for each in slices:
        source, range_id = board.source_of(each.migration), each.extent.range.id
        if source is None or board.grants[source].is_paused(range_id):
            continue
        if _may_copy(each, now_s):
            free.append((len(board.seats_on(source, range_id, now_s)), each))
    return [each for _, each in sorted(free, key=lambda pair: pair[0])]


def _may_copy(target: Slice, now_s: float) -> bool:
    return _is_for_copy(target) and now_s >= target.retry_at_s


def mark_unsent(ports: Ports, target: Slice) -> None:
    """Its message came too early and is used up; the next dispatch sends another."""
    with suppress(Conflict):
        ports.ledger.commit(target.migration, Change(slices=(target.sent(0.0),)))


def _send(ports: Ports, target: Slice, queue: str, now_s: float) -> int:
    """Mark first, then send: a lost message is sent again, a doubled one finds the seat taken."""
    try:
        ports.ledger.commit(target.migration, Change(slices=(target.sent(now_s),)))
    except Conflict:
        return 0
    ports.mail.send(queue, work_message(target))
    return 1
