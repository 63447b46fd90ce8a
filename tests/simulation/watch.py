"""What may only ever be added to, compared step by step: receipts, done slices, fences, totals.

It keeps what it saw and reads stored bytes; it asks no product code what is right.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from shared.domain.board import Board
from shared.domain.slices import MigrationState, Slice, SliceState
from tests.simulation.checkers import SINK, check_published
from tests.simulation.people import archives
from tests.simulation.world import World


@dataclass(slots=True)
class Watch:
    """Looks at everything stored, at every step and at every write of the board."""

    world: World
    receipts: dict[str, bytes] = field(default_factory=dict)
    done: dict[str, Slice] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    digests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    token: int = 0
    state: MigrationState | None = None
    met: set[str] = field(default_factory=set)
    """Which of the states that are hard to reach this run reached."""

    def attach(self) -> None:
        self.world.boards.told.append(self.board_written)

    def board_written(self, board: Board) -> None:
        """Whoever decides later holds the greater number; an older one changes nothing."""
        assert board.controller_token >= self.token, (
            f"controller {board.controller_token} wrote over controller {self.token}"
        )
        ticks = [actor for actor in self.world.chaos.actors if actor.name == "tick"]
        if board.controller_token > self.token and len(ticks) > 1:
            self.met.add("controller overtaken in its tick")
        self.token = board.controller_token

    def look(self) -> None:
        self._receipts()
        self._published()
        self._slices()
        self._totals()
        self._states()

    def _receipts(self) -> None:
        blobs = archives(self.world)
        now = {n: blobs.bytes_of(SINK, n) or b"" for n in blobs.names(SINK, "receipts/")}
        for name, data in self.receipts.items():
            assert name in now, f"{name} vanished"
            assert now[name] == data, f"{name} changed"
        self.receipts = now

    def _published(self) -> None:
        blobs = archives(self.world)
        published = {}
        for name in [*blobs.names(SINK, "data/"), *blobs.names(SINK, "manifests/")]:
            data = blobs.bytes_of(SINK, name) or b""
            if name not in self.digests or self.digests[name][0] is not data:
                self.digests[name] = (data, hashlib.sha256(data).hexdigest())
            published[name] = self.digests[name][1]
        named = {name: json.loads(data) for name, data in self.receipts.items()}
        check_published(named, published)
        for receipt in named.values():
            if receipt["manifest"]["name"] not in published:
                self.met.add("receipt before promotion")
            if receipt["superseded"]["count"]:
                self.met.add("superseded")
            if receipt["ids"]["lo"] is not None:
                self.met.add("second cut by ids")

    def _slices(self) -> None:
        ledger = self.world.ports.ledger
        done = {each.id: each for each in ledger.done_slices("sim")}
        for slice_id, known in self.done.items():
            assert done.get(slice_id) == known, f"slice {slice_id} was done and changed"
        self.done = done
        for each in (*done.values(), *ledger.open_slices("sim")):
            before = self.fences.get(each.id, 0)
            assert each.fence >= before, f"slice {each.id}: fence {each.fence} after {before}"
            self.fences[each.id] = each.fence
            self._note(each)

    def _note(self, each: Slice) -> None:
        if each.state is SliceState.QUARANTINED:
            self.met.add("quarantine")
        if each.fence > 1:
            self.met.add("two fences for one slice")
        if each.cause is not None:
            self.met.add(f"failed: {each.cause.value}")
        if each.staged is not None and each.staged.taken_over:
            self.met.add("taken over after harm")

    def _totals(self) -> None:
        """The totals are the sum of what the receipts of done slices say."""
        progress = self.world.ports.ledger.progress("sim")
        if progress is None:
            assert not self.done
            return
        proofs: list[dict[str, Any]] = []
        for slice_id in self.done:
            data = self.receipts.get(f"receipts/{slice_id}.json")
            assert data is not None, f"slice {slice_id} is done without a receipt"
            assert hashlib.sha256(data).hexdigest() == self.done[slice_id].receipt_sha256
            proofs.append(json.loads(data))
        assert progress.slices_proven == len(proofs)
        assert progress.documents_proven == sum(each["documents"] for each in proofs)
        assert progress.document_bytes == sum(each["document_bytes"] for each in proofs)
        assert progress.superseded == sum(each["superseded"]["count"] for each in proofs)

    def _states(self) -> None:
        state = self.world.ports.ledger.migration("sim").state
        if state is not self.state:
            self.met.add(f"migration {state.value}")
        self.state = state
        for incident in self.world.ports.incidents.latest(limit=1):
            self.met.add(f"incident: {incident.kind}")
