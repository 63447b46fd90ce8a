"""Looking at one slice's stored bytes, and holding them against what was recorded of them.

Before its receipt is written and ever after; it reads blobs only and repairs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO, cast

from shared.application.bundle import Ports
from shared.domain.canonical import digest
from shared.domain.merkle import merkle_root
from shared.domain.receipt import Row
from shared.domain.slices import Stored
from shared.domain.verdict import Kind, Verdict, compare
from shared.errors import NotFound, Unreadable
from shared.ports import Archive

MISSTATED = "misstated: "  # before a digest that the row itself tells otherwise: equal to none
SHOWN_CHARS = 12  # of a SHA-256 in a sentence; the whole stands in the receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What must stand in the archive for one slice."""

    blob: Stored | None
    manifest: Stored
    merkle_root: str
    documents: int


@dataclass(slots=True)
class Inspection:
    """What was found; sound when it is what was recorded, byte for byte."""

    faults: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    rows: list[Row] = field(default_factory=list)
    """As the manifest has them; trustworthy only when the inspection is sound."""
    seen: dict[str, Stored] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return not self.faults and self.verdict.sound

    @property
    def wrong(self) -> int:
        return max(1, self.verdict.wrong)

    def sentence(self) -> str:
        named = [] if self.verdict.sound else [self.verdict.sentence()]
        return "; ".join([*self.faults, *named]) or self.verdict.sentence()


class Inspecting:
    def __init__(self, ports: Ports, archive: Archive, *, keep: Callable[[], None]) -> None:
        self._ports = ports
        self._archive = archive
        self._keep = keep

    def look(self, recorded: Recorded) -> Inspection:
        """What stands there; looked at afresh before anything is called harmed.

        A download may be cut or flipped on its way, and then the second one says so.
        """
        found = self._look(recorded)
        return found if found.sound else self._look(recorded)

    def _look(self, recorded: Recorded) -> Inspection:
        found = Inspection()
        promised = self._manifest(recorded, found)
        if promised is not None:
            found.rows = promised
        if recorded.blob is not None:
            self._blob(recorded.blob, promised, found)
        elif promised is not None:
            found.verdict = compare(promised, ())
        return found

    def _manifest(self, recorded: Recorded, found: Inspection) -> list[Row] | None:
        """Its rows, read also where its bytes are wrong: they may still name what differs."""
        with self._ports.scratch.open() as file:
            if not self._fetch(recorded.manifest, file, found):
                return None
            try:
                rows = list(self._ports.table_format.manifest_rows(file))
            except Unreadable as error:
                found.faults.append(f"{recorded.manifest.name}: {error}")
                return None
        name = recorded.manifest.name
        if merkle_root(row.leaf() for row in rows) != recorded.merkle_root:
            found.faults.append(f"{name} does not give the Merkle root that was recorded")
        if len(rows) != recorded.documents:
            found.faults.append(f"{name} has {len(rows)} rows, not the {recorded.documents} read")
        return rows

    def _blob(self, blob: Stored, promised: list[Row] | None, found: Inspection) -> None:
        with self._ports.scratch.open() as file:
            if not self._fetch(blob, file, found):
                return
            lost: set[int] = set()
            try:
                rows = self._recomputed(file, lost)
                if promised is None:
                    found.verdict = _by_its_own_word(rows)
                else:
                    found.verdict = compare(promised, rows, lost_groups=lost)
            except Unreadable as error:
                found.faults.append(f"{blob.name}: {error}")

    def _recomputed(self, file: BinaryIO, lost: set[int]) -> Iterator[Row]:
        """Rows as the file has them, each with the digest of the bytes that stand there."""
        for group in self._ports.table_format.data_groups(file):
            if group.rows is None:
                lost.add(group.number)
                continue
            for row, document in group.rows:
                self._keep()
                actual = digest(document)
                borne_out = row.sha256 == actual
                yield row if borne_out else replace(row, sha256=f"{MISSTATED}{actual}")

    def _fetch(self, expected: Stored, file: BinaryIO, found: Inspection) -> bool:
        """Whether there is anything to read; other bytes than recorded may yet be read."""
        try:
            stored = self._archive.download(expected.name, attended(file, self._keep))
        except NotFound:
            found.faults.append(f"{expected.name} is not there")
            return False
        if (stored.sha256, stored.size_bytes) != (expected.sha256, expected.size_bytes):
            found.faults.append(
                f"{expected.name} has {stored.size_bytes} bytes with SHA-256 "
                f"{stored.sha256[:SHOWN_CHARS]}…, not the {expected.size_bytes} bytes with "
                f"{expected.sha256[:SHOWN_CHARS]}… that were recorded"
            )
        found.seen[expected.name] = stored
        file.seek(0)
        return True


def attended(file: BinaryIO, keep: Callable[[], None]) -> BinaryIO:
    """The file, with its writer's seat kept at each piece: a download may outlast a seat."""
    return cast("BinaryIO", _Attended(file, keep))


@dataclass(frozen=True, slots=True)
class _Attended:
    file: BinaryIO
    keep: Callable[[], None]

    def write(self, data: bytes, /) -> int:
        self.keep()
        return self.file.write(data)


def _by_its_own_word(rows: Iterator[Row]) -> Verdict:
    """Without a manifest a file can only be held against its own digests."""
    verdict = Verdict()
    for row in rows:
        if row.sha256.startswith(MISSTATED):
            verdict.add(Kind.CHANGED, row.id)
    return verdict
