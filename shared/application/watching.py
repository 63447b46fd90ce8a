"""Watching whether migrations that may spend get anywhere, and saying so once when they do not.

People are also told of what else a tick finds: quarantined slices, too many minutes over the
ceiling, a cost far above the forecast.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from shared.application.bundle import Ports
from shared.application.deciding import SourceViews
from shared.application.dispatching import next_first
from shared.application.notifying import note
from shared.application.planning import Plans, planned_ahead
from shared.application.retirements import waiting_removals
from shared.domain.board import Activity, Board
from shared.domain.governor import TOLERATED_SHARE
from shared.domain.notices import NoticeKind
from shared.domain.outlook import MINUTES_KEPT
from shared.domain.pulse import STALLED_AFTER_S, Pulse, beat, retiring_pulse
from shared.domain.sharing import USEFUL_RU_PER_S, Share
from shared.domain.slices import MigrationState, SliceState
from shared.ports import Incident, IncidentKind, Remembered

COSTLY_FACTOR = 1.5  # of the forecast: documents differ in size, but half as much again is news
COSTLY_RU_MIN = 100_000  # above it: some cents; what every slice costs besides is nothing to tell
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effort:
    """Something that workers do for a migration and that may come to a stand by itself."""

    name: str
    mark: str
    has_work: bool
    retires: bool = False


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
        for each in _efforts(ports, view, share, board):
            pulse = beat(
                remembered.pulses.get(each.name),
                mark=each.mark,
                may_work=share.ru_per_s >= USEFUL_RU_PER_S and each.has_work,
                is_worked_on=any(
                    seat.migration == view.migration.name
                    and (seat.activity is Activity.RETIRE) == each.retires
                    for seat in board.live_seats(now_s)
                ),
                now_s=now_s,
            )
            pulses[each.name] = _told(ports, view, each, share, pulse)
        _note_troubles(ports, view, remembered.memory.overrun_s)
    return replace(remembered, pulses=pulses)


def _told(ports: Ports, view: Plans, effort: _Effort, share: Share, pulse: Pulse) -> Pulse:
    """A stall is told once, also by whichever controller finds it next."""
    now_s = ports.clock.now_s()
    if pulse.told or not pulse.is_stalled(now_s):
        return pulse
    text = _alarm(effort, share)
    ports.incidents.record(Incident(at_s=now_s, kind=IncidentKind.STALLED, text=text))
    note(ports, view.migration, NoticeKind.STALLED, f"{effort.name} {pulse.since_s}")
    return replace(pulse, told=True)


def _efforts(ports: Ports, view: Plans, share: Share, board: Board) -> Iterator[_Effort]:
    """What a migration gets on with: its copy, and its removal where that runs."""
    now_s = ports.clock.now_s()
    name = view.migration.name
    if view.migration.state is MigrationState.RUNNING:
        has_work = _has_work(view, share, board, now_s)
        yield _Effort(name=name, mark=_mark(view), has_work=has_work)
    retirement = ports.ledger.retirement(name) if view.migration.retiring else None
    if retirement is None:
        return
    removals = ports.ledger.removals(name)
    moved = sum(each.offset + each.failures for each in removals)
    yield _Effort(
        name=retiring_pulse(name),
        mark=f"{retirement.slices_done} {len(removals)} {moved}",
        has_work=bool(waiting_removals(board, removals, now_s)),
        retires=True,
    )


def _note_troubles(ports: Ports, view: Plans, overrun_s: tuple[int, ...]) -> None:
    """A mark names an event: the set of slices, the day, the migration as a whole."""
    quarantined = [s for s in view.slices if s.state is SliceState.QUARANTINED]
    if quarantined:
        mark = " ".join(f"{s.id}.{s.fence}" for s in quarantined)
        note(ports, view.migration, NoticeKind.QUARANTINED, mark)
    if len(overrun_s) > TOLERATED_SHARE * MINUTES_KEPT:
        note(ports, view.migration, NoticeKind.OVERRUN, f"{max(overrun_s) // DAY_S}")
    progress = view.progress
    foretold = progress.forecast_ru
    if foretold and progress.ru_spent > max(COSTLY_FACTOR * foretold, foretold + COSTLY_RU_MIN):
        note(ports, view.migration, NoticeKind.COSTLY, "")


def _mark(view: Plans) -> str:
    """Something that changes whenever the migration gets anywhere."""
    progress = view.progress
    ranges = sum(hash((p.surveyed, p.frontier_s, p.earliest_s)) for p in view.ranges)
    return f"{ranges:x} {progress.slices_proven} {progress.attempts_failed}"


def _has_work(view: Plans, share: Share, board: Board, now_s: float) -> bool:
    """Whether anything could be done now: not all is hot, quarantined or resting."""
    grant = board.grant_for(view.migration.name)
    open_ = sum(s.state is not SliceState.QUARANTINED for s in view.slices)
    to_plan = open_ < planned_ahead(view.spec, share) and any(
        not p.finished and not grant.is_paused(p.range.id) for p in view.ranges
    )
    to_prove = any(s.state in {SliceState.COPIED, SliceState.VALIDATING} for s in view.slices)
    return to_plan or to_prove or bool(next_first(board, view.slices, now_s))


def _alarm(effort: _Effort, share: Share) -> str:
    missing = "removed or restored" if effort.retires else "planned, copied or proven"
    return (
        f"{effort.name} is stalled: it may spend {share.ru_per_s:.0f} RU/s, and for "
        f"{STALLED_AFTER_S:.0f} s no worker took a seat and nothing was {missing}; look whether "
        "the function app's queue triggers run and what its log says"
    )
