"""The owners of the documents while these are retired, and what every read of theirs must answer.

They write, delete and create again past Ebb, in steps of their own between which anything may
happen; a deletion goes as the tiered container does it: mark, delete, look once more. The check
reads as they do, and knows nothing of the code that removes.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from shared.domain.pointers import Key, Pointer
from tests.simulation.people import archives
from tests.simulation.world import SOURCE, World

SYSTEM = frozenset({"_rid", "_self", "_attachments", "_etag", "_ts"})
SINK = "archive"


def plain(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in SYSTEM}


@dataclass(slots=True)
class Owners:
    """`truth` is what each id must read as; None once it is deleted."""

    world: World
    rng: random.Random
    truth: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    under_way: dict[str, Iterator[None]] = field(default_factory=dict)
    """Deletions between their steps: the document may read either way."""
    touched: set[str] = field(default_factory=set)
    tables: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    def know(self) -> None:
        """Whatever stands in the source now is the truth."""
        for name, document in self.world.source.documents.items():
            self.truth[name] = plain(document)
            self.keys[name] = (json.dumps([document["pk"]], separators=(",", ":")), name)

    def act(self) -> None:
        """One step of somebody: a write, or part of a deletion."""
        name = self.rng.choice(sorted(self.truth))
        if self.under_way and self.rng.random() < 0.6:
            name = self.rng.choice(sorted(self.under_way))
        if name in self.under_way:
            self._go_on(name)
        elif self.truth[name] is None:
            self.write(name, {"created again": self.rng.random()})
        elif self.rng.random() < 0.5:
            self.write(name, {"updated": self.rng.random()})
        else:
            self.under_way[name] = self._deleting(name)
            self._go_on(name)

    def finish(self) -> None:
        while self.under_way:
            self._go_on(next(iter(self.under_way)))

    def delete_directly(self, name: str) -> None:
        """Past everything, while nobody is removing it: no pointer is marked."""
        del self.world.source.documents[name]
        self.truth[name] = None
        self.touched.add(name)

    def _go_on(self, name: str) -> None:
        if next(self.under_way[name], "ended") == "ended":
            del self.under_way[name]

    def write(self, name: str, body: Any) -> None:
        self.touched.add(name)
        self.world.source.put(name, ts=int(self.world.clock.now_s()), body=body)
        self.truth[name] = plain(self.world.source.documents[name])

    def _deleting(self, name: str) -> Iterator[None]:
        self.touched.add(name)
        pointers = self.world.ports.pointers
        pointers.delete(SOURCE, self.keys[name])
        yield
        self.world.source.documents.pop(name, None)
        yield
        pointers.delete(SOURCE, self.keys[name])
        self.truth[name] = None

    def check(self) -> None:
        """Every read answers the truth: nothing missing, nothing stale, nothing of a stub."""
        for name, expected in self.truth.items():
            found = self.read(name)
            if name in self.under_way:
                assert found in (expected, None), f"{name} reads as something else"
                continue
            assert found == expected, f"{name} reads as {found}, and {expected} is right"

    def read(self, name: str) -> dict[str, Any] | None:
        """As the tiered container reads: the source, then the pointer, then the row it names."""
        stands = self.world.source.documents.get(name)
        if stands is not None and "ebb_stub" not in stands:
            return plain(stands)
        index = self.world.ports.pointers.find(SOURCE, self.keys[name])
        if stands is None or stands.get("ebb_returning"):
            return self._archived(name, index) if _answers(index) else None
        return self._archived(name, Pointer(**stands["ebb_stub"]))

    def _archived(self, name: str, pointer: Pointer | None) -> dict[str, Any]:
        assert pointer is not None
        document = self._table(pointer.blob)[name]
        assert hashlib.sha256(document[1].encode()).hexdigest() == pointer.sha256 == document[0]
        found: dict[str, Any] = json.loads(document[1])
        return found

    def _table(self, blob: str) -> dict[str, tuple[str, str]]:
        """A data file by id: the digest its row tells, and the document."""
        if blob not in self.tables:
            data = archives(self.world).bytes_of(SINK, blob) or b""
            rows = pq.read_table(io.BytesIO(data), columns=["id", "sha256", "document"])
            self.tables[blob] = {
                row["id"]: (row["sha256"], row["document"]) for row in rows.to_pylist()
            }
        return self.tables[blob]


def _answers(pointer: Pointer | None) -> bool:
    return pointer is not None and pointer.rows > 0 and not pointer.deleted
