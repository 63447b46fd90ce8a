"""Good slices and archives of varied shapes, made once, and fresh copies of them to be harmed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from shared.adapters.memory import MemoryArchives
from shared.application.dispatching import work_message
from shared.application.verifying import Report, Scope
from shared.domain.board import Board, Grant
from shared.domain.receipt import RECEIPTS, SUMMARY, fingerprint, receipt_name
from shared.domain.slices import Cause, Migration, Progress, Slice, SliceState, Stored
from shared.errors import EbbError
from shared.ports import Change
from shared.wiring import App, assemble
from tests.campaign.sheets import Sheet, sha256
from tests.campaign.worlds import (
    DAY_S,
    KEYS,
    METRIC_SETTLE_S,
    MODES,
    SHAPE_MIXES,
    Container,
    Layout,
    Migrated,
    begin,
    completed,
    drive,
)
from tests.campaign.worlds import (
    Stored as Row,
)
from tests.simulation.world import SOURCE, START_S, MemorySources, make_world

SINK = "archive"
GENEROUS_RU_PER_S = 800.0
STAGED_PER_MIGRATION_MAX = 3
LAYOUTS = (
    Layout(documents=40, shapes=SHAPE_MIXES[0], promote=("/created", "/total")),
    Layout(documents=90, shapes=SHAPE_MIXES[1], paths=KEYS[1], spread_s=3600, ru_per_read=0.5),
    Layout(documents=70, shapes=SHAPE_MIXES[0], paths=KEYS[2], ranges=2, spread_s=3 * DAY_S),
    Layout(documents=33, shapes=SHAPE_MIXES[2], promote=("/total",), spread_s=3600),
    Layout(documents=40, shapes=SHAPE_MIXES[3], spread_s=3600),
    Layout(documents=12, shapes=SHAPE_MIXES[4], spread_s=3600),
    Layout(documents=8, shapes={"order": 3, "large": 1}, spread_s=3600),
    Layout(documents=5, shapes={"wide": 1}, spread_s=3600),
    Layout(documents=2, shapes=SHAPE_MIXES[1], ranges=2),
    Layout(documents=60, shapes=SHAPE_MIXES[1], ru_per_read=0.5, documents_max=25, spread_s=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One slice that holds documents, staged or published, and everything around it."""

    label: str
    mode: str
    migration: Migration
    progress: Progress
    slice: Slice
    blobs: Mapping[str, bytes]
    blob_name: str
    manifest_name: str
    data: Sheet
    manifest: Sheet
    rows: list[list[Row]]
    layout: Layout
    now_s: float

    @property
    def is_staged(self) -> bool:
        return self.slice.state is SliceState.COPIED

    @property
    def receipt_name(self) -> str:
        return receipt_name(self.slice.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    staged: list[Sample]
    archived: list[Sample]


def make_pool() -> Pool:
    """The same at every call: a seed then says all about a corruption."""
    staged, archived = [], []
    for number, plan in enumerate(LAYOUTS):
        for mode in MODES:
            label = f"{mode} {number}"
            staged += _samples(label, _staged(number, plan, mode), mode)
            archived += _samples(label, _archived(number, plan, mode), mode)
    return Pool(staged=staged, archived=archived)


def _staged(seed: int, plan: Layout, mode: str) -> tuple[Migrated, list[Slice]]:
    migrated = begin(seed, plan, (mode,))
    ledger = migrated.app.ports.ledger

    def copied() -> list[Slice]:
        return [s for s in ledger.open_slices(mode) if s.state is SliceState.COPIED]

    def enough() -> bool:
        filled = [s for s in copied() if s.staged and s.staged.blob]
        return len(filled) >= STAGED_PER_MIGRATION_MAX or all(
            p.finished for p in ledger.ranges(mode)
        )

    drive(migrated, until=enough, validating=False)
    return migrated, copied()


def _archived(seed: int, plan: Layout, mode: str) -> tuple[Migrated, list[Slice]]:
    migrated = begin(seed, replace(plan, budget_s=max(plan.budget_s, 30)), (mode,))
    drive(migrated, until=lambda: completed(migrated.app))
    return migrated, list(migrated.app.ports.ledger.done_slices(mode))


def _samples(label: str, made: tuple[Migrated, list[Slice]], mode: str) -> list[Sample]:
    migrated, slices = made
    ports = migrated.app.ports
    archive = ports.archives.open(SINK, mode)
    blobs = {each.name: archive.read(each.name) or b"" for each in archive.stored("")}
    found = []
    for each in slices:
        if each.staged is None or each.staged.blob is None:
            continue
        names = (each.staged.blob.name, each.staged.manifest.name)
        published = each.state is not SliceState.COPIED
        progress = ports.ledger.progress(mode)
        assert progress is not None
        found.append(
            Sample(
                label=f"{label} {each.id}",
                mode=mode,
                migration=ports.ledger.migration(mode),
                progress=progress,
                slice=each,
                blobs=blobs if published else {name: blobs[name] for name in names},
                blob_name=names[0],
                manifest_name=names[1],
                data=Sheet.read(blobs[names[0]]),
                manifest=Sheet.read(blobs[names[1]]),
                rows=migrated.container.rows,
                layout=migrated.container.layout,
                now_s=ports.clock.now_s(),
            )
        )
    return found[:STAGED_PER_MIGRATION_MAX]


@dataclass(slots=True)
class Draft:
    """A sample's copy while it is harmed; `put` may restate what is recorded of a file."""

    sample: Sample
    blobs: dict[str, bytes]
    slice: Slice

    @classmethod
    def of(cls, sample: Sample) -> Draft:
        return cls(sample=sample, blobs=dict(sample.blobs), slice=sample.slice)

    def put_blob(self, data: bytes, *, restated: bool) -> None:
        self._put("blob", self.sample.blob_name, data, restated=restated)

    def put_manifest(self, data: bytes, *, restated: bool) -> None:
        self._put("manifest", self.sample.manifest_name, data, restated=restated)

    def _put(self, kind: str, name: str, data: bytes, *, restated: bool) -> None:
        self.blobs[name] = data
        if not restated:
            return
        if self.sample.is_staged:
            stored = Stored(name=name, size_bytes=len(data), sha256=sha256(data))
            self.restate(**{kind: stored})
        else:
            self.restate(**{kind: {"name": name, "bytes": len(data), "sha256": sha256(data)}})

    def restate(self, **facts: Any) -> None:
        """Change what the ledger, or the receipt, says of the slice."""
        if self.sample.is_staged:
            assert self.slice.staged is not None
            self.slice = replace(self.slice, staged=replace(self.slice.staged, **facts))
        else:
            receipt = json.loads(self.blobs[self.sample.receipt_name]) | facts
            data = json.dumps(receipt, indent=1, sort_keys=True).encode()
            self.blobs[self.sample.receipt_name] = data
            self.seal()

    def seal(self) -> None:
        """Give the summary the fingerprint of the receipts as they stand."""
        receipts = [
            (name.removeprefix(RECEIPTS).removesuffix(".json"), sha256(data))
            for name, data in self.blobs.items()
            if name.startswith(RECEIPTS)
        ]
        summary = json.loads(self.blobs[SUMMARY]) | {"fingerprint": fingerprint(receipts)}
        self.blobs[SUMMARY] = json.dumps(summary, indent=1, sort_keys=True).encode()

    def assembled(self) -> App:
        """The application over this copy, with a budget that never runs out."""
        sample = self.sample
        world = make_world(0)
        world.clock.advance(sample.now_s - START_S)
        container = Container(
            layout=sample.layout, rng=Random(0), now_s=world.clock.now_s, rows=sample.rows
        )
        ports = replace(world.ports, sources=MemorySources(source=container))
        ports.boards.write(_generous(sample.mode))
        ports.ledger.put_migration(replace(sample.migration, version=""))
        slices = (replace(self.slice, version=""),) if sample.is_staged else ()
        progress = replace(sample.progress, version="")
        ports.ledger.commit(sample.mode, Change(slices=slices, progress=progress))
        assert isinstance(ports.archives, MemoryArchives)
        ports.archives.make(SINK)
        for name, data in self.blobs.items():
            ports.archives.put(SINK, f"{sample.mode}/{name}", data, missing=False)
        return assemble(ports, METRIC_SETTLE_S)


def _generous(mode: str) -> Board:
    grant = Grant(
        budget_ru_per_s=GENEROUS_RU_PER_S,
        limit_ru_per_s=GENEROUS_RU_PER_S,
        shares_ru_per_s={mode: GENEROUS_RU_PER_S},
        in_flight={mode: 4},
        other_ranges_ru_per_s=GENEROUS_RU_PER_S,
        reason="slack",
    )
    return Board(grants={SOURCE: grant}, valid_until_s=float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the application made of a copy: whether it saw anything wrong, and in which words."""

    detected: bool
    text: str


Judge = Callable[[Draft], Outcome]


def validated(draft: Draft) -> Outcome:
    """Detected is a mismatch on record and nothing published; anything else is an escape."""
    app = draft.assembled()
    text = app.validating.run(work_message(draft.slice))
    after = app.ports.ledger.slice(draft.sample.mode, draft.slice.id)
    assert after is not None
    refused = after.state is SliceState.FAILED and after.cause is Cause.MISMATCH
    return Outcome(detected=refused and not _published(app, draft), text=text)


def resumed(draft: Draft) -> Outcome:
    """A receipt stands: detected is a refusal to publish anything but the receipt's bytes."""
    app = draft.assembled()
    try:
        text = app.validating.run(work_message(draft.slice))
    except EbbError as error:
        text = str(error)
    receipt = json.loads(draft.blobs[draft.sample.receipt_name])
    named = {receipt[kind]["name"]: receipt[kind]["sha256"] for kind in ("blob", "manifest")}
    published = {name: sha256(data) for name, data in _published(app, draft).items()}
    sound = all(named.get(name) == digest for name, digest in published.items())
    return Outcome(detected=sound and len(published) < len(named), text=text)


def _published(app: App, draft: Draft) -> dict[str, bytes]:
    """What stands under data/ and manifests/, or as a receipt that was not there before."""
    archive = app.ports.archives.open(SINK, draft.sample.mode)
    return {
        stored.name: archive.read(stored.name) or b""
        for folder in ("data/", "manifests/", RECEIPTS)
        for stored in archive.stored(folder)
        if stored.name not in draft.blobs
    }


def verified(draft: Draft) -> Outcome:
    return _reported(draft.assembled().verifying.run(draft.sample.mode))


def compared(draft: Draft) -> Outcome:
    """Verified beside the source."""
    return _reported(draft.assembled().verifying.run(draft.sample.mode, Scope(with_source=True)))


def _reported(report: Report) -> Outcome:
    return Outcome(detected=not report.sound, text="\n".join(report.faults))
