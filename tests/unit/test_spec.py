"""The spec: strict reading, all faults at once, and text that reads back to itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.application.surveying import Surveying
from shared.domain.spec import (
    SPEC_BYTES_MAX,
    declared_spec,
    key_advice,
    parse_spec,
    spec_from,
    spec_text,
)
from shared.errors import Fault, Invalid
from tests.simulation.world import make_world
from tests.unit.samples import SPEC, a_spec

HOUSE = Path(__file__).parents[2]
FULL = """
name: orders-2025
source: {account: shop, database: sales, container: orders, partition_key: [/tenant, /user/id]}
cold: {before: 2026-01-31T00:00:00+01:00, where: "c.kind = 'order'"}
sink: {container: archive, prefix: cold/v1, promote: [/total, /a/b]}
engine: adf
capacity: {ru_per_s_per_partition: 10000, partitions: 3}
ceiling: 0.5
slice: {documents_max: 10, bytes_max: 2MiB, budget_s: 30, attempts_max: 5, in_flight_max: 4}
validation: reread
retire: stub
priority: 9
after: other-job
notify: [a@example.org, b@example.org]
"""


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(Invalid) as caught:
        parse_spec(text)
    return caught.value.faults


def plain(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(SPEC)
    return data | changes


def test_the_shortest_spec_is_filled_with_safe_defaults() -> None:
    """What nobody wrote must harm nobody: keep everything, stay below 80 %."""
    spec = a_spec()
    assert (spec.engine, spec.ceiling, spec.validation, spec.retire) == (
        "embedded",
        0.8,
        "readback",
        "keep",
    )
    assert spec.source.partition_key == ("/customer",)
    assert spec.capacity.partitions == "discover"
    assert spec.cold.older_than == 90 * 86_400
    assert spec.slice.bytes_max == 256 * 1024 * 1024


@pytest.mark.parametrize("text", [SPEC, FULL], ids=["short", "full"])
def test_a_spec_reads_back_from_its_own_text(text: str) -> None:
    """The ledger keeps the text, and every tick reads it again."""
    spec = parse_spec(text)
    assert parse_spec(spec_text(spec)) == spec
    assert parse_spec(json.dumps(json.loads(spec_text(spec)))) == spec


@pytest.mark.parametrize("escape", ["\\x7f", "\\x80", "\\x85", "\\u2028", "\\ufffe", "\\0", "\\n"])
def test_every_character_a_filter_may_hold_survives_the_ledger(escape: str) -> None:
    """A filter that changes on its way through the ledger copies other documents than declared."""
    text = SPEC.replace("older_than: 90d", f'older_than: 90d, where: "a{escape}b"')
    spec = parse_spec(text)
    assert parse_spec(spec_text(spec)).cold.where == spec.cold.where


def test_a_spec_that_is_accepted_is_short_enough_to_be_read_again() -> None:
    """The stored text names every default and so is longer than what was written."""
    names = ", ".join(f"n{number}" for number in range(4_500))
    text = SPEC + f"notify: [{names}]\n"
    assert len(text) <= SPEC_BYTES_MAX
    try:
        spec = parse_spec(text)
    except Invalid:
        return
    assert parse_spec(spec_text(spec)) == spec


def test_every_fault_is_named_at_once() -> None:
    """One round trip per fault would try a person's patience."""
    text = """
name: X
source: {account: "A!", database: sales, partition_key: customer, colour: red}
cold: {older_than: 3 weeks}
sink: {container: a}
engine: rocket
priority: 11
"""
    faults = faults_of(text)
    assert {fault.path for fault in faults} == {
        "$.name", "$.source.account", "$.source.container", "$.source.partition_key[0]",
        "$.source.colour", "$.cold.older_than", "$.sink.container", "$.engine", "$.priority",
    }  # fmt: skip
    assert all(fault.seen and fault.advice for fault in faults)


