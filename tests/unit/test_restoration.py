"""Reading and restoring by name: what is found, what comes back, what is left alone and counted."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest

from shared import cli, wiring
from shared.application.consulting import Consulting, Standing, keys_meant
from shared.application.restoration import Restoration, Wanted
from shared.application.restoring import Outcome
from shared.application.visiting import NoBudget
from shared.domain.board import BOARD_VALID_S, Activity, Board
from shared.domain.canonical import canonical_document
from shared.domain.pointers import Key, Pointer
from shared.errors import Refused
from shared.terminal.console import DONE, MISUSED, PROBLEM
from tests.simulation.sources import RU_PER_WRITE
from tests.simulation.test_pace import Run, begin, steady
from tests.simulation.world import SOURCE, World
from tests.tiered.removal import pointers_of, removed, stubbed

DOCUMENTS = 40


@pytest.fixture
def run() -> Run:
    """A migration that completed, with everybody still at work."""
    made = begin(steady, documents=DOCUMENTS)
    made.work(600)
    return made


@pytest.fixture
def retired(run: Run) -> dict[Key, Pointer]:
    """All of it removed; what each key's pointer was."""
    pointers = pointers_of(run.world.ports, "sim")
    assert len(removed(run.world.ports, "sim", pointers)) == len(pointers) == DOCUMENTS
    return pointers


def contents(run: Run) -> dict[str, bytes]:
    return {name: canonical_document(each) for name, each in run.world.source.documents.items()}


def test_everything_comes_back_exactly_and_once(run: Run) -> None:
    """As it was to the byte, nothing pointed at any more, and a second time changes nothing."""
    before = contents(run)
    removed(run.world.ports, "sim", pointers_of(run.world.ports, "sim"))
    assert run.world.source.documents == {}
    report = Restoration(run.world.ports).many("sim", Wanted(), execute=True)
    assert report.outcomes == {Outcome.RESTORED: DOCUMENTS}
    assert contents(run) == before
    assert run.world.ports.pointers.find(SOURCE, ('["p1"]', "doc-0001")) is None
    again = Restoration(run.world.ports).many("sim", Wanted(), execute=True)
    assert (again.removed, again.outcomes.total()) == (0, 0)


def test_a_dry_run_tells_the_numbers_and_asks_the_source_nothing(
    run: Run, retired: dict[Key, Pointer]
) -> None:
    """Nothing is written, and no request units are spent."""
    spent = run.world.source.ru_charged
    report = Restoration(run.world.ports).many("sim", Wanted(), execute=False)
    assert (report.meant, report.removed) == (DOCUMENTS, DOCUMENTS)
    assert run.world.source.documents == {}
    assert run.world.source.ru_charged == spent


def test_restoring_keeps_to_the_budget(run: Run, retired: dict[Key, Pointer]) -> None:
    """Every request is made from a seat at the board and metered; afterwards the seat is free."""
    since_s = int(run.world.clock.now_s()) // 60 * 60
    metering, source = run.world.ports.metering, run.world.source

    def metered() -> float:
        minutes = metering.by_minute(SOURCE, since_s=since_s).values()
        return sum(ru for minute in minutes for ru in minute.values())

    before, charged = metered(), source.ru_charged
    Restoration(run.world.ports).many("sim", Wanted(), execute=True)
    assert metered() - before == source.ru_charged - charged >= DOCUMENTS * 2 * RU_PER_WRITE
    assert run.world.ports.boards.read().live_seats(run.world.clock.now_s()) == ()


def test_restoring_sits_down_once_for_a_slice(run: Run, retired: dict[Key, Pointer]) -> None:
    """And not anew for each of its documents, which would cost more than the documents do."""
    sitting: list[tuple[str, ...]] = []

    def told(board: Board) -> None:
        seats = board.live_seats(run.world.clock.now_s())
        sitting.append(tuple(s.slice_id for s in seats if s.activity is Activity.COMPARE))

    run.world.boards.told.append(told)
    report = Restoration(run.world.ports).many("sim", Wanted(), execute=True)
    changes = [each for each, _ in groupby(sitting)]
    assert changes.pop() == ()
    assert len(changes) == len(set(changes)) <= report.slices + 1


def test_restoring_gives_up_where_no_budget_comes(archived: World) -> None:
    """No controller ticks here: nothing is written, and it says how to go on."""
    removed(archived.ports, "sim", pointers_of(archived.ports, "sim"))
    archived.clock.advance(BOARD_VALID_S)
    with pytest.raises(NoBudget, match="restore again later"):
        Restoration(archived.ports).many("sim", Wanted(), execute=True)
    assert archived.source.documents == {}


