"""Verifying an archive again: in parts, by sample, beside its source; and one document's proof."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.adapters.memory import MemoryArchives
from shared.application.dispatching import RESEND_AFTER_S
from shared.application.proving import Absent, Proof, Wanted
from shared.application.verifying import Checked, Report, Scope
from shared.application.visiting import NoBudget
from shared.domain.board import BOARD_VALID_S
from shared.domain.slices import MigrationState
from shared.errors import NotFound, Refused, Unreadable
from shared.ports import Page, Query
from shared.terminal.notebook import FileNotebook
from tests.simulation.test_any_misfortune import SPEC
from tests.simulation.test_pace import Run, begin, steady
from tests.simulation.world import QUEUES, START_S, World, make_world
from tests.unit.samples import a_row

DAY_S = 86_400


def blobs(archived: World) -> MemoryArchives:
    archives = archived.ports.archives
    assert isinstance(archives, MemoryArchives)
    return archives


def flip(archived: World, name: str) -> None:
    data = blobs(archived).bytes_of("archive", name) or b""
    harmed = data[:40] + bytes([data[40] ^ 1]) + data[41:]
    blobs(archived).put("archive", name, harmed, missing=False)


def data_names(archived: World) -> list[str]:
    return blobs(archived).names("archive", "data/")


def verified(archived: World, scope: Scope | None = None) -> Report:
    return archived.calm.verifying.run("sim", scope)


def test_a_sample_reads_some_slices_and_checks_all_receipts(archived: World) -> None:
    """The same seed takes the same slices, another one others; the report says it was a sample."""
    whole = verified(archived)
    assert whole.whole
    reports = [verified(archived, Scope(sample=0.4, seed=seed)) for seed in (1, 1, 2)]
    for report in reports:
        assert report.sound
        assert 0 < report.slices_read < report.receipts == whole.receipts
        assert report.fingerprint == whole.fingerprint
        assert not report.whole
    assert reports[0] == reports[1]


def test_what_a_sample_leaves_unread_must_still_stand_there(archived: World) -> None:
    """A lost blob or one of another size shows in the listing; a flipped bit need not."""
    (lost, cut, *_) = data_names(archived)
    data = blobs(archived).bytes_of("archive", cut) or b""
    blobs(archived).drop("archive", lost)
    blobs(archived).put("archive", cut, data[:-1], missing=False)
    faults = "\n".join(verified(archived, Scope(sample=1e-9)).faults)
    assert f"{lost}: not there with the" in faults
    assert f"{cut}: not there with the {len(data)} bytes of its receipt" in faults


def test_a_verification_goes_on_where_it_ended(archived: World, tmp_path: Path) -> None:
    """What was found sound is not read again; what was not, or has another receipt, is."""
    migration = archived.ports.ledger.migration("sim")
    path = tmp_path / "notes"

    def run() -> Report:
        notebook = FileNotebook(path, migration="sim", uid=migration.uid)
        try:
            return verified(archived, Scope(notebook=notebook))
        finally:
            notebook.close()

    harmed = data_names(archived)[0]
    data = blobs(archived).bytes_of("archive", harmed) or b""
    flip(archived, harmed)
    first = run()
    assert (first.slices_known, first.faults_total) == (0, 1)
    path.write_text(path.read_text() + '{"receipt": "cut off')
    blobs(archived).put("archive", harmed, data, missing=False)
    second = run()
    assert (second.slices_read, second.slices_known) == (1, first.receipts - 1)
    assert second.sound
    assert second.whole
    third = run()
    assert (third.slices_read, third.slices_known) == (0, first.receipts)


def test_another_migrations_notebook_is_refused(tmp_path: Path) -> None:
    """It would call slices sound that nobody looked at."""
    path = tmp_path / "notes"
    FileNotebook(path, migration="one", uid="u1").close()
    for name, uid in (("two", "u1"), ("one", "u2")):
        with pytest.raises(Refused, match="it is not the notebook of"):
            FileNotebook(path, migration=name, uid=uid)
    path.write_text('{"something": "else"}\n')
    with pytest.raises(Refused, match="it is not the notebook of"):
        FileNotebook(path, migration="one", uid="u1")
    with pytest.raises(Refused, match="give another file"):
        FileNotebook(tmp_path, migration="one", uid="u1")


def test_a_slice_noted_without_its_source_is_compared_all_the_same(tmp_path: Path) -> None:
    """Reading the blobs proves less than comparing with the source, never more."""
    notebook = FileNotebook(tmp_path / "notes", migration="m", uid="u")
    alone = Checked(receipt="r", sha256="s", with_source=False)
    beside = Checked(receipt="r", sha256="s", with_source=True)
    notebook.note(alone)
    assert (notebook.knows(alone), notebook.knows(beside)) == (True, False)
    notebook.note(beside)
    notebook.close()
    again = FileNotebook(tmp_path / "notes", migration="m", uid="u")
    assert again.knows(beside)
    assert not again.knows(Checked(receipt="r", sha256="other", with_source=False))
    again.close()


def test_a_receipt_of_another_migration_is_a_fault(archived: World) -> None:
    """Its archive may be sound, and it is not this one's."""
    name = blobs(archived).names("archive", "receipts/")[0]
    body = json.loads(blobs(archived).bytes_of("archive", name) or b"")
    body["migration"]["uid"] = "stranger"
    blobs(archived).put("archive", name, json.dumps(body).encode(), missing=False)
    assert "its receipt is of another migration" in "\n".join(verified(archived).faults)


