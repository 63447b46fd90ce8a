"""Azure Monitor's alerts: read strictly, idempotent, in any order, and never the last word."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.records import packed
from shared.application.alerting import Alerting, Taken
from shared.domain.alerts import ALERT_HOLD_S, Condition, parse_alert
from shared.domain.board import ALARMS_MAX, OTHERS, Grant
from shared.domain.governor import TICK_S, Alarm, Reason
from shared.errors import Denied, Invalid
from tests.simulation.alerts import ACCOUNT_ID, message
from tests.simulation.runs import SPEC
from tests.simulation.world import SOURCE, START_S, World, make_world

RAMP_TICKS = 8
FULL = 390.0


@pytest.fixture
def world() -> World:
    """A migration at full pace."""
    world = make_world(1)
    for index in range(40):
        world.source.put(f"doc-{index}", ts=START_S - 200 * 86_400 + index, body=index)
    world.calm.operating.start(world.calm.operating.apply(SPEC).name)
    for _ in range(RAMP_TICKS):
        tick(world)
    assert budget(world) > FULL
    return world


def tick(world: World) -> Reason:
    world.clock.advance(TICK_S)
    (entry,) = world.calm.controller.tick()
    return entry.decision.reason


def budget(world: World) -> float:
    return world.ports.boards.read().grants[SOURCE].budget_ru_per_s


def take(world: World, **said: Any) -> Taken:
    said.setdefault("fired_at_s", world.clock.now_s())
    return world.calm.alerting.take(message(**said))


def told(world: World) -> list[str]:
    return [i.text for i in world.ports.incidents.latest(limit=100) if i.kind == "alert"]


def test_an_alert_that_fires_stops_everything_at_once(world: World) -> None:
    """Before any tick, and the next decisions keep to it and say so."""
    taken = take(world)
    assert taken.sources == (SOURCE,)
    assert taken.held_until_s == pytest.approx(world.clock.now_s() + ALERT_HOLD_S)
    grant = world.ports.boards.read().grants[SOURCE]
    assert (grant.budget_ru_per_s, *grant.shares_ru_per_s.values()) == (0, 0)
    assert tick(world) is Reason.ALERT
    assert "the alert 'ru-high' fired at " in world.ports.boards.read().grants[SOURCE].reason
    assert budget(world) == 0


def test_what_is_resolved_is_only_permitted_again(world: World) -> None:
    """Nothing grows before a decision, and then no faster than ever."""
    fired_at_s = world.clock.now_s()
    take(world, fired_at_s=fired_at_s)
    tick(world)
    take(world, fired_at_s=fired_at_s, resolved_at_s=world.clock.now_s())
    assert budget(world) == 0
    assert tick(world) is not Reason.ALERT
    assert budget(world) <= FULL


def test_a_lost_resolved_stops_nothing_for_ever(world: World) -> None:
    """Ten minutes after it fired the readings decide."""
    take(world)
    reasons = [tick(world) for _ in range(int(ALERT_HOLD_S / TICK_S) + RAMP_TICKS)]
    held = reasons.count(Reason.ALERT)
    assert held in {ALERT_HOLD_S / TICK_S - 1, ALERT_HOLD_S / TICK_S}
    assert set(reasons[held:]).isdisjoint({Reason.ALERT})
    assert budget(world) > FULL


def test_two_alerts_hold_until_the_last_of_them(world: World) -> None:
    """One that is resolved says nothing of the other."""
    fired_at_s = world.clock.now_s()
    take(world, alert="a", fired_at_s=fired_at_s)
    take(world, alert="b", fired_at_s=fired_at_s)
    take(world, alert="a", fired_at_s=fired_at_s, resolved_at_s=fired_at_s)
    assert tick(world) is Reason.ALERT
    take(world, alert="b", fired_at_s=fired_at_s, resolved_at_s=fired_at_s + 1)
    assert tick(world) is not Reason.ALERT


def test_it_fires_again_after_it_was_resolved(world: World) -> None:
    """A rule's alert keeps its id where it is not stateful."""
    fired_at_s = world.clock.now_s() - 60
    take(world, fired_at_s=fired_at_s)
    take(world, fired_at_s=fired_at_s, resolved_at_s=fired_at_s + 30)
    take(world)
    assert tick(world) is Reason.ALERT


