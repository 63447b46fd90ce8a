"""What HTTP callers see: results as plain data, failures as RFC 9457 problem details.

It knows statuses and shapes; the web framework and the application are elsewhere.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from shared.application.alerting import Taken
from shared.application.operating import Decided
from shared.application.picturing import HOURS_MAX
from shared.application.pressing import Pressed
from shared.application.retirements import OVERRIDABLE, retirement_shown
from shared.dashboard.page import page
from shared.domain.retirement import Retirement
from shared.domain.slices import Migration
from shared.errors import (
    OPERATOR_HEADER,
    PROBLEM_MEDIA,
    Conflict,
    Denied,
    EbbError,
    Fault,
    Invalid,
    NotFound,
    OtherVersion,
    Refused,
    TransientError,
    WrongState,
)
from shared.ports import Entry

BODY_BYTES_MAX = 64_000  # twice the longest spec; anything more is not a spec
DECISIONS_DEFAULT = 120  # an hour of ticks
SINCE_DEFAULT_S = 3_600.0
HOURS_DEFAULT = 6.0
CUT_HEADER = "x-ebb-cut"


_STATUS: tuple[tuple[type[EbbError], int, str], ...] = (
    (Invalid, 422, "The input has faults"),
    (NotFound, 404, "Not found"),
    (WrongState, 409, "Not in this state"),
    (Refused, 409, "Refused"),
    (Denied, 401, "Not allowed"),
    (Conflict, 409, "Changed meanwhile"),
    (OtherVersion, 503, "Another version is at work"),
    (TransientError, 503, "Try again"),
    (EbbError, 500, "Failed"),
)


def must_be_operator(headers: Mapping[str, str], operator_key: str) -> None:
    """Denied unless the caller has the operator's key: any function key opens the route itself."""
    given = headers.get(OPERATOR_HEADER) or ""
    if operator_key and not hmac.compare_digest(given.encode(), operator_key.encode()):
        raise Denied(
            f"applying or retiring: {OPERATOR_HEADER} is not this app's EBB_OPERATOR_KEY; give "
            "the key of the function retirement_change by EBB_OPERATOR_KEY"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, a content type and a body, for any web framework."""

    status: int
    body: bytes
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def shown(value: Any, *, status: int = 200) -> Answer:
    return Answer(status=status, body=json.dumps(value, default=str).encode())


def problem(error: EbbError) -> Answer:
    """A failure with what was seen and what to do; never a traceback."""
    status, title = next((s, t) for kind, s, t in _STATUS if isinstance(error, kind))
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": str(error),
    }
    if isinstance(error, Invalid):
        body["errors"] = [asdict(fault) for fault in error.faults]
    return Answer(status=status, body=json.dumps(body).encode(), media=PROBLEM_MEDIA)


def unexpected(invocation_id: str) -> Answer:
    body = {
        "type": "about:blank",
        "title": "Unexpected failure",
        "status": 500,
        "detail": f"nothing more can be said here; look up invocation {invocation_id} in the log",
    }
    return Answer(status=500, body=json.dumps(body).encode(), media=PROBLEM_MEDIA)


def text_body(data: bytes) -> str:
    """A request's body as text of a bounded size."""
    if len(data) > BODY_BYTES_MAX:
        advice = f"send at most {BODY_BYTES_MAX} bytes"
        fault = Fault(path="$", seen=f"{len(data)} bytes", advice=advice)
        raise Invalid("the request", (fault,))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fault = Fault(path="$", seen="not UTF-8", advice="send UTF-8 text")
        raise Invalid("the request", (fault,)) from error


def pressed_shown(pressed: Pressed) -> dict[str, Any]:
    return {
        "sources": list(pressed.sources),
        "until_s": pressed.until_s,
        "budget_ru_per_s": round(pressed.budget_ru_per_s, 1),
    }


def taken_shown(taken: Taken) -> dict[str, Any]:
    return {
        "rule": taken.rule,
        "condition": taken.condition,
        "sources": list(taken.sources),
        "held_until_s": taken.held_until_s,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RetirementAsked:
    """What a person wants of a retirement, and why a gate is to open that does not hold."""

    action: str
    reasons: Mapping[str, str]


def retirement_asked(text: str) -> RetirementAsked:
    """`{"action": …, "accept_protection": "why", …}`: an action, reasons, and nothing else."""
    known = ("action", *(f"accept_{gate}" for gate in OVERRIDABLE))
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not all(isinstance(each, str) for each in body.values()):
        advice = f"send a JSON object of texts, with {', '.join(known)}"
        raise Invalid("the request", (Fault(path="$", seen="something else", advice=advice),))
    strangers = tuple(
        Fault(path=f"$.{key[:40]}", seen="unknown", advice=f"known here: {', '.join(known)}")
        for key in body
        if key not in known
    )
    if strangers:
        raise Invalid("the request", strangers)
    reasons = {gate: body[f"accept_{gate}"] for gate in OVERRIDABLE if f"accept_{gate}" in body}
    return RetirementAsked(action=body.get("action", ""), reasons=reasons)


def retirement_changed(retirement: Retirement) -> dict[str, Any] | None:
    return retirement_shown(retirement, ())


def number(
    name: str, text: str | None, default: float, *, most: float, above_zero: bool = False
) -> float:
    """A query parameter as a number within its bounds."""
    if text is None or text == "":
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= most or (above_zero and value == 0):
        bounds = f"above 0 and up to {most:.0f}" if above_zero else f"from 0 to {most:.0f}"
        fault = Fault(path=name, seen=f"saw {text[:40]!r}", advice=f"write a number {bounds}")
        raise Invalid("the request", (fault,))
    return value


def hours(text: str | None) -> float:
    """How far back a timeline goes: some time, and no more than is kept for drawing."""
    return number("hours", text, HOURS_DEFAULT, most=HOURS_MAX, above_zero=True)


def dashboard() -> Answer:
    """The page for people; it holds no data, and asks the other routes for them."""
    found = page()
    return Answer(status=200, body=found.body, media="text/html", headers=found.headers)


def migration_shown(migration: Migration) -> dict[str, Any]:
    return {
        "name": migration.name,
        "state": migration.state.value,
        "reason": migration.reason,
        "cold_until_s": migration.until_s or None,
    }


def decided_shown(decided: Decided) -> Answer:
    """A list; whether older ones are missing says a header."""
    found = shown([entry_shown(entry) for entry in decided.entries])
    return replace(found, headers={CUT_HEADER: "true" if decided.cut else "false"})


def entry_shown(entry: Entry) -> dict[str, Any]:
    decision = entry.decision
    return {
        "at_s": decision.at_s,
        "source": entry.source,
        "reason": decision.reason.value,
        "sentence": decision.sentence,
        "budget_ru_per_s": round(decision.budget_ru_per_s, 1),
        "capacity_ru_per_s": decision.capacity_ru_per_s,
        "ceiling": decision.ceiling,
        "business_ru_per_s": decision.business_ru_per_s,
        "reading_age_s": decision.reading_age_s,
        "risk": decision.risk,
        "tightest_ranges_ru_per_s": dict(decision.range_ru_per_s),
        "own_ru_per_s": round(entry.own_ru_per_s, 1),
        "shares": {
            share.migration: {
                "ru_per_s": round(share.ru_per_s, 1),
                "in_flight": share.in_flight,
                "batch_documents": share.batch_documents,
            }
            for share in entry.shares
        },
        "actions": dict(entry.actions),
    }
