"""Watching whether migrations that may spend get anywhere, and saying so once when they do not.

People are also told of what else a tick finds: quarantined slices, too many minutes over the
ceiling, a cost far above the forecast.
"""

from __future__ import annotations

from dataclasses import replace

from shared.application.bundle import Ports
from shared.application.deciding import SourceViews
from shared.application.dispatching import next_first
from shared.application.notifying import note
from shared.application.planning import Plans
from shared.domain.board import Board
from shared.domain.governor import TOLERATED_SHARE
from shared.domain.notices import NoticeKind
from shared.domain.outlook import MINUTES_KEPT
from shared.domain.pulse import STALLED_AFTER_S, Pulse, beat
from shared.domain.sharing import USEFUL_RU_PER_S, Share
from shared.domain.slices import SliceState
from shared.ports import Incident, IncidentKind, Remembered

COSTLY_FACTOR = 1.5  # of the forecast: documents differ in size, but half as much again is news
DAY_S = 86_400


def watch(
    ports: Ports,
    source: SourceViews,
    shares: tuple[Share, ...],
    remembered: Remembered,
    board: Board,
) -> Remembered:
    """With each migration's pulse taken; a stall is recorded as an incident when it is found."""
    now_s = ports.clock.now_s()
    pulses: dict[str, Pulse] = {}
    for view, share in zip(source.views, shares, strict=True):
        name = view.migration.name
        pulse = beat(
            remembered.pulses.get(name),
            mark=_mark(view),
            may_work=share.ru_per_s >= USEFUL_RU_PER_S and _has_work(view, board, now_s),
            is_worked_on=any(seat.migration == name for seat in board.live_seats(now_s)),
            now_s=now_s,
        )
        if pulse.is_stalled(now_s) and not pulse.told:
            ports.incidents.record(
                Incident(at_s=now_s, kind=IncidentKind.STALLED, text=_alarm(name, share))
            )
            note(ports, view.migration, NoticeKind.STALLED, f"{pulse.since_s}")
            pulse = replace(pulse, told=True)
        pulses[name] = pulse
        _note_troubles(ports, view, remembered.memory.overrun_s)
    return replace(remembered, pulses=pulses)


def _note_troubles(ports: Ports, view: Plans, overrun_s: tuple[int, ...]) -> None:
    """A mark names an event: the set of slices, the day, the migration as a whole."""
    quarantined = [s for s in view.slices if s.state is SliceState.QUARANTINED]
    if quarantined:
        mark = " ".join(f"{s.id}.{s.fence}" for s in quarantined)
        note(ports, view.migration, NoticeKind.QUARANTINED, mark)
    if len(overrun_s) > TOLERATED_SHARE * MINUTES_KEPT:
        note(ports, view.migration, NoticeKind.OVERRUN, f"{max(overrun_s) // DAY_S}")
    progress = view.progress
    if 0 < COSTLY_FACTOR * progress.forecast_ru < progress.ru_spent:
        note(ports, view.migration, NoticeKind.COSTLY, "")


def _mark(view: Plans) -> str:
    """Something that changes whenever the migration gets anywhere."""
    progress = view.progress
    ranges = sum(hash((p.surveyed, p.frontier_s, p.earliest_s)) for p in view.ranges)
    return f"{ranges:x} {progress.slices_proven} {progress.attempts_failed}"


def _has_work(view: Plans, board: Board, now_s: float) -> bool:
    """Whether anything could be done now: not all is hot, quarantined or resting."""
    grant = board.grant_for(view.migration.name)
    to_plan = any(not p.finished and not grant.is_paused(p.range.id) for p in view.ranges)
    to_prove = any(s.state in {SliceState.COPIED, SliceState.VALIDATING} for s in view.slices)
    return to_plan or to_prove or bool(next_first(board, view.slices, now_s))


def _alarm(name: str, share: Share) -> str:
    return (
        f"{name} is stalled: it may spend {share.ru_per_s:.0f} RU/s, and for {STALLED_AFTER_S:.0f} "
        "s no worker took a seat and nothing was planned, copied or proven; look whether the "
        "function app's queue triggers run and what its log says"
    )
