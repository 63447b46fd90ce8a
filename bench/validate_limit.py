"""Reads the same files in a tight loop: what nothing that checks every document can leave out.

Either with each document parsed and written again in its canonical form, or with its bytes hashed
as they stand there, which is enough where stored bytes are canonical.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bench.children import Job, child_main, peak_rss_mb
from bench.errors import BenchError

Rewrite = Callable[[memoryview], bytes | memoryview]


def measured(job: Job) -> dict[str, Any]:
    """Seconds and processor seconds; every digest must be the one that stands beside it."""
    rewrite = _as_it_stands if job["bare"] else _canonical
    began_s, cpu_began_s = time.perf_counter(), time.process_time()
    documents = sum(_checked(path, rewrite) for path in job["blobs"])
    found = {
        "seconds": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - cpu_began_s,
        "rss_mb": peak_rss_mb(),
    }
    if documents != job["documents"]:
        raise BenchError(f"reading the stock: {documents} of {job['documents']} documents")
    return found


def _checked(path: str, rewrite: Rewrite) -> int:
    documents = 0
    for text, promised in _documents(path):
        if hashlib.sha256(rewrite(text)).hexdigest() != promised:
            raise BenchError(f"reading {path}: a document does not have its digest")
        documents += 1
    return documents


def _documents(path: str) -> Iterator[tuple[memoryview, str]]:
    """Where each document lies in its row group, uncopied, and its digest."""
    with pq.ParquetFile(path) as parquet:
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group, columns=["document", "sha256"])
            texts = table.column("document").combine_chunks().cast(pa.binary())
            for text, digest in zip(texts, table.column("sha256").to_pylist(), strict=True):
                yield memoryview(text.as_buffer()), digest


def _canonical(text: memoryview) -> bytes:
    """By the fastest library there is: exact for the bench's documents, as the digests show."""
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)


def _as_it_stands(text: memoryview) -> memoryview:
    return text


if __name__ == "__main__":
    child_main(measured)