@pytest.mark.parametrize("seed", range(8))
def test_order_and_number_of_messages_decide_nothing(world: World, seed: int) -> None:
    """However often and in whichever order they come, the same is held in the end."""
    rng = random.Random(seed)
    now_s = world.clock.now_s()
    said: list[dict[str, Any]] = []
    for alert in "abc":
        fired_at_s = now_s - rng.randrange(500)
        said.append({"alert": alert, "fired_at_s": fired_at_s})
        if rng.random() < 0.6:
            said.append({**said[-1], "resolved_at_s": fired_at_s + rng.randrange(60)})
    for each in said:
        take(world, **each)
    expected = world.ports.boards.read().alarms
    again = make_world(1)
    again.clock.advance(now_s - again.clock.now_s())
    again.calm.operating.apply(SPEC)
    often = [each for each in said for _ in range(rng.choice([1, 2, 100]))]
    rng.shuffle(often)
    for each in often:
        take(again, **each)
    assert again.ports.boards.read().alarms == expected
    assert sorted(told(again)) == sorted(told(world))


def test_an_alert_that_comes_an_hour_late_holds_nothing(world: World) -> None:
    """It is written down; what it warned of is long read from the metrics."""
    taken = take(world, fired_at_s=world.clock.now_s() - 3_600)
    assert taken.held_until_s is None
    assert budget(world) > FULL
    assert len(told(world)) == 1


def test_an_alert_on_one_container_leaves_the_others(world: World) -> None:
    """Where every condition names it; a condition on the whole account concerns all."""
    elsewhere = {"DatabaseName": "db", "CollectionName": "other"}
    assert take(world, dimensions=elsewhere).sources == ()
    assert budget(world) > FULL
    here = {"DatabaseName": "db", "CollectionName": "c"}
    assert take(world, alert="b", dimensions=here).sources == (SOURCE,)
    assert budget(world) == 0


def test_alerts_of_an_idle_source_are_remembered(world: World) -> None:
    """Whoever resumes within the hold finds it in force."""
    world.calm.operating.change("sim", "pause")
    tick_without_entries(world)
    take(world)
    tick_without_entries(world)
    world.calm.operating.change("sim", "resume")
    assert tick(world) is Reason.ALERT


def tick_without_entries(world: World) -> None:
    world.clock.advance(TICK_S)
    world.calm.controller.tick()


def test_the_newest_alarms_are_kept_within_bounds() -> None:
    """A row of the board holds only so much."""
    grant = Grant()
    for number in range(3 * ALARMS_MAX):
        alarm = Alarm(rule="r", fired_at_s=float(number), until_s=number + 10.0)
        grant = grant.alarmed(str(number), alarm, now_s=0.0)
    assert len(grant.alarms) == ALARMS_MAX
    assert grant.alarms[str(3 * ALARMS_MAX - 1)].until_s == 3 * ALARMS_MAX + 9


@pytest.mark.parametrize("number", [50, 200])
@pytest.mark.parametrize("first", [True, False])
def test_no_hold_is_lost_among_very_many(number: int, *, first: bool) -> None:
    """Some are resolved, the others still fire: it holds, and not for ever."""
    grant = Grant()
    alarms = [Alarm(rule=f"r{each}", fired_at_s=0.0, until_s=600.0) for each in range(number)]
    for alarm in alarms:
        grant = grant.alarmed(alarm.rule, alarm, now_s=0.0)
    for alarm in alarms[:ALARMS_MAX] if first else alarms[-ALARMS_MAX:]:
        grant = grant.alarmed(alarm.rule, replace(alarm, until_s=0.0), now_s=60.0)
    assert grant.alarm(599.0) is not None
    assert grant.alarm(600.0) is None
    assert len(grant.alarms) <= ALARMS_MAX


def test_many_early_alerts_end_no_later_hold() -> None:
    """Though they come after it, and push each other out."""
    grant = Grant()
    for fired_at_s in (100.0, 0.0):
        for number in range(2 * ALARMS_MAX):
            key = f"{fired_at_s}-{number}"
            alarm = Alarm(rule="r", fired_at_s=fired_at_s, until_s=fired_at_s + 600)
            grant = grant.alarmed(key, alarm, now_s=100.0)
    for key, alarm in tuple(grant.alarms.items()):
        if key != OTHERS:
            grant = grant.alarmed(key, replace(alarm, until_s=alarm.fired_at_s), now_s=110.0)
    assert grant.alarm(699.0) is not None