def test_a_filter_restores_what_it_means_and_no_more(run: Run, retired: dict[Key, Pointer]) -> None:
    """Half-open in time, by partition key, and both at once."""
    times = sorted(pointer.ts for pointer in retired.values())
    middle = times[len(times) // 2]
    wanted = Wanted(since_s=middle, partition_key=("p1",))
    Restoration(run.world.ports).many("sim", wanted, execute=True)
    expected = {
        key[1] for key, pointer in retired.items() if pointer.ts >= middle and key[0] == '["p1"]'
    }
    assert set(run.world.source.documents) == expected != set()
    Restoration(run.world.ports).many("sim", Wanted(until_s=middle), execute=True)
    expected |= {key[1] for key, pointer in retired.items() if pointer.ts < middle}
    assert set(run.world.source.documents) == expected


def test_deleted_and_newer_documents_are_left_alone_and_counted(
    run: Run, retired: dict[Key, Pointer]
) -> None:
    """A deletion stays one, and a version written since is never overwritten."""
    first, second = sorted(retired)[:2]
    run.world.ports.pointers.delete(SOURCE, first)
    run.world.source.put(second[1], ts=int(run.world.clock.now_s()), body="newer")
    report = Restoration(run.world.ports).many("sim", Wanted(), execute=True)
    assert report.outcomes == {Outcome.RESTORED: DOCUMENTS - 2, Outcome.STANDS: 1}
    assert report.removed == DOCUMENTS - 1
    assert first[1] not in run.world.source.documents
    assert run.world.source.documents[second[1]]["body"] == "newer"


def test_stubs_are_filled_where_they_stand(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deleted stub is a deleted document, unless another archive answers for it."""
    before = contents(run)
    spec = run.world.ports.ledger.migration("sim").spec_text
    assert '"retire":"keep"' in spec
    kept = type(run.world.ports.ledger).migration
    monkeypatch.setattr(
        type(run.world.ports.ledger),
        "migration",
        lambda self, name: _with_stubs(kept(self, name)),
    )
    pointers = pointers_of(run.world.ports, "sim")
    for key, pointer in pointers.items():
        stubbed(run.world.ports, "sim", key, pointer)
    deleted, elsewhere = sorted(pointers)[:2]
    gone = {deleted[1], elsewhere[1]}
    for name in gone:
        del run.world.source.documents[name]
    others = replace(pointers[elsewhere], archive="other/two")
    run.world.ports.pointers.put(SOURCE, {elsewhere: others})
    report = Restoration(run.world.ports).many("sim", Wanted(), execute=True)
    assert report.outcomes == {Outcome.RESTORED: DOCUMENTS - 2, Outcome.DELETED: 1}
    assert report.elsewhere == 1
    assert contents(run) == {name: each for name, each in before.items() if name not in gone}


def _with_stubs(migration: Any) -> Any:
    text = migration.spec_text.replace('"retire":"keep"', '"retire":"stub"')
    return replace(migration, spec_text=text)


def test_what_another_archive_answers_for_is_left_to_it(
    run: Run, retired: dict[Key, Pointer]
) -> None:
    """Not taken for deleted by its owner, and it is said which archive that is."""
    for key in sorted(retired)[:3]:
        run.world.ports.pointers.withdraw(SOURCE, {key: retired[key]})
        run.world.ports.pointers.put(SOURCE, {key: replace(retired[key], archive="other/two")})
    key = min(retired)
    words = (json.loads(key[0])[0],)
    found = Consulting(run.world.ports).run("sim", key[1], words)
    assert (found.standing, found.answering) == (Standing.ELSEWHERE, "other/two")
    restoration = Restoration(run.world.ports)
    for deleted in (False, True):
        with pytest.raises(Refused, match="archive other/two answers for it"):
            restoration.one("sim", key[1], words, deleted=deleted, execute=True)
    report = restoration.many("sim", Wanted(), execute=True)
    assert (report.removed, report.elsewhere) == (DOCUMENTS - 3, 3)
    assert report.outcomes == {Outcome.RESTORED: DOCUMENTS - 3}


@pytest.mark.parametrize("marked", [True, False])
def test_what_was_deleted_comes_back_only_by_its_key(
    run: Run,
    retired: dict[Key, Pointer],
    marked: bool,  # noqa: FBT001
) -> None:
    """Whether the index tells of the deletion or nothing does."""
    (key, pointer), *_ = sorted(retired.items(), key=lambda each: each[0])
    if marked:
        run.world.ports.pointers.delete(SOURCE, key)
    else:
        run.world.ports.pointers.withdraw(SOURCE, {key: pointer})
    words = (json.loads(key[0])[0],)
    restoration = Restoration(run.world.ports)
    refused = restoration.one("sim", key[1], words, deleted=False, execute=True)
    assert refused.outcomes == {Outcome.DELETED: 1}
    assert key[1] not in run.world.source.documents
    restoration.one("sim", key[1], words, deleted=True, execute=False)
    assert key[1] not in run.world.source.documents
    done = restoration.one("sim", key[1], words, deleted=True, execute=True)
    assert done.outcomes == {Outcome.RESTORED: 1}
    again = restoration.one("sim", key[1], words, deleted=True, execute=True)
    assert again.outcomes == {Outcome.STANDS: 1}


def test_a_document_is_found_by_index_or_manifest(run: Run) -> None:
    """The same bytes either way, and who answers for them."""
    pointers = pointers_of(run.world.ports, "sim")
    key = min(pointers)
    words = (json.loads(key[0])[0],)
    consulting = Consulting(run.world.ports)
    before = consulting.run("sim", key[1], words)
    assert (before.standing, before.pointer) == (Standing.ARCHIVED, None)
    removed(run.world.ports, "sim", {key: pointers[key]})
    after = consulting.run("sim", key[1], words)
    assert (after.standing, after.pointer) == (Standing.REMOVED, pointers[key])
    assert (after.document, after.blob) == (before.document, before.blob)
    run.world.ports.pointers.delete(SOURCE, key)
    assert consulting.run("sim", key[1], words).standing is Standing.DELETED


def test_a_key_is_meant_as_text_or_as_json() -> None:
    """A number may be either; text in quotes is text alone."""
    assert list(keys_meant(("5",))) == ['["5"]', "[5]"]
    assert list(keys_meant(('"5"',))) == ['["5"]']
    assert list(keys_meant(("a", "null"))) == ['["a","null"]', '["a",null]']
    assert list(keys_meant(("{}",))) == ['["{}"]', "[{}]"]
    assert list(keys_meant(("[1]",))) == ['["[1]"]']


def test_two_documents_that_differ_in_type_are_not_guessed_between(run: Run) -> None:
    """As for a proof: the key is then to be written as JSON."""
    pointers = pointers_of(run.world.ports, "sim")
    pointer = pointers[min(pointers)]
    for text in ('["5"]', "[5]"):
        run.world.ports.pointers.put(SOURCE, {(text, "i"): pointer})
    with pytest.raises(Refused, match="differ only in type"):
        Consulting(run.world.ports).run("sim", "i", ("5",))


@pytest.fixture
def main(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The world's application in place of one built from the environment."""
    monkeypatch.setattr(wiring, "build", lambda _environment: run.world.calm)
    return run


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.main(list(arguments))
    return code, capsys.readouterr().out


def test_read_prints_the_document_and_how_it_stands(
    main: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The document first, then its digest, where it lies, and who answers."""
    key = main.world.source.documents["doc-0003"]["pk"]
    code, shown = ran(capsys, "read", "sim", "doc-0003", "--pk", key)
    assert code == DONE
    assert json.loads(shown[: shown.index("\ndigest")])["id"] == "doc-0003"
    assert "as the manifest says" in shown
    assert "archived: nothing points to it" in shown
    removed(main.world.ports, "sim", pointers_of(main.world.ports, "sim"))
    told = json.loads(ran(capsys, "read", "sim", "doc-0003", "--pk", key, "--json")[1])
    assert (told["standing"], told["found_by"]) == ("removed", "index")
    assert told["digest_checked"] is True
    assert told["document"]["id"] == "doc-0003"
    assert ran(capsys, "read", "sim", "doc-9999", "--pk", key)[0] == PROBLEM


def test_restore_is_a_dry_run_until_told_otherwise(
    main: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would come back, then what did, in words and as JSON."""
    pk = main.world.source.documents["doc-0003"]["pk"]
    removed(main.world.ports, "sim", pointers_of(main.world.ports, "sim"))
    code, shown = ran(capsys, "restore", "sim", "--all")
    assert code == DONE
    assert "nothing was changed" in shown
    assert f"{DOCUMENTS} of them are removed" in shown
    assert main.world.source.documents == {}
    assert ran(capsys, "restore", "sim", "doc-0003", "--pk", pk, "--execute")[0] == DONE
    assert set(main.world.source.documents) == {"doc-0003"}
    day = "2020-01-01"
    told = json.loads(ran(capsys, "restore", "sim", "--since", day, "--execute", "--json")[1])
    assert told["executed"] is True
    assert len(main.world.source.documents) == DOCUMENTS
    shown = ran(capsys, "restore", "sim", "--until", f"{day}T00:00:00Z", "--execute")[1]
    assert "0 of 0 documents restored" in shown


def test_read_and_restore_name_the_other_archive(
    main: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words, where another migration removed the document."""
    key, pointer = min(pointers_of(main.world.ports, "sim").items())
    main.world.ports.pointers.put(SOURCE, {key: replace(pointer, archive="other/two")})
    shown = ran(capsys, "read", "sim", key[1], "--pk", json.loads(key[0])[0])[1]
    assert "its archive other/two answers" in shown
    shown = ran(capsys, "restore", "sim", "--all")[1]
    assert "0 of them are removed and 1 lie in another migration's archive" in shown
    shown = ran(capsys, "restore", "sim", "--all", "--execute")[1]
    assert "1 that another migration's archive answers for" in shown


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--all", "--since", "2026-01-01"),
        ("doc-0003",),
        ("--pk", "p", "--all"),
        ("doc-0003", "--pk", "p", "--all"),
        ("--all", "--deleted"),
    ],
)
def test_a_restore_that_says_too_little_or_too_much_is_refused(
    main: Run, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Before anything is looked at."""
    assert ran(capsys, "restore", "sim", *words, "--execute")[0] == MISUSED


def test_an_instant_must_be_one(main: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Told by the option's name."""
    with pytest.raises(SystemExit):
        cli.main(["restore", "sim", "--since", "yesterday"])
    assert "--since" in capsys.readouterr().err
