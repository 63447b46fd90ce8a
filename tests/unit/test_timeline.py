"""What is drawn of a migration's past: minutes as they were, bounded, and nobody else's."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared import faces
from shared.application import picturing
from shared.domain.board import BOARD_VALID_S
from shared.domain.governor import Decision, Reason
from shared.domain.sharing import Share
from shared.errors import Invalid, NotFound
from shared.ports import Entry, Incident, Place
from tests.simulation.alerts import message
from tests.simulation.runs import SPEC
from tests.simulation.world import SOURCE, START_S, World, make_world

NOW_S = START_S + 3 * 3600
SHARE = Share(migration="sim", ru_per_s=90.0, in_flight=1, batch_documents=32)


@pytest.fixture
def world() -> World:
    found = make_world(1)
    found.calm.operating.apply(SPEC)
    found.clock.advance(NOW_S - START_S)
    return found


def an_entry(
    at_s: float,
    *,
    budget: float = 300.0,
    business: float | None = 400.0,
    age_s: float = 60.0,
    own: float = 0.0,
    reason: Reason = Reason.SLACK,
    **actions: object,
) -> Entry:
    decision = Decision(
        at_s=at_s,
        budget_ru_per_s=budget,
        reason=reason,
        sentence=f"{reason.value} at {at_s:.0f}",
        capacity_ru_per_s=1_000.0,
        ceiling=0.8,
        business_ru_per_s=business,
        reading_age_s=None if business is None else age_s,
    )
    told = {f"sim.{kind}": value for kind, value in actions.items()}
    return Entry(source=SOURCE, decision=decision, shares=(SHARE,), own_ru_per_s=own, actions=told)


def record(world: World, *entries: Entry) -> None:
    for entry in entries:
        world.ports.journal.record(entry)


def test_business_stands_at_the_minute_it_was_read(world: World) -> None:
    """A decision sees the past: its reading goes where it belongs, its budget where it was made."""
    minute = NOW_S - 600
    record(world, an_entry(minute + 180.0, business=450.0, age_s=120.0, budget=250.0))
    seen = {p.at_s: p for p in world.calm.picturing.timeline("sim", hours=1).points}
    assert seen[minute].business_ru_per_s == 450.0
    assert seen[minute].budget_ru_per_s is None
    assert seen[minute + 180].budget_ru_per_s == 250.0
    assert seen[minute + 180].business_ru_per_s is None
    assert seen[minute + 180].ceiling_ru_per_s == 800.0
    assert seen[minute + 180].capacity_ru_per_s == 1_000.0
    assert seen[minute + 180].reason == "slack"


@pytest.mark.parametrize("ago_min", [10, 150])
def test_own_use_stands_at_the_minute_it_was_spent(world: World, ago_min: int) -> None:
    """Each decision tells of the last minute metered whole, and the newest telling counts."""
    minute = NOW_S - ago_min * 60
    record(
        world,
        an_entry(minute + 64.9, own=10.0),
        an_entry(minute + 65.0, own=100.0),
        an_entry(minute + 95.0, own=120.0, age_s=35.0),
        an_entry(minute + 125.0, own=0.0),
    )
    seen = {p.at_s: p for p in world.calm.picturing.timeline("sim", hours=3).points}
    assert seen[minute - 60].own_ru_per_s == 10.0
    assert (seen[minute].own_ru_per_s, seen[minute].total_ru_per_s) == (120.0, 520.0)
    assert seen[minute + 60].own_ru_per_s == 0.0
    assert seen[minute + 120].own_ru_per_s is None


def test_a_decision_records_own_use_of_the_last_minute_metered_whole(world: World) -> None:
    """Of its own source; nothing where nothing was spent, whatever was spent before."""
    world.calm.operating.start("sim")
    minute = NOW_S
    for source, ru in ((SOURCE, 6_000.0), ("db/other", 60_000.0)):
        world.ports.metering.add("w", {(minute, Place(source=source, range_id="r000")): ru})
    told = []
    for at_s in (minute + 64, minute + 65, minute + 124):
        world.clock.advance(at_s - world.clock.now_s())
        told += [entry.own_ru_per_s for entry in world.calm.controller.tick()]
    assert told == [0.0, 100.0, 100.0]
    world.clock.advance(3_600)
    (later,) = world.calm.controller.tick()
    assert later.own_ru_per_s == 0.0


def test_a_minute_under_way_is_not_drawn_yet(world: World) -> None:
    """It would look like a fall."""
    world.clock.advance(30)
    record(world, an_entry(NOW_S + 10.0), an_entry(NOW_S - 50.0))
    points = world.calm.picturing.timeline("sim", hours=1).points
    assert max(p.at_s for p in points) == NOW_S - 60


def test_two_decisions_of_a_minute_make_one_point(world: World) -> None:
    """Their mean budget, and the later reason."""
    at_s = NOW_S - 300
    record(
        world,
        an_entry(at_s + 1.0, budget=100.0),
        an_entry(at_s + 31.0, budget=300.0, reason=Reason.GROWING),
    )
    seen = {p.at_s: p for p in world.calm.picturing.timeline("sim", hours=1).points}
    assert (seen[at_s].budget_ru_per_s, seen[at_s].reason) == (200.0, "growing")


def test_only_decisions_that_concern_the_migration_are_drawn(world: World) -> None:
    """Another container's budget is another picture."""
    stranger = replace(an_entry(NOW_S - 300.0, budget=900.0), shares=(), source="db/a")
    record(world, stranger, an_entry(NOW_S - 300.0, budget=100.0, error="busy"))
    found = world.calm.picturing.timeline("sim", hours=1)
    assert [p.budget_ru_per_s for p in found.points if p.budget_ru_per_s is not None] == [100.0]
    assert len(found.spells) == len(found.events) == 1


