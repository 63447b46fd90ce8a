"""The incidents' promises: newest first, bounded, harmless when repeated."""

from __future__ import annotations

from shared.ports import Incident
from tests.contract.records import NOON_S
from tests.contract.rooms import Rooms


def an_incident(second: int, text: str = "a message failed: “Ünïcode” [") -> Incident:
    return Incident(at_s=NOON_S + second, kind="poison", text=text)


def test_incidents_come_newest_first_and_no_more_than_asked(rooms: Rooms) -> None:
    """What an operator sees first is what happened last."""
    incidents = rooms.incidents()
    assert incidents.latest(limit=5) == ()
    for second in (1, 3, 2):
        incidents.record(an_incident(second))
    assert incidents.latest(limit=2) == (an_incident(3), an_incident(2))
    assert incidents.latest(limit=0) == ()


def test_an_incident_recorded_twice_is_kept_once(rooms: Rooms) -> None:
    """A poison message may be handled twice; two different ones of one instant both stay."""
    incidents = rooms.incidents()
    for text in ("a", "b", "a"):
        incidents.record(an_incident(0, text))
    assert sorted(each.text for each in incidents.latest(limit=10)) == ["a", "b"]


def test_an_incident_that_was_a_test_is_removed_alone(rooms: Rooms) -> None:
    """Others of the same instant stay, and removing it again is no error."""
    incidents = rooms.incidents()
    incidents.remove(an_incident(0))
    for text in ("a", "b"):
        incidents.record(an_incident(0, text))
    for _ in range(2):
        incidents.remove(an_incident(0, "a"))
        assert incidents.latest(limit=10) == (an_incident(0, "b"),)
