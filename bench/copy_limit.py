"""Times, each alone, the steps that nothing which copies and proves documents can leave out.

The documents are the bench's own, taken from the source through azure-cosmos; that reading is timed
too, but beside the limit: most of it is spent by the servers that stand in for Azure.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import pyarrow as pa
from azure.cosmos import CosmosClient
from azure.storage.blob import BlobBlock, BlobServiceClient, ContainerClient

from bench.children import Job, child_main
from bench.documents import DATABASE
from shared.adapters.archive import BLOCK_BYTES
from shared.adapters.parquet import COMPRESSION_LEVEL
from shared.domain.canonical import canonical_document, digest

SAMPLE_BYTES_MAX = 96 << 20  # enough to outlast a hiccup, little enough to be held three times
REPEATS = 3
PARQUET_PAGE_BYTES = 1 << 20  # what pyarrow's writer compresses at a time
MEGABYTE = 1e6

Document = Mapping[str, Any]


def _limit(job: Job) -> dict[str, Any]:
    pages, reading = _read(job)
    texts = [json.dumps({"Documents": page}, separators=(",", ":")) for page in pages]
    documents = [document for page in pages for document in page]
    canonical = [canonical_document(document) for document in documents]
    total_mb = sum(map(len, canonical)) / MEGABYTE
    compressed: list[bytes] = []
    steps = {
        "parse": _fastest(lambda: [json.loads(text) for text in texts]),
        "canonical": _fastest(lambda: [canonical_document(each) for each in documents]),
        "sha256": _fastest(lambda: [digest(each) for each in canonical]),
        "zstd": _fastest(lambda: _compress(canonical, compressed)),
    }
    with BlobServiceClient.from_connection_string(job["storage"]) as service:
        container = service.create_container(f"limit-{uuid4().hex[:12]}")
        steps["upload"] = _fastest(lambda: _upload(container, compressed))
        container.delete_container()
    return {
        "s_per_mb": {name: seconds / total_mb for name, seconds in steps.items()},
        "reading": {
            "s_per_mb": reading["seconds"] / total_mb,
            "own_cpu_s_per_mb": reading["cpu_s"] / total_mb,
            "page_documents": len(documents) / len(pages),
        },
        "sample_mb": total_mb,
        "compressed_mb": sum(map(len, compressed)) / MEGABYTE,
    }


def _read(job: Job) -> tuple[list[list[Document]], dict[str, float]]:
    """Whole pages as the SDK gives them, up to the sample's size."""
    client = CosmosClient(job["endpoint"], job["key"], connection_verify=job["ca_file"])
    container = client.get_database_client(DATABASE).get_container_client(job["container"])
    pages: list[list[Document]] = []
    bytes_left = SAMPLE_BYTES_MAX
    began_s, cpu_began_s = time.perf_counter(), time.process_time()
    found = container.query_items("SELECT * FROM c", enable_cross_partition_query=True)
    for page in found.by_page():
        pages.append(list(page))
        bytes_left -= len(pages[-1]) * int(job["document_bytes"])
        if bytes_left <= 0:
            break
    seconds = time.perf_counter() - began_s
    return pages, {"seconds": seconds, "cpu_s": time.process_time() - cpu_began_s}


def _fastest(step: Callable[[], object]) -> float:
    """The best of a few runs: what the machine can do, not what disturbed it."""
    taken_s = []
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        step()
        taken_s.append(time.perf_counter() - began_s)
    return min(taken_s)


def _compress(canonical: Sequence[bytes], into: list[bytes]) -> None:
    codec = pa.Codec("zstd", compression_level=COMPRESSION_LEVEL)
    into.clear()
    waiting = bytearray()
    for document in canonical:
        waiting += document
        if len(waiting) >= PARQUET_PAGE_BYTES:
            into.append(codec.compress(waiting, asbytes=True))
            waiting.clear()
    into.append(codec.compress(waiting, asbytes=True))


def _upload(container: ContainerClient, compressed: Sequence[bytes]) -> None:
    data = memoryview(b"".join(compressed))
    blob = container.get_blob_client("data")
    blocks = []
    for start in range(0, len(data), BLOCK_BYTES):
        block = bytes(data[start : start + BLOCK_BYTES])
        blocks.append(BlobBlock(f"{start:012d}"))
        blob.stage_block(blocks[-1].id, block, length=len(block))
    blob.commit_block_list(blocks)


if __name__ == "__main__":
    child_main(_limit)