def test_the_message_lists_each_fault_on_its_line() -> None:
    """What the operator sees holds path, what was seen and what to write."""
    with pytest.raises(Invalid) as caught:
        spec_from(plain(priority=0, engine="x"))
    lines = str(caught.value).splitlines()
    assert lines[0] == "the spec has 2 fault(s); nothing was changed:"
    assert lines[1] == "  - $.engine: saw 'x'; write one of 'embedded' or 'adf'"
    assert "$.priority: saw 0" in lines[2]


def test_an_unknown_key_is_told_which_are_known() -> None:
    """A misspelt key silently ignored would be a setting that does nothing."""
    (fault,) = faults_of(SPEC.replace("database:", "databse: x, database:"))
    assert fault.path == "$.source.databse"
    assert fault.advice.endswith(
        "account, database, container, partition_key, change_feed_consumers"
    )


def test_a_missing_key_is_named_as_missing() -> None:
    """Not as a value of some wrong type."""
    (fault,) = faults_of(SPEC.replace(", container: orders", ""))
    assert (fault.path, fault.seen, fault.advice) == (
        "$.source.container",
        "it is missing",
        "add it",
    )


@pytest.mark.parametrize(
    "text",
    [SPEC + "priority: 3\npriority: 4\n", SPEC.replace("90d}", "90d, older_than: 1d}")],
    ids=["top", "nested"],
)
def test_a_key_written_twice_is_refused(text: str) -> None:
    """YAML would keep the last one and say nothing."""
    (fault,) = faults_of(text)
    assert "is written twice" in fault.seen


def test_a_key_that_is_no_text_is_refused_unread() -> None:
    """Two lists built of aliases are equal only after as many steps as they have leaves."""

    def of_aliases(name: str) -> str:
        rows = [f"- &{name}{n} [*{name}{n - 1}, *{name}{n - 1}]" for n in range(1, 16)]
        return "\n  ".join([f"- &{name}0 [x, x]", *rows])

    text = f"a:\n  {of_aliases('a')}\nb:\n  {of_aliases('b')}\n? *a15\n: 1\n? *b15\n: 2\n"
    for each in (text, "{a: 1}: 2\n", "? [a]\n: 1\n"):
        (fault,) = faults_of(each)
        assert "a key is a list or a mapping" in fault.seen


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("30s", 30), ("15m", 900), ("24h", 86_400), ("90 d", 7_776_000)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    """Seconds, minutes, hours and days; nothing else can be meant."""
    assert spec_from(plain(cold={"older_than": text})).cold.older_than == seconds


@pytest.mark.parametrize("text", ["90", "1.5d", "-1d", "d", "90D", "90 days", "1d2h", "", "²d", -1])
def test_a_duration_without_its_unit_is_refused(text: object) -> None:
    """Ninety of what is not for Ebb to guess."""
    with pytest.raises(Invalid) as caught:
        spec_from(plain(cold={"older_than": text}))
    assert [fault.path for fault in caught.value.faults] == ["$.cold.older_than"]


@pytest.mark.parametrize("text", ["15001d", "25000d", "9" * 14 + "d", "9" * 5_000 + "d"])
def test_an_age_before_the_epoch_is_refused(text: str) -> None:
    """Nothing is that old, and no window could end there."""
    assert spec_from(plain(cold={"older_than": "15000d"})).cold.until_s(1_700_000_000) > 0
    with pytest.raises(Invalid) as caught:
        spec_from(plain(cold={"older_than": text}))
    assert [fault.path for fault in caught.value.faults] == ["$.cold.older_than"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("1MiB", 1 << 20), ("2048 KiB", 2 << 20), ("1GiB", 1 << 30), (1 << 20, 1 << 20)],
)
def test_a_size_is_counted_in_binary_units(text: object, size: int) -> None:
    """MiB says which mega is meant."""
    assert spec_from(plain(slice={"bytes_max": text})).slice.bytes_max == size


@pytest.mark.parametrize("text", ["10MB", "1TiB", "1.5GiB", "1KiB", "5GiB", "MiB", True])
def test_a_size_out_of_bounds_or_unit_is_refused(text: object) -> None:
    """The bounds hold whatever unit the size is written in."""
    with pytest.raises(Invalid) as caught:
        spec_from(plain(slice={"bytes_max": text}))
    assert [fault.path for fault in caught.value.faults] == ["$.slice.bytes_max"]