def test_what_is_resolved_pushes_out_nothing_that_holds() -> None:
    """The one that fires still can be resolved by its own name."""
    fired = Alarm(rule="r", fired_at_s=0.0, until_s=600.0)
    grant = Grant().alarmed("a", fired, now_s=0.0)
    for number in range(2 * ALARMS_MAX):
        resolved = Alarm(rule="r", fired_at_s=5.0, until_s=5.0)
        grant = grant.alarmed(str(number), resolved, now_s=6.0)
    assert grant.alarm(7.0) == fired
    assert grant.alarmed("a", replace(fired, until_s=0.0), now_s=7.0).alarm(7.0) is None


def a_deployment(sources: int) -> World:
    """One migration runs, and as many containers as are said have one."""
    world = make_world(1)
    for index in range(40):
        world.source.put(f"doc-{index}", ts=START_S - 200 * 86_400 + index, body=index)
    world.calm.operating.start(world.calm.operating.apply(SPEC).name)
    for number in range(1, sources):
        text = SPEC.replace("name: sim", f"name: m-{number}").replace(
            "container: c,", f"container: a-rather-long-name-of-a-container-{number},"
        )
        prefix = f"{{container: archive, prefix: p{number}}}"
        world.calm.operating.apply(text.replace("{container: archive}", prefix))
    for _ in range(RAMP_TICKS):
        tick(world)
    assert budget(world) > FULL
    return world


def is_within_a_row(world: World) -> bool:
    return bool(packed(world.ports.boards.read(), thing="the board"))


def test_very_many_sources_are_stopped_by_one_alert() -> None:
    """It stands on the board once, so that its row holds it; so do the incident's."""
    world = a_deployment(300)
    taken = take(world, rule="ü" * 400)
    assert len(taken.sources) == 300
    assert budget(world) == 0
    assert is_within_a_row(world)
    (incident,) = world.ports.incidents.latest(limit=9)
    assert packed(incident, thing="it")
    assert incident.alert is not None
    assert (incident.alert.everywhere, incident.alert.sources) == (True, ())
    assert tick(world) is Reason.ALERT
    take(world, rule="ü" * 400, resolved_at_s=world.clock.now_s())
    assert tick(world) is not Reason.ALERT


def test_very_many_alerts_by_name_stay_within_a_row() -> None:
    """A rule that fires for each container; what there is no room for is told of the account."""
    world = a_deployment(100)
    names = [f"a-rather-long-name-of-a-container-{number}" for number in range(1, 100)]
    fired_at_s = world.clock.now_s()
    for name in (*names, "c"):
        named = {"DatabaseName": "db", "CollectionName": name}
        take(world, rule="大" * 300, alert=name, dimensions=named, fired_at_s=fired_at_s)
        assert is_within_a_row(world)
    assert budget(world) == 0
    assert tick(world) is Reason.ALERT
    world.clock.advance(ALERT_HOLD_S)
    assert tick(world) is not Reason.ALERT


def test_an_alert_before_any_migration_holds_the_first() -> None:
    """Nobody is known then, and it speaks of all."""
    world = make_world(1)
    assert take(world).held_until_s == pytest.approx(world.clock.now_s() + ALERT_HOLD_S)
    world.source.put("doc", ts=START_S - 200 * 86_400, body=1)
    world.calm.operating.start(world.calm.operating.apply(SPEC).name)
    assert tick(world) is Reason.ALERT


def parsed(text: str) -> Any:
    return parse_alert(text, now_s=float(START_S))


def test_what_azure_sends_is_read_whole() -> None:
    """Static and dynamic criteria, several conditions, several targets, seven decimals."""
    body = json.loads(message(fired_at_s=START_S - 60.0))
    body["data"]["essentials"]["firedDateTime"] = "2027-01-15T07:59:00.1234567Z"
    body["data"]["essentials"]["alertTargetIDs"].append("/subscriptions/s/other")
    body["data"]["alertContext"]["conditionType"] = "DynamicThresholdCriteria"
    body["data"]["alertContext"]["condition"]["allOf"].append(
        {
            "alertSensitivity": "High",
            "failingPeriods": {"numberOfEvaluationPeriods": 4, "minFailingPeriodsToAlert": 4},
            "ignoreDataBefore": None,
            "metricName": "TotalRequests",
            "operator": "GreaterOrLessThan",
            "threshold": None,
            "timeAggregation": "Count",
            "dimensions": None,
            "metricValue": 250.0,
        }
    )
    alert = parsed(json.dumps(body))
    assert alert.condition is Condition.FIRED
    assert alert.fired_at_s == pytest.approx(START_S - 60 + 0.123, abs=0.001)
    assert alert.accounts == frozenset({"acct"})
    assert alert.sources is None
    assert alert.measured == (
        "TotalRequestUnits GreaterThan 240000, measured 250000",
        "TotalRequests, measured 250",
    )


