"""The script a user would write instead: query everything, make a DataFrame, save it, upload it.

It proves nothing, holds everything in memory, and obeys no budget.
"""

from __future__ import annotations

import time
from io import BytesIO
from typing import Any

import pandas as pd
from azure.cosmos import CosmosClient
from azure.storage.blob import BlobServiceClient

from bench.children import Job, child_main, peak_rss_mb
from bench.documents import DATABASE


def _copied(job: Job) -> dict[str, Any]:
    began_s, cpu_began_s = time.perf_counter(), time.process_time()
    client = CosmosClient(job["endpoint"], job["key"], connection_verify=job["ca_file"])
    container = client.get_database_client(DATABASE).get_container_client(job["container"])
    items = list(container.query_items("SELECT * FROM c", enable_cross_partition_query=True))
    file = BytesIO()
    pd.DataFrame(items).to_parquet(file)
    with BlobServiceClient.from_connection_string(job["storage"]) as service:
        blobs = service.get_container_client(job["sink"])
        blobs.create_container()
        blobs.upload_blob("everything.parquet", file.getvalue())
    return {
        "seconds": time.perf_counter() - began_s,
        "cpu_s": time.process_time() - cpu_began_s,
        "documents": len(items),
        "rss_mb": peak_rss_mb(),
        "blob_bytes": file.tell(),
    }


if __name__ == "__main__":
    child_main(_copied)
