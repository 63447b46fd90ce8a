"""A migration's own forecast, noted once: how long it takes and what it costs, as known by then.

Embedded workers use nearly all of a share, so the first share tells. A factory's runs take time of
their own, so they are asked when they have shown their pace.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import islice

from shared.application.bundle import Ports
from shared.application.planning import Plans
from shared.domain.forecast import by_runs_s, grown_s, whole_s
from shared.domain.governor import GROWTH, Decision
from shared.domain.sharing import Share
from shared.domain.slices import Progress, SliceState
from shared.errors import Conflict
from shared.ports import Change

RUNS_SEEN_MAX = 64  # of a migration that was never foretold: a tick reads no more of what is done


def note_forecast(ports: Ports, view: Plans, share: Share, decision: Decision) -> None:
    """Where something can be said for the first time; whoever wrote meanwhile comes first."""
    if view.progress.forecast_s is not None or not view.progress.surveyed or share.ru_per_s <= 0:
        return
    # Read afresh: runs that were settled in this tick have moved it on.
    progress = ports.ledger.progress(view.migration.name)
    if progress is None or progress.ru_per_document <= 0:
        return
    if view.spec.engine == "embedded":
        foretold_s: float | None = _by_share(ports, progress, share, decision)
    else:
        foretold_s = _by_runs(ports, progress, share.in_flight)
    if foretold_s is None:
        return
    left_ru = progress.documents_left * progress.ru_per_document * _readings(view)
    noted = replace(progress, forecast_s=foretold_s, forecast_ru=progress.ru_spent + left_ru)
    with suppress(Conflict):
        ports.ledger.commit(view.migration.name, Change(progress=noted))


def _by_share(ports: Ports, progress: Progress, share: Share, decision: Decision) -> float:
    part = share.ru_per_s / decision.budget_ru_per_s
    working_s = grown_s(
        progress.documents_left * progress.ru_per_document,
        share.ru_per_s,
        step_ru_per_s=part * GROWTH * decision.capacity_ru_per_s,
        to_ru_per_s=part * decision.growing_to_ru_per_s,
    )
    begun_s = max(0.0, ports.clock.now_s() - progress.started_at_s)
    return whole_s(working_s, begun_s=begun_s)


def _by_runs(ports: Ports, progress: Progress, in_flight: int) -> float | None:
    """Once more runs are proven than may be under way: the first ones came without waiting."""
    name = progress.migration
    if not in_flight < progress.slices_proven <= RUNS_SEEN_MAX:
        return None
    done = islice(ports.ledger.done_slices(name), RUNS_SEEN_MAX)
    seen = [each for each in (*done, *ports.ledger.open_slices(name)) if each.run]
    documents = sum(each.documents_planned for each in seen)
    left = max(0, progress.documents_expected - documents)
    ends_s = by_runs_s(
        [each.run.ordered_at_s for each in seen if each.run],
        proven_of_them=sum(1 for each in seen if each.state is SliceState.PROVEN),
        runs_left=left * len(seen) / max(1, documents),
        now_s=ports.clock.now_s(),
    )
    return None if ends_s is None else ends_s - progress.started_at_s


def _readings(view: Plans) -> int:
    """How often each document is read."""
    twice = view.spec.engine != "embedded" or view.spec.validation == "reread"
    return 2 if twice else 1