@pytest.mark.parametrize("hours", [0.1, 1.0, 6.0, 7.0, 48.0])
def test_a_timeline_is_bounded_whatever_is_asked(
    world: World, hours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points, spells and events have their limits, and so has the answer."""
    monkeypatch.setattr(picturing, "ENTRIES_MAX", 900)
    reasons = [Reason.SLACK, Reason.GROWING]
    world.clock.advance(48 * 3600)
    for index in range(1_000):
        at_s = world.clock.now_s() - 170.0 * index - 1.0
        record(world, an_entry(at_s, reason=reasons[index % 2], error=f"busy {index}"))
    found = world.calm.picturing.timeline("sim", hours=hours)
    assert 0 < len(found.points) <= picturing.POINTS_MAX
    assert len(found.spells) <= picturing.SPELLS_MAX
    assert len(found.events) <= picturing.EVENTS_MAX
    assert len(faces.shown(found.as_dict()).body) < 120_000
    assert found.cut == (hours > 42)
    assert found.since_s == pytest.approx(
        found.until_s - (170.0 * 899 + 1 if found.cut else hours * 3600)
    )
    assert all(found.since_s - found.step_s < p.at_s < found.until_s for p in found.points)


def test_a_long_span_is_thinned_to_means(world: World) -> None:
    """Seven hours in steps of two minutes; the reason is the one most minutes had."""
    start = NOW_S - NOW_S % 120 - 6 * 3600
    world.clock.advance(4 * 3600)
    reasons = [Reason.SLACK, Reason.STALE]
    record(
        world,
        an_entry(start + 1.0, budget=100.0, business=None),
        an_entry(start + 61.0, budget=300.0, business=None),
        *(an_entry(start + 240.0 + 60 * i, reason=reasons[i], business=None) for i in range(2)),
    )
    found = world.calm.picturing.timeline("sim", hours=10)
    assert found.step_s == 120
    decided = [p for p in found.points if p.reason]
    assert [(p.at_s, p.budget_ru_per_s, p.reason) for p in decided] == [
        (start, 200.0, "slack"),
        (start + 240, 300.0, "slack"),
    ]


def test_the_tally_tells_whose_minutes_were_over_the_ceiling(world: World) -> None:
    """Ebb's doing, the business's own, and how much of the slack was used."""
    first = NOW_S - 3_000
    record(world, an_entry(first + 5.0, business=None))
    for index, (business, own) in enumerate([(400.0, 300.0), (500.0, 310.0), (900.0, 0.0)]):
        minute = first + 60 * index
        record(world, an_entry(minute + 65.0, own=own, business=business, age_s=5.0))
    tally = world.calm.picturing.timeline("sim", hours=1).tally
    assert (tally.minutes, tally.over_by_ebb, tally.over_by_business) == (3, 1, 1)
    assert tally.slack_used == pytest.approx(610 / 700, abs=1e-4)


def test_a_tally_of_nothing_claims_nothing(world: World) -> None:
    """No slack was seen, so no part of it was used."""
    found = world.calm.picturing.timeline("sim", hours=1)
    assert (found.points, found.spells, found.events) == ((), (), ())
    assert found.tally == picturing.Tally(
        minutes=0, over_by_ebb=0, over_by_business=0, slack_used=None
    )


def test_decisions_with_one_reason_are_one_spell(world: World) -> None:
    """Newest first, each until the next; a decision holds no longer than the board does."""
    at_s = float(NOW_S - 1_000)
    record(
        world,
        an_entry(at_s),
        an_entry(at_s + 30.0),
        an_entry(at_s + 60.0, reason=Reason.STALE),
        an_entry(at_s + 500.0, reason=Reason.STALE),
    )
    spells = world.calm.picturing.timeline("sim", hours=1).spells
    assert [(s.from_s - at_s, s.until_s - at_s, s.reason, s.decisions) for s in spells] == [
        (500.0, 500.0 + BOARD_VALID_S, "stale", 1),
        (60.0, 60.0 + BOARD_VALID_S, "stale", 1),
        (0.0, 60.0, "slack", 2),
    ]
    assert spells[-1].sentence == f"slack at {at_s + 30:.0f}"


def test_what_is_met_at_every_tick_is_one_event(world: World) -> None:
    """An error that goes on has a beginning and an end; what a tick did stands beside it."""
    at_s = float(NOW_S - 900)
    record(
        world,
        an_entry(at_s, surveyed=True, planned=4, sent=2),
        an_entry(at_s + 30.0, error="busy"),
        an_entry(at_s + 60.0, error="busy"),
        an_entry(at_s + 90.0, halted="403"),
    )
    events = world.calm.picturing.timeline("sim", hours=1).events
    assert [(e.at_s - at_s, e.until_s - at_s, e.kind, e.text) for e in events] == [
        (90.0, 90.0, "halted", "403"),
        (30.0, 60.0, "error", "busy"),
        (0.0, 0.0, "surveyed", ""),
    ]


def test_alerts_stay_events_when_the_board_has_forgotten_them(world: World) -> None:
    """Each firing and each end, at its own time, by its rule; and only where it concerns."""
    fired_at_s = NOW_S - 60.0
    elsewhere = {"DatabaseName": "db", "CollectionName": "other"}
    for said in (
        {"rule": "ru-high"},
        {"rule": "ru-high"},
        {"rule": "elsewhere", "alert": "b", "dimensions": elsewhere},
    ):
        world.calm.alerting.take(message(fired_at_s=fired_at_s, **said))
    world.clock.advance(7_000)
    ended = message(rule="ru-high", fired_at_s=fired_at_s, resolved_at_s=fired_at_s + 900)
    world.calm.alerting.take(ended)
    world.calm.operating.start("sim")
    for _ in range(2):
        world.clock.advance(30)
        world.calm.controller.tick()
    assert world.ports.boards.read().alarms == {}
    told = world.calm.picturing.timeline("sim", hours=3).events
    events = [e for e in told if e.kind != "surveyed"]
    assert [(e.at_s - fired_at_s, e.kind, e.text) for e in events] == [
        (900.0, "alert_resolved", "ru-high"),
        (0.0, "alert_fired", "ru-high"),
    ]
    young = world.calm.picturing.timeline("sim", hours=1.5).events
    assert [e.kind for e in young] == ["surveyed"]


def test_no_number_of_errors_crowds_an_alert_out(world: World) -> None:
    """Events of ticks and alerts have limits of their own, and stand in one order."""
    world.calm.alerting.take(message(fired_at_s=NOW_S - 1_500.0))
    for index in range(60):
        record(world, an_entry(NOW_S - 1_000.0 + index, error=f"busy {index}"))
    for _ in range(picturing.ALERTS_MAX + 1):
        world.clock.advance(1)
        world.calm.alerting.take(message(fired_at_s=world.clock.now_s()))
    events = world.calm.picturing.timeline("sim", hours=1).events
    kinds = [e.kind for e in events]
    assert kinds == ["alert_fired"] * picturing.ALERTS_MAX + ["error"] * picturing.EVENTS_MAX
    assert [e.until_s for e in events] == sorted((e.until_s for e in events), reverse=True)


def test_an_incident_that_is_no_alert_is_no_event(world: World) -> None:
    """A poison message is the account's, and of no migration's minute."""
    world.ports.incidents.record(Incident(at_s=NOW_S - 60.0, kind="poison", text="x"))
    assert world.calm.picturing.timeline("sim", hours=1).events == ()


def test_an_unknown_migration_has_no_timeline(world: World) -> None:
    """Not found, rather than an empty picture."""
    with pytest.raises(NotFound):
        world.calm.picturing.timeline("nobody", hours=1)


@pytest.mark.parametrize("text", ["0", "-1", "49", "nan", "inf", "six", "1,5"])
def test_hours_that_are_none_are_a_fault_of_the_input(text: str) -> None:
    """422 as for any number out of its bounds, and the bounds are told."""
    with pytest.raises(Invalid) as caught:
        faces.hours(text)
    answer = faces.problem(caught.value)
    assert answer.status == json.loads(answer.body)["status"] == 422
    assert json.loads(answer.body)["errors"][0]["path"] == "hours"
    assert "48" in json.loads(answer.body)["errors"][0]["advice"]


@pytest.mark.parametrize(("text", "hours"), [(None, 6.0), ("", 6.0), ("0.5", 0.5), ("48", 48.0)])
def test_hours_are_read_or_six_are_taken(text: str | None, hours: float) -> None:
    """Parts of an hour, and two days at most."""
    assert faces.hours(text) == hours


def test_a_timeline_is_plain_json(world: World) -> None:
    """Every field of the answer, by its documented name."""
    record(world, an_entry(NOW_S - 300.0, halted="403"))
    body = json.loads(faces.shown(world.calm.picturing.timeline("sim", hours=1).as_dict()).body)
    assert (body["name"], body["source"], body["step_s"], body["cut"]) == ("sim", SOURCE, 60, False)
    assert body["until_s"] - body["since_s"] == 3600
    assert body["points"][-1] == {
        "at_s": NOW_S - 300,
        "business_ru_per_s": None,
        "own_ru_per_s": None,
        "total_ru_per_s": None,
        "budget_ru_per_s": 300.0,
        "ceiling_ru_per_s": 800.0,
        "capacity_ru_per_s": 1000.0,
        "reason": "slack",
    }
    assert body["spells"][0]["sentence"] == f"slack at {NOW_S - 300}"
    assert body["events"] == [
        {"at_s": NOW_S - 300.0, "until_s": NOW_S - 300.0, "kind": "halted", "text": "403"}
    ]