def essentials(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda body: body["data"]["essentials"].update(changes)


def at(offset_s: float) -> str:
    return dt.datetime.fromtimestamp(START_S + offset_s, dt.UTC).isoformat()


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another schema": (lambda body: body.update(schemaId="x"), "$.schemaId"),
    "no schema": (lambda body: body.pop("schemaId"), "$.schemaId"),
    "a log alert": (essentials(signalType="Log"), "$.data.essentials.signalType"),
    "a new word": (essentials(monitorCondition="Maybe"), "$.data.essentials.monitorCondition"),
    "no targets": (essentials(alertTargetIDs=[]), "$.data.essentials.alertTargetIDs"),
    "no time zone": (
        essentials(firedDateTime="2027-01-15T07:59:00"),
        "$.data.essentials.firedDateTime",
    ),
    "the future": (essentials(firedDateTime=at(301)), "$.data.essentials"),
    "long ago": (essentials(firedDateTime=at(-31 * 86_400)), "$.data.essentials"),
    "resolved before": (essentials(resolvedDateTime=at(-120)), "$.data.essentials"),
    "no condition": (
        lambda body: body["data"].update(alertContext={}),
        "$.data.alertContext.condition",
    ),
    "too many conditions": (
        lambda body: body["data"]["alertContext"]["condition"].update(
            allOf=51 * body["data"]["alertContext"]["condition"]["allOf"]
        ),
        "$.data.alertContext.condition.allOf",
    ),
    "a line break in the rule": (essentials(alertRule="a\nb"), "$.data.essentials.alertRule"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_metric_alert_is_refused_by_its_place(kind: str) -> None:
    """With what was seen there and what to do."""
    change, path = REFUSED[kind]
    body = json.loads(message(fired_at_s=START_S - 60.0))
    change(body)
    with pytest.raises(Invalid) as found:
        parsed(json.dumps(body))
    assert [fault.path for fault in found.value.faults] == [path]
    assert all(fault.seen and fault.advice for fault in found.value.faults)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "1", "[" * 10_000, '{"data": {}}', "\udce9"]
)
def test_what_is_no_message_at_all_is_refused(text: str) -> None:
    """Never anything but Invalid."""
    with pytest.raises(Invalid):
        parsed(text)


def test_another_accounts_alert_is_refused_and_named(world: World) -> None:
    """A neighbour's trouble is not this one's; the advice names the account."""
    for target in (ACCOUNT_ID + "2", "/subscriptions/s/resourceGroups/acct", "acct"):
        with pytest.raises(Invalid, match="'acct'"):
            take(world, targets=[target])
    assert budget(world) > FULL
    assert told(world) == []
    assert take(world, targets=["/subscriptions/s/x", ACCOUNT_ID.upper()]).sources == (SOURCE,)


def test_whoever_may_not_call_changes_nothing(world: World) -> None:
    """Not even the body is looked at."""

    class Nobody:
        def check(self, authorization: str) -> None:
            raise Denied(f"not {authorization}")

    ports = replace(world.ports, callers=Nobody())
    with pytest.raises(Denied, match="not Bearer x"):
        Alerting(ports).take("{", authorization="Bearer x")
    assert told(world) == []


def test_lateness_prefers_the_end_of_one_firing() -> None:
    """What was resolved stays so, whichever message comes last."""
    fired = Alarm(rule="r", fired_at_s=5.0, until_s=605.0)
    resolved = replace(fired, until_s=5.0)
    for order in ((fired, resolved), (resolved, fired)):
        grant = Grant()
        for each in order:
            grant = grant.alarmed("a", each, now_s=6.0)
        assert grant.alarms == {"a": resolved}
        assert grant.alarm(6.0) is None
