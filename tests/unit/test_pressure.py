"""The business's own word as it arrives: what is understood, and which faults are told."""

from __future__ import annotations

import json

import pytest

from shared.domain.governor import Pressure
from shared.domain.pressure import (
    FOR_S_DEFAULT,
    FOR_S_MAX,
    RU_PER_S_MAX,
    SEEN_CHARS_MAX,
    WHY_CHARS_MAX,
    Push,
    parse_push,
)
from shared.errors import Fault, Invalid

NOW_S = 1_800_000_000.0


def faults_of(text: str) -> tuple[Fault, ...]:
    with pytest.raises(Invalid) as caught:
        parse_push(text, now_s=NOW_S)
    return caught.value.faults


@pytest.mark.parametrize("text", ["", " \n\t ", "{}"])
def test_an_empty_body_asks_for_everything_everywhere(text: str) -> None:
    """Whoever presses in a hurry need write nothing."""
    pressure = Pressure(until_s=NOW_S + FOR_S_DEFAULT, business_ru_per_s=None, told="")
    assert parse_push(text, now_s=NOW_S) == Push(source=None, pressure=pressure)


def test_every_key_is_read_as_it_was_written() -> None:
    """For so long from now, so much, for one source, with the reason."""
    body = {"source": "db/örders 1", "business_ru_per_s": 4200.5, "for_s": 120.5, "why": "café ☕"}
    pressure = Pressure(until_s=NOW_S + 120.5, business_ru_per_s=4200.5, told="café ☕")
    assert parse_push(json.dumps(body), now_s=NOW_S) == Push(
        source="db/örders 1", pressure=pressure
    )


@pytest.mark.parametrize(
    ("text", "ru_per_s"),
    [
        ("0", 0.0),
        ("-0.0", 0.0),
        ("7", 7.0),
        ("1e3", 1000.0),
        (f"{RU_PER_S_MAX:.0f}", RU_PER_S_MAX),
        ("null", None),
    ],
)
def test_a_need_is_read_up_to_its_bounds(text: str, ru_per_s: float | None) -> None:
    """Whole numbers too; null is the same as leaving it out."""
    push = parse_push(f'{{"business_ru_per_s": {text}}}', now_s=NOW_S)
    assert push.pressure.business_ru_per_s == ru_per_s


@pytest.mark.parametrize(("for_s", "until_s"), [(0, NOW_S), (FOR_S_MAX, NOW_S + FOR_S_MAX)])
def test_a_time_is_read_up_to_its_bounds(for_s: float, until_s: float) -> None:
    """Zero takes it back: from then on it is in force no more."""
    assert parse_push(f'{{"for_s": {for_s}}}', now_s=NOW_S).pressure.until_s == until_s


def test_a_reason_is_read_up_to_its_length() -> None:
    """Characters are counted, not bytes."""
    why = "é" * WHY_CHARS_MAX
    assert parse_push(json.dumps({"why": why}), now_s=NOW_S).pressure.told == why


NUMBERS = ["true", "false", "NaN", "Infinity", "-Infinity", "1e400", '"5"', "[5]", "{}", "-1"]
BIGGER = ["1000000001", "1e10", "9" * 400]
LONGER = ["3600.001", "1e10", "9" * 400, "null"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("business_ru_per_s", text) for text in NUMBERS + BIGGER],
        *[("for_s", text) for text in NUMBERS + LONGER],
        *[("source", t) for t in ('"db"', '""', '"/c"', '"db/"', '"a/b/c"', "5", "true", "[]")],
        *[("why", t) for t in ("null", "5", "true", "[]", json.dumps("x" * (WHY_CHARS_MAX + 1)))],
    ],
)
def test_a_wrong_value_is_named_by_its_key_with_advice(key: str, value: str) -> None:
    """A truth is no number, and what is no number holds nothing back; what was seen is cut."""
    (fault,) = faults_of(f'{{"{key}": {value}}}')
    assert fault.path == f"$.{key}"
    assert fault.seen.startswith("saw ")
    assert len(fault.seen) <= SEEN_CHARS_MAX + len("saw ''")
    assert fault.advice.startswith("write ")


def test_an_unknown_key_is_told_with_those_there_are() -> None:
    """A misspelt need must not pass for no need."""
    (fault,) = faults_of('{"busines_ru_per_s": 5}')
    assert fault.path == "$.busines_ru_per_s"
    assert fault.advice == "remove it; known keys: source, business_ru_per_s, for_s, why"


def test_every_fault_of_a_body_is_told_at_once() -> None:
    """Nobody mends one only to meet the next."""
    faults = faults_of('{"source": "c", "business_ru_per_s": -1, "for_s": -1, "why": 5, "x": 1}')
    assert {fault.path for fault in faults} == {
        "$.source",
        "$.business_ru_per_s",
        "$.for_s",
        "$.why",
        "$.x",
    }


@pytest.mark.parametrize(
    "text",
    ["null", "[]", "5", '"x"', "for_s: 5", '{"for_s": 5', "{'for_s': 5}", "{}{}", "[" * 50_000],
)
def test_what_is_no_json_object_is_shown_one(text: str) -> None:
    """With an example to copy."""
    (fault,) = faults_of(text)
    assert fault.path == "$"
    assert len(fault.seen) <= SEEN_CHARS_MAX + len("saw ''")
    assert json.loads(fault.advice[fault.advice.index("{") :])
