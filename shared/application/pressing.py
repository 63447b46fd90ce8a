"""Taking the business's word for its load: the board shrinks at once, before any metric tells.

Workers see it at their next look, within two seconds; the next ticks keep to it while it lasts.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.application.bundle import Ports
from shared.application.pacer import change_board
from shared.domain.board import SOURCES_MAX, Board
from shared.domain.pressure import parse_push
from shared.domain.spec import parse_spec
from shared.errors import NotFound, Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """What a push did."""

    sources: tuple[str, ...]
    until_s: float
    budget_ru_per_s: float


def known_sources(ports: Ports) -> set[str]:
    """Whatever any migration reads, in whichever state it is."""
    return {parse_spec(each.spec_text).source.name for each in ports.ledger.migrations()}


class Pressing:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def push(self, text: str) -> Pressed:
        now_s = self._ports.clock.now_s()
        told = parse_push(text, now_s=now_s)
        known = known_sources(self._ports)
        if told.source is not None and told.source not in known:
            raise NotFound(
                f"no migration reads {told.source!r}; known: {', '.join(sorted(known)) or 'none'}"
            )
        pressure = told.pressure

        def press(board: Board) -> Board:
            if told.source is None:
                return board.pressed_everywhere(pressure, now_s=now_s)
            if pressure.until_s > now_s and not board.tidied(now_s).has_room(told.source):
                raise Refused(
                    f"noting what the business of {told.source} needs: {SOURCES_MAX} sources have "
                    "something noted already; leave the source out, which means every source"
                )
            return board.pressed(told.source, pressure, now_s=now_s)

        board = change_board(self._ports, press)
        sources = tuple(sorted(known)) if told.source is None else (told.source,)
        grants = board.grants if board is not None else {}
        return Pressed(
            sources=sources,
            until_s=pressure.until_s,
            budget_ru_per_s=sum(grants[name].budget_ru_per_s for name in sources if name in grants),
        )
