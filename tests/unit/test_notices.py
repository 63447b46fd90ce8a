"""What people are told: each event once, in fixed words, and only to addresses that are safe."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from shared.domain.halts import Halt, Halting, halt_of
from shared.domain.notices import (
    NOTICES_MAX,
    WORDS,
    Notice,
    NoticeKind,
    Shape,
    message,
    notice_id,
    webhook_of,
    with_notice,
)
from shared.domain.slices import MigrationState
from shared.errors import NotFound, PermanentError
from tests.unit.samples import a_migration


def a_notice(number: int = 0, *, sent: bool = False) -> Notice:
    return Notice(id=f"n{number:03d}", kind=NoticeKind.STALLED, at_s=float(number), sent=sent)


def test_a_halt_and_a_completion_are_told_by_the_move_itself() -> None:
    """One write holds both, so no crash parts them; a pause is a person's own doing."""
    known = replace(a_migration(), version="v7")
    halted = known.moved(MigrationState.HALTED, reason="r", now_s=5.0, halt=Halt.SLICE_MISMATCH)
    (notice,) = halted.untold
    assert (notice.kind, notice.halt, notice.at_s) == ("halted", "slice_mismatch", 5.0)
    assert notice.topic == "slice_mismatch"
    resumed = halted.moved(MigrationState.RUNNING, reason="r", now_s=6.0)
    assert (resumed.halt, resumed.untold) == (None, (notice,))
    completed = resumed.moved(MigrationState.COMPLETED, reason="r", now_s=7.0)
    assert [each.kind for each in completed.untold] == ["halted", "completed"]
    assert completed.untold[1].topic == "completed"
    for state in (MigrationState.PAUSED, MigrationState.STOPPED, MigrationState.RUNNING):
        assert known.moved(state, reason="r", now_s=5.0).notices == ()


def test_two_halts_of_one_migration_are_two_notices() -> None:
    """Also within one second: each is marked by the record that it moved on."""
    first = replace(a_migration(), version="v1")
    second = replace(a_migration(), version="v2")
    ids = {
        each.moved(MigrationState.HALTED, reason="r", now_s=5.0).untold[0].id
        for each in (first, second)
    }
    assert len(ids) == 2


def test_what_was_noted_once_is_not_noted_again() -> None:
    """Sent or not, and whoever notices it."""
    once = a_migration().noted(NoticeKind.STALLED, mark="7.5", now_s=8.0)
    assert once.noted(NoticeKind.STALLED, mark="7.5", now_s=9.0) == once
    sent = once.with_all_sent()
    assert sent.untold == ()
    assert sent.noted(NoticeKind.STALLED, mark="7.5", now_s=9.0) == sent
    assert len(sent.noted(NoticeKind.STALLED, mark="8", now_s=9.0).untold) == 1
    assert len(sent.noted(NoticeKind.COSTLY, mark="7.5", now_s=9.0).untold) == 1


def test_an_id_differs_by_migration_kind_and_mark() -> None:
    """And tells nothing of them."""
    base = notice_id("uid-1", NoticeKind.STALLED, "doc-7")
    others = {
        notice_id("uid-2", NoticeKind.STALLED, "doc-7"),
        notice_id("uid-1", NoticeKind.COSTLY, "doc-7"),
        notice_id("uid-1", NoticeKind.STALLED, "doc-8"),
    }
    assert len(others - {base}) == 3
    assert len(base) == 24
    assert int(base, 16) >= 0


def test_of_too_many_notices_those_that_are_sent_go_first() -> None:
    """What nobody was told of yet is kept as long as there is anything else to forget."""
    sent = tuple(a_notice(number, sent=number % 2 == 0) for number in range(NOTICES_MAX))
    more = with_notice(sent, a_notice(900))
    assert len(more) == NOTICES_MAX
    assert more == (*sent[1:], a_notice(900))
    untold = tuple(a_notice(number) for number in range(NOTICES_MAX))
    assert with_notice(untold, a_notice(900)) == (*untold[1:], a_notice(900))


def test_every_kind_and_every_halt_has_its_words() -> None:
    """What it means and what to do, short enough for a telephone."""
    assert set(WORDS) == {*NoticeKind, *Halt}
    for text, do in WORDS.values():
        assert 10 < len(text) < 120
        assert 10 < len(do) < 120


def test_a_message_says_what_happened_and_what_to_do() -> None:
    """With the migration's name, counts, and the runbook's section."""
    notice = Notice(id="i", kind=NoticeKind.HALTED, at_s=1.5, halt=Halt.SLICE_TRANSIENT)
    said = message(notice, "billing", {"documents proven": 7}, runbook="https://x.example/r.md")
    assert said.title == "Ebb: billing has halted"
    assert said.text.startswith("A slice failed until its attempts were used up")
    assert said.do.endswith("run: ebb resume billing")
    assert said.runbook == "https://x.example/r.md#slice_transient"
    assert asdict(said)["facts"] == {"documents proven": 7}
    assert "NAME" not in str(asdict(said))


def test_a_failure_is_looked_up_by_its_word() -> None:
    """Ebb's own reasons know theirs; of the outside's it is missing or refused."""
    assert halt_of(Halting(Halt.DENSE_SECOND, "m")) is Halt.DENSE_SECOND
    assert halt_of(NotFound("m")) is Halt.NOT_FOUND
    assert halt_of(PermanentError("m")) is Halt.REFUSED


@pytest.mark.parametrize(
    ("text", "shape", "url"),
    [
        ("https://x.example/a?sig=s", Shape.JSON, "https://x.example/a?sig=s"),
        ("teams+https://x.example:8443/a", Shape.TEAMS, "https://x.example:8443/a"),
        ("slack+https://x.example", Shape.SLACK, "https://x.example"),
        ("http://127.0.0.1:8080/a", Shape.JSON, "http://127.0.0.1:8080/a"),
    ],
)
def test_an_address_says_which_shape_it_takes(text: str, shape: Shape, url: str) -> None:
    """Plain http goes to the loopback places that a setting names, and nowhere else."""
    webhook = webhook_of(text, plain_hosts=frozenset({"127.0.0.1:8080"}))
    assert (webhook.shape, webhook.url) == (shape, url)
    assert "x.example" not in repr(webhook)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "http://x.example/a",
        "http://127.0.0.1:8081/a",
        "http://127.0.0.1/a",
        "teams+http://x.example/a",
        "discord+https://x.example/a",
        "https://user:secret@x.example/a",
        "http://127.0.0.1:8080@x.example/a",
        "https://x.example:port/a",
        "https://[::1/a",
        "https://x.example/a b",
        "https://x.example/\u00e9",
        "https://x.example/a\r\nhost: y",
        "ftp://x.example/a",
        "https://x..example/a",
        "https://.x.example/a",
        f"https://{'a' * 64}.x.example/a",
    ],
)
def test_an_address_that_is_not_safe_is_refused(text: str) -> None:
    """And the reason never repeats it: it may hold a secret."""
    with pytest.raises(ValueError, match=r".") as caught:
        webhook_of(text, plain_hosts=frozenset({"127.0.0.1:8080"}))
    assert "x.example" not in str(caught.value)
