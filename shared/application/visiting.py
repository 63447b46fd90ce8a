"""A seat at the board for whoever is no worker, moved from slice to slice and waited for.

It serves commands that run where an operator runs them; the controller grants a share while
somebody sits there, whatever state the migration is in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from shared.application.bundle import Ports
from shared.application.pacer import GivenBack, NoRoom, Pacer, SeatLost
from shared.domain.board import Activity, Seat
from shared.domain.slices import Extent
from shared.errors import EbbError, TransientError

PATIENCE_S = 900.0  # without a budget for so long an operator had better come back later
RETRY_S = 10.0

T = TypeVar("T")


class NoBudget(TransientError):
    """The budget left nothing for a visitor, for longer than anybody should wait."""


class Visitor:
    """One seat for one migration; `doing` and `later` are said where no budget comes."""

    def __init__(
        self, ports: Ports, *, migration: str, source: str, doing: str, later: str
    ) -> None:
        self._ports = ports
        self._migration = migration
        self._source = source
        self._doing = doing
        self._later = later
        self._pacer: Pacer | None = None
        self._sits_at: Extent | None = None

    def at(self, extent: Extent, act: Callable[[Pacer], T]) -> T:
        """Act on a seat at this slice; begun anew where the seat or the budget was lost."""
        since_s = self._ports.clock.now_s()
        while True:
            try:
                return act(self._seated(extent))
            except (GivenBack, NoRoom, SeatLost) as error:
                self._sits_at = None
                self._wait_or_give_up(extent, since_s, error)

    def keep(self) -> None:
        if self._pacer is not None:
            try:
                self._pacer.keep()
            except SeatLost:
                self.leave()

    def leave(self) -> None:
        if self._pacer is not None:
            self._pacer.leave()
            self._pacer = None
            self._sits_at = None

    def _seated(self, extent: Extent) -> Pacer:
        if self._pacer is not None and self._sits_at == extent:
            return self._pacer
        if self._pacer is not None and self._pacer.move_to(extent.slice_id, extent.range.id, 0):
            self._sits_at = extent
            return self._pacer
        self.leave()
        pacer = Pacer.seated(self._ports, self._seat(extent), lasts_s=math.inf)
        if pacer is None:
            raise NoRoom(f"slice {extent.slice_id} is in other hands")
        self._pacer = pacer
        self._sits_at = extent
        return pacer

    def _seat(self, extent: Extent) -> Seat:
        return Seat(
            migration=self._migration,
            source=self._source,
            range_id=extent.range.id,
            slice_id=extent.slice_id,
            fence=0,
            activity=Activity.COMPARE,
            until_s=0.0,
        )

    def _wait_or_give_up(self, extent: Extent, since_s: float, error: EbbError) -> None:
        waited_s = self._ports.clock.now_s() - since_s
        if waited_s > PATIENCE_S:
            raise NoBudget(
                f"{self._doing} slice {extent.slice_id}: no budget for "
                f"{waited_s:.0f} s ({error}); see 'ebb explain', and {self._later}"
            ) from error
        self._ports.clock.wait(RETRY_S)