@pytest.mark.parametrize("cold", [{}, {"older_than": "1d", "before": "2026-01-31T00:00:00Z"}])
def test_exactly_one_boundary_of_cold_is_written(cold: dict[str, str]) -> None:
    """None copies nothing, two contradict each other."""
    with pytest.raises(Invalid, match="exactly one of older_than"):
        spec_from(plain(cold=cold))


def test_the_boundary_is_an_age_or_an_instant() -> None:
    """An age moves with the clock, an instant does not."""
    assert a_spec().cold.until_s(10_000_000.9) == 10_000_000 - 7_776_000
    assert parse_spec(FULL).cold.until_s(10_000_000.9) == 1_769_814_000


@pytest.mark.parametrize(
    "instant", ["2026-01-31T00:00:00", "2026-01-31", "soon", "2026-13-01T00:00:00Z"]
)
def test_an_instant_says_its_time_zone(instant: str) -> None:
    """An hour's difference is an hour of documents copied too early."""
    with pytest.raises(Invalid) as caught:
        spec_from(plain(cold={"before": instant}))
    assert [fault.path for fault in caught.value.faults] == ["$.cold.before"]


@pytest.mark.parametrize(
    "written",
    [
        "2026-02-30",
        "2026-02-30T00:00:00Z",
        "2026-01-31T00:00:00+99:00",
        "0b_",
        "9" * 5000,
        "!!int abc",
        "!!float x",
        "!!bool x",
        "!!timestamp x",
    ],
    ids=lambda text: text[:24],
)
def test_a_value_that_yaml_itself_cannot_read_is_a_fault(written: str) -> None:
    """A day that does not exist is a slip of the pen, not a crash."""
    faults = faults_of(SPEC.replace("older_than: 90d", f"before: {written}"))
    assert all(fault.path and fault.advice for fault in faults)


@pytest.mark.parametrize("ceiling", [True, False, "80%", 0, -0.1, 1.01, None, float("nan"), []])
def test_a_ceiling_is_a_share_written_as_a_number(ceiling: object) -> None:
    """A yes taken for 1.0 would let Ebb fill the whole capacity."""
    with pytest.raises(Invalid) as caught:
        spec_from(plain(ceiling=ceiling))
    assert {fault.path for fault in caught.value.faults} == {"$.ceiling"}


def test_a_ceiling_of_one_may_be_a_whole_number() -> None:
    """The one integer that is a share."""
    assert spec_from(plain(ceiling=1)).ceiling == 1.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("priority", True), ("priority", 5.0), ("priority", "5"), ("name", 5), ("name", "ab"[:1]),
        ("name", "a" * 49), ("name", "a_b"), ("name", "-ab"), ("after", 5), ("notify", {"a": 1}),
        ("sink", "archive"), ("sink", {"container": "a--b"}), ("engine", "ADF"), ("retire", True),
        ("source", None), ("slice", {"in_flight_max": 65}), ("slice", {"attempts_max": 0}),
        ("capacity", {"partitions": 0}), ("capacity", {"partitions": "all"}),
        ("sink", {"container": "abc", "prefix": "/a"}),
        ("sink", {"container": "abc", "prefix": "a//b"}),
        ("sink", {"container": "abc", "promote": ["total"]}),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused(key: str, value: object) -> None:
    """Nothing is converted, so nothing is guessed."""
    with pytest.raises(Invalid) as caught:
        spec_from(plain(**{key: value}))
    assert all(fault.path.startswith(f"$.{key}") for fault in caught.value.faults)


def test_a_migration_never_waits_for_itself() -> None:
    """It would wait for ever."""
    with pytest.raises(Invalid, match="names the migration itself"):
        spec_from(plain(after=["orders-2025"]))


@pytest.mark.parametrize("text", ["", "just text", "[]", "5", "null", "a: [", "\0", "{" * 9000])
def test_what_is_no_mapping_is_refused_whole(text: str) -> None:
    """Empty, foreign or broken text has one fault at the top."""
    (fault,) = faults_of(text)
    assert fault.path == "$"


