"""What HTTP callers see: each failure's status, and numbers within their bounds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shared.application.operating import Decided
from shared.application.pressing import Pressed
from shared.domain.governor import Decision, Reason
from shared.domain.sharing import Share
from shared.errors import (
    Conflict,
    EbbError,
    Fault,
    Invalid,
    NotFound,
    PermanentError,
    Refused,
    Throttled,
    TransientError,
    Uncanonical,
    Unreadable,
    WrongState,
)
from shared.faces import (
    BODY_BYTES_MAX,
    decided_shown,
    entry_shown,
    migration_shown,
    number,
    pressed_shown,
    problem,
    retirement_asked,
    shown,
    text_body,
    unexpected,
)
from shared.ports import Entry
from tests.unit.samples import a_migration

FAULT = Fault(path="$.name", seen="saw 5", advice="write text")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Invalid("the spec", (FAULT,)), 422),
        (NotFound("x"), 404),
        (WrongState("x"), 409),
        (Refused("x"), 409),
        (Conflict("x"), 409),
        (TransientError("x"), 503),
        (Throttled("x", retry_after_s=1.0), 503),
        (PermanentError("x"), 500),
        (Uncanonical("x"), 500),
        (Unreadable("x"), 500),
        (EbbError("x"), 500),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_failure_has_its_status_and_its_words(error: EbbError, status: int) -> None:
    """Problem details as RFC 9457 has them: the same status inside and outside."""
    answer = problem(error)
    body = json.loads(answer.body)
    assert answer.status == body["status"] == status
    assert answer.media == "application/problem+json"
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"] == str(error)
    assert ("errors" in body) == isinstance(error, Invalid)


def test_an_invalid_input_lists_its_faults_as_data() -> None:
    """A program can point at the field."""
    body = json.loads(problem(Invalid("the spec", (FAULT, FAULT))).body)
    assert body["errors"] == [{"path": "$.name", "seen": "saw 5", "advice": "write text"}] * 2


def test_an_unexpected_failure_tells_only_where_to_look() -> None:
    """Never a traceback."""
    answer = unexpected("inv-1")
    assert (answer.status, answer.media) == (500, "application/problem+json")
    assert "inv-1" in json.loads(answer.body)["detail"]


def test_a_result_is_shown_as_json() -> None:
    """What JSON does not know is shown as text."""
    answer = shown({"a": [1, "é"], "b": Reason.SLACK, "c": b"x"}, status=202)
    assert (answer.status, answer.media) == (202, "application/json")
    assert json.loads(answer.body) == {"a": [1, "é"], "b": "slack", "c": "b'x'"}


def test_a_body_is_read_as_utf_8_within_its_limit() -> None:
    """A byte more is neither a spec nor a word about load."""
    assert text_body("é".encode() * (BODY_BYTES_MAX // 2)) == "é" * (BODY_BYTES_MAX // 2)
    with pytest.raises(Invalid, match=f"{BODY_BYTES_MAX + 1} bytes"):
        text_body(b"x" * (BODY_BYTES_MAX + 1))
    with pytest.raises(Invalid, match="not UTF-8"):
        text_body(b"\xff\xfe")


def test_a_byte_order_mark_is_no_part_of_a_body() -> None:
    """Some editors and PowerShell put one before JSON, which then could not be read."""
    asked = text_body(b'\xef\xbb\xbf{"action": "pause"}')
    assert retirement_asked(asked).action == "pause"


@pytest.mark.parametrize(
    ("text", "value"),
    [(None, 5.0), ("", 5.0), ("0", 0.0), ("10", 10.0), ("1e1", 10.0), ("2.5", 2.5)],
)
def test_a_number_is_read_or_its_default_taken(text: str | None, value: float) -> None:
    """Both bounds are allowed."""
    assert number("limit", text, 5.0, most=10.0) == value


@pytest.mark.parametrize("text", ["0", "-0.0", "-1", "10.1", "nan"])
def test_a_number_that_must_be_some_is_more_than_nothing(text: str) -> None:
    """Of no time nothing can be shown; a fault like any other, with its own bounds."""
    assert number("hours", "0.1", 5.0, most=10.0, above_zero=True) == 0.1
    with pytest.raises(Invalid) as caught:
        number("hours", text, 5.0, most=10.0, above_zero=True)
    (fault,) = caught.value.faults
    assert (fault.path, fault.advice) == ("hours", "write a number above 0 and up to 10")


@pytest.mark.parametrize("text", ["-1", "10.1", "nan", "inf", "-inf", "ten", "1,5", "x" * 999])
def test_a_number_out_of_bounds_is_a_fault(text: str) -> None:
    """The parameter is named and its bounds are told."""
    with pytest.raises(Invalid) as caught:
        number("limit", text, 5.0, most=10.0)
    (fault,) = caught.value.faults
    assert (fault.path, fault.advice) == ("limit", "write a number from 0 to 10")
    assert len(fault.seen) < 60


def test_a_migration_is_shown_without_its_spec() -> None:
    """State and reason; what is cold only once that is fixed."""
    assert migration_shown(a_migration()) == {
        "name": "orders-2025",
        "state": "running",
        "reason": "started",
        "cold_until_s": None,
    }
    assert migration_shown(replace(a_migration(), until_s=9))["cold_until_s"] == 9


def test_an_entry_is_shown_with_its_reason_and_shares() -> None:
    """Everything a person needs to understand the pace."""
    decision = Decision(
        at_s=1.0,
        budget_ru_per_s=1_500.04,
        reason=Reason.SLACK,
        sentence="spending",
        capacity_ru_per_s=5_000.0,
        ceiling=0.8,
        business_ru_per_s=2_500.0,
        reading_age_s=None,
        risk=0.0125,
        range_ru_per_s={"r0": 0.0, "r1": 750.5},
    )
    share = Share(migration="a", ru_per_s=9.96, in_flight=2, batch_documents=32)
    entry = Entry(source="db/c", decision=decision, shares=(share,), own_ru_per_s=0.04)
    seen = entry_shown(entry)
    assert (seen["source"], seen["reason"]) == ("db/c", "slack")
    assert (seen["budget_ru_per_s"], seen["own_ru_per_s"]) == (1_500.0, 0.0)
    assert seen["risk"] == 0.0125
    assert seen["tightest_ranges_ru_per_s"] == {"r0": 0.0, "r1": 750.5}
    assert seen["shares"] == {"a": {"ru_per_s": 10.0, "in_flight": 2, "batch_documents": 32}}
    assert seen["reading_age_s"] is None
    assert json.loads(shown(seen).body) == seen
    for cut, told in ((True, "true"), (False, "false")):
        answer = decided_shown(Decided(entries=(entry,), cut=cut))
        assert (json.loads(answer.body), answer.headers) == ([seen], {"x-ebb-cut": told})


def test_a_push_is_shown_with_what_is_left_and_until_when() -> None:
    """The caller sees at once that room was made, and when to say it again."""
    pressed = Pressed(sources=("db/a", "db/b"), until_s=9.5, budget_ru_per_s=100.04)
    seen = pressed_shown(pressed)
    assert seen == {"sources": ["db/a", "db/b"], "until_s": 9.5, "budget_ru_per_s": 100.0}
    assert json.loads(shown(seen).body) == seen


def test_a_retirement_is_asked_for_in_known_words_only() -> None:
    """An action and reasons, all of them texts; anything else is named."""
    text = '{"action": "execute", "accept_protection": "tape", "accept_change_feed": "none"}'
    asked = retirement_asked(text)
    assert asked.action == "execute"
    assert asked.reasons == {"protection": "tape", "change_feed": "none"}
    assert retirement_asked('{"action": "undo"}').reasons == {}
    for wrong in ("", "[]", '{"action": 1}', '{"action": "execute", "force": "yes"}'):
        with pytest.raises(Invalid):
            retirement_asked(wrong)
