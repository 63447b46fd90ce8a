"""Commands on archives: verify proves all of one again, prove a single document of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from shared.application.proving import Proof
from shared.application.verifying import NoNotebook, Notebook, Report, Scope
from shared.domain.merkle import Step
from shared.errors import Refused
from shared.terminal.console import DONE, PROBLEM, Terminal
from shared.terminal.notebook import FileNotebook
from shared.terminal.page import extent, report_page
from shared.wiring import App


def share(text: str) -> float:
    """A share between 0 and 1, also written in per cent."""
    number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write 5% or 0.05, at most 100%")
    return number


def verify(options: argparse.Namespace, terminal: Terminal) -> int:
    app = terminal.app()

    def told(report: Report) -> None:
        terminal.progress(
            f"{report.receipts:,} receipts, {report.slices_read:,} slices read, "
            f"{report.slices_compared:,} compared with the source, {report.faults_total} fault(s)"
        )

    with _notebook(options, app) as notebook:
        scope = Scope(
            sample=options.sample,
            seed=options.seed,
            with_source=options.source,
            notebook=notebook,
        )
        report = app.verifying.run(options.name, scope, told)
    terminal.progress("")
    if options.page is not None:
        _write(Path(options.page), report_page(report).encode())
    terminal.show(report.as_dict(), lambda: _report_text(report))
    return DONE if report.sound else PROBLEM


@contextmanager
def _notebook(options: argparse.Namespace, app: App) -> Iterator[Notebook]:
    if options.resume is None:
        yield NoNotebook()
        return
    migration = app.ports.ledger.migration(options.name)
    path = Path(options.resume)
    with closing(FileNotebook(path, migration=migration.name, uid=migration.uid)) as notebook:
        yield notebook


def _report_text(report: Report) -> str:
    if not report.sound:
        head = f"{report.name}: {report.faults_total} fault(s)"
        more = report.faults_total - len(report.faults)
        return "\n".join(
            [head, *(f"  - {f}" for f in report.faults), *([f"  and {more} more"] if more else [])]
        )
    proven = f"{report.documents:,} documents in {report.receipts} slices proven"
    lines = [f"{report.name}: {proven}, {extent(report)}; fingerprint {report.fingerprint}"]
    if not report.whole:
        lines.append(f"  a sample: the blobs of {report.slices_read} slices were read")
    if report.slices_known:
        lines.append(f"  {report.slices_known} slices were found sound by an earlier run")
    if report.slices_compared:
        lines.append(
            f"  {report.slices_compared} slices agree with the source; {report.superseded} of "
            "their documents were updated or deleted there since"
        )
    return "\n".join(lines)


def prove(options: argparse.Namespace, terminal: Terminal) -> int:
    proof = terminal.app().proving.run(
        options.name, options.id, tuple(options.pk), slice_id=options.slice
    )
    if options.out is not None:
        _write(Path(options.out), proof.document)
    terminal.show(proof.as_dict(), lambda: _proof_text(proof))
    return DONE


def _proof_text(proof: Proof) -> str:
    lines = [
        f"document     {proof.row.id}, partition key {proof.row.partition_key}",
        f"in           {proof.blob_name}, row group {proof.row.row_group}",
        f"SHA-256      {proof.row.sha256}  of its canonical form (--out FILE writes it)",
        f"leaf         {proof.leaf}",
        *_climb(proof.steps),
        f"root         {proof.merkle_root}  as receipts/{proof.slice_id}.json says",
        f"receipt      {proof.receipt_sha256}  SHA-256 of receipts/{proof.slice_id}.json",
        f"leaf         {proof.receipt_leaf}",
        *_climb(proof.receipt_steps),
        f"fingerprint  {proof.fingerprint}  "
        + (
            f"as {proof.summary} says"
            if proof.complete
            else "so far: the migration is not complete"
        ),
        "",
        "Each leaf is SHA-256(00 + leaf), each line below it SHA-256(01 + left + right).",
    ]
    return "\n".join(lines)


def _climb(steps: tuple[Step, ...]) -> list[str]:
    return [f"  {'left ' if step.on_left else 'right'}      {step.other}" for step in steps]


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Refused(f"writing {path}: {error}; give another file") from error