@pytest.fixture
def finished() -> Run:
    """A migration that completed beside a living business."""
    run = begin(steady, documents=40)
    run.work(600)
    assert run.world.ports.ledger.migration("sim").state is MigrationState.COMPLETED
    return run


def test_comparing_with_the_source_keeps_to_the_budget(finished: Run) -> None:
    """After completion the controller grants a share while somebody compares, and no longer."""
    run = finished
    before_s = int(run.world.clock.now_s())
    report = run.world.calm.verifying.run("sim", Scope(with_source=True))
    after_s = int(run.world.clock.now_s())
    assert report.faults == []
    assert report.slices_compared == report.receipts > 0
    assert report.superseded == 0
    spent = sum(ru for second, ru in run.shared.own.items() if before_s <= second <= after_s)
    assert spent >= 40 * 250
    assert run.shared.throttled_at == []
    assert run.shared.overruns(before_s, after_s) == []
    run.work(90)
    assert run.world.ports.boards.read().budget_ru_per_s == 0.0


def test_what_the_source_says_otherwise_is_named(finished: Run) -> None:
    """Changed or missing documents are faults; updated and deleted ones are told as superseded."""
    source = finished.world.source
    source.put("doc-0000", ts=int(finished.world.clock.now_s()), body="updated")
    del source.documents["doc-0001"]
    source.documents["doc-0002"]["body"] = "rewritten without a new version"
    source.put("doc-9999", ts=START_S - 200 * DAY_S, body="never read")
    report = finished.world.calm.verifying.run("sim", Scope(with_source=True))
    assert report.superseded == 2
    assert sorted(report.superseded_ids) == ["doc-0000", "doc-0001"]
    faults = "\n".join(report.faults)
    assert "1 changed: 'doc-0002'" in faults
    assert "1 missing: 'doc-9999'" in faults
    assert report.faults_total == 2


def test_a_source_that_misreads_once_contradicts_nobody(finished: Run) -> None:
    """Read afresh before the archive is called wrong."""
    source = finished.world.source
    harmed: list[str] = []

    def misread(query: Query, start: int, limit: int) -> Page:
        page = source.documents_page(query, start, limit)
        for document in page.items:
            if document["id"] == "doc-0005" and not harmed:
                document["body"] = "harmed on the way"
                harmed.append(document["id"])
        return page

    source.hook = misread
    report = finished.world.calm.verifying.run("sim", Scope(with_source=True))
    assert harmed == ["doc-0005"]
    assert report.faults == []


def test_comparing_a_paused_migration_moves_nothing_on() -> None:
    """It gets a share to compare with, and only for that."""
    run = begin(steady, documents=400)
    run.work(400)
    run.world.calm.operating.pause("sim")
    ledger = run.world.ports.ledger
    before = (ledger.ranges("sim"), ledger.progress("sim"), len(ledger.open_slices("sim")))
    assert run.proven > 0
    run.world.clock.advance(RESEND_AFTER_S)
    drained(run)
    report = run.world.calm.verifying.run("sim", Scope(with_source=True))
    assert report.sound
    assert report.slices_compared > 0
    assert not report.complete
    after = (ledger.ranges("sim"), ledger.progress("sim"), len(ledger.open_slices("sim")))
    assert after == before
    assert drained(run) == 0


def drained(run: Run) -> int:
    """How many messages lay in the queues."""
    taken = 0
    for queue in QUEUES:
        while run.world.mail.take(queue) is not None:
            taken += 1
    return taken


def test_comparing_gives_up_where_no_budget_comes(archived: World) -> None:
    """No controller ticks here: it says so and how to go on, and leaves its seat."""
    archived.clock.advance(BOARD_VALID_S)
    with pytest.raises(NoBudget, match="go on later with --resume"):
        verified(archived, Scope(with_source=True))
    assert archived.ports.boards.read().live_seats(archived.clock.now_s()) == ()


def test_what_was_never_archived_cannot_be_compared() -> None:
    """Registered only: nothing to compare."""
    world = make_world(1)
    world.calm.operating.apply(SPEC)
    with pytest.raises(NotFound, match="nothing was archived yet"):
        verified(world, Scope(with_source=True))


def proof_of(archived: World, document_id: str, *, slice_id: str = "") -> Proof:
    key = archived.source.documents[document_id]["pk"]
    return archived.calm.proving.run("sim", document_id, (key,), slice_id=slice_id)