def test_a_text_too_long_to_keep_is_not_even_parsed() -> None:
    """A table property has its limit, and so has patience."""
    padding = "#" * (SPEC_BYTES_MAX - len(SPEC))
    assert parse_spec(SPEC + padding) == a_spec()
    (fault,) = faults_of(SPEC + padding + "#")
    assert (fault.path, fault.seen) == ("$", f"{SPEC_BYTES_MAX + 1} characters")


def test_what_was_seen_is_shown_in_part_only() -> None:
    """A message shows enough to recognise, never a whole document."""
    with pytest.raises(Invalid) as caught:
        spec_from(plain(engine="x" * 1000))
    assert len(caught.value.faults[0].seen) <= 70


def test_a_schedule_says_how_often() -> None:
    """A duration, as the example has it; None where nothing is to go on by itself."""
    example = parse_spec((HOUSE / "examples" / "continuous.yaml").read_text("utf-8"))
    assert example.schedule == a_spec(SPEC + "schedule: {every: 1d}").schedule
    spec = a_spec(SPEC + "schedule: {every: 24h}\n")
    assert spec.schedule is not None
    assert spec.schedule.every == 86_400
    assert parse_spec(spec_text(spec)) == spec
    assert a_spec().schedule is None


@pytest.mark.parametrize(
    ("schedule", "cold", "advice"),
    [
        ("{every: 599s}", "older_than: 90d", "greater than or equal to 600"),
        ("{every: 367d}", "older_than: 90d", "less than or equal to 31622400"),
        ("{every: daily}", "older_than: 90d", "a whole number and a unit"),
        ("{evry: 24h}", "older_than: 90d", "known keys here: every"),
        ("{}", "older_than: 90d", "$.schedule.every: it is missing"),
        ("{every: 24h}", "before: 2026-01-31T00:00:00Z", "nothing more becomes cold"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(schedule: str, cold: str, advice: str) -> None:
    """Too often, hardly ever, misspelt, or over a range that can never grow."""
    text = SPEC.replace("older_than: 90d", cold) + f"schedule: {schedule}\n"
    with pytest.raises(Invalid) as caught:
        parse_spec(text)
    assert advice in str(caught.value)


def test_what_only_holds_a_place_is_never_cold_itself() -> None:
    """Neither a stub nor the guard of a write that was cut off; the own condition stays whole."""
    text = SPEC.replace("cold: {older_than: 90d}", "cold: {older_than: 90d, where: a OR b}")
    for spec, expected in (
        (SPEC, None),
        (text, "a OR b"),
        (SPEC + "retire: delete\n", "NOT IS_DEFINED(c.ebb_returning)"),
        (SPEC + "retire: stub\n", "NOT IS_DEFINED(c.ebb_stub)"),
        (text + "retire: stub\n", "(a OR b) AND NOT IS_DEFINED(c.ebb_stub)"),
    ):
        assert parse_spec(spec).cold_where == expected


def test_what_a_stub_keeps_needs_a_stub() -> None:
    """A list without effect would be believed to work; what Ebb writes itself is taken."""
    for retire in ("keep", "delete"):
        (fault,) = faults_of(SPEC + f"retire: {retire}\nstub_keep: /status\n")
        assert "write retire: stub" in str(fault)
    for path in ("/ebb_stub", "/ebb_stub/row"):
        (fault,) = faults_of(SPEC + f"retire: stub\nstub_keep: {path}\n")
        assert "holds the pointer" in str(fault)
    for path in ("/ebb_returning", "/ebb_returning/below"):
        (fault,) = faults_of(SPEC + f"retire: stub\nstub_keep: {path}\n")
        assert "marks a stub" in str(fault)
    spec = parse_spec(SPEC + "retire: stub\nstub_keep: [/status, /ebb_returning_at, /id]\n")
    assert spec.stub_keep == ("/status", "/ebb_returning_at", "/id")


def test_a_grace_period_is_a_week_unless_said() -> None:
    """A whole number with its unit, from none to ten years."""
    assert parse_spec(SPEC).retire_grace == 7 * 86_400
    assert parse_spec(SPEC + "retire_grace: 0s\n").retire_grace == 0
    assert faults_of(SPEC + "retire_grace: 4000d\n")


def test_a_key_that_no_spec_can_name_is_told_so() -> None:
    """Copying it into the spec would only be refused by another message."""
    assert key_advice(("/a",)).endswith("write that")
    assert key_advice(('/"a/b"',)).endswith("this container cannot be archived")


def test_a_word_that_says_nothing_is_not_stored() -> None:
    """An older Ebb refuses a key that it does not know, and is at work during an update."""
    assert "retire_young" not in spec_text(parse_spec(SPEC))
    young = parse_spec(SPEC + "retire: delete\nretire_young: true\n")
    assert parse_spec(spec_text(young)) == young
    (fault,) = faults_of(SPEC + "retire_young: true\n")
    assert "leave it out" in fault.advice


@pytest.mark.parametrize(
    ("where", "advice"),
    [
        ("c.a = 1) OR (c.b = 2", "closes none"),
        ("c.a = 1)) OR ((c.b = 2", "closes none"),
        ("(c.a = 1", "stays open"),
        ("c.a IN (1, 2]", "closes none"),
        ("c.a = ')", "stands alone"),
        ("c.a = 1 -- ", "comment --"),
        ("c.a = 1 /* all", "comment /*"),
        ("c.until < GetCurrentTimestamp()", "GetCurrentTimestamp"),
        ("c.until < getcurrentdatetimestatic()", "getcurrentdatetimestatic"),
        ("RAND() < 0.5", "RAND"),
    ],
)
@pytest.mark.parametrize("retire", ["keep", "delete", "stub"])
def test_a_condition_cannot_leave_its_brackets_or_follow_the_clock(
    where: str, advice: str, retire: str
) -> None:
    """Else it would archive what no window counts, or a past window would grow."""
    data = plain(cold={"older_than": "90d", "where": where}, retire=retire)
    with pytest.raises(Invalid) as refused:
        declared_spec(json.dumps(data))
    (fault,) = refused.value.faults
    assert fault.path == "$.cold.where"
    assert advice in fault.advice


@pytest.mark.parametrize(
    "where",
    [
        "c.a = ') OR (' AND c['b)'].x IN (1, 2)",
        'c.a = "it\'s -- /* GetCurrentTimestamp()"',
        "c.a = 'a\\')'",
        "ARRAY_CONTAINS(c.tags, {'n': [1]}) OR c.brand = 'x' OR c.rand_1 = 1",
    ],
)
def test_texts_and_pairs_of_a_condition_may_hold_anything(where: str) -> None:
    """Only what stands outside of quotes is looked at."""
    data = plain(cold={"older_than": "90d", "where": where})
    assert declared_spec(json.dumps(data)).cold.where == where


def test_a_condition_that_was_stored_before_is_still_read() -> None:
    """What was archived by it can be looked up, restored and told of."""
    data = plain(cold={"older_than": "90d", "where": "c.until < GetCurrentTimestamp()"})
    assert parse_spec(json.dumps(data)).cold.where == "c.until < GetCurrentTimestamp()"


def test_apply_refuses_a_condition_that_leaves_its_brackets() -> None:
    """Nothing is registered, and the source is not asked."""
    world = make_world(1)
    text = json.dumps(plain(cold={"older_than": "90d", "where": "c.a = 1) OR (c.b = 2"}))
    with pytest.raises(Invalid, match="closes none"):
        world.calm.operating.apply(text)
    with pytest.raises(Invalid, match="closes none"):
        Surveying(world.ports, metric_settle_s=60.0).run(text)
    assert world.ports.ledger.migrations() == ()
    assert world.source.ru_charged == 0


def test_a_capacity_that_nobody_told_is_not_stored() -> None:
    """An Ebb that knows a default of its own reads the spec as well."""
    assert "ru_per_s_per_partition" not in spec_text(parse_spec(SPEC))
    told = SPEC + "capacity: {ru_per_s_per_partition: 700}\n"
    assert parse_spec(spec_text(parse_spec(told))).capacity.ru_per_s_per_partition == 700
