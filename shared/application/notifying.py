"""Telling people: from what stands in a migration's record, by a queue, to each of its targets.

Nothing here stops a migration. What cannot be told is kept: as an incident, and in the status.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from shared.application.bundle import Ports
from shared.application.desk import until_written
from shared.domain.notices import Message, NoticeKind, message, notice_id
from shared.domain.slices import Migration, SliceState
from shared.domain.spec import parse_spec
from shared.domain.version import FIELD, STATE_VERSION, check_version
from shared.errors import EbbError, OtherVersion, PermanentError, TransientError
from shared.ports import NOTIFY_QUEUE, Incident, IncidentKind, Telling

SENDS_MAX = 8  # with these pauses a receiver may be away for half an hour
PAUSE_BASE_S = 30
PAUSE_MAX_S = 600
TOLD_KEPT = 50  # ids kept with a target: as many as a migration keeps notices
TROUBLE_CHARS_MAX = 300
TEXT_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A queue message: who is still to be told what, and how often it was tried."""

    message: Message
    targets: tuple[str, ...]
    sends: int = 1


@dataclass(slots=True)
class Delivery:
    """What became of one letter; the log keeps it, and an alert may watch for it."""

    message: Message | None = None
    told: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        shown = asdict(self.message) if self.message else {}
        return {**shown, "told": self.told, "waiting": self.waiting, "failed": self.failed}


_LETTERS = TypeAdapter(Letter)


def note(ports: Ports, migration: Migration, kind: NoticeKind, mark: str) -> None:
    """Write into the migration's record that people are to hear of something, once."""
    wanted = notice_id(migration.uid, kind, mark)
    if any(each.id == wanted for each in migration.notices):
        return

    def noted() -> None:
        current = ports.ledger.migration(migration.name)
        if all(each.id != wanted for each in current.notices):
            now_s = ports.clock.now_s()
            ports.ledger.put_migration(current.noted(kind, mark=mark, now_s=now_s))

    until_written(ports, noted, doing=f"noting that {migration.name} is {kind.value}")


def post(ports: Ports, migrations: tuple[Migration, ...], actions: dict[str, Any]) -> None:
    """Put what is untold into the queue, then note that it lies there; trouble waits a tick."""
    for each in migrations:
        if not each.untold:
            continue
        try:
            _post(ports, each)
        except EbbError as error:
            actions[f"{each.name}.notices"] = f"{len(each.untold)} wait: {error}"


def _post(ports: Ports, migration: Migration) -> None:
    facts = _facts(ports, migration.name)
    targets = parse_spec(migration.spec_text).notify
    for notice in migration.untold:
        said = message(notice, migration.name, facts, runbook=ports.webhooks.runbook)
        _send(ports, Letter(message=said, targets=targets))
    ports.ledger.put_migration(migration.with_all_sent())


def _facts(ports: Ports, name: str) -> dict[str, int]:
    """Counts only: whatever has a name of its own may be confidential."""
    progress = ports.ledger.progress(name)
    if progress is None:
        return {}
    waiting = ports.ledger.open_slices(name)
    return {
        "documents proven": progress.documents_proven,
        "documents expected": progress.documents_expected,
        "slices proven": progress.slices_proven,
        "slices quarantined": sum(1 for s in waiting if s.state is SliceState.QUARANTINED),
        "attempts failed": progress.attempts_failed,
        "request units spent": round(progress.ru_spent),
    }


def _send(ports: Ports, letter: Letter, *, delay_s: int = 0) -> None:
    told = _LETTERS.dump_python(letter, mode="json") | {FIELD: STATE_VERSION}
    text = json.dumps(told, sort_keys=True)
    ports.mail.send(NOTIFY_QUEUE, text, delay_s=delay_s)


