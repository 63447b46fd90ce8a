"""What people are told without asking: which events, in which words, and to what addresses.

The words are fixed and only numbers and the migration's name are put into them, so that no message
can carry a document, an id or a secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from shared.domain.halts import Halt

NOTICES_MAX = 50  # kept with a migration: a few hundred characters each, and a row holds 32 Ki
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class NoticeKind(StrEnum):
    HALTED = "halted"
    COMPLETED = "completed"
    QUARANTINED = "quarantined"
    STALLED = "stalled"
    OVERRUN = "overrun"
    COSTLY = "costly"
    RETIRED = "retired"
    RESTORED = "restored"
    RETIREMENT_HALTED = "retirement_halted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One event that people are to hear of; `sent` once it lies in the queue."""

    id: str
    kind: NoticeKind
    at_s: float
    halt: Halt | None = None
    sent: bool = False

    @property
    def topic(self) -> str:
        """The heading in the runbook that says what to do."""
        return (self.halt or self.kind).value


def notice_id(uid: str, kind: NoticeKind, mark: str) -> str:
    """The same for the same event, whoever notices it and however often; it tells nothing."""
    return hashlib.sha256(f"{uid}|{kind.value}|{mark}".encode()).hexdigest()[:24]


def with_notice(notices: tuple[Notice, ...], notice: Notice) -> tuple[Notice, ...]:
    """Added once; of too many the oldest go, and first those that are sent."""
    if any(each.id == notice.id for each in notices):
        return notices
    kept = list(notices)
    while len(kept) >= NOTICES_MAX:
        kept.remove(next((each for each in kept if each.sent), kept[0]))
    return (*kept, notice)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A notice in words."""

    id: str
    kind: str
    topic: str
    migration: str
    at_s: float
    title: str
    text: str
    do: str
    runbook: str
    facts: Mapping[str, int] = field(default_factory=dict)


def message(notice: Notice, migration: str, facts: Mapping[str, int], *, runbook: str) -> Message:
    text, do = WORDS[notice.halt or notice.kind]
    return Message(
        id=notice.id,
        kind=notice.kind.value,
        topic=notice.topic,
        migration=migration,
        at_s=notice.at_s,
        title=f"Ebb: {migration} {_TITLES[notice.kind]}",
        text=text,
        do=do.replace("NAME", migration),
        runbook=f"{runbook}#{notice.topic}",
        facts=facts,
    )


class Shape(StrEnum):
    """What a receiver wants a message to look like."""

    JSON = "json"
    SLACK = "slack"
    TEAMS = "teams"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where messages go; the address is a secret, so it is never shown."""

    shape: Shape
    url: str = field(repr=False)


