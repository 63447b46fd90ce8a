"""Sweeping up: unproven blobs that nothing can need any more, and old journal and metering rows.

A staging blob goes only when its slice is proven, or its fence is past and no receipt names it, or
its slice was cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, islice

from shared.application.bundle import Ports
from shared.application.ownership import check_account
from shared.domain.receipt import (
    INCOMING,
    STAGING,
    incoming_slice,
    read_receipt,
    receipt_name,
    staged_slice,
)
from shared.domain.slices import Migration, MigrationState, SliceState, is_slice_id
from shared.domain.spec import parse_spec
from shared.errors import EbbError, PermanentError
from shared.ports import POISON_QUEUES, Archive, Incident, IncidentKind

BLOBS_PER_SWEEP_MAX = 2_000  # of one migration: a sweep ends well within a function's time
YOUNG_S = 3_600.0  # a worker that lost its seat may still be writing for this long
DECISIONS_KEPT_S = 90 * 86_400.0
METERING_KEPT_S = 7_200
ROWS_PER_SWEEP_MAX = 1_000
POISON_NOTED_AGAIN_S = 86_400.0  # such a message stays for up to seven days
INCIDENTS_LOOKED_AT = 200  # a day of many incidents; beyond it one more note does no harm


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    blobs: int
    decisions: int
    metering: int
    poison: int = 0
    troubles: tuple[str, ...] = ()


class Janitor:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def sweep(self) -> Swept:
        now_s = self._ports.clock.now_s()
        blobs, troubles = 0, []
        for migration in self._ports.ledger.migrations():
            if migration.state is MigrationState.REGISTERED:
                continue
            try:
                blobs += self._sweep_one(migration, now_s)
            except EbbError as error:
                troubles.append(f"{migration.name}: {error}")
        poison = self._note_poison(now_s)
        decisions = self._ports.journal.forget(
            before_s=now_s - DECISIONS_KEPT_S, limit=ROWS_PER_SWEEP_MAX
        )
        metering = self._ports.metering.forget(
            before_s=int(now_s) - METERING_KEPT_S, limit=ROWS_PER_SWEEP_MAX
        )
        return Swept(
            blobs=blobs,
            decisions=decisions,
            metering=metering,
            poison=poison,
            troubles=tuple(troubles),
        )

    def _note_poison(self, now_s: float) -> int:
        """A message that cannot be decoded reaches no function: only its queue's count shows it."""
        left = 0
        noted = self._ports.incidents.latest(
            limit=INCIDENTS_LOOKED_AT, since_s=now_s - POISON_NOTED_AGAIN_S
        )
        for queue in POISON_QUEUES:
            count = self._ports.mail.count(queue)
            left += count
            text = f"queue {queue} holds messages that no function could record or even read"
            if count and text not in {each.text for each in noted}:
                self._ports.incidents.record(
                    Incident(at_s=now_s, kind=IncidentKind.POISON, text=text)
                )
        return left

    def _sweep_one(self, migration: Migration, now_s: float) -> int:
        spec = parse_spec(migration.spec_text)
        check_account(self._ports, spec)
        archive = self._ports.archives.open(spec.sink.container, spec.sink.prefix)
        swept = 0
        unproven = chain(archive.stored(STAGING), archive.stored(INCOMING))
        for stored in islice(unproven, BLOBS_PER_SWEEP_MAX):
            if self._unneeded(archive, migration.name, stored.name, now_s - stored.modified_s):
                archive.delete(stored.name)
                swept += 1
        return swept

    def _unneeded(self, archive: Archive, migration: str, blob: str, age_s: float) -> bool:
        named = staged_slice(blob) or incoming_slice(blob)
        if named is None:
            return False
        slice_id, fence = named
        target = self._ports.ledger.slice(migration, slice_id)
        if target is None:  # of a sink with one owner: it was cut, and nobody copies it any more
            past = is_slice_id(slice_id) and age_s >= YOUNG_S
            return past and archive.read(receipt_name(slice_id)) is None
        if target.state is SliceState.PROVEN:
            return True
        if fence >= target.fence or age_s < YOUNG_S:
            return False
        receipt = archive.read(receipt_name(slice_id))
        if receipt is None:
            return True
        try:
            return read_receipt(receipt_name(slice_id), receipt).fence != fence
        except PermanentError:
            return False
