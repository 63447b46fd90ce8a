"""One cheap question a minute to a source that nobody uses, so that Azure Monitor has a minute.

A container without requests has no metrics, and without metrics nothing is ever spent. Where
Monitor answers and knows nothing new, Ebb's own question makes the next minute appear, and the
ordinary rules go on from there. It decides no budget.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.application.bundle import Ports
from shared.application.deciding import Observed, SourceViews
from shared.application.pacer import MINUTE_S, OwnMeter
from shared.domain.governor import Reason
from shared.domain.slices import Extent, Window
from shared.errors import EbbError, PermanentError
from shared.ports import Place, Query

UNSEEN_AFTER_S = 600.0  # twice what Monitor may be late: what is not told by then does not come
UNSEEN_EVERY_S = 600.0
FORGOTTEN_AFTER_S = 300.0  # a source that was not silent for so long begins anew
NOTHING = Window(lo_s=0, hi_s=1)  # the cheapest question there is: a count of the year 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class _Struck:
    first_s: float
    last_s: float


class Sparks:
    """Remembers in this process alone when it asked; a new one begins its ten minutes anew."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._struck: dict[str, _Struck] = {}

    def struck(self, source: SourceViews, observed: Observed) -> Observed:
        """The same decision, or one that says that Monitor never shows what Ebb itself does."""
        now_s = self._ports.clock.now_s()
        known = self._struck.get(source.name)
        if known is None or now_s - known.last_s > FORGOTTEN_AFTER_S + UNSEEN_EVERY_S:
            known = _Struck(first_s=now_s, last_s=0.0)
        unseen = now_s - known.first_s > UNSEEN_AFTER_S
        if now_s - known.last_s >= (UNSEEN_EVERY_S if unseen else MINUTE_S):
            self._ask(source)
            known = replace(known, last_s=now_s)
        self._struck[source.name] = known
        return _unseen(observed, now_s - known.first_s) if unseen else observed

    def _ask(self, source: SourceViews) -> None:
        spec, plan = source.views[0].spec, source.views[0].ranges[0]
        query = Query(extent=Extent(window=NOTHING, range=plan.range), where=spec.cold_where)
        opened = self._ports.sources.open(source.database, source.container)
        try:
            ru = opened.count(query).ru
        except PermanentError:
            raise
        except EbbError as error:  # it is asked again in a minute
            ru = error.ru
        meter = OwnMeter(self._ports, self._ports.names.new())
        meter.add(ru, Place(source=source.name, range_id=plan.range.id))
        meter.flush()


def _unseen(observed: Observed, for_s: float) -> Observed:
    sentence = (
        "holding: Azure Monitor answers, and for "
        f"{for_s / MINUTE_S:.0f} minutes it has shown none of Ebb's own requests; compare "
        "EBB_COSMOS_RESOURCE_ID, database and container with what Metrics shows in the portal"
    )
    decision = replace(observed.decision, reason=Reason.UNSEEN, sentence=sentence)
    return replace(observed, decision=decision)