def webhook_of(text: str, *, plain_hosts: frozenset[str] = frozenset()) -> Webhook:
    """`https://…`, `slack+https://…` or `teams+https://…`; ValueError says what to write."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("write an address in plain ASCII, without spaces")
    scheme, _, rest = text.partition("://")
    shape, _, scheme = scheme.rpartition("+")
    if shape not in {"", *Shape}:
        raise ValueError("begin an address with https://, teams+https:// or slack+https://")
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host = (parts.hostname or "").encode("idna")  # a label that is empty or too long fails
        is_whole = bool(host) and parts.port != 0
    except ValueError:  # it repeats the address, which is a secret
        is_whole = False
    plain = scheme == "http" and is_whole and parts.netloc.lower() in plain_hosts
    if not is_whole or "@" in parts.netloc or not (scheme == "https" or plain):
        raise ValueError("write a whole https address, without a user's name in it")
    return Webhook(shape=Shape(shape or Shape.JSON), url=parts.geturl())


_TITLES: Mapping[NoticeKind, str] = {
    NoticeKind.HALTED: "has halted",
    NoticeKind.COMPLETED: "is complete",
    NoticeKind.QUARANTINED: "has quarantined slices",
    NoticeKind.STALLED: "is stalled",
    NoticeKind.OVERRUN: "passes its ceiling too often",
    NoticeKind.COSTLY: "costs more than was forecast",
    NoticeKind.RETIRED: "is retired from its source",
    NoticeKind.RESTORED: "is back in its source",
    NoticeKind.RETIREMENT_HALTED: "has stopped retiring",
}

_RESUME = "Correct the cause, then run: ebb resume NAME"

WORDS: Mapping[NoticeKind | Halt, tuple[str, str]] = {
    NoticeKind.HALTED: ("It copies nothing until a person resumes it.", _RESUME),
    NoticeKind.COMPLETED: (
        "Every cold document is proven, and the receipts tile the cold range.",
        "Note its fingerprint down somewhere else: ebb status NAME --json",
    ),
    NoticeKind.QUARANTINED: (
        "Some documents have no canonical form. Their slices wait; the rest goes on.",
        "See which: ebb status NAME --json; correct them in the source, pause, then resume",
    ),
    NoticeKind.STALLED: (
        "It may spend, and for four minutes nothing was planned, copied, proven or removed.",
        "Look whether the app's queue triggers run, and what its log says",
    ),
    NoticeKind.OVERRUN: (
        "More than 1 % of a day's minutes were over the ceiling because of Ebb.",
        "Look at ebb explain NAME; if the business suffers, pause it",
    ),
    NoticeKind.COSTLY: (
        "It has spent half as many request units again as its forecast was.",
        "Look at attempts_failed in ebb status NAME --json; pause it if that grows",
    ),
    NoticeKind.RETIRED: (
        "Everything that its receipts cover is removed from the source, or was left alone.",
        "See what was left alone, and why: ebb retire NAME",
    ),
    NoticeKind.RESTORED: (
        "Everything that was removed from the source stands there again.",
        "See what was left alone, and why: ebb retire NAME",
    ),
    NoticeKind.RETIREMENT_HALTED: (
        "Retiring met a failure that stays; nothing more is removed or restored.",
        "Read the reason: ebb retire NAME; correct it, then: ebb retire NAME --resume",
    ),
    Halt.SLICE_TRANSIENT: (
        "A slice failed until its attempts were used up: source or storage was away.",
        "Look at the health of Cosmos DB and storage, then run: ebb resume NAME",
    ),
    Halt.SLICE_INCOMPLETE: (
        "The source repeatedly gave an incomplete reading of a slice.",
        "Run ebb resume NAME once; if it halts again, compare counts by hand",
    ),
    Halt.SLICE_MISMATCH: (
        "What was staged is not what was read. Nothing of it was published.",
        "Look who else writes under staging/, then run: ebb resume NAME",
    ),
    Halt.SLICE_FAULT: (
        "A slice met a failure that trying again will not change.",
        "Read the reason in ebb status NAME, correct it, then resume",
    ),
    Halt.ONLY_QUARANTINED: (
        "Everything else is proven; what is left are quarantined slices.",
        "See which: ebb status NAME --json; correct their documents, then resume",
    ),
    Halt.TOO_MANY_QUARANTINED: (
        "More than twenty slices are quarantined: these are not a few odd documents.",
        "Look for what they have in common: ebb status NAME --json",
    ),
    Halt.DEADLY_SLICE: (
        "A slice was claimed over sixty times without a result: it kills its workers.",
        "Look at the app's log for it; memory and scratch space are the usual causes",
    ),
    Halt.DENSE_SECOND: (
        "One second of the source holds more documents than can be cut by ids.",
        "Stop it, and narrow cold.where into several migrations",
    ),
    Halt.NOT_COVERED: (
        "The receipts do not tile the cold range. It is not complete and must not be resumed.",
        "Report it with the output of: ebb verify NAME",
    ),
    Halt.FOREIGN_SUMMARY: (
        "Another migration.json stands in the archive.",
        "Find out who wrote it, move it away, then resume",
    ),
    Halt.NOT_FOUND: (
        "Something that it needs does not exist: a container, a blob or a pipeline.",
        "Read its name in ebb status NAME; restore it and resume, or stop",
    ),
    Halt.REFUSED: (
        "The source, the storage or the factory refused it.",
        "Read the reason in ebb status NAME; usually a role is missing. Then resume",
    ),
    Halt.ARCHIVE_HARMED: (
        "A receipt, manifest or blob is not what was proven. Nothing of its slice was removed.",
        "Run ebb verify NAME, restore the blob from its versions, then ebb retire NAME --resume",
    ),
    Halt.GATE_CLOSED: (
        "Something that had to hold while documents are removed holds no longer.",
        "Read the reason: ebb retire NAME; correct it, then ebb retire NAME --resume",
    ),
    Halt.REMOVAL_FAILED: (
        "A slice could not be removed or restored until its attempts were used up.",
        "Look at the health of Cosmos DB and storage, then run: ebb retire NAME --resume",
    ),
    Halt.INDEX_INCOMPLETE: (
        "The look-up index has lost documents that were removed. Readers get 404 for them.",
        "Stop writing to the state account; rebuild the index: ebb reindex NAME",
    ),
    Halt.RESTORED_OTHERWISE: (
        "A restored document is not what was archived. Its archived version still stands.",
        "Read which one: ebb retire NAME; look at what writes to the container",
    ),
}