class Notifying:
    """Delivers letters."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def run(self, body: bytes) -> Delivery:
        """Tell each target what it was not told yet; whoever is away is tried again later."""
        try:
            letter = _read(body)
        except OtherVersion as error:
            return self._put_back(body, error)
        if letter is None:
            return self.bury(body)
        delivery = Delivery(message=letter.message)
        for target in letter.targets:
            self._tell(target, letter, delivery)
        if delivery.waiting:
            again = replace(letter, targets=tuple(delivery.waiting), sends=letter.sends + 1)
            _send(self._ports, again, delay_s=_pause_s(letter.sends))
        return delivery

    def bury(self, body: bytes) -> Delivery:
        """A letter that failed every time, or is none: who was not told never will be."""
        try:
            letter = _read(body)
        except OtherVersion as error:
            return self._put_back(body, error)
        if letter is None:
            text = body.decode("utf-8", errors="replace")[:TEXT_SHOWN_MAX]
            trouble = f"a message of {NOTIFY_QUEUE} is not Ebb's: {text!r}"
            self._record(IncidentKind.POISON, trouble)
            return Delivery(failed={"": trouble})
        delivery = Delivery(message=letter.message)
        for target in letter.targets:
            if self._was_told(target, letter.message):
                delivery.told.append(target)
            else:
                self._give_up(target, letter.message, "its worker failed every time", delivery)
        return delivery

    def _put_back(self, body: bytes, error: OtherVersion) -> Delivery:
        """The Ebb that wrote it, or the next one here, delivers it."""
        self._ports.mail.send(NOTIFY_QUEUE, body.decode(), delay_s=PAUSE_MAX_S)
        return Delivery(waiting=[str(error)])

    def _tell(self, target: str, letter: Letter, delivery: Delivery) -> None:
        said = letter.message
        if self._was_told(target, said):
            delivery.told.append(target)
            return
        try:
            self._ports.webhooks.send(target, said)
        except PermanentError as error:
            self._give_up(target, said, str(error), delivery)
        except TransientError as error:
            if letter.sends >= SENDS_MAX:
                self._give_up(target, said, str(error), delivery)
            else:
                delivery.waiting.append(target)
        else:
            self._keep(said, target, trouble="")
            delivery.told.append(target)

    def _was_told(self, target: str, said: Message) -> bool:
        return said.id in self._ports.tellings.recall(said.migration, target).told

    def _give_up(self, target: str, said: Message, trouble: str, delivery: Delivery) -> None:
        delivery.failed[target] = trouble[:TROUBLE_CHARS_MAX]
        self._record(IncidentKind.UNTOLD, f"{target} was not told: {said.title}; {trouble}")
        self._keep(said, target, trouble=trouble)

    def _keep(self, said: Message, target: str, *, trouble: str) -> None:
        """With its id if it arrived; a racing worker's own note is never lost."""

        def kept() -> None:
            known = self._ports.tellings.recall(said.migration, target)
            told = known.told if trouble or said.id in known.told else (*known.told, said.id)
            self._ports.tellings.keep(_moved(known, told, trouble))

        until_written(self._ports, kept, doing=f"noting what {target} was told of {said.migration}")

    def _record(self, kind: IncidentKind, text: str) -> None:
        incident = Incident(at_s=self._ports.clock.now_s(), kind=kind, text=text)
        self._ports.incidents.record(incident)


def _moved(known: Telling, told: tuple[str, ...], trouble: str) -> Telling:
    return replace(known, told=told[-TOLD_KEPT:], trouble=trouble[:TROUBLE_CHARS_MAX])


def _pause_s(sends: int) -> int:
    return int(min(PAUSE_MAX_S, PAUSE_BASE_S * 2 ** (sends - 1)))


def _read(body: bytes) -> Letter | None:
    """None for what is no letter; OtherVersion for a later Ebb's."""
    with suppress(ValueError):
        told = json.loads(body)
        if isinstance(told, dict):
            check_version(told.get(FIELD), thing="a letter")
    try:
        return _LETTERS.validate_json(body)
    except ValidationError:
        return None
