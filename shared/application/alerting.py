"""Taking Azure Monitor's alerts: what fires stops everything at once, what is resolved only allows.

Alerts are a second pair of eyes. One lost, late, doubled or out of order changes nothing for long:
a hold ends by itself, and from then on the readings decide as they always do.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.application.bundle import Ports
from shared.application.pacer import change_board
from shared.application.pressing import known_sources
from shared.domain.alerts import Alert, Condition, parse_alert
from shared.domain.board import Board
from shared.domain.governor import Alarm
from shared.errors import Fault, Invalid
from shared.ports import AlertNote, Incident, IncidentKind

SOURCES_NOTED_MAX = 10  # with an incident: a row holds no more of the longest names


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of an alert."""

    rule: str
    condition: str
    sources: tuple[str, ...]
    held_until_s: float | None
    """None where nothing is held by it: it is resolved, long past, or names no known source."""


class Alerting:
    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def take(self, text: str, *, authorization: str = "") -> Taken:
        self._ports.callers.check(authorization)
        now_s = self._ports.clock.now_s()
        alert = parse_alert(text, now_s=now_s)
        self._must_concern(alert)
        known = known_sources(self._ports)
        everywhere = alert.sources is None
        sources = sorted(known if alert.sources is None else known & alert.sources)
        if everywhere or sources:
            change_board(self._ports, lambda board: _told(board, alert, sources, now_s))
        self._ports.incidents.record(_incident(alert, sources))
        held = (everywhere or bool(sources)) and alert.until_s > now_s
        return Taken(
            rule=alert.rule,
            condition=alert.condition.value,
            sources=tuple(sources),
            held_until_s=alert.until_s if held else None,
        )

    def _must_concern(self, alert: Alert) -> None:
        account = self._ports.sources.account
        if account.lower() not in alert.accounts:
            seen = f"saw {', '.join(sorted(alert.accounts)) or 'no Cosmos DB account'}"
            advice = f"send only alerts on the Cosmos DB account {account!r}"
            path = "$.data.essentials.alertTargetIDs"
            raise Invalid("the alert", (Fault(path=path, seen=seen, advice=advice),))


def _incident(alert: Alert, sources: list[str]) -> Incident:
    """What stays when the board has long forgotten the alert."""
    resolved = alert.condition is Condition.RESOLVED
    everywhere = alert.sources is None
    noted = () if everywhere else tuple(sources[:SOURCES_NOTED_MAX])
    note = AlertNote(rule=alert.rule, resolved=resolved, sources=noted, everywhere=everywhere)
    return Incident(at_s=alert.at_s, kind=IncidentKind.ALERT, text=alert.sentence(), alert=note)


def _told(board: Board, alert: Alert, sources: list[str], now_s: float) -> Board | None:
    alarm = Alarm(rule=alert.rule, fired_at_s=alert.fired_at_s, until_s=alert.until_s)
    told = board
    if alert.sources is None:
        told = board.alarmed_everywhere(alert.key, alarm, now_s=now_s)
    else:
        for source in sources:
            told = told.alarmed(source, alert.key, alarm, now_s=now_s)
    return told if told != board else None
