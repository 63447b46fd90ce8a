"""Fills a sandbox's container with the bench's documents and cuts their time into slices."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sandbox.cosmos.backing import Backing, StoredDocument
from sandbox.seeding import LARGE_KB, PARTITION_KEY, SeedPlan, seed_documents

DATABASE = "bench"
KEY_PATH = f"/{PARTITION_KEY}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """A container of cold documents of one size, and where its slices begin and end."""

    container: str
    documents: int
    bytes: int
    windows: tuple[tuple[int, int], ...]


def stock(
    backing: Backing, container: str, *, documents: int, kb: int, slice_documents: int
) -> Stock:
    """Store documents of about that size, two years old to three months old."""
    plan = SeedPlan(
        documents=documents,
        usual_kb=kb,
        large_share=1.0 if kb >= LARGE_KB else 0.0,
        small_share=0.0,
        cold_share=1.0,
        with_edges=False,  # pandas would need one type for a column, and it is the rival here
    )
    times: list[int] = []

    def each() -> Iterator[StoredDocument]:
        for document in seed_documents(plan, now_s=int(time.time())):
            times.append(document.ts)
            yield StoredDocument(key_json=json.dumps([document.customer]), text=document.text)

    backing.create_container(DATABASE, container, partition_key_path=KEY_PATH)
    count, size_bytes = backing.store(DATABASE, container, each())
    return Stock(
        container=container,
        documents=count,
        bytes=size_bytes,
        windows=windows(sorted(times), slice_documents),
    )


def windows(times: list[int], slice_documents: int) -> tuple[tuple[int, int], ...]:
    """Half-open intervals that tile the times, each of about so many documents."""
    edges = sorted({*times[::slice_documents], times[-1] + 1})
    return tuple(pairwise(edges))
