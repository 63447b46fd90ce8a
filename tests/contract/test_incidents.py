"""The incidents' promises: newest first, bounded, harmless when repeated."""

from __future__ import annotations

from shared.ports import AlertNote, Incident
from tests.contract.records import NOON_S
from tests.contract.rooms import Rooms


def an_incident(second: int, text: str = "a message failed: “Ünïcode” [") -> Incident:
    return Incident(at_s=NOON_S + second, kind="poison", text=text)


def an_alert(second: int, *sources: str) -> Incident:
    note = AlertNote(rule="RU “high”", resolved=second > 0, sources=sources)
    return Incident(at_s=NOON_S + second, kind="alert", text="alert", alert=note)


def test_incidents_come_newest_first_and_no_more_than_asked(rooms: Rooms) -> None:
    """What an operator sees first is what happened last."""
    incidents = rooms.incidents()
    assert incidents.latest(limit=5) == ()
    for second in (1, 3, 2):
        incidents.record(an_incident(second))
    assert incidents.latest(limit=2) == (an_incident(3), an_incident(2))
    assert incidents.latest(limit=0) == ()


def test_only_incidents_since_an_instant_are_told_if_it_is_given(rooms: Rooms) -> None:
    """That instant itself belongs to them, and the limit still holds."""
    incidents = rooms.incidents()
    for second in (1, 2, 3):
        incidents.record(an_incident(second))
    since = incidents.latest(limit=5, since_s=NOON_S + 2)
    assert since == (an_incident(3), an_incident(2))
    assert incidents.latest(limit=1, since_s=NOON_S + 2) == (an_incident(3),)


def test_an_alert_comes_back_with_its_rule_and_whom_it_concerned(rooms: Rooms) -> None:
    """Two of one moment and one wording, on two containers, are two."""
    incidents = rooms.incidents()
    told = [an_alert(1, "db/ä", "db/b"), an_alert(0, "db/ä"), an_alert(0, "db/b"), an_alert(0)]
    for each in told + told:
        incidents.record(each)
    found = incidents.latest(limit=10)
    assert found[0] == told[0]
    assert len(found) == 4
    assert all(each in found for each in told)


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