def climb(leaf: str, steps: list[dict[str, str]]) -> str:
    """By hand, as an outsider would."""
    node = hashlib.sha256(b"\0" + leaf.encode()).digest()
    for step in steps:
        ((side, other),) = step.items()
        pair = bytes.fromhex(other) + node if side == "left" else node + bytes.fromhex(other)
        node = hashlib.sha256(b"\1" + pair).digest()
    return node.hex()


def test_a_proof_leads_from_the_document_to_the_fingerprint(archived: World) -> None:
    """Every line redone with SHA-256 alone, down to the bytes that lie in the archive."""
    for document_id in ("doc-00", "doc-31", "doc-59"):
        proof = proof_of(archived, document_id)
        told = json.loads(json.dumps(proof.as_dict()))
        assert json.loads(proof.document)["id"] == document_id
        assert hashlib.sha256(proof.document).hexdigest() == told["sha256"]
        assert json.loads(told["leaf"])[4] == told["sha256"]
        receipt = blobs(archived).bytes_of("archive", told["receipt"]) or b""
        assert climb(told["leaf"], told["steps"]) == json.loads(receipt)["merkle_root"]
        assert told["receipt_leaf"] == f"{told['slice']}:{hashlib.sha256(receipt).hexdigest()}"
        summary = json.loads(blobs(archived).bytes_of("archive", "migration.json") or b"")
        assert climb(told["receipt_leaf"], told["receipt_steps"]) == summary["fingerprint"]
        assert told["fingerprint"] == summary["fingerprint"]
        assert proof == proof_of(archived, document_id, slice_id=proof.slice_id)


def test_a_document_that_is_not_there_has_no_proof(archived: World) -> None:
    """Another id, another key, another slice."""
    slice_id = proof_of(archived, "doc-00").slice_id
    for document_id, key, within in (
        ("doc-99", "p1", ""),
        ("doc-00", "other", ""),
        ("doc-59", archived.source.documents["doc-59"]["pk"], slice_id),
    ):
        with pytest.raises(Absent, match="check id and partition key"):
            archived.calm.proving.run("sim", document_id, (key,), slice_id=within)


def test_keys_that_differ_in_type_only_are_asked_for_as_json() -> None:
    """The text "5" and the number 5 are two partition keys."""
    rows = [replace(a_row(1), partition_key=key) for key in ('["5"]', "[5]", "[null]", '["5",{}]')]

    def met(*asked: str) -> list[str]:
        wanted = Wanted(document_id="order-1", partition_key=asked)
        return [row.partition_key for row in rows if wanted.is_met_by(row)]

    assert met("5") == ['["5"]', "[5]"]
    assert met('"5"') == ['["5"]']
    assert met("null") == ["[null]"]
    assert met("5", "{}") == ['["5",{}]']
    assert met("6") == met() == met("5", "x") == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ebb_migration", 2),
        ("name", "other"),
        ("uid", "another"),
        ("receipts", 1),
        ("documents", 1),
        ("fingerprint", "00"),
    ],
)
def test_a_summary_that_says_something_else_is_named(
    archived: World, key: str, value: object
) -> None:
    """Each field that the receipts and the ledger can answer for is held against them."""
    summary = json.loads(blobs(archived).bytes_of("archive", "migration.json") or b"")
    edited = json.dumps(summary | {key: value}).encode()
    blobs(archived).put("archive", "migration.json", edited, missing=False)
    (fault,) = verified(archived).faults
    assert fault.startswith(f"migration.json: its {key} is {value!r}, and not ")


def test_a_summary_with_other_ranges_is_named(archived: World) -> None:
    """A token decides where a range begins: a foreign one would tile another container."""
    summary = json.loads(blobs(archived).bytes_of("archive", "migration.json") or b"")
    summary["ranges"][0]["token"] = "another"
    data = json.dumps(summary).encode()
    blobs(archived).put("archive", "migration.json", data, missing=False)
    assert verified(archived).faults == ["migration.json: its ranges are not those of the receipts"]


def test_a_proof_is_refused_where_the_archive_was_harmed(archived: World) -> None:
    """It must never lead from bytes that are not there to a root that is."""
    proof = proof_of(archived, "doc-31")
    whole = blobs(archived).bytes_of("archive", proof.blob_name) or b""
    flip(archived, proof.blob_name)
    with pytest.raises(Unreadable):
        proof_of(archived, "doc-31")
    blobs(archived).put("archive", proof.blob_name, whole, missing=False)
    summary = json.loads(blobs(archived).bytes_of("archive", "migration.json") or b"")
    for edited in (json.dumps(summary | {"fingerprint": "00"}).encode(), b"{", b"[]"):
        blobs(archived).put("archive", "migration.json", edited, missing=False)
        with pytest.raises(Unreadable, match=r"migration\.json"):
            proof_of(archived, "doc-31")
    blobs(archived).drop("archive", "migration.json")
    assert not proof_of(archived, "doc-31").complete
