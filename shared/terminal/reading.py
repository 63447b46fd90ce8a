"""Commands on an archive's documents: read shows one, restore brings back what Ebb removed."""

from __future__ import annotations

import argparse
import datetime as dt
import json

from shared.application.consulting import Consulted, Consulting, Standing
from shared.application.index_rebuild import IndexRebuild, Rebuilt
from shared.application.restoration import Restoration, Restored, Wanted
from shared.errors import Refused
from shared.terminal.console import DONE, PROBLEM, Terminal

_MEANING = {
    Standing.REMOVED: "Ebb removed it from the source: the archive answers for it",
    Standing.DELETED: "its owner deleted or replaced it since, or it was restored: nobody answers",
    Standing.ARCHIVED: "nothing points to it: the source answers",
    Standing.ELSEWHERE: "Ebb removed it for another migration: its archive {} answers for it",
}


def instant(text: str) -> int:
    """A day or an instant, in UTC where no zone is given."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no instant; write 2026-01-31 or 2026-01-31T12:00:00Z"
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())


def read(options: argparse.Namespace, terminal: Terminal) -> int:
    found = Consulting(terminal.app().ports).run(options.name, options.id, tuple(options.pk))
    terminal.show(found.as_dict(), lambda: _document_text(found))
    return DONE


def _document_text(found: Consulted) -> str:
    by = "manifest" if found.pointer is None else "index"
    written = dt.datetime.fromtimestamp(found.ts, dt.UTC).isoformat().replace("+00:00", "Z")
    return "\n".join(
        [
            json.dumps(json.loads(found.document), indent=2, ensure_ascii=False),
            f"digest checked: {found.sha256}, as the {by} says",
            f"last written {written}, etag {found.etag}; in {found.blob}",
            f"{found.standing.value}: {_MEANING[found.standing].format(found.answering)}",
        ]
    )


def restore(options: argparse.Namespace, terminal: Terminal) -> int:
    """Without --execute nothing is changed."""
    _check(options)
    restoration = Restoration(terminal.app().ports)
    if options.id is not None:
        report = restoration.one(
            options.name,
            options.id,
            tuple(options.pk),
            deleted=options.deleted,
            execute=options.execute,
        )
    else:
        wanted = Wanted(
            since_s=options.since or 0,
            until_s=options.until,
            partition_key=tuple(options.partition or ()),
        )
        report = restoration.many(
            options.name,
            wanted,
            execute=options.execute,
            on_slice=lambda now: terminal.progress(_progress(now)),
        )
        terminal.progress("")
    terminal.show(report.as_dict(), lambda: _restored_text(report))
    return PROBLEM if report.untraced else DONE


def reindex(options: argparse.Namespace, terminal: Terminal) -> int:
    """Without --execute nothing is changed, and the source is not asked."""
    report = IndexRebuild(terminal.app().ports).run(
        options.name,
        execute=options.execute,
        on_slice=lambda now: terminal.progress(f"{now.slices:,} slices, {now.missing:,} missing"),
    )
    terminal.progress("")
    terminal.show(report.as_dict(), lambda: _reindexed_text(report))
    left = report.missing - report.pointed_at - report.in_source if report.execute else 0
    return PROBLEM if left or report.unrecorded else DONE


def _reindexed_text(report: Rebuilt) -> str:
    head = (
        f"{report.name}: {report.removed:,} documents are removed by the archive's records; the "
        f"index knows {report.known:,} of them and {report.missing:,} are missing"
    )
    if not report.execute:
        done = "nothing was changed — do it with --execute"
    else:
        done = (
            f"{report.pointed_at:,} are pointed at again, {report.in_source:,} are in the source, "
            f"{report.elsewhere:,} gave way to what came to stand in the index meanwhile"
        )
    unrecorded = (
        f"\n{report.unrecorded:,} more were removed and no record in the archive names them"
    )
    return f"{head}; {done}{unrecorded if report.unrecorded else ''}"


def _check(options: argparse.Namespace) -> None:
    filtered = options.since is not None or options.until is not None or bool(options.partition)
    if (options.id is not None) + filtered + options.all != 1:
        raise Refused(
            "restoring: say which documents, in one way: an ID with --pk, or a filter (--since, "
            "--until, --partition), or --all"
        )
    if (options.id is not None) != bool(options.pk):
        raise Refused("restoring: an ID and its --pk belong together; give both, or neither")
    if options.deleted and options.id is None:
        raise Refused(
            "restoring: what its owner deleted comes back only by its ID; leave --deleted out"
        )


def _progress(report: Restored) -> str:
    back = report.outcomes.total()
    return f"{report.slices:,} slices, {report.removed:,} documents removed, {back:,} looked at"


def _restored_text(report: Restored) -> str:
    told = report.as_dict()
    if not report.execute:
        return (
            f"{report.name}: {report.meant:,} archived documents are meant, and the index says "
            f"that {report.removed:,} of them are removed and {report.elsewhere:,} lie in another "
            "migration's archive; nothing was changed — do it with --execute"
        )
    return (
        f"{report.name}: {told['restored']:,} of {report.meant:,} documents restored; left alone: "
        f"{told['left_alone_standing']:,} that stand in the source, "
        f"{told['left_alone_deleted']:,} that their owner deleted, "
        f"{told['left_alone_elsewhere']:,} that another migration's archive answers for"
        f"{_lost_text(report)}"
    )


def _lost_text(report: Restored) -> str:
    if not report.untraced:
        return ""
    return (
        f"\n{report.untraced:,} were removed, and neither the look-up index nor the source knows "
        f"anything of them: the index is not whole — rebuild it: ebb reindex {report.name}, then "
        "restore again"
    )
